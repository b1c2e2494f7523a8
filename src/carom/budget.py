"""What an attacker may change: a norm and a radius in pixel units, exact."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from numbers import Rational, Real
from typing import ClassVar, Literal

import torch
from torch import Tensor

from carom.draws import Draws
from carom.errors import ContractError, InputError
from carom.typing import Images, PerImage, Pixels, per_image

Norm = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = ("linf", "l2")


_FLOAT_PRECISION = Fraction(1, 2**23)  # relative, of a float32: what one division or one rounding to it may lose


def parse_eps(value: object, *, where: str = "eps") -> Fraction:
    """An exact radius from "8/255", "0.5", 0.03, 8 / 255 or 0.

    A number within float precision of a whole number of grey levels, k / 255, means exactly k / 255: floats cannot say
    it, and rounded down they would lose a level. Other floats mean the decimal that they print as. Numbers of numpy and
    tensors of one number are read as floats.

    Raises:
        InputError: Not a number, or negative.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real | str):
        raise InputError(f'{where}: expected a number or a fraction such as "8/255", got {value!r}')
    try:
        eps = Fraction(value) if isinstance(value, Rational | str) else Fraction(str(float(value)))
    except (ValueError, ZeroDivisionError):
        raise InputError(f'{where}: expected a number or a fraction such as "8/255", got {value!r}') from None
    if eps < 0:
        raise InputError(f"{where} must not be negative, got {value}; a radius is at least 0")
    grey = Fraction(round(eps * 255), 255)
    return grey if abs(eps - grey) <= grey * _FLOAT_PRECISION else eps


PIXEL_DUST = 1e-6
"""What pixels may lie outside [0, 1]: float error of taking a normalisation off; it is clamped away."""


