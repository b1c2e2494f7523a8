"""What to deploy against whom: defences ranked by what the attacker has, ties marked, and one recommended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from carom.scenarios.charts.names import short
from carom.scenarios.statistics import THREATS
from carom.scenarios.tables.defenses import defense_names, several_configurations
from carom.scenarios.tables.table import Table, records

from .rows import NONE, row_of
from .words import Finding, listed, over, overlaps, percent, points, span, times

AGAINST = dict(
    zip(
        THREATS,
        (
            "attackers who have public models only",
            "attackers who train models on data like yours",
            "attackers who may ask the model",
            "attackers who have the weights",
        ),
        strict=True,
    )
)
UNDEFENDED = "undefended"
DOUBTED = THREATS[2:]  # attacks on the victim itself, which masked gradients make look weak


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Defences against one kind of attacker.

    Attributes:
        rows: The best first. Columns: defence (its name), clean, average, strongest, white box, each with limits
            `<rate>_low` and `<rate>_high`; kept, low, high (what it is ranked by), tied (cannot be told from the best),
            alarms, trainings (passes over those of the undefended one), images, seeds, ranges_over, bare.
        by: "strongest", or "average" where no pair could be chosen on validation images.
    """

    rows: pd.DataFrame
    by: str


def threats_of(tables: Mapping[str, Table], norm: str, eps: str) -> list[str]:
    """What attackers of a run had, of `THREATS`, at a budget."""
    if "defenses-by-threat" not in tables:
        return []
    frame = tables["defenses-by-threat"].frame
    here = frame[(frame["norm"] == norm) & (frame["eps"] == eps) & frame["average"].notna()]
    return [threat for threat in THREATS if (here["attacker has"] == threat).any()]


def ranked(tables: Mapping[str, Table], threat: str, norm: str, eps: str) -> Ranked:
    """The defences against one of `threats_of`, from the tables "defenses" and "defenses-by-threat"."""
    keys = ["defense", "configuration", "norm", "eps"]
    main, apart = tables["defenses"].frame, tables["defenses-by-threat"].frame
    main = main[(main["norm"] == norm) & (main["eps"] == eps)]
    rates = [f"{rate}{end}" for rate in ("average", "strongest") for end in ("", "_low", "_high")]
    met = apart[apart["attacker has"] == threat][[*keys, *rates, "strongest pair", "ranges_over", "claim"]]
    of_main = ["clean", "clean_low", "clean_high", "white box", "white_box_low", "white_box_high"]
    rows = main[[*keys, *of_main, "alarms", "images", "seeds", "training passes"]].merge(met, on=keys)
    names = defense_names(rows)
    bare = rows["defense"].isin(NONE)
    said = short(names, 44) if several_configurations(rows) else {name: name for name in names}
    told = names.map(said).where(~bare, UNDEFENDED) if not several_configurations(rows) else names.map(said)
    by = "strongest" if rows["strongest"].notna().any() else "average"
    passes = rows.loc[bare, "training passes"].astype(float)
    rows = rows.assign(
        defence=told,
        bare=bare,
        kept=rows[by],
        low=rows[f"{by}_low"],
        high=rows[f"{by}_high"],
        trainings=rows["training passes"].astype(float) / (passes.iloc[0] if len(passes) else float("nan")),
    )
    rows = rows[rows["kept"].notna()].sort_values("kept", ascending=False, kind="stable", ignore_index=True)
    best = _best(rows, threat)
    tied = overlaps(rows, best) if best is not None else pd.Series(False, index=rows.index)
    return Ranked(rows=rows.assign(tied=tied), by=by)


def _best(rows: pd.DataFrame, threat: str) -> dict[str, Any] | None:
    """The first whose number can be believed; None where none can."""
    if threat in DOUBTED:
        rows = rows[~(rows["alarms"] > 0)]
    return None if rows.empty else row_of(rows)


def beside(rows: pd.DataFrame) -> list[str]:
    """What stands below the name of each defence of `Ranked.rows`: its place with ties, its cost, its alarms."""
    told = []
    for place, row in enumerate(records(rows), start=1):
        parts = [f"{place}, tied" if row["tied"] and rows["tied"].sum() > 1 else f"{place}"]
        if pd.notna(row["trainings"]):
            parts.append(f"{row['trainings']:.2g}×")
        if pd.isna(row["alarms"]):
            parts.append("not examined")
        else:
            parts.append(times(int(row["alarms"]), "sign") if row["alarms"] else "no signs")
        told.append(" · ".join(parts))
    return told


