"""The attacks that raise what is found at a feature point."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carom.attacks import (
    BFA,
    FIA,
    ILA,
    NAA,
    CrossEntropy,
    Gradients,
    Iterative,
    Momentum,
    Passes,
    Snapshot,
    craft,
    parse_attack,
)
from carom.attacks.objectives.features import Attribution, Projection
from carom.attacks.slots import Accumulation, FeatureLoss, Fitted, Guide
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError, ModelError
from carom.protocols import Classifier, Combination
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")
NAMES = ["ila", "fia", "naa", "bfa"]
FEW: dict[str, dict[str, int]] = {"ila": {}, "fia": {"samples": 3}, "naa": {"samples": 3}, "bfa": {"samples": 3}}

every_attack = pytest.mark.parametrize("name", NAMES)
every_budget = pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)


def attack_of(name: str, steps: int = 3, **fields: Any) -> Iterative:
    attack = parse_attack({"name": name, "steps": steps, name: {**FEW[name], **fields}})
    assert isinstance(attack, Iterative)
    return attack


def led_by(loop: Iterative, gradients: Gradients, draws: Draws) -> Guide:
    """This loop for a guide."""

    def guide(momentum: Accumulation | None = None) -> Tensor:
        assert momentum is None
        return loop(gradients, LINF, draws)

    return guide


def unled(momentum: Accumulation | None = None) -> Tensor:
    """The guide of what asks for none."""
    raise AssertionError("asked for a guide")


def run(attack: Iterative, source: Any, batch: Any, *, targeted: bool = False, budget: Budget = LINF) -> Tensor:
    x = batch.pixels.double() / 255
    return attack(Gradients(source, x, batch.y, batch.target if targeted else None), budget, Draws(1, batch.ids))


# --- feature points -------------------------------------------------------------------------------------------------


def test_a_tap_sees_what_its_module_answers_though_the_next_one_works_in_place() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3)
    network = nn.Sequential(conv, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 6 * 5, 3)).requires_grad_(False)
    x = torch.rand(2, 3, 8, 7)
    gradients = Gradients(_Source([network]), x, torch.tensor([0, 1]))
    seen = gradients.features(x, "0", network)
    assert torch.equal(seen, conv(x))
    assert bool((seen < 0).any())
    weights = gradients.feature_gradient(x, "0", network, CrossEntropy())
    assert not weights[seen < 0].any()  # the gradient in front of the rectifier, which lets none of these through
    assert bool(weights[seen > 0].any())


class _Aside(nn.Module):
    """A network with a part that it does not run, and one that answers a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(2, 2)
        self.pair = _Pair()
        self.head = nn.Linear(168, 6)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pair(x.flatten(1))[0])
        return logits


class _Pair(nn.Linear):
    def __init__(self) -> None:
        super().__init__(168, 168)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), x


@every_attack
def test_wrong_points_are_said_in_one_line(name: str, source64: Any, batch: Any) -> None:
    with pytest.raises(InputError, match=r"no feature point 'layer2' \(it has: stem, stage1, stage2, and"):
        run(attack_of(name, point="layer2"), source64, batch)
    aside = _Source([_Aside().double().requires_grad_(False)])
    with pytest.raises(InputError, match="does not run its module 'idle'"):
        run(attack_of(name, point="idle"), aside, batch)
    with pytest.raises(InputError, match="'pair' answers a tuple, not a tensor"):
        run(attack_of(name, point="pair"), aside, batch)
    with pytest.raises(InputError, match=f"{name}: point is empty"):
        attack_of(name, point="")
    with pytest.raises(ModelError, match="is no torch module"):
        run(attack_of(name), _Source([lambda x: source64.networks[0](x)]), batch)


@pytest.mark.parametrize(
    ("name", "field", "value", "message"),
    [
        ("fia", "samples", 0, "samples must be at least 1, got 0"),
        ("fia", "drop", 1.0, r"drop must be in \[0, 1\), got 1"),
        ("fia", "drop", float("nan"), "drop must be in"),
        ("ila", "guide_decay", -1.0, "guide_decay must be at least 0, got -1"),
        ("naa", "samples", 0, "samples must be at least 1"),
        ("naa", "gamma", -0.5, "gamma must be at least 0 and finite, got -0.5"),
        ("bfa", "samples", -1, "samples must be at least 1"),
        ("bfa", "length", float("inf"), "length must be at least 0 and finite"),
    ],
)
def test_wrong_settings_are_said_in_one_line(name: str, field: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"{name}: {message}"):
        attack_of(name, **{field: value})


