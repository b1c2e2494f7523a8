"""DI against a loop over images."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from carom.attacks import (
    DI,
)
from carom.attacks.slots import View
from carom.budget import Budget
from carom.draws import Draws

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")


def view(draws: Draws, *, step: int = 0, copy: int = 0) -> View:
    y = torch.zeros_like(draws.ids)
    return View(draws=draws, budget=LINF, step=step, index=0, copy=copy, y=y, partners=None)


def test_di_shrinks_and_pads_each_image_by_its_own_draws() -> None:
    n, h, w = 40, 16, 23
    x = torch.rand(n, 3, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    draws = Draws(4, torch.arange(n))
    di = DI(probability=0.7, rate=0.6)
    seen = di.image(x, view(draws, step=2, copy=3))
    u = {name: draws.uniform(f"di {name}", step=2, copy=3).double() for name in ("apply", "size", "top", "left")}
    changed = 0
    for i in range(n):
        expected = x[i]
        if u["apply"][i] < 0.7:
            high, wide = 9 + int(u["size"][i] * 8), 13 + int(u["size"][i] * 11)  # floor(0.6 h) = 9, floor(0.6 w) = 13
            top, left = int(u["top"][i] * (h - high + 1)), int(u["left"][i] * (w - wide + 1))
            small = F.interpolate(x[i : i + 1], (high, wide), mode="bilinear", align_corners=False)
            expected = F.pad(small, (left, w - wide - left, top, h - high - top))[0]
            changed += 1
        torch.testing.assert_close(seen[i], expected, rtol=0, atol=1e-12)
    assert 20 < changed < 36


def test_di_enlarges_and_shrinks_back_where_its_rate_is_above_one() -> None:
    n, h, w = 40, 16, 23
    x = torch.rand(n, 3, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    draws = Draws(4, torch.arange(n))
    seen = DI(probability=0.7, rate=1.5).image(x, view(draws, step=2, copy=3))
    u = {name: draws.uniform(f"di {name}", step=2, copy=3).double() for name in ("apply", "size", "top", "left")}
    sizes = set()
    for i in range(n):
        expected = x[i]
        if u["apply"][i] < 0.7:
            high, wide = h + int(u["size"][i] * 9), w + int(u["size"][i] * 12)  # a canvas of 24 x 34
            top, left = int(u["top"][i] * (24 - high + 1)), int(u["left"][i] * (34 - wide + 1))
            large = F.interpolate(x[i : i + 1], (high, wide), mode="bilinear", align_corners=False)
            canvas = F.pad(large, (left, 34 - wide - left, top, 24 - high - top))
            expected = F.interpolate(canvas, (h, w), mode="bilinear", align_corners=False)[0]
            sizes.add(high)
        torch.testing.assert_close(seen[i], expected, rtol=0, atol=1e-12)
    assert sizes == set(range(16, 25))


@pytest.mark.parametrize("side", [1, 2, 5, 9, 16])
def test_di_uses_all_sizes_and_places_at_any_size(side: int) -> None:
    n = 2000
    seen = DI(probability=1.0, rate=0.9).image(torch.ones(n, 1, side, side), view(Draws(0, torch.arange(n))))
    heights = (seen.amax(3) > 0.5).sum(2).flatten()
    smallest = max(1, int(0.9 * side))
    assert sorted(set(heights.tolist())) == list(range(smallest, side + 1))
    if smallest < side:
        of_smallest = seen[heights == smallest]
        tops = set((of_smallest.amax(3) > 0.5).int().argmax(2).flatten().tolist())
        assert tops == set(range(side - smallest + 1))


def test_di_is_differentiated(batch: Any) -> None:
    x = batch.pixels.double() / 255
    draws = Draws(0, batch.ids)

    def through(x: Tensor) -> Tensor:
        return DI(probability=1.0).image(x, view(draws, step=0, copy=0))

    weight = torch.rand_like(x)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad((through(leaf) * weight).sum(), leaf)
    direction = torch.rand_like(x)
    torch.testing.assert_close((g * direction).sum(), (through(direction) * weight).sum())  # it is linear
