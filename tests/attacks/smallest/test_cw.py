"""CW on linear models, where the nearest image is known, and against foolbox and torchattacks."""

import importlib
import warnings
from fractions import Fraction
from typing import Any

import pytest
import torch
import torchattacks as untyped
from torch import Tensor, nn

from carom.attacks import Gradients, Passes, check_fits, craft, craft_images, parse_attack
from carom.attacks.smallest.cw import CW
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError, ModelError

torchattacks: Any = untyped
WIDE = Budget.parse("l2", 100)
aimed_or_not = pytest.mark.parametrize("targeted", [False, True])


@pytest.fixture(scope="module")
def foolbox() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports a name that scipy has moved
        return importlib.import_module("foolbox")


def run(attack: CW, source: Any, x: Tensor, y: Tensor, target: Tensor | None = None) -> tuple[Tensor, Gradients]:
    gradients = Gradients(source, x, y, target)
    return attack(gradients, WIDE, Draws(0, torch.arange(len(x)))), gradients


def noise(n: int, seed: int) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def lengths(x_adv: Tensor, x: Tensor) -> Tensor:
    return WIDE.size(x_adv, x)


def test_defaults_come_near_the_hyperplane_of_a_linear_model(source_of: Any) -> None:
    """And never nearer than it: that would be another problem."""
    generator = torch.Generator().manual_seed(3)
    layer = nn.Linear(12, 2).double().requires_grad_(False)
    layer.weight.copy_(torch.randn(2, 12, generator=generator))
    layer.bias.copy_(-layer.weight.sum(1) / 2)
    net = nn.Sequential(nn.Flatten(), layer)
    x = 0.5 + 0.2 * (torch.rand(10, 3, 2, 2, generator=generator, dtype=torch.float64) - 0.5)
    logits = net(x)
    nearest = (logits[:, 0] - logits[:, 1]).abs() / (layer.weight[0] - layer.weight[1]).norm()
    x_adv, gradients = run(CW(), source_of([net]), x, logits.argmax(1))
    radius = gradients.columns["radius"]
    torch.testing.assert_close(radius, lengths(x_adv, x))
    assert bool((radius > nearest).all())
    assert bool((radius < 1.03 * nearest + 1.5e-3).all())  # a step is about half a hundredth a pixel


@pytest.mark.thorough
@aimed_or_not
@pytest.mark.parametrize("confidence", [0.0, 0.05])
def test_equals_foolbox(targeted: bool, confidence: float, foolbox: Any, network: Any, source_of: Any) -> None:
    """Without its early stop, which looks at the loss of the whole batch."""
    net, x = network(1), noise(20, 2)
    y = net(x).argmax(1)
    target = (y + 2) % 6 if targeted else None
    theirs = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=4, steps=50, confidence=confidence, initial_const=1, abort_early=False
    )
    wanted = foolbox.criteria
    criterion = wanted.Misclassification(y) if target is None else wanted.TargetedMisclassification(target)
    expected = theirs.run(foolbox.PyTorchModel(net, bounds=(0, 1)), x.clone(), criterion)
    x_adv, gradients = run(CW(searches=4, steps=50, confidence=confidence), source_of([net]), x, y, target)
    found = gradients.columns["radius"].isfinite()
    assert int(found.sum()) >= (10 if targeted else 20)
    assert torch.equal(found, expected.flatten(1).abs().amax(1) > 0)  # foolbox answers zeros where it found nothing
    torch.testing.assert_close(x_adv[found], expected[found], rtol=0, atol=1e-5)


def test_equals_torchattacks_with_one_search(network: Any, source_of: Any) -> None:
    """It stops early by the cost of the whole batch, here in no step, and assumes logits above 0."""
    net, x = nn.Sequential(network(1), Shifted()).eval(), noise(25, 2)
    y = net(x).argmax(1)
    expected = torchattacks.CW(net, c=1, steps=40, lr=0.01)(x, y)
    x_adv, gradients = run(CW(searches=1, steps=40), source_of([net]), x, y)
    found = net(expected).argmax(1) != y
    assert int(found.sum()) >= 5
    assert torch.equal(found, gradients.columns["radius"].isfinite())
    torch.testing.assert_close(x_adv[found], expected[found], rtol=0, atol=1e-5)


