"""How victims stand up to attacks: all that a defence is judged by, side by side.

A pair is a source and an attack: a set of images, crafted once, that every victim meets. Accuracy under attack is over
all images, so that clean errors count against a victim; its clean accuracy always stands beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .intervals import LEVEL, paired_sums, wilson
from .outcomes import Bools, Ints, Outcomes, arrange, ratio
from .pooled import Pool, rate_intervals
from .seeds import Counts, Trained

ATTACKERS = ("seen", "held out", "unseen group", "strangers")
RATES = (
    "clean",
    "average",
    "best",
    "worst",
    "white_box",
    "white_box_worst",
    "asr",
    "corrected",
    "asr_average",
    "corrected_average",
    "decoy",
)
TRANSFER = ("average", "best", "worst")
NOT_RUN = "not run"
PAIR_MARK = "×"
By = Literal["victim", "defense"]
Pair = tuple[str, str]  # source, attack

_NAMES: Mapping[By, tuple[str, ...]] = {
    "victim": ("defense", "victim_config", "victim"),
    "defense": ("defense", "victim_config"),
}
_BUDGET = ("norm", "eps")
_MET = ("victim", *_BUDGET)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Count:
    """Of one victim at one budget: what adds to a rate, image by image.

    Attributes:
        row: Victim, norm, eps, and what else tells rows apart.
        rate: Its name.
        k: What each image adds above.
        n: What each image adds below.
    """

    row: tuple[str, ...]
    rate: str
    k: Ints
    n: Ints


def defended(outcomes: Outcomes, validation: Outcomes | None = None, *, by: By = "defense") -> pd.DataFrame:
    """What each victim, or each defence over its seeds, keeps under attack, within each norm and eps.

    Targeted sets, decoys, controls and a surrogate's own model (C0) are no transfer attack and count nowhere but where
    a column says so. Columns, each rate with its 95% limits `<rate>_low` and `<rate>_high`:

    - `defense`, `victim_config`, and `victim` in the view by victim; `norm`, `eps`; `victims`, `images`.
    - `clean`: accuracy on clean images.
    - `pairs` of source and attack; `average` accuracy over their sets; `best`, under the one pair that is lowest on
      validation images, for each victim its own, named in `best_pair`; `worst`: right under all, image by image.
    - `white_box`: accuracy under that attack on the victim itself which leaves least on these very images, named in
      `white_box_attack`; `white_box_worst`: right under all `white_box_attacks`, image by image.
    - `asr`: share of the images that are right clean that the best pair turns wrong; `corrected`: share of those wrong
      clean that it puts right. `asr_average`, `corrected_average`: the same over all pairs.
    - `decoy`: accuracy on images attacked as if another class were theirs. Such a change is nearly harmless to a
      network that looks at the image; one that learned to read labels from perturbations answers that class.
    - `ranges_over`, `victim_seeds`, `claim`: of all intervals of the row. One victim: Wilson's where each image counts
      once, else a bootstrap over images; several: over images and victim seeds. Attackers are as they are.

    A rate is NaN where nothing was met that it speaks of. `best_pair` is "not run" without validation: what is chosen
    on test images is not reported on them.

    Args:
        outcomes: Of test victims and images.
        validation: The same victims and sources on validation images; they choose the best pair and nothing else.
        by: One row a victim, or a configuration and defence over its seeds.
    """
    transfer, own, decoys = transfer_cells(outcomes), own_cells(outcomes), decoy_cells(outcomes)
    chosen = _lowest_pairs(validation, transfer_cells(validation)) if validation is not None else {}
    counts: list[_Count] = []
    words: dict[tuple[str, ...], dict[str, object]] = {}
    for row, rows in _met(outcomes, transfer | own | decoys):
        mine, itself, shown = rows[transfer[rows]], rows[own[rows]], rows[decoys[rows]]
        clean = outcomes.right[outcomes.victim_index[rows[0]]]
        best, pair = _best_rows(outcomes, mine, chosen.get(row))
        counts.append(_count(row, "clean", clean))
        counts += _transfer_counts(row, outcomes, mine, best)
        attack = ""
        if len(itself):
            survives = ~outcomes.wrong[itself]
            lowest = int(survives.sum(1).argmin())
            attack = str(outcomes.cells["attack"].iloc[itself[lowest]])
            counts += [
                _count(row, "white_box", np.asarray(survives[lowest])),
                _count(row, "white_box_worst", np.asarray(survives.all(0))),
            ]
        if len(shown):
            counts.append(_count(row, "decoy", (~outcomes.wrong[shown]).sum(0), len(shown)))
        words[row] = {
            "pairs": len(_pairs(outcomes, mine)),
            "best_pair": pair,
            "white_box_attacks": len(itself),
            "white_box_attack": attack,
        }
    return _table(outcomes, counts, words, RATES, by)


def defended_by_attacker(outcomes: Outcomes, validation: Outcomes | None = None, *, by: By = "defense") -> pd.DataFrame:
    """Transfer accuracy apart for who attacks, the column `attackers`, in the order of `ATTACKERS`.

    "seen": models of the public pool that a defence may learn from; "held out": the pool's others, of a group that a
    seen one belongs to; "unseen group": of a group that none does; "strangers": in no pool. Further columns as those of
    `defended`: `pairs`, `average`, `best`, `best_pair` (lowest of these on validation images), `worst`.
    """
    parts = attackers(outcomes)
    transfer = transfer_cells(outcomes)
    counts: list[_Count] = []
    words: dict[tuple[str, ...], dict[str, object]] = {}
    for part in ATTACKERS:
        chosen: dict[tuple[str, ...], list[Pair]] = {}
        if validation is not None:
            chosen = _lowest_pairs(validation, transfer_cells(validation) & (attackers(validation) == part))
        for row, rows in _met(outcomes, transfer & (parts == part)):
            best, pair = _best_rows(outcomes, rows, chosen.get(row))
            counts += [c for c in _transfer_counts((*row, part), outcomes, rows, best) if c.rate in TRANSFER]
            words[*row, part] = {"pairs": len(_pairs(outcomes, rows)), "best_pair": pair}
    table = _table(outcomes, counts, words, TRANSFER, by, further=("attackers",))
    table["attackers"] = pd.Categorical(table["attackers"], categories=ATTACKERS, ordered=True)
    return arrange(table, [*_BUDGET, *_NAMES[by], "attackers"])


def white_box_accuracy(outcomes: Outcomes, *, by: By = "defense") -> pd.DataFrame:
    """Accuracy under each attack that reads the victim itself, gradients or answers: the columns `attack`, `white_box`.

    One that starts from a surrogate and goes on to ask the victim counts once for each surrogate.
    """
    counts: list[_Count] = []
    words: dict[tuple[str, ...], dict[str, object]] = {}
    for row, rows in _met(outcomes, own_cells(outcomes)):
        for attack, of in outcomes.cells.iloc[rows].groupby("attack", sort=False).indices.items():
            name = (*row, str(attack))
            counts.append(_count(name, "white_box", (~outcomes.wrong[rows[of]]).sum(0), len(of)))
            words[name] = {"sets": len(of)}
    return _table(outcomes, counts, words, ("white_box",), by, further=("attack",))


def transfer_below_white_box(outcomes: Outcomes, validation: Outcomes | None = None) -> pd.DataFrame:
    """Victims that a transfer attack hurts more than any attack on themselves: masked gradients, or a weak white box.

    An attacker who has the victim can do whatever one without it can, so at one budget the white box should leave less.
    The `pair` of source and attack is the one that is lowest on validation images. Where no validation is given or it
    met none of the pairs, every pair is judged and the lowest shown, with its interval at 1 - 0.05 / `judged`
    (Bonferroni). The white box is the lowest of its attacks on these very images, which errs against an alarm. So at
    most one victim in 40 raises an alarm at a budget where both leave equally much.

    One row a victim and budget where the pair leaves less: `pair` and `transfer`, the accuracy under it;
    `white_box_attack` and `white_box`; `difference` = transfer - white_box, below 0, with its paired interval `low`,
    `high` over the `images`, these models; `judged`: how many pairs share the level; `alarm`: all of the interval is
    below 0.

    Args:
        outcomes: Of test victims and images.
        validation: The same victims and sources on validation images; they choose the pair and nothing else.
    """
    transfer, own = transfer_cells(outcomes), own_cells(outcomes)
    names = _victims(outcomes)
    ranked = _lowest_pairs(validation, transfer_cells(validation)) if validation is not None else {}
    found = []
    for row, rows in _met(outcomes, transfer | own):
        theirs, mine = rows[transfer[rows]], rows[own[rows]]
        if not (len(theirs) and len(mine)):
            continue
        lowest = mine[(~outcomes.wrong[mine]).sum(1).argmin()]
        white = ~outcomes.wrong[lowest]
        chosen, name = _best_rows(outcomes, theirs, ranked.get(row))
        judged = {name: chosen} if len(chosen) else _by_pair(outcomes, theirs)
        right = {pair: (~outcomes.wrong[of]).sum(0) for pair, of in judged.items()}
        pair = min(judged, key=lambda pair: right[pair].mean() / len(judged[pair]))
        sets = len(judged[pair])
        difference = float(right[pair].mean() / sets - white.mean())
        if difference >= 0:
            continue
        gain, n = (right[pair] - sets * white)[None].astype(np.float64), np.full((1, len(white)), float(sets))
        low, high, _ = paired_sums(gain, n, 1 - (1 - LEVEL) / len(judged))
        victim, norm, eps = row
        found.append(
            {
                **names.loc[victim].to_dict(),
                "victim": victim,
                "norm": norm,
                "eps": eps,
                "pair": pair,
                "transfer": right[pair].mean() / sets,
                "white_box_attack": outcomes.cells["attack"].iloc[lowest],
                "white_box": white.mean(),
                "difference": difference,
                "low": low[0],
                "high": high[0],
                "images": len(white),
                "judged": len(judged),
                "alarm": bool(high[0] < 0),
            }
        )
    return pd.DataFrame(found)


def payoffs(outcomes: Outcomes) -> dict[tuple[str, str], pd.DataFrame]:
    """Within each norm and eps: accuracy of each defence (rows) under each pair of source and attack that all met.

    A defence is a configuration and how it is hardened; its accuracy is the mean over its seeds.
    """
    transfer = transfer_cells(outcomes)
    cells = outcomes.cells[transfer].assign(_right=(~outcomes.wrong[transfer]).mean(1))
    cells["defense"] = _column(outcomes.cells, "defense_v", "")[transfer]
    cells["pair"] = cells["surrogate"].astype(str) + " " + PAIR_MARK + " " + cells["attack"].astype(str)
    several = cells["victim_config"].nunique() > cells["defense"].nunique()
    cells["player"] = cells["defense"] + " · " + cells["victim_config"] if several else cells["defense"]
    found = {}
    for (norm, eps), here in cells.groupby(list(_BUDGET), sort=False):
        table = here.pivot_table(index="player", columns="pair", values="_right", aggfunc="mean", sort=False)
        table = table.dropna(axis="columns")
        if table.shape[1]:
            found[str(norm), str(eps)] = table
    return found


# ------------------------------------------------------------------------------------------------------ kinds of cells


def transfer_cells(outcomes: Outcomes) -> Bools:
    """Untargeted sets made on another model alone: no white box, no control, no decoy."""
    untargeted = outcomes.transfer & outcomes.pooled() & ~outcomes.targeted
    return np.asarray(untargeted & ~_decoy(outcomes) & (_reads(outcomes) == "surrogate"))


def own_cells(outcomes: Outcomes) -> Bools:
    """Untargeted sets made from the victim's own gradients or answers."""
    untargeted = ~outcomes.control & outcomes.pooled() & ~outcomes.targeted
    return np.asarray(untargeted & ~_decoy(outcomes) & (_reads(outcomes) != "surrogate"))


