"""Gradient rules: identities, the formulas written out, torchattacks, and known traps."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
import torchattacks as untyped
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from carom.attacks import (
    EMI,
    GRA,
    PGN,
    TI,
    VMI,
    VNI,
    DecayIndicator,
    Gradients,
    Iterative,
    Momentum,
    RandomStep,
    Uniform,
    parse_attack,
)
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Attack

torchattacks: Any = untyped
LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")
PIXELS = 3 * 8 * 7

every_budget = pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)


def run(attack: Attack, source: Any, batch: Any, budget: Budget = LINF, seed: int = 1) -> Tensor:
    x = batch.pixels.to(next(source.networks[0].parameters()).dtype) / 255
    return attack(Gradients(source, x, batch.y), budget, Draws(seed, batch.ids))


def short(name: str, **own: Any) -> Attack:
    """In four steps, with fields of its first part."""
    return parse_attack({"name": name, "steps": 4, name.split("+")[0]: own})


def watched(net: nn.Module) -> tuple[Any, list[Tensor]]:
    """A source of one network, and where it is read."""
    seen: list[Tensor] = []

    class Watched:
        combination = "logits"

        def members(self, step: int, copy: int) -> list[Any]:
            def watch(x: Tensor) -> Tensor:
                seen.append(x.detach())
                return net(x)  # type: ignore[no-any-return]

            return [watch]

    return Watched(), seen


# Without neighbourhood


@pytest.mark.thorough
@pytest.mark.parametrize("budget", [LINF, pytest.param(L2, marks=pytest.mark.thorough)], ids=lambda b: b.norm)
@pytest.mark.parametrize(
    ("rule", "without"),
    [
        (short("vmi", radius=0.0), short("mi")),
        (short("vni", radius=0.0), short("ni")),
        (short("emi", radius=0.0), short("mi")),
        (short("gra", radius=0.0, rate=1.0), short("mi")),
        (short("gra", radius=0.0), Iterative(momentum=Momentum(), step_rule=DecayIndicator(), steps=4)),
        (short("pgn", neighbours=1, radius=0.0, balance=0.0), short("mi")),
    ],
    ids=["vmi", "vni", "emi", "gra, rate 1", "gra", "pgn"],
)
def test_without_neighbourhood_a_rule_is_the_loop_it_builds_on(
    rule: Any, without: Attack, budget: Budget, source: Any, batch: Any
) -> None:
    assert torch.equal(run(rule, source, batch, budget), run(without, source, batch, budget))
    usual = type(rule.rule)()
    wider = Iterative(momentum=Momentum(), rule=usual, step_rule=rule.step_rule, steps=4)
    assert not torch.equal(run(wider, source, batch, budget), run(without, source, batch, budget))


# The formulas, written out


class Written:
    """A momentum loop in plain tensors; `direction` is one rule's formula; `smooth` acts on each gradient read."""

    def __init__(self, net: nn.Module, batch: Any, budget: Budget, smooth: Any = lambda g: g) -> None:
        self.smooth = smooth
        self.net, self.y, self.budget = net, batch.y, budget
        self.x = batch.pixels.double() / 255
        self.draws, self.eps = Draws(1, batch.ids), float(budget.eps)
        self.size, self.unit = self.eps / 4, 1.0 if budget.norm == "linf" else PIXELS**-0.5
        self.step = 0
        self.kept: Tensor | float = 0.0

    def gradient(self, at: Tensor) -> Tensor:
        leaf = at.clone().requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(self.net(leaf), self.y, reduction="sum"), leaf)
        smoothed: Tensor = self.smooth(g)
        return smoothed

    def near(self, at: Tensor, radius: float, index: int) -> Tensor:
        step, shape = self.step, (3, 8, 7)
        if self.budget.norm == "linf":
            return at + radius * self.eps * (
                2 * self.draws.uniform("neighbour", shape, step=step, copy=index).double() - 1
            )
        n = self.draws.normal("neighbour", shape, step=step, copy=index).double()
        r = self.draws.uniform("neighbour radius", step=step, copy=index).double() ** (1 / PIXELS)
        return at + radius * self.eps * (r / n.square().sum((1, 2, 3)).sqrt())[:, None, None, None] * n

    @staticmethod
    def one(g: Tensor) -> Tensor:
        return g / g.abs().mean((1, 2, 3), keepdim=True)

    def __call__(self, direction: Callable[["Written", Tensor, Tensor], Tensor]) -> Any:
        x_adv, m = self.x, torch.zeros_like(self.x)
        for self.step in range(4):
            g = direction(self, x_adv, m)
            m = m + self.one(g)
            x_adv = self.budget.project(x_adv + self.size * self.budget.steepest(m), self.x)
        return x_adv


