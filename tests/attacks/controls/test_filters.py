"""Filters: what each does at full strength, and how far it goes within a budget."""

from typing import Any

import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor

from carom.attacks import CONTROLS, craft_control, parse_control
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError

FILTERS = [name for name in CONTROLS if name.startswith("filter-")]
COLOUR = ("filter-grayscale", "filter-swap-rgb")
WHOLE = Budget.parse("linf", "1")  # no filter changes more, so this is the filter itself
SMALL = [Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")]


def images(n: int = 4, channels: int = 3, rows: int = 13, columns: int = 10) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (n, channels, rows, columns), generator=generator).float() / 255


def applied(value: object, x: Tensor, budget: Budget = WHOLE, seed: int = 0) -> Tensor:
    return parse_control(value)(x, budget, Draws(seed, torch.arange(len(x))))


def pil(x: Tensor) -> Image.Image:
    return Image.fromarray((x * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def of_pil(image: Image.Image) -> Tensor:
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.reshape(image.height, image.width, -1).permute(2, 0, 1).float() / 255


def test_there_are_seven_filters() -> None:
    assert len(FILTERS) == 7


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("budget", SMALL, ids=lambda b: b.norm)
def test_a_filter_goes_straight_towards_its_image_and_exactly_eps_far(name: str, budget: Budget) -> None:
    x = images()
    full, near = applied(name, x), applied(name, x, budget)
    assert bool((budget.size(full, x) > float(budget.eps)).all()), "the case is made for filters that go further"
    torch.testing.assert_close(budget.size(near, x), torch.full((len(x),), float(budget.eps)), rtol=1e-5, atol=0)
    share = float(budget.eps) / budget.size(full, x)
    torch.testing.assert_close(near - x, share[:, None, None, None] * (full - x), rtol=1e-4, atol=1e-6)
    assert float(near.min()) >= 0
    assert float(near.max()) <= 1


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_filter_smaller_than_the_budget_is_whole(name: str, norm: str) -> None:
    x = 0.1 + 0.8 * images()
    wide = Budget.parse(norm, "0.95" if norm == "linf" else "100")
    assert bool((wide.size(applied(name, x, wide), x) < float(wide.eps)).all())
    torch.testing.assert_close(applied(name, x, wide), applied(name, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", FILTERS)
def test_stored_sets_have_the_whole_radius(name: str) -> None:
    pixels = (images() * 255).round().to(torch.uint8)
    (crafted,) = craft_control([(parse_control(name), SMALL[0])], pixels, seed=1, ids=torch.arange(4))
    assert (crafted.images.int() - pixels.int()).abs().flatten(1).amax(1).tolist() == [16] * 4


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("budget", SMALL, ids=lambda b: b.norm)
def test_an_image_that_a_filter_leaves_alone_stays(name: str, budget: Budget) -> None:
    """Black to a black box, grey to a blur: no change to scale, and no division by it."""
    value = {"filter-black-box": 0.0, "filter-invert": 0.5}.get(name, 0.3)
    x = torch.full((2, 3, 6, 5), value)
    near = applied(name, x, budget)
    assert bool(near.isfinite().all())
    if name not in ("filter-noise", "filter-salt-pepper"):
        torch.testing.assert_close(near, x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("budget", SMALL, ids=lambda b: b.norm)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 13, 10), (3, 33, 31)], ids=lambda s: "x".join(map(str, s)))
def test_an_image_has_the_same_bits_in_any_batch_and_place(name: str, budget: Budget, shape: tuple[int, ...]) -> None:
    """No network is asked, so nothing excuses a difference in rounding."""
    if name in COLOUR and shape[0] == 1:
        shape = (3, *shape[1:])
    x, ids = images(7, *shape), torch.arange(7)
    whole = parse_control(name)(x, budget, Draws(0, ids))
    for batch in ([0], [6], [3, 1], [6, 5, 4, 3, 2, 1, 0], [2, 2, 2, 2, 2]):
        part = parse_control(name)(x[batch], budget, Draws(0, ids[batch]))
        assert torch.equal(part, whole[batch]), batch


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("budget", SMALL, ids=lambda b: b.norm)
def test_draws_are_per_image(name: str, budget: Budget) -> None:
    same = images(1).expand(6, -1, -1, -1)
    distinct = len({row.numpy().tobytes() for row in applied(name, same, budget)})
    random = name in ("filter-noise", "filter-black-box", "filter-salt-pepper")
    assert (distinct > 1) == random


@pytest.mark.parametrize("name", FILTERS)
def test_any_shape_and_float64(name: str) -> None:
    for shape in ((2, 1, 1, 1), (1, 3, 2, 9), (2, 1, 28, 28)):
        x = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        near = applied(name, x, SMALL[0])
        assert near.shape == x.shape
        assert near.dtype == x.dtype


@pytest.mark.parametrize("name", COLOUR)
def test_colour_filters_are_the_identity_on_one_channel(name: str) -> None:
    x = images(channels=1)
    for budget in (WHOLE, *SMALL):
        assert torch.equal(applied(name, x, budget), x)
    assert not torch.equal(applied(name, images()), images())


@pytest.mark.parametrize("name", COLOUR)
def test_colour_filters_refuse_two_channels(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: expected images of 1 or 3 channels, got 2"):
        applied(name, images(channels=2))


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0, 3.5, 20.0])
def test_blur_is_pillows(radius: float) -> None:
    x = images(1, rows=11, columns=17)
    ours = applied({"name": "filter-blur", "radius": radius}, x)[0]
    # Pillow rounds to 8 bits after the rows and after the columns: half a level each
    assert float((ours - of_pil(pil(x[0]).filter(ImageFilter.BoxBlur(radius)))).abs().max()) * 255 <= 1.01


def test_grayscale_invert_and_swap_are_pillows() -> None:
    x = images(1)
    grey = of_pil(ImageOps.grayscale(pil(x[0])))
    assert float((applied("filter-grayscale", x)[0] - grey).abs().max()) * 255 <= 0.51
    torch.testing.assert_close(applied("filter-invert", x)[0], of_pil(ImageOps.invert(pil(x[0]))))
    red, green, blue = pil(x[0]).split()
    torch.testing.assert_close(applied("filter-swap-rgb", x)[0], of_pil(Image.merge("RGB", (green, red, blue))))


def test_black_box_covers_its_share_and_reaches_every_place() -> None:
    x = torch.ones(4000, 1, 9, 6)
    black = applied("filter-black-box", x)[:, 0] == 0
    assert bool((black.sum((1, 2)) == 3 * 2).all())
    tops, lefts = black.any(2).int().argmax(1), black.any(1).int().argmax(1)
    assert bool((black.any(2).sum(1) == 3).all())
    assert bool((black.any(1).sum(1) == 2).all())
    places = torch.bincount(tops * 5 + lefts, minlength=35).double()
    assert len(places) == 35
    chi2 = float(((places - 4000 / 35).square() / (4000 / 35)).sum())
    assert chi2 < 65.2, "0.999 quantile of chi2(34)"
    assert bool((applied({"name": "filter-black-box", "share": 1.0}, x) == 0).all())


def test_salt_and_pepper_turn_whole_pixels_half_of_them_each() -> None:
    x = torch.full((300, 3, 10, 10), 0.5)
    y = applied({"name": "filter-salt-pepper", "amount": 0.2}, x)
    assert set(y.flatten().tolist()) == {0.0, 0.5, 1.0}
    assert torch.equal(y.amin(1), y.amax(1)), "all channels together"
    share = torch.tensor([float((y == v).double().mean()) for v in (0.0, 1.0)])
    assert float((share - 0.1).abs().max()) < 4 * (0.1 * 0.9 / 30000) ** 0.5


def test_noise_has_mean_zero_and_its_sigma() -> None:
    x = torch.full((300, 1, 10, 10), 0.5)
    change = applied({"name": "filter-noise", "sigma": 0.05}, x) - x
    assert abs(float(change.mean())) < 4 * 0.05 / 30000**0.5
    assert float(change.std()) == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": "filter-noise", "sigma": 0.0}, r"sigma must be in \(0, 10\]"),
        ({"name": "filter-blur", "radius": 0.0}, r"radius must be in \(0, 100\]"),
        ({"name": "filter-black-box", "share": 1.5}, r"share must be in \(0, 1\]"),
        ({"name": "filter-salt-pepper", "amount": -0.1}, r"amount must be in \(0, 1\]"),
        ("filter-grey", "filter-"),
    ],
)
def test_mistakes_are_named(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_control(value)
