"""One run as one HTML file that needs nothing else: no network, no scripts, no fonts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib import resources
from typing import Any
from urllib.parse import quote

import pandas as pd

from carom.scenarios.statistics import Outcomes, group_table
from carom.scenarios.statistics.outcomes import eps_value
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import Run, find_run
from carom.scenarios.tables.defenses import defense_names, several_configurations
from carom.scenarios.tables.table import Form, Table, interval_notes, records, with_intervals
from carom.scenarios.tables.which import show_run

from .figures import SERIES, Estimate, curves, dots, heat_map, short

OPEN_ROWS = 30  # a longer table is folded
PAIRED = 40  # surrogates and victims in a heat map, at most
RANKED = 50  # rows in a figure of ranks, at most
HEADLINES = 6
READS = {"surrogate": "", "victim": "made on the victim", "both": "victim asked too"}  # the first is what is usual
KEPT = {"clean": "clean", "best": "under the best transfer pair", "white box": "in the white box"}
FORMS: Mapping[str, Form] = {"n": "count", "ASR": "percent", "95% interval": "text"}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure with what it was drawn from.

    Attributes:
        title: What it shows.
        svg: The drawing.
        caption: Units, n, and what intervals range over.
        data: Its numbers.
    """

    title: str
    svg: str
    caption: str
    data: Table


def write_report(store: Store, run: str) -> str:
    """The report of a run: how far it came, what matters first, figures with their data, and every table.

    Raises:
        InputError: The run has no outcome yet.
    """
    found = find_run(store, run)
    tables = show_run(store, found.id)
    named = {table.name: table for table in tables}
    measured = found.status != "published"  # else there are means without intervals, and no answers to images
    figures = measured_figures(read_outcomes(store, found.id), named) if measured else []
    style = resources.files("carom.scenarios.report").joinpath("report.css").read_text(encoding="utf-8")
    body = [
        _header(found),
        *(["<h2>In short</h2>", *_in_short(named)] if measured else []),
        "<h2>Figures</h2>" if figures else "",
        *(_figure(figure, found.id, i) for i, figure in enumerate(figures, start=1)),
        "<h2>Tables</h2>",
        *(_section(table, found.id) for table in tables),
        "<h2>Scenario</h2>",
        f"<details><summary>as it came</summary><pre>{escape(found.text)}</pre></details>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(found.id)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


# ---------------------------------------------------------------------------------------------------------------- text


def _header(run: Run) -> str:
    versions = run.environment.get("versions", {})
    environment = [
        f"Python {run.environment['python']}" if "python" in run.environment else "",
        *(f"{name} {version}" for name, version in versions.items()),
        f"on {', '.join(run.environment['devices'])}" if run.environment.get("devices") else "",
        str(run.environment.get("machine", "")),
    ]
    facts = {
        "scenario": run.scenario,
        "about": run.description,
        "task": run.task,
        "started": _when(run.started),
        "finished": _when(run.finished or ""),
        "environment": ", ".join(e for e in environment if e),
        "cells": f"{run.done:,} of {run.cells:,} have an outcome" if run.cells else "",
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items() if fact)
    alarm = _unfinished(run)
    told = f'<p class="alarm" role="alert"><b>Incomplete.</b> {escape(alarm)}</p>' if alarm else ""
    return f"<header><h1>{escape(run.id)}</h1>{told}<dl>{rows}</dl></header>"


def _when(moment: str) -> str:
    return moment.replace("T", " ").replace("+00:00", " UTC")


def _unfinished(run: Run) -> str:
    """Why the numbers may change yet; nothing for a run that is done."""
    if run.status in ("done", "published") and run.done == run.cells:
        return ""
    words = {"running": "The run had not ended when this was written", "interrupted": "The run was interrupted"}
    begin = words.get(run.status, "The run ended with failures" if run.failed else "The run has gaps")
    failed = f", {run.failed:,} of them failed" if run.failed else ""
    missing = f"{run.cells - run.done:,} of {run.cells:,} cells have no outcome{failed}"
    return f"{begin}: {missing}. Every number below is over the cells that have one."


def _in_short(tables: Mapping[str, Table]) -> list[str]:
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
    by = _by(table)
    frame = _headline(_attacked(table.frame, by))
    groups = list(frame.groupby(by, sort=False, dropna=False))
    names = _group_names(frame, by)
    told = []
    for key, rows in groups:
        cases = rows.assign(said=[f"{r['case']} {_rate(r)}" for r in records(rows)])
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
        told.append(f"ASR at {escape(names[_key(key)])}: {escape('; '.join(parts))}.")
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
        f"({escape(r['95% interval'])}; {r['cells']:,} cells, over {escape(str(r['ranges_over']))})."
        for r in records(table.frame)
        if not pd.isna(r["effect"])
    ]


