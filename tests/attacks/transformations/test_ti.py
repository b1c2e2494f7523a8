"""TI against a dense convolution."""

import pytest
import torch
from torch.nn import functional as F

from carom.attacks import (
    TI,
)
from carom.attacks.transformations.ti import default_size


@pytest.mark.parametrize(("size", "h", "w"), [(3, 8, 7), (5, 16, 16), (15, 32, 28), (15, 8, 7), (7, 5, 40)])
def test_ti_equals_the_dense_depthwise_convolution(size: int, h: int, w: int) -> None:
    g = torch.randn(5, 4, h, w, generator=torch.Generator().manual_seed(0))
    line = torch.linspace(-3, 3, size).square().mul(-0.5).exp()
    kernel = torch.outer(line, line) / torch.outer(line, line).sum()
    dense = F.conv2d(g, kernel.expand(4, 1, size, size), padding="same", groups=4)
    assert float((TI(size=size).gradient(g) - dense).abs().max()) < 3e-7 * float(g.abs().max())


def test_ti_sizes() -> None:
    assert [default_size(n) for n in (8, 16, 28, 32, 64, 120, 224, 299, 384)] == [5, 5, 5, 5, 5, 7, 11, 15, 19]
    g = torch.zeros(1, 1, 299, 300)
    g[0, 0, 150, 150] = 1
    assert int((TI().gradient(g) > 0).sum()) == 15 * 15
