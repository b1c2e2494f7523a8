"""What an attack is held to: that it is asked for what it can, and stays in its ball."""

from dataclasses import fields, is_dataclass

from carom.budget import Budget, Norm
from carom.errors import ContractError, InputError
from carom.protocols import Attack
from carom.typing import Images


def check_fits(attack: Attack, norm: Norm, *, targeted: bool, name: str, where: str = "attack") -> None:
    """Refuse what an attack is not defined for.

    Raises:
        InputError: Another norm, or a target for an attack that cannot aim.
    """
    if norm not in attack.norms:
        raise InputError(
            f"{where}: {name} needs {' or '.join(attack.norms)} budgets, got {norm}; give it a budget of its norm, or "
            "put it into a scenario of its own"
        )
    if targeted and not attack.targeted:
        raise InputError(f"{where}: {name} cannot aim at a class; leave 'targeted' out, or use another attack")
    parts: list[str] = [part.name for part in fields(attack) if part.type is Attack] if is_dataclass(attack) else []
    for part in parts:
        check_fits(getattr(attack, part), norm, targeted=targeted, name=f"{name}, its {part}", where=where)


def slack_of(budget: Budget) -> float:
    """How far beyond the radius float error may take an image that is not rounded, in pixel units."""
    return 1e-6 + 1e-5 * float(budget.eps)


def check_inside(x_adv: Images, budget: Budget, x: Images) -> None:
    """That images lie in the ball around `x`, but for float error; those that are rounded `Budget.check` holds.

    Raises:
        ContractError: An image left the ball or [0, 1], or is not finite.
    """
    size = budget.size(x_adv, x)
    low, high = x_adv.aminmax()
    if not bool((size.amax() <= float(budget.eps) + slack_of(budget)) & (low >= 0) & (high <= 1)):  # NaN fails
        raise ContractError(f"attack: {budget.norm} distance {float(size.max()):.6g} or pixels outside, {budget}")
