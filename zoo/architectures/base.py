"""What an architecture is."""

from typing import ClassVar, Protocol, runtime_checkable

from torch import nn

from carom.zoo.preprocessing import Preprocessing, Shape


@runtime_checkable
class Architecture(Protocol):
    """A family of networks with its arguments filled in: a frozen dataclass whose fields are the arguments.

    Attributes:
        version: Part of every key; raise it when the same arguments build another network.
        paper: Where it comes from.
        family: Coarse kind, for distances between architectures: "mlp", "cnn", "residual", "mixer", "transformer".
    """

    version: ClassVar[int]
    paper: ClassVar[str]

    @property
    def family(self) -> str: ...

    def network(self, shape: Shape, classes: int) -> nn.Module:
        """A network with fresh weights from torch's global generator, that maps `n c h w` to logits `n k`.

        Every activation, normalisation and dropout is a module of its own: attacks rebuild networks by module.
        """
        ...


@runtime_checkable
class LibraryModel(Architecture, Protocol):
    """An architecture of timm or torchvision, which brings its own preprocessing and maybe weights."""

    def preprocessing(self, shape: Shape) -> Preprocessing:
        """That of the published weights if they are asked for, else [-1, 1]; resizes where the network must."""
        ...

    def load_pretrained(self, network: nn.Module) -> None:
        """Put the published weights into `network`, if they are asked for. A head for other classes stays fresh.

        Raises:
            MissingData: They are not on this machine and cannot be downloaded.
        """
        ...


def halved(size: int, times: int) -> int:
    """Rows (or columns) left after halving `times` times, rounded up: an image of any size keeps at least one."""
    for _ in range(times):
        size = -(-size // 2)
    return size
