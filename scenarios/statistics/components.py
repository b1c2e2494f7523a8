"""How far a weighting of cells would move with other images, and with other trained models."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from .intervals import VarianceComponents
from .outcomes import Floats, Ints, Outcomes

SIDES = ("surrogate", "victim")
PAIR = "pair"
_ROUNDING = 1e-9
_TOLD_APART = 1e6  # condition above which the grid does not tell two parts apart, as pair and victim of one surrogate
_FEW = 8  # degrees of freedom below which a part that stands alone is not made smaller by what is taken off
_SLAB = 500  # clusters or images at a time keep memory small


@dataclass(frozen=True, kw_only=True, eq=False)
class Regression:
    """Contexts (attack, norm, eps) that hold the same pairs of models, and the regression that serves all of them.

    Attributes:
        cells: Row of each cell, `contexts pairs`.
        weights: Coefficient of each pair in the effect, summed over contexts.
        moved: What a unit of the mismatch's cost moves each pair by: -1/2 for a match, 1/2 for a mismatch.
        basis: Orthonormal basis of what the regression explains, mismatch included, `pairs columns`.
    """

    cells: Ints
    weights: Floats
    moved: Floats
    basis: Floats

    def residuals(self, values: Floats) -> Floats:
        """What the regression leaves of the mean over contexts; values of all cells, first axis cells."""
        means = values[self.cells].mean(0)
        return np.asarray(means - self.basis @ (self.basis.T @ means))


def over_images(outcomes: Outcomes, index: Ints, coefficients: Floats, asr: Floats) -> tuple[float, float]:
    """Cluster-robust variance over images: what each image adds to the linearised contrast, within its source."""
    share = coefficients / outcomes.n[index]
    wins = share @ outcomes.success[index]
    expected = np.bincount(outcomes.victim_index[index], share * asr, len(outcomes.right)) @ outcomes.right
    influence = wins - expected
    variance, freedom = 0.0, 0
    for source in np.unique(outcomes.image_source):
        mine = influence[outcomes.image_source == source]
        if len(mine) > 1:
            variance += len(mine) * float(mine.var(ddof=1))
            freedom += len(mine) - 1
    return variance, float(max(freedom, 1))


def over_models(
    cells: pd.DataFrame, regressions: Sequence[Regression], asr: Floats, noise: Iterable[Floats] = ()
) -> tuple[dict[str, tuple[float, float]], tuple[tuple[float, float], ...]]:
    """Parts of the variance of an effect over trained models, and their degrees of freedom, by what varies.

    Beside them the variances, with theirs, that hold the interval open (below).

    What a mismatch costs differs from surrogate to surrogate, from victim to victim and from pair to pair. Three sums
    of squares say by how much: residuals times weights, added up by surrogate, by victim and by pair (the clusters of
    Cameron, Gelbach and Miller: "Robust inference with multiway clustering", Journal of Business & Economic Statistics
    2011). The expectation of each is linear in the three variances, with factors that follow from the grid alone, so
    the variances solve three equations (method of moments; none is below 0). What images add to the sums comes off
    first, as it has a part of its own. Degrees of freedom are Satterthwaite's.

    Where the grid does not tell the parts apart (three models of three levels a side; one surrogate, whose pairs are
    its victims), all is given to the one that makes the interval the widest. A model in both roles is one cluster, and
    the parts are "model" and "pair". A side that the residuals say nothing of, such as a single surrogate, is left out.

    What comes off is an expectation. A sum of few degrees of freedom is often smaller than that by chance, and then the
    interval would be nearly that over images alone. Two sides make up for each other. Where the parts are not told
    apart, or fewer than two sides are left and a part has fewer than `_FEW` degrees of freedom, the interval is held
    open: it is never narrower than if that part's sum, with nothing taken off, were all that there is. For a single
    surrogate that is Student's interval of two groups of victims.

    Args:
        cells: With the columns `surrogate` and `victim`.
        regressions: Where the weights of these cells come from.
        asr: Of these cells.
        noise: What each image adds to their ASR, `cells images` in slabs: `image_noise`.
    """
    places, clusters = _clusters(cells, regressions)
    pairs = clusters[PAIR].shape[1]

    def scores(values: Floats) -> Floats:
        """Residuals times weights of each pair of models, summed over contexts; values first axis cells."""
        out = np.zeros((pairs, *values.shape[1:]))
        for one, place in zip(regressions, places, strict=True):
            out[place] += (one.residuals(values).T * one.weights).T
        return out

    mine = scores(asr)
    squares = {name: float(((by @ mine) ** 2).sum()) for name, by in clusters.items()}
    whole = dict(squares)
    for added in noise:
        theirs = scores(added)
        for name, by in clusters.items():
            squares[name] -= float(((by @ theirs) ** 2).sum())

    weight, moved = np.zeros(pairs), np.zeros(pairs)
    for one, place in zip(regressions, places, strict=True):
        weight[place] += one.weights
        moved[place] = one.moved
    # what one unit of each deviation moves: that of a model its mismatching pairs against its matching ones
    moves = {name: sparse.csr_array((by * moved).T) for name, by in clusters.items() if name != PAIR}  # type: ignore[no-untyped-call]
    moves[PAIR] = sparse.csr_array(sparse.eye_array(pairs))  # type: ignore[no-untyped-call]
    expected = np.zeros((len(clusters), len(clusters)))
    freedom = {
        PAIR: max(
            _freedom_of_pairs(clusters[PAIR][:, place], one) for one, place in zip(regressions, places, strict=True)
        )
    }
    for i, (name, by) in enumerate(clusters.items()):
        if name == PAIR:
            expected[:, i] = _expected_of_pairs(clusters, regressions, places)
            continue
        theirs = _moved_scores(moves[name].toarray(), regressions, places)  # type: ignore[no-untyped-call]
        expected[:, i] = [float(((other @ theirs) ** 2).sum()) for other in clusters.values()]
        reach = _reach(by, regressions, places)
        product = reach @ reach.T
        trace, square = float(np.trace(product)), float((product**2).sum())
        freedom[name] = trace**2 / square if trace > _ROUNDING * float(weight @ weight) else 0.0
    target = np.array([float(((one.T @ weight) ** 2).sum()) for one in moves.values()])
    names = list(clusters)
    use = [i for i, name in enumerate(names) if freedom[name] > 1 - _ROUNDING]
    scaled = expected / np.sqrt(np.outer(target, target))
    if not use:
        return {}, ()
    came = np.array([squares[names[i]] for i in use])
    told_apart = np.linalg.cond(scaled[np.ix_(use, use)]) < _TOLD_APART
    if told_apart:
        solved = np.linalg.solve(expected[np.ix_(use, use)], came)
    else:  # as if each were all that there is, and then the one that makes the interval the widest
        alone = came / expected[use, use]
        reaches = [
            VarianceComponents(parts=((max(v, 0.0) * target[i], freedom[names[i]]),)).half_width()
            for i, v in zip(use, alone, strict=True)
        ]
        solved = np.where(np.arange(len(use)) == np.argmax(reaches), alone, 0.0)
    single = sum(names[i] != PAIR for i in use) < len(SIDES)
    least = tuple(
        (whole[names[i]] / float(expected[i, i]) * float(target[i]), freedom[names[i]])
        for i in use
        if not told_apart or (single and freedom[names[i]] < _FEW - _ROUNDING)
    )
    return {
        names[i]: (max(float(one), 0.0) * float(target[i]), freedom[names[i]])
        for i, one in zip(use, solved, strict=True)
    }, least


def _freedom_of_pairs(by: sparse.csr_array, one: Regression) -> float:
    """Satterthwaite's degrees of freedom of the sum of squares over pairs, if all pairs vary alike.

    Where all weigh alike and none is there both ways round, those of the residuals.
    """
    weighted = sparse.csr_array(by.multiply(one.weights))  # type: ignore[no-untyped-call]
    squared = weighted.power(2)  # type: ignore[no-untyped-call]
    alone = np.asarray(squared.sum(1)).ravel()  # of each cluster, as no pair is in two
    explained = weighted @ one.basis
    trace = float(alone.sum() - (explained**2).sum())
    square = float(alone @ alone - 2 * alone @ (explained**2).sum(1) + ((explained.T @ explained) ** 2).sum())
    return trace**2 / square if trace > _ROUNDING * float(one.weights @ one.weights) else 0.0


def _clusters(
    cells: pd.DataFrame, regressions: Sequence[Regression]
) -> tuple[list[Ints], Mapping[str, sparse.csr_array]]:
    """The place of each regression's pairs among all, and which pairs belong to each model, `clusters pairs`."""
    labels = [cells[side].to_numpy(dtype=object) for side in SIDES]
    each = [np.concatenate([label[one.cells[0]] for one in regressions]) for label in labels]
    codes, known = pd.factorize(pd.MultiIndex.from_arrays(each))
    edges = np.cumsum([0, *(len(one.weights) for one in regressions)])
    places = [np.asarray(codes[a:b], dtype=np.int64) for a, b in itertools.pairwise(edges)]
    sides = [np.asarray(known.get_level_values(i), dtype=object) for i in range(len(SIDES))]
    if set(sides[0]) & set(sides[1]):  # then a pair is the same either way round
        models, _ = pd.factorize(np.concatenate(sides))
        both = np.sort(np.stack(np.split(np.asarray(models), 2)), axis=0)
        dyad = pd.factorize(pd.MultiIndex.from_arrays(list(both)))[0]
        count = 1 + int(both.max())
        return places, {"model": _members(both[0], count) + _members(both[1], count), PAIR: _members(dyad)}
    found = {name: _members(pd.factorize(side)[0]) for name, side in zip(SIDES, sides, strict=True)}
    return places, {**found, PAIR: _members(np.arange(len(known)))}


