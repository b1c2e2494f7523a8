"""The chart of what surrogates cost and what they transfer."""

import altair as alt
import pandas as pd

from .scatter import efficient, scatter

COSTS = {
    "trainings": "trainings of a single network, log",
    "training passes": "training passes, log",
    "parameters": "parameters to store, log",
}


def costs(
    table: pd.DataFrame, cost: str, *, marked: str = "best at its cost", band: tuple[float, float] | None = None
) -> alt.LayerChart:
    """ASR over a cost, logarithmic, one point a surrogate with its 95% interval.

    Args:
        table: Rows of the table "surrogates" of one attack and budget.
        cost: A key of `COSTS`, above 0.
        marked: Column that says which are drawn apart; by default those that no other beats.
        band: Of ASR, shaded.
    """
    if marked not in table:
        table = table.assign(**{marked: efficient(table, cost)})
    return scatter(
        table,
        name="surrogate",
        across=cost,
        title=COSTS[cost],
        log=True,
        told={"trainings": ".2f", "training passes": ",", "parameters": ",", "n": ",", "seeds": ",", "T-DEE": ""},
        marked=marked,
        band=band,
    )
