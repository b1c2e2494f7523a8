from typing import Any

import pytest
import torch
from jaxtyping import config
from torch import Tensor, nn

from carom.attacks import CrossEntropy, Gradients, Passes, craft, parse_attack
from carom.attacks.reading.answers import combined
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import ContractError, InputError, ModelError

LINF = Budget.parse("linf", "16/255")
CE = CrossEntropy()


def test_one_member_gives_the_same_bits_under_every_combination(network: Any, source_of: Any, batch: Any) -> None:
    x = batch.pixels.float() / 255
    one, *others = (
        Gradients(source_of([network(0)], c), x, batch.y).at(x, CE) for c in ("logits", "probabilities", "loss")
    )
    assert all(torch.equal(one, other) for other in others)


@pytest.mark.parametrize("combination", ["logits", "probabilities", "loss"])
def test_several_members_are_combined_as_said(combination: Any, network: Any, source_of: Any, batch: Any) -> None:
    nets = [network(seed, dtype=torch.float64) for seed in range(3)]
    x = (batch.pixels.double() / 255).requires_grad_()
    logits = [net(x) for net in nets]
    if combination == "logits":
        loss = nn.functional.cross_entropy(torch.stack(logits).mean(0), batch.y, reduction="sum")
    elif combination == "probabilities":
        mean = torch.stack([each.softmax(1) for each in logits]).mean(0)
        loss = nn.functional.nll_loss(mean.log(), batch.y, reduction="sum")
    else:
        losses = [nn.functional.cross_entropy(each, batch.y, reduction="sum") for each in logits]
        loss = torch.stack(losses).mean()
    (expected,) = torch.autograd.grad(loss, x)
    gradients = Gradients(source_of(nets, combination), x, batch.y)
    torch.testing.assert_close(gradients.at(gradients.x, CE), expected, rtol=1e-10, atol=1e-14)
    assert gradients.passes == Passes(15, 15)
    assert (gradients.evaluations == 1).all()


def test_probabilities_combine_without_underflow() -> None:
    logits = [torch.tensor([[0.0, 800.0]]), torch.tensor([[0.0, 900.0]])]
    torch.testing.assert_close(combined(logits, "probabilities"), torch.tensor([[-800.6931, 0.0]]))


def test_targeted_gradient_points_to_the_target(source64: Any, batch: Any) -> None:
    x = batch.pixels.double() / 255
    towards = Gradients(source64, x, batch.y, batch.target)
    away = Gradients(source64, x, batch.target)
    assert torch.equal(towards.at(towards.x, CE), -away.at(away.x, CE))


def test_the_clean_gradient_is_read_once_and_counted_each_time(network: Any, source_of: Any, batch: Any) -> None:
    calls = 0
    net = network(0)

    def counting(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return net(x)  # type: ignore[no-any-return]

    grid = [(parse_attack("fgsm"), Budget.parse("linf", f"{k}/255")) for k in range(1, 31)]
    more = [(parse_attack(name), LINF) for name in ("bim", "mi", "ni", "ti", "mi+ti")]
    sets = craft([*grid, *more], source_of([counting]), batch.pixels, batch.y, seed=0, ids=batch.ids)
    assert calls == 1 + 5 * 9
    assert [s.passes.forward for s in sets] == [5] * 30 + [50] * 5
    again = craft(more[1:2], source_of([net]), batch.pixels, batch.y, seed=0, ids=batch.ids)
    assert torch.equal(again[0].images, sets[31].images)


def test_weights_that_change_with_the_step_are_not_mistaken_for_the_same(batch: Any) -> None:
    class Redrawn:
        """One module whose weights are drawn again at each step, as a sampled surrogate does it."""

        combination = "logits"

        def __init__(self) -> None:
            self.last = nn.Linear(168, 6).requires_grad_(False)
            self.net = nn.Sequential(nn.Flatten(), self.last)

        def members(self, step: int, copy: int) -> list[nn.Module]:
            generator = torch.Generator().manual_seed(100 * step + copy)
            self.last.weight.copy_(torch.randn(6, 168, generator=generator))
            return [self.net]

    x = batch.pixels.float() / 255
    gradients = Gradients(Redrawn(), x, batch.y)  # type: ignore[arg-type]
    first, second = gradients.at(gradients.x, CE, step=0), gradients.at(gradients.x, CE, step=1)
    assert not torch.equal(first, second)
    assert torch.equal(gradients.at(gradients.x, CE, step=0), first)


def test_members_in_turn_equal_their_ensemble_when_all_are_the_same(network: Any, source_of: Any, batch: Any) -> None:
    net = network(0, dtype=torch.float64)
    x = batch.pixels.double() / 255
    sources = [
        source_of([net]),
        source_of([net, net], in_turn=True),
        source_of([net, net], "loss"),
        source_of([net] * 2),
    ]
    results = [parse_attack("mi")(Gradients(s, x, batch.y), LINF, Draws(0, batch.ids)) for s in sources]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=1e-12)


