"""Random points near images."""

from carom.attacks.slots import Look
from carom.budget import noise_in_ball
from carom.errors import InputError
from carom.typing import Images


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
