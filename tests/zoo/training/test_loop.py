"""The training loop: learns, repeats itself, counts, selects, and says when it fails."""

import dataclasses
from collections.abc import Callable
from functools import cache

import pytest
import torch
from jaxtyping import Float
from sklearn.datasets import load_digits
from torch import Tensor, nn

from carom.errors import CaromError, InputError, ModelError
from carom.identity import content_key, tensor_digest
from carom.typing import Images, Labels, Logits
from carom.zoo.architectures import ARCHITECTURES, architecture
from carom.zoo.preprocessing import Preprocessing
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.accuracy import macro_accuracy
from carom.zoo.training.loop import train
from carom.zoo.training.recipes import SCHEDULES, Recipe, recipe
from carom.zoo.training.slots import Slots, cross_entropy
from carom.zoo.training.state import State
from carom.zoo.training.trained import DivergedError, Trained

QUICK = Recipe(epochs=2, batch_size=16)


@cache
def digits() -> tuple[ImageSet, ImageSet, ImageSet]:
    """400 training, 200 validation and 400 test images of 1x16x16."""
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    x = nn.functional.interpolate(x, (16, 16), mode="bilinear", align_corners=False)
    pixels, labels = (x * 255).round().to(torch.uint8), torch.tensor(data.target, dtype=torch.int64)
    whole = ImageSet(pixels, labels, torch.arange(len(labels)))
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    return whole.select(order[:400]), whole.select(order[400:600]), whole.select(order[600:1000])


def noise(n: int = 37, classes: int = 4) -> ImageSet:
    generator = torch.Generator().manual_seed(n)
    images = torch.randint(0, 256, (n, 3, 8, 7), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.arange(n) % classes, torch.arange(n) + 1000)


def small(name: str = "mlp", recipe: Recipe = QUICK, seed: int = 0, **options: object) -> Trained:
    return train(
        recipe,
        architecture(name),
        train=noise(37),
        validation=noise(21),
        classes=4,
        seed=seed,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("lenet", "resnet-small") else [pytest.mark.thorough])
        for name in sorted(ARCHITECTURES)
    ],
)
def test_the_default_recipe_learns_digits(name: str) -> None:
    learn, validate, test = digits()
    # half of the default epochs are enough for nine of ten, and half as long to wait for
    trained = train(Recipe(epochs=20), architecture(name), train=learn, validation=validate, classes=10, seed=0)
    with torch.no_grad():
        right = trained.classifier()(test.pixels).argmax(1) == test.labels
    assert float(right.float().mean()) > 0.9
    assert trained.history[-1].loss < 0.5 * trained.history[0].loss


@pytest.mark.parametrize("name", ["vgg-small", "vit-small"])
def test_same_seed_same_weights_whatever_the_global_generator(name: str) -> None:
    digests = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        before = torch.random.get_rng_state()
        trained = small(name)
        assert torch.equal(before, torch.random.get_rng_state())
        digests.append((tensor_digest(trained.last), tensor_digest(trained.best)))
    assert digests[0] == digests[1]
    assert tensor_digest(small(name, seed=1).last) != digests[0][0]


def test_dropout_is_keyed_by_the_seed() -> None:
    # alexnet of torchvision would do too, but slowly
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Dropping:
        version = 1
        paper = ""
        family = "mlp"

        def network(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(168, classes))

    digests = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        trained = train(QUICK, Dropping(), train=noise(37), validation=noise(21), classes=4, seed=0)  # type: ignore[arg-type]
        digests.append(tensor_digest(trained.last))
    assert digests[0] == digests[1]


def test_threads_are_the_recipes_and_are_put_back() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    small(progress=lambda *_: seen.append(torch.get_num_threads()))
    assert seen == [1, 1]
    assert torch.get_num_threads() == before


def test_progress_and_history_agree() -> None:
    seen: list[tuple[int, int, dict[str, float]]] = []
    trained = small(progress=lambda *numbers: seen.append(numbers))
    assert [(done, total) for done, total, _ in seen] == [(1, 2), (2, 2)]
    assert [numbers["loss"] for _, _, numbers in seen] == [record.loss for record in trained.history]


def test_passes_are_counted_per_image() -> None:
    passes = small().passes
    assert (passes.forward, passes.backward) == (74, 74)


def test_best_is_the_latest_of_the_best_epochs() -> None:
    # no learning rate: every epoch is as good as the first
    trained = small(recipe=dataclasses.replace(QUICK, epochs=3, learning_rate=0.0))
    assert len({record.validation_accuracy for record in trained.history}) == 1
    assert trained.best_epoch == 3
    learned = small("vgg-small", dataclasses.replace(QUICK, epochs=5))
    scores = [record.validation_accuracy or 0.0 for record in learned.history]
    assert learned.best_epoch == max(epoch for epoch, score in enumerate(scores, 1) if score == max(scores))


def test_select_decides_which_weights_are_kept() -> None:
    trained = small(recipe=dataclasses.replace(QUICK, select="last"))
    assert tensor_digest(trained.classifier().network.state_dict()) == tensor_digest(trained.last)
    assert tensor_digest(trained.classifier("best").network.state_dict()) == tensor_digest(trained.best)
    assert not trained.classifier().training


def test_validation_accuracy_is_that_of_the_kept_weights() -> None:
    trained = small("vgg-small")
    images = noise(21)
    with torch.no_grad():
        right = (trained.classifier("last")(images.pixels).argmax(1) == images.labels).float()
    assert macro_accuracy(right, images.labels) == pytest.approx(trained.history[-1].validation_accuracy)