def decoy_cells(outcomes: Outcomes) -> Bools:
    """Sets made on another model against a wrong label."""
    return outcomes.transfer & outcomes.pooled() & _decoy(outcomes)


def attackers(outcomes: Outcomes) -> NDArray[np.object_]:
    """Which of `ATTACKERS` made the set of each cell; "" of sets that no model made."""
    pool = _column(outcomes.cells, "pool", "")
    return np.where(outcomes.control, "", np.where(pool == "", "strangers", pool)).astype(object)


def _reads(outcomes: Outcomes) -> NDArray[np.object_]:
    return _column(outcomes.cells, "reads", "surrogate")


def _decoy(outcomes: Outcomes) -> Bools:
    return _column(outcomes.cells, "decoy", False).astype(bool)


def _column(cells: pd.DataFrame, name: str, otherwise: object) -> NDArray[np.object_]:
    if name not in cells:
        return np.full(len(cells), otherwise, dtype=object)
    return cells[name].to_numpy(dtype=object)


# -------------------------------------------------------------------------------------------------------------- counts


def _met(outcomes: Outcomes, chosen: Bools) -> Iterator[tuple[tuple[str, ...], Ints]]:
    """Each victim and budget, and its cells among the chosen ones."""
    where = np.flatnonzero(chosen)
    cells = outcomes.cells.iloc[where]
    place = cells.groupby(list(_MET), sort=False).ngroup().to_numpy(dtype=np.int64)
    rows = cells.drop_duplicates(list(_MET))[list(_MET)].astype(str)
    for number, row in enumerate(rows.itertuples(index=False, name=None)):
        yield row, where[place == number]


