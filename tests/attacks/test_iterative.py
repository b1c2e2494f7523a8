"""What single slots do."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
import torch
from jaxtyping import config
from torch import Tensor, nn
from torch.nn import functional as F

from carom.attacks import (
    DI,
    SI,
    TI,
    Clean,
    Gradients,
    Iterative,
    Look,
    LookAhead,
    Memory,
    Momentum,
    Uniform,
    craft_images,
    parse_attack,
)
from carom.attacks.transformations import View
from carom.attacks.transformations.ti import default_size
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Attack

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")


def view(draws: Draws, *, step: int = 0, copy: int = 0) -> View:
    y = torch.zeros_like(draws.ids)
    return View(draws=draws, budget=LINF, step=step, index=0, copy=copy, y=y, partners=None)


def run(attack: Attack, source: Any, batch: Any, budget: Budget = LINF, seed: int = 1) -> Tensor:
    x = batch.pixels.to(next(source.networks[0].parameters()).dtype) / 255
    return attack(Gradients(source, x, batch.y), budget, Draws(seed, batch.ids))


@pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)
@pytest.mark.parametrize("transformation", [DI(probability=0.0), SI(copies=1), TI(size=1)], ids=repr)
def test_a_transformation_that_does_nothing_leaves_mi(
    transformation: Any, budget: Budget, source: Any, batch: Any
) -> None:
    plain = run(Iterative(momentum=Momentum()), source, batch, budget)
    assert torch.equal(
        run(Iterative(momentum=Momentum(), transformations=(transformation,)), source, batch, budget), plain
    )


@pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)
def test_ni_looks_one_step_of_momentum_ahead(budget: Budget, batch: Any, source64: Any) -> None:
    seen: list[Tensor] = []
    net = source64.networks[0]

    class Watched:
        combination = "logits"

        def members(self, step: int, copy: int) -> list[Any]:
            def watch(x: Tensor) -> Tensor:
                seen.append(x.detach())
                return net(x)  # type: ignore[no-any-return]

            return [watch]

    x = batch.pixels.double() / 255
    parse_attack({"name": "ni", "steps": 2, "ni": {"decay": 0.5}})(
        Gradients(Watched(), x, batch.y),  # type: ignore[arg-type]
        budget,
        Draws(0, batch.ids),
    )
    after_one = run(parse_attack({"name": "fgsm", "step": "1/2"}), source64, batch, budget)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(net(leaf), batch.y, reduction="sum"), leaf)
    momentum = g / g.abs().mean((1, 2, 3), keepdim=True)
    unit = 1 if budget.norm == "linf" else (3 * 8 * 7) ** -0.5
    expected = after_one + 0.5 * float(budget.eps) * 0.5 * unit * momentum
    assert torch.equal(seen[0], x)
    torch.testing.assert_close(seen[1], expected, rtol=0, atol=1e-12)
    # as far as a step goes, in the norm's own measure
    moved = (seen[1] - after_one).abs().mean((1, 2, 3)) / unit
    torch.testing.assert_close(moved, torch.full_like(moved, 0.25 * float(budget.eps)))


def test_ni_is_mi_for_one_step_and_differs_after_two(source64: Any, batch: Any) -> None:
    def both(steps: int) -> tuple[Tensor, Tensor]:
        wide = Budget.parse("linf", "128/255")
        mi, ni = (parse_attack({"name": name, "steps": steps}) for name in ("mi", "ni"))
        return run(mi, source64, batch, wide), run(ni, source64, batch, wide)

    one, other = both(1)
    assert torch.equal(one, other)
    one, other = both(2)
    assert not torch.equal(one, other)


def test_momentum_is_scaled_image_by_image_and_keeps_zeros() -> None:
    g = torch.randn(5, 3, 8, 7, generator=torch.Generator().manual_seed(0))
    g[1] = 0
    g[2] *= 1e-37
    g[3] *= 1e30
    first = Momentum(decay=0.5).accumulate(None, g)
    assert torch.isfinite(first).all()
    assert torch.equal(first[1], torch.zeros(3, 8, 7))
    mean = first.abs().mean((1, 2, 3))
    torch.testing.assert_close(mean[[0, 2, 3, 4]], torch.ones(4))
    torch.testing.assert_close(first[3], g[3] / g[3].abs().mean())
    second = Momentum(decay=0.5).accumulate(first, g)
    torch.testing.assert_close(second, 1.5 * first)
    unscaled = Momentum(decay=0.5, normalised=False)
    torch.testing.assert_close(unscaled.accumulate(unscaled.accumulate(None, g), 2 * g), 2.5 * g)
    # the smallest floats there are keep their directions
    least = torch.tensor([1e-45, 0.0, -1e-45, 1e-45]).reshape(1, 1, 2, 2)
    torch.testing.assert_close(Momentum().accumulate(None, least), torch.tensor([4, 0, -4, 4]).reshape(1, 1, 2, 2) / 3)


def test_an_accumulation_of_ones_own_fits_the_slot(source64: Any, batch: Any) -> None:
    """Adam's first moment over its second: the slot is a protocol, with a memory."""
    seen: list[tuple[Tensor | None, Tensor]] = []

    @dataclass(frozen=True)
    class Adam:
        decay: float = 0.9

        def __call__(self, look: Look, gradient: Tensor, memory: Memory) -> Tensor:
            zero = torch.zeros_like(gradient)
            memory["first"] = 0.9 * memory.get("first", zero) + 0.1 * gradient
            memory["second"] = 0.99 * memory.get("second", zero) + 0.01 * gradient.square()
            seen.append((look.momentum, memory["first"] / memory["second"].sqrt()))
            assert look.decay == 0.9
            return seen[-1][1]

    x_adv = run(Iterative(momentum=Adam(), steps=3), source64, batch)
    assert seen[0][0] is None
    for (_, direction), (before, _) in pairwise(seen):
        assert before is direction
    x = batch.pixels.double() / 255
    moved = x
    for _, direction in seen:
        moved = LINF.project(moved + 16 / 255 / 3 * direction.sign(), x)
    torch.testing.assert_close(x_adv, moved)


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


