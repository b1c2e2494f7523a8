import platform
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

import carom.app
from carom.app import queries
from carom.app.plain import JOINER, plain
from carom.scenarios.show import show_run
from carom.scenarios.store import Store, cells, meta, run_cells, run_sets, runs

PAGE = Path(carom.app.__file__).with_name("page.py")
MARKUP = "**x** <b>y :smile: :red[r] $a$"


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """The page over a store, with these parameters in its address; fails on any traceback."""

    def open_page(folder: Path, **address: str) -> AppTest:
        monkeypatch.setenv("CAROM_STORE", str(folder))
        at = AppTest.from_file(str(PAGE), default_timeout=60)
        for name, value in address.items():
            at.query_params[name.replace("_", "-")] = value
        return sound(at.run())

    return open_page


def sound(at: AppTest) -> AppTest:
    assert not at.exception, at.exception
    return at


def shown(elements: object) -> str:
    """What people read in these elements."""
    text = "\n".join(str(e.value) for e in elements)  # type: ignore[attr-defined]
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).replace(JOINER, "")


def in_address(at: AppTest, name: str) -> str:
    """One value of the address."""
    value = at.query_params[name]
    return value if isinstance(value, str) else "|".join(value)


def titles(at: AppTest) -> list[str]:
    return [shown([s]) for s in at.subheader]


# ---------------------------------------------------------------------------------------------------- states of stores


def test_no_store(visit: Callable[..., AppTest], tmp_path: Path) -> None:
    at = visit(tmp_path / "none")
    assert "no store here" in shown(at.warning)
    assert "carom demo" in shown(at.warning)


def test_empty_store(visit: Callable[..., AppTest], tmp_path: Path) -> None:
    Store(tmp_path / "empty", write=True).close()
    at = visit(tmp_path / "empty")
    assert "holds no run yet" in shown(at.info)
    assert f"carom demo --store {tmp_path / 'empty'}" in shown(at.info)


