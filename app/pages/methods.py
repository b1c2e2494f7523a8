"""Methods: what surrogates, attacks and defences buy, and at what cost."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from carom.app.charts import defenses as defense_chart
from carom.app.charts import students as student_chart
from carom.app.queries import methods as method_queries
from carom.app.shell import help, parts, views
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, header, show
from carom.app.shell.plain import code, plain
from carom.errors import CaromError
from carom.scenarios.charts.costs import COSTS, costs
from carom.scenarios.charts.curves import curves, eps_ticks, grown, strongest, traced
from carom.scenarios.charts.scatter import efficient, scatter
from carom.scenarios.tables.table import Table

SURROGATES = ("surrogates", "equal-training-cost", "geometry")
ATTACKS = ("equal-attack-cost", "by-attack", "sets")
DEFENSES = (
    "defenses",
    "defenses-intervals",
    "masking",
    "defenses-by-attacker",
    "label-leaking",
    "public-sources",
    "white-box-attacks",
    "defenses-by-victim",
    "game",
)
TABS = ("surrogates", "attacks", "defences")
SEEN = {"L2": "mean L2 of the change, pixels in [0, 1]", "SSIM": "mean SSIM with the clean image, 1 is equal"}


def page(opened: Opened) -> float:
    """Three tabs; which is open stands in the address."""
    header(opened, "Methods")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    if views.explained(opened, view):
        return seconds
    tab = pick(
        st.segmented_control,
        "Methods",
        TABS,
        "methods",
        TABS[0],
        format_func=str.capitalize,
        label_visibility="collapsed",
    )
    tables = {t.name: t for t in view.tables}
    if tab == "surrogates":
        surrogates(tables)
    elif tab == "attacks":
        attacks(tables)
    else:
        defenses(tables, opened)
    return seconds


# ---------------------------------------------------------------------------------------------------------- surrogates


def surrogates(tables: Mapping[str, Table]) -> None:
    """What surrogates cost, what that buys, and how flat their loss is."""
    if "surrogates" not in tables:
        st.info("This run does not compare ways of building a surrogate; `builder` in a scenario's surrogates does.")
        for name in ("geometry", "by-surrogate"):
            if name in tables:
                parts.table(tables[name])
        return
    frame = method_queries.with_budget(tables["surrogates"].frame)
    first, second, third = st.columns(3)
    attack = pick(first.selectbox, "Attack", list(dict.fromkeys(frame["attack"])), "attack", frame["attack"].iloc[-1])
    budget = pick(second.selectbox, "Budget", list(dict.fromkeys(frame["budget"])), "budget", frame["budget"].iloc[-1])
    cost = pick(third.selectbox, "Cost", list(COSTS), "cost", "trainings")
    chosen = frame[(frame["attack"] == attack) & (frame["budget"] == budget)].reset_index(drop=True)
    if chosen.empty:
        st.info("No surrogate has this attack with this budget; choose others.")
    else:
        rests = f"{attack}, {budget}. {_rests(chosen)}"
        if (chosen[cost] > 0).any():
            parts.figure(
                costs(chosen, cost),
                chosen,
                "surrogate-cost",
                f"ASR on all victims but a surrogate's own models, over its cost. {rests}",
                title="ASR against cost",
            )
        if "T-DEE" in chosen:
            parts.table(method_queries.worth(tables["surrogates"], chosen))
        if "geometry" in tables:
            flatness(tables["geometry"].frame, chosen, rests)
    for name in SURROGATES:
        if name in tables:
            parts.table(tables[name])
    papers(frame["surrogate"])


def flatness(geometry: pd.DataFrame, chosen: pd.DataFrame, rests: str) -> None:
    """Whether surrogates of a flatter loss transfer better."""
    measured, known = method_queries.measured(geometry, chosen)
    if not known:
        return
    measure = pick(st.selectbox, "Geometry measure", known, "geometry", known[0])
    found = measured[measured[measure].notna()].reset_index(drop=True)
    ranks = method_queries.rank_correlation(found, measure)
    said = f"Spearman's rank correlation {ranks:+.2f}" if math.isfinite(ranks) else "No rank correlation"
    parts.figure(
        scatter(
            found,
            name="surrogate",
            across=measure,
            title=f"{measure}, on training images" + (", log" if (found[measure] > 0).all() else ""),
            log=bool((found[measure] > 0).all()),
            told={measure: ".3g", "trainings": ".2f", "n": ",", "seeds": ","},
        ),
        found,
        "flatness",
        f"ASR over the {measure} of the surrogates' loss, mean over seeds. {said} over these {len(found)} "
        f"surrogates: a description of them, no claim about others. {rests}",
        title="Flatness against transfer",
    )


# ------------------------------------------------------------------------------------------------------------- attacks


def attacks(tables: Mapping[str, Table]) -> None:
    """What attacks reach, over their radius, their steps, their passes and how visible they are."""
    if "by-attack" not in tables:
        st.info("No surrogate's set has met a victim of other weights yet; without that no attack can be compared.")
        return
    frame, apart = method_queries.by_kind(tables["by-attack"])
    if apart:
        first, second = st.columns(2)
        kinds = list(dict.fromkeys(frame["kind"]))
        kind = pick(first.selectbox, f"Rows ({', '.join(apart)})", kinds, "kind", kinds[0], help=KINDS)
        frame = frame[frame["kind"] == kind]
    else:
        second = st.container()
    budgets = list(dict.fromkeys(frame["budget"]))
    budget = pick(second.selectbox, "Budget", budgets, "budget", budgets[-1])
    here = frame[frame["budget"] == budget]
    over_eps(frame)
    over_steps(here, budget)
    if "sets" in tables:
        met = method_queries.beside_sets(here, tables["sets"].frame)
        against_passes(met, budget)
        against_visibility(met, budget)
    for name in ATTACKS:
        if name in tables:
            parts.table(tables[name])
    papers(frame["attack"])


KINDS = "Rows that no figure may mix: other goals, readers, recipes or defences of surrogate (s) and victim (v)."


def over_eps(frame: pd.DataFrame) -> None:
    """ASR over eps, where an attack met several."""
    rows = grown(frame)
    if rows.empty:
        st.caption(
            "ASR over eps: no attack of these rows met two radii; several `budgets` in a scenario draw the figure."
        )
        return
    norms = list(dict.fromkeys(rows["norm"]))
    norm = pick(st.segmented_control, "Norm", norms, "norm", norms[0]) if len(norms) > 1 else norms[0]
    rows = rows[rows["norm"] == norm].reset_index(drop=True)
    parts.figure(
        curves(rows, line="attack", across="radius", title=f"eps ({norm}), pixels in [0, 1]", ticks=eps_ticks(rows)),
        rows,
        "asr-over-eps",
        f"ASR over the radius, {norm}; C0 excluded. {_greys(rows, 'attack', 'radius')}{_rests(rows, 'bands')}",
        title="ASR over eps",
    )


def over_steps(here: pd.DataFrame, budget: str) -> None:
    """ASR over the steps of a trace, where a scenario keeps some."""
    rows = traced(here)
    if rows.empty:
        st.caption("ASR over steps: no attack of these rows keeps its steps; `trace = [1, 2, 5]` of an attack does.")
        return
    parts.figure(
        curves(rows, line="trace", across="step", title="steps, log", log=True),
        rows,
        "asr-over-steps",
        f"ASR of the images after so many steps of one trace, {budget}; C0 excluded. "
        f"{_greys(rows, 'trace', 'step')}{_rests(rows, 'bands')}",
        title="ASR over steps",
    )


def against_passes(met: pd.DataFrame, budget: str) -> None:
    """What an attack reaches for what it takes."""
    if not (met["passes per image"] > 0).any():
        return
    met = met.assign(**{"best within its passes": efficient(met, "passes per image")})
    parts.figure(
        scatter(
            met,
            name="attack",
            across="passes per image",
            title="forward and backward passes per image, log",
            log=True,
            told={"passes per image": ".0f", "n": ","},
            marked="best within its passes",
        ),
        met,
        "asr-against-passes",
        f"ASR over the passes that an image takes, {budget}; C0 excluded. Best within its passes: no attack here "
        "reaches as much for fewer. That is read off these very images; what is reported as the best within 10, 50 and "
        f"200 passes is chosen on validation, in the table of equal attack cost. {_rests(met)}",
        title="Best within P passes",
    )


def against_visibility(met: pd.DataFrame, budget: str) -> None:
    """Strength against visibility."""
    known = [c for c in SEEN if met[c].notna().any()]
    if not known:
        return
    seen = pick(st.segmented_control, "Visibility", known, "visibility", known[0])
    met = met.assign(**{"best for its visibility": efficient(met, seen, least=seen != "SSIM")})
    parts.figure(
        scatter(
            met,
            name="attack",
            across=seen,
            title=SEEN[seen],
            told={"L2": ".3g", "SSIM": ".3f", "n": ","},
            marked="best for its visibility",
        ),
        met,
        "strength-against-visibility",
        f"ASR over the {SEEN[seen]}, {budget}; C0 excluded; L2 and SSIM are means over the images of all sets of an "
        f"attack. {_rests(met)}",
        title="Strength against visibility",
    )


# ------------------------------------------------------------------------------------------------------------ defences


def defenses(tables: Mapping[str, Table], opened: Opened) -> None:
    """What defences keep, under whose attacks, and what they cost."""
    if "defenses" not in tables:
        st.info("This run has no defended victim; `defense` in a scenario's victims makes one.")
        return
    frame = method_queries.with_budget(tables["defenses"].frame)
    first, second, third = st.columns(3)
    budgets = list(dict.fromkeys(frame["budget"]))
    budget = pick(first.selectbox, "Budget", budgets, "budget", budgets[-1])
    chosen = frame[frame["budget"] == budget]
    ways = [way for way in defense_chart.TRANSFERS if chosen[way].notna().any()]
    if ways:
        transfer = pick(
            second.selectbox, "Transfer", ways, "transfer", ways[0], format_func=defense_chart.UNDER.__getitem__
        )
        costs = [*defense_chart.known_costs(chosen), "none"]
        cost = pick(third.selectbox, "Size of the points", costs, "size", costs[0])
        parts.figure(
            defense_chart.chart(chosen, transfer, None if cost == "none" else cost),
            chosen,
            "defenses-under-attack",
            "Accuracy over all images, clean errors included, under transfer and in the white box, over clean "
            f"accuracy; {budget}, {_count(chosen['images'])} images. A white box above transfer is a sign of masked "
            f"gradients, and stands in the table of such signs. {_rests(chosen)}",
            title="Transfer and white box over clean accuracy",
        )
    else:
        st.info("No transfer attack with this budget met a defence; choose another.")
    for name in DEFENSES[:3]:
        if name in tables:
            parts.table(tables[name])
    students(opened)
    for name in DEFENSES[3:]:
        if name in tables:
            parts.table(tables[name])
    papers(frame["defense"])


@st.cache_data(show_spinner="Reading the students …", max_entries=4)
def _students(folder: str, run: str, counter: int, files: Sequence[tuple[str, int]]) -> dict[str, pd.DataFrame]:
    del counter, files  # read again only when the store or what was measured has changed
    return method_queries.students(Path(folder), run)


def students(opened: Opened) -> None:
    """The students of ProARD's networks that were measured, and how one is exported."""
    command = f"carom students {shlex.quote(opened.run.id)} --store {shlex.quote(str(opened.folder))}"
    try:
        found = _students(
            str(opened.folder), opened.run.id, opened.counter, method_queries.student_files(opened.folder)
        )
    except CaromError as error:
        st.warning(f"Students cannot be read: {plain(error)}")
        return
    if not found:
        if "proard" in opened.run.text:
            st.subheader("Students", help=help.help_of("students"))
            st.info(f"No student of this run was measured yet: {code(command)} measures and lists them.")
        return
    labels = list(found)
    network = pick(st.selectbox, "Network of students", labels, "network", labels[0]) if len(labels) > 1 else labels[0]
    frame = found[network]
    front = frame[frame["on the front"] == "yes"]
    parts.figure(
        student_chart.chart(frame),
        frame,
        "student-front",
        f"{network}: {len(frame)} measured students, {len(front)} of them on the front: no other is as good in "
        "accuracy, robust accuracy and MACs, and better in one. Means over classes on validation images, robust under "
        "PGD. No intervals, as the best of many looks better than it is: export one, and judge it as a victim on test "
        "images.",
        title="Early-student front",
    )
    parts.table(
        Table(
            name="students",
            title="Students on the front",
            frame=front.reset_index(drop=True),
            forms={
                "student": "text",
                "accuracy": "percent",
                "robust accuracy": "percent",
                "MACs": "count",
                "parameters": "count",
            },
        )
    )
    names = list(front["student"])
    student = pick(st.selectbox, "Student", names, "student", names[0])
    row = front[front["student"] == student].iloc[0]
    of = f" --model {shlex.quote(network)}" if len(labels) > 1 else ""
    least = math.floor(1e6 * row["accuracy"]) / 1e6
    st.caption(
        "This writes it as a plain state dict, and says how a scenario names it; what was measured is not again."
    )
    st.code(
        f"{command}{of} --max-macs {int(row['MACs'])} --min-accuracy {least:g} -o student.safetensors", language="bash"
    )


