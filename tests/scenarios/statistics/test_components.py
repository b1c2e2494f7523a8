"""Parts of the variance of an effect, and what images add to it, against loops."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.scenarios.made_outcomes import made

from carom.scenarios.statistics import Outcomes, effects, marginal_effects
from carom.scenarios.statistics.components import Regression, image_noise, over_models
from carom.scenarios.statistics.outcomes import Floats


def test_what_images_add_is_centred_in_each_source_and_a_source_of_one_image_adds_nothing() -> None:
    rng = np.random.default_rng(0)
    images = 1300
    hits = {("a", s, "v", 7): rng.random(images) < 0.4 + 0.2 * s for s in range(2)}
    outcomes = made(hits, right=rng.random(images) < 0.8)
    source = np.r_[0, np.ones(1201, dtype=np.int64), np.full(96, 2), [3, 3]]
    outcomes = replace(outcomes, image_source=source, image_sources=("one", "many", "some", "two"))
    index = np.arange(2)
    asr = np.array([outcomes.success[i].sum() / outcomes.right[0].sum() for i in index])
    found = np.concatenate(list(image_noise(outcomes, index, asr)), axis=1)
    assert found.shape == (2, images - 1)  # nothing is known of the spread of one image
    for i in index:
        expected = []
        for which in (1, 2, 3):
            added = [
                (float(outcomes.success[i, j]) - asr[i] * float(outcomes.right[0, j])) / outcomes.right[0].sum()
                for j in np.flatnonzero(source == which)
            ]
            mean = sum(added) / len(added)
            expected += [(one - mean) * np.sqrt(len(added) / (len(added) - 1)) for one in added]
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------------ the parts, slowly

Asked = tuple[pd.DataFrame, Sequence[Regression], Floats, list[Floats]]


def asked_by(outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What the effects of these outcomes ask of `over_models`."""
    found: list[Asked] = []

    def listen(cells: pd.DataFrame, regressions: Sequence[Regression], asr: Floats, noise: Iterable[Floats]) -> Any:
        found.append((cells, regressions, asr, list(noise)))
        return over_models(cells, regressions, asr, found[-1][3])

    monkeypatch.setattr(effects, "over_models", listen)
    marginal_effects(outcomes)
    return found


def slowly(asked: Asked) -> dict[str, tuple[float, float, float]]:
    """Variances and degrees of freedom, deviation by deviation, from the definition: three equations, solved.

    The third number is the variance if that part's sum, with nothing taken off, were all that there is.
    """
    cells, regressions, asr, noise = asked
    named = list(zip(cells["surrogate"], cells["victim"], strict=True))
    places = [[named[i] for i in one.cells[0]] for one in regressions]
    pairs = list(dict.fromkeys(pair for place in places for pair in place))
    row = {pair: i for i, pair in enumerate(pairs)}
    both_roles = {s for s, _ in pairs} & {v for _, v in pairs}

    def cluster(name: str, pair: tuple[str, str]) -> list[Any]:
        of: dict[str, list[Any]] = {
            "surrogate": [pair[0]],
            "victim": [pair[1]],
            "model": list(pair),
            "pair": [frozenset(pair)],
        }
        return of[name] if both_roles or name != "pair" else [pair]

    def scores(means_of: Callable[[Regression, list[tuple[str, str]]], Floats]) -> Floats:
        out = np.zeros(len(pairs))
        for one, place in zip(regressions, places, strict=True):
            means = means_of(one, place)
            left = means - one.basis @ (one.basis.T @ means)
            for pair, value in zip(place, left * one.weights, strict=True):
                out[row[pair]] += value
        return out

    def of_cells(values: Floats) -> Floats:
        return scores(lambda one, _: np.array([np.mean(values[column]) for column in one.cells.T]))

    def of_pairs(change: Floats) -> Floats:
        return scores(lambda _, place: np.array([change[row[pair]] for pair in place]))

    def summed(name: str, values: Floats) -> list[float]:
        """Of each cluster of a kind."""
        sums: dict[Any, float] = {}
        for pair, value in zip(pairs, values, strict=True):
            for one in cluster(name, pair):
                sums[one] = sums.get(one, 0.0) + value
        return list(sums.values())

    def square(name: str, values: Floats) -> float:
        return sum(value**2 for value in summed(name, values))

    names = ["model", "pair"] if both_roles else ["surrogate", "victim", "pair"]
    weight, moved = np.zeros(len(pairs)), np.zeros(len(pairs))
    for one, place in zip(regressions, places, strict=True):
        for pair, w, m in zip(place, one.weights, one.moved, strict=True):
            weight[row[pair]] += w
            moved[row[pair]] = m
    units = {}
    for name in names:
        ids = list(dict.fromkeys(one for pair in pairs for one in cluster(name, pair)))
        units[name] = [
            np.array([m * cluster(name, pair).count(one) for pair, m in zip(pairs, moved, strict=True)]) for one in ids
        ]
    units["pair"] = list(np.eye(len(pairs)))
    came = [
        square(name, of_cells(asr)) - sum(square(name, of_cells(image)) for slab in noise for image in slab.T)
        for name in names
    ]
    expected = [[sum(square(name, of_pairs(unit)) for unit in units[part]) for part in names] for name in names]
    solved = np.linalg.solve(np.array(expected), np.array(came))
    found = {}
    for i, (name, variance) in enumerate(zip(names, solved, strict=True)):
        target = sum(float(unit @ weight) ** 2 for unit in units[name])
        reach = np.array([summed(name, of_pairs(unit)) for unit in np.eye(len(pairs))])
        product = reach.T @ reach
        freedom = float(np.trace(product) ** 2 / (product**2).sum())
        alone = square(name, of_cells(asr)) / expected[i][i] * target
        found[name] = (max(float(variance), 0.0) * target, freedom, alone)
    return found


