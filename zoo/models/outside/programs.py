"""Models as programs: TorchScript archives and programs of torch.export.

Either file is a program of whoever wrote it. `torch.export.load` unpickles parts of its file, so that opening one can
run any code; TorchScript runs no Python, but its operations were never meant to confine anybody. Both are opened only
where a table says that the file is trusted.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from carom.errors import InputError, ModelError, one_line
from carom.files import located, stray
from carom.identity import content_key
from carom.registry import build, check_keys
from carom.typing import Images
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.victims import Answers, CallableVictim, asked_only
from carom.zoo.preprocessing import Shape

from .declared import as_it_is, in_batches, named_files

Format = Literal["torchscript", "exported"]
SUFFIXES: Mapping[str, Format] = {".torchscript": "torchscript", ".pt2": "exported"}


@dataclass(frozen=True, kw_only=True)
class Program:
    """A model saved together with its code; one that answers logits has gradients, and can be a surrogate.

    Attributes:
        path: The file.
        sha256: Of the file when it was named.
        format: "torchscript" (`torch.jit.save`) or "exported" (`torch.export.save`).
        answers: What it answers with.
    """

    path: str
    sha256: str
    format: Format
    answers: Answers = "logits"

    version: ClassVar[int] = 1

    def key(self) -> str:
        """What is asked for; changes with the content, not with the place."""
        return content_key("program", self.version, self.sha256, self.format, self.answers)


def program(name: str, table: Mapping[str, Any], *, where: str) -> Program:
    """From a model's table.

    Raises:
        InputError: An unknown or wrong field, or the file is not said to be trusted.
        MissingData: No such file.
    """
    check_keys(table, ("format", "answers", "trusted"), where=where)
    fields = {"format": SUFFIXES.get(Path(name).suffix), **table}
    if fields.pop("trusted", False) is not True:
        raise InputError(
            f"{where}: {name} is a program, and opening it can run code from the file; where it is yours, "
            "add trusted = true"
        )
    sha256 = named_files([located(name)], where=where)
    return build(Program, {"path": name, "sha256": sha256, **fields}, where=where)


def load_program(reference: Program, *, shape: Shape, classes: int, where: str) -> Classifier | CallableVictim:
    """The model, in eval mode on the CPU.

    Raises:
        ModelError: It cannot be opened, takes something else than images, or changed since it was named.
    """
    where = f"{where}: {reference.path}"
    path = located(reference.path)
    if named_files([path], where=where) != reference.sha256:
        raise ModelError(f"{where}: the file changed after it was named; start again")
    network: nn.Module
    try:
        with warnings.catch_warnings(action="ignore"):  # torch announces the end of TorchScript at every load
            if reference.format == "torchscript":
                network = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
            else:
                network = _Exported(torch.export.load(str(path)))
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    except Exception as error:
        made = "torch.jit.save" if reference.format == "torchscript" else "torch.export.save"
        came = stray(path) or f"damaged, or not a file of {made}: {one_line(error)}; export or copy it again"
        raise ModelError(f"{where}: {came}") from None
    # its weights are not trained again; a copy of a TorchScript module would make those that want gradients no leaves
    for weight in network.parameters():
        weight.requires_grad_(False)
    if reference.answers == "logits":
        return as_it_is(network, shape=shape, classes=classes, kind=reference.format, content=reference.sha256)
    return CallableVictim(asked_only(network), where, reference.answers)


class _Exported(nn.Module):
    """An exported program as a module: it knows no training mode, and may take one number of images only."""

    def __init__(self, exported: Any) -> None:
        super().__init__()
        named = [node for node in exported.graph.nodes if node.op == "placeholder"]
        inputs = [node for node in named if node.name in exported.graph_signature.user_inputs]
        if len(inputs) != 1 or not isinstance(inputs[0].meta.get("val"), Tensor):
            raise ModelError(f"{len(inputs)} inputs; expected the images alone: export it so")
        first = inputs[0].meta["val"].shape[0]
        self.batch = first if isinstance(first, int) else None
        self.graph = exported.module()
        for part in self.modules():
            part.training = False

    @override
    def train(self, mode: bool = True) -> "_Exported":
        return self  # what it does was fixed when it was exported

    @override
    def forward(self, x: Images) -> Tensor:
        return in_batches(self.graph, x, self.batch)
