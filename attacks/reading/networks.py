"""The classifiers that an attack reads, made ready: rebuilt along a model path, tapped at a feature point, prepared."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from typing_extensions import override

from carom.attacks.slots import Path, Redrawn, Shape
from carom.copying import copied
from carom.draws import Draws
from carom.errors import InputError, ModelError
from carom.protocols import Classifier

Prepare = Callable[[nn.Module], nn.Module]


def rebuilt(classifier: nn.Module) -> nn.Module:
    """A copy of the module tree that shares parameters and buffers; its modules can be replaced freely."""
    memo: dict[int, object] = {id(t): t for t in (*classifier.parameters(), *classifier.buffers())}
    return copied(classifier, memo)


def network_of(classifier: nn.Module) -> nn.Module:
    """What lies behind the preprocessing, or the module itself; names of feature points count from here."""
    inner = getattr(classifier, "network", None)
    return inner if isinstance(inner, nn.Module) else classifier


def feature_points(classifier: nn.Module) -> list[str]:
    """Names of the network's stages, in order: its parts that have weights, bare norms and the head apart.

    A part that stands for most of the network is listed by what lies in it, so that a transformer has its blocks
    ("blocks.0", ...) and a VGG its convolutions ("features.0", ...). Any other module can be a point too.
    """
    prefix, module = "", network_of(classifier)
    children = _children(module)
    while len(children) == 1 and _children(children[0][1]):  # a wrapper, such as a normalisation before the network
        prefix, children = f"{prefix}{children[0][0]}.", _children(children[0][1])
    body = children[:-1] if len(children) > 1 else children  # the last one is the head
    stages = [(prefix + name, child) for name, child in body if _layers(child)]
    while (place := _coarse(stages)) is not None:
        name, module = stages[place]
        stages[place : place + 1] = [(f"{name}.{inner}", part) for inner, part in _children(module) if _layers(part)]
    return [name for name, _ in stages]


def middle_point(classifier: Classifier) -> str:
    """The middle one of its feature points: "layer2" of a ResNet, "blocks.5" of a transformer of 12 blocks.

    Raises:
        ModelError: It is no torch module, or has no part with weights.
    """
    if not isinstance(classifier, nn.Module):
        raise ModelError(_no_module(classifier))
    points = feature_points(classifier)
    if not points:
        raise ModelError("surrogate: its network has no part with weights, so no feature point; use another attack")
    return points[len(points) // 2]


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Those with parameters."""
    return [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]


def _layers(module: nn.Module) -> int:
    """How many of its modules have a matrix or kernel of weights: norms, scales and positions have none."""
    return sum(isinstance(weight := getattr(m, "weight", None), Tensor) and weight.ndim > 1 for m in module.modules())


def _coarse(stages: list[tuple[str, nn.Module]]) -> int | None:
    """The place of a stage to be opened: one of at most three, with most of the layers, and inside it a sequence."""
    layers = [_layers(module) for _, module in stages]
    if not 1 <= len(stages) <= 3 or 2 * max(layers) <= sum(layers):
        return None
    place = layers.index(max(layers))
    return place if _has_sequence(stages[place][1]) else None


def _has_sequence(module: nn.Module) -> bool:
    """Whether it is a sequence, or most of it is a sequence of parts larger than a layer; a branch is neither."""
    if isinstance(module, nn.Sequential | nn.ModuleList):
        return True
    return any(
        isinstance(child, nn.Sequential | nn.ModuleList)
        and 2 * _layers(child) > _layers(module)
        and any(_layers(part) > 1 for part in child)
        for child in module.children()
    )


