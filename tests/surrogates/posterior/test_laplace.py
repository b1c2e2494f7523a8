"""Laplace: the Hessian by hand, draws that are whole networks, and what cannot be."""

import sys
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import pytest
import torch
from tests.surrogates.conftest import ground, plain
from torch import Tensor, nn

from carom.errors import InputError
from carom.registry import build
from carom.surrogates.builder import Refinement
from carom.surrogates.posterior.laplace import Laplace, _features, _library
from carom.zoo.architectures import architecture
from carom.zoo.preprocessing import Shape
from carom.zoo.training.ground import Ground

pytest.importorskip("curvlinops")


def start(here: Ground) -> dict[str, Tensor]:
    return here.trained(here.recipe).last


def small() -> Ground:
    return replace(ground(recipe=plain(epochs=2)), architecture=architecture({"name": "mlp", "width": 4, "depth": 1}))


def by_hand(features: Tensor, weight: Tensor, bias: Tensor, hessian: str) -> Tensor:
    """The summed Gauss-Newton Hessian of the cross-entropy in the weight, row by row, and the bias."""
    n, d = features.shape
    k = len(bias)
    p = torch.softmax(features @ weight.T + bias, 1)
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    if hessian == "kron":
        blocks = torch.kron(curvature.sum(0), features.T @ features / n)
        whole = torch.zeros(k * d + k, k * d + k, dtype=torch.float64)
        whole[: k * d, : k * d], whole[k * d :, k * d :] = blocks, curvature.sum(0)
        return whole
    total = torch.zeros(k * d + k, k * d + k, dtype=torch.float64)
    for f, c in zip(features, curvature, strict=True):
        jacobian = torch.cat([torch.kron(torch.eye(k).double(), f[None]), torch.eye(k).double()], 1)
        total += jacobian.T @ c @ jacobian
    return torch.diag(total.diagonal()) if hessian == "diag" else total


@pytest.mark.parametrize("hessian", ["full", "kron", "diag"])
@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_draws_have_the_covariance_by_hand(hessian: Literal["full", "kron", "diag"], temperature: float) -> None:
    here = small()
    given = start(here)
    many = 10_000
    way = Laplace(hessian=hessian, prior_precision=2.0, temperature=temperature, draws=many)
    name, features, labels = _features(here, given)
    places = [f"{name}.weight", f"{name}.bias"]
    samples, precision = way._samples(_library(), given, places, features, labels, 0)
    assert precision == 2.0
    weight, bias = (given[place].double() for place in places)
    of = by_hand(features, weight, bias, hessian) / temperature + 2 * torch.eye(weight.numel() + 3)
    mean = torch.cat([weight.flatten(), bias])
    # whitened by the expected precision, what is found must be close to the identity
    root = torch.linalg.cholesky(of)
    white = (samples - mean) @ root
    assert bool((white.mean(0).abs() < 5 / many**0.5).all())
    torch.testing.assert_close(torch.cov(white.T), torch.eye(len(mean)).double(), atol=0.07, rtol=0)


@pytest.mark.parametrize("name", ["mlp", "resnet-small", "vit-small"])
def test_members_are_whole_networks_with_another_last_layer(name: str) -> None:
    assert isinstance(Laplace(), Refinement)
    here = ground(name, recipe=plain(epochs=4))
    given = start(here)
    state = torch.get_rng_state()
    made = Laplace(draws=4).build(here, [given])
    assert torch.equal(torch.get_rng_state(), state)
    assert Laplace(draws=4).count(1) == 4
    assert len(made.members) + len(made.record["diverged"]) == 4  # type: ignore[arg-type]
    assert (made.passes.forward, made.passes.backward) == (96, 0)
    layer = made.record["layer"]
    assert isinstance(layer, str)
    precision = made.record["prior_precision"]
    assert isinstance(precision, float)
    assert precision > 0
    assert precision != 1.0  # it was fitted
    changed = {f"{layer}.weight", f"{layer}.bias"}
    for member in made.members:
        assert list(member) == list(given)
        assert {n for n in given if not torch.equal(given[n], member[n])} == changed
    again = Laplace(draws=4).build(here, [given])
    assert all(torch.equal(a[n], b[n]) for a, b in zip(made.members, again.members, strict=True) for n in a)
    other = Laplace(draws=4).build(replace(here, seed=2), [given])
    assert not torch.equal(other.members[0][f"{layer}.weight"], made.members[0][f"{layer}.weight"])


def test_features_and_last_layer_are_the_network() -> None:
    here = ground("lenet")
    given = start(here)
    name, features, _ = _features(here, given)
    with torch.no_grad():
        logits = here.classifier(given)(here.train.pixels)
    expected = nn.functional.linear(features, given[f"{name}.weight"].double(), given[f"{name}.bias"].double())
    torch.testing.assert_close(logits.double(), expected, atol=1e-5, rtol=1e-5)


@dataclass(frozen=True, kw_only=True)
class Convolved:
    """Ends in a mean over positions."""

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "none"
    family: ClassVar[str] = "test"

    def network(self, shape: Shape, classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(shape[0], classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_network_that_does_not_end_in_a_linear_layer() -> None:
    here = replace(ground(), architecture=Convolved())
    with pytest.raises(InputError, match="laplace: the network does not end in a linear layer of its own"):
        Laplace().build(here, [start(here)])


def test_what_the_library_cannot_fit_is_one_line() -> None:
    here = small()
    given = {name: tensor * float("nan") for name, tensor in start(here).items()}
    with pytest.raises(InputError, match="laplace: the library cannot fit the last layer, 3 ") as caught:
        Laplace(prior_precision=1.0).build(here, [given])
    assert "\n" not in str(caught.value)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "laplace", None)
    here = small()
    with pytest.raises(InputError, match=r"laplace-torch is not installed; install it with: pip install"):
        Laplace().build(here, [start(here)])


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError, match="laplace: draws must be in"):
        Laplace(draws=0)
    with pytest.raises(InputError, match="laplace: prior_precision must be in"):
        Laplace(prior_precision=-1.0)
    with pytest.raises(InputError, match=r"laplace.hessian.*krom"):
        build(Laplace, {"hessian": "krom"}, where="laplace")