def _members(codes: Ints, count: int | None = None) -> sparse.csr_array:
    """1 where a column has the code of a row, `clusters pairs`."""
    rows = 1 + int(codes.max()) if count is None else count
    return sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(rows, len(codes)))  # type: ignore[no-untyped-call]


def _expected_of_pairs(
    clusters: Mapping[str, sparse.csr_array], regressions: Sequence[Regression], places: Sequence[Ints]
) -> list[float]:
    """What one unit of variance of each pair adds to the sum of squares of each kind of cluster."""
    found = []
    for name, by in clusters.items():
        if name != PAIR:
            found.append(float((_reach(by, regressions, places) ** 2).sum()))
        elif len(regressions) == 1 and by.shape[0] == by.shape[1]:  # the diagonal of the projection is enough
            (one,) = regressions
            found.append(float(one.weights**2 @ (1 - (one.basis**2).sum(1))))
        else:
            slabs = [by[start : start + _SLAB] for start in range(0, by.shape[0], _SLAB)]
            found.append(sum(float((_reach(slab, regressions, places) ** 2).sum()) for slab in slabs))
    return found


def _moved_scores(change: Floats, regressions: Sequence[Regression], places: Sequence[Ints]) -> Floats:
    """What changes of all pairs, in all contexts alike, add to the score of each pair, `pairs changes`."""
    out = np.zeros_like(change)
    for one, place in zip(regressions, places, strict=True):
        here = change[place]
        out[place] += one.weights[:, None] * (here - one.basis @ (one.basis.T @ here))
    return out


