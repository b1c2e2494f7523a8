"""Any model that a user may name: of a library, from a file, from Python, or behind an address."""

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

from carom.errors import CaromError, InputError, MissingData, ModelError, one_line
from carom.identity import content_key, file_digest
from carom.registry import build, check_keys, did_you_mean
from carom.zoo.architectures import LIBRARIES, Architecture, architecture
from carom.zoo.architectures.timm_models import Timm
from carom.zoo.architectures.torchvision_models import Torchvision
from carom.zoo.preprocessing import Declared, on_images

from .checkpoints import SUFFIXES, Description, read_weights, save_state_dict
from .classifier import Classifier, Preprocessing, Shape, create, restore
from .outside import endpoint as over_http
from .outside import onnx_file, programs, robustbench_models, transformers_folder
from .outside.declared import declared_preprocessing, preprocessed
from .outside.endpoint import Endpoint
from .outside.onnx_file import OnnxFile
from .outside.programs import Program
from .outside.robustbench_models import RobustBench
from .outside.transformers_folder import TransformersFolder
from .victims import (
    Answers,
    CallableVictim,
    StatedAccuracy,
    VictimCheck,
    asked_only,
    check_accuracy,
    check_victim,
)

__all__ = [
    "CallableVictim",
    "Endpoint",
    "OnnxFile",
    "Preprocessed",
    "Program",
    "Published",
    "PythonModel",
    "Reference",
    "RobustBench",
    "StatedAccuracy",
    "TransformersFolder",
    "VictimCheck",
    "WeightsFile",
    "check_accuracy",
    "check_victim",
    "code_behind",
    "load_reference",
    "model_behind",
    "reference",
    "save_state_dict",
    "stated_accuracy",
]

_STATED = ("clean_accuracy", "tolerance")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model of timm or torchvision with its published weights and preprocessing."""

    architecture: Timm | Torchvision

    version: ClassVar[int] = 1

    def key(self) -> str:
        """What is asked for: library, model and set of weights."""
        return content_key(self)


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """Weights in a file.

    Attributes:
        path: `.safetensors`, or a state dict as `.pt` or `.pth`.
        sha256: Of the file when it was named.
        architecture: Of the weights; None where the file says it (`carom train -o` writes such files).
        preprocessing: Between pixels in [0, 1] and the network; None for the file's, or the architecture's own.
    """

    path: str
    sha256: str
    architecture: Architecture | None = None
    preprocessing: Declared | None = None

    version: ClassVar[int] = 1

    def key(self) -> str:
        """What is asked for; changes with the file's content, not with its place."""
        return content_key("weights-file", self.version, self.sha256, self.architecture, self.preprocessing)


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


Outsider = PythonModel | OnnxFile | Program | Endpoint | RobustBench


@dataclass(frozen=True, kw_only=True)
class Preprocessed:
    """A model behind a preprocessing that its user declares.

    Attributes:
        model: Takes what the preprocessing gives.
        preprocessing: Between pixels in [0, 1] and the model.
    """

    model: Outsider
    preprocessing: Declared

    version: ClassVar[int] = 1

    def key(self) -> str | None:
        """What is asked for; None without a revision of the model."""
        inner = self.model.key()
        return None if inner is None else content_key("preprocessed", self.version, inner, self.preprocessing)


Reference = Published | WeightsFile | TransformersFolder | Outsider | Preprocessed


def model_behind(reference: Reference) -> str:
    """What is the same of two references to one model, whatever its preprocessing, answers and revision."""
    match reference:
        case Preprocessed():
            return model_behind(reference.model)
        case PythonModel():
            return reference.target
        case Endpoint():  # a query may hold a token, and may name a model
            shown = over_http.place(reference.url)
            return shown if shown == reference.url else f"{shown} {content_key(reference.url)[:12]}"
        case Published():
            return f"{reference.architecture.name} {reference.key()[:12]}"
    return f"sha256 {reference.sha256[:12]}"  # a copy under another name is the same model


