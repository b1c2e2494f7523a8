"""The transformations against slow ones written image by image, and the mistakes that other libraries make."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from scipy.fft import dctn, idctn
from torch import Tensor
from torch.nn import functional as F

from carom.attacks import (
    ATTACKS,
    BSR,
    DEM,
    DI,
    SI,
    SIA,
    SSM,
    Admix,
    Gradients,
    Iterative,
    Look,
    Memory,
    Momentum,
    Partners,
    craft_images,
    parse_attack,
)
from carom.attacks.slots import Transformation, View
from carom.attacks.transformations.sia import OPERATIONS
from carom.attacks.transformations.ssm import dct_matrix
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")
IDS = torch.tensor([11, 3, 70001, -5, 2**40])
SIZES = [(8, 7), (1, 1), (1, 9), (2, 2), (3, 5), (11, 4)]
NEW = [Admix(), SSM(), DEM(), SIA(), BSR()]

every_size = pytest.mark.parametrize("size", SIZES, ids=str)
every_new = pytest.mark.parametrize("transformation", NEW, ids=lambda t: type(t).__name__)


def images(h: int, w: int, n: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(h * 100 + w), dtype=dtype)


def pool(x: Tensor) -> Partners:
    """Classes 0, 1, 2, of which the images have 0 and 1."""
    pixels = torch.rand(7, *x.shape[1:], generator=torch.Generator().manual_seed(9), dtype=x.dtype)
    return Partners(pixels, torch.tensor([0, 1, 1, 0, 2, 1, 0]))


def view(x: Tensor, *, step: int = 0, index: int = 0, copy: int = 0, reading: int = 0, seed: int = 1) -> View:
    ids = IDS if len(x) == len(IDS) else torch.arange(len(x))
    return View(
        draws=Draws(seed, ids),
        budget=LINF,
        step=step,
        index=index,
        copy=copy,
        y=ids % 2,
        partners=pool(x),
        reading=reading,
    )


def one(seen: View, i: int) -> View:
    """The same for image i alone."""
    return View(
        draws=seen.draws.select(torch.tensor([i])),
        budget=seen.budget,
        step=seen.step,
        index=seen.index,
        copy=seen.copy,
        y=seen.y[i : i + 1],
        partners=seen.partners,
        reading=seen.reading,
    )


def run(attack: Any, source: Any, batch: Any, budget: Budget = LINF, dtype: torch.dtype = torch.float32) -> Tensor:
    x = batch.pixels.to(dtype) / 255
    return attack(  # type: ignore[no-any-return]
        Gradients(source, x, batch.y, partners=Partners(x, (batch.y + 1) % 6)), budget, Draws(1, batch.ids)
    )


def mi(*transformations: Transformation, steps: int = 3) -> Iterative:
    return Iterative(momentum=Momentum(), transformations=transformations, steps=steps)


# one image at a time, by loops, from the same draws


def slow_admix(t: Admix, x: Tensor, v: View) -> Tensor:
    assert v.partners is not None
    partner, scale = v.index // t.scales, v.index % t.scales
    out = []
    for i in range(len(x)):
        others = sorted(
            (int(label), place) for place, label in enumerate(v.partners.labels.tolist()) if label != int(v.y[i])
        )
        u = float(v.draws.uniform("admix partner", step=v.step, copy=v.reading * t.partners + partner)[i])
        out.append((x[i] + t.strength * v.partners.images[others[int(u * len(others))][1]]) / 2**scale)
    return torch.stack(out)


def slow_ssm(t: SSM, x: Tensor, v: View) -> Tensor:
    noise = v.draws.normal("ssm noise", x.shape[1:], step=v.step, copy=v.copy)
    u = v.draws.uniform("ssm mask", x.shape[1:], step=v.step, copy=v.copy)
    out = torch.empty_like(x)
    for i in range(len(x)):
        for c in range(x.shape[1]):
            spectrum = dctn((x[i, c] + t.sigma * 16 / 255 * noise[i, c]).numpy(), norm="ortho")
            factors = (1 - t.rho + 2 * t.rho * u[i, c].double()).numpy()
            out[i, c] = torch.from_numpy(idctn(spectrum * factors, norm="ortho"))
    return out


def slow_dem(t: DEM, x: Tensor, v: View) -> Tensor:
    u, top, left = (v.draws.uniform(f"dem {name}", step=v.step, copy=v.copy) for name in ("size", "top", "left"))
    ratio = t.ratios[v.index]
    out = []
    for i in range(len(x)):
        canvas, size, offset = [], [], []
        for side, place in zip(x.shape[2:], (top, left), strict=True):
            canvas.append(round(ratio * side))
            size.append(side + int(float(u[i]) * (canvas[-1] - side + 1)))
            offset.append(int(float(place[i]) * (canvas[-1] - size[-1] + 1)))
        large = F.interpolate(x[i : i + 1], size=size, mode="bilinear", align_corners=False)
        bottom, right = (c - s - o for c, s, o in zip(canvas, size, offset, strict=True))
        padded = F.pad(large, (offset[1], right, offset[0], bottom))
        assert list(padded.shape[2:]) == canvas
        out.append(F.interpolate(padded, size=list(x.shape[2:]), mode="bilinear", align_corners=False)[0])
    return torch.stack(out)


def slow_operation(name: str, block: Tensor, amount: float, kept: Tensor, noise: Tensor) -> Tensor:
    """One block, `c h w`."""
    _, h, w = block.shape
    if name == "resize":
        small = F.interpolate(block[None], size=[int(h * 0.8) + 1, int(w * 0.8) + 1], mode="bilinear")
        return F.interpolate(small, size=[h, w], mode="bilinear")[0]
    if name == "dct":
        spectrum = dctn(block.numpy(), axes=(1, 2), norm="ortho")
        spectrum[:, h - int(h * 0.4) :] = 0
        spectrum[:, :, w - int(w * 0.4) :] = 0
        return torch.from_numpy(idctn(spectrum, axes=(1, 2), norm="ortho"))
    return {
        "vertical-shift": lambda: block.roll(int(amount * h), 1),
        "horizontal-shift": lambda: block.roll(int(amount * w), 2),
        "vertical-flip": lambda: block.flip(1),
        "horizontal-flip": lambda: block.flip(2),
        "rotate-180": lambda: block.rot90(2, (1, 2)),
        "scale": lambda: block * amount,
        "noise": lambda: (block + noise).clamp(0, 1),
        "dropout": lambda: block * kept[:, None, None] / 0.9,
    }[name]()


def slow_sia(t: SIA, x: Tensor, v: View) -> Tensor:
    _, c, h, w = x.shape
    b, at = t.blocks, {"step": v.step, "copy": v.copy}
    cuts = [v.draws.bits(f"sia {name}", (side - 1,), **at) for name, side in (("rows", h), ("columns", w))]
    drawn = v.draws.integers("sia operation", len(t.operations), (b, b), **at)
    amount = v.draws.uniform("sia amount", (b, b), **at)
    kept = v.draws.uniform("sia dropout", (c, b, b), **at) >= 0.1
    noise = (v.draws.uniform("sia noise", (c, h, w), **at) * 2 - 1) * t.noise
    out = x.clone()
    for i in range(len(x)):
        edges = [
            [0, *sorted(place + 1 for place in keys[i].argsort().tolist()[: b - 1]), side]
            for keys, side in zip(cuts, (h, w), strict=True)
        ]
        for p in range(len(edges[0]) - 1):
            for q in range(len(edges[1]) - 1):
                rows, columns = slice(*edges[0][p : p + 2]), slice(*edges[1][q : q + 2])
                out[i, :, rows, columns] = slow_operation(
                    t.operations[int(drawn[i, p, q])],
                    x[i, :, rows, columns],
                    float(amount[i, p, q]),
                    kept[i, :, p, q],
                    noise[i, :, rows, columns],
                )
    return out


def lengths(u: Tensor, side: int) -> list[int]:
    ends = (u.double() + 1).cumsum(0)
    edges = [0, *(math.floor(float(end / ends[-1]) * side + 0.5) for end in ends)]
    return [b - a for a, b in pairwise(edges)]


def rotated(block: Tensor, degrees: float) -> Tensor:
    """About the middle, bilinearly, by torch's own sampler, which counts from -1 to 1 over the block."""
    _, h, w = block.shape
    if not h * w:
        return block
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rows = torch.arange(h, dtype=block.dtype)[:, None] - (h - 1) / 2
    columns = torch.arange(w, dtype=block.dtype) - (w - 1) / 2
    grid = torch.stack([(sin * rows + cos * columns) * 2 / w, (cos * rows - sin * columns) * 2 / h], -1)
    return F.grid_sample(block[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def slow_bsr(t: BSR, x: Tensor, v: View) -> Tensor:
    b, at = t.blocks, {"step": v.step, "copy": v.copy}
    by_rows = v.draws.bits("bsr axis", (), **at) >= 0
    strips, pieces = v.draws.uniform("bsr strips", (b,), **at), v.draws.uniform("bsr pieces", (b, b), **at)
    orders = v.draws.bits("bsr strip order", (b,), **at), v.draws.bits("bsr piece order", (b, b), **at)
    angle = (2 * v.draws.uniform("bsr angle", (b, b) if t.rotated == "blocks" else (b,), **at).double() - 1) * t.angle
    out = []
    for i in range(len(x)):
        across, along = (1, 2) if bool(by_rows[i]) else (2, 1)
        made = []
        for k, strip in enumerate(torch.split(x[i], lengths(strips[i], x[i].shape[across]), across)):
            turned = rotated(strip, float(angle[i, k])) if t.rotated == "strips" else strip
            blocks = torch.split(turned, lengths(pieces[i, k], strip.shape[along]), along)
            if t.rotated == "blocks":
                blocks = tuple(rotated(block, float(angle[i, k, j])) for j, block in enumerate(blocks))
            made.append(torch.cat([blocks[j] for j in orders[1][i, k].argsort().tolist()], along))
        out.append(torch.cat([made[k] for k in orders[0][i].argsort().tolist()], across))
    return torch.stack(out)


SLOW: dict[type, Any] = {Admix: slow_admix, SSM: slow_ssm, DEM: slow_dem, SIA: slow_sia, BSR: slow_bsr}


@every_size
@pytest.mark.parametrize(
    "transformation",
    [
        *NEW,
        *(SIA(operations=(name,), blocks=2) for name in OPERATIONS),
        SIA(blocks=1),
        SIA(blocks=5, noise=0.5),
        BSR(blocks=1),
        BSR(blocks=4, angle=180.0),
        BSR(blocks=3, rotated="strips"),
        BSR(angle=0.0),
        DEM(ratios=(1.0, 3.0)),
        SSM(sigma=0.0, rho=2.0),
        Admix(scales=2, partners=2, strength=1.0),
    ],
    ids=repr,
)
def test_equals_the_loop_over_images(transformation: Any, size: tuple[int, int]) -> None:
    x = images(*size)
    for index in sorted({0, 1, transformation.copies - 1}):
        v = view(x, step=2, index=min(index, transformation.copies - 1), copy=index + 40)
        got = transformation.image(x, v)
        assert got.is_contiguous()
        assert float((got - SLOW[type(transformation)](transformation, x, v)).abs().max()) < 1e-6


@every_size
@pytest.mark.parametrize("transformation", [t for t in NEW if not isinstance(t, SSM)], ids=lambda t: type(t).__name__)
def test_the_gradient_is_that_of_finite_differences(transformation: Any, size: tuple[int, int]) -> None:
    x = images(*size, n=2).mul(0.8).add(0.1).requires_grad_()
    quiet = SIA(noise=0.05) if isinstance(transformation, SIA) else transformation  # no pixel is at the clip's kink
    assert torch.autograd.gradcheck(lambda x: quiet.image(x, view(x, index=1)), x, atol=1e-7, fast_mode=True)


@every_size
def test_the_gradient_of_ssm_is_that_at_the_copy(size: tuple[int, int]) -> None:
    """What arrives at the copy arrives at the image, whatever the spectrum was scaled by."""
    x = images(*size).requires_grad_()
    arrives = images(*size[::-1]).mT.contiguous()
    (gradient,) = torch.autograd.grad(SSM().image(x, view(x)), x, arrives)
    assert torch.equal(gradient, arrives)


@pytest.mark.parametrize(("budget", "expected"), [("4/255", 4 / 255), ("32/255", 32 / 255)])
def test_the_noise_of_ssm_is_as_large_as_eps(budget: str, expected: float) -> None:
    x = torch.full((40, 3, 16, 16), 0.5, dtype=torch.float64)
    seen = replace(view(x), budget=Budget.parse("linf", budget))
    noise = SSM(rho=0.0).image(x, seen) - x
    assert float(noise.std()) == pytest.approx(expected, rel=0.01)
    of_l2 = SSM(rho=0.0, sigma=0.5).image(x, replace(seen, budget=Budget.parse("l2", "2"))) - x
    assert float(of_l2.square().sum((1, 2, 3)).mean().sqrt()) == pytest.approx(0.5 * 2, rel=0.01)


@pytest.mark.parametrize("rotated", ["blocks", "strips"])
@pytest.mark.parametrize("angle", [24.0, 45.0, 90.0, 180.0])
def test_bsr_reads_back_by_the_transpose(angle: float, rotated: Any) -> None:
    x, other = images(13, 10), images(10, 13).transpose(2, 3).contiguous()
    point = x.clone().requires_grad_()
    bsr = BSR(blocks=3, angle=angle, rotated=rotated)
    moved = bsr.image(point, view(x))
    (back,) = torch.autograd.grad(moved, point, other)
    linear = bsr.image(x, view(x))
    torch.testing.assert_close((back * x).sum((1, 2, 3)), (linear * other).sum((1, 2, 3)), rtol=1e-12, atol=0)
    # the whole of it, entry by entry
    whole = torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call]
        lambda v: slow_bsr(bsr, v, view(x[:1])), x[:1]
    )
    point = x[:1].clone().requires_grad_()
    (row,) = torch.autograd.grad(bsr.image(point, view(point)), point, other[:1])
    torch.testing.assert_close(row, torch.einsum("nchw,nchwmdij->mdij", other[:1], whole), rtol=0, atol=1e-12)


