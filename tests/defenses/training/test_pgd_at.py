"""PGD-AT, TRADES, MART and AWP: losses by plain loops, counted passes, and what a training by them keeps to."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.defenses.conftest import ground, images, plain
from torch import Tensor, nn

from carom.defenses import Hardening
from carom.defenses.training.awp import AWP, gradient_nearby
from carom.defenses.training.fast_at import NFGSM, FastAT
from carom.defenses.training.mart import MART, misclassification_aware
from carom.defenses.training.pgd import robust_accuracy
from carom.defenses.training.pgd_at import PGDAT, Adversarial
from carom.defenses.training.trades import TRADES, divergence
from carom.errors import InputError
from carom.identity import content_key
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create, weights
from carom.zoo.training import checkpoint
from carom.zoo.training.slots import Slots, cross_entropy
from carom.zoo.training.state import State
from carom.zoo.training.trained import Trained

N = 48
QUICK: dict[str, Any] = {"steps": 2, "step": 0.5}
# forward and backward passes an image and step
WAYS: dict[str, tuple[Hardening, tuple[int, int]]] = {
    "pgd-at": (PGDAT(**QUICK), (3, 3)),
    "pgd-at l2": (PGDAT(**QUICK, norm="l2", eps=Fraction(1, 2)), (3, 3)),
    "trades": (TRADES(**QUICK), (5, 4)),
    "mart": (MART(**QUICK), (4, 4)),
    "awp": (AWP(**QUICK), (4, 4)),
    "awp on trades": (AWP(**QUICK, on="trades", gamma=0.005), (7, 6)),
    "awp on mart": (AWP(**QUICK, on="mart", gamma=0.005), (6, 6)),
    "fast-at": (FastAT(), (2, 2)),
    "n-fgsm": (NFGSM(), (2, 2)),
}


def standing(seed: int = 0, n: int = 24) -> State:
    model = create(architecture("resnet-small"), shape=(1, 8, 8), classes=3, seed=seed).train()
    data = images(n)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return State(model, optimizer, data, images(30, seed=1), 3, 2, 4, torch.Generator().manual_seed(0))


def trained(way: Hardening, checkpoint: Path | None = None, **changes: Any) -> Trained:
    here = ground(n=N, checkpoint=checkpoint)
    return here.trained(way.recipe(plain(**changes)))


@pytest.mark.parametrize("name", sorted(WAYS))
def test_passes_are_exact_and_the_history_has_robust_accuracy(name: str) -> None:
    way, (forward, backward) = WAYS[name]
    found = trained(way, epochs=1)
    assert (found.passes.forward, found.passes.backward) == (N * forward, N * backward)
    assert found.history[0].robust_accuracy is not None


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("name", ["pgd-at", "trades", "awp on mart", "fast-at"])
def test_what_is_resumed_equals_what_was_never_interrupted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(checkpoint, "_SHARE_OF_CHECKPOINTS", 1e9)
    way, _ = WAYS[name]
    whole = trained(way, epochs=2)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 1:
            raise Interrupted

    here = ground(n=N, checkpoint=tmp_path / "training")
    with pytest.raises(Interrupted):
        replace(here, progress=stop).trained(way.recipe(plain(epochs=2)))
    assert (tmp_path / "training").exists()
    resumed = here.trained(way.recipe(plain(epochs=2)))
    assert resumed.history == whole.history
    assert resumed.passes == whole.passes
    for kept, expected in ((resumed.last, whole.last), (resumed.best, whole.best), (resumed.memory, whole.memory)):
        assert kept.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[key]) for key, tensor in kept.items())


def test_pgd_at_hardens() -> None:
    # bands of 90 grey levels, noise of 120: a ball of 40 suffices against a plain network, and not against this one
    eps = Fraction(40, 255)
    recipe = plain(epochs=5)
    accuracies = []
    for found in (ground().trained(recipe), ground().trained(PGDAT(eps=eps, steps=4, step=0.5).recipe(recipe))):
        state = standing()
        state.classifier = found.classifier()
        accuracies.append(robust_accuracy(state, PGDAT(eps=eps).budget))
    assert accuracies[1] > accuracies[0] + 0.1


def test_the_best_epoch_is_that_of_the_highest_accuracy_under_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([0.7, 0.1, 0.2])
    monkeypatch.setattr("carom.defenses.training.pgd_at.robust_accuracy", lambda state, budget: next(made))
    found = trained(PGDAT(**QUICK))
    assert [record.robust_accuracy for record in found.history] == [0.7, 0.1, 0.2]
    assert found.best_epoch == 1
    clean = [record.validation_accuracy or 0.0 for record in found.history]
    assert max(clean) > clean[0]  # by which another epoch would have been chosen


def test_the_recipes_loss_is_on_attacked_images() -> None:
    seen: list[Tensor] = []
    way, state = PGDAT(**QUICK), standing()

    def watching(state: State, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(x)
        return cross_entropy(0.1)(state, x, y)

    slots: Slots = way.slots(replace(plain().slots(), loss=watching), plain())
    x, y = state.images.pixels, state.images.labels
    slots.loss(state, x, y)
    change = (seen[0] - x).abs().flatten(1).amax(1)
    assert float(change.max()) <= float(way.eps) + 1e-6
    assert float(change.min()) > 0.9 * float(way.eps)
    assert state.classifier.training


@pytest.mark.parametrize(
    "way", [PGDAT(**QUICK), TRADES(**QUICK), MART(**QUICK), FastAT(), NFGSM()], ids=lambda way: type(way).__name__
)
def test_the_attack_leaves_the_network_alone(way: Adversarial | FastAT) -> None:
    state = standing()
    before = weights(state.classifier)
    way.attacked(state, state.images.pixels, state.images.labels)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(state.classifier).items())
    assert state.classifier.training
    assert all(parameter.grad is None for parameter in state.classifier.parameters())


def logits(seed: int) -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_divergence_sums_over_classes_and_is_batchmean() -> None:
    p, q = logits(0), logits(1)
    total = 0.0
    for a, b in zip(p.softmax(1).tolist(), q.softmax(1).tolist(), strict=True):
        total += sum(u * float(torch.tensor(u / v).log()) for u, v in zip(a, b, strict=True))
    assert float(divergence(p, q).mean()) == pytest.approx(total / 5, rel=1e-6)
    expected = nn.functional.kl_div(q.log_softmax(1), p.softmax(1), reduction="batchmean")
    assert float(divergence(p, q).mean()) == pytest.approx(float(expected))
    assert divergence(p, p).abs().max() == 0


def test_divergence_has_gradients_through_both_arguments() -> None:
    p, q = logits(0).requires_grad_(), logits(1).requires_grad_()
    assert torch.autograd.gradcheck(divergence, (p, q))
    torch.autograd.backward(divergence(p, q).sum())
    assert p.grad is not None
    assert q.grad is not None
    assert float(p.grad.abs().max()) > 0.01
    assert float(q.grad.abs().max()) > 0.01


def test_the_gradient_of_trades_flows_through_both_arguments() -> None:
    way, state = TRADES(beta=2.0), standing()
    x, y = state.images.pixels, state.images.labels
    x_adv = (x + 0.2 * torch.rand(x.shape, generator=state.generator)).clamp(0, 1)
    model = state.classifier
    parameters = [p for p in model.parameters() if p.ndim > 1]

    def by_hand(detached: bool) -> tuple[Tensor, ...]:
        clean, attacked = model(x), model(x_adv)
        target = clean.detach() if detached else clean
        apart = nn.functional.kl_div(attacked.log_softmax(1), target.softmax(1), reduction="batchmean")
        return torch.autograd.grad(nn.functional.cross_entropy(clean, y) + 2 * apart, parameters)

    loss, answer = way.loss(cross_entropy(), state, x, x_adv, y)
    found = torch.autograd.grad(loss, parameters)
    assert torch.equal(answer.argmax(1), model(x).argmax(1))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, by_hand(False), strict=True))
    assert not all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, by_hand(True), strict=True))


def test_trades_attacks_what_its_loss_holds_apart() -> None:
    way, state = TRADES(eps=Fraction(64, 255)), standing()
    x = state.images.pixels
    x_adv = way.attacked(state, x, state.images.labels)
    model = state.classifier.eval()
    with torch.no_grad():
        noisy = x + float(way.eps) * torch.sign(torch.randn(x.shape, generator=state.generator))
        assert divergence(model(x), model(x_adv)).mean() > 2 * divergence(model(x), model(noisy.clamp(0, 1))).mean()


def test_mart_by_a_loop() -> None:
    clean, attacked, y = logits(0), logits(1), torch.tensor([0, 1, 2, 3, 0])
    total = 0.0
    for i, true in enumerate(y.tolist()):
        p, q = clean[i].softmax(0), attacked[i].softmax(0)
        rival = max(float(q[c]) for c in range(4) if c != true)
        boosted = -float(q[true].log()) - float(torch.tensor(1.0001 - rival, dtype=torch.float64).log())
        apart = sum(float(p[c] * (p[c] / q[c]).log()) for c in range(4))
        total += boosted + 5 * apart * (1 - float(p[true]))
    assert float(misclassification_aware(clean, attacked, y, 5.0)) == pytest.approx(total / 5, rel=1e-6)


def test_mart_has_gradients_through_all_of_it_and_stays_finite() -> None:
    y = torch.tensor([0, 1, 2, 3, 0])
    clean, attacked = logits(0).requires_grad_(), logits(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: misclassification_aware(a, b, y, 5.0), (clean, attacked))
    sure = (200.0 * nn.functional.one_hot((y + 1) % 4, 4)).requires_grad_()
    loss = misclassification_aware(sure, sure, y, 5.0)
    torch.autograd.backward(loss)
    assert bool(loss.isfinite())
    assert sure.grad is not None
    assert bool(sure.grad.isfinite().all())


def reading(state: State, seen: list[dict[str, Tensor]]) -> Callable[[], None]:
    """The gradient of the plain loss, and a note of the weights where it was read."""

    def gradient() -> None:
        seen.append({name: tensor.detach().clone() for name, tensor in state.classifier.named_parameters()})
        state.optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(state.classifier(state.images.pixels), state.images.labels))

    return gradient


def test_awp_moves_matrices_by_gamma_times_their_norm_and_puts_them_back() -> None:
    state = standing()
    seen: list[dict[str, Tensor]] = []
    gradient = reading(state, seen)
    gradient()
    slopes = {name: p.grad.clone() for name, p in state.classifier.named_parameters() if p.grad is not None}
    statistics = next(b.clone() for n, b in state.classifier.named_buffers() if n.endswith("running_mean"))
    seen.clear()
    gradient_nearby(state, gradient, 0.01)
    before, there = seen
    for name, parameter in state.classifier.named_parameters():
        assert torch.equal(parameter, before[name])  # bit for bit
        moved = there[name] - before[name]
        if parameter.ndim == 1:
            assert not moved.any()
        else:
            expected = 0.01 * before[name].norm() * slopes[name] / slopes[name].norm()
            assert torch.allclose(moved, expected, atol=1e-6)
            assert float(moved.norm() / before[name].norm()) == pytest.approx(0.01, rel=1e-3)
    # statistics moved once, not twice
    counted = next(b for n, b in state.classifier.named_buffers() if n.endswith("num_batches_tracked"))
    assert int(counted) == 2
    assert not torch.equal(
        statistics, next(b for n, b in state.classifier.named_buffers() if n.endswith("running_mean"))
    )


def test_awp_leaves_positions_and_tokens_of_a_transformer_where_they_are() -> None:
    """As the authors' code, which moves what is called a weight: matrices and kernels."""
    classifier = create(architecture("vit-small"), shape=(1, 8, 8), classes=3, seed=4).train()
    data = images(8)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1)
    state = State(classifier, optimizer, data, data, 1, 1, 1, torch.Generator().manual_seed(0))
    before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
    moved: list[set[str]] = []

    def gradient() -> None:
        moved.append({name for name, p in classifier.named_parameters() if not torch.equal(p, before[name])})
        classifier.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(classifier(data.pixels), data.labels))

    gradient_nearby(state, gradient, 0.01)
    first, second = moved
    assert not first
    assert second
    assert all(name.endswith("weight") and before[name].ndim > 1 for name in second), second
    assert any(p.ndim == 3 for p in before.values())  # there are positions that could have moved


