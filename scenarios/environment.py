"""With what a piece of work was done: recorded beside it, and in no key.

It is asked for where the work is done, so a run whose workers are on other machines, or that was finished after an
upgrade, says of each artefact and of each attempt what made it.
"""

import hashlib
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import carom

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


FOLDERS = ("attacks", "defenses", "scenarios", "surrogates", "zoo")


@cache
def code_digest() -> str:
    """sha256 over every file of the package, as they were when this process first asked: what it works with.

    A run asks when it is imported, not when it ends: files that are edited meanwhile are not the code that ran.
    """
    package = Path(carom.__file__).resolve().parent
    total = hashlib.sha256()
    for folder in (package, *(package / name for name in FOLDERS)):
        # the folders may be links, which rglob does not follow by itself
        for path in sorted(folder.resolve().rglob("*")):
            if path.suffix in (".py", ".toml", ".npz"):
                total.update(path.name.encode())
                total.update(path.read_bytes())
    return total.hexdigest()


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