def _pairs(outcomes: Outcomes, rows: Ints) -> list[Pair]:
    cells = outcomes.cells.iloc[rows]
    return list(dict.fromkeys(zip(cells["surrogate"].astype(str), cells["attack"].astype(str), strict=True)))


def _lowest_pairs(validation: Outcomes, chosen: Bools) -> dict[tuple[str, ...], list[Pair]]:
    """Of each victim and budget the pairs, the lowest accuracy first."""
    found = {}
    for row, rows in _met(validation, chosen):
        cells = validation.cells.iloc[rows].assign(_right=(~validation.wrong[rows]).mean(1))
        mean = cells.groupby(["surrogate", "attack"], sort=False)["_right"].mean().sort_values(kind="stable")
        found[row] = [(str(source), str(attack)) for source, attack in mean.index]
    return found


def _best_rows(outcomes: Outcomes, rows: Ints, ranked: Sequence[Pair] | None) -> tuple[Ints, str]:
    """The cells of the first pair that was met here too, and its name."""
    if not len(rows):
        return rows, ""
    met = _pairs(outcomes, rows)
    pair = next((p for p in ranked or () if p in met), None)
    if pair is None:
        return rows[:0], NOT_RUN
    cells = outcomes.cells.iloc[rows]
    return rows[((cells["surrogate"] == pair[0]) & (cells["attack"] == pair[1])).to_numpy(dtype=bool)], _pair_name(pair)


