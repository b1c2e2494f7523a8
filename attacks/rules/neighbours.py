"""Random points near images."""

from carom.attacks.slots import Look
from carom.budget import Norm, unit_l2
from carom.draws import Draws
from carom.errors import InputError
from carom.typing import Images, per_image


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


def neighbour(look: Look, at: Images, radius: float, index: int) -> Images:
    """A random point within `radius * eps` of `at` in the budget's norm, clipped to nothing.

    Args:
        look: The step.
        at: Around where, `n c h w`.
        radius: In units of eps.
        index: Which of the neighbours of this step, from 0.
    """
    reach = radius * float(look.budget.eps)
    noise = noise_in_ball(at, look.budget.norm, reach, look.draws, "neighbour", step=look.step, copy=index)
    return noise.add_(at)


def check_neighbours(name: str, neighbours: int, radius: float) -> None:
    """Refuse a neighbourhood that there cannot be.

    Raises:
        InputError: No neighbour, or a radius that is negative or not finite.
    """
    if neighbours < 1:
        raise InputError(f"{name}: neighbours must be at least 1, got {neighbours}")
    if not 0 <= radius < float("inf"):
        raise InputError(f"{name}: radius must be at least 0 (in units of eps), got {radius:g}")
