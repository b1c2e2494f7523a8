"""The figures of a report, from the tables of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import altair as alt
import pandas as pd

from carom.scenarios.charts import theme
from carom.scenarios.charts.cases import ACROSS, rows_of
from carom.scenarios.charts.costs import costs
from carom.scenarios.charts.curves import curves, eps_ticks
from carom.scenarios.charts.dots import dots
from carom.scenarios.charts.dumbbells import dumbbells, marks
from carom.scenarios.charts.matrix import heat_map
from carom.scenarios.charts.names import short
from carom.scenarios.findings import defences as defence_findings
from carom.scenarios.statistics import Outcomes, group_table
from carom.scenarios.statistics.outcomes import eps_value
from carom.scenarios.tables.table import INTERVAL, Form, Table, interval_notes, records, with_intervals

from .groups import attacked, columns_before, group_names, headline

PAIRED = 40  # surrogates and victims in a heat map, at most
RANKED = 50  # rows in a figure of ranks, at most
FORMS: Mapping[str, Form] = {"n": "count", "ASR": "percent", INTERVAL: "text"}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure with what it was drawn from.

    Attributes:
        title: What it shows.
        chart: What is drawn.
        said: The same in words, for who cannot see it.
        caption: Units, n, and what intervals range over.
        data: Its numbers.
    """

    title: str
    chart: alt.LayerChart
    said: str
    caption: str
    data: Table


def measured_figures(outcomes: Outcomes, tables: Mapping[str, Table]) -> list[Figure]:
    """All that a run has numbers for, from its tables by name."""
    return [
        *cases_drawn(tables["cases"]),
        *attacks_drawn(tables.get("by-attack")),
        *eps_drawn(tables.get("by-attack")),
        *pairs_drawn(outcomes),
        *surrogates_drawn(tables.get("surrogates")),
        *defenses_drawn(tables),
    ]


def cases_drawn(table: Table) -> list[Figure]:
    """ASR of each case, for the largest eps of each norm."""
    named, order = rows_of(table.frame, pd.DataFrame())
    frame = table.frame.assign(label=table.frame["case"].map(named))
    frame = frame.sort_values("label", key=lambda label: label.map(order.index), kind="stable")
    note = "Surrogate and victim differ in D: source of the images, B: balance of the classes, M: architecture."
    by = columns_before(table)
    return _ranked(attacked(frame, by), by, "ASR by case", note, lambda rows: rows_of(rows, pd.DataFrame())[1])


def attacks_drawn(table: Table | None) -> list[Figure]:
    """ASR of each attack, the strongest first, for the largest eps of each norm."""
    if table is None or table.frame["attack"].nunique() < 2:
        return []
    names = short(table.frame["attack"])
    frame = table.frame.assign(label=table.frame["attack"].map(names)).sort_values(
        "asr", ascending=False, kind="stable"
    )
    by = [c for c in columns_before(table) if c != "attack"]
    return _ranked(frame, by, "Attacks, ranked by ASR", "C0 and surrogate-free controls are left out.")


def _ranked(
    frame: pd.DataFrame,
    by: list[str],
    title: str,
    note: str,
    order: Callable[[pd.DataFrame], Sequence[str]] = lambda rows: list(dict.fromkeys(rows["label"])),
) -> list[Figure]:
    """Dots of the rows of `label`, a figure for each norm at its largest eps; rows in an order, or as they come."""
    further = [c for c in by if c not in ("norm", "eps")]
    figures = []
    largest = headline(frame)
    for norm, eps in largest.sort_index()[["norm", "eps"]].drop_duplicates().itertuples(index=False, name=None):
        rows = largest[largest["norm"] == norm]
        of = f"{title}, {norm} {eps}"
        series = group_names(rows.sort_index(), further) if further else {(): ""}
        chosen = rows.assign(series=[series[tuple(row[c] for c in further)] for row in records(rows)])
        if len(series) > theme.SERIES:  # too many to tell apart by colour, so each is a row
            chosen = chosen.assign(label=chosen["label"] + ", " + chosen["series"], series="")
            labels = list(dict.fromkeys(chosen["label"]))
        else:
            place = list(series.values()).index
            chosen = chosen.sort_values("series", key=lambda s: s.map(place), kind="stable")
            labels = list(order(rows))
        cut = f" Only the first {RANKED} of {len(labels)} rows; the rest is in the table." * (len(labels) > RANKED)
        part = chosen[chosen["label"].isin(labels[:RANKED])]
        if part["asr"].isna().all():
            continue
        figures.append(
            Figure(
                title=of,
                chart=dots(part, rows=labels[:RANKED], across=ACROSS),
                said=f"{of}: {_extremes(part)}",
                caption=f"{note} {_caption(part)}{cut}",
                data=_data(part, ("label", *by)),
            )
        )
    return figures


