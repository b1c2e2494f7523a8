"""The order of a victim's classes: simulations in which the truth is known, and no false alarm."""

import numpy as np
import pytest

from carom.scenarios.statistics.class_order import Misfit, misfit


def answers(labels: np.ndarray, classes: int, accuracy: float, rng: np.random.Generator) -> np.ndarray:
    """Right with the given probability, else any other class."""
    other = (labels + rng.integers(1, classes, len(labels))) % classes
    return np.where(rng.random(len(labels)) < accuracy, labels, other).astype(np.int16)


@pytest.mark.parametrize(
    ("classes", "images", "accuracy"),
    [
        (10, 250, 0.4),
        (10, 250, 0.25),
        (10, 500, 0.95),
        (2, 250, 0.7),
        (1000, 200, 0.4),
        (1000, 20, 0.5),
        (100, 500, 0.2),
    ],
)
def test_a_weak_model_raises_no_alarm(classes: int, images: int, accuracy: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        labels = np.arange(images) % classes if classes <= images else rng.integers(0, classes, images)
        assert misfit(answers(labels, classes, accuracy, rng), labels, classes) is None


def test_a_class_that_swallows_another_is_no_other_order() -> None:
    """As shirts are called T-shirts: nine in ten of one class, while the other is right."""
    rng = np.random.default_rng(1)
    labels = np.arange(500) % 10
    for _ in range(100):
        said = answers(labels, 10, 0.9, rng)
        said[(labels == 6) & (rng.random(500) < 0.9)] = 0
        assert misfit(said, labels, 10) is None


def test_guessing_raises_an_alarm_nearly_always() -> None:
    """At guessing, the test at 5% finds it above in 5% at most."""
    rng = np.random.default_rng(2)
    labels = np.arange(250) % 10
    alarms = sum(misfit(rng.integers(0, 10, 250).astype(np.int16), labels, 10) is not None for _ in range(400))
    assert alarms / 400 >= 0.95 - 3 * (0.05 * 0.95 / 400) ** 0.5


@pytest.mark.parametrize(("classes", "images"), [(4, 16), (10, 250), (1000, 20), (1000, 200)])
def test_classes_that_are_shifted_raise_one(classes: int, images: int) -> None:
    labels = np.arange(images) * max(1, classes // images) % classes
    found = misfit(((labels + 1) % classes).astype(np.int16), labels, classes)
    assert found is not None
    assert f"right on 0 of {images}" in found.why
    assert found.called == (found.label + 1) % classes


def test_two_classes_that_are_swapped_are_named() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(200) % 10
    said = answers(labels, 10, 0.9, rng)
    swapped = np.array([1, 0, *range(2, 10)])[said].astype(np.int16)
    found = misfit(swapped, labels, 10)
    assert found is not None
    assert {found.label, found.called} == {0, 1}
    assert found.of == 20
    assert found.times == int(((labels == found.label) & (swapped == found.called)).sum())
    assert "in another order of its classes on" in found.why


def test_an_order_that_explains_little_more_raises_no_alarm() -> None:
    """Two small classes of many are swapped: surely so, but in two images of a hundred."""
    labels = np.repeat([0, 1, 2], [20, 20, 1960])
    predictions = np.where(labels < 2, 1 - labels, labels).astype(np.int16)
    assert misfit(predictions, labels, 3) is None


def test_answers_that_another_order_explains_are_counted_once_each() -> None:
    """Two classes are swapped; some have no answer, many in one half of the images and few in the other."""
    labels = np.repeat(np.arange(5), 40)
    predictions = np.where(labels < 2, 1 - labels, labels).astype(np.int16)
    predictions[0:20:2] = -1
    predictions[1:5:2] = -1
    found = misfit(predictions, labels, 5)
    assert found is not None
    assert f"right on 120 of 200 clean images, in another order of its classes on {200 - 12}" in found.why


def test_the_words() -> None:
    found = Misfit(why="right on 0 of 20", label=0, called=1, of=20, times=18)
    assert found.words(["tench", "goldfish"]) == (
        "right on 0 of 20: order of classes? of 20 images labelled 'tench' 18 are called 'goldfish'"
    )
    one = Misfit(why="x", label=0, called=1, of=1, times=1).words(["a", "b"])
    assert one.endswith("of 1 image labelled 'a' 1 is called 'b'")


def test_too_few_images_to_tell_from_guessing() -> None:
    """Four images of two classes, all wrong: one in sixteen guesses so."""
    labels = np.array([0, 1, 0, 1])
    assert misfit((1 - labels).astype(np.int16), labels, 2) is None


def test_no_answer_is_none_of_the_confusions() -> None:
    labels = np.arange(100) % 10
    assert misfit(np.full(100, -1, np.int16), labels, 10) is None


@pytest.mark.parametrize(
    ("classes", "images", "accuracy"),
    [(1000, 1, 0.75), (10, 2, 0.9), (10, 5, 0.75), (2, 5, 0.95), (2, 8, 0.9), (1000, 20, 0.4)],
)
def test_few_images_of_a_good_model_raise_no_alarm(classes: int, images: int, accuracy: float) -> None:
    rng = np.random.default_rng(4)
    tries = 2000
    alarms = 0
    for _ in range(tries):
        labels = rng.choice(classes, images, replace=images > classes)
        alarms += misfit(answers(labels, classes, accuracy, rng), labels, classes) is not None
    assert alarms / tries <= 0.005


@pytest.mark.parametrize(("images", "accuracy"), [(1000, 0.75), (200, 0.9)])
def test_a_shift_is_seen_where_each_class_has_one_image(images: int, accuracy: float) -> None:
    rng = np.random.default_rng(5)
    labels = rng.permutation(1000)[:images]
    said = (answers(labels, 1000, accuracy, rng) + 1) % 1000
    by_chance = rng.random(images) < 0.05  # right on enough of the given labels to be above guessing
    said = np.where(by_chance, labels, said).astype(np.int16)
    found = misfit(said, labels, 1000)
    assert found is not None
    assert "in another order of its classes on" in found.why


def test_one_class_that_is_called_what_no_image_is_raises_none() -> None:
    labels = np.repeat([3, 50, 200, 400, 900], 50)
    said = labels.copy()
    said[labels == 200] = np.r_[np.full(40, 837), np.full(10, 200)]
    assert misfit(said.astype(np.int16), labels, 1000) is None
