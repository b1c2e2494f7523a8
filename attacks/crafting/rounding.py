"""Adversarial images as they are stored: 8-bit, in the ball."""

from carom.budget import Budget
from carom.errors import ContractError
from carom.typing import Images, Pixels


def rounded(x_adv: Images, budget: Budget, clean: Pixels) -> Pixels:
    """The 8-bit images, near `x_adv`, in the ball around `clean`.

    Raises:
        ContractError: A pixel is not finite.
    """
    low, high = x_adv.aminmax()  # what is not a number passes through it, and is seen ten times as fast
    if not bool(low.isfinite() & high.isfinite()):  # eight bits would hide it
        raise ContractError("attack: adversarial images are not finite")
    return budget.quantize(x_adv, clean)


def as_seen(x: Images, budget: Budget, clean: Pixels) -> Images:
    """What a target would be shown of images: rounded so, as floats."""
    return budget.quantize(x, clean).to(x.dtype) / 255
