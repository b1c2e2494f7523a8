"""Suites as tables: what is in one, how a model fared, how much equal trainings differ."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from carom.errors import InputError
from carom.scenarios.statistics import wilson
from carom.scenarios.tables.rates import Shown

from .ask import Answers
from .suite import SUFFIX, Suite

if TYPE_CHECKING:
    from .calibrate import Calibration


def load_victim(text: str, suite: Suite) -> Callable[..., Any]:
    """The model of a name, or of an inline table of TOML, for the images and classes of a suite.

    Raises:
        InputError: The text names no model.
        MissingData: Its file is not there.
        ModelError: It is a model of another task.
    """
    from .named import named_model

    named: Any = text
    if text.lstrip().startswith("{"):
        try:
            named = tomllib.loads(f"victim = {text}")["victim"]
        except tomllib.TOMLDecodeError as error:
            raise InputError(
                f"victim {text!r}: no inline table of TOML ({error}); write it as '{{model = \"model.onnx\"}}'"
            ) from None
    return named_model(named, suite, where="victim")


def check_output(path: Path) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Raises:
        InputError: Another suffix, or no such folder.
    """
    if path.suffix != SUFFIX:
        raise InputError(f"carom suite build: {path}: expected a name that ends in {SUFFIX}")
    if not path.resolve().parent.is_dir():
        raise InputError(f"carom suite build: {path.parent} is not a folder; make it first")


def about(suite: Suite, path: Path) -> Shown:
    """What is in a suite."""
    rows = [
        {
            "set": made.name,
            "surrogate": made.surrogate,
            "attack": made.attack,
            "budget": f"{made.norm} {made.eps}",
            "victims": made.strength.victims if made.strength else 0,
            "ASR": made.strength.asr if made.strength else np.nan,
            "robust accuracy": made.strength.robust_accuracy if made.strength else np.nan,
        }
        for made in suite.sets
    ]
    return Shown(
        name="suite",
        title=f"{suite.name}: {len(suite.sets)} adversarial sets of the same {len(suite)} images of {suite.task}",
        frame=pd.DataFrame(rows),
        forms={
            "attack": "text",
            "budget": "text",
            "surrogate": "text",
            "victims": "count",
            "ASR": "percent",
            "robust accuracy": "percent",
        },
        notes=(
            "ASR and robust accuracy: means over the scenario's victims that are other models than the surrogate.",
            f"{path}: {path.stat().st_size / 1e6:.1f} MB, digest {suite.digest[:16]}",
        ),
    )


def fared(suite: Suite, name: str, answers: Answers) -> Shown:
    """How a model answered a suite."""
    n = int(answers.clean.sum())
    won = (~answers.adversarial & answers.clean).sum(1)
    low, high = wilson(won, np.full(len(won), n))
    rows: list[dict[str, Any]] = [
        {
            "attack": made.attack,
            "budget": f"{made.norm} {made.eps}",
            "surrogate": made.surrogate,
            "n": n,
            "ASR": k / n if n else np.nan,
            "low": low[i],
            "high": high[i],
            "robust accuracy": answers.adversarial[i].mean(),
            "reference ASR": made.strength.asr if made.strength else np.nan,
        }
        for i, (made, k) in enumerate(zip(suite.sets, won, strict=True))
    ]
    every = {"attack": "all", "budget": "", "surrogate": "", "n": n, "ASR": answers.asr}
    rows.append({**every, "low": np.nan, "high": np.nan, "robust accuracy": answers.robust_accuracy})
    return Shown(
        name="suite-run",
        title=f"{name} on {suite.name}: clean accuracy {answers.clean_accuracy:.1%} of {len(suite)} images",
        frame=pd.DataFrame(rows),
        forms={
            "attack": "text",
            "budget": "text",
            "surrogate": "text",
            "n": "count",
            "ASR": "percent",
            "low": "percent",
            "high": "percent",
            "robust accuracy": "percent",
            "reference ASR": "percent",
        },
        notes=(
            "n: images that the model gets right clean; ASR: of those, the share that it then gets wrong.",
            "low, high: 95% Wilson interval; ranges over images, for this model. Robust accuracy: over all images.",
            "all: means over the sets. reference ASR: mean over the victims that the suite was made with.",
        ),
    )


def calibrated(suite: Suite, names: Sequence[str], found: "Calibration") -> Shown:
    """How much equal trainings differ, and what a gate should allow."""
    frame = pd.DataFrame({"training": list(names), "robust accuracy": found.accuracies})
    k = len(names)
    return Shown(
        name="calibration",
        title=f"{suite.name}: allowance={found.allowance:.3f} for these trainings",
        frame=frame.assign(mean=found.mean, sd=found.sd, share=found.share, allowance=found.allowance),
        forms={"training": "text", "robust accuracy": "percent"},
        notes=(
            f"Mean {found.mean:.1%}, standard deviation between trainings {100 * found.sd:.2f} points, largest drop "
            f"from one to another {100 * found.largest:.1f} points; all on the same {len(suite)} images.",
            f"Allowance: t({k - 1}) x sd x sqrt(2), so a further equal training falls by more in at most "
            f"{100 * found.share:g}% of the cases, if robust accuracies of trainings are normal.",
            f"In a test: robustness(model, suite=..., allowance={found.allowance:.3f})",
        ),
    )
