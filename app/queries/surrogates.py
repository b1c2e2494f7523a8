"""What ways of building a surrogate buy: rates, and paired differences from a single network."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carom.errors import InputError
from carom.scenarios.statistics import group_table, surrogate_difference
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_surrogates
from carom.scenarios.tables.surrogates import short_names
from carom.scenarios.tables.table import INTERVAL, interval_in_points, interval_words

from .cells import some_outcomes

BETTER = "better than one network"
COSTS = ("trainings", "training passes", "parameters")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Surrogates of one budget, and of one attack or all.

    Attributes:
        rates: One row a surrogate: surrogate, asr, low, high, n, ranges_over, "95% interval", seeds and `COSTS`;
            `BETTER` where the paired difference from a single network is above 0 for sure.
        differences: One row a surrogate that shares cells with a single network of its base: name, effect, low, high
            (points), interval, and what it ranges over.
        single: The row of `rates` that the band is of; None where no single network was read.
    """

    rates: pd.DataFrame
    differences: pd.DataFrame
    single: str | None


def compared(
    folder: Path, run: str, cells: pd.DataFrame, costs: pd.DataFrame, *, budget: str, attack: str | None
) -> Compared:
    """Surrogates beside a single network.

    Args:
        folder: The store.
        run: Its id.
        cells: As `View.cells`.
        costs: The table "surrogates" of the run.
        budget: Of the cells.
        attack: Only this one; None pools all that read the surrogate alone.

    Raises:
        CaromError: Too many cells, none, or a store that cannot be read.
    """
    outcomes = some_outcomes(folder, run, cells, {"budget": budget, "attack": attack, "reads": "surrogate"})
    with Store(folder) as store:
        known = list_surrogates(store, run)
    known = known[known["asked"] == ""]
    names = short_names(known)
    rates = group_table(outcomes, by=("surrogate_config",))
    rates = rates[rates["surrogate_config"].isin(names)]
    rates = rates.assign(surrogate=rates["surrogate_config"].map(names), seeds=rates["surrogate_seeds"])
    of = costs[["surrogate", *COSTS]].drop_duplicates("surrogate")
    rates = rates.merge(of, on="surrogate")
    rates[INTERVAL] = interval_words(rates["low"], rates["high"])
    base = dict(zip(known["surrogate_config"], known["base"], strict=True))
    singles = {
        base[config]: str(config)
        for config, networks in zip(known["surrogate_config"], known["networks"], strict=True)
        if networks == 1 and config in set(outcomes.cells["surrogate_config"])
    }
    rows = []
    for config in rates["surrogate_config"]:
        other = singles.get(base[config])
        if other is None or other == config:
            continue
        try:
            found = surrogate_difference(outcomes, str(config), other)
        except InputError:  # they share no cell
            continue
        limits = {"low": 100 * found.low, "high": 100 * found.high}
        interval = interval_in_points(found.low, found.high)
        told = {"interval": interval, "ranges over": found.ranges_over, "kind": "all"}
        rows.append({"name": names[str(config)], "effect": 100 * found.value, **limits, **told})
    columns = ["name", "effect", "low", "high", "interval", "ranges over", "kind"]
    differences = pd.DataFrame(rows, columns=columns).sort_values("effect", ascending=False, ignore_index=True)
    sure = set(differences.loc[differences["low"] > 0, "name"])
    met = [names[config] for config in singles.values() if config in set(rates["surrogate_config"])]
    return Compared(
        rates=rates.assign(**{BETTER: rates["surrogate"].isin(sure)}),
        differences=differences,
        single=met[0] if met else None,
    )


def finding(found: Compared) -> str:
    """Which surrogate beats a single network for sure, in a sentence."""
    table = found.differences
    if table.empty:
        return "ASR against cost"
    best = table.iloc[0]
    if best["low"] <= 0:
        return "No surrogate is surely better than a single network"
    more = int((table["low"] > 0).sum()) - 1
    said = f"{best['name']} adds {best['effect']:.0f} points ({best['low']:.0f} to {best['high']:.0f}) to one network"
    return said + (f"; {more} more surely help" if more > 1 else "; one more surely helps" if more else "")


def worths(table: pd.DataFrame) -> pd.DataFrame:
    """T-DEE as numbers: rows of the table "surrogates" that have one, with the column worth; "<1" and ">8" at the end.

    Args:
        table: Of one attack and budget.
    """
    if "T-DEE" not in table:
        return table.iloc[:0].assign(worth=[])
    numbers = pd.to_numeric(table["T-DEE"].astype(str).map(lambda word: re.sub(r"[^0-9.]", "", word)), errors="coerce")
    found = table.assign(worth=numbers)[numbers.notna()]
    return found.sort_values("worth", ascending=False, kind="stable", ignore_index=True)