def test_macro_accuracy_is_the_mean_over_classes_that_occur() -> None:
    labels = torch.tensor([0, 0, 0, 2])
    right = torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert macro_accuracy(right, labels) == pytest.approx((1 / 3 + 1) / 2)


def test_preprocessing_can_be_declared() -> None:
    declared = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, resize=(12, 10))
    trained = small("lenet", preprocessing=declared)
    assert trained.classifier().preprocessing == declared
    assert trained.classifier()(torch.rand(5, 3, 8, 7)).shape == (5, 4)


def test_starting_from_weights() -> None:
    first = small()
    still = small(recipe=dataclasses.replace(QUICK, learning_rate=0.0), start=first.last)
    assert tensor_digest(still.last) == tensor_digest(first.last)
    with pytest.raises(ModelError, match="start: "):
        small("vgg-small", start=first.last)


def test_every_image_is_seen_once_an_epoch_in_batches_that_differ_by_one() -> None:
    seen: list[Tensor] = []

    class Watching(Recipe):
        def slots(self) -> Slots:
            return dataclasses.replace(super().slots(), after_step=(lambda state: seen.append(ids(state)),))

    def ids(state: State) -> Tensor:
        assert state.batch is not None
        assert torch.equal(state.batch.ids, noise(37).ids[state.batch.index])
        return state.batch.ids

    train(
        Watching(epochs=2, batch_size=16), architecture("mlp"), train=noise(37), validation=noise(21), classes=4, seed=0
    )
    assert [len(part) for part in seen] == [13, 12, 12] * 2
    assert torch.equal(torch.cat(seen[:3]).sort().values, noise(37).ids)
    assert not torch.equal(torch.cat(seen[:3]), torch.cat(seen[3:]))


def test_slots_make_another_way_of_training() -> None:
    """Sharpness-aware minimisation in the update, a double loss, and hooks."""
    epochs: list[int] = []

    def ascend_then_descend(state: State, gradient: Callable[[], None]) -> None:
        gradient()
        moved = [(p, 0.05 * p.grad) for p in state.classifier.parameters() if p.grad is not None]
        with torch.no_grad():
            for parameter, step in moved:
                parameter.add_(step)
        gradient()
        with torch.no_grad():
            for parameter, step in moved:
                parameter.sub_(step)
        state.optimizer.step()

    def double(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
        loss, logits = cross_entropy()(state, x, y)
        return 2 * loss, logits

    class Sharpness(Recipe):
        def slots(self) -> Slots:
            return dataclasses.replace(
                super().slots(),
                loss=double,
                update=ascend_then_descend,
                after_epoch=(lambda state: epochs.append(state.epoch),),
            )

    made = Sharpness(epochs=2, batch_size=16)
    trained = train(made, architecture("mlp"), train=noise(37), validation=noise(21), classes=4, seed=0)
    plain = small()
    assert trained.passes.forward == trained.passes.backward == 2 * plain.passes.forward
    assert trained.history[0].loss == pytest.approx(2 * plain.history[0].loss, rel=0.3)
    assert epochs == [0, 1]
    assert content_key(made) != content_key(QUICK)


def test_the_schedule_drives_the_learning_rate() -> None:
    rates: list[float] = []

    class Watching(Recipe):
        def slots(self) -> Slots:
            watch = lambda state: rates.append(state.optimizer.param_groups[0]["lr"])  # noqa: E731
            return dataclasses.replace(super().slots(), after_step=(watch,))

    made = Watching(epochs=10, batch_size=16, learning_rate=0.01, schedule="cosine")
    train(made, architecture("mlp"), train=noise(37), validation=noise(21), classes=4, seed=0)
    assert rates == pytest.approx([0.01 * SCHEDULES["cosine"](step / 30) for step in range(30)])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_optimizers_lower_the_loss(optimizer: str) -> None:
    made = recipe({"optimizer": optimizer, "epochs": 12, "batch_size": 16, "shift": 0, "rotation": 0, "scale": 0})
    if optimizer == "sgd":
        made = dataclasses.replace(made, learning_rate=0.05)
    history = small(recipe=made).history
    assert history[-1].loss < 0.7 * history[0].loss


def test_divergence_is_said_in_one_line() -> None:
    wild = Recipe(epochs=3, batch_size=16, optimizer="sgd", learning_rate=1000.0, schedule="constant")
    with pytest.raises(DivergedError, match=r"^training: .*epoch \d.*lower the learning rate") as error:
        small("lenet", wild)
    assert isinstance(error.value, CaromError)
    assert "\n" not in str(error.value)


def test_bad_images_are_refused() -> None:
    one = noise(21)
    with pytest.raises(InputError, match="1 training and 21 validation images"):
        train(QUICK, architecture("mlp"), train=noise(1), validation=one, classes=4, seed=0)
    with pytest.raises(InputError, match="labels run from 0 to 3; expected 0 to 2"):
        train(QUICK, architecture("mlp"), train=one, validation=one, classes=3, seed=0)
    other = ImageSet(one.images[:, :1], one.labels, one.ids)
    with pytest.raises(InputError, match="expected one shape"):
        train(QUICK, architecture("mlp"), train=one, validation=other, classes=4, seed=0)


def test_a_last_batch_of_one_image_does_not_stop_batch_norm() -> None:
    train(QUICK, architecture("resnet-small"), train=noise(33), validation=noise(21), classes=4, seed=0)
