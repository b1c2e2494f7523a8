"""With what a piece of work was done: recorded beside it, and in no key.

It is asked for where the work is done, so a run whose workers are on other machines, or that was finished after an
upgrade, says of each artefact and of each attempt what made it.
"""

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Every library whose numbers can be in a result: it computes, brings data or models, decodes or stores them.
LIBRARIES = (
    "carom",
    "torch",
    "torchvision",
    "timm",
    "torchmetrics",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "safetensors",
    "torchattacks",
    "pyautoattack",
    "botorch",
    "gpytorch",
    "pymoo",
    "laplace-torch",
    "onnxruntime",
    "transformers",
    "robustbench",
)


@cache
def versions() -> Mapping[str, str]:
    """Of the libraries that are installed, as they were when this process first asked."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def environment(device: str) -> dict[str, Any]:
    """Where this process works, and with what: host, device, threads, Python and libraries.

    Args:
        device: As torch names it.
    """
    import torch

    return {
        "host": platform.node(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "devices": [device],
        "threads": torch.get_num_threads(),
        **_processor(device),
        "versions": {**versions(), "torch": str(torch.__version__)},  # which names its build, such as +cpu
    }


@cache
def _processor(device: str) -> Mapping[str, Any]:
    """What the device is, as far as its arithmetic may differ from another's."""
    import torch

    if not device.startswith("cuda"):
        return {"processor": f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"}
    return {
        "processor": torch.cuda.get_device_name(device),
        "capability": ".".join(map(str, torch.cuda.get_device_capability(device))),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "driver": _driver(),
    }


def _driver() -> str:
    """The version of the GPU's driver, where Linux says it."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text().split()
    except OSError:
        return "unknown"
    return next((word for word in words if word[:1].isdigit() and "." in word), "unknown")