def recommended(tables: Mapping[str, Table], threat: str, norm: str, eps: str) -> Finding:
    """What to deploy against one kind of attacker: how sure, what it costs, and what is doubtful."""
    found = ranked(tables, threat, norm, eps)
    best = _best(found.rows, threat)
    if best is None:
        text = (
            f"Against {AGAINST[threat]} nothing can be recommended: each defence has signs of masked gradients, so "
            "attacks on the model itself prove little."
        )
        return _finding(text, found, None, threat)
    others = found.rows[found.rows["tied"] & (found.rows["defence"] != best["defence"])]
    sure = f"it keeps {_kept(best)} right under {_under(found.by)} at {norm} {eps}, n {best['images']:,}"
    tie = f" It cannot be told from {_named(others)}." if len(others) else " No other comes near enough to tie."
    if best["bare"]:
        head = f"Against {AGAINST[threat]} no defence is better than none: undefended, {sure}."
    elif others["bare"].any():
        head = f"Against {AGAINST[threat]} {best['defence']} comes first, but no surer than no defence: {sure}."
    else:
        head = f"Against {AGAINST[threat]} deploy {best['defence']}: {sure}."
    doubted = found.rows[(found.rows["alarms"] > 0) & (found.rows["kept"] > best["kept"])]
    beware = ""
    if threat in DOUBTED and len(doubted):
        beware = f" {listed(list(doubted['defence']))} would be ahead, but with signs of masked gradients."
    seeds = "" if found.rows["seeds"].max() > 1 else " One training of each, so another may come out otherwise."
    return _finding(f"{head}{tie}{_price(best, found)}{beware}{seeds}", found, best, threat)


def _price(best: Mapping[str, Any], found: Ranked) -> str:
    """Clean accuracy, trainings and alarms of the recommended one."""
    clean = f"On clean images it gets {percent(best['clean'], best['clean_low'], best['clean_high'])}"
    bare = found.rows[found.rows["bare"]]
    if len(bare) and not best["bare"]:
        change = best["clean"] - bare["clean"].iloc[0]
        less = "less" if change < 0 else "more"
        clean += f", {points(change)} points {less} than undefended" if change else ", as undefended"
    cost = ""
    if not best["bare"] and pd.notna(best["trainings"]):
        cost = f", and its training takes {best['trainings']:.3g} times the passes"
    alarms = f"; {times(int(best['alarms']), 'sign')} of masked gradients" if best["alarms"] > 0 else ""
    return f" {clean}{cost}{alarms}."


def in_one(tables: Mapping[str, Table], threat: str, norm: str, eps: str) -> Finding:
    """The same in one sentence, without the price."""
    found = ranked(tables, threat, norm, eps)
    best = _best(found.rows, threat)
    if best is None:
        return recommended(tables, threat, norm, eps)
    others = found.rows[found.rows["tied"] & (found.rows["defence"] != best["defence"])]
    tie = f"; it cannot be told from {_named(others)}" if len(others) else ""
    bare = found.rows[found.rows["bare"]]
    without = ""
    if len(bare) and not best["bare"]:
        row = row_of(bare)
        without = f", where an undefended model keeps {_share(row)}"
    text = f"Against {AGAINST[threat]} {best['defence']} keeps {_kept(best)} right{without}{tie}."
    return _finding(text, found, best, threat)


def _finding(text: str, found: Ranked, best: dict[str, Any] | None, threat: str) -> Finding:
    return Finding(
        kind="defence",
        text=text,
        page="defences",
        table="defenses-by-threat",
        name="" if best is None else str(best["defence"]),
        number="" if best is None else percent(best["kept"], best["low"], best["high"]),
        ranges_over=over(found.rows["ranges_over"]),
        ties=max(0, int(found.rows["tied"].sum()) - 1),
        against=AGAINST[threat],
    )


def _kept(row: Mapping[str, Any]) -> str:
    return f"{100 * row['kept']:.0f} of 100 images ({span(row['low'], row['high'])})"


def _share(row: Mapping[str, Any]) -> str:
    return f"{100 * row['kept']:.0f} ({span(row['low'], row['high'])})"


def _named(others: pd.DataFrame) -> str:
    return listed([f"{row['defence']} with {_share(row)}" for row in records(others)])


def _under(by: str) -> str:
    return "the strongest such attack" if by == "strongest" else "such attacks on average"
