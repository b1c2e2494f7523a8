"""What workers do: train a model, craft the sets of a surrogate, evaluate a victim.

A job reads what it needs from files, writes files or returns outcome bytes, and never touches the database, so the same
functions serve threads of one process, a pool of processes, or a cluster.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from carom.attacks import PAS, Crafted, Partners, craft, craft_control
from carom.attacks.crafting.craft import WITHOUT_GRADIENTS, chunk_size
from carom.attacks.paths import Searched, search
from carom.budget import Budget
from carom.defenses import PublicModel, Randomised, Stage, Wrapper
from carom.errors import CaromError, ContractError, InputError, ModelError, StoreError, one_line
from carom.identity import tensor_digest
from carom.protocols import Attack, Control, GradientSource
from carom.scenarios.environment import code_digest, environment
from carom.scenarios.plan.measures import EXAMINED_PASSES, MEASURED_PASSES
from carom.scenarios.spec.scenario import Configuration, Precision, loop_of, with_loop
from carom.scenarios.store.artifacts import COPIES, Kind, Written, adopt, read_artifact, write_artifact
from carom.scenarios.store.predictions import NO_ANSWER, Predictions, pack_predictions
from carom.surrogates import Chain, Ground, Refinement
from carom.surrogates.stack import restored, stacked, unstacked
from carom.zoo.architectures import Architecture
from carom.zoo.models.classifier import Classifier, Shape
from carom.zoo.models.prepare import prepare
from carom.zoo.models.references import Reference
from carom.zoo.tasks import Task
from carom.zoo.tasks.attacked import target_classes
from carom.zoo.tasks.balance import draw
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.loop import train

from .inputs import load_images, load_outsider, load_partners

EXAMINED_SEED = 0
EVALUATION_BATCH = 128  # fixed places, so that outcomes do not depend on how the work was cut


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job runs, and with which code.

    Attributes:
        folder: The store.
        device: As torch names it.
        threads: Of this process.
        code: Digest of carom's files in the process that planned the run.
    """

    folder: Path
    device: str
    threads: int
    code: str


@dataclass(frozen=True, kw_only=True)
class WeightsOf:
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
    inner: "WeightsOf | None" = None  # what is behind the wrappers
    wrappers: tuple[Wrapper, ...] = ()
    group: str = ""  # of a public model


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
    given: tuple[WeightsOf, ...]
    pool: tuple[WeightsOf, ...]
    expected: int
    asked: WeightsOf | None
    judges: tuple[WeightsOf, ...]
    judging: tuple[str, str] | None
    inputs: Mapping[str, str]
    precision: Precision
    units: int

    kind = "build"


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
    models: tuple[WeightsOf, ...]
    images: int
    members: int
    seed: int
    inputs: Mapping[str, str]

    kind = "measure"

    @property
    def units(self) -> int:
        """Work, for the time left: about what the Hessians take."""
        return MEASURED_PASSES * self.images * self.members


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
    victim: WeightsOf
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


@dataclass(frozen=True, kw_only=True)
class SetToCraft:
    """One adversarial set of a surrogate."""

    key: str
    attack: Attack
    budget: Budget
    seed: int
    targeted: bool
    mixes: bool = False
    decoy: bool = False


@dataclass(frozen=True, kw_only=True)
class CraftJob:
    """Craft the sets of one surrogate on one image set; the surrogate is prepared once for all of them.

    Attributes:
        label: The surrogate's.
        members: Its networks.
        asked: The victim that query attacks ask; None for the surrogate itself.
        judges: Validation victims, for coefficients that are searched.
        judging: Key and digest of the images of that search.
        partners: Digest of the pool of images that attacks mix in.
        task: Where the pool comes from.
        builder: How the networks make one surrogate.
        sets: What to craft.
        images_key: Of the attacked images.
        images_digest: Of the attacked images.
        n: How many images.
        classes: Of the task.
        precision: Of crafting.
    """

    label: str
    members: tuple[WeightsOf, ...]
    asked: WeightsOf | None
    judges: tuple[WeightsOf, ...]
    judging: tuple[str, str] | None
    partners: str | None
    task: Task
    builder: Chain
    sets: tuple[SetToCraft, ...]
    images_key: str
    images_digest: str
    n: int
    classes: int
    precision: Precision

    kind = "craft"

    @property
    def units(self) -> int:
        """Work, for the time left: image passes."""
        return sum(s.attack.passes(self.builder.active).total for s in self.sets) * self.n


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


