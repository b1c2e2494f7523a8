"""Member rules: identities, the formulas written out, cost, and known traps."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carom.attacks import (
    CWA,
    DI,
    SVRE,
    TI,
    CrossEntropy,
    Gradients,
    Iterative,
    Momentum,
    Passes,
    Uniform,
    craft,
    parse_attack,
)
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Attack

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")
PIXELS = 3 * 8 * 7

every_budget = pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)
both_rules = pytest.mark.parametrize("name", ["svre", "cwa"])


@pytest.fixture
def three(network: Any, source_of: Any) -> Any:
    """Three networks, in float64."""
    return source_of([network(seed, dtype=torch.float64) for seed in range(3)])


def run(attack: Attack, source: Any, batch: Any, budget: Budget = LINF, seed: int = 1) -> Tensor:
    return attack(Gradients(source, batch.pixels.double() / 255, batch.y), budget, Draws(seed, batch.ids))


class Recorded:
    """A source that notes which network was read where, and for which step and copy members were asked."""

    combination = "logits"

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks
        self.read: list[tuple[int, Tensor]] = []
        self.asked: set[tuple[int, int]] = set()

    def members(self, step: int, copy: int) -> list[Any]:
        self.asked.add((step, copy))

        def of(index: int) -> Any:
            def watch(x: Tensor) -> Tensor:
                self.read.append((index, x.detach()))
                return self.networks[index](x)  # type: ignore[no-any-return]

            return watch

        return [of(index) for index in range(len(self.networks))]


# The formulas, written out


class Written:
    """A momentum loop in plain tensors over networks whose logits are averaged; `smooth` acts on what is read."""

    def __init__(
        self, nets: Sequence[nn.Module], batch: Any, budget: Budget, smooth: Any = lambda g: g, *, outside: bool = True
    ) -> None:
        self.smooth, self.outside = smooth, outside
        self.nets, self.y, self.budget = nets, batch.y, budget
        self.x, self.eps = batch.pixels.double() / 255, float(budget.eps)
        self.step = 0
        self.inner: Tensor | None = None

    def gradient(self, at: Tensor, *members: int, times: int = 1) -> Tensor:
        leaf = at.clone().requires_grad_()
        logits = times * torch.stack([self.nets[k](leaf) for k in members or range(len(self.nets))]).mean(0)
        smoothed: Tensor = self.smooth(torch.autograd.grad(F.cross_entropy(logits, self.y, reduction="sum"), leaf)[0])
        return smoothed

    @staticmethod
    def one(g: Tensor) -> Tensor:
        return g / g.abs().mean((1, 2, 3), keepdim=True)

    def __call__(self, direction: Any, size: float) -> Any:
        self.size = size * self.eps
        x_adv, m = self.x, torch.zeros_like(self.x)
        for self.step in range(3):
            m = m + self.one(direction(self, x_adv))
            x_adv = self.budget.project(x_adv + self.size * self.budget.steepest(m), self.x)
        return x_adv


def svre(w: Written, x_adv: Tensor) -> Tensor:
    """As the paper has it: both gradients of the drawn member read anew at every update."""
    whole, inner, momentum = w.gradient(x_adv), x_adv, torch.zeros_like(x_adv)
    members = len(w.nets)
    for m in range(4 * members):
        k = int(Draws(1, torch.zeros(1).long()).integers("svre member", members, step=w.step, copy=m))
        reduced = w.gradient(inner, k) - (w.gradient(x_adv, k) - whole)
        momentum = momentum + w.one(reduced)
        inner = w.budget.project(inner + w.size * w.budget.steepest(momentum), w.x)
    answer: Tensor = w.smooth(momentum) if w.outside else momentum
    return answer


def cwa(w: Written, x_adv: Tensor) -> Tensor:
    per_length = w.eps * (1 if w.budget.norm == "l2" else PIXELS**0.5)
    """The step back reads cross-entropy of the added logits."""
    down = w.budget.steepest(w.gradient(x_adv, times=len(w.nets)))
    point = w.budget.project(x_adv - w.eps / 15 * down, w.x)
    for k in range(len(w.nets)):
        g = w.gradient(point, k)
        g = g / g.square().sum((1, 2, 3), keepdim=True).sqrt()
        w.inner = g if w.inner is None else w.inner + g
        point = w.budget.project(point + 10 * per_length * w.inner, w.x)
    return point - x_adv


@every_budget
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(("formula", "name", "size"), [(svre, "svre", 1 / 3), (cwa, "cwa", 1 / 5)], ids=["svre", "cwa"])
def test_a_member_rule_is_its_formula(
    formula: Any, name: str, size: float, members: int, budget: Budget, three: Any, source_of: Any, batch: Any
) -> None:
    nets = three.networks[:members]
    attack = parse_attack({"name": name, "steps": 3})
    expected = Written(nets, batch, budget)(formula, size)
    torch.testing.assert_close(run(attack, source_of(nets), batch, budget), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("formula", "name", "size"), [(svre, "svre", 1 / 3), (cwa, "cwa", 1 / 5)], ids=["svre", "cwa"])
def test_ti_smooths_each_gradient_that_a_member_rule_reads(
    formula: Any, name: str, size: float, three: Any, batch: Any
) -> None:
    """SVRE's authors smooth where its walk led as well; the way of CWA is not smoothed."""
    attack = parse_attack({"name": f"{name}+ti", "steps": 3})
    expected = Written(three.networks, batch, LINF, TI().gradient)(formula, size)
    torch.testing.assert_close(run(attack, three, batch), expected, rtol=0, atol=1e-9)


