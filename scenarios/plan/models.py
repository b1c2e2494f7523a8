"""The models that a plan needs, each under its key: trained, built of others, wrapped, or there already."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import torch

from carom.defenses import Stage, Wrapper
from carom.errors import InputError
from carom.identity import content_key
from carom.scenarios.spec.scenario import (
    Base,
    Precision,
    PublicSpec,
    ReferencedModel,
    Scenario,
    SurrogateSpec,
    TrainedModel,
    VictimSpec,
)
from carom.surrogates import Chain, Member, Refinement
from carom.zoo.architectures import architecture
from carom.zoo.tasks import Task
from carom.zoo.tasks.balance import largest_n
from carom.zoo.tasks.images import Split

from .images import AttackedImages


@dataclass(frozen=True, kw_only=True)
class BuiltModel:
    """Weight sets that a scenario makes of others.

    Attributes:
        base: Whose architecture, data, recipe and seed they have.
        stage: What makes them: of a surrogate, or of a defence.
        chain: A surrogate's builder up to this stage; says which of the weight sets answer. None of a defence's.
        given: Keys of the models that it takes.
        others: Keys of further trainings that it takes, behind these.
        asked: Key of the victim that it asks; None where it asks none.
        judges: Keys of the validation victims that it chooses by.
        stages: Of a defence, those up to this one.
        pool: Keys of the public models that it learns from.
        groups: Their training styles, in the same order.
        pool_labels: Their names, in the same order.
    """

    base: TrainedModel
    stage: Refinement | Stage
    chain: Chain | None
    given: tuple[str, ...]
    others: tuple[str, ...] = ()
    asked: str | None = None
    judges: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    pool: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    pool_labels: tuple[str, ...] = ()

    @property
    def axes(self) -> Mapping[str, str]:
        """Those of the model that it was built on."""
        return self.base.axes

    @property
    def expected(self) -> int:
        """Weight sets that come before the stage, where none diverged."""
        if self.chain is None:
            return len(self.given)
        before = self.chain.then[:-1]
        return replace(self.chain, then=before).count if before or self.chain.first is not None else 0

    @property
    def passes(self) -> int:
        """Image passes that making them takes, as far as it can be told beforehand."""
        configuration = self.base.configuration
        if isinstance(self.stage, Stage):
            each = self.stage.passes(configuration.recipe)
        else:
            each = 2 * max(1, int(getattr(self.stage, "epochs", 1)))
        return round((configuration.n or 0) * each)

    @property
    def models(self) -> tuple[str, ...]:
        """Keys of all models that it rests on directly."""
        return (*self.given, *self.others, *(() if self.asked is None else (self.asked,)), *self.judges, *self.pool)


@dataclass(frozen=True, kw_only=True)
class WrappedModel:
    """A model behind a defence's wrappers.

    Attributes:
        base: What the table that it stands in describes.
        inner: Key of what is wrapped.
        wrappers: Innermost first.
    """

    base: TrainedModel | ReferencedModel
    inner: str
    wrappers: tuple[Wrapper, ...]

    @property
    def axes(self) -> Mapping[str, str]:
        """Those of the model that is wrapped."""
        return self.base.axes


Model = Base | BuiltModel | WrappedModel


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """A model under its key; the digest of one that exists already is known before anything runs.

    Attributes:
        key: Of what was asked.
        model: What it is.
        inputs: Digests of the data that it is made from.
        label: For tables.
        digest: Of a model that exists already.
        code: Of the Python module that makes one that exists already, as `code_behind` says.
        sees: Of one that exists already, what it sees of the attacked images, in words.
    """

    key: str
    model: Model
    inputs: Mapping[str, str]
    label: str
    digest: str | None = None
    code: str | None = None
    sees: str = ""

    @property
    def trained(self) -> TrainedModel | None:
        """The training that it is, or that it rests on; None of a model that exists already."""
        base = self.model if isinstance(self.model, TrainedModel | ReferencedModel) else self.model.base
        return base if isinstance(base, TrainedModel) else None

    @property
    def stacked(self) -> bool:
        """Whether its artefact holds several weight sets, or one in the same form."""
        if isinstance(self.model, TrainedModel):
            return self.model.configuration.recipe.slots().collect is not None
        return isinstance(self.model, BuiltModel)


def behind_wrappers(inner: str) -> dict[str, torch.Tensor]:
    """What stands under the key of a wrapped model, which has no weights of its own: whose weights are behind it."""
    return {"inner": torch.frombuffer(bytearray.fromhex(inner), dtype=torch.uint8)}


def training_images(scenario: Scenario, say: Callable[[str], None]) -> int | None:
    """The largest N that every balance can draw from every source; None when every model states its own."""
    open_models = [m for m in _trained_models(scenario) if m.configuration.n is None]
    if not open_models:
        return None
    available = []
    for source, samples in dict.fromkeys((m.configuration.source, m.configuration.samples) for m in open_models):
        say(f"reading {scenario.task_name}: {source}")
        labels = scenario.task.load(source, "train", samples).labels
        available.append(tuple(torch.bincount(labels, minlength=len(scenario.task.classes)).tolist()))
    balances = list(dict.fromkeys(m.configuration.balance for m in open_models))
    n = largest_n(available, balances)
    if n < len(scenario.task.classes):
        raise InputError(
            f"scenario {scenario.name}: no number of training images suits every balance and source; "
            f"the sources hold {[sum(a) for a in available]} images; drop a balance or set n"
        )
    return n


def _trained_models(scenario: Scenario) -> list[TrainedModel]:
    """Models whose data have to be read: those of victims and the pool, and all that surrogates rest on."""
    models: list[Base] = [*(v.model for v in scenario.victims), *(p.model for p in scenario.pool)]
    for spec in scenario.surrogates:
        if isinstance(spec.base, TrainedModel):
            models += [spec.base, *(training_of(spec, spec.base, m) for m in spec.builder.members(spec.base.seed))]
    return [m for m in models if isinstance(m, TrainedModel)]


def training_of(spec: SurrogateSpec, base: TrainedModel, member: Member, *, plain: bool = False) -> TrainedModel:
    """One of the trainings that a builder asks for; `plain` as the scenario trains networks."""
    configuration, axes = base.configuration, dict(base.axes)
    if member.architecture is not None:
        network = architecture(member.architecture, where=f"{spec.label}: architecture")
        configuration = replace(configuration, architecture=network)
        axes["architecture"] = member.architecture
    if spec.builder.first is not None and not plain:
        configuration = replace(configuration, recipe=spec.builder.first.recipe(configuration.recipe))
    return TrainedModel(configuration=configuration, seed=member.seed, axes=axes)


def data_digests(
    scenario: Scenario, looked_for: Set[bytes] = frozenset()
) -> tuple[dict[tuple[str, str], dict[str, str]], set[bytes]]:
    """The digests of the data that models are trained on, and which images of those looked for are among them."""
    digests: dict[tuple[str, str], dict[str, str]] = {}
    found: set[bytes] = set()
    for model in _trained_models(scenario):
        place = (model.configuration.source, model.configuration.samples)
        if place not in digests:
            train = scenario.task.load(place[0], "train", place[1])
            digests[place] = {
                "train": train.digest,
                "validation": scenario.task.load(place[0], "validation", place[1]).digest,
            }
            found |= looked_for & set(train.each) if looked_for else set()
    return digests, found


def planned_model(
    model: Model,
    task: Task,
    n: int | None,
    digests: Mapping[tuple[str, str], Mapping[str, str]],
    label: str,
    run_id: str,
    images: Mapping[Split, AttackedImages],
    precision: Precision,
) -> PlannedModel:
    if isinstance(model, ReferencedModel):
        asked = model.reference.key() or f"{model.name} in run {run_id}"  # without a revision: for this run only
        key = content_key("reference", asked)
        return PlannedModel(key=key, model=model, inputs={}, label=label)
    if isinstance(model, WrappedModel):
        key = content_key("wrapped", model.inner, model.wrappers)
        sized = _sized(model.base, n) if isinstance(model.base, TrainedModel) else model.base
        return PlannedModel(key=key, model=replace(model, base=sized), inputs={}, label=label)
    if isinstance(model, BuiltModel):
        base = planned_model(model.base, task, n, digests, label, run_id, images, precision)
        assert isinstance(base.model, TrainedModel)
        judging = images["validation"].key if model.judges else None
        question: tuple[Any, ...] = ("build", model.stage, model.models, judging, task, base.model.configuration)
        in_precision = () if model.asked is None or precision == "float32" else (precision,)  # of the answers
        in_groups = (("pool", model.groups),) if model.pool else ()
        key = content_key(*question, base.model.seed, *in_precision, *in_groups)
        inputs = dict(base.inputs) | ({"judging": images["validation"].digest} if model.judges else {})
        return PlannedModel(key=key, model=replace(model, base=base.model), inputs=inputs, label=label)
    planned = _sized(model, n)
    configuration = planned.configuration
    key = content_key("train", task, configuration, model.seed)
    return PlannedModel(
        key=key, model=planned, inputs=digests[configuration.source, configuration.samples], label=label
    )


def _sized(model: TrainedModel, n: int | None) -> TrainedModel:
    """With the scenario's number of training images, where it has none of its own."""
    if model.configuration.n is not None:
        return model
    return replace(model, configuration=replace(model.configuration, n=n))


