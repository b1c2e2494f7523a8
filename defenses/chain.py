"""Defences by name: "pgd-at", "trades -> jpeg"; and a whole defence in one process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from carom.errors import InputError
from carom.stages import Entry, parse_stages
from carom.zoo.architectures import Architecture
from carom.zoo.models.classifier import Classifier, restore
from carom.zoo.training.ground import Ground, Weights
from carom.zoo.training.state import Passes

from .defense import Defense, Hardening, PublicModel, Stage, Wrapper


def parse(value: object, known: Mapping[str, Entry], *, where: str) -> tuple[str, Defense]:
    """The name and the defence; "none" is none.

    Raises:
        InputError: Unknown name or setting, or a chain that cannot be.
    """
    if value == "none":
        return "none", Defense()
    name, stages, _ = parse_stages(value, known, what="defense", where=where, example="trades -> jpeg")
    first = stages[0] if isinstance(stages[0], Hardening) else None
    rest = stages if first is None else stages[1:]
    then = [stage for stage in rest if isinstance(stage, Stage)]
    wrappers = [stage for stage in rest if isinstance(stage, Wrapper)]
    if rest != [*then, *wrappers]:
        raise InputError(f"{where}: {name!r}: first how it is trained, then what is made of that, then wrappers")
    try:
        return name, Defense(first=first, then=tuple(then), wrappers=tuple(wrappers))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


@dataclass(frozen=True, kw_only=True, eq=False)
class Defended:
    """A hardened victim.

    Attributes:
        classifier: In eval mode, on the device, behind the wrappers.
        architecture: Of the network.
        weights: Of the network, by name, on the CPU.
        passes: Forward and backward image passes of all that was trained, public models not counted.
    """

    classifier: Classifier
    architecture: Architecture
    weights: Weights
    passes: Passes


def build(defense: Defense, ground: Ground, pool: Sequence[PublicModel] = ()) -> Defended:
    """A whole defence in this process: train, make of that what it says, wrap.

    Args:
        defense: How.
        ground: What with; its recipe is how networks are trained without a defence.
        pool: Public models, for what learns from them.

    Raises:
        InputError: Something does not suit, such as no public models where they are needed.
        DivergedError: A training came to nothing.
    """
    if defense.pool and not pool:
        raise InputError("defense: it learns from public models, and there are none; give a pool")
    architecture, passes = ground.architecture, Passes()
    path = ground.checkpoint
    made: list[Weights] = []
    if defense.trains_first:
        recipe = ground.recipe if defense.first is None else defense.first.recipe(ground.recipe)
        trained = ground.trained(recipe)
        made = [trained.best if trained.select == "best" else trained.last]
        passes += trained.passes
    for place, stage in enumerate(defense.then):
        checkpoint = None if path is None else path.with_name(f"stage-{place}-{path.name}")
        here = replace(ground, architecture=architecture, checkpoint=checkpoint, expected=len(made))
        built = stage.build(here, made, pool)
        made = list(built.members)
        architecture = stage.architecture(architecture, made[0])
        passes += built.passes
    classifier = restore(
        architecture, made[0], shape=ground.shape, classes=ground.classes, preprocessing=ground.preprocessing
    ).to(ground.device)
    for wrapper in defense.wrappers:
        classifier = wrapper.wrap(classifier)
    return Defended(classifier=classifier, architecture=architecture, weights=made[0], passes=passes)
