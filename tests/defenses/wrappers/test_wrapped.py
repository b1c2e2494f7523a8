"""What stands before a classifier, and how attacks see through it."""

from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn, idctn
from torch import Tensor, nn
from typing_extensions import override

from carom.attacks import Iterative, Square, Uniform, craft, parse_attack
from carom.attacks.objectives.cross_entropy import CrossEntropy
from carom.attacks.reading.gradients import Gradients
from carom.attacks.reading.networks import Ready
from carom.budget import Budget
from carom.defenses.defense import Wrapper
from carom.defenses.wrappers.bit_depth import BitDepth
from carom.defenses.wrappers.blur import Blur
from carom.defenses.wrappers.jpeg import JPEG
from carom.defenses.wrappers.noise import Noise
from carom.defenses.wrappers.resize_pad import ResizePad
from carom.defenses.wrappers.wrapped import Change, Randomised, Wrapped
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Attack, Combination, GradientSource
from carom.registry import build
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, create, load_weights, weights
from carom.zoo.models.prepare import prepare
from carom.zoo.preprocessing import Preprocessing, Shape

SHAPE = (1, 12, 12)
FIXED = [JPEG(), BitDepth(), Blur()]
RANDOM = [ResizePad(low=0.6), Noise()]
ALL = [*FIXED, *RANDOM]
NAMES = [type(wrapper).__name__ for wrapper in ALL]


class One:
    """A source that is one classifier."""

    combination: Combination = "logits"

    def __init__(self, member: Classifier) -> None:
        self.member = member

    def members(self, step: int, copy: int) -> tuple[Classifier]:
        return (self.member,)


def pixels_out(shape: Shape = SHAPE) -> Classifier:
    """A classifier whose logits are the pixels that reach it."""
    network = nn.Flatten()
    plain = Preprocessing(mean=(0.0,) * shape[0], std=(1.0,) * shape[0])
    return Classifier(network, shape=shape, classes=shape[0] * shape[1] * shape[2], preprocessing=plain, architecture=0)


def network(name: str = "resnet-small", seed: int = 0) -> Classifier:
    classifier = create(architecture(name), shape=SHAPE, classes=3, seed=seed)
    with torch.no_grad():
        for i in range(20):  # batch norms that are no identity
            classifier.train()(some(16, seed=i))
    return classifier.eval()


def drawing(wrapper: Wrapper, inner: Classifier) -> Randomised:
    """Behind a wrapper that draws."""
    outer = wrapper.wrap(inner)
    assert isinstance(outer, Randomised)
    return outer


def some(n: int = 5, shape: Shape = SHAPE, seed: int = 0) -> Tensor:
    levels = torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(seed))
    return levels.float() / 255


def nobody(n: int = 1) -> Draws:
    return Draws(0, torch.arange(n))


@pytest.mark.parametrize("wrapper", ALL, ids=NAMES)
def test_a_wrapped_classifier_shares_weights_and_names_and_has_an_identity_of_its_own(wrapper: Wrapper) -> None:
    assert isinstance(wrapper, Wrapper)
    inner = network()
    outer = wrapper.wrap(inner)
    assert isinstance(outer, Wrapped)
    assert isinstance(outer, Randomised) is (not wrapper.deterministic)
    assert list(weights(outer)) == list(weights(inner))
    assert outer.state_dict().keys() == inner.state_dict().keys()
    assert outer.network is inner.network
    assert not outer.training
    assert outer.fingerprint() != inner.fingerprint()
    assert outer.fingerprint() == type(wrapper)(**vars(wrapper)).wrap(network()).fingerprint()
    assert outer.fingerprint() != wrapper.wrap(network(seed=1)).fingerprint()
    load_weights(outer, weights(network(seed=1)))
    assert torch.equal(inner(some()), network(seed=1)(some()))
    assert not torch.equal(outer(some()), inner(some()))


@pytest.mark.parametrize("wrapper", ALL, ids=NAMES)
def test_preparing_keeps_the_wrapper_and_folds_inside(wrapper: Wrapper) -> None:
    outer = wrapper.wrap(network())
    ready = prepare(outer)
    assert type(ready) is type(outer)
    assert ready.wrappers == (wrapper,)
    assert any(isinstance(m, nn.BatchNorm2d) for m in outer.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in ready.modules())
    torch.testing.assert_close(ready(some()), outer(some()), rtol=1e-4, atol=1e-4)
    if isinstance(outer, Randomised):
        ids = torch.arange(5)
        assert isinstance(ready, Randomised)
        torch.testing.assert_close(ready.answer(some(), ids), outer.answer(some(), ids), rtol=1e-4, atol=1e-4)


