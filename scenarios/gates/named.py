"""A gate's model by its name, as scenarios name models that exist; loads the libraries that names need."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from carom.errors import InputError
from carom.zoo.models.references import load_reference, reference, stated_accuracy
from carom.zoo.models.victims import check_accuracy

from .suite import Suite


def named_model(
    value: str | Mapping[str, object], suite: Suite, *, where: str = "model", folder: Path | None = None
) -> Callable[..., Any]:
    """The model that a string or a table names, for images of the suite.

    Where the table states a `clean_accuracy`, the model is held to it on the suite's clean images.

    Args:
        value: Such as "net.onnx", or {"model": "net.onnx", "clean_accuracy": 0.94}.
        suite: What it is going to be asked.
        where: For errors.
        folder: Where a file is looked for before the working directory. "package.module:name" is imported as any module
            is, from the working directory first.

    Raises:
        InputError: It names no model, or a field is wrong.
        MissingData: Its file is not on this machine.
        ModelError: It is a model of another task, or less accurate than stated.
    """
    value = _found(value, folder)
    stated = stated_accuracy(value, where=where)
    model = load_reference(reference(value, where=where), shape=suite.shape, classes=len(suite.classes), where=where)
    if stated is not None:
        check_accuracy(
            model,
            stated,
            name=where,
            images=torch.from_numpy(suite.clean),
            labels=torch.from_numpy(suite.labels),
            classes=len(suite.classes),
            what="clean",
        )
    return model


def _found(value: str | Mapping[str, object], folder: Path | None) -> str | Mapping[str, object]:
    """The same with the file in `folder` named whole, if there is one."""
    if folder is None:
        return value
    if isinstance(value, Mapping):
        name = value.get("model")
        return {**value, "model": _found(name, folder)} if isinstance(name, str) else value
    try:
        return str(folder / value) if (folder / value).is_file() else value
    except (OSError, ValueError):  # no name of a file
        return value


def load_victim(text: str, suite: Suite) -> Callable[..., Any]:
    """The model of a name, or of an inline table of TOML, for the images and classes of a suite.

    Raises:
        InputError: The text names no model.
        MissingData: Its file is not there.
        ModelError: It is a model of another task.
    """
    named: Any = text
    if text.lstrip().startswith("{"):
        try:
            named = tomllib.loads(f"victim = {text}")["victim"]
        except tomllib.TOMLDecodeError as error:
            raise InputError(
                f"victim {text!r}: no inline table of TOML ({error}); write it as '{{model = \"model.onnx\"}}'"
            ) from None
    return named_model(named, suite, where="victim")
