"""The first part of WASAM: SAM's own training, and its last epochs."""

from dataclasses import replace

import pytest
import torch
from tests.surrogates.by_hand import same, trained
from tests.surrogates.conftest import ground, plain

from carom.errors import InputError
from carom.surrogates.builder import Chain, Training, build
from carom.surrogates.flatness.sam import SAM
from carom.surrogates.flatness.wasam import SAMTail
from carom.surrogates.trajectory.swa import SWA
from carom.zoo.training.recipes import Adaptation


def test_it_is_sam_with_the_last_epochs_kept() -> None:
    here = ground(recipe=plain(epochs=4))
    way = SAMTail(rho=0.1, last=2)
    assert isinstance(way, Training)
    assert isinstance(way, Adaptation)
    made, base = trained(here, way), trained(here, SAM(rho=0.1))
    assert [s.epoch for s in made.samples] == [3, 4]
    assert way.count() == 2
    assert same(made.samples[1].weights, base.last)
    shorter = trained(replace(here, recipe=plain(epochs=3)), SAM(rho=0.1))
    assert same(made.samples[0].weights, shorter.last)
    assert made.passes == base.passes


def test_with_averaging_it_is_wasam() -> None:
    here = ground(recipe=plain(epochs=4))
    way = SAMTail(rho=0.1, last=3)
    made = build(Chain(first=way, then=(SWA(),)), here)
    samples = [s.weights for s in trained(here, way).samples]
    (averaged,) = made.members
    for name, tensor in averaged.items():
        of_all = torch.stack([s[name] for s in samples]).float().mean(0)
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(tensor, of_all)
    statistics = [name for name in averaged if "running" in name]
    assert any(not torch.allclose(averaged[name], samples[-1][name]) for name in statistics)  # taken anew


def test_samples_are_no_views_of_one_another() -> None:
    made = trained(ground("mlp"), SAMTail(rho=0.1, last=2))
    first, second = (s.weights for s in made.samples)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_training_with_fewer_epochs() -> None:
    with pytest.raises(InputError, match="wasam: averages the last 4 epochs of a training of 3; lower 'last'"):
        SAMTail().recipe(plain(epochs=3))


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError, match=r"wasam: last must be in \[2, 1e\+06\], got 1"):
        SAMTail(last=1)  # of which there is no mean
    with pytest.raises(InputError, match="wasam: rho"):
        SAMTail(rho=-1.0)
