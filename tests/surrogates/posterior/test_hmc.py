"""Hamiltonian Monte Carlo: its integrator, its target, what it refuses, and that it can be interrupted."""

from dataclasses import replace
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.surrogates.conftest import ground
from torch import Tensor, nn

from carom.errors import InputError
from carom.surrogates.builder import Chain, Refinement, build
from carom.surrogates.posterior.hmc import HMC, Point, Potential, leapfrog, split_r_hat, transition
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.training.ground import Built, Ground
from carom.zoo.training.trained import DivergedError

SHORT = HMC(burn_in=8, samples=4, thinning=2, chains=2, leapfrog_steps=8, prior=0.5)


def small(**changes: Any) -> Ground:
    return replace(ground(), architecture=architecture({"name": "mlp", "width": 6, "depth": 1}), **changes)


def same(a: Built, b: Built) -> bool:
    return len(a.members) == len(b.members) and all(
        torch.equal(tensor, two[name])
        for one, two in zip(a.members, b.members, strict=True)
        for name, tensor in one.items()
    )


def gaussian(mean: Tensor, covariance: Tensor) -> Potential:
    precision = torch.linalg.inv(covariance)

    def potential(position: Tensor) -> tuple[float, Tensor]:
        away = position - mean
        return float(away @ precision @ away) / 2, precision @ away

    return potential


def pendulum(position: Tensor) -> tuple[float, Tensor]:
    """No Gaussian, whose error could be small for a reason of its own."""
    return float((1 - position.cos()).sum()), position.sin()


def at(potential: Potential, position: Tensor) -> Point:
    return Point(position, *potential(position))


def test_half_the_step_is_a_quarter_of_the_error() -> None:
    start = at(pendulum, torch.tensor([1.0, -0.5], dtype=torch.float64))
    momentum = torch.tensor([0.7, 1.1], dtype=torch.float64)
    before = start.value + float(momentum.square().sum()) / 2
    errors = []
    for steps in (10, 20, 40, 80):
        there, left = leapfrog(pendulum, start, momentum, step_size=2 / steps, steps=steps)
        errors.append(abs(there.value + float(left.square().sum()) / 2 - before))
    ratios = [a / b for a, b in pairwise(errors)]
    assert ratios == pytest.approx([4, 4, 4], rel=0.1)


def test_it_runs_backwards() -> None:
    start = at(pendulum, torch.tensor([1.0, -0.5], dtype=torch.float64))
    momentum = torch.tensor([0.7, 1.1], dtype=torch.float64)
    there, left = leapfrog(pendulum, start, momentum, step_size=0.3, steps=9)
    back, again = leapfrog(pendulum, there, -left, step_size=0.3, steps=9)
    torch.testing.assert_close(back.position, start.position)
    torch.testing.assert_close(again, -momentum)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_samples_a_correlated_gaussian(seed: int) -> None:
    """With steps so large that a good part is turned down: without that the covariance would be wrong."""
    mean = torch.tensor([1.0, -2.0], dtype=torch.float64)
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    potential = gaussian(mean, covariance)
    generator = torch.Generator().manual_seed(seed)
    point, kept, accepted = at(potential, mean + 3), [], 0
    for i in range(6000):
        move = transition(potential, point, step_size=0.5, steps=3, generator=generator)
        point = move.point
        accepted += move.accepted
        if i >= 100:
            kept.append(point.position)
    assert 0.5 < accepted / 6000 < 0.95
    found = torch.stack(kept)
    # correlated draws: a fifth of them count
    error = 5 * (covariance.diagonal() / (len(found) / 5)).sqrt()
    assert bool(((found.mean(0) - mean).abs() < error).all())
    torch.testing.assert_close(torch.cov(found.T), covariance, atol=0.08, rtol=0.1)


def test_what_is_turned_down_stays() -> None:
    potential = gaussian(torch.zeros(2).double(), torch.eye(2).double())
    start = at(potential, torch.ones(2, dtype=torch.float64))
    move = transition(potential, start, step_size=1e3, steps=5, generator=torch.Generator().manual_seed(0))
    assert not move.accepted
    assert move.point is start
    broken = transition(
        lambda p: (float("nan"), p), start, step_size=0.1, steps=1, generator=torch.Generator().manual_seed(0)
    )
    assert (broken.accepted, broken.probability) == (False, 0.0)