def _rate(row: Mapping[str, Any]) -> str:
    if pd.isna(row["asr"]):
        return "unknown, as n is 0"
    interval = f"{row['95% interval']}, " if row["95% interval"] != "–" else ""
    return f"{100 * row['asr']:.1f}% ({interval}n {row['n']:,})"


# ------------------------------------------------------------------------------------------------------------- figures


def measured_figures(outcomes: Outcomes, tables: Mapping[str, Table]) -> list[Figure]:
    """All that a run has numbers for, from its tables by name."""
    return [
        *cases_drawn(tables["cases"]),
        *attacks_drawn(tables.get("by-attack")),
        *eps_drawn(tables.get("by-attack")),
        *pairs_drawn(outcomes),
        *surrogates_drawn(tables.get("surrogates")),
        *defenses_drawn(tables.get("defenses")),
    ]


def cases_drawn(table: Table) -> list[Figure]:
    """ASR of each case, for the largest eps of each norm."""
    order = table.frame["case_number"].where(table.frame["case_number"] >= 0, len(table.frame) + 100)
    frame = table.frame.assign(label=table.frame["case"] + " · " + table.frame["mismatch"], order=order)
    note = "Surrogate and victim differ in D: source of the images, B: balance of the classes, M: architecture."
    return _ranked(_attacked(frame, _by(table)).sort_values("order", kind="stable"), _by(table), "ASR by case", note)


def attacks_drawn(table: Table | None) -> list[Figure]:
    """ASR of each attack, the strongest first, for the largest eps of each norm."""
    if table is None or table.frame["attack"].nunique() < 2:
        return []
    names = short(table.frame["attack"])
    frame = table.frame.assign(label=table.frame["attack"].map(names)).sort_values(
        "asr", ascending=False, kind="stable"
    )
    by = [c for c in _by(table) if c != "attack"]
    return _ranked(frame, by, "Attacks, ranked by ASR", "C0 and surrogate-free controls are left out.")


def _ranked(frame: pd.DataFrame, by: list[str], title: str, note: str) -> list[Figure]:
    """Dots of the rows of `label`, a figure for each norm at its largest eps."""
    further = [c for c in by if c not in ("norm", "eps")]
    figures = []
    headline = _headline(frame)
    for norm, eps in headline.sort_index()[["norm", "eps"]].drop_duplicates().itertuples(index=False, name=None):
        rows = headline[headline["norm"] == norm]
        of = f"{title}, {norm} {eps}"
        series = _group_names(rows.sort_index(), further) if further else {(): ""}
        chosen = rows.assign(series=[series[tuple(row[c] for c in further)] for row in records(rows)])
        if len(series) > SERIES:  # too many to tell apart by colour, so each is a row
            chosen = chosen.assign(
                label=chosen["label"].str.replace(" · none", "") + ", " + chosen["series"], series=""
            )
        else:
            place = list(series.values()).index
            chosen = chosen.sort_values("series", key=lambda s: s.map(place), kind="stable")
        labels = list(dict.fromkeys(chosen["label"] if len(series) > SERIES else rows["label"]))
        cut = f" Only the first {RANKED} of {len(labels)} rows; the rest is in the table." * (len(labels) > RANKED)
        part = chosen[chosen["label"].isin(labels[:RANKED])]
        if part["asr"].isna().all():
            continue
        figures.append(
            Figure(
                title=of,
                svg=dots(
                    _estimates(part),
                    rows=labels[:RANKED],
                    alt=f"{of}: {_extremes(part)}",
                    across="ASR, attack success rate",
                ),
                caption=f"{note} {_caption(part)}{cut}",
                data=_data(part, ("label", *by)),
            )
        )
    return figures


