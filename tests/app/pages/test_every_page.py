import os
import platform
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

import carom.app
from carom.app.queries import runs as run_queries
from carom.app.queries import tables as table_queries
from carom.app.shell.frame import pace
from carom.app.shell.plain import JOINER, plain
from carom.scenarios.store.database import Store
from carom.scenarios.store.schema import artifacts, attempts, cells, meta, run_cells, run_models, run_sets, runs
from carom.scenarios.tables.which import show_run

PAGES = Path(carom.app.__file__).parent / "pages"
EVERY = sorted(path.stem for path in PAGES.glob("*.py"))
CASES = "Attack success by case, all attacks"
MARKUP = "**x** <b>y :smile: :red[r] $a$"


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """A page over stores, with these parameters in its address; fails on any traceback."""

    def open_page(*folders: Path, page: str = "runs", **address: str) -> AppTest:
        monkeypatch.setenv("CAROM_STORE", os.pathsep.join(map(str, folders)))
        at = AppTest.from_file(str(PAGES.with_name("explorer.py")), default_timeout=60)
        at.switch_page(f"pages/{page}.py")
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
    at = visit(finished, page="transfer")
    with Store(finished) as store:
        tables = {t.name: t for t in show_run(store, run_queries.runs(finished)[0].id)}
    assert "done: all 128 cells have an outcome" in shown(at.caption)
    assert {CASES, "Controls"} <= set(titles(at))
    cases = table_of(at, CASES)
    assert cases["n"].tolist() == tables["cases"].frame["n"].tolist()
    assert cases["ASR"].tolist() == pytest.approx(tables["cases"].frame["asr"].tolist(), nan_ok=True)
    limits = [
        f"{100 * low:.1f}–{100 * high:.1f}%" for low, high in zip(cases["95% low"], cases["95% high"], strict=True)
    ]
    assert limits == tables["cases"].frame["95% interval"].tolist()
    assert "95% intervals range over: images" in shown(at.caption)
    assert len(at.get("download_button")) >= len(titles(at))