def test_awp_steps_along_the_gradient_at_the_moved_weights() -> None:
    state = standing()
    seen: list[dict[str, Tensor]] = []
    gradient_nearby(state, reading(state, seen), 0.3)
    at_moved = [p.grad.clone() for p in state.classifier.parameters() if p.grad is not None]
    other = standing()
    with torch.no_grad():
        for name, parameter in other.classifier.named_parameters():
            parameter.copy_(seen[1][name])
    reading(other, [])()
    expected = [p.grad for p in other.classifier.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(at_moved, expected, strict=True))


def test_awp_attacks_once_a_step_and_warms_up() -> None:
    same = (trained(PGDAT(**QUICK), epochs=2), trained(AWP(**QUICK, warmup=2), epochs=2))
    assert all(torch.equal(tensor, same[1].last[name]) for name, tensor in same[0].last.items())
    assert same[0].passes == same[1].passes
    half = trained(AWP(**QUICK, warmup=1), epochs=2)
    # two steps and two readings in the second epoch, one reading in the first
    assert half.passes.forward == N * 3 + N * 4
    assert not all(torch.equal(tensor, half.last[name]) for name, tensor in same[0].last.items())


def test_awp_is_not_the_same_on_other_losses() -> None:
    keys = {content_key(AWP(on=on)) for on in ("pgd-at", "trades", "mart")}
    assert len(keys) == 3
    last = [trained(WAYS[name][0], epochs=1).last for name in ("awp", "awp on trades", "awp on mart")]
    assert not torch.equal(next(iter(last[0].values())), next(iter(last[1].values())))
    assert not torch.equal(next(iter(last[1].values())), next(iter(last[2].values())))


@pytest.mark.parametrize("cls", [PGDAT, TRADES, MART, AWP, FastAT, NFGSM])
def test_a_radius_of_0_is_refused_in_one_line(cls: type[Any]) -> None:
    with pytest.raises(InputError, match=rf"^{cls.__name__.lower()}: eps is 0, so there is nothing [^\n]*$"):
        cls(eps=Fraction(0))


@pytest.mark.parametrize(
    ("cls", "changes"),
    [
        (PGDAT, {"steps": 0}),
        (PGDAT, {"step": 0.0}),
        (PGDAT, {"eps": Fraction(2)}),
        (TRADES, {"beta": -1.0}),
        (MART, {"beta": float("nan")}),
        (AWP, {"gamma": 2.0}),
        (AWP, {"warmup": -1}),
        (FastAT, {"step": 11.0}),
    ],
)
def test_what_is_out_of_range_is_refused(cls: type[Any], changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        cls(**changes)


def test_it_is_a_hardening() -> None:
    assert all(isinstance(way, Hardening) for way, _ in WAYS.values())