def eps_drawn(table: Table | None) -> list[Figure]:
    """ASR over eps, a line an attack, for each norm that has several eps above 0."""
    if table is None:
        return []
    by = [c for c in _by(table) if c not in ("norm", "eps")]
    figures = []
    for norm, rows in table.frame.groupby("norm", sort=False):
        size = rows["eps"].map(eps_value)
        rows = rows[size > 0].assign(size=size)
        several = rows.groupby(by, sort=False, dropna=False)["eps"].transform("nunique") > 1
        rows = rows[several & rows["asr"].notna()]
        if not len(rows):
            continue
        names = _group_names(rows, by)
        rows = rows.assign(series=[names[tuple(r[c] for c in by)] for r in records(rows)])
        ranks = rows[rows["size"] == rows["size"].max()].sort_values("asr", ascending=False, kind="stable")
        kept = list(dict.fromkeys([*ranks["series"], *rows["series"]]))[:SERIES]
        cut = f" Only the {SERIES} strongest of {rows['series'].nunique()}." * (rows["series"].nunique() > SERIES)
        shown = rows[rows["series"].isin(kept)].sort_values(["series", "size"], kind="stable")
        shown = shown.sort_values("series", key=lambda s: s.map(kept.index), kind="stable").assign(label="")
        figures.append(
            Figure(
                title=f"ASR over eps, {norm}",
                svg=curves(
                    _estimates(shown, x="size"),
                    alt=f"ASR over eps, {norm}: {_extremes(shown.assign(label=shown['series'] + ' ' + shown['eps']))}",
                    across=f"eps ({norm}, pixel units of [0, 1])",
                    up="ASR",
                    ticks=dict(zip(shown["size"], shown["eps"], strict=True)),
                    joined=True,
                ),
                caption=f"C0 and surrogate-free controls are left out. {_caption(shown)}{cut}",
                data=_data(shown, (*by, "norm", "eps")),
            )
        )
    return figures


def pairs_drawn(outcomes: Outcomes) -> list[Figure]:
    """A heat map of surrogates and victims over all attacks, for the largest eps of each norm; C0 left out."""
    cells = outcomes.cells
    plain = outcomes.transfer & ~outcomes.targeted
    if "reads" in cells:
        plain &= (cells["reads"] == "surrogate").to_numpy(dtype=bool)
    if not plain.any():
        return []
    table = group_table(outcomes.where(plain), by=("surrogate", "victim", "norm", "eps"))
    table = with_intervals(table[table["n"] > 0])
    figures = []
    for (norm, eps), rows in _headline(table).groupby(["norm", "eps"], sort=False):
        kept, cut = rows, []
        for side in ("surrogate", "victim"):
            strength = kept.groupby(side, sort=False)["asr"].mean().sort_values(ascending=False, kind="stable")
            if len(strength) > PAIRED:
                cut.append(f"the {PAIRED} of {len(strength):,} {side}s with the highest mean ASR")
                kept = kept[kept[side].isin(strength.index[:PAIRED])]
        surrogates, victims = short(kept["surrogate"]), short(kept["victim"])
        order = kept.groupby("surrogate", sort=False)["asr"].mean().sort_values(ascending=False, kind="stable").index
        values = {
            (surrogates[r["surrogate"]], victims[r["victim"]]): (
                r["asr"],
                f"{r['surrogate']} on {r['victim']}: {_rate(r)}",
            )
            for r in records(kept)
        }
        title = f"Who fools whom, {norm} {eps}"
        worst = kept.sort_values("asr", kind="stable").assign(label=kept["surrogate"] + " on " + kept["victim"])
        figures.append(
            Figure(
                title=title,
                svg=heat_map(
                    values,
                    rows=[surrogates[name] for name in order],
                    columns=list(victims.values()),
                    alt=f"{title}: {_extremes(worst)}",
                    down="surrogate",
                    across="victim",
                ),
                caption="ASR in percent over all untargeted attacks, surrogates with the highest mean first; a "
                "surrogate's own model (C0) is left out; parts of names that all share are left out. "
                + (f"Only {' and '.join(cut)}. " if cut else "")
                + f"Intervals are in the data. {_caption(kept)}",
                data=_data(kept, ("surrogate", "victim", "norm", "eps")),
            )
        )
    return figures