# --------------------------------------------------------------------------------------------------------------- parts


def papers(labels: "pd.Series[str]") -> None:
    """What the methods of this tab are, and the papers behind them; on demand, as registries take a moment to load."""
    asked = pick(st.segmented_control, "Methods and papers", ["hidden", "shown"], "papers", "hidden")
    if asked == "hidden":
        return
    with st.spinner("Reading the registries …"):
        found = help.methods(dict.fromkeys(labels))
    forms = dict.fromkeys(found.columns, "text")
    parts.table(Table(name="papers", title="Methods and papers", frame=found, forms=forms))  # type: ignore[arg-type]


def _rests(rows: pd.DataFrame, drawn: str = "lines") -> str:
    """What the intervals are, and n."""
    ranges = list(dict.fromkeys(rows["ranges_over"].dropna().astype(str))) if "ranges_over" in rows else []
    over = f", which range over {' or, where there is one seed, '.join(sorted(ranges, key=len, reverse=True))}"
    over = over if ranges else ""
    n = f" n is {_count(rows['n'])} a row, right on clean images." if "n" in rows else ""
    return f"{drawn.capitalize()}: 95% intervals{over}.{n}"


def _count(values: "pd.Series[float]") -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _greys(rows: pd.DataFrame, line: str, across: str) -> str:
    first = strongest(rows, line, across)
    more = rows[line].nunique() - len(first)
    return f"Coloured are the {len(first)} strongest, {more} others are grey. " if more else ""


show(page)
