"""What every task of the registry owes; its images are tested beside its own file."""

import dataclasses

import pytest

from carom.errors import InputError
from carom.zoo.tasks import TASKS, Task

OF_ONES_OWN = {"image-folder", "npz", "photographs"}  # images that a user names


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_it_is(name: str) -> None:
    cls = TASKS[name]
    required = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}  # type: ignore[arg-type]
    assert bool(required) == (name in OF_ONES_OWN)
    if required:
        return
    task = cls()
    assert isinstance(task, Task)
    assert hash(task) == hash(cls())
    assert len(set(task.classes)) == len(task.classes) >= 2
    assert len(task.shape) == 3
    assert min(task.shape) >= 1
    assert len(set(task.sources)) == len(task.sources) >= 1
    assert task.samples[0] == "all"
    with pytest.raises(InputError, match="nowhere"):
        task.load("nowhere", "test")
