"""Any model that a user may name: of a library, from a file, from Python, or behind an address.

Reads the name, and asks the file of `outside/` that knows the kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from carom.errors import InputError, ModelError
from carom.identity import content_key
from carom.registry import build
from carom.zoo.architectures import LIBRARIES, architecture
from carom.zoo.architectures.timm_models import Timm
from carom.zoo.architectures.torchvision_models import Torchvision
from carom.zoo.preprocessing import Declared, Preprocessing, on_images

from .checkpoints import SUFFIXES
from .classifier import Classifier, Shape
from .outside import (
    efficientnet_lite,
    onnx_file,
    programs,
    published,
    python_model,
    robustbench_models,
    transformers_folder,
    weights_file,
)
from .outside import endpoint as over_http
from .outside.declared import declared_preprocessing, preprocessed
from .outside.efficientnet_lite import EfficientNetLite
from .outside.endpoint import Endpoint
from .outside.onnx_file import OnnxFile
from .outside.programs import Program
from .outside.published import Published
from .outside.python_model import PythonModel
from .outside.robustbench_models import RobustBench
from .outside.transformers_folder import TransformersFolder
from .outside.weights_file import WeightsFile
from .victims import CallableVictim, StatedAccuracy

_STATED = ("clean_accuracy", "tolerance")

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


Reference = Published | WeightsFile | TransformersFolder | EfficientNetLite | Outsider | Preprocessed


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
        return weights_file.weights_file(name, table, where=where)
    if prefix in LIBRARIES and colon:
        asked = {"pretrained": True} if prefix == "timm" else {"weights": "DEFAULT"}
        found = architecture({"name": name, **asked, **table}, where=where)
        assert isinstance(found, Timm | Torchvision)
        return Published(architecture=found)
    if prefix == transformers_folder.PREFIX and colon:
        return transformers_folder.transformers_folder(rest, table, where=where)
    if prefix == efficientnet_lite.PREFIX and colon:
        return efficientnet_lite.efficientnet_lite(rest, table, where=where)
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
        return python_model.python_model(name, table, where=where)
    files = (*SUFFIXES, onnx_file.SUFFIX, *programs.SUFFIXES)
    raise InputError(
        f'{where}: {name!r} names no model; expected "timm:NAME", "torchvision:NAME", "efficientnet-lite:N", '
        f'"robustbench:NAME", '
        f'"transformers:FOLDER", a file ending in {", ".join(files)}, "package.module:function", or "https://..."'
    )


def stated_accuracy(value: str | Mapping[str, object], *, where: str = "model") -> StatedAccuracy | None:
    """The `clean_accuracy` and `tolerance` in a model's table, in shares of images; None where it states none.

    Raises:
        InputError: Out of range, or a tolerance of nothing.
    """
    table = {} if isinstance(value, str) else {k: v for k, v in value.items() if k in _STATED}
    return build(StatedAccuracy, table, where=where) if table else None


def load_reference(
    reference: Reference, *, shape: Shape, classes: int, where: str = "model"
) -> Classifier | CallableVictim:
    """The model, in eval mode on the CPU, for a task of this shape and these classes.

    Raises:
        MissingData: Weights are not on this machine.
        ModelError: It is a model of another task, or no model at all.
    """
    if isinstance(reference, Published):
        return published.load_published(reference, shape=shape, classes=classes, where=where)
    if isinstance(reference, WeightsFile):
        return weights_file.load_weights_file(reference, shape=shape, classes=classes, where=where)
    if isinstance(reference, TransformersFolder):
        return transformers_folder.load_transformers(reference, shape=shape, classes=classes, where=where)
    if isinstance(reference, EfficientNetLite):
        return efficientnet_lite.load_efficientnet_lite(reference, shape=shape, classes=classes, where=where)
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
            return python_model.load_python(reference, shape=shape, classes=classes, where=where)


def code_behind(reference: Reference) -> str | None:
    """sha256 of the file of the Python module that makes a loaded model, as it was when the module was imported.

    None of other models, and of modules without a file. What the module imports itself is not in it.
    """
    if isinstance(reference, Preprocessed):
        return code_behind(reference.model)
    if not isinstance(reference, PythonModel):
        return None
    return python_model.code_of(reference)
