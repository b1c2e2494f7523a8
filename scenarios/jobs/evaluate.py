"""Ask a victim about stored sets."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carom.defenses import Randomised
from carom.errors import InputError
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.plan import Plan
from carom.scenarios.spec.scenario import Precision
from carom.scenarios.store.artifacts import Kind, read_artifact
from carom.scenarios.store.predictions import pack_predictions
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.prepare import prepare

from .answers import Joint, answers, with_precision
from .inputs import ModelInput, load_model, model_input
from .job import Make, Result, Worker

IMAGES_PER_JOB = 200_000  # an evaluation is cut after so many images: what a kill can cost


@dataclass(frozen=True, kw_only=True)
class EvaluateJob:
    """Ask one victim about stored sets; it is loaded once for all of them."""

    label: str
    victim: ModelInput
    sets: tuple[tuple[Kind, str, str], ...]  # kind, key, digest; the clean images are of kind "images"
    images: Mapping[str, tuple[str, str]]  # for each of them, key and digest of the images it was made of
    n: int
    classes: int
    precision: Precision

    kind = "evaluate"

    @property
    def units(self) -> int:
        """Work, for the time left: image passes."""
        return len(self.sets) * self.n

    @property
    def lost(self) -> tuple[str, ...]:
        """The victim."""
        return (self.victim.key,)

    def work(self, worker: Worker, result: Result) -> None:
        """Do it."""
        _evaluate(self, worker, result)


def _evaluate(job: EvaluateJob, worker: Worker, result: Result) -> None:
    result.victim = job.victim.key
    model = load_model(job.victim, worker)
    victim: Callable[..., Any] = model
    if isinstance(model, Classifier | Joint):
        victim = with_precision(prepare(model), job.precision)
    randomised = isinstance(model, Randomised)
    if isinstance(model, Randomised):  # draws of its own for each image, the same for clean and adversarial
        prepared = prepare(model)
        assert isinstance(prepared, Randomised)
        if job.precision != "float32":
            raise InputError(f"{job.label}: a randomised defence answers in float32; leave 'precision' out")
        victim = prepared.answer
    for kind, key, digest in job.sets:
        images = read_artifact(worker.folder, kind, key, digest)["images"]
        ids = read_artifact(worker.folder, "images", *job.images[key])["ids"] if randomised else None
        start = time.perf_counter()
        predictions = answers(victim, images, ids, classes=job.classes, device=worker.device, name=job.label)
        result.inside += time.perf_counter() - start
        result.outcomes[key] = pack_predictions(predictions, job.classes)
        result.passes += len(images)


def rounds(plan: Plan) -> Sequence[Make]:
    """All at once."""
    return [_lacking_jobs]


def _lacking_jobs(lacking: Lacking) -> list[EvaluateJob]:
    plan, models, sets = lacking.plan, lacking.model_digests, lacking.set_digests
    wanted: dict[str, list[str]] = defaultdict(list)
    for cell in lacking.cells:
        if cell.set_key in sets and cell.victim_key in models:
            wanted[cell.victim_key].append(cell.set_key)
    jobs = []
    for victim, keys in wanted.items():
        items: list[tuple[Kind, str, str]] = []
        for split in dict.fromkeys(plan.sets[k].split for k in keys):
            attacked = plan.images[split]
            if (victim, attacked.key) not in lacking.answered:
                items.append(("images", attacked.key, attacked.digest))
        n = max(len(i.images) for i in plan.images.values())
        size = max(1, IMAGES_PER_JOB // n)
        for start in range(0, len(keys), size):
            # results come in any order, so each part brings the clean answers that its cells are packed against
            some: list[tuple[Kind, str, str]] = [("sets", k, sets[k]) for k in keys[start : start + size]]
            jobs.append(
                EvaluateJob(
                    label=plan.models[victim].label,
                    victim=model_input(lacking, victim),
                    sets=(*items, *some),
                    images={
                        **{i.key: (i.key, i.digest) for i in plan.images.values()},
                        **{k: _images_of(plan, k) for _, k, _ in some},
                    },
                    n=n,
                    classes=len(plan.scenario.task.classes),
                    precision=plan.scenario.precision,
                )
            )
    return jobs


def _images_of(plan: Plan, key: str) -> tuple[str, str]:
    """Key and digest of the images that a set was made of."""
    attacked = plan.images[plan.sets[key].split]
    return attacked.key, attacked.digest
