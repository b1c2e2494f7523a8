"""One model, in a sentence for each level of what an attacker knows: from noise to its weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from carom.scenarios.cases import CASES, UNKNOWN_CASE
from carom.scenarios.statistics.knowledge import ANSWERS, KNOWN, NOTHING, WEIGHTS
from carom.scenarios.statistics.outcomes import eps_value
from carom.scenarios.tables.table import Table, records

from .rows import row_of
from .words import Finding, capital, of_hundred, over, overlaps, percent, who

OTHER_SOURCE = tuple(case.name for case in CASES if "D" in case.mismatch)
SAME_SOURCE = ("C4", "C3", "C2")
MODELS = (UNKNOWN_CASE.name, *(f"C{number}" for number in range(8, 0, -1)))


def victims_of(table: Table) -> list[str]:
    """The victims that attackers met with other models, in the order of the run; where there are none, all."""
    frame = table.frame
    met = frame[frame["knows"] != NOTHING]
    others = met.loc[met["knows"] != WEIGHTS, "victim"]
    return list(dict.fromkeys((others if len(others) else met["victim"]).astype(str)))


def ladder(table: Table, victim: str, norm: str, eps: str, *, like: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The rows of one victim from the table "by-knowledge" at a budget, what knows least first.

    Args:
        table: Of the run.
        victim: Its label.
        norm: Of the budget.
        eps: Of the budget.
        like: Configuration of each model by its label. Nobody attacked most victims with their own weights: then the
            white box of a model of the same configuration stands in, and the column `stands_in` names it.
    """
    frame = table.frame
    here = frame[(frame["norm"] == norm) & (frame["eps"] == eps) & frame["asr"].notna()]
    rows = here[here["victim"] == victim].assign(stands_in="")
    if like is not None and not (rows["knows"] == WEIGHTS).any() and victim in like:
        twins = here[(here["knows"] == WEIGHTS) & (here["victim"].map(like) == like[victim])]
        if len(twins):
            rows = pd.concat([rows, twins.head(1).assign(stands_in=twins["victim"].iloc[0])])
    order = rows["knows"].map(KNOWN.index).sort_values(kind="stable").index
    return rows.loc[order].reset_index(drop=True)


def known(rows: pd.DataFrame) -> list[Finding]:
    """A sentence for each level of what attackers know of a model.

    Args:
        rows: As from `ladder`.
    """
    of = {str(row["knows"]): row for row in records(rows)}
    noise = of.get(NOTHING)
    told: list[tuple[str, Sequence[Mapping[str, Any]]]] = []
    if noise is not None:
        told.append(
            (f"Noise of the same size turns {of_hundred(noise, 'images', n=_n(noise))} that it gets right.", [noise])
        )
    for names, group in (
        ((UNKNOWN_CASE.name,), "with a model of unknown training"),
        (OTHER_SOURCE, "with only another source of images"),
        (SAME_SOURCE, "with the same source of images, but another network or balance"),
    ):
        met = [of[name] for name in names if name in of]
        if met:
            told.append((_models(met, group, noise), met))
    if "C1" in of:
        row = of["C1"]
        told.append((f"{capital(f'who {who(1)}')} (C1) fools it in {of_hundred(row, 'images', n=_n(row))}.", [row]))
    if ANSWERS in of:
        row = of[ANSWERS]
        told.append((f"Who may ask it fools it in {of_hundred(row, 'images', n=_n(row))}.", [row]))
    if WEIGHTS in of:
        row = of[WEIGHTS]
        whose = "Who has its weights fools it in"
        if row["stands_in"]:
            whose = "Nobody had its weights here; with the weights of a model of the same training attacks turn"
        told.append((f"{whose} {of_hundred(row, 'images', n=_n(row))}.", [row]))
    return [
        Finding(
            kind="knowledge",
            text=text,
            page="model",
            table="by-knowledge",
            number=percent(rows_[0]["asr"], rows_[0]["low"], rows_[0]["high"]),
            ranges_over=over(r["ranges_over"] for r in rows_),
        )
        for text, rows_ in told
    ]


def _models(met: Sequence[Mapping[str, Any]], group: str, noise: Mapping[str, Any] | None) -> str:
    """What attackers of one group of cases achieve: the weakest and the strongest of the cases."""
    first = max(met, key=lambda row: row["asr"])
    case = "" if first["knows"] == UNKNOWN_CASE.name else f" ({first['knows']})"
    subject = f"who {who(int(str(first['knows'])[1:]))}" if len(met) == 1 and case else f"an attacker {group}"
    text = f"{capital(subject)}{case if len(met) == 1 else ''} fools it in {of_hundred(first, 'images', n=_n(first))}"
    if len(met) > 1:
        last = min(met, key=lambda row: row["asr"])
        text += f" at most{case}, and in {of_hundred(last, n=_n(last))} at least ({last['knows']})"
    if noise is not None and bool(overlaps(pd.DataFrame([first]), noise).iloc[0]):
        text += "; that cannot be told from noise"
    return f"{text}."


def over_radii(table: Table, victim: str, norm: str) -> Finding | None:
    """What attackers with models alone achieve as the radius grows; None where there is one radius only.

    Of their levels of knowledge the highest that was met at all radii.
    """
    frame = table.frame
    mine = frame[(frame["victim"] == victim) & (frame["norm"] == norm) & frame["asr"].notna()]
    mine = mine[mine["knows"].isin(MODELS)]
    radii = sorted({str(e) for e in mine["eps"]}, key=eps_value)
    everywhere = [level for level in MODELS if (mine["knows"] == level).sum() == len(radii)]
    if len(radii) < 2 or not everywhere:
        return None
    level = everywhere[-1]
    rows = mine[mine["knows"] == level]
    rates = [
        f"{of_hundred(row_of(rows[rows['eps'] == eps]), '' if i else 'images')} at {eps}" for i, eps in enumerate(radii)
    ]
    case = "of unknown training" if level == UNKNOWN_CASE.name else level
    return Finding(
        kind="radii",
        text=f"As the radius grows, attacks on models ({case}) turn {', '.join(rates)}.",
        page="attacks",
        table="by-knowledge",
        ranges_over=over(rows["ranges_over"]),
    )


def _n(row: Mapping[str, Any]) -> str:
    return f"n {row['n']:,}"
