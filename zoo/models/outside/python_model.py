"""Whatever can be imported: a torch module, a class, or a function of images."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from torch import nn

from carom.errors import CaromError, InputError, ModelError, one_line
from carom.identity import content_key, file_digest
from carom.registry import build, check_keys, did_you_mean
from carom.zoo.models.classifier import Classifier, Shape
from carom.zoo.models.victims import Answers, CallableVictim, asked_only
from carom.zoo.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class PythonModel:
    """Something importable: "package.module:attribute".

    A torch module is used as it is: float images in [0, 1] to logits. A class, or a function without required
    arguments, is called once for such a module or function. Any other function is asked with the images themselves, and
    can be a victim only.

    Attributes:
        target: Where it is; modules in the working directory are found.
        answers: "logits", or for victims "probabilities" or "labels".
        revision: What tells this version of the model from the next. Code has no content key: without a revision,
            outcomes serve one run only.
        deterministic: The same images always get the same answer.
    """

    target: str
    answers: Answers = "logits"
    revision: str | None = None
    deterministic: bool = True

    version: ClassVar[int] = 1

    def key(self) -> str | None:
        """What is asked for; None without a revision."""
        return None if self.revision is None else content_key(self)


def python_model(target: str, table: Mapping[str, Any], *, where: str) -> PythonModel:
    """From "package.module:attribute", and a table of "answers", "revision" and "deterministic".

    Raises:
        InputError: A field is unknown or wrong.
    """
    check_keys(table, ("answers", "revision", "deterministic", "preprocessing"), where=where)
    return build(PythonModel, {"target": target, **table}, where=where)


def load_python(reference: PythonModel, *, shape: Shape, classes: int, where: str) -> Classifier | CallableVictim:
    """What the name stands for, as a classifier where it can be one, else as a function that answers.

    Raises:
        InputError: The module has no such attribute.
        ModelError: It cannot be imported, changed since it was, is no model, or is one of another task.
    """
    where = f"{where}: {reference.target}"
    found = _attribute(reference.target, where)
    if not isinstance(found, nn.Module) and callable(found) and _takes_nothing(found):
        try:
            found = found()
        except CaromError:
            raise
        except Exception as error:
            raise ModelError(f"{where}: failed when called without arguments: {one_line(error)}") from error
    if isinstance(found, Classifier):
        if (found.shape, found.classes) != (shape, classes):
            raise ModelError(
                f"{where}: a model of images {found.shape} in {found.classes} classes; "
                f"the task has {shape} in {classes}"
            )
        return found.eval()
    if isinstance(found, nn.Module) and reference.answers == "logits" and reference.deterministic:
        plain = Preprocessing(mean=(0.0,) * shape[0], std=(1.0,) * shape[0])
        return Classifier(found, shape=shape, classes=classes, preprocessing=plain, architecture=reference).eval()
    if not callable(found):
        raise ModelError(f"{where}: expected a torch module or a function of images, got {type(found).__name__}")
    function = asked_only(found) if isinstance(found, nn.Module) else found
    return CallableVictim(function, where, reference.answers, reference.deterministic)


_imported_as: dict[str, tuple[ModuleSpec | None, str | None]] = {}  # of modules: the import, and the file's sha256 then


def code_of(reference: PythonModel) -> str | None:
    """sha256 of the module's file as it was when it was imported; None before that, and without a file."""
    return _imported_as.get(reference.target.partition(":")[0], (None, None))[1]


def _note_code(module: ModuleType, where: str) -> None:
    """Keep what a module's file held when it was imported.

    Raises:
        ModelError: The file changed since: Python would go on with the code of before.
    """
    file = getattr(module, "__file__", None)
    now = file_digest(Path(file)) if file and Path(file).is_file() else None
    spec = getattr(module, "__spec__", None)
    imported, then = _imported_as.get(module.__name__, (None, None))
    if imported is None or imported is not spec:  # for the first time, or reloaded
        _imported_as[module.__name__] = (spec, now)
    elif now is not None and now != then:
        raise ModelError(f"{where}: {file} changed after this process imported it; start again in a new one")


def _attribute(target: str, where: str) -> object:
    module_name, _, name = target.partition(":")
    try:
        with _working_directory_first():
            module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything
        raise ModelError(f"{where}: cannot import {module_name}: {one_line(error)}") from error
    _note_code(module, where)
    if not hasattr(module, name):
        raise InputError(f"{where}: {module_name} has no {name!r}{did_you_mean(name, dir(module))}")
    return getattr(module, name)


@contextmanager
def _working_directory_first() -> Iterator[None]:
    """Console scripts, unlike `python`, do not look for modules where they are started."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _takes_nothing(function: Callable[..., object]) -> bool:
    """A class, or a function that can be called without arguments."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built-in functions may have no signature
        return False
    if inspect.isclass(function):
        return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
    return all(p.default is not p.empty or p.kind == p.VAR_KEYWORD for p in parameters)