def test_fia_weighs_by_one_of_two_scores() -> None:
    with pytest.raises(InputError, match=r"attack\.fia\.score: input should be 'logit' or 'probability', got 'margin'"):
        attack_of("fia", score="margin")


# --- against slow implementations, one image at a time ----------------------------------------------------------------


class _Source:
    """Networks as a source: all, or one after the other."""

    combination: Combination = "logits"

    def __init__(self, networks: Sequence[Classifier], in_turn: bool = False) -> None:
        self.networks, self.in_turn = networks, in_turn

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        return [self.networks[step % len(self.networks)]] if self.in_turn else self.networks


class Slow:
    """One image on the network of the fixtures cut in two behind `stage1`; losses are lowered for y, raised for t."""

    def __init__(self, network: nn.Module, x: Tensor, label: int, sign: int, budget: Budget, draws: Draws) -> None:
        parts = dict(network.named_children())
        self.lower = nn.Sequential(parts["stem"], parts["stage1"])
        self.upper = nn.Sequential(parts["stage2"], parts["pool"], parts["flatten"], parts["head"])
        self.x, self.label, self.sign, self.budget, self.draws = x, label, sign, budget, draws

    def weights(self, at: Tensor, probability: bool) -> Tensor:
        """The gradient of the label's score at the features of `at`."""
        features = self.lower(at).requires_grad_()
        logits = self.upper(features)[0]
        score = logits.softmax(0)[self.label] if probability else logits[self.label]
        gradient: Tensor = torch.autograd.grad(score, features)[0]
        return gradient

    def uphill(self, at: Tensor) -> Tensor:
        at = at.clone().requires_grad_()
        loss = F.cross_entropy(self.upper(self.lower(at)), torch.tensor([self.label]))
        gradient: Tensor = torch.autograd.grad(-self.sign * loss, at)[0]
        return gradient

    def climb(self, loss: Callable[[Tensor], Tensor], steps: int) -> Tensor:
        """Momentum on a loss of the image, by the book."""
        x_adv, momentum, eps = self.x, torch.zeros_like(self.x), float(self.budget.eps)
        for _ in range(steps):
            at = x_adv.clone().requires_grad_()
            (g,) = torch.autograd.grad(loss(at), at)
            momentum = momentum + g / g.abs().mean()
            if self.budget.norm == "linf":
                moved = x_adv + eps / steps * momentum.sign() - self.x
                moved = moved.clamp(-eps, eps)
            else:
                moved = x_adv + eps / steps * momentum / momentum.norm() - self.x
                moved = moved * min(1.0, eps / float(moved.norm()))
            x_adv = torch.clamp(self.x + moved, 0, 1)
        return x_adv

    def ila(self, steps: int) -> Tensor:
        guided = self.climb(
            lambda at: -self.sign * F.cross_entropy(self.upper(self.lower(at)), torch.tensor([self.label])), steps
        )
        start = self.lower(self.x)
        guide = self.lower(guided) - start
        return self.climb(lambda at: ((self.lower(at) - start) * guide).sum() / guide.square().sum(), steps)

    def fia(self, steps: int, samples: int = 3, drop: float = 0.3) -> Tensor:
        masks = [self.draws.uniform("fia mask", self.x.shape[1:], copy=n) >= drop for n in range(samples)]
        total = torch.stack([self.weights(self.x * mask, probability=False) for mask in masks]).sum(0)
        return self.climb(lambda at: self.sign * (total / total.norm() * self.lower(at)).sum(), steps)

    def naa(self, steps: int, samples: int = 3, gamma: float = 0.25) -> Tensor:
        path = [self.x * n / samples for n in range(1, samples + 1)]
        mean = torch.stack([self.weights(at, probability=True) for at in path]).mean(0)
        black = self.lower(torch.zeros_like(self.x))

        def loss(at: Tensor) -> Tensor:
            attribution = (self.lower(at) - black) * mean
            balanced: Tensor = attribution.relu().sum() - gamma * (-attribution).relu().sum()
            return balanced * self.sign

        return self.climb(loss, steps)

    def bfa(self, steps: int, samples: int = 3, length: float = 0.86) -> Tensor:
        if self.budget.norm == "linf":
            length = length * self.x.numel() ** 0.5
        at, total = self.x, torch.zeros(())
        for _ in range(samples):
            g = self.uphill(at)
            at = self.x + length * float(self.budget.eps) * g / g.norm()
            total = total + self.weights(at, probability=False)
        return self.climb(lambda at: self.sign * (total * self.lower(at)).sum(), steps)


