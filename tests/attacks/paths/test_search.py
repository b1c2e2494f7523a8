"""The search for a backpropagation path, on a network whose best path is known."""

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from carom.attacks.paths import PAS, Searched, knobs, search
from carom.budget import Budget
from carom.errors import InputError, ModelError
from carom.protocols import Passes

BUDGET = Budget.parse("l2", "1")
SHAPE = (3, 8, 8)


class Planted(nn.Module):
    """Two residual branches over one skip: the first points where the judge looks, the second away from there."""

    def __init__(self) -> None:
        super().__init__()
        self.good, self.bad = nn.Linear(192, 192, bias=False), nn.Linear(192, 192, bias=False)
        self.head = nn.Linear(192, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        x = x + self.good(x)
        x = x + self.bad(x)
        logits: Tensor = self.head(x)
        return logits


def judge_of(direction: Tensor) -> nn.Module:
    head = nn.Linear(192, 2)
    head.weight.detach().copy_(torch.stack([-direction, direction]) * 4)
    head.bias.detach().zero_()
    return nn.Sequential(nn.Flatten(), head).requires_grad_(False)


@pytest.fixture(scope="module")
def task() -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """A network, a judge, images, labels.

    The judge's loss rises along u. The head reads v; `good` turns v into u, `bad` turns it into -2 u: the gradient is
    nearly v + (c_good - 2 c_bad) u, so that 1 and 0 are best, and the plain gradient points the wrong way.
    """
    generator = torch.Generator().manual_seed(0)
    u, v = (torch.randn(192, generator=generator).sign() for _ in range(2))
    net = Planted().requires_grad_(False)
    net.good.weight.copy_(torch.outer(v, u) / 192)
    net.bad.weight.copy_(-2 * torch.outer(v, u) / 192)
    net.head.weight.copy_(torch.stack([-v, v]) * 0.01)
    net.head.bias.zero_()
    x = torch.rand(6, *SHAPE, generator=generator) * 0.8 + 0.1
    return net, judge_of(u), x, torch.zeros(6, dtype=torch.int64)


def found(task: Any, evaluations: int, method: Any = "bayesian", **options: Any) -> Searched:
    net, judge, x, y = task
    pas = PAS(evaluations=evaluations)
    return search(net, options.pop("judges", [judge]), x, y, BUDGET, pas=pas, method=method, **options)


def test_the_search_finds_the_planted_path(task: Any) -> None:
    assert knobs(task[0], SHAPE) == ["branch:good", "branch:bad"]
    searched = found(task, 11)
    assert len(searched.trail) == 11
    good, bad = searched.path.coefficients
    assert good > 0.85
    assert bad < 0.15
    plain = searched.trail[0]
    assert plain.coefficients == (1.0, 1.0)
    assert searched.score > plain.score + 0.1
    assert searched.score > found(task, 7).score  # more than the points that it began with


def test_the_search_is_never_worse_than_its_beginning_and_tells_its_trail(task: Any) -> None:
    calls: list[tuple[int, int]] = []
    searched = found(task, 9, progress=lambda done, of: calls.append((done, of)))
    assert calls == [(i, 9) for i in range(1, 10)]
    assert searched.score == max(trial.score for trial in searched.trail)
    assert searched.path.coefficients in [trial.coefficients for trial in searched.trail]
    assert searched.trail[1].coefficients == (0.6, 0.6)  # SGM, for a network of linear layers
    assert searched.passes == Passes(6 * (9 + 10), 6 * 9)
    assert searched.path(task[0], SHAPE)(task[2]).equal(task[0](task[2]))


@pytest.mark.parametrize("method", ["bayesian", "random"])
def test_one_seed_one_search(task: Any, method: str) -> None:
    one, two, other = (found(task, 8, method, seed=seed) for seed in (3, 3, 4))
    assert one == two
    assert one.trail != other.trail
    state = torch.random.get_rng_state()
    found(task, 8, method)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_both_methods_begin_alike_and_differ_after(task: Any) -> None:
    bayesian, random = found(task, 9), found(task, 9, "random")
    assert bayesian.trail[:6] == random.trail[:6]
    assert bayesian.trail[6:] != random.trail[6:]


def test_a_constant_score_is_survived(task: Any) -> None:
    blind = judge_of(torch.zeros(192))
    searched = found(task, 8, judges=[blind])
    assert {trial.score for trial in searched.trail} == {0.0}
    assert len({trial.coefficients for trial in searched.trail}) == 8
    assert searched.path.coefficients == (1.0, 1.0)  # the plain gradient is the first of equals


class Moody(nn.Module):
    """A judge that answers NaN to some of its questions."""

    def __init__(self, judge: nn.Module, answers: Callable[[int], bool]) -> None:
        super().__init__()
        self.judge, self.answers, self.asked = judge, answers, -1

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        logits: Tensor = self.judge(x)
        return logits if self.answers(self.asked) else logits * math.nan


def test_scores_that_are_not_finite_are_never_the_best(task: Any) -> None:
    searched = found(task, 9, judges=[Moody(task[1], lambda asked: asked % 3 != 1)])
    missing = [i for i, trial in enumerate(searched.trail) if math.isnan(trial.score)]
    assert missing == [0, 3, 6]
    assert math.isfinite(searched.score)
    with pytest.raises(ModelError, match="no path has a finite score"):
        found(task, 7, judges=[Moody(task[1], lambda asked: asked == 0)])


def test_without_botorch_the_error_says_what_to_install(task: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "botorch", None)
    with pytest.raises(InputError, match=r"pip install carom\[search\]"):
        found(task, 2)
    assert len(found(task, 2, "random").trail) == 2


def test_a_search_needs_judges_and_images(task: Any) -> None:
    net, judge, x, y = task
    with pytest.raises(InputError, match="needs judges and images, got 0 judges and 6 images"):
        search(net, [], x, y, BUDGET)
    with pytest.raises(InputError, match="got 1 judges and 0 images"):
        search(net, [judge], x[:0], y[:0], BUDGET)


def test_many_places_are_searched_in_time() -> None:
    """A network of a hundred places: what costs is the crafting, not the choice."""
    layers = [nn.Flatten(), *(layer for _ in range(100) for layer in (nn.Linear(12, 12), nn.ReLU())), nn.Linear(12, 3)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in layers[1::2]:
            nn.init.eye_(layer.weight)  # type: ignore[arg-type]
    net = nn.Sequential(*layers).requires_grad_(False)
    x = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    y = torch.zeros(4, dtype=torch.int64)
    assert len(knobs(net, (3, 2, 2))) == 100
    searched = search(net, [net], x, y, BUDGET, pas=PAS(evaluations=9))
    assert len(searched.trail) == 9
    assert len(searched.path.coefficients) == 100
