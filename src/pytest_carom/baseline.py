"""The file of a baseline: what a model answered to a suite, as JSON that a reviewer can read in a diff."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import carom
from carom.errors import InputError, StoreError
from carom.files import write_whole
from carom.scenarios.gates.ask import Answers

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a gate compares with.

    Attributes:
        test: "test_model.py::test_transfer".
        gate: Its name within the test.
        suite: Name of the suite.
        digest: Of the suite.
        sets: Names of its adversarial sets.
        answers: Which images were answered right.
    """

    test: str
    gate: str | None
    suite: str
    digest: str
    sets: tuple[str, ...]
    answers: Answers


def write_baseline(baseline: Baseline, path: Path) -> bool:
    """Write a baseline, whole or not at all; False where the file already says the same.

    Raises:
        StoreError: The file cannot be written.
    """
    answers = baseline.answers
    asr = answers.asr
    content: dict[str, Any] = {
        "format": FORMAT,
        "test": baseline.test,
        "gate": baseline.gate,
        "suite": {"name": baseline.suite, "digest": baseline.digest},
        "images": len(answers.clean),
        "carom": carom.__version__,
        "clean_accuracy": _rounded(answers.clean_accuracy),
        "robust_accuracy": _rounded(answers.robust_accuracy),
        "asr": None if math.isnan(asr) else _rounded(asr),
        "sets": [
            {"name": name, "accuracy": _rounded(float(right.mean())), "answers": _packed(right)}
            for name, right in zip(baseline.sets, answers.adversarial, strict=True)
        ],
        "clean_answers": _packed(answers.clean),
    }
    content["sha256"] = _digest(content)
    text = (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
    try:
        if path.is_file() and path.read_bytes() == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise StoreError(f"{path}: the baseline cannot be written: {error.strerror}") from None
    return True


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        InputError: It is damaged, was edited, or is of a newer version.
    """
    again = "restore it from version control, or make it anew with --robustness-update"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, Mapping):
            raise ValueError("not a table")
        if content["format"] != FORMAT:
            raise InputError(
                f"{path}: a baseline of format {content['format']!r}, this carom reads {FORMAT}; "
                "install a matching version, or make it anew with --robustness-update"
            )
        if content["sha256"] != _digest({k: v for k, v in content.items() if k != "sha256"}):
            raise InputError(f"{path}: the baseline was edited by hand; {again}")
        n = int(content["images"])
        return Baseline(
            test=str(content["test"]),
            gate=content["gate"],
            suite=str(content["suite"]["name"]),
            digest=str(content["suite"]["digest"]),
            sets=tuple(str(made["name"]) for made in content["sets"]),
            answers=Answers(
                clean=_unpacked(content["clean_answers"], n),
                adversarial=np.stack([_unpacked(made["answers"], n) for made in content["sets"]]),
            ),
        )
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: the baseline cannot be read: {error.strerror}") from None
    except (ArithmeticError, KeyError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a damaged baseline ({type(error).__name__}: {error}); {again}") from None


def _rounded(share: float) -> float:
    return round(share, 6)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _packed(right: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def _unpacked(text: str, n: int) -> NDArray[np.bool_]:
    data = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    if len(data) != (n + 7) // 8:
        raise ValueError(f"{len(data)} bytes of answers for {n} images")
    return np.unpackbits(data, count=n).astype(np.bool_)
