"""Networks that others trained, as their files have them: `CAROM_PUBLISHED_DIR` names the folder of the files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from carom.errors import ModelError
from carom.identity import file_digest
from carom.zoo.architectures import Architecture
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.outside.weights_file import WeightsFile
from carom.zoo.models.references import load_reference
from carom.zoo.preprocessing import Preprocessing, Shape

MISSING = "set CAROM_PUBLISHED_DIR to a folder of published networks"


def folder() -> Path | None:
    """Where the files are; None where nobody says so."""
    named = os.environ.get("CAROM_PUBLISHED_DIR", "")
    return Path(named) if named and Path(named).is_dir() else None


@dataclass(frozen=True, kw_only=True)
class TwoConvolutions:
    """Two convolutions of 4x4 that halve the image, to 16 and 32 channels, then 100 features."""

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Wong and Kolter 2018, arXiv:1711.00851"
    family: ClassVar[str] = "cnn"

    def network(self, shape: Shape, classes: int) -> nn.Module:
        channels, rows, columns = shape
        return nn.Sequential(
            nn.Conv2d(channels, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * (rows // 4) * (columns // 4), 100),
            nn.ReLU(),
            nn.Linear(100, classes),
        )


def classifier(path: Path, architecture: Architecture, shape: Shape, preprocessing: Preprocessing) -> Classifier:
    """A file of weights as carom reads every other one, in eval mode; ten classes."""
    named = WeightsFile(
        path=str(path), sha256=file_digest(path), architecture=architecture, preprocessing=preprocessing
    )
    loaded = load_reference(named, shape=shape, classes=10, where=path.name)
    assert isinstance(loaded, Classifier)
    return loaded


def dense_network(path: Path) -> nn.Sequential:
    """The fully connected network of an ONNX file as a torch module, float32, in eval mode.

    Raises:
        ModelError: It does something else than flatten, multiply, add and clip below 0.
    """
    graph = onnx.load(path).graph
    stored = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    layers: list[nn.Module] = []
    for node in graph.node:
        if node.op_type == "Flatten":
            layers.append(nn.Flatten())
        elif node.op_type == "Relu":
            layers.append(nn.ReLU())
        elif node.op_type == "Gemm":
            weight, bias = stored[node.input[1]], stored[node.input[2]]
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict({"weight": weight, "bias": bias})
            layers.append(linear)
        else:
            raise ModelError(f"{path}: {node.op_type}: expected a fully connected network with ReLU")
    return nn.Sequential(*layers).eval()