# what each is when there is nothing to it


@pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)
@pytest.mark.parametrize(
    "transformation",
    [SIA(copies=1, operations=()), SIA(copies=1, blocks=1, operations=()), BSR(copies=1, blocks=1, angle=0.0),
     DEM(ratios=(1.0,)), Admix(scales=1, partners=1, strength=0.0)],
    ids=repr,
)  # fmt: skip
def test_nothing_to_it_is_mi_bit_for_bit(transformation: Any, budget: Budget, source: Any, batch: Any) -> None:
    assert torch.equal(run(mi(transformation), source, batch, budget), run(mi(), source, batch, budget))


def test_an_unturned_shuffle_moves_pixels_and_makes_none() -> None:
    x = images(11, 6)
    shuffled = BSR(angle=0.0, blocks=3).image(x, view(x))
    assert not torch.equal(shuffled, x)
    assert torch.equal(shuffled.flatten(2).sort().values, x.flatten(2).sort().values)


def test_admix_without_strength_is_si(source: Any, batch: Any) -> None:
    for budget in (LINF, L2):
        plain = run(mi(SI(copies=4)), source, batch, budget)
        assert torch.equal(run(mi(Admix(scales=4, partners=1, strength=0.0)), source, batch, budget), plain)


def test_ssm_without_noise_and_mask_is_mi_but_for_rounding(source64: Any, batch: Any) -> None:
    """Four products of 32 terms: their roundings add up to at most 4 x 32 units in the last place."""
    still = SSM(copies=1, sigma=0.0, rho=0.0)
    for dtype in (torch.float64, torch.float32):
        x = images(32, 31, dtype=dtype)
        assert float((still.image(x, view(x)) - x).abs().max()) < 4 * 32 * torch.finfo(dtype).eps
    one_mi, other = (run(mi(*t), source64, batch, L2, torch.float64) for t in ((), (still,)))
    assert float((one_mi - other).abs().max()) < 1e-9


