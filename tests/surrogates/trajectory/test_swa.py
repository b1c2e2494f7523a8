"""SWA: means of weights, and batch norm that fits them."""

from dataclasses import replace

import pytest
import torch
from tests.surrogates.conftest import ground, plain
from torch import Tensor, nn

from carom.errors import InputError
from carom.registry import build as built_from
from carom.surrogates.builder import Chain, Refinement, build
from carom.surrogates.networks.single import Single
from carom.surrogates.stack import parameter_names, vector
from carom.surrogates.trajectory.lgv import LGV
from carom.surrogates.trajectory.swa import SWA
from carom.zoo.training.state import Passes

from .test_lgv import full_batch_steps, given, same


def test_equal_weights_give_themselves_back() -> None:
    start = given("resnet-small")
    made = SWA().build(ground(), [start] * 3)
    assert same(made.members[0], start)
    assert made.passes == Passes()


def test_of_several_it_is_the_mean_with_batch_norm_of_a_tenth_of_the_images() -> None:
    here, start = ground(n=400), given("resnet-small")
    names = parameter_names(here, start)
    other = {name: t + 0.01 if name in names else t for name, t in start.items()}
    (member,) = (made := SWA().build(here, [start, other, other])).members
    expected = (vector(start, names).double() + 2 * vector(other, names).double()) / 3
    torch.testing.assert_close(vector(member, names).double(), expected, atol=1e-6, rtol=0)
    assert made.passes == Passes(forward=40)
    norms = [name for name in start if name.endswith("running_var")]
    assert not any(torch.equal(member[name], start[name]) for name in norms)


def test_batch_norm_of_the_mean_has_the_statistics_of_the_images() -> None:
    """The first norm's running mean is the mean of what it reads."""
    here, start = ground(n=300), given("resnet-small")
    names = parameter_names(here, start)
    other = {name: t * 1.5 if name in names else t for name, t in start.items()}
    (member,) = SWA().build(here, [start, other]).members
    for weights, fits in ((member, True), (start, False)):
        classifier = here.classifier({**member, **{name: weights[name] for name in start if name not in names}})
        norm = next(m for m in classifier.modules() if isinstance(m, nn.BatchNorm2d))
        read: list[Tensor] = []
        norm.register_forward_pre_hook(lambda module, inputs, read=read: read.append(inputs[0]))
        with torch.no_grad():
            classifier(here.train.pixels)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        off = (norm.running_mean - read[0].mean((0, 2, 3))).abs() / norm.running_var.sqrt()
        assert (float(off.max()) < 0.1) == fits


def test_of_one_it_averages_the_epochs_that_follow() -> None:
    here = ground("mlp", recipe=plain(batch_size=96))
    way = SWA(epochs=3, learning_rate=0.1, momentum=0.5, weight_decay=0.2)
    made = way.build(here, [given()])
    expected = torch.stack(full_batch_steps(here, given(), [0.1] * 3, 0.5, 0.2)).mean(0)
    names = parameter_names(here, given())
    torch.testing.assert_close(vector(made.members[0], names), expected, atol=1e-5, rtol=1e-4)
    assert made.passes == Passes(3 * 96, 3 * 96)
    assert made.record["averaged"] == 3


def test_behind_lgv_it_is_the_mean_of_its_snapshots() -> None:
    here, lgv = ground("mlp"), LGV(epochs=1, models_per_epoch=3)
    snapshots = lgv.build(here, [given()])
    made = build(Chain(first=Single(), then=(lgv, SWA())), here, [given()])
    names = parameter_names(here, given())
    expected = torch.stack([vector(member, names) for member in snapshots.members]).mean(0)
    torch.testing.assert_close(vector(made.members[0], names), expected, atol=1e-6, rtol=0)
    assert made.passes == snapshots.passes


def test_settings() -> None:
    assert isinstance(SWA(), Refinement)
    assert SWA().count(40) == 1
    assert built_from(SWA, {"learning_rate": 1}, where="swa") == SWA(learning_rate=1.0)
    with pytest.raises(InputError, match="swa: epochs must be in"):
        SWA(epochs=0)


def test_what_is_left_of_several_is_not_trained_on() -> None:
    """Where all weight sets but one diverged, the mean is that one."""
    here = ground("mlp")
    network = build(Chain(first=Single()), here).members
    made = SWA().build(replace(here, expected=4), network)
    assert made.passes.backward == 0
    assert made.record["averaged"] == 1
    assert all(torch.equal(made.members[0][name], tensor) for name, tensor in network[0].items())
