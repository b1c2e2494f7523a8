"""The surrogates that attackers read: chains of built models, and the public models that attackers use too."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from carom.errors import InputError
from carom.scenarios.spec.scenario import (
    SINGLE,
    PublicSpec,
    Scenario,
    SurrogateSpec,
    TrainedModel,
    loop_of,
)

from .models import BuiltModel, PlannedModel, training_of


@dataclass(frozen=True, kw_only=True)
class PlannedSurrogate:
    """A surrogate, with the keys of its models.

    Attributes:
        spec: What it is.
        members: Models whose weight sets are read, in their order.
        rests_on: All models that had to be made for it, these among them.
        only_victim: Key of the one victim that it is built for; None for all.
    """

    spec: SurrogateSpec
    members: tuple[str, ...]
    rests_on: tuple[str, ...]
    only_victim: str | None = None


def built_surrogate(
    spec: SurrogateSpec,
    asked: str | None,
    victims: Mapping[str, str],
    judges: tuple[str, ...],
    add: Callable[..., str],
) -> PlannedSurrogate:
    """A surrogate's models, from its trainings to its last refinement."""
    base, chain = spec.base, spec.builder
    if not isinstance(base, TrainedModel):
        alone = len(spec.existing) == 1
        existing = tuple(add(m, "surrogate", spec.label if alone else m.name, own=alone) for m in spec.existing)
        return PlannedSurrogate(spec=spec, members=existing, rests_on=existing)
    several = len(chain.then) > 0 or (chain.first is not None and len(chain.first.members(base.seed)) > 1)

    def label(model: TrainedModel) -> str:
        return f"{spec.label} > {model.axes['architecture']}/s{model.seed}" if several else spec.label

    first = [] if chain.first is None else [training_of(spec, base, m) for m in chain.first.members(base.seed)]
    keys = tuple(add(model, "surrogate", label(model)) for model in first)
    rests_on = dict.fromkeys(keys)
    for place, stage in enumerate(chain.then):
        further = [training_of(spec, base, member, plain=True) for member in stage.others(base.seed)]
        others = tuple(add(model, "surrogate", f"{label(model)}, another") for model in further)
        model = BuiltModel(
            base=base,
            stage=stage,
            chain=replace(chain, then=chain.then[: place + 1], per_step=1),
            given=keys,
            others=others,
            asked=asked if stage.asks else None,
            judges=judges if stage.judged else (),
        )
        last = place + 1 == len(chain.then)
        against = "" if asked is None else f" of {next(label for label, key in victims.items() if key == asked)}"
        name = f"{spec.label}{against}" if last else f"{spec.label}{against} > {type(stage).__name__.lower()}"
        keys = (add(model, "surrogate", name),)
        rests_on |= dict.fromkeys((*others, *keys))
    return PlannedSurrogate(spec=spec, members=keys, rests_on=tuple(rests_on), only_victim=asked)


def refuse_one_model_twice(planned: PlannedSurrogate, models: Mapping[str, PlannedModel]) -> None:
    """A copy of a model under another name would count twice in an ensemble of models that exist already.

    Raises:
        InputError: Two of them have the same weights.
    """
    seen: dict[str | None, str] = {}
    for key, model in zip(planned.members, planned.spec.existing, strict=False):
        other = seen.setdefault(models[key].digest, model.name)
        if other != model.name:
            raise InputError(
                f"surrogate {planned.spec.label!r}: {other!r} and {model.name!r} have the same weights; name each "
                "model of an ensemble once"
            )


def as_attacker(key: str, public: PublicSpec, groups: Collection[str]) -> PlannedSurrogate:
    """A public model as attackers use it; `groups` are those of models that defenders learn from."""
    seen = public.role == "public pool seen"
    part = "seen" if seen else "held out" if public.group in groups else "unseen group"
    axes = {
        **public.model.axes,
        "group": public.group,
        "pool": part,
    }
    spec = SurrogateSpec(
        label=public.label, base=replace(public.model, axes=axes), builder=SINGLE, builder_name="single"
    )
    return PlannedSurrogate(spec=spec, members=(key,), rests_on=(key,))


def understated(scenario: Scenario) -> tuple[str, ...]:
    """Attacks of fewer steps than a surrogate has members, so that some are never read."""
    warnings = []
    for spec in scenario.surrogates:
        chain = spec.builder
        if chain.schedule == "full" or chain.active == chain.count:
            continue
        for attack in scenario.attacks:
            loop = loop_of(attack.attack)
            if attack.reads == "surrogate" and loop is not None and loop.steps * chain.active < chain.count:
                warnings.append(
                    f"{spec.label}: {attack.label} has {loop.steps} steps and reads {loop.steps * chain.active} of "
                    f"{chain.count} members: its transfer is understated; take more steps"
                )
    return tuple(warnings)
