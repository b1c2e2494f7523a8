"""Cyclical sampling: what is kept, when it is noisy, and identities."""

from dataclasses import replace
from math import cos, pi
from pathlib import Path

import pytest
import torch
from tests.surrogates.conftest import ground, plain

from carom.errors import InputError
from carom.registry import build
from carom.surrogates.builder import Training
from carom.surrogates.posterior.csgld import PRESETS, Cyclical, restarts
from carom.zoo.training.recipes import Adaptation
from carom.zoo.training.trained import DivergedError, Trained

SHORT = Cyclical(
    cycles=2, epochs_per_cycle=3, samples_per_cycle=2, noise_epochs=1, learning_rate=0.03, temperature=0.01
)


def trained(way: Training, name: str = "resnet-small") -> Trained:
    here = ground(name)
    return here.trained(way.recipe(here.recipe))


def same(a: Trained, b: Trained) -> bool:
    return len(a.samples) == len(b.samples) and all(
        torch.equal(tensor, two.weights[name])
        for one, two in zip(a.samples, b.samples, strict=True)
        for name, tensor in one.weights.items()
    )


def test_it_is_a_training_that_adapts_a_recipe() -> None:
    assert isinstance(Cyclical(), Training)
    assert isinstance(Cyclical(), Adaptation)
    assert build(Cyclical, {"temperature": 0}, where="cyclical") == Cyclical(temperature=0.0)
    assert Cyclical(cycles=3, samples_per_cycle=2).count() == 6


@pytest.mark.parametrize("cycles", [1, 2, 3, 5, 7])
def test_the_rate_jumps_up_at_the_first_step_of_a_cycle(cycles: int) -> None:
    steps = cycles * 12
    for step in range(steps):
        expected = (1 + cos(pi * (step % 12) / 12)) / 2
        assert restarts(step / steps, cycles) == pytest.approx(expected, abs=1e-8)


def test_samples_are_the_last_epochs_of_cycles() -> None:
    made = trained(SHORT)
    assert sorted([s.epoch for s in made.samples] + made.diverged) == [2, 3, 5, 6]
    assert len(made.samples) >= 3
    assert made.passes.forward == made.passes.backward == 6 * 96


def test_only_the_last_epochs_of_a_cycle_are_noisy() -> None:
    quiet, noisy = trained(replace(SHORT, temperature=0.0)), trained(SHORT)
    one, two = ({s.epoch: s.weights for s in made.samples} for made in (quiet, noisy))
    assert all(torch.equal(one[2][name], two[2][name]) for name in one[2])
    assert not any(torch.equal(one[3][name], two[3][name]) for name in one[3] if name.endswith("weight"))


def test_a_rate_far_too_high_is_told() -> None:
    with pytest.raises(DivergedError, match="lower the learning rate"):
        trained(replace(SHORT, learning_rate=500.0))


def test_cycles_that_do_no_better_than_guessing_are_named_and_left_out() -> None:
    """A cycle of one quiet epoch, and one that is all noise."""
    way = replace(SHORT, epochs_per_cycle=2, cycles=1, learning_rate=0.3, alpha=1.0, temperature=1000.0)
    made = trained(way)
    assert made.diverged == [2]
    assert [s.epoch for s in made.samples] == [1]


def test_what_is_interrupted_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The velocity is in the checkpoint, and noise belongs to its step."""
    monkeypatch.setattr("carom.zoo.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 3:
            raise KeyboardInterrupt

    here = ground("mlp", checkpoint=tmp_path / "cyclical.pt")
    way = replace(SHORT, noise_epochs=2)
    with pytest.raises(KeyboardInterrupt):
        replace(here, progress=stop).trained(way.recipe(here.recipe))
    assert same(here.trained(way.recipe(here.recipe)), trained(way, "mlp"))


def test_the_two_published_conventions_for_noise() -> None:
    """Deviation of the noise of a step: of one code sqrt(2 lr alpha) / n_b, of the other sqrt(2 lr alpha T / N)."""
    for name, n, batches in (("paper-cifar10", 50_000, 782), ("paper-imagenet", 1_281_167, 5005)):
        way = build(Cyclical, dict(PRESETS[name]), where=name)
        assert (way.temperature / n) ** 0.5 == pytest.approx(1 / batches)
        batch = way.recipe(plain()).batch_size
        assert batch == way.batch_size
        assert -(-n // batch) == batches
    assert SHORT.recipe(plain(batch_size=24)).batch_size == 24
    assert build(Cyclical, dict(PRESETS["csgmcmc-cifar10"]), where="preset").temperature == 2e-5
    assert build(Cyclical, dict(PRESETS["csghmc-cifar10"]), where="preset").alpha == 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples_per_cycle": 4}, r"cyclical: samples_per_cycle must be in \[1, 3\], got 4"),
        ({"noise_epochs": 4}, r"cyclical: noise_epochs must be in \[0, 3\], got 4"),
        ({"alpha": 0.0}, "cyclical: alpha must be in"),
        ({"temperature": -1.0}, "cyclical: temperature must be in"),
        ({"learning_rate": float("nan")}, "cyclical: learning_rate must be in"),
    ],
    ids=str,
)
def test_settings_out_of_range(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SHORT, **change)  # type: ignore[arg-type]