@dataclass(frozen=True, kw_only=True)
class EvaluateJob:
    """Ask one victim about stored sets; it is loaded once for all of them."""

    label: str
    victim: WeightsOf
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


Job = TrainJob | BuildJob | MeasureJob | ExamineJob | CraftJob | ControlJob | EvaluateJob


@dataclass(kw_only=True)
class Result:
    """What a job did, or why it failed."""

    label: str
    kind: str
    written: list[Written] = field(default_factory=list)
    outcomes: dict[str, bytes] = field(default_factory=dict)  # packed predictions by set key
    seconds: float = 0.0
    inside: float = 0.0  # seconds in forward and backward passes
    passes: int = 0
    failures: dict[str, str] = field(default_factory=dict)  # why a set could not be made, by its key
    environment: Mapping[str, Any] = field(default_factory=dict)  # where it was done, and with what
    failure: str | None = None
    fault: str | None = None  # "input": the user's model or file; "store": the disk; "job": anything else


def perform(job: Job, place: Place) -> Result:
    """Do a job; failures come back as values, so that the rest of a run goes on."""
    start = time.perf_counter()
    threads = torch.get_num_threads()
    torch.set_num_threads(place.threads)
    result = Result(label=job.label, kind=job.kind, environment=environment(place.device))
    try:
        if place.code != code_digest():  # keys of the plan would name what other code made
            raise ContractError(
                "carom's own files changed after the run began, or differ between machines; run it again"
            )
        if isinstance(job, TrainJob):
            _train(job, place, result)
        elif isinstance(job, BuildJob):
            _build(job, place, result)
        elif isinstance(job, MeasureJob):
            _measure(job, place, result)
        elif isinstance(job, ExamineJob):
            _examine(job, place, result)
        elif isinstance(job, CraftJob):
            _craft(job, place, result)
        elif isinstance(job, ControlJob):
            _control(job, place, result)
        else:
            _evaluate(job, place, result)
    except StoreError as error:
        result.failure, result.fault = str(error), "store"
    except InputError as error:
        result.failure, result.fault = str(error), "input"
    except CaromError as error:
        result.failure, result.fault = str(error), "job"
    except torch.OutOfMemoryError:
        result.failure, result.fault = "out of memory on the device; free some or use a smaller model", "job"
    except Exception as error:  # a job must not take the run with it, whatever a model or library raises
        result.failure, result.fault = one_line(error), "job"
    finally:
        torch.set_num_threads(threads)
    result.seconds = time.perf_counter() - start
    return result


# ------------------------------------------------------------------------------------------------------------- train


