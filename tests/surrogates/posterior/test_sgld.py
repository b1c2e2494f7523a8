"""SGLD: the walk's scale, what is kept, and its limits. That it samples a known posterior is among Langevin's tests."""

from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.surrogates.conftest import ground, images, plain
from torch import Tensor

from carom.draws import stream
from carom.errors import InputError
from carom.registry import build
from carom.surrogates.builder import Training
from carom.surrogates.posterior.langevin import Langevin
from carom.surrogates.posterior.sgld import PSGLD, SGLD
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.training.ground import Ground
from carom.zoo.training.recipes import Adaptation
from carom.zoo.training.state import State
from carom.zoo.training.trained import DivergedError, Trained

SHORT = SGLD(burn_in=2, samples=2, thinning=2, learning_rate=0.05)
WAYS = [SHORT, PSGLD(burn_in=2, samples=2, thinning=2)]


def trained(way: Training, here: Ground) -> Trained:
    return here.trained(way.recipe(here.recipe))


def same(a: Trained, b: Trained) -> bool:
    return len(a.samples) == len(b.samples) and all(
        torch.equal(tensor, two.weights[name])
        for one, two in zip(a.samples, b.samples, strict=True)
        for name, tensor in one.weights.items()
    )


@pytest.mark.parametrize("way", WAYS, ids=lambda way: type(way).__name__)
def test_samples_come_after_the_burn_in_at_their_distance(way: SGLD) -> None:
    assert isinstance(way, Training)
    assert isinstance(way, Adaptation)
    here = ground("mlp")
    made = trained(way, here)
    assert [s.epoch for s in made.samples] == [4, 6]
    assert way.count() == 2
    assert made.passes.forward == made.passes.backward == 6 * 96
    assert same(made, trained(way, here))
    assert not same(made, trained(replace(way, temperature=0.5), here))


@pytest.mark.parametrize("batch", [3, 24, 48])
def test_a_batch_stands_for_all_images_whatever_its_size(batch: int) -> None:
    """A step in the posterior's own terms: half of eps times N times the batch's mean log-likelihood, and the prior."""
    n, rate, prior = 48, 0.02, 0.5
    data = images(n)
    classifier = create(architecture({"name": "mlp", "width": 4, "depth": 1}), shape=(1, 8, 8), classes=3)
    slots = SGLD(learning_rate=rate, prior=prior).recipe(plain(batch_size=batch)).slots()
    optimizer = slots.optimizer(classifier)
    assert isinstance(optimizer, Langevin)
    state = State(classifier, optimizer, data, data, 9, 1, 10, torch.Generator(), step=3)
    x, y = data.pixels[:batch], data.labels[:batch]

    def gradient() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(slots.loss(state, x, y)[0])

    before: list[Tensor] = [p.detach().clone() for p in classifier.parameters()]
    slots.update(state, gradient)
    eps = 2 * rate / n
    generator = torch.Generator().manual_seed(stream(9, "langevin", 3))
    for parameter, old in zip(classifier.parameters(), before, strict=True):
        assert parameter.grad is not None
        of_all = n * parameter.grad + old / prior**2
        noise = sqrt(eps) * torch.randn(old.shape, generator=generator)
        torch.testing.assert_close(parameter.detach(), old - eps / 2 * of_all + noise, atol=1e-6, rtol=1e-5)


def test_the_rate_falls_as_a_power() -> None:
    slots = SGLD(burn_in=10, samples=10, decay=0.55, decay_epochs=2.0).recipe(plain()).slots()
    assert slots.schedule(0.0) == 1.0
    assert slots.schedule(0.3) == pytest.approx((1 + 6 / 2) ** -0.55)
    constant = SGLD().recipe(plain()).slots()
    assert constant.schedule(0.9) == 1.0


def test_label_smoothing_is_no_likelihood() -> None:
    assert SGLD().recipe(plain(label_smoothing=0.1)).label_smoothing == 0.0


@pytest.mark.parametrize("way", WAYS, ids=lambda way: type(way).__name__)
def test_what_is_interrupted_goes_on_as_if_nothing_had_been(
    way: SGLD, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carom.zoo.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 3:
            raise KeyboardInterrupt

    here = ground("mlp", checkpoint=tmp_path / "sgld.pt")
    with pytest.raises(KeyboardInterrupt):
        trained(way, replace(here, progress=stop))
    assert same(trained(way, here), trained(way, ground("mlp")))


def test_a_rate_far_too_high_is_told() -> None:
    with pytest.raises(DivergedError, match="lower the learning rate"):
        trained(replace(SHORT, learning_rate=900.0), ground("mlp"))


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (SGLD, {"samples": 0}, r"sgld: samples must be in \[1, 10000\], got 0"),
        (SGLD, {"prior": 0.0}, "sgld: prior must be in"),
        (SGLD, {"decay": 1.5}, "sgld: decay must be in"),
        (PSGLD, {"smoothing": 1.0}, "psgld: smoothing must be in"),
        (PSGLD, {"damping": 0.0}, "psgld: damping must be in"),
    ],
    ids=str,
)
def test_settings_out_of_range(cls: type[SGLD], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(cls, settings, where="sgld")