def eps_drawn(table: Table | None) -> list[Figure]:
    """ASR over eps, a line an attack, for each norm that has several eps above 0."""
    if table is None:
        return []
    by = [c for c in columns_before(table) if c not in ("norm", "eps")]
    figures = []
    for norm, rows in table.frame.groupby("norm", sort=False):
        size = rows["eps"].map(eps_value)
        rows = rows[size > 0].assign(size=size)
        several = rows.groupby(by, sort=False, dropna=False)["eps"].transform("nunique") > 1
        rows = rows[several & rows["asr"].notna()]
        if not len(rows):
            continue
        names = group_names(rows, by)
        rows = rows.assign(series=[names[tuple(r[c] for c in by)] for r in records(rows)])
        ranks = rows[rows["size"] == rows["size"].max()].sort_values("asr", ascending=False, kind="stable")
        kept = list(dict.fromkeys([*ranks["series"], *rows["series"]]))[: theme.SERIES]
        cut = f" Only the {theme.SERIES} strongest of {rows['series'].nunique()}."
        cut *= rows["series"].nunique() > theme.SERIES
        shown = rows[rows["series"].isin(kept)].sort_values(["series", "size"], kind="stable")
        shown = shown.sort_values("series", key=lambda s: s.map(kept.index), kind="stable")
        title = f"ASR over eps, {norm}"
        figures.append(
            Figure(
                title=title,
                chart=curves(
                    shown.rename(columns={"size": "radius", "series": "attacks"}),
                    line="attacks",
                    across="radius",
                    title=f"eps ({norm}, pixel units of [0, 1])",
                    ticks=eps_ticks(shown.rename(columns={"size": "radius"})),
                ),
                said=f"{title}: {_extremes(shown.assign(label=shown['series'] + ' ' + shown['eps']))}",
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
    for (norm, eps), rows in headline(table).groupby(["norm", "eps"], sort=False):
        kept, cut = rows, []
        for side in ("surrogate", "victim"):
            strength = kept.groupby(side, sort=False)["asr"].mean().sort_values(ascending=False, kind="stable")
            if len(strength) > PAIRED:
                cut.append(f"the {PAIRED} of {len(strength):,} {side}s with the highest mean ASR")
                kept = kept[kept[side].isin(strength.index[:PAIRED])]
        order = kept.groupby("surrogate", sort=False)["asr"].mean().sort_values(ascending=False, kind="stable").index
        drawn = kept.assign(
            surrogate=pd.Categorical(kept["surrogate"], list(order), ordered=True),
            victim=pd.Categorical(kept["victim"], list(dict.fromkeys(kept["victim"])), ordered=True),
        )
        title = f"Who fools whom, {norm} {eps}"
        worst = kept.sort_values("asr", kind="stable").assign(label=kept["surrogate"] + " on " + kept["victim"])
        figures.append(
            Figure(
                title=title,
                chart=heat_map(drawn, "surrogate", "victim"),
                said=f"{title}: {_extremes(worst)}",
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
        shown = known.assign(label=known["surrogate"].map(names)).sort_values(
            "efficient", ascending=False, kind="stable"
        )
        title = f"Surrogates: ASR over cost, {attack}, {norm} {eps}"
        figures.append(
            Figure(
                title=title,
                chart=costs(shown.assign(surrogate=shown["label"]), cost),
                said=f"{title}: {_extremes(shown)}",
                caption="ASR on all victims but a surrogate's own models. Names where there is room; all are in the "
                f"data. {_caption(shown)}",
                data=replace(
                    _data(shown, ("surrogate", cost)),
                    forms={"surrogate": "text", cost: "number" if cost == "trainings" else "count", **FORMS},
                ),
            )
        )
    return figures


def defenses_drawn(tables: Mapping[str, Table]) -> list[Figure]:
    """What each defence keeps, ranked against the attacker who has least: a figure for each budget."""
    if "defenses" not in tables or "defenses-by-threat" not in tables:
        return []
    figures = []
    budgets = tables["defenses"].frame[["norm", "eps"]].drop_duplicates()
    for norm, eps in budgets.itertuples(index=False, name=None):
        threats = defence_findings.threats_of(tables, norm, eps)
        if not threats:
            continue
        found = defence_findings.ranked(tables, threats[0], norm, eps)
        said = marks(found.rows).assign(label=lambda t: t["defence"] + ", " + t["under"])
        said = said.rename(columns={"accuracy": "asr", "interval": INTERVAL})
        rows = found.rows
        title = f"Defences against {defence_findings.AGAINST[threats[0]]}, {norm} {eps}"
        figures.append(
            Figure(
                title=title,
                chart=dumbbells(rows, beside=defence_findings.beside(rows)),
                said=f"{title}: {_extremes(said)}",
                caption="Accuracy over all images, clean errors included; average over pairs of surrogate and attack, "
                "strongest: the pair that is lowest on validation images, each victim's own; white box: on the model "
                "itself. Below each name its place, its training in those of an undefended model, and signs of masked "
                f"gradients. {_caption(rows.assign(n=rows['images']), 'images')}",
                data=Table(
                    name="data",
                    title=title,
                    frame=said.assign(accuracy=said["asr"]),
                    forms={"defence": "text", "under": "text", "accuracy": "percent", INTERVAL: "text"},
                ),
            )
        )
    return figures


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
