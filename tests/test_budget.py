from fractions import Fraction
from math import floor, isqrt
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from carom.budget import Budget, in_range, l2, noise_in_ball, parse_eps, unit_l2
from carom.draws import Draws
from carom.errors import ContractError, InputError
from carom.identity import content_key

shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
radii = st.one_of(st.fractions(0, 1, max_denominator=1000), st.integers(0, 255).map(lambda k: Fraction(k, 255)))
budgets = st.one_of(
    radii.map(lambda eps: Budget(norm="linf", eps=eps)),
    st.fractions(0, 12, max_denominator=1000).map(lambda eps: Budget(norm="l2", eps=eps)),
)


def clean_images(shape: tuple[int, ...], seed: int) -> Tensor:
    images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(images % 5 == 0, (images > 128) * 255, images).to(torch.uint8)  # some black and white


def wild(shape: tuple[int, ...], seed: int, spread: float) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64) * spread


@settings(max_examples=60, deadline=None)
@given(budget=budgets, shape=shapes, seed=st.integers(0, 10**6), spread=st.sampled_from([1e-3, 0.1, 3.0]))
def test_project_quantize_check(budget: Budget, shape: tuple[int, ...], seed: int, spread: float) -> None:
    pixels = clean_images(shape, seed)
    x = pixels.double() / 255
    x_adv = budget.project(x + wild(shape, seed, spread), x)
    assert float(x_adv.min()) >= 0
    assert float(x_adv.max()) <= 1
    assert bool((budget.size(x_adv, x) <= float(budget.eps) * (1 + 1e-12) + 1e-15).all())
    torch.testing.assert_close(budget.project(x_adv, x), x_adv)  # what is inside stays
    quantized = budget.quantize(x_adv, pixels)
    budget.check(quantized, pixels)
    change = quantized.int() - pixels.int()
    if budget.norm == "linf":
        assert int(change.abs().max()) <= floor(budget.eps * 255)
    else:
        assert int(change.square().sum((1, 2, 3)).max()) <= floor((budget.eps * 255) ** 2)
    # the nearest level, or one further in
    off = (quantized.double() - x_adv * 255).abs()
    assert float(off.max()) <= 1 + 1e-6
    assert torch.equal(budget.quantize(x, pixels), pixels)
    assert torch.equal(budget.quantize(quantized.double() / 255, pixels), quantized)


@pytest.mark.parametrize("budget", [Budget(norm="linf", eps=Fraction(1, 8)), Budget(norm="l2", eps=Fraction(1, 2))])
def test_what_is_inside_stays_and_what_is_outside_comes_to_the_edge(budget: Budget) -> None:
    """Far from black and white, so that only the ball matters."""
    x = torch.full((3, 1, 4, 4), 0.5, dtype=torch.float64)
    direction = budget.steepest(wild((3, 1, 4, 4), 0, 1.0))
    reach = float(budget.eps)
    for far, comes in ((0.25, 0.25), (1.0, 1.0), (2.0, 1.0)):
        found = budget.project(x + far * reach * direction, x)
        torch.testing.assert_close(found, x + comes * reach * direction)


@settings(max_examples=60, deadline=None)
@given(limit=st.integers(0, 5000), shape=shapes, seed=st.integers(0, 10**6), excess=st.floats(1.0, 1.001))
def test_l2_rounding_never_leaves_the_integer_ball(
    limit: int, shape: tuple[int, ...], seed: int, excess: float
) -> None:
    """Radii whose square in grey levels is whole, changes that float error left a hair outside."""
    budget = Budget(norm="l2", eps=Fraction(isqrt(limit), 255))
    pixels = torch.full(shape, 128, dtype=torch.uint8)
    direction = unit_l2(wild(shape, seed, 1.0))
    x_adv = (pixels.double() / 255 + direction * float(budget.eps) * excess).clamp(0, 1)
    quantized = budget.quantize(x_adv, pixels)
    budget.check(quantized, pixels)


