"""Mean-field variational inference: its divergence, its gradients, a posterior that it must find, and its draws."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.surrogates.conftest import ground, images, plain
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from carom.draws import stream
from carom.errors import InputError
from carom.registry import build as configured
from carom.surrogates.builder import Refinement
from carom.surrogates.posterior.variational import PRESETS, Variational, divergence
from carom.surrogates.stack import reestimated
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.training.ground import Built, Ground
from carom.zoo.training.recipes import Adaptation, adapted
from carom.zoo.training.state import State
from carom.zoo.training.trained import DivergedError

SHORT = Variational(epochs=3, draws=3)


def start(here: Ground) -> dict[str, Tensor]:
    return here.trained(here.recipe).last


def same(a: Built, b: Built) -> bool:
    return len(a.members) == len(b.members) and all(
        torch.equal(tensor, two[name])
        for one, two in zip(a.members, b.members, strict=True)
        for name, tensor in one.items()
    )


def test_it_is_a_refinement_that_adapts_a_recipe() -> None:
    assert isinstance(Variational(), Refinement)
    assert isinstance(Variational(), Adaptation)
    assert Variational(draws=7).count(1) == 7
    for preset in PRESETS.values():
        configured(Variational, dict(preset), where="preset")


@pytest.mark.parametrize("prior", [0.3, 1.0, 2.5])
def test_the_divergence_is_that_of_torch(prior: float) -> None:
    generator = torch.Generator().manual_seed(0)
    mean, logs = torch.randn(50, generator=generator), torch.randn(50, generator=generator) - 2
    expected = kl_divergence(Normal(mean, logs.exp()), Normal(torch.zeros(50), prior)).sum()
    torch.testing.assert_close(divergence(mean, logs, prior), expected)
    at_prior = divergence(torch.zeros(50), torch.full((50,), prior).log(), prior)
    assert float(at_prior) == pytest.approx(0.0, abs=1e-4)


def stepped(way: Variational, rate: float) -> tuple[State, Callable[[], None], Callable[[], None]]:
    """A training before its first step: with the loop's gradient, and one step of the way."""
    data = images(24)
    classifier = create(architecture({"name": "mlp", "width": 5, "depth": 1}), shape=(1, 8, 8), classes=3)
    recipe = adapted(plain(), way, learning_rate=rate, momentum=0.0, weight_decay=0.0, schedule="constant")
    slots = recipe.slots()
    optimizer = slots.optimizer(classifier)
    state = State(classifier, optimizer, data, data, 9, 1, 10, torch.Generator())

    def gradient() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(slots.loss(state, data.pixels, data.labels)[0])

    return state, gradient, lambda: slots.update(state, gradient)


def test_a_step_goes_down_the_bound() -> None:
    """Against autograd through the draw and torch's divergence, and torch's own Adam."""
    way = Variational(log_deviation=-2.0, kl_weight=0.7, prior=0.5, deviation_learning_rate=0.01)
    state, _, step = stepped(way, rate=0.1)
    data = state.images
    network = state.classifier.network
    parameters = dict(network.named_parameters())
    means = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}
    logs = {name: torch.full_like(p, -2.0).requires_grad_() for name, p in parameters.items()}
    adam = torch.optim.Adam(logs.values(), lr=0.01)
    for number in range(3):
        state.step = number
        generator = torch.Generator().manual_seed(stream(9, "variational", number))
        noise = torch.randn(sum(p.numel() for p in parameters.values()), generator=generator)
        parts = zip(means, torch.split(noise, [m.numel() for m in means.values()]), strict=True)
        drawn = {name: means[name] + logs[name].exp() * part.view_as(means[name]) for name, part in parts}
        logits = torch.func.functional_call(network, drawn, (state.classifier.preprocess(data.pixels),))
        kl = sum(kl_divergence(Normal(means[n], logs[n].exp()), Normal(0.0, 0.5)).sum() for n in means)
        bound = nn.functional.cross_entropy(logits, data.labels) + 0.7 * kl / len(data)
        adam.zero_grad()
        gradients = torch.autograd.grad(bound, [*means.values(), *logs.values()])
        step()
        with torch.no_grad():
            for mean, gradient in zip(means.values(), gradients, strict=False):
                mean -= 0.1 * gradient
        for log, gradient in zip(logs.values(), gradients[len(means) :], strict=True):
            log.grad = gradient
        adam.step()
        for name, parameter in parameters.items():
            torch.testing.assert_close(parameter.detach(), means[name].detach(), atol=1e-5, rtol=1e-4)
        flat = torch.cat([log.detach().flatten() for log in logs.values()])
        torch.testing.assert_close(state.memory["log deviation"], flat, atol=1e-5, rtol=1e-4)


