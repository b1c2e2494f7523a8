"""Train a model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.plan import Plan
from carom.scenarios.spec.scenario import Configuration, TrainedModel
from carom.surrogates.stack import stacked
from carom.zoo.tasks import Task
from carom.zoo.training.loop import train

from .inputs import attackers_images
from .job import Make, Result, Worker, adopted, finish


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """Train one model."""

    key: str
    label: str
    task: Task
    configuration: Configuration
    seed: int
    inputs: Mapping[str, str]

    kind = "train"

    @property
    def units(self) -> int:
        """Work, for the time left: image passes, forward and backward."""
        return self.configuration.passes

    @property
    def lost(self) -> tuple[str, ...]:
        """The model."""
        return (self.key,)

    def work(self, worker: Worker, result: Result) -> None:
        """Do it."""
        _train(self, worker, result)


def _train(job: TrainJob, worker: Worker, result: Result) -> None:
    if adopted("weights", job.key, job.inputs, worker, result):
        return
    images, validation = attackers_images(job)
    torch.set_num_threads(job.configuration.recipe.threads)
    trained = train(
        job.configuration.recipe,
        job.configuration.architecture,
        train=images,
        validation=validation,
        classes=len(job.task.classes),
        seed=job.seed,
        device=worker.device,
        checkpoint=worker.checkpoint(job.key),
    )
    record = {
        "kind": "trained",
        "label": job.label,
        "n": len(images),
        "best_epoch": trained.best_epoch,
        "history": [asdict(epoch) for epoch in trained.history],
        "forward": trained.passes.forward,
        "backward": trained.passes.backward,
        "seconds": trained.seconds,
    }
    if job.configuration.recipe.slots().collect is None:
        tensors = trained.best if trained.select == "best" else trained.last
    else:
        tensors = stacked([sample.weights for sample in trained.samples])
        record |= {"members": len(trained.samples), "epochs": [sample.epoch for sample in trained.samples]}
        record |= {"accuracy": [sample.validation_accuracy for sample in trained.samples]}
        record |= {"diverged": trained.diverged} if trained.diverged else {}
    tensors = {k: v.cpu() for k, v in tensors.items()}
    record["parameters"] = sum(tensor.numel() for tensor in tensors.values())
    finish(worker, result, "weights", job.key, tensors, job.inputs, record)
    result.inside += trained.model_seconds
    result.passes += trained.passes.forward + trained.passes.backward


def rounds(plan: Plan) -> Sequence[Make]:
    """All at once."""
    return [_lacking_jobs]


def _lacking_jobs(lacking: Lacking) -> list[TrainJob]:
    jobs = []
    for key in lacking.models:
        planned = lacking.plan.models[key]
        if isinstance(planned.model, TrainedModel):
            jobs.append(
                TrainJob(
                    key=key,
                    label=planned.label,
                    task=lacking.plan.scenario.task,
                    configuration=planned.model.configuration,
                    seed=planned.model.seed,
                    inputs=dict(planned.inputs),
                )
            )
    return jobs
