"""My model: what an attacker who knows so much achieves against one victim, and how to hold it there."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pprint import pformat

import pandas as pd
import streamlit as st

from carom.app.queries import cells as cell_queries
from carom.app.queries import model as model_queries
from carom.app.queries import runs as run_queries
from carom.app.shell import answer_views, cell_views, findings, parts, views, words
from carom.app.shell.address import pick
from carom.app.shell.frame import Chosen, Opened, choices, header, show
from carom.app.shell.plain import code, plain
from carom.errors import CaromError
from carom.scenarios.charts import picture
from carom.scenarios.charts.dots import dots
from carom.scenarios.charts.ladder import ladder
from carom.scenarios.charts.names import short
from carom.scenarios.findings import victim as victim_findings
from carom.scenarios.findings.rows import row_of
from carom.scenarios.findings.words import hundred, of_hundred, span
from carom.scenarios.statistics.knowledge import ANSWERS, NOTHING, WEIGHTS
from carom.scenarios.tables.table import Table

BESIDE = 3  # other victims at most
IMAGES = 6  # in the strip
ALLOWANCE = 0.02  # of a gate, until a setting says otherwise
AUDIT = "audit-"  # begins the names of scenarios that `carom audit` writes


def page(opened: Opened) -> float:
    """One victim."""
    header(opened, "My model")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    if run_queries.state(opened.run) == "published":
        st.info("A published run has rates of whole cells, no model. Choose a run of your own.")
        return seconds
    if views.explained(opened, view):
        return seconds
    tables = {table.name: table for table in view.tables}
    if "by-knowledge" not in tables:
        st.info("No victim has answered an attack yet.")
        return seconds
    of_model(opened, view, tables["by-knowledge"])
    return seconds


def of_model(opened: Opened, view: run_queries.View, table: Table) -> None:
    """Everything about one victim."""
    victims = victim_findings.victims_of(table)
    cells = cell_queries.attacked(view.cells)
    if not victims or cells.empty:
        st.info("No surrogate's set has an outcome yet; there are controls alone.")
        return
    chosen = choices(opened, cells)
    names = short(victims)
    left, right = st.columns([2, 3])
    victim = pick(left.selectbox, "Victim", victims, "victim", victims[0], format_func=lambda v: names.get(v, v))
    others = beside(right, [v for v in victims if v != victim], names)
    norm, eps, *more = chosen.budget.split(" ")
    if more:
        st.info("Targeted attacks are left out here; choose another budget, or look at pages Transfer and Matrix.")
        return
    alike = model_queries.models_alike(view.cells)
    if chosen.attack is not None:
        twins = [v for v, config in alike.items() if config in {alike.get(o) for o in (victim, *others)}]
        try:
            table = answer_views.known_of(opened, view, sorted({victim, *others, *twins}), chosen.attack)
        except CaromError as error:
            st.warning(plain(error))
            return
    ladders = {v: victim_findings.ladder(table, v, norm, eps, like=alike) for v in (victim, *others)}
    if ladders[victim].empty:
        st.info("This model met no attack with this budget; choose another.")
        return
    verdict(opened, table, victim, norm, ladders[victim])
    rungs(ladders, names, chosen)
    made = model_queries.transferred(view.cells, victim, chosen.budget, chosen.attack)
    classes(opened, made, chosen)
    images(opened, made, victim)
    hold(opened, made, victim)
    parts.folded([table])


def beside(box: "st.delta_generator.DeltaGenerator", others: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Up to three other victims, which stand in the address as often as there are any."""
    key, written = "several-beside", "address-beside"
    asked = st.query_params.get_all("beside")
    if asked and asked != st.session_state.get(written):
        st.session_state[key] = [v for v in asked if v in others][:BESIDE]
    kept = st.session_state.get(key) or st.session_state.get("kept-beside") or []
    st.session_state[key] = [v for v in kept if v in others]
    chosen: list[str] = box.multiselect(
        "Beside it", others, key=key, max_selections=BESIDE, format_func=lambda v: names.get(v, v)
    )
    if chosen:
        st.query_params["beside"] = chosen
    elif "beside" in st.query_params:
        del st.query_params["beside"]
    st.session_state[written] = st.session_state["kept-beside"] = chosen
    return chosen


def verdict(opened: Opened, table: Table, victim: str, norm: str, rows: pd.DataFrame) -> None:
    """A sentence for each level of knowledge; of an audit what it found."""
    grown = victim_findings.over_radii(table, victim, norm)
    if opened.run.scenario.startswith(AUDIT):
        said = grown.text if grown is not None else ""
        st.info(
            f"This run is an audit. {plain(said)} It is no upper bound: who asks the model, trains on images like "
            "yours, or tries more attacks turns more. The report that the audit wrote says what else is not known."
        )
    told = victim_findings.known(rows)
    findings.told(told, here="model")
    if grown is not None and not opened.run.scenario.startswith(AUDIT):
        findings.told([grown], here="model")
    ranges = " or ".join(dict.fromkeys(finding.ranges_over for finding in told if finding.ranges_over))
    st.caption(plain(f"In brackets: 95% intervals over {ranges}; n counts the answers that were right clean."))


