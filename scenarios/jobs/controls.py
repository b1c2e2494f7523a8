"""Make the sets that no surrogate made: noise and blur of the same sizes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from carom.attacks import craft_control
from carom.budget import Budget
from carom.protocols import Control
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.plan import Plan
from carom.scenarios.plan.sets import PlannedSet
from carom.scenarios.store.artifacts import read_artifact
from carom.zoo.tasks.images import Split

from .job import Make, Result, Worker, adopted, finish
from .visibility import visibility


@dataclass(frozen=True, kw_only=True)
class ControlJob:
    """Make surrogate-free sets."""

    label: str
    sets: tuple[tuple[str, Control, Budget, int], ...]
    images_key: str
    images_digest: str

    kind = "craft"

    @property
    def units(self) -> int:
        """Work, for the time left: next to none."""
        return len(self.sets)

    @property
    def lost(self) -> tuple[str, ...]:
        """The sets."""
        return tuple(key for key, *_ in self.sets)

    def work(self, worker: Worker, result: Result) -> None:
        """Do it."""
        _control(self, worker, result)


def _control(job: ControlJob, worker: Worker, result: Result) -> None:
    inputs = {"images": job.images_digest}
    clean = read_artifact(worker.folder, "images", job.images_key, job.images_digest)
    for key, control, budget, seed in job.sets:
        if adopted("sets", key, inputs, worker, result):
            continue
        images = craft_control([(control, budget)], clean["images"], ids=clean["ids"], seed=seed)[0].images
        record = {"forward": 0, "backward": 0, "seconds": 0.0, **visibility(images, clean["images"], budget)}
        tensors = {"images": images}
        finish(worker, result, "sets", key, tensors, inputs, record)


def rounds(plan: Plan) -> Sequence[Make]:
    """All at once."""
    return [_lacking_jobs]


def _lacking_jobs(lacking: Lacking) -> list[ControlJob]:
    controls = lacking.plan.scenario.controls
    groups: dict[Split, list[PlannedSet]] = defaultdict(list)
    for planned in lacking.sets:
        if planned.control is not None:
            groups[planned.split].append(planned)
    return [
        ControlJob(
            label=f"controls ({split})",
            sets=tuple((s.key, controls[s.label], s.budget, s.seed) for s in group),
            images_key=lacking.plan.images[split].key,
            images_digest=lacking.plan.images[split].digest,
        )
        for split, group in groups.items()
    ]
