"""What a caller hands over: images, labels and models, held to what the rest takes for granted."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from carom.budget import in_range
from carom.errors import CaromError, InputError, ModelError, one_line
from carom.typing import Images, Labels

CHECKED_IMAGES = 4
"""So many images a model answers before anything rests on it."""


def made_beside(x: object) -> AbstractContextManager[object]:
    """Where a script has another default device than the CPU, what is made in here is made where the images are."""
    if not isinstance(x, torch.Tensor) or torch.get_default_device() == torch.device("cpu"):
        return nullcontext()
    return torch.device(x.device)


def images_of(x: Images, name: str, *, where: str) -> Images:
    """`x` without its history, float error at the ends of [0, 1] clamped away.

    Raises:
        InputError: It is not a batch of float images in [0, 1].
    """
    if not isinstance(x, torch.Tensor) or x.ndim != 4:
        raise InputError(f"{where}: {name}: expected a tensor n c h w of float images in [0, 1], got {_came(x)}")
    if not x.is_floating_point():
        raise InputError(f"{where}: {name}: expected float images in [0, 1], got {x.dtype}; divide 8-bit images by 255")
    return in_range(x.detach(), where=f"{where}: {name}")


def _came(x: object) -> str:
    """What came instead of a batch of images, and what to do."""
    if not isinstance(x, torch.Tensor):
        return f"{type(x).__name__}; make a tensor of it, such as torch.as_tensor(x)"
    advice = "; of one image make a batch: x[None]" if x.ndim == 3 else ""
    return f"shape {tuple(x.shape)}{advice}"


def labels_of(y: Labels, name: str, x: Images, *, where: str) -> Labels:
    """A copy of `y` as int64, where the images are.

    Raises:
        InputError: It is not one whole number for each image.
    """
    if not isinstance(y, torch.Tensor) or y.ndim != 1 or y.is_floating_point() or len(y) != len(x):
        came = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, torch.Tensor) else type(y).__name__
        advice = "give one whole number an image"
        if not isinstance(y, torch.Tensor):
            advice = "make a tensor of it: torch.as_tensor(y)"
        elif y.ndim == 2 and len(y) == len(x):
            advice = "take the classes of scores or one-hot rows: y.argmax(1)"
        elif y.ndim == 1 and len(y) == len(x):
            advice = "make whole numbers of it: y.long()"
        raise InputError(
            f"{where}: {name}: expected a tensor of {len(x)} class numbers, one for each image, got {came}; {advice}"
        )
    return y.to(x.device, torch.int64, copy=True)


def answer_of(model: Callable[[torch.Tensor], object], x: Images, *, where: str) -> object:
    """What a model says to a few images.

    Raises:
        ModelError: It raised; the exception is the cause.
    """
    try:
        with torch.no_grad():
            return model(x.clone())
    except CaromError:
        raise
    except Exception as error:
        raise ModelError(
            f"{where}: failed on images {tuple(x.shape)} in [0, 1]: {one_line(error)}{_precision(model, x)}"
        ) from error


def _precision(model: object, x: Images) -> str:
    """The ending of an error, where weights of another precision than the images may be its reason."""
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    others = [p.dtype for p in parameters if p.is_floating_point() and p.dtype != x.dtype]
    if not others:
        return ""
    cast = "give images in float64 (x.double())" if others[0] == torch.float64 else "cast it (model.float())"
    return f"; its weights are {others[0]}, the images {x.dtype}: {cast}, or cast the images inside the module"


def shown(answer: object) -> str:
    if hasattr(answer, "shape") and hasattr(answer, "dtype"):
        return f"{answer.dtype} {tuple(answer.shape)}"
    return type(answer).__name__


def advice_on(answer: object) -> str:
    """The ending of an error: how the scores are had out of an answer that holds more than them."""
    if hasattr(answer, "logits"):
        way = "model(x).logits"
    elif isinstance(answer, Mapping):
        way = f'model(x)["{next(iter(answer), "logits")}"]'
    elif isinstance(answer, tuple | list):
        way = "model(x)[0]"
    else:
        return "; wrap it in a module that returns the scores alone"
    return f"; wrap it in a module that returns the scores alone, such as {way}"