def vmi(w: Written, x_adv: Tensor, m: Tensor) -> Tensor:
    g = w.gradient(x_adv)
    tuned = g + w.kept
    w.kept = torch.stack([w.gradient(w.near(x_adv, 1.5, k)) for k in range(3)]).mean(0) - g
    return tuned


def vni(w: Written, x_adv: Tensor, m: Tensor) -> Tensor:
    return vmi(w, x_adv + w.size * w.unit * m, m)


def emi(w: Written, x_adv: Tensor, m: Tensor) -> Tensor:
    along = torch.zeros_like(x_adv) if isinstance(w.kept, float) else w.one(w.kept)
    points = [x_adv + c * w.size * w.unit * along for c in (-7, -3.5, 0, 3.5, 7)]
    mean = w.kept = torch.stack([w.gradient(point) for point in points]).mean(0)
    return mean


def pgn(w: Written, x_adv: Tensor, m: Tensor) -> Tensor:
    total = torch.zeros_like(x_adv)
    for k in range(3):
        near = w.near(x_adv, 3.0, k)
        g = w.gradient(near)
        total += 0.75 * g + 0.25 * w.gradient(near - w.size * w.unit * w.one(g))
    return total / 3


def gra(w: Written, x_adv: Tensor, m: Tensor) -> Tensor:
    g = w.gradient(x_adv)
    mean = torch.stack([w.gradient(w.near(x_adv, 3.5, k)) for k in range(3)]).mean(0)
    s = F.cosine_similarity(g.flatten(1), mean.flatten(1))[:, None, None, None]
    return s * g + (1 - s) * mean


every_formula = pytest.mark.parametrize(
    ("formula", "rule"),
    [
        (vmi, VMI(neighbours=3)),
        (vni, VNI(neighbours=3)),
        (emi, EMI(samples=5)),
        (pgn, PGN(neighbours=3, balance=0.25)),
        (gra, GRA(neighbours=3)),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)


@every_budget
@every_formula
def test_a_rule_is_its_formula(formula: Any, rule: Any, budget: Budget, source64: Any, batch: Any) -> None:
    attack = Iterative(momentum=Momentum(), rule=rule, steps=4)
    expected = Written(source64.networks[0], batch, budget)(formula)
    torch.testing.assert_close(run(attack, source64, batch, budget), expected, rtol=0, atol=1e-9)


@every_formula
def test_ti_smooths_each_gradient_that_a_rule_reads(formula: Any, rule: Any, source64: Any, batch: Any) -> None:
    """So the way along which a rule walks within a step is smooth too."""
    attack = Iterative(momentum=Momentum(), rule=rule, transformations=(TI(),), steps=4)
    expected = Written(source64.networks[0], batch, LINF, TI().gradient)(formula)
    torch.testing.assert_close(run(attack, source64, batch), expected, rtol=0, atol=1e-9)


# Traps


@every_budget
def test_trap_2_points_ahead_lie_as_far_in_the_mean_as_steps_go_in_each_pixel(
    budget: Budget, source64: Any, batch: Any
) -> None:
    """Scaled by the mean: by the sum they would lie a hundred times nearer, and the rules do nothing."""
    x = batch.pixels.double() / 255
    unit = 1.0 if budget.norm == "linf" else PIXELS**-0.5
    size = float(budget.eps) / 2

    source, seen = watched(source64.networks[0])
    parse_attack({"name": "emi", "steps": 2})(Gradients(source, x, batch.y), budget, Draws(1, batch.ids))
    first, last = seen[11], seen[21]
    apart = (last - first).abs().mean((1, 2, 3)) / 14
    torch.testing.assert_close(apart, torch.full_like(apart, size * unit))
    torch.testing.assert_close((first + last) / 2, seen[16])

    source, seen = watched(source64.networks[0])
    parse_attack({"name": "pgn", "steps": 2})(Gradients(source, x, batch.y), budget, Draws(1, batch.ids))
    for near, down in zip(seen[::2], seen[1::2], strict=True):
        apart = (down - near).abs().mean((1, 2, 3))
        torch.testing.assert_close(apart, torch.full_like(apart, size * unit))


@pytest.mark.parametrize("name", ["vmi", "vni", "emi", "pgn", "gra"])
@every_budget
def test_trap_4_an_image_without_gradient_stays_and_harms_no_other(name: str, budget: Budget, source_of: Any) -> None:
    class Cliff(nn.Module):
        """Flat below 0.9."""

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(PIXELS, 6).requires_grad_(False)
            self.last.weight.copy_(torch.linspace(-1, 1, 6 * PIXELS).reshape(6, PIXELS).cos())

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.last(F.relu(x - 0.9).flatten(1))
            return logits

    x = torch.full((3, 3, 8, 7), 0.95)
    x[1] = 0.3
    ids = torch.arange(3)
    y = torch.tensor([0, 1, 2])
    attack = parse_attack({"name": name, "steps": 3})
    small = Budget.parse(budget.norm, "2/255" if budget.norm == "linf" else "0.05")
    x_adv = attack(Gradients(source_of([Cliff()]), x, y), small, Draws(1, ids))
    assert torch.isfinite(x_adv).all()
    assert torch.equal(x_adv[1], x[1])
    assert bool((small.size(x_adv, x)[[0, 2]] > 0.4 * float(small.eps)).all())


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["rfgsm", "vmi+di", "pgn"])
def test_trap_6_random_points_belong_to_images_not_to_batches(name: str, source64: Any, batch: Any) -> None:
    x = batch.pixels.double() / 255
    attack = short(name)
    whole, seen = watched(source64.networks[0])
    attack(Gradients(whole, x, batch.y), LINF, Draws(1, batch.ids))
    alone, seen_alone = watched(source64.networks[0])
    attack(Gradients(alone, x[2:3], batch.y[2:3]), LINF, Draws(1, batch.ids[2:3]))
    for together, single in zip(seen, seen_alone, strict=True):
        torch.testing.assert_close(together[2:3], single, rtol=0, atol=1e-9)