def _train(job: TrainJob, place: Place, result: Result) -> None:
    found = adopt(place.folder, "weights", job.key, job.inputs)
    if found is not None:
        result.written.append(found)
        return
    images, validation = _attackers_images(job)
    torch.set_num_threads(job.configuration.recipe.threads)
    trained = train(
        job.configuration.recipe,
        job.configuration.architecture,
        train=images,
        validation=validation,
        classes=len(job.task.classes),
        seed=job.seed,
        device=place.device,
        checkpoint=_checkpoint(place, job.key),
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
    record["parameters"] = _parameters(tensors)
    _finish(place, result, "weights", job.key, tensors, tensor_digest(tensors), job.inputs, record)
    result.inside += trained.model_seconds
    result.passes += trained.passes.forward + trained.passes.backward


def _attackers_images(job: TrainJob | BuildJob) -> tuple[ImageSet, ImageSet]:
    """What a model is trained on and what it is judged by."""
    configuration = job.configuration
    validation = load_images(
        job.task, configuration.source, "validation", configuration.samples, job.inputs["validation"]
    )
    return _training_images(job), validation


def _training_images(job: TrainJob | BuildJob | MeasureJob) -> ImageSet:
    configuration = job.configuration
    pool = load_images(job.task, configuration.source, "train", configuration.samples, job.inputs["train"])
    assert configuration.n is not None
    return draw(pool, configuration.balance.counts(configuration.n, len(job.task.classes)), job.seed)


def _checkpoint(place: Place, key: str) -> Path:
    """Where a training writes how far it is."""
    return place.folder / "checkpoints" / f"{key}.pt"


def _parameters(tensors: Mapping[str, torch.Tensor]) -> int:
    """Numbers that a set of weights stores."""
    return sum(tensor.numel() for tensor in tensors.values())


# ------------------------------------------------------------------------------------------------------------- build


def _build(job: BuildJob, place: Place, result: Result) -> None:
    found = adopt(place.folder, "weights", job.key, job.inputs)
    if found is not None:
        result.written.append(found)
        return
    configuration = job.configuration
    images, validation = _attackers_images(job)
    judging = None
    if job.judging is not None:
        held_out = read_artifact(place.folder, "images", *job.judging)
        judging = ImageSet(held_out["images"], held_out["labels"], held_out["ids"])
    torch.set_num_threads(configuration.recipe.threads)
    given = [_weight_sets(member, place) for member in job.given]
    ground = Ground(
        architecture=_architecture(job.given[0], given[0][0]) if given else configuration.architecture,
        shape=job.task.shape,
        classes=len(job.task.classes),
        recipe=configuration.recipe,
        train=images,
        validation=validation,
        seed=job.seed,
        device=torch.device(place.device),
        asked=None if job.asked is None else _answering(_load_model(job.asked, place), job.precision),
        judges=[_judge(member, place) for member in job.judges],
        judging=judging,
        checkpoint=_checkpoint(place, job.key),
        expected=job.expected,
        stored=place.folder / "artifacts" / COPIES,
    )
    began = time.perf_counter()
    weights = [one for member in given for one in member]
    if isinstance(job.stage, Stage):
        public = [PublicModel(label=m.label, group=m.group, classifier=_load_members(m, place)[0]) for m in job.pool]
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
        "parameters": _parameters(tensors),
        "forward": built.passes.forward,
        "backward": built.passes.backward,
        "seconds": seconds,
    }
    _finish(place, result, "weights", job.key, tensors, tensor_digest(tensors), job.inputs, record)
    result.inside += seconds
    result.passes += built.passes.forward + built.passes.backward


def _examine(job: ExamineJob, place: Place, result: Result) -> None:
    from carom.defenses.masking import examined

    found = adopt(place.folder, "measures", job.key, job.inputs)
    if found is not None:
        result.written.append(found)
        return
    victim = _load_model(job.victim, place)
    clean = read_artifact(place.folder, "images", job.images_key, job.images_digest)
    began = time.perf_counter()
    numbers: dict[str, float] = {}
    if isinstance(victim, Classifier):  # a function has no gradients to mask
        places = torch.linspace(0, len(clean["labels"]) - 1, min(job.images, len(clean["labels"]))).long()
        images, labels, ids = (clean[name][places] for name in ("images", "labels", "ids"))
        device = torch.device(place.device)
        numbers = examined(victim, images, labels, ids, job.budget, seed=EXAMINED_SEED, device=device).numbers()
    record = {**numbers, "seconds": time.perf_counter() - began, "label": job.label}
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in sorted(numbers.items())}
    tensors = tensors or {"examined": torch.zeros((), dtype=torch.float64)}
    _finish(place, result, "measures", job.key, tensors, tensor_digest(tensors), job.inputs, record)
    result.passes += int(numbers.get("passes", 0))


