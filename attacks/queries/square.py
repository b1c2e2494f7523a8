"""Square: random search over square patches, by the target's scores."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from carom.budget import Budget, Norm, unit_l2
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Passes, Reader
from carom.typing import Images, Labels, Logits, PerImage

from .oracle import fooled, oracle_of

_HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 iterations


@dataclass(frozen=True, kw_only=True, slots=True)
class Square:
    """Random search over squares (Andriushchenko et al. 2020, arXiv:1912.00049); reads scores, never a gradient.

    linf: starts from vertical stripes of +eps and -eps, and sets random squares to +eps or -eps, one sign a channel.
    l2: starts from a grid of bumps, and moves length from one random square into another one. What lowers the loss is
    kept: the margin of the true class, or the cross-entropy of the target class. The squares shrink as in the paper's
    code, with its schedule of 10,000 iterations scaled to `queries`. AutoAttack does not scale it.

    Each image has squares of its own, and stops asking at its first success. One that never succeeds ends at its lowest
    loss. A linf square that would change nothing takes the opposite signs, so no query is spent on a known answer.

    Attributes:
        queries: An image may cost, at least 1; the first one asks about the start. The paper spends 10,000.
        fraction: Of the pixels, that the first squares cover, in (0, 1]. The paper takes 0.05 (linf) and 0.1 (l2) on
            undefended networks of 224 pixels, and up to 0.8 on defended and small ones.
        schedule: Queries over which the squares shrink, at least 1; None for `queries`, 10,000 for AutoAttack's.

    Raises:
        InputError: Out of these ranges; or, when called, no target to ask.
    """

    queries: int = 200
    fraction: float = 0.8
    schedule: int | None = None

    version: ClassVar[int] = 1
    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    targeted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.queries < 1:
            raise InputError(f"square: queries must be at least 1, got {self.queries}")
        if not 0 < self.fraction <= 1:
            raise InputError(f"square: fraction must be in (0, 1], got {self.fraction:g}")
        if self.schedule is not None and self.schedule < 1:
            raise InputError(f"square: schedule must be at least 1, got {self.schedule}")

    def passes(self, members: int = 1) -> Passes:
        """What an image costs at most; each query reads all active classifiers."""
        return Passes(self.queries * members, 0)

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        """Images in the ball around `reader.x`; those that fooled the target are the ones it was asked about."""
        x = reader.x
        stripes = _stripes(x, budget, draws) if budget.norm == "linf" else _bumps(x, budget, draws)
        return self.from_start(reader, budget, draws, stripes)

    def from_start(self, reader: Reader, budget: Budget, draws: Draws, start: Images) -> Images:
        """As a call, from other images in the ball, `n c h w`; the first query asks about them."""
        x, y, target = reader.x, reader.y, reader.target
        if budget.eps == 0:
            return x.detach().clone()
        oracle = oracle_of(reader.oracle, self.queries, name="square")
        best = start.detach().clone()
        rows = torch.arange(len(x), device=x.device)
        scores = oracle.scores(best, rows)
        lowest = _loss(scores, y, target)
        rows = rows[~fooled(scores.argmax(1), y, target)]
        for query in range(1, self.queries):
            if not len(rows):
                break
            aim = None if target is None else target[rows]
            proposed = self._proposed(x[rows], best[rows], budget, draws.select(rows), query)
            scores = oracle.scores(proposed, rows)
            loss, found = _loss(scores, y[rows], aim), fooled(scores.argmax(1), y[rows], aim)
            better = (loss < lowest[rows]) | found
            kept = rows[better]
            best[kept], lowest[kept] = proposed[better], loss[better]
            rows = rows[~found]
        return best

    def side(self, query: int, height: int, width: int, norm: Norm) -> int:
        """Pixels along a square of this query (from 1), on images of this size."""
        of_ten_thousand = (query - 1) * 10_000 // (self.schedule or self.queries)
        halvings = sum(of_ten_thousand > after for after in _HALVED_AFTER)
        most = min(height, width)
        side = round(math.sqrt(self.fraction / 2**halvings * height * width))
        if norm == "linf":
            return min(max(side, 1), most)
        side = max(side, 3) | 1  # a bump has a middle
        return side if side <= most else most - (1 - most % 2)

    def _proposed(self, x: Images, best: Images, budget: Budget, draws: Draws, query: int) -> Images:
        side = self.side(query, x.shape[2], x.shape[3], budget.norm)
        eps = float(budget.eps)
        window, _, _ = _window(x, side, draws, query, "square")
        signs = _signs(x, draws, query)
        if budget.norm == "linf":
            proposed = torch.where(window, (x + eps * signs).clamp(0, 1), best)
            same = (proposed == best).flatten(1).all(1)[:, None, None, None]
            return torch.where(window & same, (x - eps * signs).clamp(0, 1), proposed)
        return _moved(x, best, eps, side, signs, draws, query)


def _moved(
    x: Images, best: Images, eps: float, side: int, signs: Float[Tensor, "n c 1 1"], draws: Draws, query: int
) -> Images:
    """The change with one square emptied into another one, which gets a bump on top; all of length eps."""
    change = best - x
    window, top, left = _window(x, side, draws, query, "square")
    source, _, _ = _window(x, side, draws, query, "emptied")
    unused = (eps**2 - change.square().sum((1, 2, 3), keepdim=True)).clamp_min(0)
    available = (change * (window | source)).square().sum((2, 3), keepdim=True) + unused / x.shape[1]
    bump = _placed(_bump(side).to(x), x, top, left, draws.bits("square turned", step=query) < 0) * signs
    new = _unit_per_channel(bump + _unit_per_channel(change * window)) * window * available.sqrt()
    moved = torch.where(window, new, torch.where(source, 0.0, change))
    return (x + eps * unit_l2(moved)).clamp(0, 1)


def _stripes(x: Images, budget: Budget, draws: Draws) -> Images:
    """Columns of +eps or -eps, each channel its own."""
    up = draws.bits("square stripes", (x.shape[1], 1, x.shape[3])) < 0
    eps = float(budget.eps)
    return torch.where(up, x + eps, x - eps).clamp(0, 1)


def _bumps(x: Images, budget: Budget, draws: Draws) -> Images:
    """A centred grid of bumps, five along the shorter side, each channel with signs of its own."""
    n, channels, height, width = x.shape
    side = max(1, min(height, width) // 5)
    rows, columns = height // side, width // side
    bump = _bump(side).to(x)
    both = torch.stack((bump, bump.T))
    turned = (draws.bits("square turned", (rows, columns)) < 0).long()
    signs = torch.where(draws.bits("square signs", (channels, rows, columns)) < 0, -1.0, 1.0).to(x)
    tiles = both[turned][:, None] * signs[..., None, None]  # n, channels, rows, columns, side, side
    grid = tiles.transpose(3, 4).reshape(n, channels, rows * side, columns * side)
    change = torch.zeros_like(x)
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    change[:, :, top : top + rows * side, left : left + columns * side] = grid
    return (x + float(budget.eps) * unit_l2(change)).clamp(0, 1)


def _loss(scores: Logits, y: Labels, target: Labels | None) -> PerImage:
    """What the search lowers: the margin of the true class over the best other one, or the target's cross-entropy."""
    if target is not None:
        return scores.logsumexp(1) - scores.gather(1, target[:, None])[:, 0]
    others = scores.scatter(1, y[:, None], -torch.inf)
    return scores.gather(1, y[:, None])[:, 0] - others.amax(1)


