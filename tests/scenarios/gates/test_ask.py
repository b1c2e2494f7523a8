"""How a model is asked: forward passes, on the device, a randomised one by the ids of the images."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from carom.defenses.wrappers.noise import Noise
from carom.defenses.wrappers.wrapped import wrapped
from carom.errors import InputError
from carom.scenarios.gates.ask import ask_suite, draws_by_image
from carom.scenarios.gates.suite import AdversarialSet, Suite
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.models.victims import CallableVictim


@pytest.fixture
def suite() -> Suite:
    """Rows 0, 2 and 4 say the class; two equal sets."""
    n = 600
    labels = np.arange(n) % 3
    clean = np.zeros((n, 1, 6, 5), np.uint8)
    clean[np.arange(n), 0, 2 * labels] = 200
    sets = tuple(
        AdversarialSet(
            name=name, surrogate="s", axes={}, fingerprints=("0",), attack="fgsm", norm="linf", eps="1/255", seed=0
        )
        for name in "ab"
    )
    return Suite(
        name="rows",
        description="",
        task="rows",
        classes=("a", "b", "c"),
        sources=("here",),
        scenario="",
        clean=clean,
        labels=labels,
        image_source=np.zeros(n, np.int64),
        ids=np.arange(n) * 7 + 3,
        sets=sets,
        adversarial=(clean, clean),
    )


def scores(x: Tensor) -> Tensor:
    return 5 * x[:, 0, ::2].sum(2) / 4


class Forward(nn.Module):
    """An honest module that only goes forward."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.passed = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.passed(x)


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return scores(x)


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: scores(x.sub_(0.1).div_(0.5)),
        lambda x: torch.from_numpy(scores(torch.from_numpy(x.numpy())).numpy()),
        _Once.apply,
    ],
    ids=["in place", "through numpy", "no backward"],
)
def test_a_module_that_only_goes_forward_is_asked(suite: Suite, forward: Callable[[Tensor], Tensor]) -> None:
    answers = ask_suite(Forward(forward), suite)
    assert (answers.clean_accuracy, answers.robust_accuracy) == (1, 1)


class Noisy(nn.Module):
    """Wrong on a third of the images, by their ids; called plainly, on none."""

    def forward(self, x: Tensor) -> Tensor:
        return scores(x)

    def answer(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.where((ids % 5 == 0)[:, None], scores(x).roll(1, 1), scores(x))


def test_a_randomised_defence_draws_by_the_ids_of_the_images(suite: Suite) -> None:
    expected = suite.ids % 5 != 0
    answers = ask_suite(Noisy(), suite)
    assert np.array_equal(answers.clean, expected)
    assert all(np.array_equal(right, expected) for right in answers.adversarial)


def test_which_models_draw_by_the_ids() -> None:
    plain = create(architecture("mlp"), shape=(1, 6, 5), classes=3)
    assert draws_by_image(wrapped(plain, Noise()))
    assert not draws_by_image(plain)
    assert not draws_by_image(scores)


def test_no_such_device_is_one_line(suite: Suite) -> None:
    for device in ("cuda:99", "gpu", "meta"):
        with pytest.raises(InputError, match=rf"^device='{device}': cannot be used here \(") as told:
            ask_suite(Forward(scores), suite, device=device)
        assert "\n" not in str(told.value)


class Placed(nn.Module):
    """A module without parameters, whose buffer is where it was moved."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(1))
        self.places: list[str] = []

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Placed":
        moved = fn(torch.ones(1))
        self.places.append(moved.device.type)
        return self

    def forward(self, x: Tensor) -> Tensor:
        return scores(x)


def test_a_module_with_buffers_alone_is_moved_before_it_is_asked_and_back(suite: Suite) -> None:
    model = Placed()
    ask_suite(model, suite)
    assert model.places == ["cpu", "cpu"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_functions_get_images_there_and_modules_come_back(suite: Suite) -> None:
    weight = torch.eye(3, device="cuda")
    assert ask_suite(lambda x: scores(x) @ weight, suite, device="cuda").clean_accuracy == 1
    with_buffer = nn.Sequential(Forward(scores), nn.BatchNorm1d(3, affine=False, eps=0))
    assert ask_suite(with_buffer, suite, device="cuda").clean_accuracy == 1
    assert {buffer.device.type for buffer in with_buffer.buffers()} == {"cpu"}
    asked = CallableVictim(lambda x: scores(x) @ torch.eye(3), "on the CPU")
    assert ask_suite(asked, suite, device="cuda").clean_accuracy == 1