def test_wrapping_twice_meets_the_last_wrapper_first() -> None:
    coarse, jpeg, x = BitDepth(bits=2), JPEG(quality=20), some()
    both = coarse.wrap(jpeg.wrap(pixels_out()))
    assert torch.equal(both(x), jpeg(coarse(x, nobody()), nobody()).flatten(1))
    assert both.wrappers == (coarse, jpeg)
    assert both.fingerprint() != jpeg.wrap(coarse.wrap(pixels_out())).fingerprint()
    assert isinstance(jpeg.wrap(Noise().wrap(pixels_out())), Randomised)
    assert isinstance(Noise().wrap(jpeg.wrap(pixels_out())), Randomised)


def test_two_layers_of_noise_draw_apart() -> None:
    once, twice = drawing(Noise(), pixels_out()), drawing(Noise(seed=0), Noise().wrap(pixels_out()))
    x, ids = some(), torch.arange(5)
    first, second = once.answer(x, ids) - x.flatten(1), twice.answer(x, ids) - x.flatten(1)
    assert not torch.allclose(second, 2 * first, atol=1e-4)


def test_a_classifier_with_a_forward_of_its_own_is_refused() -> None:
    class Own(Classifier):
        @override
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    inner = network()
    own = Own(inner.network, shape=SHAPE, classes=3, preprocessing=inner.preprocessing, architecture=inner.architecture)
    with pytest.raises(InputError, match="Own finds its logits in its own way"):
        JPEG().wrap(own)


@pytest.mark.parametrize("wrapper", [JPEG(), BitDepth()], ids=["JPEG", "BitDepth"])
def test_the_backward_pass_of_a_rounding_wrapper_is_the_identity(wrapper: Change) -> None:
    x, weight = some().requires_grad_(), some(seed=1)
    out = wrapper(x, nobody())
    assert not torch.equal(out, x)
    (gradient,) = torch.autograd.grad((out * weight).sum(), x)
    assert torch.equal(gradient, weight)


def test_jpeg_is_a_rounded_cosine_transform_of_each_block() -> None:
    x = some(2, (1, 16, 24))
    for quality in (30, 75):
        out = JPEG(quality=quality)(x, nobody()) * 255
        for image, ours in zip((x * 255).round().numpy()[:, 0], out.numpy()[:, 0], strict=True):
            file = BytesIO()
            Image.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=quality)
            tables: Any = getattr(Image.open(file), "quantization")  # noqa: B009  # of JPEG files alone
            table = np.asarray(tables[0]).reshape(8, 8)
            expected = np.empty_like(image)
            for top in (0, 8):
                for left in (0, 8, 16):
                    at = slice(top, top + 8), slice(left, left + 8)
                    rounded = np.round(dctn(image[at] - 128, norm="ortho") / table) * table
                    expected[at] = np.clip(idctn(rounded, norm="ortho") + 128, 0, 255)
            # pixels are rounded again, and a coefficient half way between two may go either way
            assert np.median(np.abs(expected - ours)) < 0.5
            assert np.abs(expected - image).mean() > 3
        assert torch.equal(out.round(), out)


def test_jpeg_of_colour_keeps_the_order_of_channels() -> None:
    x = torch.tensor([0.8, 0.4, 0.1])[None, :, None, None].expand(2, 3, 16, 24)
    assert float((JPEG()(x, nobody()) - x).abs().max()) < 0.02


def test_jpeg_of_low_quality_changes_more_and_each_image_by_itself() -> None:
    x = some(6)
    size = [float((JPEG(quality=q)(x, nobody()) - x).square().mean()) for q in (10, 75, 100)]
    assert size[0] > size[1] > size[2]
    assert torch.equal(JPEG()(x, nobody())[4:], JPEG()(x[4:], nobody()))
    assert JPEG()(x[:0], nobody()).shape == (0, *SHAPE)
    with pytest.raises(InputError, match="1 or 3 channels, got 2"):
        JPEG()(torch.rand(1, 2, 8, 8), nobody())


def test_bit_depth_is_its_formula() -> None:
    x = torch.arange(256).float().reshape(1, 1, 16, 16) / 255
    assert torch.equal(BitDepth(bits=8)(x, nobody()), x)
    assert torch.equal(BitDepth(bits=1)(x, nobody()), (x > 0.5).float())
    three = BitDepth(bits=3)(x, nobody())
    assert torch.unique(three).tolist() == [torch.tensor(i).div(7).item() for i in range(8)]
    assert float((three - x).abs().max()) <= 0.5 / 7 + 1e-6