def _reach(by: sparse.csr_array, regressions: Sequence[Regression], places: Sequence[Ints]) -> Floats:
    """What a change of each pair, in all contexts alike, adds to the score of each cluster, `clusters pairs`."""
    out = np.zeros(by.shape)
    for one, place in zip(regressions, places, strict=True):
        mixed = by[:, place].toarray() * one.weights
        out[:, place] += mixed - (mixed @ one.basis) @ one.basis.T
    return out


def image_noise(outcomes: Outcomes, index: Ints, asr: Floats) -> Iterator[Floats]:
    """What each image adds to the ASR of the cells `index`, within its source, `cells images`, in slabs of images.

    The squares of a row add up to the variance of its ASR over images.
    """
    victims = outcomes.victim_index[index]
    n = outcomes.n[index][:, None]
    for source in np.unique(outcomes.image_source):
        images = np.flatnonzero(outcomes.image_source == source)
        if len(images) < 2:
            continue

        def added(some: Ints) -> Floats:
            return np.asarray(
                (outcomes.success[np.ix_(index, some)] - asr[:, None] * outcomes.right[np.ix_(victims, some)]) / n
            )

        slabs = [images[start : start + _SLAB] for start in range(0, len(images), _SLAB)]
        mean = sum(added(some).sum(1) for some in slabs) / len(images)
        for some in slabs:
            yield (added(some) - mean[:, None]) * np.sqrt(len(images) / (len(images) - 1))