def test_r_hat_by_hand() -> None:
    rng = np.random.default_rng(0)
    chains = rng.normal(size=(3, 20))
    halves = chains.reshape(3, 2, 10).reshape(6, 10)
    within, between = halves.var(1, ddof=1).mean(), 10 * halves.mean(1).var(ddof=1)
    assert split_r_hat(torch.from_numpy(chains)) == pytest.approx(sqrt((0.9 * within + between / 10) / within))
    assert split_r_hat(torch.from_numpy(rng.normal(size=(4, 4000)))) == pytest.approx(1.0, abs=0.01)
    assert split_r_hat(torch.from_numpy(chains + 3 * np.arange(3)[:, None])) > 2
    drifting = torch.linspace(0, 10, 100)[None]  # one chain that goes on and on: its halves disagree
    assert split_r_hat(drifting) > 1.5
    assert split_r_hat(torch.ones(2, 8)) == 1.0
    with pytest.raises(InputError, match="expected at least 4"):
        split_r_hat(torch.ones(2, 3))


def test_the_potential_is_the_summed_loss_and_the_prior() -> None:
    here = small()
    classifier = create(here.architecture, shape=(1, 8, 8), classes=3, seed=3)
    position = torch.cat([p.detach().flatten() for p in classifier.parameters()])
    value, gradient = HMC(prior=0.4).potential(here, classifier)(position)
    loss = nn.functional.cross_entropy(classifier(here.train.pixels), here.train.labels, reduction="sum")
    loss = loss + sum(p.square().sum() for p in classifier.parameters()) / (2 * 0.4**2)
    assert value == pytest.approx(float(loss.detach()), rel=1e-5)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(classifier.parameters()))])
    torch.testing.assert_close(gradient, expected, atol=1e-3, rtol=1e-4)


def test_members_come_from_all_chains() -> None:
    assert isinstance(SHORT, Refinement)
    chain = Chain(first=None, then=(replace(SHORT, burn_in=25),))
    assert chain.count == 8
    told: list[int] = []
    made = build(chain, small(progress=lambda done, all_, numbers: told.append(done)))
    assert told == list(range(1, 2 * 33 + 1))
    assert len(made.members) + len(made.record["diverged"]) == 8  # type: ignore[arg-type]
    assert made.passes.forward == made.passes.backward == 96 * 2 * (1 + 33 * 8)
    acceptance = made.record["acceptance"]
    assert isinstance(acceptance, list)
    assert all(0.2 < rate <= 1 for rate in acceptance)
    steps = made.record["step_size"]
    assert isinstance(steps, list)
    assert all(step != 0.01 for step in steps)  # fitted in the burn-in
    for name in ("r_hat_log_posterior", "r_hat_logits", "r_hat_logits_worst"):
        assert made.record[name] > 0.5  # type: ignore[operator]
    first = made.members[0]
    assert all(not torch.equal(first["1.weight"], other["1.weight"]) for other in made.members[1:])


def test_what_is_interrupted_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carom.surrogates.posterior.hmc._SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = SHORT.build(small(), [])
    path = tmp_path / "hmc.pt"
    for when in (5, 14, 25):  # in the first burn-in, among the first samples, in the second chain

        def stop(done: int, total: int, numbers: dict[str, float], when: int = when) -> None:
            if done == when:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            SHORT.build(small(checkpoint=path, progress=stop), [])
        assert path.exists()
    told: list[int] = []
    again = SHORT.build(small(checkpoint=path, progress=lambda done, all_, numbers: told.append(done)), [])
    assert told[0] == 26
    assert same(whole, again)
    assert again.passes == whole.passes
    assert again.record == whole.record
    assert not path.exists()


def test_a_checkpoint_of_other_chains_is_not_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "hmc.pt"
    path.write_bytes(b"no checkpoint")
    made = SHORT.build(small(checkpoint=path), [])
    assert same(made, SHORT.build(small(), []))


def test_what_has_no_posterior_or_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match="hmc: the network has batch norm"):
        HMC().build(ground("resnet-small"), [])
    large = replace(small(), architecture=architecture({"name": "mlp", "width": 2000}))
    with pytest.raises(InputError, match=r"hmc: the network has [\d,]+ parameters; expected at most 100,000"):
        HMC().build(large, [])


def test_steps_far_too_long_are_told() -> None:
    with pytest.raises(DivergedError, match="chain 1 accepts no proposal after the burn-in; lower the step size"):
        replace(SHORT, step_size=50.0, acceptance=0.0).build(small(), [])


@pytest.mark.parametrize("change", [{"step_size": 0.0}, {"samples": 0}, {"acceptance": 0.01}, {"prior": 0.0}], ids=str)
def test_settings_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"hmc: {next(iter(change))} must be in"):
        replace(SHORT, **change)