def _measure(job: MeasureJob, place: Place, result: Result) -> None:
    from carom.surrogates.geometry import measured

    found = adopt(place.folder, "measures", job.key, job.inputs)
    if found is not None:
        result.written.append(found)
        return
    images = _training_images(job)
    classifiers: list[Classifier] = []
    for weights in job.models:
        chosen = _load_members(weights, place)
        classifiers += chosen if weights.chain is None else weights.chain.answering(chosen)
    began = time.perf_counter()
    some = images.select(torch.arange(min(job.images, len(images))))
    numbers = measured(classifiers, some, seed=job.seed, members=job.members)
    record = {**numbers, "seconds": time.perf_counter() - began, "label": job.label}
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in sorted(numbers.items())}
    _finish(place, result, "measures", job.key, tensors, tensor_digest(tensors), job.inputs, record)
    result.passes += int(numbers["forward"] + numbers["backward"])


# ------------------------------------------------------------------------------------------------------------- craft


def _craft(job: CraftJob, place: Place, result: Result) -> None:
    todo = [wanted for wanted in job.sets if not _adopted(wanted.key, _inputs(job, wanted), place, result)]
    if not todo:
        return
    clean = read_artifact(place.folder, "images", job.images_key, job.images_digest)
    device = torch.device(place.device)
    networks = [network for member in job.members for network in _load_members(member, place)]
    outside = not all(isinstance(network, Classifier) for network in networks)
    # who only asks a model that draws gets its answers, not the mean over draws that he knows
    own = networks[0] if outside or isinstance(networks[0], Randomised) else None
    victim = own if job.asked is None else _load_model(job.asked, place)
    asked = None if victim is None else _answering(victim, job.precision)
    partners = None
    if any(wanted.mixes for wanted in todo):
        assert job.partners is not None
        pool = load_partners(job.task, job.partners)
        partners = Partners(pool.images.float() / 255, pool.labels).to(torch.zeros((), device=device))

    def ready(model: nn.Module) -> nn.Module:
        return with_precision(prepare(model), job.precision)

    searches = _Searches(job, networks, place)
    wrong = target_classes(clean["labels"], clean["ids"], job.classes)
    for seed in dict.fromkeys(s.seed for s in todo):
        if outside:
            source: GradientSource = WITHOUT_GRADIENTS
        elif isinstance(networks[0], Randomised):
            source = networks[0].expectation(seed)
        else:
            source = job.builder.surrogate(networks, seed)
        for targeted, decoy in ((False, False), (True, False), (False, True)):
            some = [s for s in todo if s.seed == seed and s.targeted == targeted and s.decoy == decoy]
            if not some:
                continue
            target = wrong if targeted else None
            labels = wrong if decoy else clean["labels"]

            def made(
                wanted: Sequence[SetToCraft],
                source: GradientSource = source,
                labels: torch.Tensor = labels,
                **of: Any,
            ) -> list[_Made]:
                """The sets, all in one go, so that they share what they can."""
                found = [searches.attack(one) for one in wanted]
                crafted = craft(
                    [(attack, one.budget) for one, (attack, _) in zip(wanted, found, strict=True)],
                    source,
                    clean["images"],
                    labels,
                    ids=clean["ids"],
                    partners=partners,
                    asked=asked,
                    prepare=ready,
                    device=device,
                    **of,
                )
                return [(one, set_, told) for one, set_, (_, told) in zip(wanted, crafted, found, strict=True)]

            for wanted, crafted, told in _one_by_one(made, some, result, seed=seed, target=target):
                record = {
                    "forward": crafted.passes.forward,
                    "backward": crafted.passes.backward,
                    "zero_gradient_fraction": crafted.zero_gradients,
                    "seconds": crafted.seconds,
                    "chunk": chunk_size(clean["images"].shape[1:], device),
                    **visibility(crafted.images, clean["images"], wanted.budget),
                    **_column_means(crafted.columns),
                    **told,
                }
                tensors = {"images": crafted.images, **crafted.columns}
                if target is not None:
                    tensors["target"] = target
                digest = tensor_digest(tensors)
                _finish(place, result, "sets", wanted.key, tensors, digest, _inputs(job, wanted), record)
                result.passes += crafted.passes.total
                result.inside += crafted.model_seconds
    result.passes += searches.passes


