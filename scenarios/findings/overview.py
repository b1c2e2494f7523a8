"""A run in at most eight sentences: can it be trusted, who fools whom, what costs the attacker most, what to deploy."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from carom.scenarios.cases import CONTROL
from carom.scenarios.charts.names import short
from carom.scenarios.statistics import THREATS
from carom.scenarios.tables.table import Table, records

from .defences import in_one, threats_of
from .rows import Scope, row_of, scope_of
from .words import (
    Finding,
    attack_names,
    capital,
    listed,
    of_hundred,
    over,
    overlaps,
    percent,
    points,
    times,
    who,
)

MISMATCH = {
    "source": "another source of images",
    "samples": "other samples of the same source",
    "balance": "another balance of classes",
    "architecture": "another network",
    "recipe": "another recipe of training",
    "defense": "a defence on one side",
}


def overview(tables: Mapping[str, Table], budget: str | None = None) -> list[Finding]:
    """What a run found, the most important first; at most eight sentences.

    Args:
        tables: Of `show_run` or `counted_tables`, by their names.
        budget: As in the column `budget` of cells; None for the largest radius of the first norm.
    """
    told = controls_told(tables.get("controls"))
    scope = scope_of(tables["cases"], budget) if "cases" in tables else None
    if scope is None:
        return told
    told += [
        *cases_told(tables["cases"], scope),
        *effects_told(tables.get("effects")),
        *victims_told(tables.get("by-victim"), scope),
        *attacks_told(tables, scope),
        *_defences_told(tables, scope),
    ]
    return [*told, *_ranges_told(told)]


def controls_told(table: Table | None) -> list[Finding]:
    """The controls in one line; those that failed or warned by name."""
    if table is None or table.frame.empty:
        return []
    status = table.frame["status"]
    counts = status.value_counts()
    said = [f"{counts[s]} {s}" for s in ("failed", "warned", "passed", "not run") if s in counts]
    bad = [str(name) for name in table.frame.loc[status.isin(["failed", "warned"]), "control"]]
    doubt = ""
    if "failed" in counts:
        doubt = f"; trust no number before {listed(bad)} is explained"
    elif bad:
        doubt = f"; look at {listed(bad)} first"
    text = f"Controls: {', '.join(said)}{doubt}."
    return [Finding(kind="controls", text=text, page="transfer", table="controls")]


def cases_told(table: Table, scope: Scope) -> list[Finding]:
    """What attackers achieve who have most, and least, in common with the victim; and with its weights, and nothing."""
    rows = case_rows(table.frame, scope)
    met = rows[rows["case_number"] > 0].sort_values("case_number", kind="stable")
    of_own = rows[rows["case_number"] == 0]
    own = None if of_own.empty else row_of(of_own)
    if met.empty and own is None:
        return []
    parts = []
    ends = [row_of(met, i) for i in ((0,) if len(met) == 1 else (0, -1))] if len(met) else []
    for i, row in enumerate(ends):
        how = "fools victims in" if i == 0 else "in"
        whose = who(int(row["case_number"]))
        rate = of_hundred(row, "images" if i == 0 else "", n=f"n {row['n']:,}")
        parts.append(f"{'an attacker who' if i == 0 else 'one who'} {whose} ({row['case']}) {how} {rate}")
    if own is not None:
        rate = of_hundred(own, "" if parts else "images", n=f"n {own['n']:,}")
        parts.append(f"attacks on the very model that they were made on turn {rate}")
    nothing = rows[rows["case_number"] == CONTROL]
    if len(nothing) == 1:
        parts.append(f"changes of at most that size that no model made turn {of_hundred(row_of(nothing))}")
    text = f"At {scope.budget}{scope.said()} {'; '.join(parts)}."
    used = [*ends, *([own] if own is not None else [])]
    return [
        Finding(
            kind="cases", text=text, page="transfer", table="cases", ranges_over=over(r["ranges_over"] for r in used)
        )
    ]


def case_rows(frame: pd.DataFrame, scope: Scope) -> pd.DataFrame:
    """The rows of the table of cases that sentences and figure are about: one a case, one without a model.

    The white box is that of surrogates on themselves, else of victims, at the victim's levels.
    """
    rows = scope.at(frame[frame["asr"].notna()])
    met = scope.within(rows)
    met = met[met["case_number"] > 0]
    aside = rows[rows["case_number"] <= 0]
    for axis, level in scope.levels.items():
        if axis.endswith("_v"):
            aside = aside[aside[axis].isin([level, ""])]
    own, nothing = aside[aside["case_number"] == 0], aside[aside["case_number"] == CONTROL]
    if "reads" in own and (own["reads"] == "surrogate").any():
        own = own[own["reads"] == "surrogate"]
    own, nothing = (some.sort_values("cells", ascending=False, kind="stable").head(1) for some in (own, nothing))
    return pd.concat([own, met, nothing])


def effects_told(table: Table | None) -> list[Finding]:
    """What each mismatch costs the attacker, the dearest first, and what cannot be told from nothing."""
    if table is None:
        return []
    frame = table.frame[table.frame["effect"].notna() & table.frame["low"].notna()]
    if frame.empty:
        return []
    frame = frame.sort_values("effect", kind="stable")
    costs, helps, nothing = [], [], []
    for row in records(frame):
        name = MISMATCH.get(str(row["axis"]), f"another {row['axis']}")
        if row["high"] < 0:
            costs.append((row, name, f"{points(row['effect'])} points ({_cost(row)})"))
        elif row["low"] > 0:
            helps.append(f"{name} helps him by {points(row['effect'])} points ({_gain(row)})")
        else:
            small = ", and is surely less than 2 points" if row["equivalent"] else ""
            nothing.append(f"{name} cannot be told from none ({_cost(row)} points){small}")
    parts = [
        f"{name} costs the attacker {said}" if i == 0 else f"{name} {said}" for i, (_, name, said) in enumerate(costs)
    ]
    if len(costs) > 1 and costs[1][0]["low"] <= costs[0][0]["high"]:
        parts[1] += ", which cannot be told from the first"
    text = capital("; ".join([*parts, *helps, *nothing])) + "."
    return [
        Finding(
            kind="effects",
            text=text,
            page="transfer",
            table="effects",
            name=costs[0][1] if costs else "",
            number=costs[0][2] if costs else "",
            ranges_over=over(frame["ranges_over"]),
        )
    ]


def _cost(row: Mapping[str, Any]) -> str:
    """The limits of what a mismatch costs: the effect with its sign turned."""
    low, high = -100 * row["high"], -100 * row["low"]
    form = ".0f" if min(abs(low), abs(high)) >= 10 else ".1f"
    return f"{low + 0.0:{form}} to {high + 0.0:{form}}"


def _gain(row: Mapping[str, Any]) -> str:
    return f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"


def victims_told(table: Table | None, scope: Scope) -> list[Finding]:
    """Which victim transfer attacks fool most, how many cannot be told from it, and which they fool least."""
    if table is None:
        return []
    rows = scope.within(table.frame, "s")
    rows = rows[rows["asr"].notna()].sort_values("asr", ascending=False, kind="stable")
    if rows.empty:
        return []
    names = short(rows["victim"])
    first, last = row_of(rows), row_of(rows, -1)
    name, equals = names[first["victim"]], int(overlaps(rows, first).sum()) - 1
    text = f"{name}, the only victim, is fooled in {of_hundred(first, 'images', n=_n(first))} by attacks made on others"
    if len(rows) > 1:
        tie = f", which cannot be told from {times(equals, 'other')}" if equals else ""
        text = (
            f"Most exposed of {len(rows)} victims is {name}, fooled in {of_hundred(first, 'images', n=_n(first))}"
            f"{tie}; least is {names[last['victim']]}, in {of_hundred(last)}"
        )
    return [
        Finding(
            kind="victim",
            text=f"{text}.",
            page="model",
            table="by-victim",
            name=name,
            number=percent(first["asr"], first["low"], first["high"]),
            ranges_over=over([first["ranges_over"]]),
            ties=equals,
        )
    ]


def _n(row: Mapping[str, Any]) -> str:
    return f"n {row['n']:,}"


def attacks_told(tables: Mapping[str, Table], scope: Scope) -> list[Finding]:
    """The strongest attack at equal cost; where costs were not compared, the strongest one and its ties."""
    if "equal-attack-cost" in tables:
        found = _at_equal_cost(tables["equal-attack-cost"].frame, scope)
        if found:
            return found
    if "by-attack" not in tables:
        return []
    rows = scope.within(tables["by-attack"].frame)
    rows = rows[rows["asr"].notna()].sort_values("asr", ascending=False, kind="stable")
    if "snapshot" in rows:
        rows = rows[~rows["snapshot"].astype(bool)]
    if len(rows) < 2:
        return []
    first, second = row_of(rows), row_of(rows, 1)
    equals = rows[overlaps(rows, first)].iloc[1:]
    names = attack_names(rows["attack"])
    passes = _passes(tables.get("sets"), scope)
    cost = f" at {passes[first['attack']]} passes an image" if first["attack"] in passes else ""
    name, rate = names[first["attack"]], of_hundred(first, "images", n=_n(first))
    text = f"The strongest of {len(rows)} attacks is {name}: {rate}{cost}"
    if len(equals):
        text += f"; it cannot be told from {listed([names[a] for a in equals['attack']])}"
    else:
        theirs = f" at {passes[second['attack']]}" if second["attack"] in passes else ""
        text += f"; next comes {names[second['attack']]} with {of_hundred(second)}{theirs}"
    return [_attack(text, name, first, "by-attack", len(equals))]


def _at_equal_cost(frame: pd.DataFrame, scope: Scope) -> list[Finding]:
    """The best of each cost class on one surrogate, as chosen on validation images."""
    rows = scope.at(frame)
    rows = rows[rows["asr"].notna()]
    if rows.empty:
        return []
    counts = rows.groupby("surrogate", sort=False).size()
    of = counts.index[int(counts.to_numpy().argmax())]
    rows = rows[rows["surrogate"] == of].sort_values("budget", kind="stable")
    parts = [
        f"up to {row['budget']:,} passes an image {row['attack']}, {of_hundred(row, '' if i else 'images', n=_n(row))}"
        for i, row in enumerate(records(rows))
    ]
    best = row_of(rows.sort_values("asr", ascending=False, kind="stable"))
    enough = row_of(rows[overlaps(rows, best)])
    more = ""
    if enough["budget"] < rows["budget"].iloc[-1]:
        more = f"; more than {enough['budget']:,} passes buy nothing that can be told"
    text = f"Strongest at equal cost (surrogate: {of}): {'; '.join(parts)}{more}"
    return [_attack(text, str(enough["attack"]), enough, "equal-attack-cost")]


def _attack(text: str, name: str, row: Mapping[str, Any], table: str, ties: int = 0) -> Finding:
    return Finding(
        kind="attack",
        text=f"{text}.",
        page="attacks",
        table=table,
        name=name,
        number=percent(row["asr"], row["low"], row["high"]),
        ranges_over=over([row["ranges_over"]]),
        ties=ties,
    )


def _passes(sets: Table | None, scope: Scope) -> dict[str, str]:
    """Forward and backward passes of each attack at the budget, a whole number; of those that are known."""
    if sets is None:
        return {}
    rows = scope.at(sets.frame)
    rows = rows[rows["passes per image"].notna()]
    return {str(row["attack"]): f"{row['passes per image']:,.0f}" for row in records(rows)}


def _defences_told(tables: Mapping[str, Table], scope: Scope) -> list[Finding]:
    """What to deploy against who has models alone, and against who has the weights."""
    met = threats_of(tables, scope.norm, scope.eps)
    models = next((threat for threat in THREATS[:2] if threat in met), None)
    asked = [threat for threat in (models, THREATS[-1]) if threat in met]
    return [in_one(tables, threat, scope.norm, scope.eps) for threat in asked if threat is not None]


def _ranges_told(told: list[Finding]) -> list[Finding]:
    """What the intervals of the sentences range over."""
    kinds: dict[str, list[str]] = {}
    names = {
        "cases": "the cases",
        "effects": "a mismatch",
        "victim": "the victims",
        "attack": "the attack",
        "defence": "the defences",
    }
    for finding in told:
        if finding.ranges_over:
            kinds.setdefault(finding.ranges_over, []).append(names[finding.kind])
    if not kinds:
        return []
    if len(kinds) == 1:
        text = f"In brackets: 95% intervals over {next(iter(kinds))}."
    else:
        parts = [f"of {listed(list(dict.fromkeys(of)), 9)} over {ranges}" for ranges, of in kinds.items()]
        text = f"In brackets: 95% intervals, {'; '.join(parts)}."
    return [Finding(kind="intervals", text=text, page="transfer", table="cases")]