def test_svre_can_leave_its_answer_as_it_is(three: Any, batch: Any) -> None:
    attack = parse_attack({"name": "svre+ti", "steps": 3, "svre": {"smooth_answer": False}})
    expected = Written(three.networks, batch, LINF, TI().gradient, outside=False)(svre, 1 / 3)
    torch.testing.assert_close(run(attack, three, batch), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("combination", ["logits", "probabilities", "loss"])
def test_cwa_steps_back_by_added_logits_or_as_the_surrogate_combines_them(
    combination: Any, three: Any, source_of: Any, batch: Any
) -> None:
    """With a single step of nothing but the step back: its sign is that of the loss that was read."""
    x = 0.3 + 0.4 * batch.pixels.double() / 255
    source = source_of(three.networks, combination)
    moved = {}
    for summed in (True, False):
        seen: list[Tensor] = []
        members = [Spy(net, seen) for net in three.networks]
        attack = Iterative(members=CWA(summed=summed), steps=1)
        attack(Gradients(source_of(members, combination), x, batch.y), LINF, Draws(1, batch.ids))
        moved[summed] = (seen[len(members)] - x).sign()
    leaf = x.clone().requires_grad_()
    added = torch.stack([net(leaf) for net in source.networks]).sum(0)
    (gradient,) = torch.autograd.grad(F.cross_entropy(added, batch.y, reduction="sum"), leaf)
    assert torch.equal(moved[True], -gradient.sign())
    combined = Gradients(source, x, batch.y).at(x, CrossEntropy())
    assert torch.equal(moved[False], -combined.sign())
    assert not torch.equal(moved[True], moved[False])


class Spy(nn.Module):
    """A network that notes what it is asked about."""

    def __init__(self, net: nn.Module, seen: list[Tensor]) -> None:
        super().__init__()
        self.net, self.seen = net, seen

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        logits: Tensor = self.net(x)
        return logits


# One member


@every_budget
def test_svre_of_one_member_and_one_update_is_mi(budget: Budget, source64: Any, batch: Any) -> None:
    one = run(parse_attack({"name": "svre", "svre": {"updates": 1}}), source64, batch, budget)
    torch.testing.assert_close(one, run(parse_attack("mi"), source64, batch, budget), rtol=0, atol=1e-12)
    more = run(parse_attack("svre"), source64, batch, budget)
    assert not torch.allclose(more, one, atol=1e-4)


@every_budget
def test_cwa_of_one_member_without_step_back_is_mi_while_nothing_is_clipped(
    budget: Budget, source64: Any, batch: Any
) -> None:
    """Its way is then along the gradient itself."""
    x = 0.3 + 0.4 * batch.pixels.double() / 255
    alone = CWA(reverse=Fraction(0), inner=1e-6, decay=0.0)
    images = [
        attack(Gradients(source64, x, batch.y), budget, Draws(1, batch.ids))
        for attack in (
            Iterative(momentum=Momentum(), members=alone, steps=3, step=Fraction(1, 4)),
            Iterative(momentum=Momentum(), steps=3, step=Fraction(1, 4)),
        )
    ]
    torch.testing.assert_close(*images, rtol=0, atol=1e-6 if budget.norm == "l2" else 1e-12)


# Cost


@pytest.mark.parametrize("name", ["svre", "cwa", "svre+di", "cwa+si", "svre+ni", "cwa+emi"])
@pytest.mark.parametrize("members", [1, 3])
def test_passes_counted_are_passes_declared(name: str, members: int, network: Any, source_of: Any, batch: Any) -> None:
    attack = parse_attack({"name": name, "steps": 2})
    source = source_of([network(seed) for seed in range(members)])
    (crafted,) = craft([(attack, LINF)], source, batch.pixels, batch.y, seed=1, ids=batch.ids)
    each = attack.passes(members)
    assert crafted.passes == Passes(each.forward * 5, each.backward * 5)


def test_what_a_reading_costs() -> None:
    """SVRE: all members together, each alone, and the updates after the first."""
    assert [SVRE().passes(k) for k in (1, 3, 4)] == [4, 17, 23]
    assert [CWA().passes(k) for k in (1, 3)] == [2, 6]
    assert parse_attack("svre+di+si").passes(4) == Passes(23 * 50, 23 * 50)


# Traps


@both_rules
@every_budget
def test_traps_1_and_5_an_image_does_not_depend_on_its_batch(name: str, budget: Budget, three: Any, batch: Any) -> None:
    """The authors' code of CWA divides its way by its size over the whole batch."""
    attack = parse_attack({"name": f"{name}+di", "steps": 3})
    x = batch.pixels.double() / 255
    whole = run(attack, three, batch, budget)
    alone = attack(Gradients(three, x[3:4], batch.y[3:4]), budget, Draws(1, batch.ids[3:4]))
    torch.testing.assert_close(whole[3:4], alone, rtol=0, atol=1e-9)


def test_trap_8_the_members_drawn_by_svre_are_the_same_for_all_images(three: Any, batch: Any) -> None:
    x = batch.pixels.double() / 255

    def drawn(rows: list[int], seed: int = 1) -> list[int]:
        source = Recorded(three.networks)
        parse_attack({"name": "svre", "steps": 2})(
            Gradients(source, x[rows], batch.y[rows]),  # type: ignore[arg-type]
            LINF,
            Draws(seed, batch.ids[rows]),
        )
        return [index for index, _ in source.read]

    assert drawn([0, 1, 2, 3, 4]) == drawn([4, 2]) == drawn([3])
    assert drawn([3]) != drawn([3], seed=2)
    first, second = drawn([3])[:17], drawn([3])[17:]
    assert first[:6] == second[:6] == [0, 1, 2, 0, 1, 2]
    assert first != second


def test_svre_draws_members_uniformly() -> None:
    of_all = Draws(7, torch.arange(5)).shared(torch.device("cpu"))
    counts = Counter(
        int(of_all.integers("svre member", 3, step=step, copy=update)) for step in range(300) for update in range(1, 12)
    )
    assert all(abs(counts[k] - 1100) < 4 * (3300 * 2 / 9) ** 0.5 for k in range(3))


def test_svre_draws_transformations_anew_at_every_update_but_reads_the_classifiers_of_its_reading(
    three: Any, batch: Any
) -> None:
    flat = torch.full((2, 3, 16, 16), 0.5, dtype=torch.float64)  # where the black frame lies tells the draw
    source = Recorded(three.networks)
    attack = Iterative(members=SVRE(), momentum=Momentum(), transformations=(DI(probability=1.0, rate=0.3),), steps=1)
    attack(Gradients(source, flat, torch.zeros(2).long()), LINF, Draws(1, torch.arange(2)))  # type: ignore[arg-type]
    frames = [(x[:, 0] > 0.1).flatten() for _, x in source.read]
    assert all(torch.equal(frames[0], frame) for frame in frames[1:6])  # all together, and each where the walk starts
    walk = [tuple(frame.tolist()) for frame in frames[5:]]
    assert len(set(walk)) == len(walk) == 12
    assert source.asked == {(0, 0)}


@both_rules
@every_budget
def test_trap_27_targeted_attacks_aim_at_every_member(name: str, budget: Budget, three: Any, batch: Any) -> None:
    wide = Budget(norm=budget.norm, eps=budget.eps * 4)
    x = batch.pixels.double() / 255
    aimed = parse_attack(name)(Gradients(three, x, batch.y, batch.target), wide, Draws(1, batch.ids))

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return torch.stack([F.cross_entropy(net(images), labels, reduction="none") for net in three.networks])

    assert bool((loss(aimed, batch.target) < loss(x, batch.target)).all())
    hit = torch.stack([net(aimed) for net in three.networks]).mean(0).argmax(1) == batch.target
    assert int(hit.sum()) >= 4


@both_rules
@every_budget
def test_trap_4_a_flat_ensemble_moves_nothing(name: str, budget: Budget, source_of: Any, batch: Any) -> None:
    """From a random start too, where rounding in the projection must not pass for a direction."""
    nets = []
    for _ in range(2):
        last = nn.Linear(PIXELS, 6).double().requires_grad_(False)
        last.weight.zero_()
        nets.append(nn.Sequential(nn.Flatten(), last))
    x = batch.pixels.double() / 255
    attack = Iterative(start=Uniform(), members=SVRE() if name == "svre" else CWA(), momentum=Momentum(), steps=3)
    moved = attack(Gradients(source_of(nets), x, batch.y), budget, Draws(1, batch.ids))
    start = Uniform()(x, budget, Draws(1, batch.ids))
    torch.testing.assert_close(moved, start, rtol=0, atol=1e-14)


# Composition and settings


def test_member_rules_stand_in_sums() -> None:
    assert parse_attack("svre") == parse_attack("mi+svre") == Iterative(momentum=Momentum(), members=SVRE())
    slower = parse_attack({"name": "svre+di", "svre": {"decay": 0.5, "updates": 2}})
    assert isinstance(slower, Iterative)
    assert slower.members == SVRE(decay=0.5, updates=2)
    assert slower.momentum == Momentum(decay=0.5)  # as in the paper, one decay for both momenta
    with pytest.raises(InputError, match="both set members"):
        parse_attack("svre+cwa")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SVRE(updates=0),
        lambda: SVRE(decay=-1.0),
        lambda: SVRE(inner=0.0),
        lambda: CWA(reverse=Fraction(-1)),
        lambda: CWA(inner=float("inf")),
        lambda: CWA(decay=float("nan")),
    ],
)
def test_impossible_settings_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError):
        wrong()