def _by_pair(outcomes: Outcomes, rows: Ints) -> dict[str, Ints]:
    """The cells of each pair, by its name."""
    cells = outcomes.cells.iloc[rows]
    source, attack = (cells[column].astype(str).to_numpy() for column in ("surrogate", "attack"))
    return {_pair_name(pair): rows[(source == pair[0]) & (attack == pair[1])] for pair in _pairs(outcomes, rows)}


def _pair_name(pair: Pair) -> str:
    return f"{pair[0]} {PAIR_MARK} {pair[1]}"


def _transfer_counts(row: tuple[str, ...], outcomes: Outcomes, rows: Ints, best: Ints) -> Iterator[_Count]:
    if not len(rows):
        return
    clean = outcomes.right[outcomes.victim_index[rows[0]]]
    yield _count(row, "worst", np.asarray((~outcomes.wrong[rows]).all(0)))
    kinds = (("average", "asr_average", "corrected_average", rows), ("best", "asr", "corrected", best))
    for accuracy, asr, corrected, of in kinds:
        if len(of):
            right = ~outcomes.wrong[of]
            yield _count(row, accuracy, right.sum(0), len(of))
            yield _count(row, asr, (~right & clean).sum(0), len(of) * clean)
            yield _count(row, corrected, (right & ~clean).sum(0), len(of) * ~clean)


def _count(row: tuple[str, ...], rate: str, k: NDArray[Any], n: NDArray[Any] | int = 1) -> _Count:
    whole = np.asarray(k, dtype=np.int64)
    return _Count(row=row, rate=rate, k=whole, n=np.broadcast_to(np.asarray(n, dtype=np.int64), whole.shape))


# --------------------------------------------------------------------------------------------------------------- table


