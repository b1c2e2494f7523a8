"""Fast-AT: where it starts, how far it goes, and what the guard does about a collapse."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest
import torch
from tests.defenses.conftest import ground, images, plain
from torch import Tensor

from carom.budget import Budget
from carom.defenses.training.fast_at import NFGSM, STOPPED, FastAT
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.training import checkpoint
from carom.zoo.training.state import State
from carom.zoo.training.trained import Trained

EPS = Fraction(16, 255)


def standing() -> State:
    model = create(architecture("resnet-small"), shape=(1, 8, 8), classes=3).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return State(model, optimizer, images(200), images(30, seed=1), 3, 2, 4, torch.Generator().manual_seed(0))


def middle() -> tuple[Tensor, Tensor]:
    """Images far from 0 and 1, so that only the ball can clip."""
    return 0.4 + 0.2 * images(200).pixels, images(200).labels


def test_fast_at_fills_the_ball_and_does_not_leave_it() -> None:
    x, y = middle()
    size = (FastAT(eps=EPS).attacked(standing(), x, y) - x).abs()
    assert float(size.max()) == pytest.approx(float(EPS), abs=1e-6)
    # from a uniform start a step of 1.25 eps ends at the border for 5 of 8 pixels
    at_border = (size > float(EPS) - 1e-5).float().mean()
    assert float(at_border) == pytest.approx(5 / 8, abs=0.05)


def test_fgsm_is_one_step_of_sign() -> None:
    x, y = middle()
    state = standing()
    made = FastAT(eps=EPS, start="zero", step=1.0).attacked(state, x, y)
    point = x.clone().requires_grad_()
    state.classifier.eval()
    torch.autograd.backward(torch.nn.functional.cross_entropy(state.classifier(point), y))
    assert point.grad is not None
    assert torch.allclose(made, x + float(EPS) * point.grad.sign(), atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_n_fgsm_starts_in_twice_the_ball_and_is_clipped_to_no_ball(norm: Literal["linf", "l2"]) -> None:
    x, y = middle()
    eps = EPS if norm == "linf" else Fraction(1, 4)
    budget = Budget(norm=norm, eps=eps)
    made = NFGSM(eps=eps, norm=norm).attacked(standing(), x, y)
    size = budget.size(made, x) / float(eps)
    assert float(size.max()) <= 3 + 1e-4
    assert float(size.min()) > 1.2
    if norm == "linf":
        # n + sign: uniform in [-2, 2] moved by one, so that a quarter ends beyond 2
        each = (made - x).abs() / float(eps)
        assert float((each > 2).float().mean()) == pytest.approx(0.25, abs=0.03)
    wide = NFGSM(eps=Fraction(200, 255)).attacked(standing(), x, y)
    assert float(wide.min()) == 0
    assert float(wide.max()) == 1


def guarded(
    monkeypatch: pytest.MonkeyPatch,
    accuracies: list[float],
    *,
    epochs: int = 4,
    detect: bool = True,
    checkpoint: Path | None = None,
    interrupt: int = 0,
) -> Trained:
    """A training whose guard sees these accuracies after its epochs."""
    monkeypatch.setattr(FastAT, "watched_accuracy", lambda self, state: accuracies[state.epoch])
    here = ground(n=32, checkpoint=checkpoint)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == interrupt:
            raise KeyboardInterrupt

    return replace(here, progress=stop).trained(FastAT(detect=detect).recipe(plain(epochs=epochs)))


def test_a_collapse_ends_the_training_with_the_weights_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = guarded(monkeypatch, [0.5, 0.6, 0.39, 0.9])
    before = guarded(monkeypatch, [0.5, 0.6], epochs=2)
    assert len(found.history) == 3
    assert int(found.memory[STOPPED]) == 3
    assert all(torch.equal(tensor, before.last[name]) for name, tensor in found.last.items())
    assert not any("weights" in name for name in found.memory)
    assert STOPPED not in before.memory
    assert not any("weights" in name for name in before.memory)


@pytest.mark.parametrize("accuracies", [[0.5, 0.6, 0.41, 0.3], [0.9, 0.75, 0.6, 0.45]])
def test_a_small_drop_or_a_slow_one_is_no_collapse(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    found = guarded(monkeypatch, accuracies)
    assert len(found.history) == 4
    assert STOPPED not in found.memory


def test_without_the_guard_nothing_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = guarded(monkeypatch, [0.9, 0.0, 0.9, 0.0], detect=False)
    assert len(found.history) == 4
    assert not found.memory


def test_a_resumed_training_remembers_the_epoch_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(checkpoint, "_SHARE_OF_CHECKPOINTS", 1e9)
    accuracies = [0.5, 0.6, 0.1, 0.9]
    whole = guarded(monkeypatch, accuracies)
    with pytest.raises(KeyboardInterrupt):
        guarded(monkeypatch, accuracies, checkpoint=tmp_path / "training", interrupt=2)
    resumed = guarded(monkeypatch, accuracies, checkpoint=tmp_path / "training")
    assert resumed.history == whole.history
    assert all(torch.equal(tensor, whole.last[name]) for name, tensor in resumed.last.items())
    assert resumed.memory.keys() == whole.memory.keys()


def test_the_guard_sees_the_same_images_from_the_same_starts() -> None:
    state = standing()
    way = FastAT(eps=EPS)
    first = way.watched_accuracy(state)
    state.epoch = 1
    state.generator.manual_seed(9)
    assert way.watched_accuracy(state) == first
    assert (state.passes.forward, state.classifier.training) == (0, True)
    assert FastAT(eps=Fraction(200, 255)).watched_accuracy(state) < first