def surrogates_drawn(table: Table | None) -> list[Figure]:
    """ASR over what a surrogate cost to train, for each attack and budget."""
    if table is None:
        return []
    figures = []
    cost = "trainings" if table.frame["trainings"].notna().any() else "training passes"
    for (attack, norm, eps), rows in table.frame.groupby(["attack", "norm", "eps"], sort=False):
        known = rows[(rows[cost] > 0) & rows["asr"].notna()]
        if known[cost].nunique() < 2:
            continue
        names = short(known["surrogate"], 30)
        best = known["efficient"].map({True: "best at its cost", False: "another does better for less"})
        shown = known.assign(label=known["surrogate"].map(names), series=best).sort_values(
            "efficient", ascending=False, kind="stable"
        )
        title = f"Surrogates: ASR over cost, {attack}, {norm} {eps}"
        figures.append(
            Figure(
                title=title,
                svg=curves(
                    _estimates(shown, x=cost),
                    alt=f"{title}: {_extremes(shown)}",
                    across="trainings of a single network, log" if cost == "trainings" else "training passes, log",
                    up="ASR",
                    log=True,
                ),
                caption="ASR on all victims but a surrogate's own models. Names where there is room; all are in the "
                f"data. {_caption(shown)}",
                data=replace(
                    _data(shown, ("surrogate", cost)),
                    forms={"surrogate": "text", cost: "number" if cost == "trainings" else "count", **FORMS},
                ),
            )
        )
    return figures


def defenses_drawn(table: Table | None) -> list[Figure]:
    """What each defence keeps: clean, under the best transfer pair, and in the white box, for each budget."""
    if table is None:
        return []
    frame = table.frame
    name = defense_names(frame)
    pair = "best" if frame["best"].notna().any() else "average"
    columns = {"clean": "clean", pair: f"{pair} transfer pair", "white box": "white box"}
    figures = []
    names = short(name, 44) if several_configurations(frame) else {n: n for n in name}
    for (norm, eps), rows in frame.assign(defence=name).groupby(["norm", "eps"], sort=False):
        parts = []
        for column, series in columns.items():
            raw = column.replace(" ", "_")
            part = rows[["defence", "images", "seeds", "ranges_over", "claim"]].assign(
                series=series, asr=rows[column], low=rows[f"{raw}_low"], high=rows[f"{raw}_high"], n=rows["images"]
            )
            parts.append(part)
        long = pd.concat(parts, ignore_index=True)
        long = with_intervals(long[long["asr"].notna()].assign(label=long["defence"].map(names)))
        shown = long.rename(columns={"ASR": "accuracy"})
        title = f"Defences: accuracy, {norm} {eps}"
        figures.append(
            Figure(
                title=title,
                svg=dots(
                    _estimates(long),
                    rows=long["label"].tolist(),
                    alt=f"{title}: {_extremes(long)}",
                    across="accuracy, all images",
                ),
                caption="Accuracy over all images, clean errors included; "
                + (
                    "the best pair of surrogate and attack is each victim's own, chosen on validation images. "
                    if pair == "best"
                    else "mean over pairs of surrogate and attack. "
                )
                + _caption(long, "images"),
                data=Table(
                    name="data",
                    title=title,
                    frame=shown,
                    forms={
                        "defence": "text",
                        "series": "text",
                        "n": "count",
                        "accuracy": "percent",
                        "95% interval": "text",
                    },
                ),
            )
        )
    return figures


def _by(table: Table) -> list[str]:
    """The columns that name a row of rates: those of words before the counts, but the case itself."""
    names = list(table.forms)
    until = names.index("cells")
    return [c for c in names[:until] if c not in ("case", "mismatch")]


