"""What matters first in a report, in sentences: controls, defences, cases, and what a mismatch costs."""

from collections.abc import Mapping
from html import escape

import pandas as pd

from carom.scenarios.tables.defenses import several_configurations
from carom.scenarios.tables.table import INTERVAL, Table, records

from .groups import attacked, columns_before, group_key, group_names, headline, rate_words

HEADLINES = 6
KEPT = {"clean": "clean", "best": "under the best transfer pair", "white box": "in the white box"}


def in_short(tables: Mapping[str, Table]) -> list[str]:
    points = [
        *_controls_told(tables.get("controls")),
        *_defenses_told(tables.get("defenses")),
        *_cases_told(tables["cases"]),
        *_effects_told(tables.get("effects")),
    ]
    note = "In brackets: 95% intervals; what they range over stands below each table."
    return ["<ul>", *(f"<li>{point}</li>" for point in points), "</ul>", f'<p class="note">{note}</p>']


def _controls_told(table: Table | None) -> list[str]:
    if table is None:
        return []
    counts = table.frame["status"].value_counts()
    said = ", ".join(f"{counts[s]} {s}" for s in ("failed", "warned", "passed", "not run") if s in counts)
    bad = table.frame[table.frame["status"].isin(["failed", "warned"])].sort_values("status", kind="stable")
    told = [
        f"<b>{escape(row['status'])}</b>: {escape(row['control'])}: {escape(row['came'])}; expected: "
        f"{escape(row['expected'])}."
        for row in records(bad)
    ]
    return [f"Controls: {said}.", *told]


def _cases_told(table: Table) -> list[str]:
    """A sentence for each budget and each level of what cases must not mix."""
    by = columns_before(table)
    frame = headline(attacked(table.frame, by))
    groups = list(frame.groupby(by, sort=False, dropna=False))
    names = group_names(frame, by)
    told = []
    for key, rows in groups:
        cases = rows.assign(said=[f"{r['case']} {rate_words(r)}" for r in records(rows)])
        own = cases[cases["case_number"] == 0]
        met = cases[cases["case_number"] > 0].sort_values("asr", kind="stable")
        free = cases[cases["case_number"] < 0]
        if not len(own) and not len(met):
            continue
        parts = [f"white box {said}" for said in own["said"]]
        if len(met) == 1:
            parts.append(f"transfer {met['said'].iloc[0]}")
        elif len(met):
            parts.append(f"transfer from {met['said'].iloc[0]} to {met['said'].iloc[-1]}")
        parts += [f"surrogate-free {said}" for said in free["said"]]
        told.append(f"ASR at {escape(names[group_key(key)])}: {escape('; '.join(parts))}.")
    more = len(told) - HEADLINES
    return [*told[:HEADLINES], *([f"{more} more such lines are in the table of cases."] if more > 0 else [])]


def _defenses_told(table: Table | None) -> list[str]:
    """A sentence for each defence and budget."""
    if table is None:
        return []
    told = []
    several = several_configurations(table.frame)
    for row, said in zip(records(table.frame), records(table.formatted()), strict=True):
        kept = [
            f"{name} {said[column]} ({row[f'{column} 95%']})"
            for column, name in KEPT.items()
            if column in said and said[column] != "–"
        ]
        which = f"{row['defense']} ({row['configuration']})" if several else row["defense"]
        what = f"Defence {which} at {row['norm']} {row['eps']}"
        doubt = f"; {row['alarms']} signs of masked gradients, so trust neither" if row["alarms"] else ""
        told.append(f"{escape(what)}: accuracy {escape('; '.join(kept))}{doubt}.")
    return told


def _effects_told(table: Table | None) -> list[str]:
    if table is None:
        return []
    return [
        f"A mismatch in {escape(str(r['axis']))} changes ASR by {100 * r['effect']:+.1f} points "
        f"({escape(r[INTERVAL])}; {r['cells']:,} cells, over {escape(str(r['ranges_over']))})."
        for r in records(table.frame)
        if not pd.isna(r["effect"])
    ]