@pytest.mark.parametrize("roles", ["apart", "both", "apart, some cells missing"])
def test_the_parts_are_those_of_three_equations_from_single_deviations(
    make_outcomes: Callable[..., Outcomes], monkeypatch: pytest.MonkeyPatch, roles: str
) -> None:
    rng = np.random.default_rng(3)
    strength: dict[object, float] = {}

    def probability(cell: dict[str, Any]) -> float:
        """Models and pairs differ in what a mismatch costs."""
        pair = cell["surrogate"], cell["victim"]
        for one in (*pair, pair):
            strength.setdefault(one, float(rng.normal(0, 0.12)))
        sign = 1 if cell["architecture_s"] == cell["architecture_v"] else -1
        return float(np.clip(0.5 + sign * (0.1 + sum(strength[one] for one in (*pair, pair))), 0.05, 0.95))

    seeds = {"surrogate_seeds": (0, 1), "victim_seeds": (0, 1) if roles == "both" else (100, 101)}
    outcomes = make_outcomes(
        4, images=60, balances=("flat",), attacks=("mi", "di"), eps=("8/255",), itself=False,
        drop=0.15 if "missing" in roles else 0.0, probability=probability, **seeds,
    )  # fmt: skip
    asked = asked_by(outcomes, monkeypatch)
    assert len(asked) == 2  # source and architecture
    positive = 0
    for one in asked:
        found, least = over_models(*one)
        expected = slowly(one)
        assert found.keys() == expected.keys()
        # models in both roles are one side, and that is held open where it has few degrees of freedom
        few = [name for name, (_, freedom) in found.items() if freedom < 8 and "model" in found]
        assert [variance for variance, _ in least] == pytest.approx([expected[name][2] for name in few])
        for name, (variance, freedom) in found.items():
            assert variance == pytest.approx(expected[name][0], rel=1e-6, abs=1e-12)
            if len(one[1]) == 1 or name != "pair":
                assert freedom == pytest.approx(expected[name][1], rel=1e-6)
            positive += variance > 0
    assert positive >= 3


@pytest.mark.parametrize("seeds", [2, 5])
def test_of_one_surrogate_the_interval_is_held_open_by_students_of_two_groups_of_victims(
    make_outcomes: Callable[..., Outcomes], monkeypatch: pytest.MonkeyPatch, seeds: int
) -> None:
    outcomes = make_outcomes(
        5,
        images=40,
        sources=("ink",),
        balances=("flat",),
        attacks=("mi",),
        eps=("8/255",),
        itself=False,
        victim_seeds=range(100, 100 + seeds),
    )
    one = outcomes.where(outcomes.control | (outcomes.cells["architecture_s"] == "cnn").to_numpy(dtype=bool))
    ((cells, regressions, asr, noise),) = asked_by(one, monkeypatch)
    _, least = over_models(cells, regressions, asr, noise)
    groups = [asr[(cells["architecture_v"] == name).to_numpy()] for name in ("cnn", "vit")]
    pooled = sum(((group - group.mean()) ** 2).sum() for group in groups) / (2 * seeds - 2)
    assert least[0] == pytest.approx((pooled * 2 / seeds, 2 * seeds - 2))
