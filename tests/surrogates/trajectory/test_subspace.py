"""Draws, projections and shifts in the subspace of collected weights."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA as Reference
from tests.surrogates.conftest import ground
from torch import Tensor

from carom.errors import InputError
from carom.registry import build as built_from
from carom.surrogates.builder import SEED_STRIDE, Chain, Refinement, build
from carom.surrogates.networks.single import Single
from carom.surrogates.stack import mean, parameter_names, vector
from carom.surrogates.trajectory.lgv import LGV
from carom.surrogates.trajectory.subspace import PCA, PRESETS, PRESETS_SHIFT, Shift, Subspace, principal
from carom.surrogates.trajectory.swa import SWA
from carom.zoo.training.ground import Weights

from .test_lgv import given, same

K = 6


@cache
def collected(name: str = "mlp") -> tuple[Weights, ...]:
    return LGV(epochs=2, models_per_epoch=3, learning_rate=0.02).build(ground(name), [given(name)]).members


def vectors(members: tuple[Weights, ...]) -> Tensor:
    names = parameter_names(ground("mlp"), members[0])
    return torch.stack([vector(member, names) for member in members])


def test_principal_directions_are_those_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(5, 40, generator=generator) * torch.linspace(3, 0.1, 40)
    variances, directions = principal(data - data.mean(0))
    reference = Reference().fit(data.numpy())  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(variances[:4], reference.explained_variance_[:4], rtol=1e-4)
    assert float(variances[4]) < 1e-6
    torch.testing.assert_close(directions.T @ directions, torch.eye(5, dtype=torch.float64))


def test_rank_zero_is_the_average() -> None:
    made = PCA(rank=0).build(ground(), collected("resnet-small"))
    averaged = SWA().build(ground(), collected("resnet-small"))
    assert len(made.members) == PCA(rank=0).count(K) == 1
    assert same(made.members[0], averaged.members[0])


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_projections_are_those_of_scikit_learn(rank: int) -> None:
    data = vectors(collected())
    made = PCA(rank=rank).build(ground("mlp"), collected())
    reference = Reference(n_components=rank).fit(data.double().numpy())  # type: ignore[no-untyped-call]
    expected = reference.inverse_transform(reference.transform(data.double().numpy()))
    np.testing.assert_allclose(vectors(made.members), expected, atol=1e-6)
    explained = made.record["explained_variance"]
    assert isinstance(explained, list)
    assert len(explained) == K - 1
    assert sum(explained) == pytest.approx(1)
    np.testing.assert_allclose(explained[:rank], reference.explained_variance_ratio_, rtol=1e-4)


def test_full_rank_gives_the_weights_back() -> None:
    made = PCA(rank=K - 1).build(ground("mlp"), collected())
    torch.testing.assert_close(vectors(made.members), vectors(collected()), atol=1e-6, rtol=0)


def test_draws_have_the_covariance_of_the_collected_weights() -> None:
    data = vectors(collected())
    deviations = data - data.mean(0)
    made = Subspace(draws=60).build(ground("mlp"), collected())
    away = vectors(made.members) - data.mean(0)
    # inside the subspace ...
    solution = torch.linalg.lstsq(deviations[:-1].T, away.T).solution
    torch.testing.assert_close(deviations[:-1].T @ solution, away.T, atol=1e-4, rtol=0)
    # ... and as far from the mean as the collected weights are: E |D z|^2 / (K - 1) = trace
    trace = float(deviations.square().sum()) / (K - 1)
    assert float(away.square().sum(1).mean()) == pytest.approx(trace, rel=0.3)


def test_a_shift_puts_the_deviations_onto_the_other_network() -> None:
    here = ground("mlp", seed=2)
    other = here.trained(here.recipe).last
    names = parameter_names(here, other)
    made = Shift(gamma=0.5).build(here, [*collected(), other])
    data = vectors(collected())
    expected = vector(other, names) + 0.5 * (data - data.mean(0))
    torch.testing.assert_close(vectors(made.members), expected, atol=1e-6, rtol=0)
    assert all(same(member, other) for member in Shift(gamma=0.0).build(here, [*collected(), other]).members)


def test_a_shift_trains_the_other_network_with_a_seed_of_its_own() -> None:
    chain = Chain(first=Single(), then=(LGV(epochs=1, models_per_epoch=3), Shift(gamma=0.0)))
    assert [member.seed for member in chain.members(1)] == [1, 1 + SEED_STRIDE]
    here = ground("mlp")
    made = build(chain, here)
    other = ground("mlp", seed=1 + SEED_STRIDE)
    assert len(made.members) == chain.count == 3
    assert all(same(member, other.trained(other.recipe).last) for member in made.members)
    assert made.passes.backward == 2 * 3 * 96 + 3 * 32


@pytest.mark.parametrize("way", [PCA(rank=2), Subspace(draws=6), Shift(gamma=0.3)])
def test_batch_norm_fits_each(way: Refinement) -> None:
    members = collected("resnet-small")
    extra = [given("resnet-small")] if isinstance(way, Shift) else []
    made = way.build(ground(), [*members, *extra])
    variance = next(name for name in members[0] if name.endswith("running_var"))
    assert made.passes.forward == K * 32
    assert made.passes.backward == 0
    for member in made.members:
        assert not any(torch.equal(member[variance], one[variance]) for one in (*members, given("resnet-small")))


def test_settings() -> None:
    for way in (PCA(), Subspace(), Shift()):
        assert isinstance(way, Refinement)
        with pytest.raises(InputError, match="1 weight set spans no subspace"):
            way.count(1)
    assert built_from(Shift, {"gamma": 1}, where="shift") == Shift(gamma=1.0)
    assert built_from(Subspace, dict(PRESETS["paper-imagenet"]), where="lgv-subspace").count(40) == 50
    assert built_from(Shift, dict(PRESETS_SHIFT["paper-imagenet"]), where="shift").gamma == 0.5
    with pytest.raises(InputError, match="pca: rank=4 of 4 weight sets; expected 0 to 3"):
        Chain(first=Single(), then=(LGV(epochs=1), PCA(rank=4)))


def test_a_rank_beyond_what_diverged_left_is_cut() -> None:
    made = PCA(rank=5).build(ground("mlp"), collected()[:4])
    assert made.record["rank"] == 3
    names = parameter_names(ground("mlp"), collected()[0])
    torch.testing.assert_close(
        vector(mean(made.members, names), names), vector(mean(collected()[:4], names), names), atol=1e-6, rtol=0
    )