def test_gra_steps_are_those_of_mi_with_factors(source64: Any, batch: Any) -> None:
    full = run(Iterative(momentum=Momentum(), rule=GRA(neighbours=2), steps=3), source64, batch)
    less = run(short("gra", neighbours=2), source64, batch)
    assert not torch.equal(full, less)


# torchattacks


class Conv(nn.Module):
    """For digits of 8 x 8."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
            )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


@pytest.fixture(scope="module")
def digits() -> Iterator[tuple[list[nn.Module], Tensor, Tensor]]:
    """Two networks trained on 797 digits, and the other 1,000."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(data.target)
    nets: list[nn.Module] = []
    for seed in (0, 1):
        net = Conv(seed)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            F.cross_entropy(net(images[1000:]), labels[1000:]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        nets.append(net.eval().requires_grad_(False))
    yield nets, images[:1000], labels[:1000]
    torch.set_num_threads(threads)


EPS = {"eps": 24 / 255, "steps": 5}
RANDOM: dict[str, tuple[dict[str, Any], Callable[[nn.Module], Any]]] = {
    "vmi": ({"vmi": {"neighbours": 5}}, lambda net: torchattacks.VMIFGSM(net, alpha=24 / 255 / 5, N=5, **EPS)),
    "vni": ({"vni": {"neighbours": 5}}, lambda net: torchattacks.VNIFGSM(net, alpha=24 / 255 / 5, N=5, **EPS)),
    "pgd": ({"step": "1/4"}, lambda net: torchattacks.PGD(net, alpha=6 / 255, **EPS)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", RANDOM)
def test_success_is_that_of_torchattacks(name: str, digits: Any, source_of: Any) -> None:
    """1,000 digits, two seeds: the paired difference of each image's success has 0 in its 95% interval."""
    (net, victim), x, y = digits
    settings, peer = RANDOM[name]
    budget, attack = Budget.parse("linf", "24/255"), parse_attack({"name": name, "steps": 5, **settings})
    difference = torch.zeros(2, 1000, dtype=torch.float64)
    for seed in range(2):
        ours = attack(Gradients(source_of([net]), x, y), budget, Draws(seed, torch.arange(1000)))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            theirs = peer(net)(x, y)
        for row, judge in zip(difference, (net, victim), strict=True):
            fooled = [(judge(images).argmax(1) != y).double() for images in (ours, theirs)]
            assert 0.3 < float(fooled[0].mean()) < 0.8
            row += (fooled[0] - fooled[1]) / 2
    assert bool((difference.mean(1).abs() <= 1.96 * difference.std(1) / 1000**0.5).all())


def fed(monkeypatch: pytest.MonkeyPatch, noises: Iterator[Tensor]) -> None:
    """The random numbers of torchattacks are these, in [0, 1) or normal as it asks."""

    class Fed:
        def __init__(self, values: Tensor) -> None:
            self.values = values

        def uniform_(self, low: float, high: float) -> Tensor:
            return low + (high - low) * self.values

        def sign(self) -> Tensor:
            return self.values.sign()

    monkeypatch.setattr(torch, "randn_like", lambda like: Fed(next(noises)))


@pytest.mark.parametrize(("name", "decay"), [("vmi", 1.0), ("vni", 0.0)])
def test_with_the_same_random_numbers_it_is_torchattacks(
    name: str, decay: float, digits: Any, source_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VNI where both read one point: torchattacks' neighbours do not look ahead."""
    (net, _), x, y = digits
    x, y, draws = x[:1], y[:1], Draws(0, torch.arange(1))
    attack = parse_attack({"name": name, "steps": 5, name: {"neighbours": 4, "decay": decay}})
    ours = attack(Gradients(source_of([net]), x, y), Budget.parse("linf", "24/255"), draws)
    uniform = (draws.uniform("neighbour", (1, 8, 8), step=step, copy=k) for step in range(5) for k in range(4))
    fed(monkeypatch, uniform)
    peer = {"vmi": torchattacks.VMIFGSM, "vni": torchattacks.VNIFGSM}[name]
    theirs = peer(net, eps=24 / 255, alpha=24 / 255 / 5, steps=5, N=4, beta=1.5, decay=decay)(x, y)
    assert float((ours - theirs).abs().max()) <= 1e-6


def test_one_step_of_torchattacks_rfgsm_is_rfgsm_and_its_ten_are_not(
    digits: Any, source_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (net, _), x, y = digits
    x, y, draws = x[:20], y[:20], Draws(0, torch.arange(20))
    ours = parse_attack("rfgsm")(Gradients(source_of([net]), x, y), Budget.parse("linf", "24/255"), draws)
    noise = draws.normal("start", (1, 8, 8))
    fed(monkeypatch, iter([noise, noise]))
    settings = {"eps": 24 / 255, "alpha": 12 / 255}
    assert float((ours - torchattacks.RFGSM(net, steps=1, **settings)(x, y)).abs().max()) <= 1e-6
    assert float((ours - torchattacks.RFGSM(net, **settings)(x, y)).abs().max()) > 0.01


# Settings


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: VMI(neighbours=0),
        lambda: VMI(radius=-0.1),
        lambda: VNI(radius=float("nan")),
        lambda: GRA(radius=float("inf")),
        lambda: PGN(neighbours=0),
        lambda: PGN(balance=1.1),
        lambda: EMI(samples=1),
        lambda: EMI(radius=-1.0),
        lambda: DecayIndicator(rate=0.0),
        lambda: DecayIndicator(rate=1.1),
        lambda: RandomStep(size=Fraction(3, 2)),
        lambda: Iterative(rule=VNI()),
    ],
)
def test_impossible_settings_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        wrong()


def test_rules_stand_in_sums() -> None:
    for name, reads in {"vmi": 21, "vni": 21, "emi": 11, "pgn": 40, "gra": 21}.items():
        attack = parse_attack(f"{name}+di+si")
        assert isinstance(attack, Iterative)
        assert attack.passes(2).forward == 10 * reads * 5 * 2
        assert parse_attack(f"mi+{name}+di+si") == attack
    assert parse_attack("rfgsm") == Iterative(start=RandomStep(), steps=1, step=Fraction(1, 2))
    with pytest.raises(InputError, match="both set rule"):
        parse_attack("vmi+ni")
    with pytest.raises(InputError, match="both set start"):
        parse_attack("rfgsm+pgd")
    assert parse_attack("vmi+pgd") == Iterative(
        start=Uniform(), momentum=Momentum(), rule=VMI(), steps=10, step=Fraction(1, 4)
    )
