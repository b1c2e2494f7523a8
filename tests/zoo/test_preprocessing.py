"""Resize and crop of a model's own: torchvision's geometry, old keys, and words."""

import dataclasses
from typing import Any

import pytest
import torch

from carom.errors import InputError
from carom.identity import content_key
from carom.zoo.preprocessing import Preprocessing, Resized, on_images


def seen(x: torch.Tensor, **settings: object) -> torch.Tensor:
    chosen = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, **settings)  # type: ignore[arg-type]
    return chosen.apply(x, torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))


@pytest.mark.parametrize(("rows", "columns"), [(61, 40), (40, 61), (45, 45), (32, 57)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_shorter_side_and_crop_are_those_of_torchvision(rows: int, columns: int, interpolation: str) -> None:
    from torchvision import transforms as of_torchvision

    transforms: Any = of_torchvision  # untyped

    x = torch.rand(2, 3, rows, columns, generator=torch.Generator().manual_seed(0))
    mode = transforms.InterpolationMode(interpolation)
    wanted = transforms.Compose([transforms.Resize(32, mode, antialias=True), transforms.CenterCrop(27)])(x)
    came = seen(x, resize=32, crop=(27, 27), interpolation=interpolation)
    # the library cuts bicubic values that leave [0, 1] in 8-bit images alone
    torch.testing.assert_close(came, wanted, rtol=0, atol=1e-6)
    chosen = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, resize=32, crop=(27, 27))
    assert chosen.output_shape((3, rows, columns)) == (3, 27, 27)


def test_gradients_reach_the_middle_alone() -> None:
    x = torch.rand(1, 3, 9, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(seen(x, crop=(5, 5)).sum(), x)
    assert float(gradient[:, :, 2:7, 1:6].min()) == 1
    assert float(gradient.sum()) == 75


def test_what_was_asked_before_there_were_crops_has_its_key() -> None:
    """The keys are those of a class that never had the field."""

    @dataclasses.dataclass(frozen=True)
    class Before:
        mean: tuple[float, ...] = (0.5,)
        std: tuple[float, ...] = (0.5,)
        resize: tuple[int, int] | None = None
        interpolation: str = "bilinear"
        antialias: bool = True

    Before.__name__ = "Preprocessing"
    assert content_key(Preprocessing()) == content_key(Before())
    assert content_key(Preprocessing(resize=(3, 4))) == content_key(Before(resize=(3, 4)))
    assert content_key(Preprocessing(crop=(3, 4))) != content_key(Before())


def test_words() -> None:
    plain = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
    assert plain.seen((3, 299, 299)) == "sees 299x299, all pixels as they are"
    squashed = dataclasses.replace(plain, resize=(224, 224))
    assert squashed.seen((3, 299, 299)) == "sees 224x224, resized from 299x299 (bilinear)"
    cropped = dataclasses.replace(plain, resize=256, crop=(224, 224), interpolation="bicubic")
    assert cropped.seen((3, 299, 400)) == ("sees 224x224, the middle of 256x342, resized from 299x400 (bicubic)")


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"crop 8x8 of images of 7x9; set resize to as much or more"):
        Preprocessing(crop=(8, 8)).check((1, 7, 9))
    with pytest.raises(InputError, match="must be above 0"):
        Preprocessing(crop=(0, 8))
    with pytest.raises(InputError, match="must be above 0"):
        Preprocessing(resize=0)
    assert on_images(Resized(resize=9, crop=(8, 8)), (1, 7, 9)).output_shape((1, 7, 9)) == (1, 8, 8)