def rungs(ladders: Mapping[str, pd.DataFrame], names: Mapping[str, str], chosen: Chosen) -> None:
    """The ladder of what attackers know, of one model or of some."""
    rows = pd.concat([rows.assign(series=names[v]) for v, rows in ladders.items()], ignore_index=True)
    first = next(iter(ladders.values()))
    models = first[~first["knows"].isin([NOTHING, WEIGHTS, ANSWERS])]
    title = "What an attacker achieves, by what he knows"
    if len(models) > 1:
        least, most = models["asr"].min(), models["asr"].max()
        title = f"Attacks made on other models fool it in {hundred(least)} to {hundred(most)} of 100 images"
    stands = rows[rows["stands_in"] != ""]
    note = " Its weights: those of a model of the same training stand in." if len(stands) else ""
    parts.figure(
        ladder(rows),
        rows,
        "ladder",
        f"ASR of {chosen.attack or 'all attacks'} at {chosen.budget}, from noise below to the model's own weights "
        f"above. {words.rests(rows)}{note}",
        title=title,
        computed="Untargeted attacks only. Each rung pools all surrogates and attacks of one kind of attacker: C1 to "
        "C8 say which of source, balance and architecture differ. Noise: signs of full size, which no model made. Its "
        "answers: attacks that ask it. Its weights: attacks that read its gradients.",
    )


def classes(opened: Opened, made: pd.DataFrame, chosen: Chosen) -> None:
    """The classes that attacks made on other models turn most."""
    if made.empty:
        return
    try:
        found = answer_views.exposed(opened, made)
    except CaromError as error:
        st.caption(plain(f"Classes are not shown: {error}"))
        return
    if found.empty:
        st.caption(f"No class has {model_queries.ENOUGH} images that the model gets right, so none is shown alone.")
        return
    shown = found.head(model_queries.SHOWN)
    first = row_of(found)
    drawn = shown.assign(label=shown["class"].astype(str), series="")
    parts.figure(
        dots(drawn, rows=list(drawn["label"]), across="ASR, attack success rate"),
        found,
        "classes",
        f"ASR of {chosen.attack or 'all attacks'} that were made on other models, at {chosen.budget}; the "
        f"{len(shown)} most exposed of {len(found)} classes with at least {model_queries.ENOUGH} images that are "
        f"right. {words.rests(shown)}",
        title=f"Most exposed class: {first['class']}, fooled in {of_hundred(first, 'images')}",
        computed="The most exposed are named because they are: some are by chance, the more so the fewer images.",
    )


def images(opened: Opened, made: pd.DataFrame, victim: str) -> None:
    """Some images that the strongest of these sets turned, and the way to all of them."""
    cell = model_queries.strongest_set(made)
    if cell is None:
        return
    st.subheader("Images that the strongest set turns")
    address = {
        "surrogate": str(cell["surrogate"]),
        "attack": str(cell["attack"]),
        "budget": str(cell["budget"]),
        "victims": victim,
        "outcome": "fooled",
    }
    try:
        found = cell_views.answered(opened, int(cell["set_id"]), [int(cell["victim_id"])])
        places = cell_queries.filtered(found, outcome="fooled")[:IMAGES]
        pairs = cell_views.pictures(opened, int(cell["set_id"]), places) if places else ((), ())
    except CaromError as error:
        st.caption(plain(error))
        return
    if not places:
        st.caption("No attack that was made on another model turned an image.")
        return
    with st.container(horizontal=True, key="strip"):
        for place, clean, adversarial in zip(places, *pairs, strict=True):
            answer = f"{found.clean[0, place]} → {found.adversarial[0, place]}"
            with st.container(width=136):
                st.image(picture.png(clean), width=120, output_format="PNG")
                st.image(picture.png(adversarial), caption=plain(answer), width=120, output_format="PNG")
                named = str(int(found.images["id"].iloc[place]))
                findings.link("images", label="All attacks", **address, image=named)
    low, high = (float(cell[c]) for c in ("low", "high")) if "low" in cell else (float("nan"),) * 2
    interval = f" ({span(low, high)})" if not math.isnan(low) else ""
    st.caption(
        plain(
            f"Clean above, adversarial below. {cell['attack']} on {cell['surrogate']} turns "
            f"{100 * cell['k'] / cell['n']:.0f}%{interval} of {cell['n']:,}: the strongest of {len(made):,} sets, "
            "picked by these very images."
        )
    )
    findings.link("images", **address)


def hold(opened: Opened, made: pd.DataFrame, victim: str) -> None:
    """The gate that holds the model where it is, and how to load it."""
    run = opened.run
    table = answer_views.loaded_by(opened, victim)
    st.subheader("Hold it there")
    kept = model_queries.kept_under_transfer(made)
    least = math.floor(100 * (kept - ALLOWANCE)) / 100 if kept is not None else 0.0
    floor = f", floor={least:.2f}" if least > 0 else ""
    begin = "" if table is None else f"MODEL = {pformat(table, width=70, sort_dicts=False)}\n\n\n"
    named = "load_model()" if table is None else "MODEL"
    suite = f"{run.scenario}.suite"
    test = f"def test_transfer(robustness):\n    robustness({named}, suite={suite!r}{floor})"
    st.code(f"{begin}{test}", language="python")
    told = "A test for pytest that fails when the model gets weaker"
    if kept is not None:
        below = ", the floor is 2 points below" if floor else ""
        told += f": these attacks leave {100 * kept:.1f}% of all images right{below}"
    place = f"{shlex.quote(run.scenario)} -o {shlex.quote(suite)} --store {shlex.quote(str(opened.folder))}"
    st.markdown(f"{plain(told)}. {code(f'carom suite build {place}')} writes the suite; of a file give its path.")
    if run.scenario.startswith(AUDIT):
        st.markdown("The audit wrote this suite and such a test beside its report already.")
    st.subheader("Load it")
    if table is None:
        st.markdown(
            "This model is no single file: it was built in stages or has a change of the images before it. The "
            "scenario makes it again."
        )
        return
    lines = [f"{name} = {model_queries.written(value)}" for name, value in table.items()]
    st.code("\n".join(["[[victims]]", *lines]), language="toml")


show(page)