class Tap(nn.Module):
    """A module that keeps what it last answered, until it is read."""

    def __init__(self, inner: nn.Module, point: str) -> None:
        super().__init__()
        self.inner, self.point = inner, point
        self._value: Tensor | None = None

    @override
    def forward(self, *inputs: object, **options: object) -> Tensor:
        answer = self.inner(*inputs, **options)
        if not isinstance(answer, Tensor):
            raise InputError(
                f"attack: the feature point {self.point!r} answers a {type(answer).__name__}, not a tensor; choose one "
                "of its parts, or another point"
            )
        self._value = answer
        # A copy: what follows may work in place, and must not look to folding as if it read the inner module.
        return answer.clone()

    def read(self) -> Tensor:
        """What it answered last; at most once, so that no graph outlives its use.

        Raises:
            InputError: The network has not run it.
        """
        if self._value is None:
            raise InputError(
                f"attack: the network does not run its module {self.point!r} on the way to its logits; choose another "
                "feature point"
            )
        value, self._value = self._value, None
        return value


class Ready:
    """Each classifier made ready once for each path and feature point, as long as it lives.

    Attributes:
        prepare: Applied last: folding, memory order, precision. It must keep the modules of path and tap.
        shape: Channels, rows and columns of the images that will be read; paths ask for it.
    """

    def __init__(self, prepare: Prepare | None = None) -> None:
        self.prepare = prepare
        self.shape: Shape | None = None
        self._made: WeakKeyDictionary[nn.Module, dict[tuple[Path | None, str | None], nn.Module]] = WeakKeyDictionary()
        self._random: WeakKeyDictionary[nn.Module, list[Redrawn]] = WeakKeyDictionary()

    def __call__(self, member: Classifier, path: Path | None = None, point: str | None = None) -> Classifier:
        """The classifier to read.

        Raises:
            ModelError: A path or a feature point was asked of what is not a torch module, or of a network without the
                parts that the path changes.
            InputError: The network has no feature point of this name.
        """
        if not isinstance(member, nn.Module):
            if path is not None or point is not None:
                raise ModelError(_no_module(member))
            return member
        made = self._made.setdefault(member, {})
        if (path, point) not in made:
            built = member if path is None else path(member, self.shape)
            if point is not None:
                built = _tapped(rebuilt(built) if path is None else built, point)
            built = built if self.prepare is None else self.prepare(built)
            if built is member:  # kept, it would keep itself alive, and members may come and go with each step
                return built
            made[path, point] = built
        return made[path, point]

    def random(self, member: Classifier, path: Path, point: str | None = None) -> list[Redrawn]:
        """Those parts of the classifier made ready for this that are random."""
        made = self(member, path, point)
        assert isinstance(made, nn.Module)
        if made not in self._random:
            self._random[made] = [module for module in made.modules() if isinstance(module, Redrawn)]
        return self._random[made]

    def redraw(
        self, member: Classifier, path: Path, point: str | None, draws: Draws, step: int, copy: int, place: int
    ) -> None:
        """Where the classifier made ready for this has random parts, take those of (draws, step, copy, place)."""
        for part in self.random(member, path, point):
            part.redraw(draws, step, copy, place)

    def tap(self, member: Classifier, path: Path | None, point: str) -> Tap:
        """Where the features of the classifier made ready for this point are kept."""
        made = self(member, path, point)
        assert isinstance(made, nn.Module)
        return next(module for module in made.modules() if isinstance(module, Tap))


def _no_module(member: Classifier) -> str:
    return (
        f"surrogate: {type(member).__name__} is no torch module, so its inside cannot be read; use an attack without "
        "model path and feature points"
    )


def _tapped(classifier: nn.Module, point: str) -> nn.Module:
    """The same, with a tap at the point; changed in place."""
    network = network_of(classifier)
    parent, _, child = point.rpartition(".")
    try:
        inner = network.get_submodule(point) if point else None
    except AttributeError:
        inner = None
    if inner is None:
        known = ", ".join(feature_points(classifier))
        raise InputError(f"attack: the network has no feature point {point!r} (it has: {known}, and what lies in them)")
    setattr(network.get_submodule(parent), child, Tap(inner, point))
    return classifier
