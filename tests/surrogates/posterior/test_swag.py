"""SWAG: its moments are those of the weights that it saw, and its draws have them."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.surrogates.conftest import ground
from torch import Tensor

from carom.errors import InputError
from carom.registry import build as configured
from carom.surrogates.builder import Refinement
from carom.surrogates.posterior.swag import PRESETS, SWAG
from carom.surrogates.stack import parameter_names, reestimated, vector, with_vector
from carom.zoo.training.ground import Built, Ground
from carom.zoo.training.recipes import Adaptation, Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State
from carom.zoo.training.trained import DivergedError

SHORT = SWAG(epochs=3, collect_per_epoch=2, rank=4, draws=3)
RECIPE: dict[str, Any] = {"epochs": 3, "optimizer": "sgd", "learning_rate": 0.02, "momentum": 0.9}


def start(here: Ground) -> dict[str, Tensor]:
    return here.trained(here.recipe).last


def same(a: Built, b: Built) -> bool:
    return len(a.members) == len(b.members) and all(
        torch.equal(tensor, two[name])
        for one, two in zip(a.members, b.members, strict=True)
        for name, tensor in one.items()
    )


@dataclass(frozen=True, kw_only=True)
class Watched:
    """SWAG, and the weights after each step."""

    by: SWAG
    seen: list[Tensor] = field(default_factory=list)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        inner = self.by.slots(slots, recipe)

        def watch(state: State) -> None:
            self.seen.append(torch.cat([p.detach().flatten().clone() for p in state.classifier.parameters()]))

        return replace(inner, after_step=(*inner.after_step, watch))


def test_it_is_a_refinement_that_adapts_a_recipe() -> None:
    assert isinstance(SWAG(), Refinement)
    assert isinstance(SWAG(), Adaptation)
    assert SWAG(draws=7).count(1) == 7
    configured(SWAG, dict(PRESETS["cifar10"]), where="preset")


@pytest.mark.parametrize(("per_epoch", "steps"), [(1, [5, 11, 17]), (2, [2, 5, 8, 11, 14, 17]), (1000, range(18))])
def test_moments_are_those_of_the_weights_that_entered(per_epoch: int, steps: list[int]) -> None:
    """Of 6 steps an epoch, those at the ends of equal parts."""
    here = ground("mlp")
    way = Watched(by=replace(SHORT, collect_per_epoch=per_epoch, rank=2))
    made = here.trained(adapted(here.recipe, way, **{k: v for k, v in RECIPE.items() if k != "optimizer"}))
    iterates = np.stack([way.seen[step].double().numpy() for step in steps])
    assert int(made.memory["swag count"]) == len(iterates)
    np.testing.assert_allclose(made.memory["swag mean"].numpy(), iterates.mean(0), atol=1e-12)
    np.testing.assert_allclose(made.memory["swag squares"].numpy(), (iterates**2).mean(0), atol=1e-12)
    deviations = np.stack([iterates[i] - iterates[: i + 1].mean(0) for i in range(len(iterates))])[-2:]
    np.testing.assert_allclose(made.memory["swag deviations"].numpy(), deviations, atol=1e-7)


@pytest.mark.parametrize("rank", [0, 3])
def test_draws_have_the_moments_of_the_formula(rank: int) -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    variance = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)
    deviations = torch.randn(rank, 4, generator=generator)
    if rank:
        deviations[:, 3] = 0
    memory = {"swag mean": mean, "swag squares": variance + mean.square(), "swag deviations": deviations}
    way = replace(SHORT, rank=rank, scale=0.3)
    found = torch.stack([way._draw(memory, generator) for _ in range(20_000)]).double()
    low = deviations.T.double() @ deviations.double() / (rank - 1) if rank else torch.zeros(4, 4).double()
    covariance = 0.3 * (torch.diag(variance) + low)
    error = 5 * (covariance.diagonal() / 20_000).sqrt()
    assert bool(((found.mean(0) - mean).abs() <= error + 1e-9).all())
    torch.testing.assert_close(torch.cov(found.T), covariance, atol=0.12, rtol=0.05)
    assert bool((found[:, 3].abs() < 1e-12).all())


@pytest.mark.parametrize("name", ["mlp", "resnet-small"])
def test_members_are_draws_with_batch_norm_of_their_own(name: str) -> None:
    here = ground(name)
    given = start(here)
    made = SHORT.build(here, [given])
    assert len(made.members) == 3
    assert made.record["collected"] == 6
    assert made.record["diverged"] == []
    again = SHORT.build(here, [given])
    assert same(made, again)
    other = SHORT.build(replace(here, seed=2), [given])
    assert not same(made, other)
    norms = 32 * 3 if name == "resnet-small" else 0
    assert (made.passes.forward, made.passes.backward) == (3 * 96 + norms, 3 * 96)
    for member in made.members:
        fitted, _ = reestimated(here, member)
        assert all(torch.equal(fitted[n], member[n]) for n in member)


def test_scale_zero_is_the_mean() -> None:
    here = ground("mlp")
    given = start(here)
    made = replace(SHORT, scale=0.0, draws=2).build(here, [given])
    trained = here.trained(adapted(here.recipe, SHORT, **RECIPE, weight_decay=0.0005, schedule="constant"), given)
    names = parameter_names(here, given)
    mean = with_vector(given, names, trained.memory["swag mean"].float())
    for member in made.members:
        assert torch.equal(vector(member, names), vector(mean, names))


def test_what_is_interrupted_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carom.zoo.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    given = start(ground("mlp"))
    here = ground("mlp", checkpoint=tmp_path / "swag.pt")
    with pytest.raises(KeyboardInterrupt):
        SHORT.build(replace(here, progress=stop), [given])
    assert same(SHORT.build(here, [given]), SHORT.build(ground("mlp"), [given]))


def test_draws_far_away_are_told() -> None:
    here = ground("mlp")
    with pytest.raises(DivergedError, match="lower the learning rate"):
        replace(SHORT, learning_rate=500.0).build(here, [start(here)])


@pytest.mark.parametrize("change", [{"rank": 1}, {"rank": -1}, {"draws": 0}, {"scale": -1.0}], ids=str)
def test_settings_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"swag: {next(iter(change))} must be in"):
        replace(SHORT, **change)