def test_every_copy_and_step_draws_anew_and_copies_multiply(batch: Any, source64: Any) -> None:
    seen: list[Tensor] = []
    net = source64.networks[0]

    class Watched:
        combination = "logits"

        def members(self, step: int, copy: int) -> list[Any]:
            def watch(x: Tensor) -> Tensor:
                seen.append(x.detach())
                return net(x)  # type: ignore[no-any-return]

            return [watch]

    x = batch.pixels.double() / 255
    attack = Iterative(transformations=(SI(copies=3), DI(probability=1.0, rate=0.5), SI(copies=2)), steps=1)
    assert attack.passes().forward == attack.copies == 6
    draws = Draws(0, batch.ids)
    attack(Gradients(Watched(), x, batch.y), LINF, draws)  # type: ignore[arg-type]
    for copy, (first, second) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]):
        expected = DI(probability=1.0, rate=0.5).image(x * 0.5**first, view(draws, step=0, copy=copy)) * 0.5**second
        torch.testing.assert_close(seen[copy], expected)
    assert not torch.allclose(seen[0], seen[1] * 2)


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


def test_uniform_starts_fill_the_ball() -> None:
    n = 4000
    x = torch.full((n, 1, 2, 1), 0.5)
    draws = Draws(0, torch.arange(n))
    change = (Uniform()(x, LINF, draws) - x).flatten(1) / float(LINF.eps)
    assert float(change.abs().max()) <= 1 + 1e-5
    torch.testing.assert_close(change.mean(0), torch.zeros(2), rtol=0, atol=0.05)
    torch.testing.assert_close(change.square().mean(0), torch.full((2,), 1 / 3), rtol=0, atol=0.02)
    small = Budget.parse("l2", "0.1")
    length = (Uniform()(x, small, draws) - x).flatten(1).square().sum(1).sqrt() / 0.1
    assert float(length.max()) <= 1 + 1e-5
    assert abs(float((length < 0.5).float().mean()) - 0.25) < 0.03  # a quarter of the disc
    assert torch.equal(Clean()(x, LINF, draws), x)


def test_other_seeds_give_other_random_starts(source: Any, batch: Any) -> None:
    attack = parse_attack("pgd")
    assert not torch.equal(run(attack, source, batch, seed=1), run(attack, source, batch, seed=2))


def test_more_steps_reach_a_higher_loss(source64: Any, batch: Any) -> None:
    net = source64.networks[0]
    losses = [
        float(F.cross_entropy(net(run(parse_attack({"name": "bim", "steps": k}), source64, batch, L2)), batch.y))
        for k in (1, 5, 20)
    ]
    assert losses == sorted(losses)
    assert losses[2] > losses[0]


def test_impossible_slots_are_refused() -> None:
    for wrong in (
        lambda: Iterative(steps=0),
        lambda: Iterative(step=Fraction(0)),
        lambda: Iterative(rule=LookAhead()),
        lambda: Momentum(decay=-1.0),
        lambda: Momentum(decay=float("nan")),
        lambda: DI(probability=1.5),
        lambda: DI(rate=0.0),
        lambda: DI(rate=float("inf")),
        lambda: SI(copies=0),
        lambda: TI(size=4),
        lambda: TI(size=-1),
    ):
        with pytest.raises(InputError):
            wrong()


def test_float_images_must_be_pixels(source: Any, batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # as outside tests: the type is the user's mistake
    attacks = [(parse_attack("bim"), LINF)]
    for wrong in (batch.pixels, batch.pixels.float(), batch.pixels.float() / 255 * float("nan")):
        with pytest.raises(InputError, match=r"expected .*\[0, 1\]"):
            craft_images(attacks, source, wrong, batch.y, seed=0)


def test_float_images_stay_in_the_ball_and_get_ids_from_their_bytes(source: Any, batch: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 3, 8, 7, generator=generator)
    (whole,) = craft_images([(parse_attack("pgd+di"), LINF)], source, x, batch.y, seed=0)
    assert whole.images.dtype == torch.float32
    assert float((whole.images - x).abs().max()) <= float(LINF.eps) + 1e-6
    (turned,) = craft_images([(parse_attack("pgd+di"), LINF)], source, x.flip(0), batch.y.flip(0), seed=0)
    torch.testing.assert_close(turned.images.flip(0), whole.images)


def test_a_linear_model_is_attacked_exactly(source_of: Any) -> None:
    """On logits w.x, FGSM moves every pixel by eps against the margin: the known optimum."""
    last = nn.Linear(6, 2, bias=False).requires_grad_(False)
    net = nn.Sequential(nn.Flatten(), last)
    last.weight.copy_(torch.tensor([[1.0, -2, 3, -4, 5, -6], [0, 0, 0, 0, 0, 0]]))
    x = torch.full((1, 1, 2, 3), 0.5)
    x_adv = parse_attack("fgsm")(Gradients(source_of([net]), x, torch.tensor([0])), LINF, Draws(0, torch.tensor([0])))
    expected = torch.tensor([-1.0, 1, -1, 1, -1, 1]).reshape(1, 1, 2, 3) * float(LINF.eps)
    torch.testing.assert_close(x_adv - x, expected)
