"""Take adversarial images that were made elsewhere: read, verified, and stored as those that were crafted here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carom.errors import InputError
from carom.scenarios.plan.brought import brought
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.plan import Plan
from carom.scenarios.spec.scenario import BroughtSet
from carom.scenarios.store.artifacts import read_artifact
from carom.zoo.tasks.images import ImageSet

from .job import Make, Result, Worker, adopted, finish
from .visibility import visibility


@dataclass(frozen=True, kw_only=True)
class BringJob:
    """Take one set.

    Attributes:
        key: Of what comes out.
        set: Where it is, and what it is held to.
        inputs: Digests of all that it rests on, its files among them.
        images_key: Of the attacked images.
        images_digest: Of the attacked images.
        classes: Of the task.
    """

    key: str
    set: BroughtSet
    inputs: Mapping[str, str]
    images_key: str
    images_digest: str
    classes: int

    kind = "craft"

    @property
    def label(self) -> str:
        """What tables call the attack."""
        return self.set.label

    @property
    def units(self) -> int:
        """Work, for the time left: next to none."""
        return 1

    @property
    def lost(self) -> tuple[str, ...]:
        """The set."""
        return (self.key,)

    def work(self, worker: Worker, result: Result) -> None:
        """Do it."""
        _bring(self, worker, result)


def _bring(job: BringJob, worker: Worker, result: Result) -> None:
    if adopted("sets", job.key, job.inputs, worker, result):
        return
    clean = read_artifact(worker.folder, "images", job.images_key, job.images_digest)
    came = brought(job.set, ImageSet(clean["images"], clean["labels"], clean["ids"], clean.get("targets")), job.classes)
    if came.files != job.inputs["files"]:
        raise InputError(
            f"sets: {job.label}: {job.set.path}: sha256 {came.files[:12]}, expected {job.inputs['files'][:12]} as "
            "planned: it changed after the run was planned, or differs between machines; run it again"
        )
    tensors = {"images": came.images, **({} if came.target is None else {"target": came.target})}
    record = {"kind": "brought", "path": job.set.path, **visibility(came.images, clean["images"], job.set.budget)}
    finish(worker, result, "sets", job.key, tensors, job.inputs, record)


def rounds(plan: Plan) -> Sequence[Make]:
    """All at once."""
    return [_lacking_jobs]


def _lacking_jobs(lacking: Lacking) -> list[BringJob]:
    jobs = []
    for planned in lacking.sets:
        if planned.brought is None:
            continue
        inputs, attacked = lacking.set_inputs(planned, lacking.model_digests), lacking.plan.images[planned.split]
        assert inputs is not None  # sets of models that failed are not asked for
        jobs.append(
            BringJob(
                key=planned.key,
                set=planned.brought,
                inputs=inputs,
                images_key=attacked.key,
                images_digest=attacked.digest,
                classes=len(lacking.plan.scenario.task.classes),
            )
        )
    return jobs
