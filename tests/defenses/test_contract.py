"""What every defence of the registry keeps, on a tiny network."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from carom.defenses import DEFENSES, Defended, Defense, PublicModel, Randomised, build, parse_defense
from carom.errors import InputError
from carom.zoo.training.ground import Ground

from .conftest import ground, images, plain

TINY = {"steps": 1, "eps": "2/255"}  # so small that a short training is of use
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    **{name: TINY for name in ("pgd-at", "trades", "mart", "awp", "accelat", "twin")},
    "pubdef": {"steps": 1, "copies": 1},
    "proard": {**TINY, "epochs": [2, 1, 1]},
    "search": {"steps": 1, "samples": 10, "measured": 2, "population": 4, "generations": 2},
}
BEHIND = {"proard": "trades", "student": "trades", "slice": "trades", "twin": "trades", "search": "trades"}


def chain_of(name: str) -> Defense:
    """The defence, behind what it goes on from."""
    before = BEHIND.get(name)
    if before is None:
        return parse_defense({"name": name, **SETTINGS.get(name, {})})[1]
    return parse_defense({"name": f"{before} -> {name}", before: TINY, name: SETTINGS.get(name, {})})[1]


def ground_of(name: str, tmp_path: Path | None = None) -> Ground:
    network = "elastic-resnet" if name in BEHIND else "mlp"
    return ground(network, n=96, recipe=plain(epochs=4 if name in BEHIND else 1), checkpoint=tmp_path)


def public() -> list[PublicModel]:
    return [
        PublicModel(
            label=f"public {seed}", group=group, classifier=build(Defense(), ground("mlp", n=48, seed=seed)).classifier
        )
        for seed, group in ((5, "normal"), (6, "linf"))
    ]


def made(name: str, **changes: Any) -> Defended:
    defense = chain_of(name)
    return build(defense, replace(ground_of(name), **changes), public() if defense.pool else ())


@cache
def once_made(name: str) -> Defended:
    """The same for all tests that only look at it."""
    return made(name)


LONG = ("proard", "search", "student", "twin")
every_defense = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.thorough] if name in LONG else []) for name in DEFENSES]
)


@pytest.mark.thorough
@every_defense
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    one, other = once_made(name), made(name)
    assert list(one.weights) == list(other.weights)
    assert all(torch.equal(one.weights[k], other.weights[k]) for k in one.weights)
    assert one.classifier.fingerprint() == other.classifier.fingerprint()
    assert (one.passes.forward, one.passes.backward) == (other.passes.forward, other.passes.backward)


@every_defense
def test_a_victim_answers_images_alike_alone_and_among_others(name: str) -> None:
    victim = once_made(name).classifier
    assert not any(module.training for module in victim.modules())
    some = images(7)
    with torch.no_grad():
        logits = victim.answer(some.pixels, some.ids) if isinstance(victim, Randomised) else victim(some.pixels)
        alone = torch.cat(
            [
                victim.answer(x, i) if isinstance(victim, Randomised) else victim(x)
                for x, i in zip(torch.split(some.pixels, 1), torch.split(some.ids, 1), strict=True)
            ]
        )
    assert logits.shape == (7, 3)
    torch.testing.assert_close(logits, alone, atol=1e-4, rtol=1e-4)


@every_defense
def test_gradients_reach_the_image(name: str) -> None:
    victim, x = once_made(name).classifier, images(4).pixels.requires_grad_()
    (gradient,) = torch.autograd.grad(victim(x).square().sum(), x)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0).all()


def test_who_learns_from_public_models_needs_some() -> None:
    with pytest.raises(InputError, match="learns from public models, and there are none; give a pool"):
        build(chain_of("pubdef"), ground_of("pubdef"))