def test_zero_gradients_are_counted_image_by_image(source_of: Any, batch: Any) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(168, 6)).requires_grad_(False)

    def blind_to_dark(x: Tensor) -> Tensor:
        seen: Tensor = net(x * (x.flatten(1).mean(1) > 0.2)[:, None, None, None])
        return seen

    pixels = batch.pixels.clone()
    pixels[1] //= 16
    gradients = Gradients(source_of([blind_to_dark]), pixels.float() / 255, batch.y)
    for step in range(3):
        gradients.at(gradients.x, CE, step=step)
    assert gradients.zero_gradients.tolist() == [0, 3, 0, 0, 0]
    (crafted,) = craft(
        [(parse_attack("fgsm"), LINF)], source_of([blind_to_dark]), pixels, batch.y, seed=0, ids=batch.ids
    )
    assert crafted.zero_gradients == 0.2
    assert torch.equal(crafted.images[1], pixels[1])


def _nan(x: Tensor) -> Tensor:
    return x.flatten(1)[:, :6] * float("nan")


def _no_gradient(x: Tensor) -> Tensor:
    return x.detach().flatten(1)[:, :6]


def _three_dimensions(x: Tensor) -> Tensor:
    return x.flatten(2)


def _infinite_logit(x: Tensor) -> Tensor:
    return x.flatten(1)[:, :6] + torch.tensor([0, 0, 0, 0, 0, -torch.inf])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_nan, "not finite"),
        (_infinite_logit, "not finite"),
        (_no_gradient, "carry no gradient"),
        (_three_dimensions, r"expected logits 5 x classes, got \(5, 3, 56\)"),
    ],
)
def test_what_is_no_classifier_is_refused(model: Any, message: str, source_of: Any, batch: Any) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        craft([(parse_attack("bim"), LINF)], source_of([model]), batch.pixels, batch.y, seed=0, ids=batch.ids)
    assert "\n" not in str(caught.value)


def test_labels_and_targets_are_checked(source: Any, source_of: Any, batch: Any) -> None:
    x = batch.pixels.float() / 255
    target = batch.target.clone()
    target[3] = batch.y[3]
    with pytest.raises(InputError, match="image 3 is of its target class"):
        Gradients(source, x, batch.y, target)
    with pytest.raises(InputError, match="label 6, but the model has 6 classes"):
        Gradients(source, x, batch.y * 0 + 6).at(x, CE)
    with pytest.raises(InputError, match="label -1, but the model has 6 classes"):
        Gradients(source, x, batch.y * 0 - 1).at(x, CE)
    with pytest.raises(ModelError, match="at least one"):
        Gradients(source_of([]), x, batch.y).at(x, CE)


def test_every_image_needs_a_label(source: Any, batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # as outside tests: the shapes are the user's mistake
    x = batch.pixels.float() / 255
    with pytest.raises(InputError, match="5 images but 4 labels"):
        Gradients(source, x, batch.y[:4])
    with pytest.raises(InputError, match="5 images but 4 targets"):
        Gradients(source, x, batch.y, batch.target[:4])
    with pytest.raises(InputError, match="5 images but 4 ids"):
        craft([(parse_attack("fgsm"), LINF)], source, batch.pixels, batch.y, seed=0, ids=batch.ids[:4])


def test_a_transformation_keeps_the_shape(source: Any, batch: Any) -> None:
    x = batch.pixels.float() / 255
    with pytest.raises(ContractError, match="made"):
        Gradients(source, x, batch.y).at(x, CE, through=lambda seen: seen[:, :, 1:])
