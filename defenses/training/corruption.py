"""Training on corrupted images: a network that everyday damage does not disturb."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carom.registry import checked
from carom.stages import Entry
from carom.typing import Images, Labels, Logits, PerImage, per_image
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State

Corrupt = Callable[[Images, PerImage, torch.Generator], Images]


def noise(x: Images, severity: PerImage, generator: torch.Generator) -> Images:
    """Gaussian noise on each pixel, of deviation up to 0.2."""
    return x + per_image(0.2 * severity) * torch.randn(x.shape, generator=generator).to(x.device)


def blur(x: Images, severity: PerImage, generator: torch.Generator) -> Images:
    """Gaussian blur of 7 x 7 pixels, of deviation 0.3 to 1.5 pixels."""
    del generator
    n, c, h, w = x.shape
    at = torch.arange(-3, 4, device=x.device)
    kernel = torch.exp(-0.5 * (at / (0.3 + 1.2 * severity)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    # each channel of each image is a group of its own
    padded = nn.functional.pad(x.reshape(1, n * c, h, w), (3, 3, 3, 3), mode="replicate")
    rows = nn.functional.conv2d(padded, kernel[:, None, :, None], groups=n * c)
    return nn.functional.conv2d(rows, kernel[:, None, None, :], groups=n * c).reshape(n, c, h, w)


def contrast(x: Images, severity: PerImage, generator: torch.Generator) -> Images:
    """Each pixel moved towards the image's mean, by up to 0.8 of the way."""
    del generator
    return torch.lerp(x, x.mean((1, 2, 3), keepdim=True).expand_as(x), per_image(0.8 * severity).expand_as(x))


def brightness(x: Images, severity: PerImage, generator: torch.Generator) -> Images:
    """All pixels made brighter or darker, by up to 0.4."""
    sign = 2.0 * torch.randint(0, 2, (len(x),), generator=generator).to(x.device) - 1
    return x + per_image(0.4 * severity * sign)


def pixelate(x: Images, severity: PerImage, generator: torch.Generator) -> Images:
    """Blocks of 2 or 3 pixels a side become their mean: the larger from half the severity on."""
    del generator
    fine, coarse = (
        nn.functional.interpolate(
            nn.functional.interpolate(x, [-(-side // block) for side in x.shape[2:]], mode="area"), x.shape[2:]
        )
        for block in (2, 3)
    )
    return torch.where(per_image(severity) < 0.5, fine, coarse)


KINDS: Mapping[str, Corrupt] = MappingProxyType(
    {"noise": noise, "blur": blur, "contrast": contrast, "brightness": brightness, "pixelate": pixelate}
)


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """Training on corrupted images; corruptions as Hendrycks and Dietterich (2019, arXiv:1903.12261) made them known.

    Each image gets one of six at random: none, or noise, blur, contrast, brightness or pixelate at a severity drawn
    uniformly. It costs no further passes. The best epoch is that of the highest clean validation accuracy.

    Attributes:
        severity: Largest severity, above 0 and up to 1; see the functions for what 1 is.

    Raises:
        InputError: Out of range.
    """

    severity: float = 1.0

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checked(self, "corruption", severity=(1e-6, 1.0))

    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, on other images."""
        return adapted(base, self)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss."""
        del recipe

        def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
            return slots.loss(state, self.corrupted(x, state.generator), y)

        return replace(slots, loss=loss)

    def corrupted(self, x: Images, generator: torch.Generator) -> Images:
        """Images in [0, 1], each corrupted in its own way, drawn on the CPU."""
        kinds = torch.randint(0, len(KINDS) + 1, (len(x),), generator=generator)
        severity = (self.severity * torch.rand(len(x), generator=generator)).to(x.device)
        result = x.clone()
        for number, corrupt in enumerate(KINDS.values(), 1):
            index = (kinds == number).nonzero()[:, 0].to(x.device)
            if len(index):
                result[index] = corrupt(x[index], severity[index], generator)
        return result.clamp_(0, 1)


ENTRY = Entry(
    summary="Learns from noisy, blurred, faded, brighter or darker, and pixelated images.",
    paper="Hendrycks and Dietterich 2019, arXiv:1903.12261",
    stages=(Corruption(),),
)
