"""How far a set went is counted in whole grey levels, so what is on the border of the ball is in it."""

from fractions import Fraction
from math import isqrt

import pandas as pd
import pytest
import torch

from carom.attacks import craft_control
from carom.attacks.controls.noise import SignNoise
from carom.budget import Budget
from carom.scenarios.jobs.visibility import visibility
from carom.scenarios.statistics.controls import stays_in_the_ball

STANDARD = [("linf", f"{k}/255") for k in (2, 4, 8, 16)] + [("l2", eps) for eps in ("0.5", "1", "3")]


@pytest.fixture
def clean() -> torch.Tensor:
    """Forty-one images of 3 x 13 x 11 random pixels."""
    return torch.randint(0, 256, (41, 3, 13, 11), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)


@pytest.mark.parametrize(("norm", "eps"), STANDARD)
def test_sets_on_the_border_of_the_standard_balls_are_inside(norm: str, eps: str, clean: torch.Tensor) -> None:
    budget = Budget.parse(norm, eps)
    noise = craft_control([(SignNoise(), budget)], clean, ids=torch.arange(len(clean)), seed=0)[0].images
    numbers = visibility(noise, clean, budget)
    levels = (noise.int() - clean.int()).flatten(1)
    if norm == "linf":
        sizes = [Fraction(int(size)) for size in levels.abs().amax(1)]
    else:
        # roots in whole numbers, far finer than a float
        sizes = [Fraction(isqrt(int(square) * 10**40), 10**20) for square in levels.square().sum(1)]
    exact = sum(sizes) / len(sizes) / (budget.eps * 255)
    assert exact <= 1
    assert numbers["size_over_eps"] == pytest.approx(float(exact), rel=1e-15)
    if norm == "linf":
        assert numbers["size_over_eps"] == 1.0, "every image has a pixel that may go the whole way"
    sets = pd.DataFrame([{"norm": norm, "eps": eps, "mean_size_over_eps": numbers["size_over_eps"]}])
    assert stays_in_the_ball(sets).status == "passed"


@pytest.mark.parametrize("levels", range(1, 65))
def test_what_earlier_versions_recorded_of_sets_in_the_ball_passes(levels: int, clean: torch.Tensor) -> None:
    """They took the mean of differences of float32 pixels, which is above eps by up to 1e-5 of a small one."""
    moved = torch.where(clean >= 128, clean - levels, clean + levels)
    recorded = float((moved.float() / 255 - clean.float() / 255).abs().flatten(1).amax(1).mean()) / (levels / 255)
    sets = pd.DataFrame([{"norm": "linf", "eps": f"{levels}/255", "mean_size_over_eps": recorded}])
    assert stays_in_the_ball(sets).status == "passed"
    # one grey level too many in one of ten thousand images is seen
    beyond = pd.DataFrame([{"norm": "linf", "eps": f"{levels}/255", "mean_size_over_eps": 1 + 1e-4 / levels}])
    assert stays_in_the_ball(beyond).status == "failed"