@every_attack
@every_budget
@pytest.mark.parametrize("targeted", [False, True])
def test_trap_1_and_ilas_flattening_a_slow_implementation_image_by_image_agrees(
    name: str, budget: Budget, targeted: bool, source64: Any, batch: Any
) -> None:
    fields: dict[str, Any] = {"gamma": 0.25} if name == "naa" else {}
    made = run(attack_of(name, point="stage1", **fields), source64, batch, targeted=targeted, budget=budget)
    draws = Draws(1, batch.ids)
    for i in range(len(made)):
        label = int((batch.target if targeted else batch.y)[i])
        x = batch.pixels[i : i + 1].double() / 255
        slow = Slow(source64.networks[0], x, label, 1 if targeted else -1, budget, draws.select(slice(i, i + 1)))
        torch.testing.assert_close(made[i : i + 1], getattr(slow, name)(3), rtol=0, atol=1e-9)


# --- what each promises -----------------------------------------------------------------------------------------------


def saturated() -> nn.Module:
    """Certain of class 0 whatever comes: every gradient of cross-entropy and of a probability is exactly 0."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {"body": nn.Conv2d(3, 4, 3), "flatten": nn.Flatten(), "head": nn.Linear(120, 6)}
    net = nn.Sequential(OrderedDict(layers)).double().requires_grad_(False)
    net.get_parameter("head.bias")[0] = 1e6
    return net


@pytest.mark.parametrize("name", ["ila", "naa"])
@every_budget
def test_trap_4_without_a_guide_nothing_moves(name: str, budget: Budget, batch: Any) -> None:
    x = batch.pixels.double() / 255
    gradients = Gradients(_Source([saturated()]), x, torch.zeros_like(batch.y))
    made = attack_of(name)(gradients, budget, Draws(1, batch.ids))
    assert torch.equal(made, x)
    assert bool((gradients.zero_gradients > 0).all())


def test_ilas_loss_is_the_length_of_the_displacement_at_the_guide_itself(source64: Any, batch: Any) -> None:
    (network,) = source64.networks
    gradients = Gradients(source64, x := batch.pixels.double() / 255, batch.y)
    loop = Iterative(momentum=Momentum(), steps=3)
    loss = ILA(point="stage1").fit(gradients, LINF, draws := Draws(1, batch.ids), led_by(loop, gradients, draws))
    guided = loop(Gradients(source64, x, batch.y), LINF, Draws(1, batch.ids))
    clean, moved = (gradients.features(at, "stage1", network) for at in (x, guided))
    torch.testing.assert_close(loss(moved, network), (moved - clean).flatten(1).norm(dim=1))
    assert not loss(clean, network).any()


def test_naas_attributions_add_up_to_the_probability_gained_on_the_path(batch: Any) -> None:
    """Exactly in the limit where the features are linear in the image, as the attribution supposes."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {
        "first": nn.Conv2d(3, 4, 3), "act": nn.Tanh(), "flatten": nn.Flatten(), "head": nn.Linear(120, 6),
    }  # fmt: skip
    network = nn.Sequential(OrderedDict(layers)).double().requires_grad_(False)
    gradients = Gradients(_Source([network]), x := batch.pixels.double() / 255, batch.y)
    gained = (network(x).softmax(1) - network(torch.zeros_like(x)).softmax(1)).gather(1, batch.y[:, None])[:, 0]
    features = gradients.features(x, "first", network)

    def error(samples: int) -> float:
        loss = NAA(point="first", samples=samples).fit(gradients, LINF, Draws(1, batch.ids), unled)
        path = [(x * n / samples) for n in range(1, samples + 1)]
        each = []
        for at in path:
            inner = network.get_submodule("first")(at).requires_grad_()
            p = network.get_submodule("head")(inner.tanh().flatten(1)).softmax(1).gather(1, batch.y[:, None])
            each.append(torch.autograd.grad(p.sum(), inner)[0])
        length = torch.stack(each).mean(0).flatten(1).norm(dim=1)  # the loss has gradients of length 1
        return float((-loss(features, network) * length - gained).abs().max())

    assert float(gained.abs().min()) > 1e-3
    assert error(200) < 0.02 * float(gained.abs().max())
    assert error(200) < error(20) / 8  # a Riemann sum: its error falls as 1 / samples