def test_without_a_likelihood_it_finds_the_prior() -> None:
    """Where the images say nothing, each weight's Gaussian goes to the prior's."""
    way = Variational(log_deviation=-3.0, kl_weight=24.0, prior=0.5, deviation_learning_rate=0.02)
    state, _, _ = stepped(way, rate=0.02)
    update = adapted(plain(), way, schedule="constant").slots().update

    def nothing() -> None:
        for parameter in state.classifier.parameters():
            parameter.grad = torch.zeros_like(parameter)

    for number in range(400):
        state.step = number
        update(state, nothing)
    mean = torch.cat([p.detach().flatten() for p in state.classifier.parameters()])
    assert float(mean.abs().max()) < 1e-3
    torch.testing.assert_close(state.memory["log deviation"].exp(), torch.full_like(mean, 0.5), atol=0.02, rtol=0)


@pytest.mark.parametrize("name", ["mlp", "resnet-small"])
def test_members_are_draws_with_batch_norm_of_their_own(name: str) -> None:
    here = ground(name)
    given = start(here)
    made = SHORT.build(here, [given])
    assert len(made.members) == 3
    assert same(made, SHORT.build(here, [given]))
    assert not same(made, SHORT.build(replace(here, seed=2), [given]))
    norms = 32 * 3 if name == "resnet-small" else 0
    assert (made.passes.forward, made.passes.backward) == (3 * 96 + norms, 3 * 96)
    assert made.record["kl"] > 0  # type: ignore[operator]
    weight = next(n for n in given if n.endswith("weight"))
    assert not torch.equal(made.members[0][weight], made.members[1][weight])
    for member in made.members:
        fitted, _ = reestimated(here, member)
        assert all(torch.equal(fitted[n], member[n]) for n in member)


def test_deviations_near_zero_are_the_plain_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn away and the divergence has no weight: SGD from the given network, in float32's bits."""
    # ways of going on draw orders of their own; here both see the images in one
    monkeypatch.setattr("carom.zoo.training.ground.stream", lambda seed, purpose: seed)
    here = ground("mlp")
    given = start(here)
    way = replace(SHORT, log_deviation=-20.0, kl_weight=0.0, deviation_learning_rate=0.0)
    settings: dict[str, Any] = {"epochs": 3, "learning_rate": 0.005, "momentum": 0.9, "weight_decay": 0.0}
    reference = here.trained(plain(**settings, schedule="cosine"), given).last
    for member in way.build(here, [given]).members:
        for name, tensor in member.items():
            torch.testing.assert_close(tensor, reference[name], atol=1e-5, rtol=1e-4)


def test_what_is_interrupted_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deviations and Adam's moments are in the checkpoint."""
    monkeypatch.setattr("carom.zoo.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    given = start(ground("mlp"))
    here = ground("mlp", checkpoint=tmp_path / "variational.pt")
    with pytest.raises(KeyboardInterrupt):
        SHORT.build(replace(here, progress=stop), [given])
    assert same(SHORT.build(here, [given]), SHORT.build(ground("mlp"), [given]))


def test_a_rate_far_too_high_is_told() -> None:
    here = ground("mlp")
    with pytest.raises(DivergedError, match="lower the learning rate"):
        replace(SHORT, learning_rate=900.0).build(here, [start(here)])


@pytest.mark.parametrize("change", [{"prior": 0.0}, {"log_deviation": 1.0}, {"draws": 0}, {"kl_weight": -1.0}], ids=str)
def test_settings_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"variational: {next(iter(change))} must be in"):
        replace(SHORT, **change)
