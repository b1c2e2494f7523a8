"""What jobs load: once as long as it fits, and never more of it than a process may keep."""

import pytest

from carom.scenarios.jobs import inputs
from carom.scenarios.spec.read import parse_scenario
from carom.zoo.tasks import Task
from carom.zoo.tasks.images import ImageSet


@pytest.fixture
def task(tiny: str) -> Task:
    """Its training images are 90 of 30 bytes a source."""
    return parse_scenario(tiny, where="tiny.toml").task


@pytest.mark.parametrize(("kept", "reads"), [(5400, 2), (5399, 6), (0, 6)])
def test_images_are_kept_as_long_as_they_fit(
    kept: int, reads: int, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {source: task.load(source, "train", "all").digest for source in ("here", "there")}
    load = type(task).load
    seen: list[str] = []

    def counted(self: Task, source: str, *of: str) -> object:
        seen.append(source)
        return load(self, source, *of)  # type: ignore[arg-type]

    monkeypatch.setattr(type(task), "load", counted)
    monkeypatch.setattr(inputs, "KEPT", kept)
    monkeypatch.setattr(inputs, "_kept", {})

    def loaded(source: str) -> ImageSet:
        return inputs.load_images(task, source, "train", "all", digests[source])

    came = [loaded(source) for source in 3 * ("here", "there")]
    assert [found.digest for found in came] == 3 * [digests["here"], digests["there"]]
    assert loaded("there") is came[-1], "the latest is always kept"
    assert len(seen) == reads