def _attacked(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The rows of cases whose group has more than surrogate-free sets; all where no group has."""
    met = (frame["case_number"] >= 0).groupby([frame[c] for c in by], dropna=False).transform("any")
    return frame[met] if met.any() else frame


def _headline(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows at the largest eps of each norm."""
    size = frame["eps"].map(eps_value)
    return frame[size == size.groupby(frame["norm"]).transform("max")]


def _group_names(frame: pd.DataFrame, by: Sequence[str]) -> dict[tuple[Any, ...], str]:
    """Each combination of levels in words, without what all share, norm and eps apart."""
    keys = [tuple(row[c] for c in by) for row in records(frame[list(by)].drop_duplicates())]
    columns = {column: [key[i] for key in keys] for i, column in enumerate(by)}
    words: dict[str, list[str]] = {}
    for column, values in columns.items():
        levels = short(map(str, values), 30)
        said = [levels[str(value)] or "unknown" for value in values]
        axis, side = column[:-2], column[-2:]
        if column in ("norm", "eps"):
            words[column] = [str(value) for value in values]
        elif len(levels) == 1:
            continue
        elif column == "targeted":
            words[column] = ["targeted" if value else "untargeted" for value in values]
        elif column == "reads":
            words[column] = [READS[value] for value in values]
        elif side == "_v" and f"{axis}_s" in words:
            words[f"{axis}_s"] = [f"{s} → {v}" for s, v in zip(words[f"{axis}_s"], said, strict=True)]
        elif side in ("_s", "_v"):
            both = len(set(columns.get(f"{axis}_v", ()))) > 1
            whose = "victim's " if side == "_v" else "" if both else "surrogate's "
            words[column] = [f"{whose}{axis} {level}" for level in said]
        else:
            words[column] = said
    named = {}
    for i, key in enumerate(keys):
        told = {column: of[i] for column, of in words.items()}
        budget = " ".join(told.pop(c) for c in ("norm", "eps") if c in told)
        named[key] = ", ".join(w for w in (budget, *told.values()) if w) or "made on the surrogate"
    return named


def _key(key: object) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _estimates(frame: pd.DataFrame, x: str | None = None) -> list[Estimate]:
    return [
        Estimate(
            label=str(r["label"]),
            value=float(r["asr"]),
            low=float(r["low"]),
            high=float(r["high"]),
            series=str(r["series"]),
            x=float("nan") if x is None else float(r[x]),
            tip=", ".join(w for w in (str(r["label"]), str(r["series"]), _rate(r)) if w),
        )
        for r in records(frame)
    ]


def _extremes(frame: pd.DataFrame) -> str:
    """Lowest and highest in words, for who cannot see the figure."""
    known = frame[frame["asr"].notna()].sort_values("asr", kind="stable")
    low, high = (known.iloc[i] for i in (0, -1))
    ends = (f"{100 * row['asr']:.1f}% ({row['label']})" for row in (low, high))
    return next(ends) if len(known) == 1 else f"{len(known)} values from {' to '.join(ends)}"


def _caption(frame: pd.DataFrame, of: str = "answers that were right on clean images") -> str:
    """The counts behind the rates, and what their intervals range over."""
    low, high = int(frame["n"].min()), int(frame["n"].max())
    n = f"n = {low:,}" if low == high else f"n from {low:,} to {high:,}"
    return " ".join((f"{n} {of}.", *interval_notes(frame)))


def _data(frame: pd.DataFrame, by: Sequence[str]) -> Table:
    forms: dict[str, Form] = {**dict.fromkeys(by, "text"), **FORMS}
    return Table(name="data", title="", frame=frame, forms=forms)


# ---------------------------------------------------------------------------------------------------------------- html


def _figure(figure: Figure, run: str, number: int) -> str:
    title = escape(figure.title)
    rows = f"{len(figure.data.frame):,} rows"
    return (
        f"<figure><div>{figure.svg}</div><figcaption><b>Figure {number}. {title}.</b> {escape(figure.caption)}"
        f"</figcaption><details><summary>data, {rows}</summary>{_table(figure.data)}</details>"
        f"{_csv(figure.data, f'{run}-figure-{number}')}</figure>"
    )


def _section(table: Table, run: str) -> str:
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    body = _table(table)
    if len(table.frame) > OPEN_ROWS:
        body = f"<details><summary>{len(table.frame):,} rows</summary>{body}</details>"
    return f"<section><h3>{escape(table.title)}</h3>{body}{notes}{_csv(table, f'{run}-{table.name}')}</section>"


def _table(table: Table) -> str:
    frame = table.formatted()

    def cells(tag: str, values: Iterable[object]) -> str:
        parts = []
        for column, value in zip(frame.columns, values, strict=True):
            words = str(value)
            long = "" if len(words) <= 24 else " long" if len(words) > 60 else " text"
            style = f"words{long}" if table.is_text(column) else "number"
            scope = ' scope="col"' if tag == "th" else ""
            parts.append(f'<{tag}{scope} class="{style}">{escape(words)}</{tag}>')
        return "<tr>" + "".join(parts) + "</tr>"

    head = cells("th", frame.columns)
    body = "\n".join(cells("td", row) for row in frame.itertuples(index=False, name=None))
    return f'<div class="wide"><table><thead>{head}</thead><tbody>\n{body}</tbody></table></div>'


def _csv(table: Table, name: str) -> str:
    """All columns as numbers, rates from 0 to 1, inside the link itself."""
    text = quote(table.frame.to_csv(index=False), safe=",()=+:")
    href = f"data:text/csv;charset=utf-8,{escape(text)}"
    return f'<p class="note csv"><a download="{escape(name)}.csv" href="{href}">CSV</a> of all columns</p>'
