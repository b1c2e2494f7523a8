"""LookSAM: SAM every few steps, and its direction kept in between."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.surrogates.by_hand import RATE, A, W, by_hand, same, step, trained, weights
from tests.surrogates.conftest import ground, plain

from carom.errors import InputError
from carom.surrogates.builder import Training
from carom.surrogates.flatness.looksam import LookSAM
from carom.surrogates.flatness.sam import SAM
from carom.zoo.training.recipes import Adaptation


def test_it_is_a_training() -> None:
    assert isinstance(LookSAM(), Training)
    assert isinstance(LookSAM(), Adaptation)


def test_reading_nearby_at_every_step_is_sam() -> None:
    here = ground()
    base, made = trained(here, SAM(rho=0.1)), trained(here, LookSAM(rho=0.1, every=1))
    assert same(base.last, made.last)
    assert made.passes == base.passes


def test_radius_zero_is_the_base_optimizer() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, LookSAM(rho=0.0))
    assert same(base.last, made.last)
    assert made.passes == base.passes


def test_passes_are_those_of_one_reading_nearby_in_every() -> None:
    here = ground(recipe=plain(epochs=3, batch_size=16))  # 18 steps of 16 images
    made = trained(here, LookSAM(every=4))
    assert made.passes.forward == made.passes.backward == (18 + 5) * 16


def test_two_steps_by_hand() -> None:
    state, gradient, read = by_hand()
    way = LookSAM(rho=0.7, every=2, alpha=0.3)
    step(way, state, gradient)
    g = A * W
    g_s = A * (W + 0.7 * g / g.norm())
    g_v = g_s - (g_s @ g) / (g @ g) * g
    after = W - RATE * g_s
    torch.testing.assert_close(weights(state), after)
    assert g_v.norm() > 0.01
    state.step = 1
    step(way, state, gradient)
    assert len(read) == 3
    g = A * after
    torch.testing.assert_close(weights(state), after - RATE * (g + 0.3 * g.norm() / g_v.norm() * g_v))


def test_what_is_interrupted_between_two_readings_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carom.zoo.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    way = LookSAM(rho=0.2, every=5)  # 6 steps an epoch
    whole = trained(ground(), way)
    here = ground(checkpoint=tmp_path / "looksam.pt")
    with pytest.raises(KeyboardInterrupt):
        trained(replace(here, progress=stop), way)
    again = trained(here, way)
    assert same(whole.last, again.last)
    assert again.passes == whole.passes


@pytest.mark.parametrize(
    ("setting", "name"), [({"rho": -1.0}, "rho"), ({"every": 0}, "every"), ({"alpha": 11.0}, "alpha")], ids=str
)
def test_settings_out_of_range(setting: dict[str, float], name: str) -> None:
    with pytest.raises(InputError, match=f"looksam: {name} must be in"):
        LookSAM(**setting)  # type: ignore[arg-type]