def test_blur_keeps_the_mean_and_constants_and_is_its_own_gradient() -> None:
    x = torch.rand(2, 3, 7, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    blur = Blur(sigma=1.5)
    out = blur(x, nobody())
    torch.testing.assert_close(out.mean((2, 3)), x.mean((2, 3)))
    torch.testing.assert_close(blur(torch.full_like(x, 0.3), nobody()), torch.full_like(x, 0.3))
    assert float(out.var()) < 0.5 * float(x.var())
    point = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
    point[0, 0, 7, 7] = 1
    row = Blur(sigma=1.0)(point, nobody())[0, 0, 7]
    assert float(row[8] / row[7]) == pytest.approx(np.exp(-0.5))
    assert float(row[9] / row[7]) == pytest.approx(np.exp(-2))
    assert torch.autograd.gradcheck(lambda v: blur(v, nobody()), (x[:1, :1].requires_grad_(),))


def test_resize_pad_makes_every_size_and_place_and_reads_single_pixels() -> None:
    n = 400
    wrapper = ResizePad(low=0.75)
    x = torch.ones(n, 1, 8, 8)
    out = wrapper(x, nobody(n))
    heights = (out.amax(3)[:, 0] > 0).sum(1)
    widths = (out.amax(2)[:, 0] > 0).sum(1)
    assert set(heights.tolist()) == {6, 7, 8}
    assert torch.equal(heights, widths)
    assert 90 < int((heights == 6).sum()) < 180
    tops = {int((image[0].amax(1) > 0).int().argmax()) for image in out[heights == 6]}
    assert tops == {0, 1, 2}
    levels = some(n, (1, 8, 8)) + 1
    assert set(torch.unique(wrapper(levels, nobody(n))).tolist()) <= {0.0, *torch.unique(levels).tolist()}
    assert torch.equal(ResizePad(low=1.0)(levels, nobody(n)), levels)
    weight = torch.rand(3, 1, 8, 8)
    point = levels[:3].clone().requires_grad_()
    (gradient,) = torch.autograd.grad((wrapper(point, nobody(3)) * weight).sum(), point)
    assert float(gradient.sum()) <= float(weight.sum()) + 1e-4
    moved = point.detach() + 0.5
    change = (wrapper(moved, nobody(3)) - wrapper(point.detach(), nobody(3))) * weight
    assert float(change.sum()) == pytest.approx(0.5 * float(gradient.sum()), rel=1e-4)


def test_noise_is_normal_and_not_clipped() -> None:
    out = Noise(sigma=0.1)(torch.zeros(200, *SHAPE), nobody(200))
    assert float(out.mean()) == pytest.approx(0.0, abs=3e-3)
    assert float(out.std()) == pytest.approx(0.1, rel=0.02)
    assert float(out.min()) < -0.2


@pytest.mark.parametrize("wrapper", RANDOM, ids=["ResizePad", "Noise"])
def test_an_answer_belongs_to_the_image_and_the_seed(wrapper: Wrapper) -> None:
    victim = drawing(wrapper, pixels_out())
    x, ids = some(8), torch.tensor([9, 0, 4, 1, 7, 3, 12, 8])
    whole = victim.answer(x, ids)
    order = torch.tensor([5, 2, 7, 0, 1, 3, 4, 6])
    assert torch.equal(victim.answer(x[order], ids[order]), whole[order])
    parts = [victim.answer(x[i : i + 3], ids[i : i + 3]) for i in (0, 3, 6)]
    assert torch.equal(torch.cat(parts), whole)
    other = drawing(type(wrapper)(**{**vars(wrapper), "seed": 1}), pixels_out())
    assert not torch.equal(other.answer(x, ids), whole)
    # the same image under all ids meets several draws; called plainly, one
    same = x[:1].expand(8, -1, -1, -1)
    assert len(torch.unique(victim.answer(same, ids), dim=0)) > 1
    assert len(torch.unique(victim(same), dim=0)) == 1
    assert torch.equal(victim(x)[:3], victim(x[:3]))


def test_clean_and_adversarial_images_share_the_draw() -> None:
    victim = drawing(Noise(sigma=0.1), pixels_out())
    x, ids = some(4), torch.arange(4)
    moved = x + 0.25
    torch.testing.assert_close(victim.answer(moved, ids) - victim.answer(x, ids), torch.full((4, 144), 0.25))


def test_each_query_meets_a_draw_of_its_own() -> None:
    victim = drawing(Noise(sigma=0.1), pixels_out())
    x = some(4)
    near = x + 1 / 255
    first, second = victim.asked(x), victim.asked(near)
    assert torch.equal(victim.asked(x[[2, 0]]), first[[2, 0]])
    change = second - first - 1 / 255
    assert 0.1 < float(change.std()) < 0.2
    assert not torch.isclose(first, victim.answer(x, torch.arange(4))).all(1).any()


@pytest.mark.parametrize("wrapper", RANDOM, ids=["ResizePad", "Noise"])
def test_the_expected_gradient_is_that_of_the_mean_over_its_draws(wrapper: Wrapper) -> None:
    victim = drawing(wrapper, network())
    source = victim.expectation(seed=3, draws=4)
    x, y = some(), torch.tensor([0, 1, 2, 0, 1])
    gradients = Gradients(source, x, y, ready=Ready(prepare))
    for step in (0, 5):
        point = x.clone().requires_grad_()
        mean = torch.stack([member(point) for member in source.members(step, 0)]).mean(0)
        (expected,) = torch.autograd.grad(CrossEntropy()(mean, y).sum(), point)
        torch.testing.assert_close(gradients.at(x.clone(), CrossEntropy(), step=step), expected, rtol=1e-3, atol=1e-5)
    assert gradients.passes.forward == gradients.passes.backward == 2 * 4 * len(x)


def test_the_draws_of_an_expectation_are_of_its_seed_step_copy_and_number_alone() -> None:
    victim = drawing(Noise(), pixels_out())
    x = some(2)

    def seen(seed: int, step: int, copy: int) -> Tensor:
        source = victim.expectation(seed=seed, draws=3)
        return torch.stack([member(x) for member in source.members(step, copy)])

    first = seen(0, 1, 0)
    assert len(torch.unique(first[:, 0], dim=0)) == 3
    torch.testing.assert_close(first[:, 0] - x[0].flatten(), first[:, 1] - x[1].flatten())
    assert torch.equal(seen(0, 1, 0), first)
    for other in (seen(1, 1, 0), seen(0, 2, 0), seen(0, 1, 1)):
        assert not torch.isclose(other, first).all(2).any()
    evaluated = torch.stack([victim.answer(x[:1], torch.tensor([k]))[0] for k in range(3)])
    assert not torch.isclose(evaluated, first[:, 0]).all(1).any()
    source = victim.expectation(seed=0, draws=3)
    source.members(7, 7)
    assert torch.equal(torch.stack([member(x) for member in source.members(1, 0)]), first)
    with pytest.raises(InputError, match="draws must be at least 1"):
        victim.expectation(seed=0, draws=0)


@pytest.mark.parametrize("wrapper", ALL, ids=NAMES)
def test_attacks_read_through_every_wrapper(wrapper: Wrapper) -> None:
    victim = wrapper.wrap(network())
    source: GradientSource = victim.expectation(seed=0, draws=2) if isinstance(victim, Randomised) else One(victim)
    pixels = (some() * 255).byte()
    y = victim(some()).argmax(1)
    pgd = Iterative(start=Uniform(), steps=3, step=Fraction(1, 2))
    budget = Budget(norm="linf", eps=Fraction(16, 255))
    attacks: list[Attack] = [pgd, Square(queries=5), parse_attack("linbp")]
    made = craft(
        [(attack, budget) for attack in attacks],
        source,
        pixels,
        y,
        seed=0,
        ids=torch.arange(5),
        asked=prepare(victim),
        prepare=prepare,
    )
    for crafted in made:
        assert int((crafted.images.short() - pixels.short()).abs().max()) <= 16
    assert made[0].zero_gradients == 0
    before = nn.functional.cross_entropy(victim(some()), y)
    after = nn.functional.cross_entropy(victim(made[0].images.float() / 255), y)
    assert after > before


def test_settings_are_checked() -> None:
    assert build(Noise, {"sigma": 1}, where="defense") == Noise(sigma=1.0)
    for cls, name, value in [
        (JPEG, "quality", 0),
        (BitDepth, "bits", 9),
        (Blur, "sigma", 0.0),
        (ResizePad, "low", 1.1),
        (Noise, "sigma", float("nan")),
    ]:
        with pytest.raises(InputError, match=f"{name} must be in"):
            cls(**{name: value})


def test_every_reading_without_a_step_is_under_fresh_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack that does not count steps would overfit the draws of the first."""
    victim, x = drawing(Noise(sigma=0.1), network()), some(3)
    source = victim.expectation(0, draws=2)
    asked: list[int] = []
    members = source.members

    def watched(step: int, copy: int) -> Any:
        asked.append(step)
        return members(step, copy)

    monkeypatch.setattr(source, "members", watched)
    gradients = Gradients(source, x, torch.zeros(3, dtype=torch.int64))
    for _ in range(2):
        gradients.scored(x, lambda logits: logits[:, 0])
        gradients.logits(x)
        gradients.answer(x)
    assert asked == [1, 2, 3, 4, 5, 6]
    gradients.at(x, CrossEntropy(), step=7)  # who counts steps gets the draws of the step
    assert asked[-1] == 7
