"""The search finds the good compromises of a space, and tells measured numbers only."""

import builtins
import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from tests.defenses.conftest import ground

from carom.budget import Budget
from carom.defenses.defense import Stage
from carom.defenses.distillation.candidates import Candidate, Scores, meeting, pick, unbeaten
from carom.defenses.distillation.measure import Measure, Sizes
from carom.defenses.distillation.nsga2 import Costs, evolved
from carom.defenses.distillation.search import Search
from carom.defenses.distillation.taken_out import recalibrate, taken_out
from carom.errors import InputError
from carom.registry import build
from carom.zoo.architectures import architecture
from carom.zoo.architectures.elastic.resnet import ElasticResNet
from carom.zoo.architectures.elastic.space import Choice
from carom.zoo.models.classifier import create, weights
from carom.zoo.training.ground import Ground

# 3 x 3 widths, 2 depths, 3 or 9 expansions: 108 sub-networks
SMALL = ElasticResNet(width=8, stages=1, depth=2)
SIZES = Sizes(architecture=SMALL, shape=(1, 8, 8), classes=3)
EVERY = sorted({SMALL.space.choice(g) for g in product(*map(range, SMALL.space.levels))}, key=str)


def scored(choice: Choice) -> Scores:
    """Accuracy likes width, robustness depth and narrow blocks: a linear function of what the predictor sees."""
    widths, inner = sum(choice.widths), sum(choice.expansions)
    accuracy = 0.5 + 0.08 * widths - 0.03 * len(choice.expansions) + 0.1 * inner
    return accuracy, 0.2 + 0.12 * len(choice.expansions) - 0.08 * inner - 0.02 * widths


def everything() -> list[Candidate]:
    return [candidate(choice, *scored(choice)) for choice in EVERY]


def candidate(
    choice: Choice, accuracy: float, robustness: float, macs: int | None = None, parameters: int | None = None
) -> Candidate:
    return Candidate(
        choice=choice,
        accuracy=accuracy,
        robustness=robustness,
        macs=SIZES.macs(choice) if macs is None else macs,
        parameters=SIZES.parameters(choice) if parameters is None else parameters,
    )


def volume(candidates: Sequence[Candidate]) -> float:
    """The area of (accuracy, robustness) that lies below some candidate."""
    area, best = 0.0, 0.0
    for c in sorted(candidates, key=lambda c: -c.accuracy):
        if c.robustness > best:
            area += c.accuracy * (c.robustness - best)
            best = c.robustness
    return area


def test_the_front_comes_near_that_of_everything() -> None:
    search = Search(samples=40, measured=30, population=20, generations=10, layers=0)
    found = search(SIZES, scored, seed=0)
    assert len(found.sampled) == 40
    assert len({c.choice for c in found.sampled}) == 40
    assert {SMALL.space.largest, SMALL.space.smallest} <= {c.choice for c in found.sampled}
    assert min(found.predictor.tau) > 0.6
    front = found.front()
    assert volume(front) > 0.97 * volume(unbeaten(everything()))
    assert [c.robustness for c in front] == sorted((c.robustness for c in front), reverse=True)


def test_in_a_large_space_the_search_finds_what_a_random_sample_does_not() -> None:
    large = ElasticResNet(width=8, stages=2, depth=3)
    sizes = Sizes(architecture=large, shape=(1, 8, 8), classes=3)
    found = Search(samples=60, measured=20, population=40, generations=20, layers=0)(sizes, scored, seed=0)
    assert volume(found.searched) > 1.02 * volume(found.sampled)
    assert unbeaten(found.searched) == [c for c in found.front() if c.predicted is not None]


def test_what_is_told_was_measured_and_each_sub_network_once() -> None:
    asked: list[Choice] = []

    def watched(choice: Choice) -> Scores:
        asked.append(choice)
        return scored(choice)

    found = Search(samples=20, measured=5, population=12, generations=5)(SIZES, watched, seed=0)
    assert len(asked) == len(set(asked)) <= 25
    assert len(found.searched) <= 5
    for c in (*found.sampled, *found.searched):
        assert (c.accuracy, c.robustness) == scored(c.choice)
        assert (c.macs, c.parameters) == (SIZES.macs(c.choice), SIZES.parameters(c.choice))
    assert all(c.predicted is None for c in found.sampled)
    predicted = [(c.predicted or (0.0, 0.0), c) for c in found.searched]
    assert all(said != scored(c.choice) for said, c in predicted)
    assert found.optimism[0] == pytest.approx(sum(said[0] - c.accuracy for said, c in predicted) / len(predicted))


