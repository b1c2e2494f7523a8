"""Rates of single cells."""

import numpy as np
import pandas as pd

from .intervals import IMAGES, wilson
from .outcomes import SET, Floats, Ints, Outcomes, ratio


def cell_rates(outcomes: Outcomes) -> pd.DataFrame:
    """What every cell measured: the columns of `outcomes.cells` and those below.

    - `n`, `k`, `asr`: images that the victim gets right, those that the attack then succeeds on, and k / n. Success
      is any wrong answer, or the target class for a targeted set.
    - `low`, `high`, `ranges_over`: Wilson interval, 95%; ranges over images, for this pair of models.
    - `macro_asr`: mean over the classes of k_c / n_c, of the classes with n_c > 0.
    - `clean_accuracy`, `robust_accuracy`: right clean and right adversarial answers over all images.
    - `target_rate`: P(predicts the target | clean right) where target classes are known, for every set.
    - `n:<source>`, `k:<source>`, `asr:<source>`: the same counts on the images of one source.
    """
    success, n = outcomes.success, outcomes.n
    k = success.sum(1)
    low, high = wilson(k, n)
    class_k, class_n = _per_class(outcomes)
    by_class = ratio(class_k, class_n)
    some = ~np.isnan(by_class)
    columns = {
        "n": n,
        "k": k,
        "asr": ratio(k, n),
        "low": low,
        "high": high,
        "ranges_over": np.full(len(n), IMAGES, dtype=object),
        "macro_asr": ratio(np.where(some, by_class, 0.0).sum(1), some.sum(1)),
        "clean_accuracy": ratio(n, np.full(len(n), len(outcomes.labels))),
        "robust_accuracy": ratio((~outcomes.wrong).sum(1), np.full(len(n), len(outcomes.labels))),
    }
    if outcomes.target is not None:
        every = np.arange(len(n))
        aimed = outcomes.success_of(every, np.ones(len(n), dtype=bool))
        columns["target_rate"] = ratio(aimed.sum(1), n)
    for i, source in enumerate(outcomes.image_sources):
        images = outcomes.image_source == i
        columns[f"n:{source}"] = outcomes.right[:, images].sum(1)[outcomes.victim_index]
        columns[f"k:{source}"] = success[:, images].sum(1)
        columns[f"asr:{source}"] = ratio(columns[f"k:{source}"], columns[f"n:{source}"])
    return pd.concat([outcomes.cells, pd.DataFrame(columns, index=outcomes.cells.index)], axis=1)


def class_rates(outcomes: Outcomes) -> pd.DataFrame:
    """ASR within each true class: one row a cell and class, with `cell` (its row), `class`, `n`, `k`, `asr`,
    Wilson's `low` and `high`, and `ranges_over`.
    """
    k, n = _per_class(outcomes)
    cells, classes = k.shape
    low, high = wilson(k.ravel(), n.ravel())
    return pd.DataFrame(
        {
            "cell": np.repeat(np.arange(cells), classes),
            "class": np.tile(np.array(outcomes.classes, dtype=object), cells),
            "n": n.ravel(),
            "k": k.ravel(),
            "asr": ratio(k, n).ravel(),
            "low": low,
            "high": high,
            "ranges_over": IMAGES,
        }
    )


def _per_class(outcomes: Outcomes) -> tuple[Ints, Ints]:
    """Successes and denominators, `cells classes`."""
    order = np.argsort(outcomes.labels, kind="stable")
    present, starts = np.unique(outcomes.labels[order], return_index=True)
    k = np.zeros((len(outcomes.cells), len(outcomes.classes)), dtype=np.int64)
    n = np.zeros((len(outcomes.right), len(outcomes.classes)), dtype=np.int64)
    if len(present):
        k[:, present] = np.add.reduceat(outcomes.success[:, order], starts, axis=1, dtype=np.int64)
        n[:, present] = np.add.reduceat(outcomes.right[:, order], starts, axis=1, dtype=np.int64)
    return k, n[outcomes.victim_index]


def white_box_asr(outcomes: Outcomes) -> Floats:
    """For each cell, the mean ASR of its adversarial set on the surrogate's own models.

    NaN where that was not measured on every one of them: a member of an ensemble does not stand for the others.
    """
    own = outcomes.cells["case"].to_numpy() == 0
    names = [*SET, *(["asked"] if "asked" in outcomes.cells else [])]  # one surrogate for each victim that was asked
    white = outcomes.cells.loc[own, names].assign(white=outcomes.asr[own]).groupby(names, sort=False)["white"]
    means = white.mean()
    if outcomes.sets is not None and "models" in outcomes.sets:
        read = outcomes.sets.groupby(names, sort=False)["models"].max()
        means = means.where(white.size() >= read.reindex(means.index))
    keys = pd.MultiIndex.from_frame(outcomes.cells[names])
    return np.asarray(means.reindex(keys), dtype=np.float64)
