"""Answers, packed: as they went, and no larger than they have to be."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite import insert
from tests.scenarios.store.conftest import KEY

from carom.scenarios.store.database import Store
from carom.scenarios.store.predictions import pack_changes, pack_predictions, unpack_changes, unpack_predictions
from carom.scenarios.store.schema import cells, clean, run_cells, runs


@given(st.data(), st.sampled_from([2, 10, 250, 251, 1000, 30_000]))
def test_answers_come_back_as_they_went(data: st.DataObject, classes: int) -> None:
    answers = data.draw(st.lists(st.integers(-1, classes - 1), max_size=40))
    others = data.draw(st.lists(st.integers(-1, classes - 1), min_size=len(answers), max_size=len(answers)))
    packed = pack_predictions(np.array(answers, np.int16), classes)
    assert len(packed) == len(answers) * (1 if classes <= 250 else 2)
    came = unpack_predictions(packed, classes)
    assert came.dtype == np.int16
    assert came.tolist() == answers
    unattacked = pack_predictions(np.array(others, np.int16), classes)
    assert unpack_changes(pack_changes(packed, unattacked), unattacked) == packed


@pytest.mark.parametrize("classes", [2, 250, 251, 30_000])
def test_the_last_class_is_not_taken_for_no_answer(classes: int) -> None:
    answers = np.array([classes - 1, -1, 0], np.int16)
    assert unpack_predictions(pack_predictions(answers, classes), classes).tolist() == [classes - 1, -1, 0]


@pytest.mark.thorough
def test_a_million_cells_stay_under_half_a_gigabyte(store: Store) -> None:
    """10,000 cells of 1,000 images, three in ten answers changed: every table, index and key of theirs counted."""
    rng = np.random.default_rng(0)
    side, images, classes = 100, 1000, 10
    models = list(store.row_ids("weights", [f"{i:032x}" for i in range(side)]).values())
    made = list(store.row_ids("sets", [f"{i:032x}" for i in range(side)]).values())
    (image_set,) = store.row_ids("images", [KEY]).values()
    run = "digits-dumb-large-0a1b2c"
    before = {v: rng.integers(0, classes, images).astype(np.int16) for v in models}
    with store.writing() as connection:
        text = {name: "" for name in ("scenario", "description", "text", "task", "status", "started", "environment")}
        connection.execute(insert(runs).values({"id": run, **text}))
        packed = {v: pack_predictions(p, classes) for v, p in before.items()}
        rows = [{"victim": v, "image_set": image_set, "correct": 0, "predictions": packed[v]} for v in models]
        connection.execute(insert(clean).values(rows))
        answered = {v: id_ for v, id_ in connection.execute(sa.select(clean.c.victim, clean.c.id))}
        for v in models:  # in the order in which a run brings them
            rows = []
            for s in made:
                wrong = rng.random(images) < 0.3
                answers = np.where(wrong, (before[v] + rng.integers(1, classes, images)) % classes, before[v])
                changed = pack_changes(pack_predictions(answers.astype(np.int16), classes), packed[v])
                counted = {"n": 900, "k": 300, "clean": answered[v], "changes": changed}
                rows.append({"adversarial_set": s, "victim": v, **counted})
            connection.execute(insert(cells), rows)
            connection.execute(
                insert(run_cells), [{"run": run, "adversarial_set": s, "victim": v, "case": 8} for s in made]
            )
    store.close()
    assert not (store.folder / "carom.db-wal").exists(), "all of it is in the file that is measured"
    with closing(sqlite3.connect(store.folder / "carom.db")) as connection:
        assert connection.execute("select count(*) from cells").fetchone() == (side * side,)
    assert (store.folder / "carom.db").stat().st_size / (side * side) < 500