def in_range(x: Images, *, where: str) -> Images:
    """The images with float error at the ends of [0, 1] clamped away.

    Raises:
        InputError: A pixel is further outside than `PIXEL_DUST`, or not a number.
    """
    if not len(x):
        return x
    low, high = (float(end) for end in x.aminmax())
    if not (low >= -PIXEL_DUST and high <= 1 + PIXEL_DUST):  # written so that NaN fails
        advice = "; divide 8-bit images by 255" if low >= 0 and 1 < high <= 255 else ""
        raise InputError(
            f"{where}: pixels in [{low:.4g}, {high:.4g}], expected [0, 1]{advice}; put the normalisation into "
            "the model, and clamp what left the range"
        )
    return x if low >= 0 and high <= 1 else x.clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The images within `eps` of a clean image, in [0, 1].

    Attributes:
        norm: "linf" (largest change of a pixel) or "l2" (Euclidean length of the change over all pixels).
        eps: Radius for images scaled to [0, 1], exact: Fraction(8, 255), not 8. Made exact as `parse_eps` does.

    Raises:
        InputError: Unknown norm, negative eps, or a linf eps above 1.
    """

    norm: Norm
    eps: Fraction

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise InputError(f"unknown norm {self.norm!r} (known: {', '.join(NORMS)})")
        object.__setattr__(self, "eps", parse_eps(self.eps))
        if self.norm == "linf" and self.eps > 1:
            raise InputError(
                f"eps={self.eps} covers every image in [0, 1]; eps is in pixel units, so write "
                f'"{self.eps}/255" for {self.eps} of 255 grey levels'
            )

    @classmethod
    def parse(cls, norm: str, eps: object, *, where: str = "budget") -> "Budget":
        """From what a user writes, such as ("linf", "8/255")."""
        if norm not in NORMS:
            raise InputError(f"{where}: unknown norm {norm!r} (known: {', '.join(NORMS)})")
        radius = parse_eps(eps, where=f"{where}.eps")
        try:
            return cls(norm=norm, eps=radius)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def __str__(self) -> str:
        """For tables: "linf 8/255"; l2 radii as decimals."""
        if self.norm == "l2":
            return f"l2 {float(self.eps):g}"
        levels = self.eps * 255
        return f"linf {levels.numerator}/255" if levels.denominator == 1 else f"linf {float(self.eps):g}"

    def project(self, x_adv: Images, x: Images) -> Images:
        """Bring `x_adv` back into the ball around `x`, then into [0, 1].

        Exact for linf. For l2 scaled and then clamped: always inside, not always the nearest point.
        """
        delta = x_adv - x
        eps = float(self.eps)
        if self.norm == "linf":
            delta = delta.clamp_(-eps, eps)
        else:
            delta = delta * per_image((eps / l2(delta).clamp_min(1e-12)).clamp_max(1.0))
        return delta.add_(x).clamp_(0, 1)

    def size(self, x_adv: Images, x: Images) -> PerImage:
        """Distance of each image from its clean image, in the norm of this budget."""
        delta = x_adv - x
        return delta.abs().flatten(1).amax(1) if self.norm == "linf" else l2(delta)

    def steepest(self, gradient: Images) -> Images:
        """Unit-size direction along which a loss with this gradient rises fastest; zero where it is zero."""
        return gradient.sign() if self.norm == "linf" else unit_l2(gradient)

    def unit(self, pixels: int) -> float:
        """By how much each of these pixels changes in a change of size 1 that is equal in all: 1 (linf), 1 / sqrt (l2).

        Args:
            pixels: How many numbers an image has, over all channels.
        """
        return 1.0 if self.norm == "linf" else pixels**-0.5

    def quantize(self, x_adv: Images, clean: Pixels) -> Pixels:
        """Round to 8 bits without leaving the ball.

        linf: nearest level, clipped to the integer ball. l2: nearest level; an image that rounding took outside gets
        the pixels that rounding enlarged most rounded towards the clean image instead, as few as are needed. Exact in
        integers.

        Args:
            x_adv: Images in [0, 1], in the ball.
            clean: The 8-bit images around which the ball lies.
        """
        base = clean.double()
        change = x_adv.to(torch.float64, copy=True).mul_(255).sub_(base)  # in place: a grid of radii waits for this
        if self.norm == "linf":
            radius = floor(self.eps * 255)
            rounded = change.round_().clamp_(-radius, radius)
        else:
            rounded = _round_in_l2(change, floor((self.eps * 255) ** 2))
        return rounded.add_(base).clamp_(0, 255).to(torch.uint8)

    def check(self, adversarial: Pixels, clean: Pixels) -> None:
        """Verify 8-bit images against the integer ball.

        Raises:
            ContractError: An image left the ball; says which, and by how much.
        """
        delta = (adversarial.short() - clean.short()).flatten(1)
        if self.norm == "linf":
            size, limit = delta.abs_().amax(1), floor(self.eps * 255)
        else:
            size, limit = delta.long().square().sum(1), floor((self.eps * 255) ** 2)
        if bool((size > limit).any()):
            worst = int(size.argmax())
            unit = "grey levels" if self.norm == "linf" else "squared grey levels"
            raise ContractError(f"image {worst} is {int(size[worst])} {unit} away, allowed {limit} ({self})")


def _round_in_l2(change: Tensor, limit: int) -> Tensor:
    """Whole numbers near `change` (`n c h w`) whose squares sum to at most `limit`, image by image."""
    flat = change.flatten(1)
    nearest, inward = flat.round(), flat.trunc()
    saved = nearest.square() - inward.square()  # what rounding inward instead would take off the square
    enlarged = nearest.abs() - flat.abs()
    order = torch.where(saved > 0, enlarged, -1.0).argsort(dim=1, descending=True, stable=True)
    excess = nearest.square().sum(1, keepdim=True) - limit
    before = saved.clamp_min(0).gather(1, order).cumsum(1) - saved.clamp_min(0).gather(1, order)
    flip = torch.zeros_like(saved, dtype=torch.bool).scatter(1, order, before < excess)
    rounded = torch.where(flip & (saved > 0), inward, nearest)
    # float error may leave the real-valued change itself a hair outside: pull the largest pixel in
    while bool((over := rounded.square().sum(1) > limit).any()):
        largest = rounded.abs().argmax(1, keepdim=True)
        step = rounded.gather(1, largest).sign() * over[:, None]
        rounded = rounded.scatter_add(1, largest, -step)
    return rounded.reshape(change.shape)


def l2(delta: Images) -> PerImage:
    """Euclidean length of each image."""
    return delta.flatten(1).square().sum(1).sqrt()


def unit_l2(gradient: Images) -> Images:
    """Each image scaled to length 1; a zero image stays zero. Safe for gradients whose squares underflow."""
    largest = gradient.abs().flatten(1).amax(1)
    scaled = gradient / per_image(torch.where(largest > 0, largest, 1.0))
    length = l2(scaled)
    return scaled / per_image(torch.where(length > 0, length, 1.0))


def noise_in_ball(
    like: Images, norm: Norm, radius: float, draws: Draws, purpose: str, *, step: int = 0, copy: int = 0
) -> Images:
    """Uniform in the ball of this norm around 0, image by image: a box for linf.

    Args:
        like: Images of the shape and type that are wanted.
        norm: Of the ball.
        radius: Of the ball, in pixel units.
        draws: Randomness.
        purpose: What names the draws, with step and copy.
        step: The step of the attack.
        copy: Which of the draws of this step.
    """
    shape = like.shape[1:]
    if norm == "linf":
        return draws.uniform(purpose, shape, step=step, copy=copy).to(like.dtype).mul_(2).sub_(1).mul_(radius)
    # the volume within a radius grows as the radius to the number of pixels
    u = draws.uniform(f"{purpose} radius", step=step, copy=copy).double() ** (1 / shape.numel())
    noise = unit_l2(draws.normal(purpose, shape, step=step, copy=copy).to(like.dtype))
    return noise.mul_(per_image(u.to(like.dtype))).mul_(radius)