class Shifted(nn.Module):
    """Logits plus 5."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits + 5


@aimed_or_not
@pytest.mark.parametrize("confidence", [0.0, 0.1])
def test_what_has_a_radius_fools_with_the_confidence(
    targeted: bool, confidence: float, network: Any, source_of: Any
) -> None:
    net, x = network(3), noise(12, 5)
    y = net(x).argmax(1)
    target = net(x).topk(2).indices[:, 1] if targeted else None
    x_adv, gradients = run(CW(searches=3, constant=10.0, confidence=confidence), source_of([net]), x, y, target)
    radius = gradients.columns["radius"]
    found = radius.isfinite()
    assert int(found.sum()) >= 6
    logits = net(x_adv)[found]
    labels = (y if target is None else target)[found, None]
    own, other = logits.gather(1, labels)[:, 0], logits.scatter(1, labels, float("-inf")).amax(1)
    lead = own - other if targeted else other - own
    assert bool((lead >= confidence - 1e-5).all())
    assert bool((lead < confidence + 0.2).all())  # and goes no farther than it must
    torch.testing.assert_close(radius[found], lengths(x_adv, x)[found])


def test_a_misclassified_image_stays_where_it_is(network: Any, source_of: Any) -> None:
    net, x = network(1), noise(4, 6)
    y = (net(x).argmax(1) + 1) % 6
    x_adv, gradients = run(CW(searches=2, steps=5), source_of([net]), x, y)
    torch.testing.assert_close(x_adv, x, rtol=0, atol=2e-6)
    assert bool((gradients.columns["radius"] < 1e-4).all())


def test_more_confidence_goes_farther(network: Any, source_of: Any) -> None:
    net, x = network(1), noise(8, 7)
    y = net(x).argmax(1)
    near, far = (
        run(CW(searches=2, steps=60, confidence=k), source_of([net]), x, y)[1].columns["radius"] for k in (0.0, 0.1)
    )
    assert bool((far > near).all())


@aimed_or_not
def test_targeted_labels_are_the_targets(targeted: bool, source: Any, batch: Any) -> None:
    """A targeted attack reaches the target; an untargeted one never needs to go as far (27: the API of targets)."""
    x = batch.pixels.float() / 255
    second = source.networks[0](x).topk(2).indices[:, 1]
    x_adv, gradients = run(CW(searches=3, constant=10.0), source, x, batch.y, second if targeted else None)
    predicted = source.networks[0](x_adv).argmax(1)
    if targeted:
        assert torch.equal(predicted, second)
        _, free = run(CW(searches=3, constant=10.0), source, x, batch.y)
        assert bool((gradients.columns["radius"] >= free.columns["radius"] * 0.99).all())
    else:
        assert bool((predicted != batch.y).all())


@aimed_or_not
def test_cost_is_what_it_declares_in_the_ball_and_after_rounding(targeted: bool, source: Any, batch: Any) -> None:
    tight, attack = Budget.parse("l2", "0.2"), CW(searches=2, steps=20)
    (crafted,) = craft(
        [(attack, tight)],
        source,
        batch.pixels,
        batch.y,
        seed=1,
        ids=batch.ids,
        target=batch.target if targeted else None,
    )
    assert crafted.passes == Passes(5 * 40, 5 * 40)
    assert attack.passes(3) == Passes(120, 120)
    change = (crafted.images.int() - batch.pixels.int()).flatten(1).square().sum(1)
    assert bool((change <= (0.2 * 255) ** 2).all())
    assert bool((change > 0).all())
    assert crafted.zero_gradients == 0


@pytest.mark.parametrize("eps", ["1/1000", "1/10", "1"])
def test_the_radius_does_not_depend_on_eps(eps: str, source: Any, batch: Any) -> None:
    attack = CW(searches=2, steps=20)
    one, two = craft([(attack, Budget.parse("l2", eps)), (attack, WIDE)], source, batch.pixels, batch.y, seed=1,
                     ids=batch.ids)  # fmt: skip
    assert torch.equal(one.columns["radius"], two.columns["radius"])


def test_an_image_depends_on_neither_its_batch_nor_its_place(source64: Any, batch: Any) -> None:
    x = batch.pixels.double() / 255
    attack, order = CW(searches=3, steps=30), torch.tensor([3, 0, 4, 2, 1])
    (whole,) = craft_images([(attack, WIDE)], source64, x, batch.y, seed=1)
    (parts,) = craft_images([(attack, WIDE)], source64, x[order], batch.y[order], seed=1, chunk=2)
    torch.testing.assert_close(parts.images, whole.images[order], rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [0.0, 1e-40, 1e30])
def test_zero_tiny_and_saturated_gradients_are_survived(scale: float, source_of: Any, batch: Any) -> None:
    layer = nn.Linear(3 * 8 * 7, 6)
    weights = torch.linspace(-1, 1, layer.weight.numel()).reshape_as(layer.weight)
    net = nn.Sequential(nn.Flatten(), layer).requires_grad_(False)
    layer.weight.copy_(weights * min(scale, 1.0))
    layer.bias.zero_()
    layer.bias[0] = scale if scale > 1 else 0.0
    y = torch.zeros_like(batch.y)
    x_adv, gradients = run(CW(searches=2, steps=10), source_of([net]), batch.pixels.float() / 255, y)
    assert bool(x_adv.isfinite().all())
    assert gradients.zero_gradients.tolist() == [20 if scale == 0 else 0] * 5
    if scale != 1e-40:
        assert bool((gradients.columns["radius"] == float("inf")).all())


def test_no_radius_no_change_and_no_cost(source: Any, batch: Any) -> None:
    none = Budget(norm="l2", eps=Fraction(0))
    (crafted,) = craft([(CW(), none)], source, batch.pixels, batch.y, seed=1, ids=batch.ids)
    assert torch.equal(crafted.images, batch.pixels)
    assert crafted.passes == Passes()


def test_by_name_with_settings_and_errors(source: Any, batch: Any) -> None:
    assert parse_attack({"name": "cw", "steps": 5, "confidence": 2.0}) == CW(steps=5, confidence=2.0)
    for table, message in (
        ({"searches": 0}, "searches must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"rate": 0.0}, "rate must be above 0, got 0"),
        ({"constant": -1.0}, "constant must be above 0, got -1"),
        ({"confidence": -1.0}, "confidence must be at least 0, got -1"),
    ):
        with pytest.raises(InputError, match=message):
            parse_attack({"name": "cw", **table})
    with pytest.raises(InputError, match="cw needs l2 budgets, got linf"):
        check_fits(CW(), "linf", targeted=False, name="cw")
    source.networks = [nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 7, 1)).requires_grad_(False)]
    with pytest.raises(ModelError, match="one class"):
        craft([(CW(), WIDE)], source, batch.pixels, torch.zeros(5).long(), seed=0, ids=batch.ids)
