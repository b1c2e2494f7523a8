"""Weight sets as one artefact, as vectors, with batch norm of their own; chains of builders, and what they refuse."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from tests.surrogates.trajectory.test_lgv import given, same
from torch import nn

from carom.errors import InputError, ModelError
from carom.surrogates.builder import SEED_STRIDE, Chain, Member, build
from carom.surrogates.networks.ensemble import Ensemble
from carom.surrogates.networks.single import Single
from carom.surrogates.posterior.mba import MoreBayesian
from carom.surrogates.stack import mean, parameter_names, reestimated, restored, stacked, unstacked, vector, with_vector
from carom.surrogates.surrogate import Schedule, Surrogate
from carom.surrogates.trajectory.directions import RandomDirections
from carom.surrogates.trajectory.lgv import LGV
from carom.surrogates.trajectory.swa import SWA
from carom.zoo.models.classifier import create, weights
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.state import Passes

from .conftest import ground, plain


def several(name: str, count: int = 3) -> list[Weights]:
    here = ground(name)
    return [weights(create(here.architecture, shape=here.shape, classes=3, seed=i)) for i in range(count)]


# ------------------------------------------------------------------------------------------------------------- stack


@pytest.mark.parametrize("name", ["resnet-small", "vit-small", "mlp"])
def test_stacking_and_back_is_exact_and_takes_each_once(name: str) -> None:
    members = several(name)
    one = stacked(members)
    assert all(len(tensor) == 3 for tensor in one.values())
    size = sum(t.numel() for t in one.values())
    assert size == sum(t.numel() for member in members for t in member.values())
    for member, again in zip(members, unstacked(one), strict=True):
        assert same(member, again)
        assert all(again[n].untyped_storage().data_ptr() == one[n].untyped_storage().data_ptr() for n in one)


@pytest.mark.parametrize("name", ["resnet-small", "vit-small", "mixer-small", "timm:test_vit", "timm:resnet18"])
def test_restored_classifiers_are_those_of_their_weights_without_copies(name: str) -> None:
    here = ground(name)
    here = replace(here, shape=(3, 32, 32))
    members = [
        weights(create(here.architecture, shape=here.shape, classes=3, seed=i, pretrained=False)) for i in (0, 1)
    ]
    views = unstacked(stacked(members))
    made = restored(here.architecture, views, shape=here.shape, classes=3)
    x = torch.rand(2, 3, 32, 32)
    for member, view, classifier in zip(members, views, made, strict=True):
        assert not classifier.training
        expected = here.classifier(member)
        assert torch.equal(classifier(x), expected(x))
        assert same(weights(classifier), member)
        if name == "resnet-small":
            first = next(classifier.network.parameters())
            assert first.data_ptr() == next(iter(view.values())).data_ptr()
    assert made[0].network is not made[1].network
    with pytest.raises(ModelError, match="tensors are missing"):
        restored(here.architecture, [{}], shape=here.shape, classes=3)


def test_vectors_hold_parameters_and_leave_buffers() -> None:
    here, (a, b, _) = ground(), several("resnet-small")
    names = parameter_names(here, a)
    buffers = set(a) - set(names)
    assert buffers == {name for name in a if "running" in name or "num_batches" in name}
    values = vector(a, names)
    assert len(values) == sum(a[name].numel() for name in names)
    assert same(with_vector(a, names, values), a)
    mixed = with_vector(b, names, values)
    assert all(torch.equal(mixed[name], (a if name in names else b)[name]) for name in a)
    mixed[names[0]].add_(1)
    assert not torch.equal(mixed[names[0]], a[names[0]])  # nothing is shared


def test_a_mean_is_the_mean_of_parameters_and_of_equals_each() -> None:
    members = several("resnet-small", 5)
    names = parameter_names(ground(), members[0])
    middle = mean(members, names)
    expected = torch.stack([vector(member, names).double() for member in members]).mean(0)
    torch.testing.assert_close(vector(middle, names).double(), expected, atol=1e-7, rtol=1e-5)
    assert same(mean([members[1]] * 7, names), members[1])


def test_batch_norm_is_taken_anew_from_a_tenth_of_the_images_without_augmentation() -> None:
    here = ground(n=400)
    start = given("resnet-small")
    made, passes = reestimated(here, start)
    assert passes == Passes(forward=40)
    names = parameter_names(here, start)
    assert torch.equal(vector(made, names), vector(start, names))
    # as many passes, and the same statistics, whatever stood there before
    spoilt = {name: t * 7 + 1 if "running" in name else t for name, t in start.items()}
    again, _ = reestimated(here, spoilt)
    assert all(torch.equal(again[name], made[name]) for name in made)
    # with all images at once, the first norm's statistics are those of what it reads
    whole, passes = reestimated(ground(n=100), start, part=1.0)
    assert passes == Passes(forward=100)
    classifier = ground(n=100).classifier(start).train()
    norm = next(m for m in classifier.modules() if isinstance(m, nn.BatchNorm2d))
    read: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0].detach()))
    classifier(ground(n=100).train.pixels)
    name = next(name for name in start if name.endswith("running_mean"))
    torch.testing.assert_close(whole[name], read[0].mean((0, 2, 3)), atol=1e-5, rtol=1e-5)


def test_batch_norm_needs_images_and_a_network_without_it_needs_none() -> None:
    with pytest.raises(InputError, match="batch norm has 20 images to take its statistics from; expected at least 32"):
        reestimated(ground(n=20), given("resnet-small"))
    same_weights, passes = reestimated(ground("mlp", n=20), given("mlp"))
    assert same_weights is given("mlp")
    assert passes == Passes()


# ------------------------------------------------------------------------------------------------------------ chains


@dataclass(frozen=True, kw_only=True)
class Alone:
    """A refinement that begins by itself."""

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "full"
    takes: ClassVar[str] = "none"
    asks: ClassVar[bool] = True
    judged: ClassVar[bool] = False

    def count(self, given: int) -> int:
        return 1

    def others(self, seed: int) -> tuple[Member, ...]:
        return (Member(seed=seed + 5 * SEED_STRIDE),)

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        return Built(members=(given[-1],), passes=Passes(3, 2), record={"asked": 3})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Chain(first=None), "an empty chain"),
        (lambda: Chain(first=Single(), then=(Alone(),)), "Alone begins by itself; put it first"),
        (lambda: Chain(first=Ensemble(size=2), then=(LGV(),)), "LGV takes one network, and 2 came before it"),
        (lambda: Chain(first=None, then=(LGV(),)), "LGV takes one network, and none came before it"),
        (lambda: Chain(first=Ensemble(size=2), then=(SWA(),)), "SWA takes weights of one training, and 2 came"),
        (lambda: Chain(first=Single(), then=(LGV(), RandomDirections())), "RandomDirections takes one network, and 40"),
        (
            lambda: Chain(first=Single(), then=(MoreBayesian(), SWA())),
            "what MoreBayesian makes is not a set of",
        ),
        (lambda: Chain(first=Single(), per_step=2), "per_step=2; expected 1 to the number of members, 1"),
        (lambda: Chain(first=Single(), then=(LGV(),), per_step=0), "per_step=0; expected 1 to the number of members"),
    ],
)
def test_chains_that_cannot_be(make: Callable[[], Chain], message: str) -> None:
    with pytest.raises(InputError, match=f"surrogate: {re.escape(message)}"):
        make()


def test_a_chain_counts_its_members_and_what_is_read_at_a_step() -> None:
    chain = Chain(first=Single(), then=(LGV(), SWA(), RandomDirections(draws=7)), schedule="light", per_step=2)
    assert (chain.count, chain.active, chain.asks, chain.judged) == (7, 2, False, False)
    assert Chain(first=Single(), then=(LGV(),)).active == 40
    assert Chain(first=Ensemble(size=2, architectures=("mlp", "lenet"))).count == 4
    assert Chain(first=None, then=(Alone(),)).asks
    assert [m.seed for m in Chain(first=None, then=(Alone(),)).members(3)] == [3 + 5 * SEED_STRIDE]


def test_a_step_reads_at_most_the_members_that_there_are() -> None:
    """Some of those planned may have diverged."""
    here = ground("mlp")
    chain = Chain(first=Single(), then=(RandomDirections(draws=3),), schedule="light", per_step=3)
    two = [here.classifier(given()) for _ in range(2)]
    source = chain.surrogate(two, seed=0)
    assert isinstance(source, Surrogate)
    assert source.per_step == 2
    assert list(chain.answering(two)) == two


def test_building_trains_what_is_not_given_and_adds_up() -> None:
    here = ground("mlp")
    whole = build(Chain(first=Ensemble(size=2)), here)
    assert same(whole.members[0], given())
    assert not same(whole.members[0], whole.members[1])
    assert whole.passes == Passes(2 * 3 * 96, 2 * 3 * 96)
    chain = Chain(first=Single(), then=(RandomDirections(sigma=0.01, draws=2), SWA()))
    from_scratch, from_given = build(chain, here), build(chain, here, [given()])
    assert same(from_scratch.members[0], from_given.members[0])
    assert from_scratch.passes.forward - from_given.passes.forward == 3 * 96
    assert from_given.record["averaged"] == 2


def test_further_trainings_are_given_or_made() -> None:
    here = ground("mlp")
    made = build(Chain(first=None, then=(Alone(),)), here)
    other = replace(here, seed=here.seed + 5 * SEED_STRIDE)
    assert same(made.members[0], other.trained(other.recipe).last)
    assert made.passes == Passes(3 * 96 + 3, 3 * 96 + 2)
    assert made.record == {"asked": 3}
    handed = build(Chain(first=None, then=(Alone(),)), here, others=[[given()]])
    assert handed.members[0] is given()
    assert handed.passes == Passes(3, 2)


def test_a_training_hands_on_the_weights_that_its_recipe_selects() -> None:
    for select in ("best", "last"):
        here = ground("mlp", recipe=plain(select=select, epochs=4, learning_rate=0.4))
        trained = here.trained(here.recipe)
        assert same(build(Chain(first=Single()), here).members[0], trained.best if select == "best" else trained.last)
