"""What a table calls the models of a cell, by the axes that a run wrote down, and the case they are."""

from typing import Any

from carom.scenarios.axes import AXES, OF_SURROGATE
from carom.scenarios.cases import CONTROL, UNDECLARED

USUAL = {("samples", "all"), ("recipe", "standard"), ("defense", "none")}


def case_of(number: int | None, surrogate: str | None) -> int:
    """A model whose axes nobody declared belongs to no case; it is counted where cases are not asked for."""
    if surrogate is None:
        return CONTROL
    return UNDECLARED if number is None else number


def surrogate_axes(made: Any) -> dict[str, str]:
    """What the surrogate of a set is, as far as it is known, from the set's row in `run_sets`."""
    values = ((axis, getattr(made, f"{axis}_s")) for axis in OF_SURROGATE)
    return {axis: value for axis, value in values if value is not None}


def configuration_of(axes: dict[str, str], label: str) -> str:
    """What a table calls a model by its axes: the builder, and what is not as usual; the seed is left out.

    A model whose seed nobody said is called by its label: it is no seed of another one that was declared alike.
    """
    if "seed" not in axes:
        return label
    shown = [axes[a] for a in AXES if a in axes and (a, axes[a]) not in USUAL]
    if axes.get("n", "all") != "all":
        shown.append(f"n={axes['n']}")
    builder = axes.get("builder", "single")
    return "/".join(shown) if builder == "single" else f"{builder}:{'/'.join(shown)}"