def test_a_run_that_has_just_begun(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    at = visit(changed(cells.delete(), runs.update().values(status="running")), page="transfer")
    assert "by themselves" in shown(at.info)
    assert "Running: 0 of 128 cells" in at.get("progress")[0].proto.text
    assert titles(at) == ["Models"]
    assert "by themselves" in shown(visit(changed(), page="matrix").info)


def test_a_running_run_shows_what_it_writes(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    first = sa.select(cells.c.adversarial_set).order_by(cells.c.adversarial_set.desc()).limit(1).scalar_subquery()
    lack = cells.delete().where(cells.c.adversarial_set == first)
    at = visit(changed(runs.update().values(status="running"), lack), page="transfer")
    assert "Running: 123 of 128 cells" in at.get("progress")[0].proto.text
    before = table_of(at, CASES)["n"].sum()
    changed(lack)
    sound(at.run())
    assert "Running: 118 of 128 cells" in at.get("progress")[0].proto.text
    assert table_of(at, CASES)["n"].sum() < before


def test_a_store_that_is_being_written_can_be_read(visit: Callable[..., AppTest], copy: Path, finished: Path) -> None:
    with Store(copy, write=True) as store, store.writing() as connection:
        connection.execute(cells.delete())  # not yet committed
        at = visit(copy)
    assert "all 128 cells have an outcome" in shown(at.caption)
    assert not at.warning
    assert "all 128 cells" in shown(visit(finished).caption)


def test_a_store_that_is_deleted_while_it_is_open(visit: Callable[..., AppTest], copy: Path) -> None:
    at = visit(copy)
    assert not at.warning
    shutil.rmtree(copy)
    sound(at.run())
    assert "no store here" in shown(at.warning)
    assert "looks again" in shown(at.caption)


def test_a_store_whose_database_was_just_made(visit: Callable[..., AppTest], tmp_path: Path) -> None:
    (tmp_path / "carom.db").write_bytes(b"")
    at = visit(tmp_path)
    assert "holds no tables yet" in shown(at.warning)


@pytest.mark.parametrize("page", EVERY)
def test_every_page_without_a_store(visit: Callable[..., AppTest], tmp_path: Path, page: str) -> None:
    at = visit(tmp_path / "none", page=page)
    if page == "gates":  # which need no run
        assert "No gate has recorded a verdict" in shown(at.info)
    else:
        assert "no store here" in shown(at.warning)


@pytest.mark.thorough
@pytest.mark.parametrize("page", EVERY)
def test_a_run_of_one_cell(visit: Callable[..., AppTest], changed: Callable[..., Path], page: str) -> None:
    one = sa.select(cells.c.adversarial_set, cells.c.victim)
    one = one.join(run_sets, run_sets.c.artifact == cells.c.adversarial_set).where(run_sets.c.surrogate.is_not(None))
    kept = one.order_by(cells.c.victim.desc()).limit(1).subquery()
    others = [
        table.delete().where(
            (table.c.adversarial_set != sa.select(kept.c.adversarial_set).scalar_subquery())
            | (table.c.victim != sa.select(kept.c.victim).scalar_subquery())
        )
        for table in (run_cells, cells)
    ]
    folder = changed(others[0])
    assert run_queries.runs(folder)[0].cells == 1
    at = visit(folder, page=page)
    assert not at.error, shown(at.error)


@pytest.mark.thorough
@pytest.mark.parametrize("page", EVERY)
def test_images_that_were_freed(visit: Callable[..., AppTest], copy: Path, page: str) -> None:
    for path in (copy / "artifacts" / "sets").iterdir():
        path.unlink()
    at = visit(copy, page=page)
    assert not at.error, shown(at.error)


def test_an_interrupted_run(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    first = sa.select(sa.func.min(cells.c.adversarial_set)).scalar_subquery()
    lack = cells.delete().where(cells.c.adversarial_set == first)
    at = visit(changed(runs.update().values(status="interrupted"), lack), page="transfer")
    assert "Interrupted: 124 of 128 cells" in shown(at.warning)
    assert "`carom run FILE --store" in shown(at.warning)
    assert "Attack success by case" in "".join(titles(at))


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
    why = table_of(at, "4 cells have no outcome")
    assert why.to_dict("records") == [{"cells": 4, "reason": f"{MARKUP}: out of memory"}]


def test_a_run_that_failed_altogether(visit: Callable[..., AppTest], changed: Callable[..., Path]) -> None:
    broke = run_cells.update().values(failure="it broke")
    at = visit(changed(cells.delete(), runs.update().values(status="failed"), broke))
    assert "Failed: no cell has an outcome" in shown(at.error)
    assert {"128 cells have no outcome", "Models"} <= set(titles(at))


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
    folder = changed(cells.update().where(here).values(changes=zlib.compress(answers.tobytes())))
    at = visit(folder, page="transfer")
    assert "Failed: **eps = 0**. Expected ASR 0 exactly; came" in shown(at.error)
    assert "Do not trust" in shown(at.error)
    assert "Warned: **white box**" in shown(at.warning)
    assert "Do not trust" in shown(visit(folder, page="matrix").error)


def test_several_stores(visit: Callable[..., AppTest], finished: Path, tmp_path: Path) -> None:
    Store(tmp_path / "other", write=True).close()
    at = visit(finished, tmp_path / "other")
    assert at.selectbox(key="pick-store").options == [str(finished), str(tmp_path / "other")]
    assert "all 128 cells" in shown(at.caption)
    at = visit(finished, tmp_path / "other", store=str(tmp_path / "other"))
    assert "holds no run yet" in shown(at.info)


def test_off_localhost_there_is_a_warning(
    visit: Callable[..., AppTest], finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not visit(finished).warning
    monkeypatch.setenv("CAROM_HOST", "0.0.0.0")
    assert "whoever reaches this machine can read these stores" in shown(visit(finished).warning)


def table_of(at: AppTest, title: str) -> pd.DataFrame:
    """The table below this subheader."""
    inside = [e for e in at.main if e.type in ("subheader", "dataframe")]
    place = next(i for i, e in enumerate(inside) if e.type == "subheader" and shown([e]) == title)
    below: Any = next(e for e in inside[place:] if e.type == "dataframe")
    frame: pd.DataFrame = below.value
    return frame


# ------------------------------------------------------------------------------------------------------------- address


def test_an_unknown_run_in_the_address(visit: Callable[..., AppTest], finished: Path) -> None:
    at = visit(finished, run="**gone** ![i](http://a/b.png)")
    assert "asks for run **gone** ![i](http://a/b.png)" in shown(at.warning)
    assert plain("**gone** ![i](http://a/b.png)") in at.warning[0].value
    assert in_address(at, "run") == run_queries.runs(finished)[0].id


def test_the_address_chooses_what_is_shown(visit: Callable[..., AppTest], finished: Path) -> None:
    address = {"rows": "balance_s", "columns": "victim", "attack": "fgsm", "budget": "l2 0.5"}
    at = visit(finished, page="matrix", **address)
    assert {s.label: s.value for s in at.selectbox if s.label in ("Rows", "Columns", "Attack", "Budget")} == {
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
    at = visit(finished, page="matrix")
    sound(at.selectbox(key="pick-rows").set_value("attack").run())
    assert in_address(at, "rows") == "attack"
    assert "pick-attack" not in [s.key for s in at.selectbox]  # it is along an axis
    assert "ASR of all attacks" in shown(at.caption)
    at.query_params["rows"] = "source_s"  # the user went back
    sound(at.run())
    assert at.selectbox(key="pick-rows").value == "source_s"
    sound(at.segmented_control(key="pick-white-box").set_value("with").run())
    assert in_address(at, "white-box") == "with"
    assert at.selectbox(key="pick-rows").value == "source_s"


def test_nonsense_in_the_address_is_the_default(visit: Callable[..., AppTest], finished: Path) -> None:
    at = visit(finished, page="matrix", rows="y", columns="surrogate", budget="z", attack="w", white_box="?")
    assert (in_address(at, "rows"), in_address(at, "columns")) == ("surrogate", "victim")


@pytest.mark.parametrize("axes", [("surrogate", "victim"), ("attack", "budget"), ("source_v", "balance_v")])
def test_every_kind_of_axes_makes_a_chart(visit: Callable[..., AppTest], finished: Path, axes: tuple[str, str]) -> None:
    at = visit(finished, page="matrix", rows=axes[0], columns=axes[1])
    (chart,) = at.get("vega_lite_chart")
    assert '"viridis"' in chart.proto.spec
    assert '"row"' in chart.proto.spec


# --------------------------------------------------------------------------------------------------------------- words


@pytest.mark.thorough
@pytest.mark.parametrize("page", EVERY)
def test_names_with_markup_are_text(visit: Callable[..., AppTest], changed: Callable[..., Path], page: str) -> None:
    at = visit(changed(runs.update().values(task=MARKUP, scenario=MARKUP, status="interrupted")), page=page)
    assert page == "gates" or MARKUP in [t.value for t in at.text]  # the description, taken literally
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

    monkeypatch.setattr(table_queries, "troubles", broken)
    at = visit(finished, page="transfer")
    assert "This view cannot be shown: RuntimeError: a **bug**" in shown(at.error)
    assert "carom show" in shown(at.error)


# ---------------------------------------------------------------------------------------------------------------- runs


def test_the_runs_of_a_store(visit: Callable[..., AppTest], finished: Path) -> None:
    at = visit(finished)
    row = at.dataframe[0].value.iloc[0]
    assert (row["state"], row["outcomes"], row["cells"], row["failed"]) == ("done", 1.0, 128, 0)
    assert row["task"] == run_queries.runs(finished)[0].task
    assert titles(at) == ["Phases", "Jobs", "Models", "Scenario file", "Where it ran"]
    jobs = table_of(at, "Jobs").set_index("job")["jobs"].to_dict()
    assert set(jobs) == {"train", "craft", "evaluate"}
    assert 'name = "small"' in at.code[0].value


def second_run(folder: Path) -> str:
    """The only run of the store once more, under another name."""
    run = run_queries.runs(folder)[0].id
    with Store(folder, write=True) as store, store.writing() as connection:
        for table, name in ((runs, "id"), *((t, "run") for t in (run_cells, run_sets, run_models))):
            rows = connection.execute(sa.select(table).where(table.c[name] == run)).mappings().all()
            connection.execute(table.insert(), [{**row, name: "again-0"} for row in rows])
    return run


def test_two_runs_are_compared(visit: Callable[..., AppTest], copy: Path) -> None:
    run = second_run(copy)
    at = visit(copy, run=run)
    assert "Compared with another run" in titles(at)
    assert in_address(at, "other") == "no other run"
    sound(at.selectbox(key="pick-other").set_value("again-0").run())
    assert in_address(at, "other") == "again-0"
    assert {"By attack", "By victim"} <= set(titles(at))
    assert set(table_of(at, "By attack")["robust_difference"]) == {0}
    at = visit(copy, run=run, other="again-0")
    assert "By attack" in titles(at)


def test_runs_that_cannot_be_compared_say_why(
    visit: Callable[..., AppTest], changed: Callable[..., Path], copy: Path
) -> None:
    run = second_run(copy)
    changed(run_cells.delete().where(run_cells.c.run == "again-0"))
    assert "again-0 has no outcome yet" in shown(visit(copy, run=run, other="again-0").warning)


def test_the_pace_of_a_run() -> None:
    seen = [(0.0, 10), (2.0, 12), (10.0, 30)]
    assert pace(seen, 100) == "2 cells/s, about 35 s left at that pace, "
    assert pace([(0.0, 0), (1.0, 1)], 10_000) == "1 cells/s, about 2.8 h left at that pace, "
    assert pace(seen[:1], 100) == pace([(0.0, 5), (9.0, 5)], 100) == ""


def test_a_finished_run_is_not_read_again_while_another_one_writes(
    visit: Callable[..., AppTest], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read, count = run_queries.view, vars(run_queries)["list_runs"]

    def reading(folder: Path, run: str) -> run_queries.View:
        reads.append(run)
        return read(folder, run)

    monkeypatch.setattr(run_queries, "view", reading)
    (run,) = run_queries.runs(copy)
    with Store(copy, write=True) as store, store.writing() as connection:
        row = dict(connection.execute(sa.select(runs)).mappings().one())
        connection.execute(runs.insert(), [{**row, "id": "other-1", "status": "running", "finished": None}])
        planned = connection.execute(sa.select(run_cells)).mappings().all()
        connection.execute(run_cells.insert(), [{**cell, "run": "other-1"} for cell in planned])
    at = visit(copy, page="transfer", run=run.id)
    assert reads == [run.id]

    job = {"job": "craft", "label": "x", "finished": "", "seconds": 1.0, "inside": 1.0, "passes": 1}
    asked: list[str] = []

    def counting(store: Store, known: list[Any]) -> list[Any]:
        found: list[Any] = count(store, known)
        asked.extend(r.id for r in found if r.id not in {k.id for k in known if k.counter == r.counter})
        return found

    monkeypatch.setattr(run_queries, "list_runs", counting)
    for _ in range(3):
        with Store(copy, write=True) as store, store.writing() as connection:
            connection.execute(attempts.insert(), [{**job, "run": "other-1"}])
        sound(at.run())
    assert reads == [run.id]
    assert asked == ["other-1"] * 3  # whose state alone has moved

    with Store(copy, write=True) as store, store.writing() as connection:
        connection.execute(attempts.insert(), [{**job, "run": run.id}])
    sound(at.run())
    assert reads == [run.id] * 2

    # a model that both runs name is made anew, whoever does it: the outcomes on it are gone
    with Store(copy, write=True) as store:
        with store.reading() as connection:
            key = connection.execute(sa.select(artifacts.c.key).where(artifacts.c.kind == "weights")).scalars().first()
        store.forget([("weights", str(key))])
    sound(at.run())
    assert reads == [run.id] * 3
    assert "lost their outcome since this run was done" in shown(at.warning)