def test_gamma_weighs_what_speaks_against_the_class() -> None:
    direction, origin = torch.tensor([[1.0, -2.0, 3.0]]), torch.tensor([[0.5, 0.0, 1.0]])
    features = torch.tensor([[1.5, 1.0, 2.0]])  # contributions 1, -2, 3
    for gamma, value in ((1.0, 2.0), (0.0, 4.0), (0.5, 3.0), (2.0, 0.0)):
        for sign in (1, -1):
            assert float(Attribution(direction, origin, gamma, sign)(features)) == sign * value


def test_a_projection_is_an_inner_product_of_each_image() -> None:
    direction = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
    features = torch.tensor([[3.0, 9.0], [1.0, 1.0]])
    assert torch.equal(Projection(direction)(features), torch.tensor([3.0, 0.5]))
    assert torch.equal(Projection(direction, features)(features), torch.zeros(2))


def test_bfas_moves_are_as_long_as_the_docstring_says() -> None:
    for length, side in ((BFA().length, 299), (1.15, 224)):
        assert length * 16 / 255 * (3 * side * side) ** 0.5 == pytest.approx(28, abs=0.1)


def test_fias_masks_drop_the_share_that_was_asked_for_and_each_copy_its_own(source64: Any, batch: Any) -> None:
    seen: list[Tensor] = []
    (network,) = source64.networks

    class Watch(nn.Identity):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            return x

    watched = nn.Sequential(Watch(), network)
    x = torch.ones(5, 3, 8, 7, dtype=torch.float64)
    FIA(samples=40).fit(Gradients(_Source([watched]), x, batch.y), LINF, Draws(1, batch.ids), unled)(
        torch.zeros(5, 8, 8, 7, dtype=torch.float64), watched
    )
    masks = torch.stack(seen)
    assert masks.shape == (40, 5, 3, 8, 7)
    assert set(masks.flatten().tolist()) == {0.0, 1.0}
    assert float(masks.mean()) == pytest.approx(0.7, abs=4 * (0.21 / masks.numel()) ** 0.5)
    assert len({tuple(row.tolist()) for row in masks.flatten(0, 1).flatten(1)}) == 200


@every_attack
def test_trap_27_a_targeted_attack_reaches_its_target(name: str, source64: Any, batch: Any) -> None:
    (network,) = source64.networks
    x = batch.pixels.double() / 255
    wide = Budget.parse("linf", "1/2")
    made = run(attack_of(name, steps=10), source64, batch, targeted=True, budget=wide)
    before, after = (network(at).softmax(1).gather(1, batch.target[:, None])[:, 0] for at in (x, made))
    assert bool((after > before).all())
    hits = int((network(made).argmax(1) == batch.target).sum())
    assert hits >= 4
    untargeted = run(attack_of(name, steps=10), source64, batch, budget=wide)
    assert int((network(untargeted).argmax(1) == batch.target).sum()) < hits


# --- members, cost, and models that stay as they were -----------------------------------------------------------------


@every_attack
def test_trap_26_equal_members_are_one_network(name: str, source64: Any, network: Any, batch: Any) -> None:
    alone = run(attack_of(name), source64, batch)
    twins = [network(0, dtype=torch.float64) for _ in range(2)]
    for in_turn in (False, True):
        torch.testing.assert_close(run(attack_of(name), _Source(twins, in_turn), batch), alone, rtol=0, atol=1e-9)


@every_attack
def test_trap_26_members_of_different_shapes_have_points_of_their_own(name: str, network: Any, batch: Any) -> None:
    other = create(architecture("lenet"), shape=(3, 8, 7), classes=6, seed=2).double().eval().requires_grad_(False)
    both = run(attack_of(name), _Source([network(0, dtype=torch.float64), other]), batch)
    one = run(attack_of(name), _Source([network(0, dtype=torch.float64)]), batch)
    two = run(attack_of(name), _Source([other]), batch)
    assert not torch.equal(both, one)
    assert not torch.equal(both, two)