@pytest.mark.parametrize("n", [1, 2, 7, 16, 33, 224])
def test_the_dct_is_scipys_and_its_transpose_the_inverse(n: int) -> None:
    like = torch.zeros(1, dtype=torch.float64)
    matrix = dct_matrix(n, like.device, like.dtype)
    assert float((matrix @ matrix.T - torch.eye(n)).abs().max()) < 1e-13
    expected = torch.from_numpy(dctn(torch.eye(n, dtype=torch.float64).numpy(), axes=(0,), norm="ortho"))
    assert float((matrix - expected).abs().max()) < 1e-13


def test_copies_multiply_and_every_pass_draws_anew(source64: Any, batch: Any) -> None:
    attack = mi(DEM(ratios=(1.2, 1.5)), SIA(copies=3), steps=1)
    assert attack.copies == 6
    assert attack.passes().forward == 6
    assert parse_attack("di+sia").passes().forward == 200
    gradients = Gradients(source64, batch.pixels.double() / 255, batch.y)
    draws = Draws(1, batch.ids)
    read: list[Tensor] = []

    class Kept:
        """The plain rule, with what it read."""

        needs_momentum: ClassVar[bool] = False
        reads = 1

        def __call__(self, look: Look, memory: Memory) -> Tensor:
            read.append(look.read(look.x_adv))
            return read[-1]

    replace(attack, rule=Kept())(gradients, LINF, draws)
    (got,) = read
    total = torch.zeros_like(got)
    for of_sia in range(3):  # one loss of the two logits of DEM's copies
        x = gradients.x.clone().requires_grad_()
        logits = []
        for copy in (of_sia, 3 + of_sia):
            v = View(draws=draws, budget=LINF, step=0, index=copy // 3, copy=copy, y=batch.y, partners=None)
            logits.append(source64.networks[0](SIA(copies=3).image(DEM(ratios=(1.2, 1.5)).image(x, v), v)))
        loss = F.cross_entropy((logits[0] + logits[1]) / 2, batch.y, reduction="sum")
        total += torch.autograd.grad(loss, x)[0] / 3
    torch.testing.assert_close(got, total, rtol=0, atol=1e-12)
    counted = Gradients(source64, batch.pixels.double() / 255, batch.y)
    attack(counted, LINF, draws)
    assert (counted.passes.forward, counted.passes.backward) == (6 * 5, 6 * 5)


@pytest.mark.parametrize("combination", ["logits", "probabilities", "loss"])
def test_dem_averages_each_members_logits_before_they_are_combined(
    combination: Any, network: Any, source_of: Any, batch: Any
) -> None:
    nets = [network(seed, dtype=torch.float64) for seed in (0, 1)]
    dem = DEM(ratios=(1.2, 1.5))
    gradients = Gradients(source_of(nets, combination), batch.pixels.double() / 255, batch.y)
    draws = Draws(1, batch.ids)
    x = gradients.x.clone().requires_grad_()
    views = [View(draws=draws, budget=L2, step=0, index=k, copy=k, y=batch.y, partners=None) for k in (0, 1)]
    each = [torch.stack([net(dem.image(x, v)) for v in views]).mean(0) for net in nets]
    if combination == "loss":
        loss = torch.stack([F.cross_entropy(logits, batch.y, reduction="sum") for logits in each]).mean(0)
    elif combination == "logits":
        loss = F.cross_entropy(torch.stack(each).mean(0), batch.y, reduction="sum")
    else:
        mean = torch.stack([logits.softmax(1) for logits in each]).mean(0)
        loss = F.nll_loss(mean.log(), batch.y, reduction="sum")
    (expected,) = torch.autograd.grad(loss, x)
    one_step = Iterative(transformations=(dem,), steps=1)(gradients, L2, draws)
    torch.testing.assert_close(one_step, L2.project(gradients.x + 1.5 * L2.steepest(expected), gradients.x))


# traps of other libraries


@every_size
@pytest.mark.parametrize("transformation", [*NEW, DI(probability=1.0)], ids=lambda t: type(t).__name__)
def test_draws_are_the_images_own_not_the_batchs(transformation: Any, size: tuple[int, int]) -> None:
    """Alone and in a batch an image becomes the same."""
    x = images(*size)
    v = view(x, index=min(1, transformation.copies - 1), copy=3)
    whole = transformation.image(x, v)
    for i in range(len(x)):
        torch.testing.assert_close(transformation.image(x[i : i + 1], one(v, i)), whole[i : i + 1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("transformation", [*NEW, DI(probability=1.0)], ids=lambda t: type(t).__name__)
def test_images_of_a_batch_draw_apart(transformation: Any) -> None:
    """One image five times under five ids."""
    x = images(24, 23, n=1).expand(5, -1, -1, -1)
    v = view(x, index=min(1, transformation.copies - 1))
    if isinstance(transformation, Admix):
        v = replace(v, index=0, copy=0, y=torch.zeros_like(v.y))
    assert len({tuple(image.flatten().tolist()) for image in transformation.image(x, v)}) >= 3


@every_new
def test_one_generator_only(transformation: Any) -> None:
    """The state of torch's generator neither matters nor moves."""
    x = images(8, 7)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = transformation.image(x, view(x))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(transformation.image(x, view(x)), first)


@every_new
def test_steps_copies_and_seeds_draw_anew(transformation: Any) -> None:
    x = images(16, 16)
    first = transformation.image(x, view(x))
    assert not torch.equal(transformation.image(x, view(x, step=1)), first)
    assert not torch.equal(transformation.image(x, view(x, seed=2)), first)
    assert not torch.equal(transformation.image(x, view(x, copy=1, reading=1)), first)


def test_admix_partners_are_of_a_fixed_pool_and_another_class(source: Any, batch: Any) -> None:
    x = torch.zeros(400, 1, 1, 1)
    y = torch.arange(400) % 3
    labels = torch.tensor([0, 1, 1, 2, 2, 2])
    colours = torch.arange(6.0)[:, None, None, None] / 8
    v = View(
        draws=Draws(0, torch.arange(400)),
        budget=LINF,
        step=0,
        index=0,
        copy=0,
        y=y,
        partners=Partners(colours, labels),
    )
    drawn = (Admix(strength=1.0).image(x, v).flatten() * 8).long()
    assert bool((labels[drawn] != y).all())
    for label in range(3):
        counts = drawn[y == label].bincount(minlength=6)[labels != label]
        expected = int(counts.sum()) / len(counts)
        assert bool(((counts - expected).abs() < 4.5 * expected**0.5).all())  # all of them, evenly
    with pytest.raises(InputError, match="all 2 images are of class 1; add images of other classes"):
        Admix().image(x[:1], replace(v, y=torch.tensor([1]), partners=Partners(colours[1:3], labels[1:3])))


def test_admix_attacks_one_image_alone(source: Any, batch: Any) -> None:
    x = batch.pixels.float() / 255
    given = Partners(x, (batch.y + 1) % 6)
    whole, alone = (
        craft_images([(parse_attack("admix"), LINF)], source, x[:n], batch.y[:n], seed=1, ids=batch.ids[:n],
                     partners=given)[0].images
        for n in (5, 1)
    )  # fmt: skip
    assert torch.equal(alone, whole[:1])
    assert not torch.equal(alone, x[:1])


def test_admix_says_what_it_misses(source: Any, batch: Any) -> None:
    x = batch.pixels.float() / 255
    with pytest.raises(InputError, match="given none; give partners"):
        parse_attack("mi+admix")(Gradients(source, x, batch.y), LINF, Draws(0, batch.ids))
    wrong = Partners(torch.rand(3, 3, 9, 9), torch.arange(3))
    with pytest.raises(InputError, match=r"\(3, 9, 9\) for images of shape \(3, 8, 7\)"):
        parse_attack("admix")(Gradients(source, x, batch.y, partners=wrong), LINF, Draws(0, batch.ids))


def test_admix_scales_what_it_mixed_and_keeps_the_partner() -> None:
    """The copies of one partner are halves of each other; partners, readings and steps differ."""
    x = images(8, 7)
    admix = Admix(scales=3, partners=2)
    made = [admix.image(x, view(x, index=i, copy=i)) for i in range(6)]
    for j in (0, 3):
        assert torch.equal(made[j + 1] * 2, made[j])
        assert torch.equal(made[j + 2] * 4, made[j])
    partners = {tuple((m - x).flatten().tolist()) for m in (made[0], made[3], admix.image(x, view(x, reading=1)))}
    assert len(partners) == 3


def test_scales_are_of_unit_images_not_of_normalised_ones(batch: Any) -> None:
    """What the network gets is x / 2**i itself, so a black image stays black whatever the network's normalisation."""
    seen: list[Tensor] = []

    class Watched:
        combination = "logits"

        def members(self, step: int, copy: int) -> list[Any]:
            def watch(x: Tensor) -> Tensor:
                seen.append(x.detach())
                return ((x - 0.5) / 0.25).flatten(1)[:, :6]

            return [watch]

    x = batch.pixels.double() / 255
    Iterative(transformations=(Admix(strength=0.0, partners=1),), steps=1)(
        Gradients(Watched(), x, batch.y, partners=Partners(x, (batch.y + 1) % 6)),  # type: ignore[arg-type]
        LINF,
        Draws(0, batch.ids),
    )
    for i, scaled in enumerate(seen):
        assert torch.equal(scaled, x * Fraction(1, 2**i).__float__())


def test_di_and_dem_use_their_full_ranges() -> None:
    """Sizes from smallest to largest, and every offset up to the last: no end of a range is left out."""
    n, side = 4000, 10
    ones = torch.ones(n, 1, side, side)
    seen = DI(probability=1.0, rate=0.8).image(ones, view(ones))[:, 0]
    corners = {(int((s[:, 5] > 0).sum()), int((s[:, 5] > 0).int().argmax())) for s in seen}
    assert corners == {(size, top) for size in (8, 9, 10) for top in range(side - size + 1)}
    draws = view(ones).draws
    u, top = draws.uniform("dem size"), draws.uniform("dem top")
    sizes = side + (u * 4).long()
    assert set(sizes.tolist()) == {10, 11, 12, 13}  # round(1.27 * 10) is 13
    dem = DEM(ratios=(1.27,)).image(ones, view(ones))[:, 0]
    lit = dem.sum((1, 2)) / side**2
    assert float(lit[sizes == 13].min()) == pytest.approx(1)  # the whole canvas
    smallest = sizes == 10
    assert float(lit[smallest].mean()) == pytest.approx((10 / 13) ** 2, abs=0.02)
    first, last = (smallest & (top * 4 < 1)), (smallest & (top * 4 >= 3))
    assert bool((dem[first][:, 0].sum(1) > 0).all())
    assert bool((dem[first][:, -1] == 0).all())
    assert bool((dem[last][:, 0] == 0).all())
    assert bool((dem[last][:, -1].sum(1) > 0).all())


def test_bsr_rotates() -> None:
    """One block, no shuffle: other than the image, by angles up to 24 degrees and near both ends of that."""
    n, side = 300, 21
    x = torch.zeros(n, 1, side, side, dtype=torch.float64)
    x[:, :, side // 2] = 1  # a line; its slope is the angle
    turned = BSR(blocks=1).image(x, view(x))[:, 0]
    at = torch.arange(side, dtype=torch.float64) - side // 2
    height = (turned * at[:, None]).sum(1) / turned.sum(1)
    angle = torch.atan2(height[:, side // 2 + 5] - height[:, side // 2 - 5], torch.tensor(10.0)).rad2deg()
    assert float(angle.abs().max()) < 24.5
    assert float(angle.max()) > 23
    assert float(angle.min()) < -23


def test_bsr_shuffles_evenly() -> None:
    """Each quarter of an image comes to each place equally often, and strips are of rows as often as of columns."""
    n = 4000
    corner = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    x = corner.expand(n, 1, 2, 2)
    made = BSR(angle=0.0).image(x, view(x))[:, 0].flatten(1).long()
    for place in range(4):
        counts = made[:, place].bincount(minlength=4)
        assert bool(((counts - n / 4).abs() < 4.5 * (n / 4) ** 0.5).all())
    neighbours = ((made[:, 0] // 2) == (made[:, 1] // 2)).double().mean()  # of one row: always by rows, or by chance
    assert 0.6 < float(neighbours) < 0.9


def test_sia_draws_each_operation_for_each_block() -> None:
    drawn = Draws(1, torch.arange(600)).integers("sia operation", 10, (3, 3))
    counts = drawn.flatten().bincount(minlength=10)
    assert bool(((counts - 540).abs() < 4.5 * 540**0.5).all())
    cuts = Draws(1, torch.arange(3000)).bits("sia rows", (7,)).topk(2, largest=False).indices
    pairs = (cuts.sort().values @ torch.tensor([7, 1])).bincount(minlength=49)
    assert int((pairs > 0).sum()) == 21  # every pair of the seven places
    assert bool(((pairs[pairs > 0] - 3000 / 21).abs() < 4.5 * (3000 / 21) ** 0.5).all())


@pytest.mark.parametrize("name", ["admix", "ssm", "dem", "sia", "bsr"])
def test_registered_with_its_papers_settings(name: str) -> None:
    part = ATTACKS[name]
    assert part.family == "transformation"
    copies = {"admix": 15, "ssm": 20, "dem": 5, "sia": 20, "bsr": 20}[name]
    assert part.passes.forward == 10 * copies


@pytest.mark.parametrize(
    "made",
    [
        lambda: Admix(scales=0),
        lambda: Admix(partners=0),
        lambda: Admix(strength=-0.1),
        lambda: Admix(strength=math.nan),
        lambda: SSM(copies=0),
        lambda: SSM(sigma=-1.0),
        lambda: SSM(rho=math.inf),
        lambda: DEM(ratios=()),
        lambda: DEM(ratios=(1.2, 0.9)),
        lambda: DEM(ratios=(1.2, math.nan)),
        lambda: SIA(copies=0),
        lambda: SIA(blocks=0),
        lambda: SIA(noise=-0.1),
        lambda: SIA(operations=("blur",)),
        lambda: SIA(operations=("scale", "scale")),
        lambda: BSR(copies=0),
        lambda: BSR(blocks=0),
        lambda: BSR(angle=-1.0),
        lambda: BSR(angle=181.0),
        lambda: parse_attack({"name": "bsr", "bsr": {"rotated": "rows"}}),
    ],
)
def test_wrong_settings_are_refused(made: Any) -> None:
    with pytest.raises(InputError):
        made()
