"""What a job works on: named by the driver, loaded by the worker, and compared with what the plan named.

The record of an artefact names the digests of what it was made from. They are those of the plan, which read the data
and the models once; a job reads them again, later, perhaps in another process or on another machine. So a job loads
them through these functions alone, which refuse what has another digest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from carom.defenses import Stage, Wrapper
from carom.errors import InputError, ModelError
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.models import BuiltModel, WrappedModel
from carom.scenarios.plan.plan import Plan
from carom.scenarios.spec.scenario import Configuration, ReferencedModel
from carom.scenarios.store.artifacts import read_artifact
from carom.surrogates import Chain
from carom.surrogates.stack import restored, unstacked
from carom.zoo.architectures import Architecture
from carom.zoo.models.classifier import Classifier, Shape
from carom.zoo.models.prepare import prepare
from carom.zoo.models.references import Reference, code_behind, load_reference
from carom.zoo.models.victims import CallableVictim
from carom.zoo.tasks import Task
from carom.zoo.tasks.attacked import partner_images
from carom.zoo.tasks.balance import draw
from carom.zoo.tasks.images import ImageSet, Split

from .answers import Joint
from .job import Worker

_AGAIN = "they changed after the run was planned, or differ between machines; run it again"

# A worker trains many models on the same images, and comparing them takes as long as hashing them. So it keeps what it
# compared, up to so many bytes of images: all sources and splits of small tasks, and one of a large one.
KEPT = 2**29
_kept: dict[tuple[Task, str, Split, str, str], ImageSet] = {}


def load_images(task: Task, source: str, split: Split, samples: str, digest: str) -> ImageSet:
    """The images of one source and split.

    Args:
        task: Where they come from.
        source: One of its sources.
        split: "train", "validation" or "test".
        samples: Which training images.
        digest: Of the images, labels and ids that are meant.

    Raises:
        InputError: They have another digest, or cannot be read.
        MissingData: The files are not on this machine.
    """
    asked = (task, source, split, samples, digest)
    if asked in _kept:
        _kept[asked] = _kept.pop(asked)  # the latest stands last
        return _kept[asked]
    found = task.load(source, split, samples)
    if found.digest != digest:
        raise InputError(
            f"the {split} images of {source}: sha256 {found.digest[:12]}, expected {digest[:12]} as planned: {_AGAIN}"
        )
    _kept[asked] = found
    while len(_kept) > 1 and sum(some.images.numel() for some in _kept.values()) > KEPT:
        del _kept[next(iter(_kept))]
    return found


@runtime_checkable
class OnTrainingImages(Protocol):
    """A job that works on the training images of a configuration."""

    @property
    def task(self) -> Task:
        """Whose images."""
        ...

    @property
    def configuration(self) -> Configuration:
        """Data, architecture, recipe."""
        ...

    @property
    def seed(self) -> int:
        """Of the draw of images."""
        ...

    @property
    def inputs(self) -> Mapping[str, str]:
        """Digests of all that it rests on."""
        ...


def attackers_images(job: OnTrainingImages) -> tuple[ImageSet, ImageSet]:
    """What a model is trained on and what it is judged by."""
    configuration = job.configuration
    validation = load_images(
        job.task, configuration.source, "validation", configuration.samples, job.inputs["validation"]
    )
    return training_images(job), validation


def training_images(job: OnTrainingImages) -> ImageSet:
    """What a model is trained on."""
    configuration = job.configuration
    pool = load_images(job.task, configuration.source, "train", configuration.samples, job.inputs["train"])
    assert configuration.n is not None
    return draw(pool, configuration.balance.counts(configuration.n, len(job.task.classes)), job.seed)


@lru_cache(maxsize=2)
def load_partners(task: Task, digest: str) -> ImageSet:
    """The pool of training images that attacks mix into others.

    Raises:
        InputError: It has another digest.
        MissingData: The files are not on this machine.
    """
    found = partner_images(task)
    if found.digest != digest:
        raise InputError(
            f"the pool of images that attacks mix in: sha256 {found.digest[:12]}, expected {digest[:12]} as planned: "
            f"{_AGAIN}"
        )
    return found


def load_outsider(
    reference: Reference, *, shape: Shape, classes: int, label: str, digest: str, code: str | None
) -> Classifier | CallableVictim:
    """A model that exists already, on the CPU.

    Args:
        reference: Where it is.
        shape: Channels, rows and columns of the task.
        classes: Of the task.
        label: For errors.
        digest: The fingerprint of the classifier that is meant; a function has none.
        code: Of the module that makes it, as `code_behind` says; None where there is none.

    Raises:
        ModelError: It has another fingerprint or is made by other code, or breaks its contract.
        MissingData: Its files are not on this machine.
    """
    found = load_reference(reference, where=label, shape=shape, classes=classes)
    if isinstance(found, Classifier) and (fingerprint := found.fingerprint()) != digest:
        raise ModelError(
            f"{label}: fingerprint {fingerprint[:12]}, expected {digest[:12]} as planned: its weights changed after "
            "the run was planned, differ between machines, or are drawn anew each time it is made; mend that and run "
            "again"
        )
    if code_behind(reference) != code:
        raise ModelError(
            f"{label}: the file of its Python module changed after the run was planned, or differs between machines; "
            "run it again"
        )
    return found


# ------------------------------------------------------------------------------------------------------------ models


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """A model that a job has to load: trained here (by key and digest) or referenced."""

    key: str
    label: str
    shape: Shape  # of the task's images
    classes: int
    configuration: Configuration | None
    reference: Reference | None
    digest: str
    code: str | None = None  # of the module that makes a referenced one
    stacked: bool = False
    chain: Chain | None = None  # of a surrogate that was built: says which of its weight sets answer
    stages: tuple[Stage, ...] = ()  # of a defence that was built, up to it: say of which architecture it is
    inner: "ModelInput | None" = None  # what is behind the wrappers
    wrappers: tuple[Wrapper, ...] = ()
    group: str = ""  # of a public model


def model_input(lacking: Lacking, key: str) -> ModelInput:
    """A model that is there, for a job."""
    planned = lacking.plan.models[key]
    model, task = planned.model, lacking.plan.scenario.task
    built = model if isinstance(model, BuiltModel) else None
    wrapped = model if isinstance(model, WrappedModel) else None
    return ModelInput(
        key=key,
        label=planned.label,
        shape=task.shape,
        classes=len(task.classes),
        configuration=None if planned.trained is None else planned.trained.configuration,
        reference=model.reference if isinstance(model, ReferencedModel) else None,
        digest=lacking.model_digests[key],
        code=planned.code,
        stacked=planned.stacked,
        chain=built.chain if built is not None else None,
        stages=built.stages if built is not None else (),
        inner=None if wrapped is None else model_input(lacking, wrapped.inner),
        wrappers=() if wrapped is None else wrapped.wrappers,
    )


def judging_images(plan: Plan, judges: Sequence[str]) -> tuple[str, str] | None:
    """Key and digest of the images that validation victims judge on; None where none of them judges."""
    attacked = plan.images.get("validation")
    return (attacked.key, attacked.digest) if judges and attacked is not None else None


def weight_sets(weights: ModelInput, worker: Worker) -> list[dict[str, torch.Tensor]]:
    tensors = read_artifact(worker.folder, "weights", weights.key, weights.digest)
    return unstacked(tensors) if weights.stacked else [tensors]


def load_members(weights: ModelInput, worker: Worker) -> list[Any]:
    """A classifier for each weight set of a model; a referenced model is what it is."""
    if weights.inner is not None:
        members = load_members(weights.inner, worker)
        for wrapper in weights.wrappers:
            if not isinstance(members[0], Classifier):
                raise InputError(f"{weights.label}: a wrapper needs a torch module, and this victim is a function")
            members = [wrapper.wrap(member) for member in members]
        return members
    if weights.reference is not None:
        return [load_model(weights, worker)]
    sets = weight_sets(weights, worker)
    classifiers = restored(
        architecture_of(weights, sets[0]),
        sets,
        shape=weights.shape,
        classes=weights.classes,
    )
    return [classifier.to(worker.device) for classifier in classifiers]


def architecture_of(weights: ModelInput, tensors: Mapping[str, torch.Tensor]) -> Architecture:
    """What a model's tensors are weights of."""
    assert weights.configuration is not None
    architecture = weights.configuration.architecture
    for stage in weights.stages:
        architecture = stage.architecture(architecture, tensors)
    return architecture


def load_model(weights: ModelInput, worker: Worker) -> nn.Module | Callable[..., Any]:
    """A model as a victim; of several weight sets their mean answer."""
    if weights.reference is not None:
        model = load_outsider(
            weights.reference,
            shape=weights.shape,
            classes=weights.classes,
            label=weights.label,
            digest=weights.digest,
            code=weights.code,
        )
        return model.to(worker.device) if isinstance(model, nn.Module) else model
    classifiers = load_members(weights, worker)
    answering = classifiers if weights.chain is None else weights.chain.answering(classifiers)
    return answering[0] if len(answering) == 1 else Joint(answering)


def load_judge(member: ModelInput, worker: Worker) -> nn.Module:
    """A validation victim, as what is chosen by transfer sees it."""
    judge = load_model(member, worker)
    if not isinstance(judge, nn.Module):
        raise InputError(f"{member.label}: a path is judged by logits, and this validation victim is a function")
    return prepare(judge)
