"""Samples of a training, parts of an epoch, checkpoints, and precision."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import carom.zoo.training.checkpoint
from carom.zoo.architectures import architecture
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.loop import train
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State
from carom.zoo.training.trained import DivergedError, Trained


def images(n: int, seed: int) -> ImageSet:
    """Three classes, each with a bright band of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    pixels = torch.randint(0, 120, (n, 1, 8, 8), generator=generator)
    for i, label in enumerate(labels.tolist()):
        pixels[i, :, 2 * label : 2 * label + 2] += 90
    return ImageSet(pixels.to(torch.uint8), labels, torch.arange(n))


TRAIN, VALIDATION = images(90, 0), images(30, 1)
RECIPE = Recipe(
    epochs=4, batch_size=15, learning_rate=0.01, schedule="constant", shift=0.0, rotation=0.0, scale=0.0, select="last"
)


@dataclass(frozen=True)
class Keeping:
    """Keeps every second epoch, each of half of the images, and counts its steps in the memory."""

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        def count(state: State) -> None:
            state.memory["steps"] = state.memory.get("steps", torch.zeros(())) + 1

        return replace(slots, part=0.5, collect=lambda epoch: epoch % 2 == 0, after_step=(count,))


def run(recipe: Recipe, name: str = "resnet-small", **options: Any) -> Trained:
    return train(recipe, architecture(name), train=TRAIN, validation=VALIDATION, classes=3, seed=1, **options)


def same(one: Trained, two: Trained) -> bool:
    pairs = [(one.last, two.last), (one.best, two.best)]
    pairs += [(a.weights, b.weights) for a, b in zip(one.samples, two.samples, strict=True)]
    return all(torch.equal(a[k], b[k]) for a, b in pairs for k in a) and one.history == two.history


def test_samples_are_the_weights_after_the_epochs_asked_for() -> None:
    trained = run(adapted(RECIPE, Keeping()))
    assert [sample.epoch for sample in trained.samples] == [2, 4]
    assert all(torch.equal(trained.samples[1].weights[k], trained.last[k]) for k in trained.last)
    assert [record.validation_accuracy is None for record in trained.history] == [True, False, True, False]


def test_a_part_of_an_epoch_sees_that_part_of_the_images() -> None:
    trained = run(adapted(RECIPE, Keeping()))
    assert trained.passes.forward == trained.passes.backward == 4 * 45
    assert trained.memory["steps"] == 4 * 3


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.1), ("adamw", 0.01)])
def test_what_is_resumed_equals_what_was_never_interrupted(
    after: int, optimizer: Any, rate: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carom.zoo.training.checkpoint, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    recipe = adapted(replace(RECIPE, optimizer=optimizer, learning_rate=rate), Keeping())
    whole = run(recipe)
    epochs = []

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(recipe, checkpoint=tmp_path / "c.pt", progress=stop)
    resumed = run(recipe, checkpoint=tmp_path / "c.pt", progress=lambda done, total, numbers: epochs.append(done))
    assert epochs == list(range(after + 1, 5))
    assert same(whole, resumed)
    assert whole.passes == resumed.passes
    assert whole.memory["steps"] == resumed.memory["steps"]
    assert not (tmp_path / "c.pt").exists()


@pytest.mark.parametrize("damage", ["other", "cut"])
def test_a_checkpoint_of_another_training_or_a_damaged_one_is_left_alone(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carom.zoo.training.checkpoint, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "c.pt"
    with pytest.raises(KeyboardInterrupt):
        run(replace(RECIPE, learning_rate=0.01) if damage == "other" else RECIPE, checkpoint=path, progress=stop)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    assert same(run(RECIPE, checkpoint=path), run(RECIPE))


def test_samples_no_better_than_guessing_are_named_and_left_out() -> None:
    @dataclass(frozen=True)
    class Spoilt:
        """The head is emptied before the second epoch is looked at."""

        def slots(self, slots: Slots, recipe: Recipe) -> Slots:
            def spoil(state: State) -> None:
                if state.epoch == 1:
                    for parameter in list(state.classifier.parameters())[-2:]:
                        nn.init.zeros_(parameter)

            return replace(slots, collect=lambda epoch: True, after_epoch=(spoil,))

    trained = run(adapted(RECIPE, Spoilt()))
    assert trained.diverged == [2]
    assert 2 not in [sample.epoch for sample in trained.samples]


def test_a_training_all_of_whose_samples_guess_is_refused() -> None:
    recipe = replace(RECIPE, optimizer="sgd", learning_rate=0.0)
    with pytest.raises(DivergedError, match=r"none of the \d samples|guessing"):
        run(adapted(recipe, Keeping()), name="mlp")


def test_bfloat16_trains_float32_weights_to_the_same_accuracy() -> None:
    wide = run(replace(RECIPE, epochs=8))
    narrow = run(replace(RECIPE, epochs=8, precision="bfloat16"))
    assert all(tensor.dtype != torch.bfloat16 for tensor in narrow.last.values())
    assert not same(wide, narrow)
    assert narrow.history[-1].validation_accuracy == pytest.approx(wide.history[-1].validation_accuracy, abs=0.1)