def test_limits_hold_for_all_that_is_measured() -> None:
    most = 30_000
    assert sum(SIZES.macs(c) <= most for c in EVERY) > 12
    found = Search(samples=12, population=12, generations=5, max_macs=most)(SIZES, scored, seed=0)
    assert max(c.macs for c in (*found.sampled, *found.searched)) <= most
    least = SIZES.parameters(SMALL.space.smallest)
    with pytest.raises(
        InputError, match=f"found 2 sub-networks within the limits, 10 are needed.*{least:,} parameters"
    ):
        Search(samples=20, max_parameters=least)(SIZES, scored, seed=0)


def test_a_third_goal_is_few_macs() -> None:
    search = Search(samples=40, measured=50, population=20, generations=10, by_macs=True)
    found = search(SIZES, scored, seed=0)
    assert len(found.front(by_macs=True)) > len(found.front())
    assert min(c.macs for c in found.searched) == SIZES.macs(SMALL.space.smallest)


def test_one_seed_is_one_search() -> None:
    search = Search(samples=12, population=8, generations=3)
    first, again, other = (search(SIZES, scored, seed=seed) for seed in (0, 0, 1))
    assert (first.sampled, first.searched) == (again.sampled, again.searched)
    assert first.sampled != other.sampled


def goals(choices: Sequence[Choice]) -> Costs:
    """Two that pull apart, with a jump between depths."""
    widths = np.array([c.widths for c in choices])
    inner = np.array([sum(c.expansions) for c in choices])
    deep = np.array([len(c.expansions) == 2 for c in choices])
    return np.stack((widths.sum(1) + 0.1 * inner, 0.3 * deep - 2 * widths[:, 0] - widths[:, 1] - inner), 1)


def best_of(choices: Sequence[Choice]) -> set[tuple[float, ...]]:
    """By trying everything."""
    found = goals(choices).round(9)
    return {tuple(row) for row in found if not any((o <= row).all() and (o < row).any() for o in found)}


def narrow(choice: Choice) -> tuple[float, ...]:
    """At most 0 where the widths sum to at most 1.25."""
    return (sum(choice.widths) - 1.25,)


def test_nsga2_finds_the_front_of_a_small_space() -> None:
    found = evolved(SMALL.space, goals, lambda choice: (), population=40, generations=12, seed=0)
    assert {tuple(row) for row in goals(found).round(9)} == best_of(EVERY)
    assert len(found) == len(set(found)) > 4
    again = evolved(SMALL.space, goals, lambda choice: (), population=40, generations=12, seed=0)
    assert found == again


def test_nsga2_keeps_limits_and_leaves_the_global_generator_and_stdout_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    found = evolved(SMALL.space, goals, narrow, population=40, generations=12, seed=0)
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert str(before) == str(after)
    assert capsys.readouterr() == ("", "")
    allowed = [choice for choice in EVERY if narrow(choice)[0] <= 0]
    assert {tuple(row) for row in goals(found).round(9)} == best_of(allowed)
    assert evolved(SMALL.space, goals, lambda choice: (1.0,), population=8, generations=3, seed=0) == []


def test_without_pymoo_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "pymoo":
            raise ImportError(name)
        return real(name, *rest, **more)

    for name in [name for name in sys.modules if name.split(".")[0] == "pymoo"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r'^search: needs pymoo.*pip install "carom\[search\]"$'):
        Search(samples=20)(SIZES, lambda choice: pytest.fail("measured in vain"), seed=0)


def front() -> list[Candidate]:
    a, b, c = EVERY[:3]
    return [
        candidate(a, 0.9, 0.3, macs=100, parameters=10),
        candidate(b, 0.8, 0.5, macs=300, parameters=30),
        candidate(c, 0.7, 0.6, macs=200, parameters=40),
    ]


def test_the_most_robust_that_meets_all_is_picked() -> None:
    assert pick(front()).robustness == 0.6
    assert pick(meeting(front(), min_accuracy=0.75)).robustness == 0.5
    assert pick(meeting(front(), max_macs=150)).robustness == 0.3
    assert pick(meeting(front(), max_parameters=30)).robustness == 0.5
    (only,) = meeting(front(), max_macs=300, max_parameters=40, min_accuracy=0.9, min_robustness=0.3)
    assert only.accuracy == 0.9
    first, second = front()[:2]
    assert pick([first, replace(second, accuracy=0.95, robustness=0.3)]).accuracy == 0.95


