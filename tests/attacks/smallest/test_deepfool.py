"""DeepFool on linear models, where its answer is known, and against foolbox and torchattacks."""

import contextlib
import importlib
import io
import warnings
from fractions import Fraction
from typing import Any

import pytest
import torch
import torchattacks as untyped
from torch import Tensor, nn

from carom.attacks import Gradients, Passes, craft, craft_images, parse_attack
from carom.attacks.smallest.deepfool import DeepFool
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError, ModelError

torchattacks: Any = untyped

WIDE = {"linf": Budget.parse("linf", 1), "l2": Budget.parse("l2", 100)}
both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])


@pytest.fixture(scope="module")
def foolbox() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports a name that scipy has moved
        return importlib.import_module("foolbox")


class Linear(nn.Module):
    """Logits W x + b, and a count of the images that went through."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias, self.seen = weight, bias, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return x.flatten(1) @ self.weight.T + self.bias


def linear(classes: int = 6, pixels: int = 12) -> Linear:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(classes, pixels, generator=generator, dtype=torch.float64)
    # boundaries near the grey images, so that no pixel reaches 0 or 1
    bias = -weight.sum(1) / 2 + 0.02 * torch.randn(classes, generator=generator, dtype=torch.float64)
    return Linear(weight, bias)


def grey(n: int = 20, side: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return 0.5 + 0.05 * (torch.rand(n, 3, side, side, generator=generator, dtype=torch.float64) - 0.5)


def run(attack: DeepFool, net: nn.Module, x: Tensor, y: Tensor, norm: str, source_of: Any) -> tuple[Tensor, Gradients]:
    gradients = Gradients(source_of([net]), x, y)
    return attack(gradients, WIDE[norm], Draws(0, torch.arange(len(x)))), gradients


@both_norms
def test_goes_to_the_nearest_hyperplane_of_a_linear_model(norm: str, source_of: Any) -> None:
    net, x = linear(), grey()
    logits = net(x)
    y = logits.argmax(1)
    normal = net.weight[None] - net.weight[y][:, None]
    order = {"linf": 1, "l2": 2}[norm]
    distances = (logits.gather(1, y[:, None]) - logits) / normal.norm(order, dim=2)
    distances[torch.arange(len(y)), y] = float("inf")
    nearest, other = distances.min(1)
    x_adv, gradients = run(DeepFool(), net, x, y, norm, source_of)
    assert bool(((x_adv > 0) & (x_adv < 1)).all())  # the box had no part in it
    expected = 1.02 * (nearest + 1e-4)
    torch.testing.assert_close(WIDE[norm].size(x_adv, x), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(gradients.columns["radius"], expected, rtol=1e-9, atol=0)
    assert torch.equal(net(x_adv).argmax(1), other)
    assert other.unique().numel() > 2


@both_norms
def test_one_step_is_enough_for_a_linear_model_and_each_image_pays_for_itself(norm: str, source_of: Any) -> None:
    net, x = linear(), grey()
    y = net(x).argmax(1)
    y[:5] = (y[:5] + 1) % 6  # already misclassified
    net.seen = 0
    x_adv, gradients = run(DeepFool(), net, x, y, norm, source_of)
    assert gradients.passes == Passes(20 + 15 + 15, 15 * 6)
    assert net.seen == 50
    assert torch.equal(x_adv[:5], x[:5])
    assert bool((gradients.columns["radius"][:5] == 0).all())
    assert bool((gradients.columns["radius"][5:] > 0).all())


@both_norms
def test_finished_images_cost_nothing_more(norm: str, network: Any, source_of: Any) -> None:
    net = network(0)
    x = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    y = net(x).argmax(1)
    each = [run(DeepFool(), net, x[i : i + 1], y[i : i + 1], norm, source_of)[1].passes for i in range(12)]
    together = run(DeepFool(), net, x, y, norm, source_of)[1].passes
    assert together == Passes(sum(p.forward for p in each), sum(p.backward for p in each))
    assert len({p.total for p in each}) > 1  # they do differ
    most = DeepFool().passes()
    assert all(p.forward <= most.forward and p.backward <= most.backward for p in each)


@both_norms
@pytest.mark.parametrize("candidates", [3, 10])
def test_equals_foolbox(norm: str, candidates: int, foolbox: Any, network: Any, source_of: Any) -> None:
    net = network(1)
    x = torch.rand(25, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    y = net(x).argmax(1)
    y[:3] = (y[:3] + 1) % 6
    attacks = {"linf": foolbox.attacks.LinfDeepFoolAttack, "l2": foolbox.attacks.L2DeepFoolAttack}
    theirs: Any = attacks[norm](candidates=candidates)
    expected = theirs.run(foolbox.PyTorchModel(net, bounds=(0, 1)), x, foolbox.criteria.Misclassification(y))
    x_adv, _ = run(DeepFool(candidates=candidates), net, x, y, norm, source_of)
    torch.testing.assert_close(x_adv, expected, rtol=0, atol=1e-5)
    assert int((net(x_adv).argmax(1) != y).sum()) == 25


def test_equals_torchattacks_where_one_step_suffices_and_is_no_farther_elsewhere(network: Any, source_of: Any) -> None:
    """It enlarges each step, not the sum, and has no margin."""
    net, x = linear(), grey()
    y = net(x).argmax(1)
    with contextlib.redirect_stdout(io.StringIO()):  # it says that it found no parameters
        theirs = torchattacks.DeepFool(net)
    theirs.set_device(x.device)
    expected = theirs(x, y)
    x_adv, _ = run(DeepFool(), net, x, y, "l2", source_of)
    assert float((x_adv - expected).flatten(1).norm(dim=1).max()) <= 1.02e-4 * (1 + 1e-6)
    net = network(1)
    x = torch.rand(25, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    y = net(x).argmax(1)
    x_adv, _ = run(DeepFool(), net, x, y, "l2", source_of)
    ratio = WIDE["l2"].size(x_adv, x) / WIDE["l2"].size(torchattacks.DeepFool(net)(x, y), x)
    assert 0.98 <= float(ratio.median()) <= 1.02


@both_norms
def test_the_result_is_in_the_ball_and_the_radius_is_that_before(norm: str, source: Any, batch: Any) -> None:
    tight = {"linf": Budget.parse("linf", "2/255"), "l2": Budget.parse("l2", "0.2")}[norm]
    wide = WIDE[norm]
    small, large = craft(
        [(DeepFool(), tight), (DeepFool(), wide)], source, batch.pixels, batch.y, seed=1, ids=batch.ids
    )
    assert torch.equal(small.columns["radius"], large.columns["radius"])
    assert bool((small.columns["radius"] > float(tight.eps)).any())
    size = tight.size(small.images.float() / 255, batch.pixels.float() / 255)
    assert bool((size <= float(tight.eps) + 1e-6).all())
    assert bool((size > 0).all())


@both_norms
def test_fools_within_its_radius(norm: str, network: Any, source_of: Any) -> None:
    """An eps above the radius of an image fools, one a tenth below does not."""
    net = network(2).double()
    x = torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(5)).double()
    y = net(x).argmax(1)
    x_adv, gradients = run(DeepFool(), net, x, y, norm, source_of)
    for i, radius in enumerate(gradients.columns["radius"].tolist()):
        one = slice(i, i + 1)
        for eps, fools in ((1.01 * radius, True), (0.9 * radius, False)):
            budget = Budget(norm=WIDE[norm].norm, eps=Fraction(eps))
            again = DeepFool()(Gradients(source_of([net]), x[one], y[one]), budget, Draws(0, torch.zeros(1).long()))
            assert bool((net(again).argmax(1) != y[one]).all()) == fools
    assert bool((net(x_adv).argmax(1) != y).all())


@both_norms
@pytest.mark.parametrize("scale", [0.0, 1e-40, 1e30])
def test_zero_tiny_and_saturated_gradients_are_survived(norm: str, scale: float, source_of: Any) -> None:
    net = linear()
    net.weight = (net.weight * min(scale, 1.0)).float()
    net.bias = torch.zeros(6)
    net.bias[0] = scale if scale > 1 else 0.0
    x = grey().float()
    y = net(x).argmax(1)
    x_adv, gradients = run(DeepFool(), net, x, y, norm, source_of)
    assert bool(x_adv.isfinite().all())
    if scale == 1e-40:
        assert not torch.equal(x_adv, x)
        assert bool((net(x_adv).argmax(1) != y).all())
    else:
        assert bool((gradients.columns["radius"] == float("inf")).all())
    dead = gradients.zero_gradients == gradients.evaluations
    if scale == 0:
        assert torch.equal(x_adv, x)
        assert bool(dead.all())
        assert bool((gradients.evaluations == DeepFool().steps).all())
    else:
        assert not bool(dead.any())


@both_norms
def test_no_radius_no_change_and_no_cost(norm: str, source: Any, batch: Any) -> None:
    none = Budget(norm=WIDE[norm].norm, eps=Fraction(0))
    (crafted,) = craft([(DeepFool(), none)], source, batch.pixels, batch.y, seed=1, ids=batch.ids)
    assert torch.equal(crafted.images, batch.pixels)
    assert crafted.passes == Passes()


def test_an_image_depends_on_neither_its_batch_nor_its_place(source64: Any, batch: Any) -> None:
    x = batch.pixels.double() / 255
    (whole,) = craft_images([(DeepFool(), WIDE["l2"])], source64, x, batch.y, seed=1)
    order = torch.tensor([3, 0, 4, 2, 1])
    (parts,) = craft_images([(DeepFool(), WIDE["l2"])], source64, x[order], batch.y[order], seed=1, chunk=2)
    torch.testing.assert_close(parts.images, whole.images[order], rtol=0, atol=1e-9)
    torch.testing.assert_close(parts.columns["radius"], whole.columns["radius"][order], rtol=0, atol=1e-9)


def test_several_members_count_once_each(network: Any, source_of: Any, batch: Any) -> None:
    nets = [network(0), network(1), network(2)]
    x = batch.pixels.float() / 255
    y = torch.stack([net(x) for net in nets]).mean(0).argmax(1)
    gradients = Gradients(source_of(nets), x, y)
    x_adv = DeepFool()(gradients, WIDE["l2"], Draws(0, batch.ids))
    assert bool((torch.stack([net(x_adv) for net in nets]).mean(0).argmax(1) != y).all())
    assert gradients.passes.forward % 3 == 0
    assert gradients.passes.backward % 3 == 0
    assert DeepFool().passes(3) == Passes(3 * 101, 3 * 500)


def test_by_name_with_settings_and_errors(source: Any, batch: Any) -> None:
    assert parse_attack({"name": "deepfool", "steps": 5}) == DeepFool(steps=5)
    for table, message in (
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"candidates": 1}, "candidates must be at least 2, got 1"),
        ({"overshoot": -0.1}, "overshoot must be at least 0, got -0.1"),
        ({"overshot": 0.1}, "unknown key 'overshot'; did you mean 'overshoot'"),
    ):
        with pytest.raises(InputError, match=message):
            parse_attack({"name": "deepfool", **table})
    one_class = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 7, 1)).requires_grad_(False)
    source.networks = [one_class]
    with pytest.raises(ModelError, match="one class"):
        craft([(DeepFool(), WIDE["l2"])], source, batch.pixels, torch.zeros(5).long(), seed=0, ids=batch.ids)
