"""Shifts, turns, sizes and flips."""

import torch

from carom.zoo.training.augment import draw, warp
from carom.zoo.training.recipes import Recipe


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_augmentation_of_nothing_is_nothing() -> None:
    assert draw(Recipe(shift=0.0, rotation=0.0, scale=0.0), 5, (8, 7), generator()) is None


def test_a_shift_moves_by_whole_pixels_at_most() -> None:
    x = torch.zeros(64, 1, 11, 9)
    x[:, :, 5, 4] = 1
    maps = draw(Recipe(shift=2.0, rotation=0.0, scale=0.0), 64, (11, 9), generator())
    moved = warp(x, maps)
    torch.testing.assert_close(moved.sum((1, 2, 3)), torch.ones(64), atol=1e-4, rtol=0)
    rows = (moved.sum((1, 3)) * torch.arange(11)).sum(1) - 5
    columns = (moved.sum((1, 2)) * torch.arange(9)).sum(1) - 4
    for offset in (rows, columns):
        assert 1.5 < float(offset.abs().max()) <= 2 + 1e-4
    assert abs(float(torch.corrcoef(torch.stack([rows, columns]))[0, 1])) < 0.4


def test_a_turn_keeps_distances_on_an_image_that_is_not_square() -> None:
    x = torch.zeros(64, 1, 31, 21)
    x[:, :, 15, 17] = 1  # 7 pixels right of the centre
    maps = draw(Recipe(shift=0.0, rotation=45.0, scale=0.0), 64, (31, 21), generator())
    moved = warp(x, maps)
    mass = moved.sum((1, 2, 3))
    rows = (moved.sum((1, 3)) * torch.arange(31)).sum(1) / mass - 15
    columns = (moved.sum((1, 2)) * torch.arange(21)).sum(1) / mass - 10
    torch.testing.assert_close((rows.square() + columns.square()).sqrt(), torch.full((64,), 7.0), atol=0.15, rtol=0)
    assert float(rows.abs().max()) > 4


def test_flips_are_every_other_image() -> None:
    x = torch.rand(64, 1, 5, 6)
    flipped = warp(x, draw(Recipe(shift=0.0, rotation=0.0, scale=0.0, flip=True), 64, (5, 6), generator()))
    mirrored = (flipped - x.flip(3)).abs().amax((1, 2, 3)) < 1e-5
    same = (flipped - x).abs().amax((1, 2, 3)) < 1e-5
    assert bool((mirrored | same).all())
    assert 16 < int(mirrored.sum()) < 48
