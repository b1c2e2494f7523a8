"""Measure the loss around a surrogate's weight sets, on its own training images."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.measures import MEASURED_PASSES, measure_key
from carom.scenarios.plan.plan import Plan
from carom.scenarios.spec.scenario import Configuration, TrainedModel
from carom.zoo.models.classifier import Classifier
from carom.zoo.tasks import Task

from .inputs import ModelInput, load_members, model_input, training_images
from .job import Make, Result, Worker, adopted, finish


@dataclass(frozen=True, kw_only=True)
class MeasureJob:
    """Measure the loss around a surrogate's weight sets, on its own training images.

    Attributes:
        key: Of the numbers.
        label: The surrogate's.
        task: Whose images.
        configuration: Of the surrogate's base.
        models: Whose weight sets.
        images: How many.
        members: How many weight sets are looked at.
        seed: Of random directions.
        inputs: Digests of all that it rests on.
    """

    key: str
    label: str
    task: Task
    configuration: Configuration
    models: tuple[ModelInput, ...]
    images: int
    members: int
    seed: int
    inputs: Mapping[str, str]

    kind = "measure"

    @property
    def units(self) -> int:
        """Work, for the time left: about what the Hessians take."""
        return MEASURED_PASSES * self.images * self.members

    @property
    def lost(self) -> tuple[str, ...]:
        """None: nothing rests on it."""
        return ()

    def work(self, worker: Worker, result: Result) -> None:
        """Do it."""
        _measure(self, worker, result)


def _measure(job: MeasureJob, worker: Worker, result: Result) -> None:
    from carom.surrogates.geometry import measured

    if adopted("measures", job.key, job.inputs, worker, result):
        return
    images = training_images(job)
    classifiers: list[Classifier] = []
    for weights in job.models:
        chosen = load_members(weights, worker)
        classifiers += chosen if weights.chain is None else weights.chain.answering(chosen)
    began = time.perf_counter()
    some = images.select(torch.arange(min(job.images, len(images))))
    numbers = measured(classifiers, some, seed=job.seed, members=job.members)
    record = {**numbers, "seconds": time.perf_counter() - began, "label": job.label}
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in sorted(numbers.items())}
    finish(worker, result, "measures", job.key, tensors, job.inputs, record)
    result.passes += int(numbers["forward"] + numbers["backward"])


def rounds(plan: Plan) -> Sequence[Make]:
    """All at once."""
    return [_lacking_jobs]


def _lacking_jobs(lacking: Lacking) -> list[MeasureJob]:
    jobs = []
    for planned in lacking.measures:
        geometry, base = lacking.plan.scenario.geometry, planned.spec.base
        inputs = lacking.measure_inputs(planned, lacking.model_digests)
        trained = lacking.plan.models[planned.members[0]].trained
        assert geometry is not None
        assert isinstance(base, TrainedModel)
        assert trained is not None
        if inputs is None:
            continue
        jobs.append(
            MeasureJob(
                key=measure_key(lacking.plan, planned),
                label=planned.spec.label,
                task=lacking.plan.scenario.task,
                configuration=trained.configuration,
                models=tuple(model_input(lacking, m) for m in planned.members),
                images=geometry.images,
                members=geometry.members,
                seed=base.seed,
                inputs=inputs,
            )
        )
    return jobs
