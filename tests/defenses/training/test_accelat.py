"""AccelAT: the learning rate follows accuracy under attack, by the rule to the epoch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.defenses.conftest import ground, plain

from carom.defenses.training.accelat import AccelAT, AccuracyGradient
from carom.errors import InputError
from carom.zoo.training import checkpoint
from carom.zoo.training.recipes import SCHEDULES, Recipe
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import EpochRecord, State

RATE = 1e-3
FALLS = (7, 12, 17, 22, 27)  # at a constant accuracy, after these epochs


def expected(epochs: int) -> list[float]:
    """Learning rates after each epoch."""
    return [RATE * 0.8 ** sum(fall <= epoch for fall in FALLS) for epoch in range(1, epochs + 1)]


def test_at_a_constant_accuracy_the_rate_falls_after_epochs_7_12_17() -> None:
    control = AccuracyGradient()
    assert [RATE * control.feed(0.4) for _ in range(30)] == pytest.approx(expected(30))


def test_a_training_at_a_constant_accuracy_has_that_rate() -> None:
    way = AccelAT()
    state = State.__new__(State)
    rates = []
    for epoch in range(1, 31):
        state.history = [
            EpochRecord(epoch=e, loss=1.0, train_accuracy=0.5, validation_accuracy=0.5, robust_accuracy=0.4)
            for e in range(1, epoch + 1)
        ]
        rates.append(RATE * way.factor(state))
    assert rates == pytest.approx(expected(30))


def by_the_rule(accuracies: list[float], window: int, quiet: int, threshold: float, decay: float) -> list[float]:
    """The rule as it is written down, on learning rates."""
    rate, since, means, rates = RATE, quiet, list[float](), list[float]()
    for n in range(1, len(accuracies) + 1):
        some = accuracies[max(0, n - window) : n]
        mean = sum(some) / len(some)
        since += 1
        if len(means) > window and since > quiet and (mean - means[-1]) < threshold:
            rate *= decay
            since = 1
        rate = max(rate, 1e-6)
        means.append(mean)
        rates.append(rate)
    return rates


@pytest.mark.parametrize("seed", range(4))
def test_any_accuracies_follow_the_rule(seed: int) -> None:
    made = torch.rand(60, generator=torch.Generator().manual_seed(seed)).cumsum(0) / 60
    settings: dict[str, Any] = {"window": 3 + seed, "quiet": 5 - seed, "threshold": 0.008, "decay": 0.5}
    control = AccuracyGradient(**settings)
    rates = [RATE * control.feed(accuracy) for accuracy in made.tolist()]
    assert rates == pytest.approx(by_the_rule(made.tolist(), **settings))
    assert len(set(rates)) > 2


def test_rising_accuracy_keeps_the_rate_and_the_floor_holds() -> None:
    control = AccuracyGradient()
    assert {control.feed(0.01 * epoch) for epoch in range(60)} == {1.0}
    control = AccuracyGradient(quiet=1, decay=0.1)
    assert min(control.feed(0.4) for _ in range(60)) == pytest.approx(0.001)


def test_the_training_loop_has_that_rate_also_where_it_was_resumed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(checkpoint, "_SHARE_OF_CHECKPOINTS", 1e9)
    monkeypatch.setattr("carom.defenses.training.pgd_at.robust_accuracy", lambda state, budget: 0.4)
    rates: list[float] = []
    slots_of = AccelAT.slots

    def watched(self: AccelAT, slots: Slots, recipe: Recipe) -> Slots:
        watch = lambda state: rates.append(state.optimizer.param_groups[0]["lr"])  # noqa: E731
        return replace(slots_of(self, slots, recipe), after_epoch=(watch,))

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr(AccelAT, "slots", watched)
    recipe = AccelAT(steps=1).recipe(plain(schedule="one-cycle", epochs=14, learning_rate=RATE))
    whole = ground(n=24).trained(recipe)
    assert rates == pytest.approx([RATE, *expected(13)])
    uninterrupted, rates[:] = rates.copy(), []
    here = ground(n=24, checkpoint=tmp_path / "training")
    with pytest.raises(KeyboardInterrupt):
        replace(here, progress=stop).trained(recipe)
    resumed = here.trained(recipe)
    assert rates == uninterrupted
    assert all(torch.equal(tensor, whole.last[name]) for name, tensor in resumed.last.items())


def test_the_recipes_schedule_is_put_aside() -> None:
    recipe = AccelAT().recipe(plain(schedule="one-cycle"))
    assert recipe.schedule == "constant"
    assert {SCHEDULES[recipe.schedule](done / 10) for done in range(10)} == {1.0}


@pytest.mark.parametrize("changes", [{"window": 0}, {"quiet": 0}, {"decay": 0.0}, {"threshold": -0.1}, {"floor": 2.0}])
def test_what_is_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"accelat: {next(iter(changes))} must be in"):
        AccelAT(**changes)
