"""What models are called: one name for each level of an axis, and a label for each model that the file did not name."""

from dataclasses import replace
from typing import TypeVar

from carom.defenses import Defense
from carom.errors import InputError
from carom.identity import content_key
from carom.scenarios.axes import CONDITIONS, LEVELS
from carom.surrogates import Chain
from carom.zoo.architectures import architecture

from .scenario import (
    UNDEFENDED,
    Base,
    PublicSpec,
    ReferencedEnsemble,
    ReferencedModel,
    Scenario,
    SurrogateSpec,
    TrainedModel,
    VictimSpec,
)

T = TypeVar("T")


def one_name_each(scenario: Scenario, where: str) -> Scenario:
    """Cases compare the names of levels, so equal levels get one name: "tv0.2" and "tv0.20", "lenet" and a table.

    An ensemble's architectures are those that its builder trains, not that of the table it stands in.
    """
    names: dict[tuple[str, str], str] = {}

    def one(axis: str, level: object, name: str) -> str:
        found = names.setdefault((axis, content_key(level)), name)
        if axis == "recipe" and any(n == found and k != (axis, content_key(level)) for k, n in names.items()):
            raise InputError(f"{where}: recipe: two are called {found!r}; give each a label of its own")
        return found

    def named(model: T, builder: Chain | None = None) -> T:
        if not isinstance(model, TrainedModel):
            return model
        axes = dict(model.axes)
        for axis in ("balance", "recipe"):
            axes[axis] = one(axis, getattr(model.configuration, axis), axes[axis])
        first = None if builder is None else builder.first
        trained = [None] if first is None else [m.architecture for m in first.members(model.seed)]
        networks = [
            one("architecture", model.configuration.architecture, axes["architecture"])
            if name is None
            else one("architecture", architecture(name, where=f"{where}: surrogates: builder.architectures"), name)
            for name in trained
        ]
        axes["architecture"] = "+".join(dict.fromkeys(networks))
        return replace(model, axes=axes)

    others: list[VictimSpec | PublicSpec] = [*scenario.victims, *scenario.pool]
    defended = any(other.defense != UNDEFENDED for other in others)

    def with_defense(model: T, defense: Defense, name: str) -> T:
        if not defended or not isinstance(model, TrainedModel | ReferencedModel | ReferencedEnsemble):
            return model
        return replace(model, axes={**model.axes, "defense": one("defense", defense, name)})

    return replace(
        scenario,
        surrogates=tuple(
            replace(s, base=with_defense(named(s.base, s.builder), UNDEFENDED, "none")) for s in scenario.surrogates
        ),
        victims=tuple(
            replace(v, model=with_defense(named(v.model), v.defense, v.defense_name)) for v in scenario.victims
        ),
        pool=tuple(replace(p, model=with_defense(named(p.model), p.defense, p.defense_name)) for p in scenario.pool),
    )


def labelled(scenario: Scenario) -> Scenario:
    """Names for what the file did not name: source, balance and architecture, further axes that vary, and the seed."""
    others: list[VictimSpec | PublicSpec] = [*scenario.victims, *scenario.pool]
    models = [*(s.base for s in scenario.surrogates), *(o.model for o in others)]
    trained = [m for m in models if isinstance(m, TrainedModel)]
    shown = [a for a in LEVELS if a in CONDITIONS or len({m.axes[a] for m in trained}) > 1]

    def label(model: Base | ReferencedEnsemble) -> str:
        if not isinstance(model, TrainedModel):
            return model.name
        return "/".join([*(model.axes[a] for a in shown), f"s{model.seed}"])

    def defended(spec: VictimSpec | PublicSpec) -> str:
        name = label(spec.model)
        return spec.label or (name if spec.defense_name == "none" else f"{spec.defense_name}:{name}")

    def surrogate(spec: SurrogateSpec) -> SurrogateSpec:
        name = label(spec.base) if spec.builder_name == "single" else f"{spec.builder_name}:{label(spec.base)}"
        return replace(spec, label=spec.label or name)

    return replace(
        scenario,
        surrogates=tuple(surrogate(s) for s in scenario.surrogates),
        victims=tuple(replace(v, label=defended(v)) for v in scenario.victims),
        pool=tuple(replace(p, label=defended(p)) for p in scenario.pool),
    )