_Made = tuple[SetToCraft, Crafted, dict[str, Any]]


def _one_by_one(
    make: Callable[..., list[_Made]], wanted: Sequence[SetToCraft], result: Result, **of: Any
) -> Iterator[_Made]:
    """All sets together, or where that fails each by itself: an attack that does not suit a model costs its own set."""
    try:
        yield from make(wanted, **of)
        return
    except StoreError:
        raise
    except Exception as error:
        if len(wanted) == 1:
            result.failures[wanted[0].key] = one_line(error)
            return
    for one in wanted:
        yield from _one_by_one(make, [one], result, **of)


def _inputs(job: CraftJob, wanted: SetToCraft) -> dict[str, str]:
    """Digests of all that a set rests on."""
    inputs = {"images": job.images_digest} | {f"member {i}": m.digest for i, m in enumerate(job.members)}
    if job.asked is not None:
        inputs["asked"] = job.asked.digest
    inputs |= {f"judge {i}": judge.digest for i, judge in enumerate(job.judges)}
    if job.judging is not None:
        inputs["judging"] = job.judging[1]
    if wanted.mixes:
        inputs["partners"] = str(job.partners)
    return inputs


@dataclass
class _Searches:
    """Coefficients of model paths, searched once for each path, budget and seed on validation images and victims."""

    job: CraftJob
    networks: Sequence[Any]
    place: Place
    passes: int = 0
    _found: dict[tuple[PAS, Budget, int], Searched] = field(default_factory=dict)

    def attack(self, wanted: SetToCraft) -> tuple[Attack, dict[str, Any]]:
        """The attack with its coefficients, and what to note of the search; as it is where there is none to make."""
        loop = loop_of(wanted.attack)
        if loop is None or not isinstance(loop.path, PAS) or loop.path.coefficients:
            return wanted.attack, {}
        asked = loop.path, wanted.budget, wanted.seed
        if asked not in self._found:
            self._found[asked] = self._search(*asked)
            self.passes += self._found[asked].passes.total
        found = self._found[asked]
        return with_loop(wanted.attack, replace(loop, path=found.path)), {
            "coefficients": list(found.path.coefficients),
            "search_score": found.score,
            "search_forward": found.passes.forward,
            "search_backward": found.passes.backward,
        }

    def _search(self, path: PAS, budget: Budget, seed: int) -> Searched:
        assert self.job.judging is not None
        held_out = read_artifact(self.place.folder, "images", *self.job.judging)
        x, y = held_out["images"].to(self.place.device).float() / 255, held_out["labels"].to(self.place.device)
        judges = [_judge(member, self.place) for member in self.job.judges]
        return search(self.networks[0], judges, x, y, budget, pas=path, seed=seed, prepare=prepare)


def _judge(member: WeightsOf, place: Place) -> nn.Module:
    """A validation victim, as what is chosen by transfer sees it."""
    judge = _load_model(member, place)
    if not isinstance(judge, nn.Module):
        raise InputError(f"{member.label}: a path is judged by logits, and this validation victim is a function")
    return prepare(judge)


def _answering(model: Any, precision: Precision) -> Callable[[torch.Tensor], torch.Tensor]:
    """The victim as query attacks see it; one that draws, with draws of their own for all queries."""
    if isinstance(model, Randomised):
        prepared = prepare(model)
        assert isinstance(prepared, Randomised)
        return prepared.asked
    return with_precision(prepare(model), precision) if isinstance(model, nn.Module) else model


