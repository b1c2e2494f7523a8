import math
from fractions import Fraction
from typing import Any

import pytest
import torch

from carom.attacks import CONTROLS, craft_control, parse_control
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.identity import content_key
from carom.protocols import Control

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")
every_budget = pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)


@pytest.mark.parametrize("name", CONTROLS)
@every_budget
def test_controls_stay_in_the_ball_and_belong_to_the_image(name: str, budget: Budget, batch: Any) -> None:
    control = parse_control(name)
    assert isinstance(control, Control)
    jobs = [(control, budget), (control, Budget(norm=budget.norm, eps=Fraction(0)))]
    moved, still = craft_control(jobs, batch.pixels, seed=1, ids=batch.ids)
    budget.check(moved.images, batch.pixels)
    assert torch.equal(moved.images, batch.pixels) == (name == "identity")
    assert torch.equal(still.images, batch.pixels)
    assert moved.passes.forward == moved.passes.backward == 0
    (turned,) = craft_control(jobs[:1], batch.pixels.flip(0), seed=1, ids=batch.ids.flip(0), chunk=2)
    assert torch.equal(turned.images.flip(0), moved.images)


@pytest.mark.parametrize("levels", [1, 16, 200])
def test_sign_noise_is_the_largest_change_in_the_ball(levels: int, batch: Any) -> None:
    budget = Budget.parse("linf", f"{levels}/255")
    (crafted,) = craft_control([(parse_control("sign-noise"), budget)], batch.pixels, seed=1, ids=batch.ids)
    clean = batch.pixels.int()
    largest = torch.maximum(clean.clamp(max=levels), (255 - clean).clamp(max=levels))
    assert torch.equal((crafted.images.int() - clean).abs(), largest)


def test_sign_noise_signs_are_even_and_l2_uses_the_whole_radius() -> None:
    x = torch.full((200, 1, 8, 7), 0.5)
    draws = Draws(0, torch.arange(200))
    up = (parse_control("sign-noise")(x, LINF, draws) > x).double().mean()
    assert abs(float(up) - 0.5) < 4 * 0.5 / math.sqrt(200 * 56)
    half = parse_control({"name": "sign-noise", "scale": "1/2"})
    torch.testing.assert_close(L2.size(half(x, L2, draws), x), torch.full((200,), 0.75))


def test_gaussian_noise_has_its_sigma() -> None:
    x = torch.full((200, 1, 8, 7), 0.5)
    draws = Draws(0, torch.arange(200))
    control = parse_control({"name": "gaussian-noise", "sigma": "1/5"})
    spread = float((control(x, LINF, draws) - x).std()) / float(LINF.eps)
    assert spread == pytest.approx(0.2, rel=0.03)
    assert float(L2.size(control(x, L2, draws), x).square().mean().sqrt()) / 1.5 == pytest.approx(0.2, rel=0.03)


def test_box_blur_is_the_mean_of_the_pixels_around() -> None:
    x = torch.rand(1, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    blurred = parse_control("box-blur")(x, Budget.parse("linf", "1"), Draws(0, torch.tensor([0])))
    torch.testing.assert_close(blurred[0, 1, 2, 2], x[0, 1, 1:4, 1:4].mean())
    torch.testing.assert_close(blurred[0, 0, 0, 0], x[0, 0, :2, :2].mean())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("sign-nose", "did you mean 'sign-noise'"),
        (4, "expected a name"),
        ({"name": "box-blur", "raduis": 2}, "did you mean 'radius'"),
        ({"name": "box-blur", "radius": 0}, "at least 1"),
        ({"name": "sign-noise", "scale": "2"}, r"in \(0, 1\]"),
        ({"name": "gaussian-noise", "sigma": 0}, "more than 0"),
    ],
)
def test_mistakes_are_named(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_control(value, where="controls[0]")
    assert str(caught.value).startswith("controls[0]")


def test_controls_have_keys_of_their_own() -> None:
    keys = [content_key(parse_control(name)) for name in CONTROLS]
    assert len(set(keys)) == len(keys)
