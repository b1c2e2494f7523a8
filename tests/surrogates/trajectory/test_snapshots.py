"""Snapshots are cyclical sampling without noise."""

from dataclasses import dataclass, replace

import torch
from tests.surrogates.conftest import ground, plain
from tests.surrogates.posterior.test_csgld import SHORT, same, trained

from carom.registry import build
from carom.surrogates.builder import Training
from carom.surrogates.posterior.csgld import restarts
from carom.surrogates.trajectory.snapshots import PRESETS, Snapshots
from carom.zoo.training.recipes import Adaptation, Recipe, adapted
from carom.zoo.training.slots import Slots


def test_temperature_zero_is_snapshots_bit_for_bit() -> None:
    cold = replace(SHORT, temperature=0.0, noise_epochs=3, alpha=0.1)
    snapshots = Snapshots(
        cycles=2, epochs_per_cycle=3, samples_per_cycle=2, learning_rate=0.03, momentum=0.9, weight_decay=0.0005
    )
    assert same(trained(cold), trained(snapshots))
    assert not same(trained(replace(cold, temperature=0.01)), trained(snapshots))


def test_they_are_a_training_that_adapts_a_recipe() -> None:
    assert isinstance(Snapshots(), Training)
    assert isinstance(Snapshots(), Adaptation)
    assert Snapshots(cycles=3).count() == 3


def test_presets_can_be_built() -> None:
    for preset in PRESETS.values():
        build(Snapshots, dict(preset), where="preset")


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """Snapshots with torch's own descent, to which no momentum is the same in both ways of writing it."""

    weight_decay: float

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        return replace(
            slots,
            optimizer=lambda c: torch.optim.SGD(c.parameters(), lr=0.03, weight_decay=self.weight_decay),
            schedule=lambda done: restarts(done, 2),
            collect=lambda epoch: epoch % 3 == 0,
        )


def test_without_noise_and_momentum_it_is_plain_descent() -> None:
    here = ground("mlp")
    way = Snapshots(cycles=2, epochs_per_cycle=3, learning_rate=0.03, momentum=0.0, weight_decay=0.01)
    reference = here.trained(adapted(plain(), _Reference(weight_decay=0.01), epochs=6))
    for ours, theirs in zip(trained(way, "mlp").samples, reference.samples, strict=True):
        for name, tensor in ours.weights.items():
            torch.testing.assert_close(tensor, theirs.weights[name], atol=1e-5, rtol=1e-5)