def test_what_float_error_left_outside_is_pulled_in_by_its_largest_pixel() -> None:
    """Whole levels cannot be rounded inward; the square of the radius, 8.41 levels, allows 8."""
    clean = torch.full((2, 1, 1, 3), 100, dtype=torch.uint8)
    change = torch.tensor([[-3, 0, 0], [2, 0, -2]]).reshape(2, 1, 1, 3)
    budget = Budget(norm="l2", eps=Fraction(29, 2550))
    found = budget.quantize((clean + change) / 255, clean).int() - clean.int()
    assert found.flatten(1).tolist() == [[-2, 0, 0], [2, 0, -2]]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_change_equal_in_all_pixels_is_of_size_one_at_the_unit(norm: Any) -> None:
    budget, x = Budget(norm=norm, eps=Fraction(1)), torch.zeros(1, 3, 4, 5)
    assert float(budget.size(x + budget.unit(60), x)) == pytest.approx(1)


def test_l2_rounding_turns_as_few_pixels_as_needed() -> None:
    """Of (1.6, 1.6, 1.6, 0.6), rounded to a squared length of 13, one pixel turned is too few for 9, two are enough."""
    pixels = torch.full((1, 1, 2, 2), 100, dtype=torch.uint8)
    x_adv = (pixels.double() + torch.tensor([1.6, 1.6, 1.6, 0.6]).reshape(1, 1, 2, 2)) / 255
    change = Budget(norm="l2", eps=Fraction(3, 255)).quantize(x_adv, pixels).int() - 100
    assert int(change.square().sum()) <= 9
    assert int((change.flatten() == torch.tensor([2, 2, 2, 1])).sum()) == 2


def test_l2_rounding_turns_the_pixel_that_rounding_enlarged_most() -> None:
    """Of (1.9, 1.6), rounded to a squared length of 8 where 6.25 is allowed, the second grew more."""
    pixels = torch.full((1, 1, 1, 2), 100, dtype=torch.uint8)
    x_adv = (pixels.double() + torch.tensor([1.9, 1.6])) / 255
    change = Budget(norm="l2", eps=Fraction(5, 510)).quantize(x_adv, pixels).int() - 100
    assert change.flatten().tolist() == [2, 1]


def test_float_error_at_the_ends_is_clamped_and_more_is_refused() -> None:
    inside = torch.tensor([[[[0.0, 0.5, 1.0]]]])
    assert in_range(inside, where="x") is inside
    for off in (5e-7, -5e-7):
        end = inside + off
        assert torch.equal(in_range(end, where="x"), end.clamp(0, 1))
    for bad in (inside + 0.01, inside - 0.01, inside * 2, inside * float("nan")):
        with pytest.raises(InputError, match=r"x: pixels in \["):
            in_range(bad, where="x")
    with pytest.raises(InputError, match="divide 8-bit images by 255"):
        in_range(inside * 255, where="x")


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_check_refuses_one_level_too_many(norm: Any) -> None:
    budget = Budget(norm=norm, eps=Fraction(8, 255))
    pixels = torch.full((3, 1, 4, 5), 100, dtype=torch.uint8)
    inside = pixels.clone()
    inside[2, 0, 1, 1] += 8
    budget.check(inside, pixels)
    outside = inside.clone()
    outside[2, 0, 1, 1] += 1
    with pytest.raises(ContractError, match="image 2 is"):
        budget.check(outside, pixels)
    with pytest.raises(ContractError, match="image 2 is"):
        budget.check(200 - outside, pixels)  # eight bits do not wrap around


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steepest_is_of_unit_size_and_keeps_zeros(norm: Any) -> None:
    budget = Budget(norm=norm, eps=Fraction(1, 2))
    g = torch.randn(5, 3, 8, 7, generator=torch.Generator().manual_seed(0))
    g[1] = 0
    g[2] *= 1e-38
    g[3] *= 1e30
    steepest = budget.steepest(g)
    size = budget.size(steepest, torch.zeros_like(g))
    torch.testing.assert_close(size, torch.tensor([1.0, 0, 1, 1, 1]))
    assert bool((steepest * g >= 0).all())


def test_l2_is_euclidean_over_all_pixels() -> None:
    assert l2(torch.ones(2, 3, 4, 3)).tolist() == [6.0, 6.0]


@pytest.mark.parametrize(
    ("written", "exact"),
    [("8/255", Fraction(8, 255)), ("0.5", Fraction(1, 2)), (0.03, Fraction(3, 100)), (0, Fraction(0))],
)
def test_radii_are_exact(written: object, exact: Fraction) -> None:
    assert parse_eps(written) == exact


@pytest.mark.parametrize("written", ["eight", "1/0", None, True, [8], float("nan"), float("inf"), "-1/255", -0.1])
def test_what_is_no_radius_is_refused(written: object) -> None:
    with pytest.raises(InputError, match="here"):
        parse_eps(written, where="here")