def test_newer_store(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    at = visit(changed(meta.update().where(meta.c.name == "schema").values(value="999")))
    assert "schema 999" in shown(at.warning)
    assert "matching version" in shown(at.warning)


def test_damaged_store(visit: Callable[..., AppTest], tmp_path: Path) -> None:
    (tmp_path / "carom.db").write_bytes(b"no database" * 1000)
    assert "damaged" in shown(visit(tmp_path).warning)


# ------------------------------------------------------------------------------------------------------ states of runs


def test_a_finished_run(visit: Callable[..., AppTest], finished: Path) -> None:
    at = visit(finished)
    with Store(finished) as store:
        tables = {t.name: t for t in show_run(store, queries.runs(finished)[0].id)}
    assert "done: all 128 cells have an outcome" in shown(at.caption)
    assert titles(at) == [
        "Attack success by case, all attacks",
        "Effect of a mismatch on ASR, in points (C0 and controls excluded)",
        "Controls",
        "Attack success by case",
    ]
    cases = at.dataframe[0].value
    assert cases["n"].tolist() == tables["cases"].frame["n"].tolist()
    assert cases["ASR"].tolist() == pytest.approx(tables["cases"].frame["asr"].tolist(), nan_ok=True)
    assert cases["95% interval"].tolist() == tables["cases"].frame["95% interval"].tolist()
    assert "95% intervals range over: images" in shown(at.caption)
    assert len(at.get("download_button")) == 4


def test_more_tables_and_about_the_run(visit: Callable[..., AppTest], finished: Path) -> None:
    at = visit(finished, section="tables")
    assert "Transfer by surrogate (C0 excluded)" in titles(at)
    at = sound(at.segmented_control(key="pick-section").set_value("run").run())
    assert titles(at) == ["Scenario file", "Where it ran", "Models"]
    assert 'name = "small"' in at.code[0].value
    assert in_address(at, "section") == "run"


def test_a_run_that_has_just_begun(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    at = visit(changed(cells.delete(), runs.update().values(status="running")))
    assert "by themselves" in shown(at.info)
    assert "Running: 0 of 128 cells" in at.get("progress")[0].proto.text
    assert titles(at) == ["Models"]
    assert "by themselves" in shown(visit(changed(), section="matrix").info)


def test_a_running_run_shows_what_it_writes(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    first = sa.select(cells.c.adversarial_set).order_by(cells.c.adversarial_set.desc()).limit(1).scalar_subquery()
    at = visit(changed(runs.update().values(status="running"), cells.delete().where(cells.c.adversarial_set == first)))
    assert "Running: 123 of 128 cells" in at.get("progress")[0].proto.text
    before = at.dataframe[0].value["n"].sum()
    changed(cells.delete().where(cells.c.adversarial_set == first))
    sound(at.run())
    assert "Running: 118 of 128 cells" in at.get("progress")[0].proto.text
    assert at.dataframe[0].value["n"].sum() < before


def test_an_interrupted_run(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    first = sa.select(sa.func.min(cells.c.adversarial_set)).scalar_subquery()
    lack = cells.delete().where(cells.c.adversarial_set == first)
    at = visit(changed(runs.update().values(status="interrupted"), lack))
    assert "Interrupted: 124 of 128 cells" in shown(at.warning)
    assert "`carom run small`" in shown(at.warning)
    assert "Attack success by case" in titles(at)


def test_a_run_whose_process_was_killed(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    folder = changed(runs.update().values(status="running"))
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (folder / "lock").write_text(f"process {process.pid} on {platform.node()}")
    assert "Interrupted" in shown(visit(folder).warning)


def test_a_run_done_in_part(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    first = sa.select(sa.func.min(cells.c.adversarial_set)).scalar_subquery()
    at = visit(
        changed(
            runs.update().values(status="failed"),
            run_cells.update().where(run_cells.c.adversarial_set == first).values(failure=f"{MARKUP}: out of memory"),
            cells.delete().where(cells.c.adversarial_set == first),
        )
    )
    assert "Done in part: 4 of 128 cells have no outcome" in shown(at.warning)
    assert titles(at)[-1] == "4 cells have no outcome"
    assert at.dataframe[-1].value.to_dict("records") == [{"cells": 4, "reason": f"{MARKUP}: out of memory"}]


def test_a_run_that_failed_altogether(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    broke = run_cells.update().values(failure="it broke")
    at = visit(changed(cells.delete(), runs.update().values(status="failed"), broke))
    assert "Failed: no cell has an outcome" in shown(at.error)
    assert titles(at) == ["128 cells have no outcome", "Models"]


def test_outcomes_lost_since(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    first = sa.select(sa.func.min(cells.c.adversarial_set)).scalar_subquery()
    at = visit(changed(cells.delete().where(cells.c.adversarial_set == first)))
    assert "4 of 128 cells lost their outcome" in shown(at.warning)


def test_failed_controls_stand_above_everything(
    visit: Callable[..., AppTest], changed: Callable[..., Path], finished: Path
) -> None:
    wrong = sa.select(cells, run_sets.c.attack).join(run_sets, run_sets.c.artifact == cells.c.adversarial_set)
    with Store(finished) as store, store.reading() as connection:
        row = connection.execute(wrong.where(run_sets.c.attack == "identity")).first()
    assert row is not None
    answers = np.frombuffer(zlib.decompress(row.changes), np.uint8) ^ 1
    here = (cells.c.adversarial_set == row.adversarial_set) & (cells.c.victim == row.victim)
    at = visit(changed(cells.update().where(here).values(changes=zlib.compress(answers.tobytes()))))
    assert "Failed: **eps = 0**. Expected ASR 0 exactly; came" in shown(at.error)
    assert "Do not trust" in shown(at.error)
    assert "Warned: **white box**" in shown(at.warning)
    controls = at.dataframe[titles(at).index("Controls")]
    assert controls.value["status"].tolist()[:2] == ["failed", "warned"]
    styles = re.findall(r"row(\d+)_col\d+ \{ background-color: (\S+?)\(", str(controls.proto).replace("\\n", " "))
    assert {int(row) for row, _ in styles} == {0, 1}, str(controls.proto)[:3000]
    assert "Do not trust" in shown(visit(changed(), section="matrix").error)


# ------------------------------------------------------------------------------------------------------------- address


def test_an_unknown_run_in_the_address(visit: Callable[..., AppTest], finished: Path) -> None:
    at = visit(finished, run="**gone** ![i](http://a/b.png)")
    assert "no run named **gone** ![i](http://a/b.png)" in shown(at.warning)
    assert plain("**gone** ![i](http://a/b.png)") in at.warning[0].value
    assert in_address(at, "run") == queries.runs(finished)[0].id


def test_the_address_chooses_what_is_shown(visit: Callable[..., AppTest], finished: Path) -> None:
    address = {"section": "matrix", "rows": "balance_s", "columns": "victim", "attack": "fgsm", "budget": "l2 0.5"}
    at = visit(finished, **address)
    assert {s.label: s.value for s in at.selectbox if s.label != "Run"} == {
        "Rows": "balance_s",
        "Columns": "victim",
        "Attack": "fgsm",
        "Budget": "l2 0.5",
    }
    assert "ASR of fgsm, l2 0.5" in shown(at.caption)
    assert "8 fields pool 16 cells of 26 images" in shown(at.caption)
    assert {name: in_address(at, name) for name in address} == address


def test_a_choice_goes_into_the_address_and_the_address_wins_when_it_changes(
    visit: Callable[..., AppTest], finished: Path
) -> None:
    at = visit(finished, section="matrix")
    sound(at.selectbox(key="pick-rows").set_value("attack").run())
    assert in_address(at, "rows") == "attack"
    assert "Attack: along an axis" in [t.value for t in at.text]
    assert "ASR of all attacks" in shown(at.caption)
    at.query_params["rows"] = "source_s"  # the user went back
    sound(at.run())
    assert at.selectbox(key="pick-rows").value == "source_s"
    sound(at.segmented_control(key="pick-white-box").set_value("with").run())
    assert in_address(at, "white-box") == "with"
    assert at.selectbox(key="pick-rows").value == "source_s"


def test_nonsense_in_the_address_is_the_default(visit: Callable[..., AppTest], finished: Path) -> None:
    at = visit(finished, section="x", rows="y", columns="surrogate", budget="z", attack="w")
    assert in_address(at, "section") == "cases"
    at = visit(finished, section="matrix", rows="y", columns="surrogate", budget="z", attack="w", white_box="?")
    assert (in_address(at, "rows"), in_address(at, "columns")) == ("surrogate", "victim")


@pytest.mark.parametrize("axes", [("surrogate", "victim"), ("attack", "budget"), ("source_v", "balance_v")])
def test_every_kind_of_axes_makes_a_chart(visit: Callable[..., AppTest], finished: Path, axes: tuple[str, str]) -> None:
    at = visit(finished, section="matrix", rows=axes[0], columns=axes[1])
    (chart,) = at.get("vega_lite_chart")
    assert '"viridis"' in chart.proto.spec
    assert '"row"' in chart.proto.spec


# --------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize("section", ["cases", "matrix", "tables", "run"])
def test_names_with_markup_are_text(visit: Callable[..., AppTest], changed: Callable[..., Path], section: str) -> None:
    at = visit(changed(runs.update().values(task=MARKUP, scenario=MARKUP, status="interrupted")), section=section)
    assert MARKUP in [t.value for t in at.text]  # the description, taken literally
    markdown = [at.caption, at.subheader, at.info, at.warning, at.error, at.success, at.markdown, at.title]
    for element in (e for kind in markdown for e in kind):
        bare = re.sub(r"`[^`]*`", "", element.value)  # inside of code nothing is markup
        for part in ("**x", "<b>y", ":smile:", ":red[", "$a$"):
            assert part not in bare.replace("\\" + part[0], "")
    assert not [e for e in at.markdown if e.allow_html]


def test_what_goes_wrong_is_a_sentence(
    visit: Callable[..., AppTest], finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(cells: object) -> None:
        raise RuntimeError("a **bug**")

    monkeypatch.setattr(queries, "troubles", broken)
    at = visit(finished)
    assert "This view cannot be shown: RuntimeError: a **bug**" in shown(at.error)
    assert "carom show" in shown(at.error)