def test_where_none_does_the_nearest_is_named() -> None:
    with pytest.raises(InputError) as caught:
        meeting(front(), min_accuracy=0.75, min_robustness=0.55)
    assert f"none of 3 students meets all constraints; the nearest, {str(EVERY[2])!r}, has" in str(caught.value)
    assert "accuracy 0.700, wanted 0.750" in str(caught.value)
    with pytest.raises(InputError, match="100 MACs, allowed 90"):
        meeting(front(), max_macs=90)
    with pytest.raises(InputError, match="no candidates"):
        meeting([])


def test_the_front_is_what_no_other_beats() -> None:
    a, b, c = front()
    beaten = candidate(EVERY[3], 0.8, 0.4, macs=50, parameters=1)
    assert unbeaten([a, beaten, b, c]) == [c, b, a]
    assert unbeaten([a, beaten, b, c], by_macs=True) == [c, b, beaten, a]
    assert unbeaten([a, a]) == [a]
    assert unbeaten([]) == []


def elastic_ground() -> Ground:
    made = ground("elastic-resnet", n=48)
    return replace(made, architecture=SMALL)


def test_a_measured_sub_network_is_taken_out_and_recalibrated() -> None:
    place = elastic_ground()
    given = weights(create(SMALL, shape=(1, 8, 8), classes=3, seed=0))
    measure = Measure(place, given, Budget(norm="linf", eps=Fraction(16, 255)), steps=3)
    choice = SMALL.space.smallest
    clean, robust = measure(choice)
    own = taken_out(place, given, choice)
    recalibrate(own, place.train, seed=place.seed)
    x, y = place.validation.images.float() / 255, place.validation.labels
    right = own(x).argmax(1) == y
    assert clean == pytest.approx(float(torch.stack([right[y == k].float().mean() for k in range(3)]).mean()))
    assert robust <= clean
    assert measure(choice) == (clean, robust)
    # each time 48 recalibration images, and 48 validation images clean, attacked in 3 steps, and attacked
    assert (measure.passes.forward, measure.passes.backward) == (2 * (48 + 48 * 5), 2 * 48 * 3)


def test_the_stage_makes_the_plain_network_that_it_picked() -> None:
    place = elastic_ground()
    given = weights(create(SMALL, shape=(1, 8, 8), classes=3, seed=0))
    search = build(Search, {"samples": 10, "measured": 2, "population": 6, "generations": 2, "steps": 1}, where="d")
    assert isinstance(search, Stage)
    told: list[tuple[Any, ...]] = []
    built = search.build(replace(place, progress=lambda *args: told.append(args)), [given], ())
    assert [args[:2] for args in told] == [(i + 1, 12) for i in range(len(told))]
    assert len(told) >= 10
    (made,) = built.members
    record: dict[str, Any] = dict(built.record)
    student = search.architecture(SMALL, made)
    choice = SMALL.space.parse(record["choice"])
    assert student == SMALL.of(choice)
    own = replace(place, architecture=student).classifier(made)
    fresh = taken_out(place, given, choice)
    recalibrate(fresh, place.train, seed=place.seed)
    x = place.validation.images.float() / 255
    torch.testing.assert_close(own(x), fresh(x))
    assert record["macs"] == SIZES.macs(choice)
    assert str(choice) in record["front"]
    assert record["robust accuracy"] == max(record["front robust accuracy"])
    assert len(record["predictor tau"]) == 2
    assert built.passes.backward > 0
    with pytest.raises(InputError, match="meets all constraints"):
        replace(search, min_robustness=1.0).build(place, [given], ())
    with pytest.raises(InputError, match="needs a network of sub-networks"):
        search.build(ground(), [given], ())
    with pytest.raises(InputError, match="has no sub-networks"):
        search.architecture(architecture("resnet-small"), made)


def test_settings_are_checked() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"samples": 9}, "samples must be in"),
        ({"eps": Fraction(0)}, "eps is 0"),
        ({"layers": 9}, "layers must be in"),
        ({"population": 2}, "population must be in"),
        ({"min_accuracy": 80.0}, "min_accuracy must be in"),
    ]
    for changes, words in wrong:
        with pytest.raises(InputError, match=words):
            Search(**changes)
    assert build(Search, {"min_accuracy": 1}, where="defense") == Search(min_accuracy=1.0)


def test_every_sub_network_counts_once() -> None:
    assert len(EVERY) == 108
    assert all(isinstance(choice, Choice) for choice in EVERY)