def test_impossible_budgets_are_refused() -> None:
    with pytest.raises(InputError, match='write "8/255"'):
        Budget.parse("linf", 8)
    with pytest.raises(InputError, match="unknown norm 'l1'"):
        Budget.parse("l1", "8/255")
    with pytest.raises(InputError, match="negative"):
        Budget(norm="l2", eps=Fraction(-1))


def test_budgets_read_and_hash_by_value() -> None:
    assert str(Budget.parse("linf", "8/255")) == "linf 8/255"
    assert str(Budget.parse("linf", "16/510")) == "linf 8/255"
    assert str(Budget.parse("linf", "0.03")) == "linf 0.03"
    assert str(Budget.parse("l2", "1.5")) == "l2 1.5"
    assert content_key(Budget.parse("linf", "16/510")) == content_key(Budget.parse("linf", "8/255"))
    assert content_key(Budget.parse("linf", "8/255")) != content_key(Budget.parse("l2", "8/255"))


@pytest.mark.parametrize("precision", [np.float64, np.float32])
def test_a_float_near_a_whole_number_of_grey_levels_means_that_number(precision: type[np.floating[Any]]) -> None:
    """All of k/255, as floats say it in the ways that people write it."""
    for k in range(1, 256):
        exact = Fraction(k, 255)
        rounded = precision(k) / precision(255)
        scaled = precision(k) * (precision(1) / precision(255))
        for written in (rounded, float(rounded), scaled, str(rounded), Fraction(float(rounded)), torch.tensor(rounded)):
            assert parse_eps(written) == exact, (k, written)
            assert Budget.parse("linf", written) == Budget(norm="linf", eps=exact), (k, written)
        assert Budget(norm="linf", eps=Fraction(float(rounded))).eps == exact


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_float_radius_loses_no_grey_level(norm: Any) -> None:
    """An image that changed by exactly k levels is inside, and stays as it is; one level more is outside."""
    clean = torch.zeros((1, 1, 1, 2), dtype=torch.uint8)
    for k in range(1, 255):
        budget = Budget.parse(norm, k / 255)
        changed = torch.tensor([[[[k, 0]]]], dtype=torch.uint8)
        budget.check(changed, clean)
        assert torch.equal(budget.quantize(changed.double() / 255, clean), changed), k
        with pytest.raises(ContractError):
            budget.check(changed + torch.tensor([1, 0], dtype=torch.uint8), clean)


@pytest.mark.parametrize("written", [0.03, 0.5, 1.5, 0.1, 0.015, 0.031, 0.0314, 12.25])
def test_other_floats_are_the_decimals_that_they_print_as(written: float) -> None:
    assert parse_eps(written) == Fraction(str(written))
    assert Budget.parse("l2", written).eps == Fraction(str(written))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_noise_fills_its_ball_and_is_drawn_anew_each_time(norm: Any) -> None:
    n, radius = 4000, 0.25
    like = torch.zeros(n, 1, 2, 1)
    draws = Draws(0, torch.arange(n))

    def noise(step: int, copy: int) -> Tensor:
        return noise_in_ball(like, norm, radius, draws, "neighbour", step=step, copy=copy).flatten(1) / radius

    one = noise(0, 0)
    torch.testing.assert_close(one.mean(0), torch.zeros(2), rtol=0, atol=0.05)
    size = one.abs().amax(1) if norm == "linf" else one.square().sum(1).sqrt()
    assert 0.99 < float(size.max()) <= 1 + 1e-6
    assert abs(float((size < 0.5).float().mean()) - 0.25) < 0.03  # a quarter of the square, or of the disc
    for other in (noise(1, 0), noise(0, 1)):
        together = torch.stack((one.flatten(), other.flatten()))
        assert abs(float(torch.corrcoef(together)[0, 1])) < 0.05


def test_noise_of_no_named_step_is_that_of_the_first() -> None:
    draws = Draws(3, torch.arange(4))
    like = torch.zeros(4, 1, 3, 3)
    expected = (draws.uniform("start", like.shape[1:], step=0, copy=0) * 2 - 1) * 0.25
    torch.testing.assert_close(noise_in_ball(like, "linf", 0.25, draws, "start"), expected, rtol=0, atol=1e-7)
