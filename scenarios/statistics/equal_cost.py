"""What transfer costs: surrogates at equal training cost, attacks at equal attack cost, and both beside the ASR.

Everything is chosen on validation victims and validation images, and reported on test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from carom.errors import InputError

from .outcomes import SET, Bools, Floats, Outcomes
from .tables import summary

BUDGETS = (1, 2, 4, 8)  # trainings of a single network
ATTACK_BUDGETS = (10, 50, 200)  # passes per image
BY = ("attack", "norm", "eps")
BY_BUDGET = ("norm", "eps")
SURROGATE = "surrogate_config"
_ROUNDING = 1e-9
_RATES = ("cells", "n", "k", "asr", "low", "high", "ranges_over", "surrogate_seeds", "victim_seeds", "claim")


@dataclass(frozen=True, kw_only=True)
class SurrogateCost:
    """What one surrogate, with its seed, took to make.

    Attributes:
        surrogate: Its label, as in the column `surrogate` of the cells.
        passes: Image passes, forward and backward, of all trainings and refinements that it rests on. What several
            surrogates share counts for each of them: an attacker who builds one has to pay for all of it.
        seconds: Time of the same.
        parameters: Numbers to store, over all weight sets.
    """

    surrogate: str
    passes: int
    seconds: float
    parameters: int

    def __post_init__(self) -> None:
        if self.passes < 0 or self.parameters < 0:
            raise InputError(
                f"cost of {self.surrogate!r}: passes={self.passes}, parameters={self.parameters}; expected at least 0"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class CostTable:
    """Costs beside success.

    Attributes:
        frame: The rows.
        left_out: Surrogates whose cost is not known, or whose cells are none of those asked for; never silently.
    """

    frame: pd.DataFrame
    left_out: tuple[str, ...] = ()


def cost_against_transfer(
    outcomes: Outcomes, costs: Sequence[SurrogateCost], by: Sequence[str] = BY, *, mismatching: bool = True
) -> CostTable:
    """What each surrogate costs and what it transfers: one row a surrogate, over its seeds, and value of `by`.

    Columns beside those of `by`:

    - `surrogate_config`; `cells`, `n`, `k`, `asr`, `low`, `high` (95%), `ranges_over`, `surrogate_seeds`,
      `victim_seeds`, `claim`: pooled over the cells, as in every table of rates.
    - `training_passes`, `seconds`, `parameters`: mean over the surrogate's seeds.
    - `passes_per_image`: forward and backward passes of the attack, mean over the sets; NaN where sets do not tell.
    - `efficient`: no other row of the same `by` transfers at least as well for at most as many training passes, and
      better or for fewer. By the measured ASR alone, without regard to intervals.

    Args:
        outcomes: The run, on test victims.
        costs: One for each surrogate and seed.
        by: Columns of `cells`.
        mismatching: Leave out C1, victims that differ from the surrogate by their seed alone. C0 and controls never
            count.

    Raises:
        InputError: A surrogate has two costs.
    """
    known = _costs(costs)
    everyone = list(dict.fromkeys(outcomes.cells.loc[~outcomes.control, SURROGATE]))
    chosen = _counted(outcomes) & _priced(outcomes, known)
    if mismatching:
        chosen &= (outcomes.cells["case"] != 1).to_numpy(dtype=bool)
    by = [*by, SURROGATE]
    chosen &= outcomes.pooled(by)  # passes are those of the sets that the ASR is of
    table = summary(outcomes, chosen, by)[[*by, *_RATES]]
    cells = outcomes.cells[chosen].assign(_passes=_passes_per_image(outcomes)[chosen])
    seeds = cells.drop_duplicates([*by, "surrogate"])
    for column in ("training_passes", "seconds", "parameters"):
        priced = seeds.assign(_value=seeds["surrogate"].map(known[column]).astype(float))
        table[column] = _beside(table, priced, by, "_value")
    table["passes_per_image"] = _beside(table, cells.drop_duplicates([*by, *SET]), by, "_passes")
    table["efficient"] = _efficient(table, by[:-1])
    return CostTable(frame=table, left_out=tuple(s for s in everyone if s not in set(table[SURROGATE])))


def equal_training_cost(
    test: Outcomes,
    validation: Outcomes,
    costs: Sequence[SurrogateCost],
    single: str,
    *,
    budgets: Sequence[int | float] = BUDGETS,
    by: Sequence[str] = BY,
    slack: float = 0.0,
) -> CostTable:
    """The best surrogate that can be trained within 1, 2, 4, 8 times the passes of a single network.

    The best is that of the highest pooled ASR on validation victims among those whose passes, mean over seeds, fit; of
    equal ones the cheapest. Its ASR on test victims is reported; since nothing of test chose it, its interval is that
    of any other row. A budget that nothing fits has no row.

    Columns beside those of `by`: `budget`, in trainings; `candidates` that fit; `surrogate_config`, the chosen one;
    `training_passes`, `trainings` (those over a single network's); `validation_asr`; `cells`, `n`, `k`, `asr`, `low`,
    `high`, `ranges_over`, `surrogate_seeds`, `victim_seeds`, `claim`, on test.

    Args:
        test: On test victims.
        validation: The same surrogates and attacks on validation victims.
        costs: One for each surrogate and seed.
        single: The `surrogate_config` of the single network.
        budgets: Multiples of its passes.
        by: Columns of `cells`.
        slack: Share of a budget by which a surrogate may go beyond it, such as 0.1 for what averages cost beside their
            training.

    Raises:
        InputError: A surrogate has two costs, the single network has none, or a budget or the slack is out of range.
    """
    _check_budgets(budgets)
    if slack < 0:
        raise InputError(f"equal cost: slack={slack}; expected at least 0")
    known = _costs(costs)
    names = pd.concat([o.cells[["surrogate", SURROGATE]] for o in (test, validation)]).drop_duplicates()
    of_seeds = names["surrogate"].map(known["training_passes"]).astype(float)
    passes = names.assign(_passes=of_seeds).groupby(SURROGATE)["_passes"].mean()
    unit = float(passes.get(single, np.nan))
    if not unit > 0:
        raise InputError(
            f"equal cost: no cost of a single network {single!r}; expected one of "
            f"{', '.join(passes.dropna().index[:10]) or 'none that is known'}"
        )
    tried = _rates_of(validation, [*by, SURROGATE], _priced(validation, known))
    mine = tried[SURROGATE].map(passes).astype(float)
    tried = tried.assign(training_passes=mine, trainings=mine / unit)
    reported = _rates_of(test, [*by, SURROGATE], _priced(test, known))
    tried = tried.merge(reported[[*by, SURROGATE]], on=[*by, SURROGATE])  # what test did not meet cannot be reported
    rows = _best(tried, budgets, by, cost="trainings", slack=slack)
    everyone = list(dict.fromkeys(test.cells.loc[~test.control, SURROGATE]))
    return CostTable(
        frame=_reported(rows, reported, [*by, SURROGATE], [*by, "budget", "candidates", SURROGATE]),
        left_out=tuple(s for s in everyone if s not in set(tried[SURROGATE])),
    )


def equal_attack_cost(
    test: Outcomes,
    validation: Outcomes,
    *,
    budgets: Sequence[int | float] = ATTACK_BUDGETS,
    by: Sequence[str] = BY_BUDGET,
    of: str = SURROGATE,
) -> CostTable:
    """The best attack setting of each surrogate within 10, 50, 200 passes per image, forward and backward.

    A setting fits if none of its sets took more, on validation and on test. The best has the highest pooled ASR on
    validation victims and images; of equal ones the cheapest. Its ASR on test victims and images is reported.

    Columns beside those of `by` and `of`: `budget`; `candidates` that fit; `attack`, the chosen one;
    `passes_per_image`, of its most expensive set; `validation_asr`; `cells`, `n`, `k`, `asr`, `low`, `high`,
    `ranges_over`, `surrogate_seeds`, `victim_seeds`, `claim`, on test.

    Args:
        test: On test victims and images, with `sets` that tell `forward` and `backward`, over all images.
        validation: The same surrogates and attacks on validation victims and images.
        budgets: Passes per image.
        by: Columns of `cells`.
        of: Column that names surrogates without their seeds.

    Raises:
        InputError: A budget is not above 0, or the sets do not tell their passes.
    """
    _check_budgets(budgets)
    by = [*by, of]
    keys = [*by, "attack"]
    tables = []
    for outcomes in (validation, test):
        if outcomes.sets is None or not {"forward", "backward"} <= set(outcomes.sets):
            raise InputError("equal cost: the sets do not tell their passes; expected columns forward and backward")
        table = _rates_of(outcomes, keys, np.ones(len(outcomes.cells), dtype=bool))
        counted = _counted(outcomes)
        cells = outcomes.cells[counted].assign(_passes=_passes_per_image(outcomes)[counted])
        most = cells.groupby(keys, sort=False, dropna=False)["_passes"].agg(lambda v: v.max(skipna=False))
        tables.append(table.assign(passes_per_image=most.reindex(pd.MultiIndex.from_frame(table[keys])).to_numpy()))
    tried, reported = tables
    tried = tried.merge(reported[[*keys, "passes_per_image"]], on=keys, suffixes=("", "_test"))
    tried["passes_per_image"] = tried[["passes_per_image", "passes_per_image_test"]].max(axis=1, skipna=False)
    rows = _best(tried, budgets, by, cost="passes_per_image", slack=0.0)
    everyone = list(dict.fromkeys(test.cells.loc[_counted(test), of]))
    return CostTable(
        frame=_reported(rows, reported, keys, [*by, "budget", "candidates", "attack"]),
        left_out=tuple(s for s in everyone if s not in set(rows[of])),
    )


def _best(
    tried: pd.DataFrame, budgets: Sequence[int | float], by: Sequence[str], *, cost: str, slack: float
) -> pd.DataFrame:
    """Of each value of `by` and each budget, the row of the highest ASR whose cost fits, then the cheapest."""
    tried = tried[tried["asr"].notna() & tried[cost].notna()]
    rows: list[dict[str, object]] = []
    groups = tried.groupby(list(by), sort=False, dropna=False) if by else [((), tried)]
    for _, members in groups:
        for budget in budgets:
            fit = members[members[cost] <= budget * (1 + slack) * (1 + _ROUNDING)]
            if len(fit):
                ranked = fit.sort_values(["asr", cost], ascending=[False, True], kind="stable")
                chosen = {str(name): value for name, value in ranked.iloc[0].items()}
                rows.append({**chosen, "budget": budget, "candidates": len(fit)})
    if not rows:
        return tried.iloc[:0].assign(budget=pd.Series(dtype=float), candidates=pd.Series(dtype=int))
    return pd.DataFrame(rows)


def _reported(rows: pd.DataFrame, reported: pd.DataFrame, keys: Sequence[str], first: Sequence[str]) -> pd.DataFrame:
    """The chosen rows with what test says of them."""
    chosen = rows.rename(columns={"asr": "validation_asr"})
    costs = [c for c in ("training_passes", "trainings", "passes_per_image") if c in chosen]
    chosen = chosen[[*first, *costs, "validation_asr"]]
    found = chosen.merge(reported[[*keys, *_RATES]], on=list(keys), how="left")
    return found.astype({"candidates": np.int64})


def _rates_of(outcomes: Outcomes, by: Sequence[str], also: Bools) -> pd.DataFrame:
    return summary(outcomes, _counted(outcomes) & also, by)[[*by, *_RATES]]


def _counted(outcomes: Outcomes) -> Bools:
    """Cells of transfer: no control, no white box, nothing made from a victim's own answers."""
    counted = outcomes.transfer
    if "reads" in outcomes.cells:
        counted &= (outcomes.cells["reads"] == "surrogate").to_numpy(dtype=bool)
    return counted


def _costs(costs: Sequence[SurrogateCost]) -> pd.DataFrame:
    """By label; a surrogate with two costs is an error of the caller."""
    frame = pd.DataFrame(
        [(c.surrogate, c.passes, c.seconds, c.parameters) for c in costs],
        columns=["surrogate", "training_passes", "seconds", "parameters"],
    ).set_index("surrogate")
    if frame.index.has_duplicates:
        twin = frame.index[frame.index.duplicated()][0]
        raise InputError(f"costs: {twin!r} has two costs; expected one for each surrogate and seed")
    return frame.astype(float)


def _priced(outcomes: Outcomes, known: pd.DataFrame) -> Bools:
    """Cells of surrogates all of whose seeds have a cost: a mean over some of them would be of another surrogate."""
    cells = outcomes.cells
    return cells["surrogate"].isin(known.index).groupby(cells[SURROGATE]).transform("all").to_numpy(dtype=bool)


def _passes_per_image(outcomes: Outcomes) -> Floats:
    """Of the set of each cell; NaN where it is not told."""
    keys = list(SET)
    if outcomes.sets is None or not {"forward", "backward"} <= set(outcomes.sets):
        return np.full(len(outcomes.cells), np.nan)
    sets = outcomes.sets.drop_duplicates(keys)
    total = (sets["forward"] + sets["backward"]).astype(float) / len(outcomes.labels)
    found = outcomes.cells[keys].merge(sets[keys].assign(_p=total), on=keys, how="left")["_p"]
    return found.to_numpy(dtype=np.float64)


def _beside(table: pd.DataFrame, values: pd.DataFrame, by: Sequence[str], column: str) -> Floats:
    """Means of a column within each value of `by`, in the order of the table."""
    means = values.groupby(list(by), sort=False, dropna=False)[column].mean()
    names = pd.MultiIndex.from_frame(table[list(by)]) if len(by) > 1 else pd.Index(table[by[0]])
    return means.reindex(names).to_numpy(dtype=np.float64)


def _efficient(table: pd.DataFrame, by: Sequence[str]) -> list[bool]:
    """Rows that no other row of the same `by` beats in ASR and training passes."""
    groups = table.groupby(list(by), sort=False, dropna=False).indices if by else {(): np.arange(len(table))}
    efficient = np.zeros(len(table), dtype=bool)
    asr, passes = table["asr"].to_numpy(dtype=np.float64), table["training_passes"].to_numpy(dtype=np.float64)
    for members in groups.values():
        for i in members:
            no_worse = (asr[members] >= asr[i]) & (passes[members] <= passes[i])
            better = (asr[members] > asr[i]) | (passes[members] < passes[i])
            efficient[i] = not np.isnan(asr[i]) and not (no_worse & better).any()
    return efficient.tolist()


def _check_budgets(budgets: Sequence[int | float]) -> None:
    if not budgets or any(not budget > 0 for budget in budgets):
        raise InputError(f"equal cost: budgets {list(budgets)}; expected at least one, all above 0")