def defended_model(
    spec: VictimSpec | PublicSpec, pool: Sequence[tuple[str, PublicSpec]], add: Callable[..., str]
) -> str:
    """Key of a victim or public model, behind those that its defence rests on."""
    model, defense = spec.model, spec.defense

    def put(model: Model, of: Any, *, last: bool) -> tuple[str, ...]:
        """One of its models; what comes before the last is called by what made it."""
        label = spec.label if last else f"{spec.label} > {'plain' if of is None else type(of).__name__.lower()}"
        return (add(model, spec.role, label, own=last),)

    keys: tuple[str, ...] = ()
    if isinstance(model, ReferencedModel) or defense.trains_first:
        first: Model = model
        if isinstance(model, TrainedModel) and defense.first is not None:
            recipe = defense.first.recipe(model.configuration.recipe)
            first = replace(model, configuration=replace(model.configuration, recipe=recipe))
        keys = put(first, defense.first, last=not defense.then and not defense.wrappers)
    for place, stage in enumerate(defense.then):
        assert isinstance(model, TrainedModel)
        learns_from = pool if stage.pool else ()
        built = BuiltModel(
            base=model,
            stage=stage,
            chain=None,
            given=keys,
            stages=defense.then[: place + 1],
            pool=tuple(key for key, _ in learns_from),
            groups=tuple(p.group for _, p in learns_from),
            pool_labels=tuple(p.label for _, p in learns_from),
        )
        keys = put(built, stage, last=place + 1 == len(defense.then) and not defense.wrappers)
    if defense.wrappers:
        keys = put(WrappedModel(base=model, inner=keys[0], wrappers=defense.wrappers), None, last=True)
    return keys[0]