def reference(value: str | Mapping[str, object], *, where: str = "model") -> Reference:
    """From "timm:resnet18", "weights.safetensors", "module:function", "net.onnx", or a table of `model`.

    Tables add what a name cannot say: `weights` (torchvision), `architecture` (weights), `answers`, `revision` and so
    on, each kind its own; and `preprocessing` for all but timm and torchvision. What `stated_accuracy` reads is left to
    it.

    Raises:
        InputError: It is none of these, or a field is unknown or wrong.
        MissingData: No such file.
    """
    table: dict[str, Any] = {"model": value} if isinstance(value, str) else dict(value)
    table = {k: v for k, v in table.items() if k not in _STATED}
    name = table.pop("model", None)
    if not isinstance(name, str) or not name:
        raise InputError(f'{where}: expected a model such as "timm:resnet18", or a table with `model`, got {value!r}')
    prefix, colon, rest = name.partition(":")
    if name.endswith(SUFFIXES) and "format" not in table and not name.startswith(over_http.SCHEMES):
        return _file(name, table, where)
    if prefix in LIBRARIES and colon:
        asked = {"pretrained": True} if prefix == "timm" else {"weights": "DEFAULT"}
        found = architecture({"name": name, **asked, **table}, where=where)
        assert isinstance(found, Timm | Torchvision)
        return Published(architecture=found)
    if prefix == transformers_folder.PREFIX and colon:
        return transformers_folder.transformers_folder(rest, table, where=where)
    processing = declared_preprocessing(table, where=where)
    outsider = _outsider(name, {k: v for k, v in table.items() if k != "preprocessing"}, where)
    if isinstance(outsider, Endpoint) and isinstance(processing, Preprocessing) and processing.normalises:
        raise InputError(
            f"{where}: images are sent in [0, 1]; expected a preprocessing without mean and std, such as resize alone: "
            "let the service normalise"
        )
    return outsider if processing is None else Preprocessed(model=outsider, preprocessing=processing)


def _outsider(name: str, table: dict[str, Any], where: str) -> Outsider:
    prefix, colon, rest = name.partition(":")
    if name.startswith(over_http.SCHEMES):
        return over_http.endpoint(name, table, where=where)
    if "format" in table or name.endswith(tuple(programs.SUFFIXES)):
        return programs.program(name, table, where=where)
    if name.endswith(onnx_file.SUFFIX):
        return onnx_file.onnx_file(name, table, where=where)
    if prefix == robustbench_models.PREFIX and colon:
        return robustbench_models.robustbench_model(rest, table, where=where)
    if colon and rest.isidentifier() and all(part.isidentifier() for part in prefix.split(".")):
        check_keys(table, ("answers", "revision", "deterministic", "preprocessing"), where=where)
        return build(PythonModel, {"target": name, **table}, where=where)
    files = (*SUFFIXES, onnx_file.SUFFIX, *programs.SUFFIXES)
    raise InputError(
        f'{where}: {name!r} names no model; expected "timm:NAME", "torchvision:NAME", "robustbench:NAME", '
        f'"transformers:FOLDER", a file ending in {", ".join(files)}, "package.module:function", or "https://..."'
    )


def stated_accuracy(value: str | Mapping[str, object], *, where: str = "model") -> StatedAccuracy | None:
    """The `clean_accuracy` and `tolerance` in a model's table, in shares of images; None where it states none.

    Raises:
        InputError: Out of range, or a tolerance of nothing.
    """
    table = {} if isinstance(value, str) else {k: v for k, v in value.items() if k in _STATED}
    return build(StatedAccuracy, table, where=where) if table else None


def _file(name: str, table: dict[str, Any], where: str) -> WeightsFile:
    check_keys(table, ("architecture", "preprocessing"), where=where)
    path = Path(name).expanduser()
    if not path.is_file():
        raise MissingData(f"{where}: {name}: no such file; check the path, which is relative to the working directory")
    declared = table.get("architecture")
    if declared is not None and not isinstance(declared, str | Mapping):
        raise InputError(f"{where}.architecture: expected a name or a table, got {declared!r}")
    return WeightsFile(
        path=name,
        sha256=file_digest(path),
        architecture=None if declared is None else architecture(declared, where=f"{where}.architecture"),
        preprocessing=declared_preprocessing(table, where=where),
    )


