"""Look for masked gradients in a victim, and count its size."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from carom.budget import Budget
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.measures import EXAMINED_IMAGES, EXAMINED_PASSES, examine_key
from carom.scenarios.plan.plan import Plan
from carom.scenarios.store.artifacts import read_artifact
from carom.zoo.models.classifier import Classifier

from .inputs import ModelInput, load_model, model_input
from .job import Make, Result, Worker, adopted, finish

EXAMINED_SEED = 0


@dataclass(frozen=True, kw_only=True)
class ExamineJob:
    """Look for masked gradients in a victim, and count its size.

    Attributes:
        key: Of the numbers.
        label: The victim's.
        victim: Whose.
        images_key: Of the validation images.
        images_digest: Of the same.
        images: How many of them are attacked.
        classes: Of the task.
        budget: The ball.
        inputs: Digests of all that it rests on.
    """

    key: str
    label: str
    victim: ModelInput
    images_key: str
    images_digest: str
    images: int
    classes: int
    budget: Budget
    inputs: Mapping[str, str]

    kind = "measure"

    @property
    def units(self) -> int:
        """Work, for the time left: about what its attacks take."""
        return EXAMINED_PASSES * self.images

    @property
    def lost(self) -> tuple[str, ...]:
        """None: nothing rests on it."""
        return ()

    def work(self, worker: Worker, result: Result) -> None:
        """Do it."""
        _examine(self, worker, result)


def _examine(job: ExamineJob, worker: Worker, result: Result) -> None:
    from carom.defenses.masking import examined

    if adopted("measures", job.key, job.inputs, worker, result):
        return
    victim = load_model(job.victim, worker)
    clean = read_artifact(worker.folder, "images", job.images_key, job.images_digest)
    began = time.perf_counter()
    numbers: dict[str, float] = {}
    if isinstance(victim, Classifier):  # a function has no gradients to mask
        places = torch.linspace(0, len(clean["labels"]) - 1, min(job.images, len(clean["labels"]))).long()
        images, labels, ids = (clean[name][places] for name in ("images", "labels", "ids"))
        device = torch.device(worker.device)
        numbers = examined(victim, images, labels, ids, job.budget, seed=EXAMINED_SEED, device=device).numbers()
    record = {**numbers, "seconds": time.perf_counter() - began, "label": job.label}
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in sorted(numbers.items())}
    tensors = tensors or {"examined": torch.zeros((), dtype=torch.float64)}
    finish(worker, result, "measures", job.key, tensors, job.inputs, record)
    result.passes += int(numbers.get("passes", 0))


def rounds(plan: Plan) -> Sequence[Make]:
    """All at once."""
    return [_lacking_jobs]


def _lacking_jobs(lacking: Lacking) -> list[ExamineJob]:
    jobs = []
    for victim in lacking.examinations:
        budget, attacked = lacking.plan.examination_budget, lacking.plan.images["validation"]
        inputs = lacking.examine_inputs(victim, lacking.model_digests)
        assert budget is not None
        if inputs is None:
            continue
        jobs.append(
            ExamineJob(
                key=examine_key(lacking.plan, victim),
                label=lacking.plan.models[victim].label,
                victim=model_input(lacking, victim),
                images_key=attacked.key,
                images_digest=attacked.digest,
                images=EXAMINED_IMAGES,
                classes=len(lacking.plan.scenario.task.classes),
                budget=budget,
                inputs=inputs,
            )
        )
    return jobs
