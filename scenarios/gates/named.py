"""A gate's model by its name, as scenarios name models that exist; loads the libraries that names need."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from carom.zoo.references import check_accuracy, load_reference, reference, stated_accuracy

from .suite import Suite


def named_model(value: str | Mapping[str, object], suite: Suite, *, where: str = "model") -> Callable[..., Any]:
    """The model that a string or a table names, for images of the suite.

    Where the table states a `clean_accuracy`, the model is held to it on the suite's clean images.

    Args:
        value: Such as "net.onnx", or {"model": "net.onnx", "clean_accuracy": 0.94}.
        suite: What it is going to be asked.
        where: For errors.

    Raises:
        InputError: It names no model, or a field is wrong.
        MissingData: Its file is not on this machine.
        ModelError: It is a model of another task, or less accurate than stated.
    """
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