def load_reference(
    reference: Reference, *, shape: Shape, classes: int, where: str = "model"
) -> Classifier | CallableVictim:
    """The model, in eval mode on the CPU, for a task of this shape and these classes.

    Raises:
        MissingData: Weights are not on this machine.
        ModelError: It is a model of another task, or no model at all.
    """
    if isinstance(reference, Published):
        return _published(reference, shape, classes, where)
    if isinstance(reference, WeightsFile):
        return _restored(reference, shape, classes, where)
    if isinstance(reference, TransformersFolder):
        return transformers_folder.load_transformers(reference, shape=shape, classes=classes, where=where)
    if isinstance(reference, Preprocessed):
        processing = on_images(reference.preprocessing, shape)
        processing.check(shape, where=f"{where}.preprocessing")
        inner = _load(reference.model, processing.output_shape(shape), classes, where)
        if processing.normalises and isinstance(inner, CallableVictim) and onnx_file.takes_bytes(inner):
            raise ModelError(
                f"{where}: its input is uint8, 0 to 255; expected a preprocessing without mean and std, such as resize "
                "alone"
            )
        return preprocessed(inner, processing, shape=shape, classes=classes)
    return _load(reference, shape, classes, where)


def _load(reference: Outsider, shape: Shape, classes: int, where: str) -> Classifier | CallableVictim:
    match reference:
        case OnnxFile():
            return onnx_file.load_onnx(reference, shape=shape, where=where)
        case Program():
            return programs.load_program(reference, shape=shape, classes=classes, where=where)
        case Endpoint():
            return over_http.load_endpoint(reference, classes=classes, where=where)
        case RobustBench():
            return robustbench_models.load_robustbench(reference, shape=shape, classes=classes, where=where)
        case PythonModel():
            return _imported(reference, shape, classes, where)


def _published(reference: Published, shape: Shape, classes: int, where: str) -> Classifier:
    found = reference.architecture
    if found.native_classes != classes:
        raise ModelError(
            f"{where}: {found.name} answers with {found.native_classes} classes, the task has {classes}; "
            "name it as an architecture to train it on the task"
        )
    return create(found, shape=shape, classes=classes).eval()


def _restored(reference: WeightsFile, shape: Shape, classes: int, where: str) -> Classifier:
    path = Path(reference.path).expanduser()
    where = f"{where}: {reference.path}"
    tensors, said = read_weights(path)
    if file_digest(path) != reference.sha256:
        raise ModelError(f"{where}: the file changed after it was named; start again")
    chosen = _agreed(reference, said, shape, classes, where)
    declared = reference.preprocessing
    preprocessing = said.preprocessing if declared is None and said is not None else None
    if declared is not None:
        preprocessing = on_images(declared, shape)
    return restore(chosen, tensors, shape=shape, classes=classes, preprocessing=preprocessing, where=where)


def _agreed(reference: WeightsFile, said: Description | None, shape: Shape, classes: int, where: str) -> Architecture:
    if said is None:
        if reference.architecture is None:
            raise InputError(f'{where}: the file does not say its architecture; add architecture = "NAME"')
        return reference.architecture
    if reference.architecture not in (None, said.architecture):
        raise ModelError(f"{where}: declared {reference.architecture}, but the file says {said.architecture}")
    if (said.shape, said.classes) != (shape, classes):
        raise ModelError(
            f"{where}: a model of images {said.shape} in {said.classes} classes; the task has {shape} in {classes}"
        )
    return said.architecture


def _imported(reference: PythonModel, shape: Shape, classes: int, where: str) -> Classifier | CallableVictim:
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


def code_behind(reference: Reference) -> str | None:
    """sha256 of the file of the Python module that makes a loaded model, as it was when the module was imported.

    None of other models, and of modules without a file. What the module imports itself is not in it.
    """
    if isinstance(reference, Preprocessed):
        return code_behind(reference.model)
    if not isinstance(reference, PythonModel):
        return None
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
