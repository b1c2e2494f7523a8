"""MoreBayesian: its step, its moments, and what an attack reads of them."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from tests.surrogates.by_hand import RATE, A, W, by_hand
from tests.surrogates.conftest import ground
from tests.surrogates.trajectory.test_lgv import given, same
from torch import Tensor, nn

from carom.attacks import craft_images, parse_attack
from carom.attacks.objectives.cross_entropy import CrossEntropy
from carom.attacks.reading.gradients import Gradients
from carom.budget import Budget
from carom.errors import InputError
from carom.protocols import Combination, GradientSource
from carom.registry import build as built_from
from carom.surrogates.builder import Chain, ReadsItsOwnWay, Refinement, build
from carom.surrogates.networks.single import Single
from carom.surrogates.posterior.mba import PRESETS, MoreBayesian, Posterior, probed, take_moments
from carom.surrogates.stack import parameter_names, reestimated, restored, vector
from carom.surrogates.trajectory.lgv import LGV
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.prepare import prepare
from carom.zoo.training.ground import Built
from carom.zoo.training.slots import descend
from carom.zoo.training.state import Passes

QUICK = MoreBayesian(epochs=1, collections=4, learning_rate=0.02, draws_per_step=3)


@cache
def made(name: str = "resnet-small", way: MoreBayesian = QUICK) -> Built:
    return way.build(ground(name), [given(name)])


def classifiers(name: str = "resnet-small") -> list[Classifier]:
    here = ground(name)
    return restored(here.architecture, made(name).members, shape=here.shape, classes=here.classes)


def test_a_step_adds_the_change_of_the_gradient_on_the_way_uphill() -> None:
    state, gradient, read = by_hand()
    probed(2.0, 0.5, descend)(state, gradient)
    torch.testing.assert_close(read[0], W)
    g = A * W
    torch.testing.assert_close(read[1], W + 0.5 * g / g.norm())
    step = g + 2.0 / 0.5 * (A * read[1] - g)
    after = torch.cat([p.detach().flatten() for p in state.classifier.network.parameters()])
    torch.testing.assert_close(after[:6], W - RATE * step)


def test_strength_zero_is_plain_sgd_and_equal_to_radius_it_is_sam(monkeypatch: pytest.MonkeyPatch) -> None:
    # ways of going on draw orders of their own; here both see the images in one
    monkeypatch.setattr("carom.zoo.training.ground.stream", lambda seed, purpose: seed)
    state, gradient, read = by_hand()
    probed(0.0, 0.5, descend)(state, gradient)
    assert len(read) == 1
    here = ground("mlp")
    # the same steps as LGV's, whose last snapshot ends the same epoch
    plain = LGV(epochs=2, models_per_epoch=1, learning_rate=0.02, weight_decay=5e-4).build(here, [given()])
    ours = replace(QUICK, epochs=2, strength=0.0, collections=2).build(here, [given()])
    names = parameter_names(here, given())
    points = torch.stack([vector(member, names) for member in plain.members])
    torch.testing.assert_close(vector(ours.members[0], names), points.mean(0), atol=1e-7, rtol=1e-6)
    assert ours.passes == plain.passes
    state, gradient, read = by_hand()
    probed(0.5, 0.5, descend)(state, gradient)
    after = torch.cat([p.detach().flatten() for p in state.classifier.network.parameters()])
    torch.testing.assert_close(after[:6], W - RATE * A * read[1])


def test_it_costs_two_passes_a_step() -> None:
    assert made("mlp").passes == Passes(2 * 96, 2 * 96)
    assert made().passes == Passes(2 * 96 + 32, 2 * 96)


@pytest.mark.parametrize(("collections", "steps"), [(4, 10), (3, 3), (7, 5), (2, 9)])
def test_moments_are_those_of_evenly_spaced_weights(collections: int, steps: int) -> None:
    state, _, _ = by_hand()
    state.steps = steps
    generator = torch.Generator().manual_seed(0)
    taken: list[Tensor] = []
    for step in range(steps):
        state.step = step
        with torch.no_grad():
            for parameter in state.classifier.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        before = int(state.memory.get("moments collected", torch.tensor(0)))
        take_moments(state, collections)
        if int(state.memory["moments collected"] if state.memory else 0) > before:
            taken.append(torch.cat([p.detach().flatten() for p in state.classifier.network.parameters()]))
    assert len(taken) == min(collections, steps)
    torch.testing.assert_close(state.memory["moments mean"], torch.stack(taken).mean(0))
    variance = state.memory["moments squares"] / len(taken)
    torch.testing.assert_close(variance, torch.stack(taken).var(0, correction=0))


def test_its_weight_sets_are_a_mean_with_batch_norm_that_fits_it_and_deviations() -> None:
    mean, deviation = made().members
    names = parameter_names(ground(), mean)
    assert all(torch.equal(mean[name], deviation[name]) for name in mean if name not in names)
    assert bool((vector(deviation, names) >= 0).all())
    assert 0 < float(vector(deviation, names).mean()) < float(vector(mean, names).abs().mean())
    again, _ = reestimated(ground(), mean)
    assert same(again, mean)
    assert made().record["collected"] == 4


def test_what_is_interrupted_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carom.zoo.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    way = replace(QUICK, epochs=3)
    whole = way.build(ground("mlp"), [given()])
    here = ground("mlp", checkpoint=tmp_path / "more.pt")
    with pytest.raises(KeyboardInterrupt):
        way.build(replace(here, progress=stop), [given()])
    again = way.build(here, [given()])
    assert all(same(a, b) for a, b in zip(whole.members, again.members, strict=True))
    assert again.passes == whole.passes


# ------------------------------------------------------------------------------------------------------------ reading


def read(source: GradientSource, ready: Callable[[nn.Module], nn.Module] | None = None) -> Tensor:
    """Images of an attack of 3 steps."""
    here = ground().validation.select(torch.arange(5))
    attack = parse_attack({"name": "mi", "steps": 3})
    crafted = craft_images(
        [(attack, Budget.parse("linf", "16/255"))],
        source,
        here.pixels,
        here.labels,
        seed=0,
        ids=here.ids,
        prepare=ready,
    )
    assert crafted[0].passes.forward == 5 * 3 * len(source.members(0, 0))
    return crafted[0].images


def draws(source: GradientSource, step: int) -> list[Classifier]:
    """The networks of a step."""
    found = source.members(step, 0)
    assert all(isinstance(each, Classifier) for each in found)
    return [each for each in found if isinstance(each, Classifier)]


def weights_of(classifier: Classifier) -> Tensor:
    return torch.cat([p.detach().flatten() for p in classifier.parameters()])


def gradient(source: GradientSource, step: int = 0) -> Tensor:
    some = ground().validation.select(torch.arange(5))
    return Gradients(source, some.pixels, some.labels).at(some.pixels + 0.01, CrossEntropy(), step=step)


def test_scale_zero_is_the_mean_bit_for_bit() -> None:
    mean, deviation = classifiers()
    still = replace(QUICK, scale=0.0)
    assert torch.equal(gradient(still.source([mean, deviation], 3)), gradient(One(mean)))
    assert still.active(2) == len(still.source([mean, deviation], 3).members(0, 0)) == 1


class One:
    """One classifier as a source."""

    combination: Combination = "loss"

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def members(self, step: int, copy: int) -> list[Classifier]:
        return [self.classifier]


def test_draws_belong_to_seed_step_and_number() -> None:
    mean, deviation = classifiers()

    def weights(seed: int, step: int, count: int = 3) -> list[Tensor]:
        source = replace(QUICK, draws_per_step=count).source([mean, deviation], seed)
        return [weights_of(draw) for draw in draws(source, step)]

    first = weights(0, 1)
    assert all(torch.equal(a, b) for a, b in zip(first, weights(0, 1, count=5), strict=False))
    for other in (*weights(1, 1), *weights(0, 2), first[1], first[2]):
        assert not torch.equal(first[0], other)
    source = QUICK.source([mean, deviation], 0)
    before = source.members(1, 0)
    assert all(a is b for a, b in zip(before, source.members(1, 7), strict=True))
    source.members(2, 0)
    assert all(torch.equal(a, weights_of(draw)) for a, draw in zip(first, draws(source, 1), strict=True))


def test_draws_are_normal_with_the_deviations_and_share_the_rest_of_the_mean() -> None:
    mean, deviation = classifiers()
    drawn = draws(Posterior(mean, deviation, scale=1.5, draws=60), 4)
    for name, spread in deviation.named_parameters():
        values = torch.stack([dict(draw.named_parameters())[name] for draw in drawn])
        centre = dict(mean.named_parameters())[name]
        off = ((values - centre) / (1.5 * spread).clamp_min(1e-20)).detach()
        some = off[:, spread > 1e-6]
        if some.numel() > 10_000:
            assert float(some.std()) == pytest.approx(1, abs=0.02)
            assert float(some.mean().abs()) < 0.02
    for name, buffer in mean.named_buffers():
        assert dict(drawn[0].named_buffers())[name].data_ptr() == buffer.data_ptr()


def test_a_gradient_is_the_mean_of_those_of_the_draws() -> None:
    mean, deviation = classifiers()
    source = QUICK.source([mean, deviation], 0)
    each = [gradient(One(draw)) for draw in draws(source, 2)]
    torch.testing.assert_close(gradient(source, step=2), torch.stack(each).mean(0), atol=1e-8, rtol=1e-4)
    assert not torch.allclose(gradient(source, step=2), gradient(source, step=3), rtol=1e-2)


def test_prepared_for_speed_an_attack_finds_the_same_images() -> None:
    mean, deviation = classifiers()
    plain = read(QUICK.source([mean, deviation], 0))
    folded = read(QUICK.source([mean, deviation], 0), prepare)
    assert float((plain == folded).float().mean()) > 0.95
    again = read(QUICK.source([mean, deviation], 0), prepare)
    assert torch.equal(folded, again)


@pytest.mark.thorough
@pytest.mark.parametrize("attack", ["linbp", "fia", "vmi"])
@pytest.mark.parametrize("ready", [None, prepare], ids=["as they are", "prepared"])
def test_model_paths_features_and_neighbours_read_draws_too(
    attack: str, ready: Callable[[nn.Module], nn.Module] | None
) -> None:
    mean, deviation = classifiers()
    here = ground().validation.select(torch.arange(4))
    crafted = craft_images(
        [(parse_attack({"name": attack, "steps": 2}), Budget.parse("linf", "16/255"))],
        QUICK.source([mean, deviation], 0),
        here.pixels,
        here.labels,
        seed=0,
        ids=here.ids,
        prepare=ready,
    )
    assert float((crafted[0].images - here.pixels).abs().amax()) > 0.05


def test_draws_do_not_pile_up() -> None:
    mean, deviation = classifiers()
    source = QUICK.source([mean, deviation], 0)
    seen = [[weakref.ref(draw) for draw in draws(source, step)] for step in range(6)]
    gc.collect()
    alive = [all(one() is not None for one in step) for step in seen]
    assert alive == [True, False, False, False, False, True]  # the first step's, and the last's


def test_in_a_chain_it_reads_its_own_way() -> None:
    chain = Chain(first=Single(), then=(QUICK,))
    assert isinstance(QUICK, ReadsItsOwnWay)
    assert (chain.count, chain.active) == (2, 3)
    mean, deviation = classifiers()
    assert list(chain.answering([mean, deviation])) == [mean]
    assert isinstance(chain.surrogate([mean, deviation], 0), Posterior)
    found = build(chain, ground())
    assert all(same(a, b) for a, b in zip(found.members, made().members, strict=True))


def test_settings() -> None:
    assert isinstance(MoreBayesian(), Refinement)
    assert built_from(MoreBayesian, {"radius": 1}, where="m") == MoreBayesian(radius=1.0)
    assert built_from(MoreBayesian, dict(PRESETS["paper-imagenet"]), where="m").collections == 300
    for wrong in ({"radius": 0.0}, {"scale": -1.0}, {"draws_per_step": 0}, {"collections": 1}, {"batch_size": 0}):
        with pytest.raises(InputError, match=f"morebayesian: {next(iter(wrong))} must be in"):
            MoreBayesian(**wrong)
    with pytest.raises(InputError, match="morebayesian: 1 step to collect moments from; expected at least 2"):
        replace(QUICK, batch_size=96).build(ground("mlp"), [given()])