def _victims(outcomes: Outcomes) -> pd.DataFrame:
    """Defence, configuration and seed of each victim by its label."""
    cells = outcomes.cells.assign(defense=_column(outcomes.cells, "defense_v", ""))
    return cells.drop_duplicates("victim").set_index("victim")[["defense", "victim_config", "victim_seed"]]


def _table(
    outcomes: Outcomes,
    counts: Sequence[_Count],
    words: Mapping[tuple[str, ...], Mapping[str, object]],
    rates: Sequence[str],
    by: By,
    further: tuple[str, ...] = (),
) -> pd.DataFrame:
    """One row a victim or defence and budget; rates beside their limits."""
    keys = [*_NAMES[by], *_BUDGET, *further]
    names = _victims(outcomes)
    notes = pd.DataFrame([{**_named(row, names, further), **words[row]} for row in words])
    if notes.empty:
        return pd.DataFrame(columns=[*keys, "victims", "images", *rates])
    found = _rates([c for c in counts if c.n.any()], outcomes, names, keys, further)
    groups = notes.groupby(keys, sort=False)
    table = groups.agg(victims=("victim", "nunique")).assign(images=len(outcomes.labels))
    for column in notes.columns.difference([*keys, "victim", "victim_seed", *_NAMES["victim"]], sort=False):
        if pd.api.types.is_numeric_dtype(notes[column]):
            table[column] = groups[column].max()
        else:
            table[column] = groups[column].agg(lambda told: "; ".join(dict.fromkeys(filter(None, told))))
    for rate in rates:
        of = found[found["rate"] == rate].set_index(keys)
        for column, name in (("value", rate), ("low", f"{rate}_low"), ("high", f"{rate}_high")):
            table[name] = of[column].reindex(table.index)
    told = found.drop_duplicates(keys).set_index(keys)[["ranges_over", "victim_seeds", "claim"]]
    return arrange(table.join(told).reset_index(), [*_BUDGET, *_NAMES[by], *further])


def _named(row: tuple[str, ...], names: pd.DataFrame, further: tuple[str, ...]) -> dict[str, object]:
    victim, norm, eps, *more = row
    of = {str(name): value for name, value in names.loc[victim].to_dict().items()}
    return {**of, "victim": victim, "norm": norm, "eps": eps, **dict(zip(further, more, strict=True))}


def _rates(
    counts: Sequence[_Count], outcomes: Outcomes, names: pd.DataFrame, keys: Sequence[str], further: tuple[str, ...]
) -> pd.DataFrame:
    """Each rate of each row of a table with its interval; all rows meet the same bootstrap samples."""
    frame = pd.DataFrame([{**_named(c.row, names, further), "rate": c.rate} for c in counts])
    frame["_group"] = frame.groupby([*keys, "rate"], sort=False).ngroup()
    frame = frame.iloc[np.argsort(frame["_group"].to_numpy(), kind="stable")]
    order = frame.index.to_numpy()
    group = frame["_group"].to_numpy(dtype=np.int64)
    k, n = (np.stack([getattr(counts[i], side) for i in order]) for side in ("k", "n"))
    kept = frame.drop_duplicates("_group")[[*keys, "rate"]].reset_index(drop=True)
    fixed = np.zeros(len(frame), dtype=np.int64)
    pooled = Pool(
        keys=kept,
        rows=np.arange(len(frame)),
        group=group,
        made_by=Trained(
            stratum=group,
            surrogate=fixed,
            surrogate_seed=fixed,
            victim=fixed,
            victim_seed=frame["victim_seed"].to_numpy(dtype=np.int64),
        ),
        itself=np.zeros(len(kept), dtype=bool),
    )
    of_cells = Counts(k=k, n=n, row=np.arange(len(frame)))
    intervals = rate_intervals(pooled, of_cells, outcomes.image_source)
    top, bottom = of_cells.sums(group, len(kept))
    low, high = wilson(top.sum(1), bottom.sum(1))
    once = (bottom.max(1) <= 1) & (np.bincount(group) == 1)  # trials of their own: nothing to resample
    return kept.assign(
        value=ratio(top.sum(1), bottom.sum(1)),
        low=np.where(once, low, intervals["low"]),
        high=np.where(once, high, intervals["high"]),
        **{column: intervals[column] for column in ("ranges_over", "victim_seeds", "claim")},
    )
