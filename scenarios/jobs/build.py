"""Make weight sets of others: a stage of a surrogate's chain, or of a defence."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from carom.defenses import PublicModel, Stage
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.models import BuiltModel
from carom.scenarios.plan.plan import Plan, layers
from carom.scenarios.spec.scenario import Configuration, Precision
from carom.scenarios.store.artifacts import COPIES, read_artifact
from carom.surrogates import Ground, Refinement
from carom.surrogates.stack import stacked
from carom.zoo.tasks import Task
from carom.zoo.tasks.images import ImageSet

from .answers import answering
from .inputs import (
    ModelInput,
    architecture_of,
    attackers_images,
    judging_images,
    load_judge,
    load_members,
    load_model,
    model_input,
    weight_sets,
)
from .job import Make, Result, Worker, adopted, finish


@dataclass(frozen=True, kw_only=True)
class BuildJob:
    """Make weight sets of others.

    Attributes:
        key: Of what comes out.
        label: The surrogate's, and the stage's.
        task: Whose images.
        configuration: Of the surrogate's base: data, architecture, recipe.
        seed: Of the surrogate's base.
        stage: What makes them.
        given: The models that it takes.
        pool: Public models that it learns from.
        expected: Weight sets that were to come before.
        asked: The victim that it asks.
        judges: Validation victims that it chooses by.
        judging: Key and digest of the validation images for that.
        inputs: Digests of all that it rests on.
        precision: In which victims answer.
        units: Work, for the time left: image passes as far as they can be told.
    """

    key: str
    label: str
    task: Task
    configuration: Configuration
    seed: int
    stage: Refinement | Stage
    given: tuple[ModelInput, ...]
    pool: tuple[ModelInput, ...]
    expected: int
    asked: ModelInput | None
    judges: tuple[ModelInput, ...]
    judging: tuple[str, str] | None
    inputs: Mapping[str, str]
    precision: Precision
    units: int

    kind = "build"

    @property
    def lost(self) -> tuple[str, ...]:
        """What it makes."""
        return (self.key,)

    def work(self, worker: Worker, result: Result) -> None:
        """Do it."""
        _build(self, worker, result)


def _build(job: BuildJob, worker: Worker, result: Result) -> None:
    if adopted("weights", job.key, job.inputs, worker, result):
        return
    configuration = job.configuration
    images, validation = attackers_images(job)
    judging = None
    if job.judging is not None:
        held_out = read_artifact(worker.folder, "images", *job.judging)
        judging = ImageSet(held_out["images"], held_out["labels"], held_out["ids"])
    torch.set_num_threads(configuration.recipe.threads)
    given = [weight_sets(member, worker) for member in job.given]
    ground = Ground(
        architecture=architecture_of(job.given[0], given[0][0]) if given else configuration.architecture,
        shape=job.task.shape,
        classes=len(job.task.classes),
        recipe=configuration.recipe,
        train=images,
        validation=validation,
        seed=job.seed,
        device=torch.device(worker.device),
        asked=None if job.asked is None else answering(load_model(job.asked, worker), job.precision),
        judges=[load_judge(member, worker) for member in job.judges],
        judging=judging,
        checkpoint=worker.checkpoint(job.key),
        expected=job.expected,
        stored=worker.folder / "artifacts" / COPIES,
    )
    began = time.perf_counter()
    weights = [one for member in given for one in member]
    if isinstance(job.stage, Stage):
        public = [PublicModel(label=m.label, group=m.group, classifier=load_members(m, worker)[0]) for m in job.pool]
        built = job.stage.build(ground, weights, public)
    else:
        built = job.stage.build(ground, weights)
    seconds = time.perf_counter() - began
    tensors = {k: v.cpu() for k, v in stacked(built.members).items()}
    record = {
        **built.record,  # what is the same for all stages has the last word
        "kind": "built",
        "label": job.label,
        "n": len(images),
        "members": len(built.members),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "forward": built.passes.forward,
        "backward": built.passes.backward,
        "seconds": seconds,
    }
    finish(worker, result, "weights", job.key, tensors, job.inputs, record)
    result.inside += seconds
    result.passes += built.passes.forward + built.passes.backward


def rounds(plan: Plan) -> Sequence[Make]:
    """One a layer: each rests on those before it."""
    return [partial(_lacking_jobs, layer=frozenset(layer)) for layer in layers(plan)]


def _lacking_jobs(lacking: Lacking, layer: Collection[str]) -> list[BuildJob]:
    jobs = []
    for key in lacking.models:
        planned = lacking.plan.models[key]
        model = planned.model
        if key not in layer or key in lacking.failed:
            continue
        assert isinstance(model, BuiltModel)
        inputs = lacking.model_inputs(planned, lacking.model_digests)
        assert inputs is not None  # all that it rests on is there: what did not come to be has failed
        jobs.append(
            BuildJob(
                key=key,
                label=planned.label,
                task=lacking.plan.scenario.task,
                configuration=model.base.configuration,
                seed=model.base.seed,
                stage=model.stage,
                given=tuple(model_input(lacking, m) for m in (*model.given, *model.others)),
                pool=tuple(
                    replace(model_input(lacking, m), group=group, label=label)
                    for m, group, label in zip(model.pool, model.groups, model.pool_labels, strict=True)
                ),
                expected=model.expected,
                asked=None if model.asked is None else model_input(lacking, model.asked),
                judges=tuple(model_input(lacking, judge) for judge in model.judges),
                judging=judging_images(lacking.plan, model.judges),
                inputs=inputs,
                precision=lacking.plan.scenario.precision,
                units=model.passes,
            )
        )
    return jobs