def _signs(x: Images, draws: Draws, query: int) -> Float[Tensor, "n c 1 1"]:
    """+1 or -1 for each channel."""
    return torch.where(draws.bits("square signs", (x.shape[1], 1, 1), step=query) < 0, -1.0, 1.0).to(x)


def _window(
    x: Images, side: int, draws: Draws, query: int, purpose: str
) -> tuple[Bool[Tensor, "n 1 h w"], Int[Tensor, " n"], Int[Tensor, " n"]]:
    """A random square of each image: where it is, its first row, its first column."""
    _, _, height, width = x.shape
    top = draws.integers(f"{purpose} top", height - side + 1, step=query)
    left = draws.integers(f"{purpose} left", width - side + 1, step=query)
    row = torch.arange(height, device=x.device) - top[:, None]
    column = torch.arange(width, device=x.device) - left[:, None]
    inside = ((row >= 0) & (row < side))[:, :, None] & ((column >= 0) & (column < side))[:, None]
    return inside[:, None], top, left


def _placed(
    bump: Float[Tensor, "side side"],
    x: Images,
    top: Int[Tensor, " n"],
    left: Int[Tensor, " n"],
    turned: Bool[Tensor, " n"],
) -> Float[Tensor, "n 1 h w"]:
    """The bump at a place of each image, in some of them turned; zero elsewhere."""
    side = len(bump)
    framed = torch.nn.functional.pad(torch.stack((bump, bump.T)), (1, 1, 1, 1))  # outside reads the frame
    row = (torch.arange(x.shape[2], device=x.device) - top[:, None] + 1).clamp(0, side + 1)
    column = (torch.arange(x.shape[3], device=x.device) - left[:, None] + 1).clamp(0, side + 1)
    return framed[turned.long()[:, None, None], row[:, :, None], column[:, None]][:, None]


def _unit_per_channel(change: Images) -> Images:
    return change / change.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)


@lru_cache
def _bump(side: int) -> Float[Tensor, "side side"]:
    """Two pyramids one above the other, one up and one down, of length 1."""
    upper, lower = _pyramid(side // 2, side), _pyramid(side - side // 2, side)
    return unit_l2(torch.cat((upper, -lower))[None, None])[0, 0]


def _pyramid(height: int, width: int) -> Float[Tensor, "height width"]:
    """A rectangle that rises towards its middle, of length 1: at distance d the sum of 1 / j^2 over j > d."""
    row = (torch.arange(height) - height // 2).abs()
    column = (torch.arange(width) - width // 2).abs()
    distance = torch.maximum(row[:, None], column[None])
    terms = 1 / torch.arange(1, max(height, width) // 2 + 2, dtype=torch.float64).square()
    pyramid: Tensor = terms.flip(0).cumsum(0).flip(0)[distance]
    return pyramid / pyramid.square().sum().sqrt().clamp_min(1e-12)