@every_attack
@pytest.mark.parametrize("targeted", [False, True])
def test_passes_are_those_declared_for_all_members_and_for_members_in_turn(
    name: str, targeted: bool, network: Any, batch: Any
) -> None:
    networks = [network(seed) for seed in range(3)]
    attack = attack_of(name, steps=2)
    for source, active, distinct in (
        (_Source(networks[:1]), 1, 1),
        (_Source(networks), 3, 3),
        (_Source(networks, in_turn=True), 1, 2),  # the third one's turn never comes
        (_Source(networks[:2], in_turn=True), 1, 2),
    ):
        for whole in (attack, Snapshot(attack=attack, after=1)) if distinct == active else (attack,):
            (crafted,) = craft(
                [(whole, LINF)],
                source,
                batch.pixels,
                batch.y,
                seed=1,
                ids=batch.ids,
                target=batch.target if targeted else None,
            )
            each = whole.passes(active, distinct=distinct)
            assert crafted.passes == Passes(5 * each.forward, 5 * each.backward)
            assert 0 < crafted.model_seconds <= crafted.seconds


@pytest.mark.parametrize(
    ("name", "passes"),
    [("ila", Passes(22, 20)), ("fia", Passes(40, 40)), ("naa", Passes(41, 40)), ("bfa", Passes(41, 70))],
)
def test_costs_with_the_settings_of_the_papers(name: str, passes: Passes) -> None:
    attack = parse_attack(name)
    assert attack.passes() == passes
    assert isinstance(attack, Iterative)
    assert isinstance(attack.objective, Fitted)
    assert attack.momentum == Momentum()


def test_trap_10_25_attacks_on_one_model_disturb_neither_each_other_nor_it(source64: Any, batch: Any) -> None:
    (network,) = source64.networks
    x = batch.pixels.double() / 255
    kinds = [type(module) for module in network.modules()]
    before = network(x)
    alone = [run(attack_of(name, point="stage1"), source64, batch) for name in NAMES]
    shared = Gradients(source64, x, batch.y)  # one set of rebuilt networks for all
    traces = [attack_of(name, point="stage1").trace(shared.fresh(), LINF, Draws(1, batch.ids)) for name in NAMES]
    steps = list(zip(*traces, strict=True))  # one step of each in turn
    for made, expected in zip(steps[-1], alone, strict=True):
        assert torch.equal(made, expected)
    assert [type(module) for module in network.modules()] == kinds
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    assert torch.equal(network(x), before)


@every_attack
def test_the_first_reading_is_no_shared_gradient(name: str, source64: Any, batch: Any) -> None:
    """Gradients at the clean images are kept for all attacks on them; those of a feature loss are its own."""
    shared = Gradients(source64, batch.pixels.double() / 255, batch.y)
    parse_attack("mi")(shared.fresh(), LINF, Draws(1, batch.ids))
    after_mi = attack_of(name)(shared.fresh(), LINF, Draws(1, batch.ids))
    assert torch.equal(after_mi, run(attack_of(name), source64, batch))


def test_feature_attacks_join_other_parts(source64: Any, batch: Any) -> None:
    attack = parse_attack({"name": "fia+di+ti", "steps": 2, "fia": {"samples": 2, "point": "stage1"}})
    assert isinstance(attack, Iterative)
    assert attack.objective == FIA(samples=2, point="stage1")
    assert len(attack.transformations) == 2
    plain = run(attack_of("fia", 2, samples=2, point="stage1"), source64, batch)
    assert not torch.equal(run(attack, source64, batch), plain)
    with pytest.raises(InputError, match="'fia' and 'naa' both set objective"):
        parse_attack("fia+naa")


def test_a_fitted_loss_is_a_feature_loss(source64: Any, batch: Any) -> None:
    gradients = Gradients(source64, batch.pixels.double() / 255, batch.y)
    draws = Draws(1, batch.ids)

    for name in NAMES:
        objective = attack_of(name).objective
        assert isinstance(objective, Fitted)
        assert not isinstance(objective, FeatureLoss)
        loss = objective.fit(gradients, LINF, draws, led_by(Iterative(steps=1, step=Fraction(1)), gradients, draws))
        assert isinstance(loss, FeatureLoss)
        assert loss.point(source64.networks[0]) == "stage1"
