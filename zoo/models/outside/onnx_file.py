"""Victims in .onnx files, answered by onnxruntime on the CPU."""

import importlib
import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from carom.errors import InputError, ModelError
from carom.files import located, stray
from carom.identity import content_key
from carom.registry import build, check_keys, did_you_mean
from carom.zoo.models.victims import Answers, CallableVictim
from carom.zoo.preprocessing import Shape

from .declared import in_batches, named_files, not_installed

SUFFIX = ".onnx"
_TYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A graph in an .onnx file, as a victim: it answers, and has no gradient.

    Attributes:
        path: The file; those that it names beside it, such as `PATH.data`, hold large weights.
        sha256: Of the file and of those beside it when it was named.
        answers: What the output is.
        output: Its name, for graphs with several.
    """

    path: str
    sha256: str
    answers: Answers = "logits"
    output: str | None = None

    version: ClassVar[int] = 2

    def key(self) -> str:
        """What is asked for; changes with the content, not with the place."""
        return content_key("onnx", self.version, self.sha256, self.answers, self.output)


def onnx_file(name: str, table: Mapping[str, Any], *, where: str) -> OnnxFile:
    """From a model's table.

    Raises:
        InputError: An unknown or wrong field.
        MissingData: No such file.
    """
    check_keys(table, ("answers", "output"), where=where)
    return build(OnnxFile, {"path": name, "sha256": _sha256(name, where), **table}, where=where)


def load_onnx(reference: OnnxFile, *, shape: Shape, where: str) -> CallableVictim:
    """The graph, ready to be asked.

    Raises:
        ModelError: It is no graph of images of this shape, changed since it was named, or onnxruntime is missing.
    """
    where = f"{where}: {reference.path}"
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise not_installed(where, "onnxruntime", "onnx", error) from None
    if _sha256(reference.path, where) != reference.sha256:
        raise ModelError(f"{where}: the file changed after it was named; start again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what goes wrong is raised, and said in one line
    path = str(located(reference.path))
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base
        came = stray(Path(path)) or _reason(error, onnxruntime.__version__)
        raise ModelError(f"{where}: {came}") from None
    return CallableVictim(_Graph(session, reference.output, shape, where), where, reference.answers)


def _reason(error: Exception, version: str) -> str:
    """Why onnxruntime opens no graph: its own words, without the place in its source that it says first."""
    said = " ".join(str(error).split())
    for pattern, what, advice in (
        (r"IR version: (\d+), max supported IR version: (\d+)", "IR version", "export it with an earlier onnx"),
        (r"Opset (\d+) is under.* till opset (\d+)", "opset", "export it with an earlier opset_version"),
    ):
        if (found := re.search(pattern, said)) is not None:
            return (
                f"it has {what} {found[1]}, and onnxruntime {version} reads up to {found[2]}; {advice}, or install a "
                "newer onnxruntime"
            )
    said = re.sub(r"^.*?failed:", "", said)
    said = re.sub(r"^/\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])", "", said)
    return f"onnxruntime cannot open it: {said[:1000].removesuffix('.')}; export it again"


def takes_bytes(victim: CallableVictim) -> bool:
    """Whether it is a graph that gets pixels of 0 to 255."""
    return isinstance(victim.function, _Graph) and victim.function.type is np.uint8


def _sha256(name: str, where: str) -> str:
    path = located(name)
    beside = [path.with_name(path.name + ".data"), *(path.with_name(n) for n in _named(path))]
    return named_files([path, *dict.fromkeys(file for file in beside if file.is_file())], where=where)


def _named(path: Path) -> list[str]:
    """Files that a graph keeps tensors in: the values under the key "location", as protobuf writes such pairs."""
    if not path.is_file() or not path.stat().st_size:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = set()
        for pair in re.finditer(rb"\x0a\x08location\x12([\x80-\xff]*[\x00-\x7f])", content):
            size = sum((byte & 127) << 7 * place for place, byte in enumerate(pair[1]))
            if 0 < size < 4096:
                found.add(content[pair.end() : pair.end() + size].decode("utf-8", "replace"))
    return sorted(name for name in found if "\0" not in name)


class _Graph:
    """One input and one output of a session, asked with torch images."""

    def __init__(self, session: Any, output: str | None, shape: Shape, where: str) -> None:
        inputs = session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(i.name for i in inputs)
            raise ModelError(f"{where}: {len(inputs)} inputs ({names}); expected the images alone: export it so")
        taken = inputs[0]
        if taken.type not in _TYPES:
            raise ModelError(f"{where}: input {taken.name} is {taken.type}; expected one of {', '.join(_TYPES)}")
        self.session = session
        self.input = taken.name
        self.type = _TYPES[taken.type]
        self.output = _output({o.name: o.type for o in session.get_outputs()}, output, where)
        self.rows_first, self.batch = _layout(taken.name, taken.shape, shape, where)
        # a graph may leave the number of images open and have a fixed one inside
        if self.batch is None and not self._takes(2, shape) and self._takes(1, shape):
            self.batch = 1

    def __call__(self, x: Tensor) -> Tensor:
        return in_batches(self._ask, x, self.batch)

    def _takes(self, n: int, shape: Shape) -> bool:
        """Whether it answers `n` images with as many rows."""
        try:
            return len(self._ask(torch.zeros(n, *shape))) == n
        except Exception:  # what is wrong is said when it is asked in earnest
            return False

    def _ask(self, x: Tensor) -> Tensor:
        images = x.permute(0, 2, 3, 1) if self.rows_first else x
        if self.type is np.uint8:
            images = (images * 255).round().clamp(0, 255)  # bicubic resizing overshoots, and 256 would be 0
        # not detached on purpose: images that want a gradient fail here
        found = self.session.run([self.output], {self.input: images.cpu().contiguous().numpy().astype(self.type)})[0]
        return torch.from_numpy(np.asarray(found)).to(x.device)


def _output(types: Mapping[str, str], asked: str | None, where: str) -> str:
    """The name of the output that is read."""
    if asked is not None and asked not in types:
        raise InputError(f"{where}: no output {asked!r}{did_you_mean(asked, types)} (known: {', '.join(types)})")
    if asked is None and len(types) != 1:
        raise InputError(f'{where}: {len(types)} outputs ({", ".join(types)}); add output = "NAME"')
    name = asked or next(iter(types))
    if not types[name].startswith("tensor("):
        others = [n for n, kind in types.items() if kind.startswith("tensor(")]
        instead = f", or name another output ({', '.join(others)})" if others else ""
        raise ModelError(
            f"{where}: output {name} is {types[name]}, not a tensor; export scores as a tensor, as skl2onnx "
            f"and onnxmltools do with zipmap=False{instead}"
        )
    if types[name] in ("tensor(string)", "tensor(bool)"):
        raise ModelError(f"{where}: output {name} is {types[name]}; expected scores, or labels as whole numbers")
    return name


def _layout(name: str, taken: list[Any], shape: Shape, where: str) -> tuple[bool, int | None]:
    """Whether channels come last, and how many images a call must have; a size that is no number is free."""
    sizes = [size if isinstance(size, int) and size > 0 else None for size in taken]
    channels, rows, columns = shape
    if len(sizes) == 4:
        for last, wanted in ((False, (channels, rows, columns)), (True, (rows, columns, channels))):
            if all(size in (None, want) for size, want in zip(sizes[1:], wanted, strict=True)):
                return last, sizes[0]
    raise ModelError(
        f"{where}: input {name} takes {list(taken)}, the images are n {channels} {rows} {columns}; "
        "expected n c h w or n h w c of that size: declare preprocessing = {mean, std, resize}"
    )