def _column_means(columns: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """What the attack noted of each image, in the mean; of a radius, which may be infinite, the median.

    A radius of 0 says that the image was wrong before, so it is no radius.
    """
    means = {}
    for name, values in columns.items():
        of = values.double()[values > 0] if name == "radius" else values.double()
        if len(of):
            means[f"{'median' if name == 'radius' else 'mean'}_{name}"] = float(
                of.median() if name == "radius" else of.mean()
            )
    return means


def _control(job: ControlJob, place: Place, result: Result) -> None:
    inputs = {"images": job.images_digest}
    clean = read_artifact(place.folder, "images", job.images_key, job.images_digest)
    for key, control, budget, seed in job.sets:
        if _adopted(key, inputs, place, result):
            continue
        images = craft_control([(control, budget)], clean["images"], ids=clean["ids"], seed=seed)[0].images
        record = {"forward": 0, "backward": 0, "seconds": 0.0, **visibility(images, clean["images"], budget)}
        tensors = {"images": images}
        _finish(place, result, "sets", key, tensors, tensor_digest(tensors), inputs, record)


def _adopted(key: str, inputs: Mapping[str, str], place: Place, result: Result) -> bool:
    """Whether a set is there already, written by a run that was stopped before it could say so."""
    found = adopt(place.folder, "sets", key, inputs)
    if found is not None:
        result.written.append(found)
    return found is not None


def visibility(adversarial: torch.Tensor, clean: torch.Tensor, budget: Budget) -> dict[str, float]:
    """How far a set went and how visible it is: means over images of L2, Linf, size / eps, and SSIM."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, c = adversarial.float() / 255, clean.float() / 255
    delta = (a - c).flatten(1)
    eps = float(budget.eps)
    # the Gaussian window of Wang et al. 2004 is 11 wide; narrower images get the widest plain one that fits
    narrow = min(a.shape[-2:])
    ssim = structural_similarity_index_measure(
        a,
        c,
        data_range=1.0,
        reduction="none",
        gaussian_kernel=narrow >= 11,
        kernel_size=min(11, (narrow - 1) // 2 * 2 + 1),
    )
    return {
        "l2": float(delta.square().sum(1).sqrt().mean()),
        "linf": float(delta.abs().amax(1).mean()),
        "size_over_eps": float(budget.size(a, c).mean()) / eps if eps > 0 else 0.0,
        "ssim": float(torch.as_tensor(ssim).mean()),
    }


# ---------------------------------------------------------------------------------------------------------- evaluate


def _evaluate(job: EvaluateJob, place: Place, result: Result) -> None:
    model = _load_model(job.victim, place)
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
        images = read_artifact(place.folder, kind, key, digest)["images"]
        ids = read_artifact(place.folder, "images", *job.images[key])["ids"] if randomised else None
        start = time.perf_counter()
        predictions = answers(victim, images, ids, classes=job.classes, device=place.device, name=job.label)
        result.inside += time.perf_counter() - start
        result.outcomes[key] = pack_predictions(predictions, job.classes)
        result.passes += len(images)


@torch.inference_mode()
def answers(
    victim: Callable[..., Any],
    images: torch.Tensor,
    ids: torch.Tensor | None = None,
    *,
    classes: int,
    device: str,
    name: str,
) -> Predictions:
    """The class that a victim gives each 8-bit image, `n` int16; -1 where it gives none (scores that are not finite).

    Where `ids` are given, the victim gets those of each batch as well: it draws by image.

    Raises:
        ModelError: It raised, or answered in another shape than promised; names the batch.
    """
    parts = []
    several = [None] * len(images) if ids is None else torch.split(ids, EVALUATION_BATCH)
    for number, (batch, of) in enumerate(zip(torch.split(images, EVALUATION_BATCH), several, strict=False)):
        x = batch.to(device).float() / 255
        try:
            answer = victim(x) if of is None else victim(x, of)
        except Exception as error:  # the user's model may raise anything
            why = str(error) if isinstance(error, CaromError) else one_line(error)
            raise ModelError(
                f"{name}: batch {number + 1}: {why}; mend the model and run again: what was computed is kept"
            ) from None
        parts.append(_classes(answer, len(x), classes, name))
    return np.concatenate(parts)


def _classes(answer: object, n: int, classes: int, name: str) -> Predictions:
    values = torch.as_tensor(answer).detach().cpu()
    if values.ndim == 2 and values.shape == (n, classes):
        chosen = values.argmax(1)
        return torch.where(values.isfinite().all(1), chosen, NO_ANSWER).short().numpy()
    if values.ndim == 1 and len(values) == n and not values.is_floating_point():
        inside = (values >= 0) & (values < classes)
        return torch.where(inside, values, NO_ANSWER).short().numpy()
    raise ModelError(
        f"{name}: answered {tuple(values.shape)} {values.dtype} to {n} images; expected scores ({n}, {classes}) or "
        f"{n} whole-number labels"
    )


# ------------------------------------------------------------------------------------------------------------ models


class Bfloat16(nn.Module):
    """Runs a classifier's arithmetic in bfloat16 and answers in float32; the image itself stays float32."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `n k`, float32."""
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            logits: torch.Tensor = self.classifier(x)
        return logits.float()


def with_precision(classifier: nn.Module, precision: Precision) -> nn.Module:
    """The classifier in a scenario's declared precision."""
    return Bfloat16(classifier) if precision == "bfloat16" else classifier


class Joint(nn.Module):
    """Several weight sets as one victim: the mean of their logits."""

    def __init__(self, classifiers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `n k`."""
        return torch.stack([classifier(x) for classifier in self.classifiers]).mean(0)


def _weight_sets(weights: WeightsOf, place: Place) -> list[dict[str, torch.Tensor]]:
    tensors = read_artifact(place.folder, "weights", weights.key, weights.digest)
    return unstacked(tensors) if weights.stacked else [tensors]


def _load_members(weights: WeightsOf, place: Place) -> list[Any]:
    """A classifier for each weight set of a model; a referenced model is what it is."""
    if weights.inner is not None:
        members = _load_members(weights.inner, place)
        for wrapper in weights.wrappers:
            if not isinstance(members[0], Classifier):
                raise InputError(f"{weights.label}: a wrapper needs a torch module, and this victim is a function")
            members = [wrapper.wrap(member) for member in members]
        return members
    if weights.reference is not None:
        return [_load_model(weights, place)]
    sets = _weight_sets(weights, place)
    classifiers = restored(
        _architecture(weights, sets[0]),
        sets,
        shape=weights.shape,
        classes=weights.classes,
    )
    return [classifier.to(place.device) for classifier in classifiers]


def _architecture(weights: WeightsOf, tensors: Mapping[str, torch.Tensor]) -> Architecture:
    """What a model's tensors are weights of."""
    assert weights.configuration is not None
    architecture = weights.configuration.architecture
    for stage in weights.stages:
        architecture = stage.architecture(architecture, tensors)
    return architecture


def _load_model(weights: WeightsOf, place: Place) -> nn.Module | Callable[..., Any]:
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
        return model.to(place.device) if isinstance(model, nn.Module) else model
    classifiers = _load_members(weights, place)
    answering = classifiers if weights.chain is None else weights.chain.answering(classifiers)
    return answering[0] if len(answering) == 1 else Joint(answering)


def _finish(
    place: Place,
    result: Result,
    kind: Kind,
    key: str,
    tensors: Mapping[str, torch.Tensor],
    digest: str,
    inputs: Mapping[str, str],
    record: Mapping[str, Any],
) -> None:
    """Write an artefact, and tell the driver."""
    where = environment(place.device)  # now: a recipe has its own number of threads
    written = Written(kind=kind, key=key, digest=digest, inputs=dict(inputs), record={**record, "environment": where})
    write_artifact(place.folder, written, tensors)
    result.written.append(written)
