"""Which tables a run has, and in which order they come."""

from carom.scenarios.statistics import Outcomes
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import find_run

from .counted import LARGE, LIVE
from .defenses import defense_tables
from .effects import show_effects
from .knowledge import show_knowledge
from .published import published_tables, show_beside
from .rates import show_cases, show_controls, show_groups, show_samples, show_sets
from .surrogates import surrogate_tables
from .table import Table
from .work import show_failures, show_models

FURTHER_AXES = ("samples", "recipe", "defense")  # cases are computed within one level of each


def show_run(store: Store, run: str, *, split: str = "test", brief: bool = False) -> list[Table]:
    """The tables of a run.

    Args:
        store: Where it is.
        run: Its id.
        split: "test", or "validation".
        brief: Only the cases over all attacks, the effects and the controls.

    Raises:
        InputError: The run has no outcome yet.
    """
    found = find_run(store, run)
    if found.status == "published":
        return published_tables(store, found.id)
    outcomes = read_outcomes(store, run, split=split)
    fixed = _axes_that_vary(outcomes)
    tables = [show_cases(outcomes, fixed, found.id), show_effects(outcomes), show_controls(outcomes)]
    if not brief:
        by_attack = show_cases(outcomes, ("attack", *fixed), found.id)
        tables[1:1] = [by_attack] if outcomes.cells["attack"].nunique() > 1 else []
        tables += [
            show_groups(outcomes, "attack", fixed),
            show_groups(outcomes, "surrogate", fixed),
            show_groups(outcomes, "victim", fixed),
            show_knowledge(outcomes),
            show_samples(outcomes, fixed),
            show_sets(outcomes),
            *surrogate_tables(store, run, outcomes, split=split),
            *defense_tables(store, run, outcomes, split=split),
            show_models(store, run),
        ]
        beside = show_beside(store, found.id, tables[0])
        tables += [beside] if beside is not None else []
    tables.append(show_failures(store, run))
    return [t for t in tables if len(t.frame)]


def too_many_to_read(status: str, planned: int) -> bool:
    """Whether a run has too many cells to read their predictions; then `counted_tables` makes its tables.

    Args:
        status: Of the run, as the store has it.
        planned: How many cells it has.
    """
    return planned > (LIVE if status == "running" else LARGE)


def _axes_that_vary(outcomes: Outcomes) -> tuple[str, ...]:
    """Columns that a table of cases must not mix: budgets, goals, whose answers were read, pairs of further levels."""
    cells = outcomes.cells
    attacked = cells[~cells["control"]]
    met = attacked[attacked["case"] != 0]  # on its own model a surrogate matches in everything
    kinds = [column for column in ("targeted", "reads") if attacked[column].nunique() > 1]
    further = [f"{axis}_{side}" for axis in FURTHER_AXES for side in "sv"]
    return ("norm", "eps", *kinds, *(column for column in further if met[column].nunique() > 1))
