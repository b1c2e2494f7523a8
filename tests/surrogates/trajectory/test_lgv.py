"""LGV: which weights it collects, at what cost, and how the steps between them are."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from tests.surrogates.conftest import ground
from torch import Tensor, nn

from carom.errors import InputError
from carom.registry import build as built_from
from carom.surrogates.builder import Chain, Refinement, build
from carom.surrogates.networks.single import Single
from carom.surrogates.stack import parameter_names, vector
from carom.surrogates.trajectory.lgv import LGV, PRESETS
from carom.zoo.training.ground import Ground, Weights
from carom.zoo.training.state import Passes
from carom.zoo.training.trained import DivergedError


@cache
def given(name: str = "mlp") -> Weights:
    here = ground(name)
    return here.trained(here.recipe).last


def same(a: Weights, b: Weights) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def full_batch_steps(here: Ground, start: Weights, rates: list[float], momentum: float, decay: float) -> list[Tensor]:
    """Gradient descent with momentum, written out, on all images at once."""
    names = parameter_names(here, start)
    classifier = here.classifier(start).train()
    images, labels = here.train.pixels, here.train.labels
    velocity = torch.zeros(len(vector(start, names)))
    points = []
    for rate in rates:
        loss = nn.functional.cross_entropy(classifier(images), labels)
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(classifier.parameters()))])
        with torch.no_grad():
            weights = torch.cat([p.flatten() for p in classifier.parameters()])
            velocity = momentum * velocity + gradient + decay * weights
            weights = weights - rate * velocity
            parts = torch.split(weights, [p.numel() for p in classifier.parameters()])
            for parameter, part in zip(classifier.parameters(), parts, strict=True):
                parameter.copy_(part.reshape(parameter.shape))
        points.append(weights)
    return points


def test_each_snapshot_is_a_plain_momentum_step_with_decay_on_all_parameters() -> None:
    here = ground("mlp")
    way = LGV(epochs=3, models_per_epoch=1, learning_rate=0.1, momentum=0.5, weight_decay=0.3, batch_size=96)
    made = way.build(here, [given()])
    names = parameter_names(here, given())
    by_hand = full_batch_steps(here, given(), [0.1] * 3, 0.5, 0.3)
    for member, expected in zip(made.members, by_hand, strict=True):
        torch.testing.assert_close(vector(member, names), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("n", "batch_size", "models", "steps"), [(96, 16, 4, 1), (96, 8, 4, 3), (90, 16, 2, 3)])
def test_a_part_of_an_epoch_has_whole_batches_and_drops_the_rest(
    n: int, batch_size: int, models: int, steps: int
) -> None:
    here = ground("mlp", n=n)
    made = LGV(epochs=2, models_per_epoch=models, batch_size=batch_size, learning_rate=0.01).build(here, [given()])
    batches = -(-n // batch_size)
    images = round(steps / batches * n) * 2 * models
    assert made.passes == Passes(images, images)
    assert len(made.members) == 2 * models


def test_the_network_it_began_with_is_no_member_and_snapshots_keep_their_own_batch_norm() -> None:
    start = given("resnet-small")
    made = LGV(epochs=1, models_per_epoch=3, learning_rate=1e-12).build(ground(), [start])
    names = parameter_names(ground(), start)
    means = [name for name in start if name.endswith("running_mean")]
    assert means
    before = start
    for member in made.members:  # weights barely moved, and statistics went on from those before
        torch.testing.assert_close(vector(member, names), vector(start, names), atol=1e-8, rtol=0)
        assert int(member[means[0].replace("running_mean", "num_batches_tracked")]) > int(
            before[means[0].replace("running_mean", "num_batches_tracked")]
        )
        assert not same(member, before)
        before = member


def test_a_small_rate_stays_and_a_large_one_leaves() -> None:
    here, names = ground("mlp"), parameter_names(ground("mlp"), given())
    far = []
    for rate in (0.001, 0.05):
        made = LGV(epochs=2, learning_rate=rate).build(here, [given()])
        far.append(float((vector(made.members[-1], names) - vector(given(), names)).norm()))
    assert far[1] > 5 * far[0]


def test_what_diverged_is_named_and_left_out() -> None:
    with pytest.raises(DivergedError):
        LGV(epochs=1, learning_rate=500.0).build(ground("mlp"), [given()])
    made = LGV(epochs=2, learning_rate=0.05).build(ground("mlp"), [given()])
    assert made.record["diverged"] == []
    assert len(made.record["validation_accuracy"]) == len(made.members) == 8  # type: ignore[arg-type]


def test_in_a_chain_it_is_read_in_turn() -> None:
    chain = Chain(first=Single(), then=(LGV(epochs=1, models_per_epoch=3),), schedule=LGV.schedule)
    assert (chain.count, chain.active) == (3, 1)
    made = build(chain, ground("mlp"))
    assert same(made.members[0], LGV(epochs=1, models_per_epoch=3).build(ground("mlp"), [given()]).members[0])
    assert made.passes.forward == 3 * 96 + 3 * 32


def test_what_is_interrupted_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carom.zoo.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 5:
            raise KeyboardInterrupt

    way = LGV(epochs=2)
    whole = way.build(ground("mlp"), [given()])
    here = ground("mlp", checkpoint=tmp_path / "lgv.pt")
    with pytest.raises(KeyboardInterrupt):
        way.build(replace(here, progress=stop), [given()])
    again = way.build(here, [given()])
    assert all(same(a, b) for a, b in zip(whole.members, again.members, strict=True))
    assert again.passes == whole.passes


def test_settings() -> None:
    assert isinstance(LGV(), Refinement)
    assert built_from(LGV, {"learning_rate": 1}, where="lgv") == LGV(learning_rate=1.0)
    assert built_from(LGV, dict(PRESETS["paper-imagenet"]), where="lgv").count(1) == 40
    with pytest.raises(InputError, match=r"lgv: an epoch has 2 batches of 48 images, fewer than models_per_epoch=4"):
        LGV(batch_size=48).build(ground("mlp"), [given()])
    for wrong in ({"epochs": 0}, {"learning_rate": float("nan")}, {"batch_size": 1}, {"momentum": 1.0}):
        with pytest.raises(InputError, match=f"lgv: {next(iter(wrong))} must be in"):
            LGV(**wrong)
