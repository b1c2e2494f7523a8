"""What is said of failures: run again only where that may help."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from carom.errors import may_pass
from carom.scenarios.cli.run import _failed
from carom.scenarios.store.database import Store
from carom.scenarios.store.runs import list_runs
from carom.scenarios.store.schema import run_cells
from carom.scenarios.tables.work import show_failures

MEMORY = "out of memory on the device; free some or use a smaller model"
KILLED = "its process was killed (out of memory?); free memory or use fewer --workers"
SERVICE = "https://host/: cannot be reached (Connection refused), 4 tries; check the address and that the service runs"
NO_BLOCKS = "sgm: the stages of this network have one block each, so there is no gradient to reduce; use another attack"
PROBABILITIES = "ours: rows are in [0, 1] and sum to 1: probabilities, where logits are expected"


@pytest.mark.parametrize("reason", [MEMORY, KILLED, SERVICE])
def test_what_may_pass(reason: str) -> None:
    assert may_pass(reason)


@pytest.mark.parametrize("reason", [NO_BLOCKS, PROBABILITIES])
def test_what_comes_again(reason: str) -> None:
    assert not may_pass(reason)


@pytest.mark.parametrize(
    ("reasons", "advice"),
    [
        ([MEMORY, KILLED], "Run the scenario again to try these once more."),
        ([NO_BLOCKS], "These come again until what they name is changed."),
        ([NO_BLOCKS, SERVICE], "Run the scenario again to try once more what failed for want of"),
    ],
)
def test_the_note_below_failures(reasons: Sequence[str], advice: str, tiny_store: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_store, tmp_path / "s")
    with Store(tmp_path / "s", write=True) as store:
        run = list_runs(store)[0].id
        with store.writing() as connection:
            for place, row in enumerate(connection.execute(run_cells.select().limit(6)).all()):
                which = (run_cells.c.adversarial_set == row.adversarial_set) & (run_cells.c.victim == row.victim)
                connection.execute(run_cells.update().where(which).values(failure=reasons[place % len(reasons)]))
        table = show_failures(store, run)
    assert int(table.frame["cells"].sum()) == 6
    assert [note.startswith(advice) for note in table.notes] == [True]


def test_the_line_of_a_run() -> None:
    assert _failed([MEMORY]) == "a job failed; run again to retry"
    assert _failed([NO_BLOCKS, PROBABILITIES]) == "2 jobs failed, and will again until what was named is changed"
    assert _failed([NO_BLOCKS, KILLED, SERVICE]).startswith("3 jobs failed; run again to retry 2, the others")
