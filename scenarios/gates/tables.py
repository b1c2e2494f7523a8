"""Suites as tables: what is in one, how a model fared, how much equal trainings differ."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carom.scenarios.statistics import wilson
from carom.scenarios.tables.table import Table

from .ask import Answers
from .calibrate import Calibration
from .suite import Suite


def show_suite(suite: Suite, path: Path) -> Table:
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
    return Table(
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


def show_answers(suite: Suite, name: str, answers: Answers) -> Table:
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
    return Table(
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


def show_calibration(suite: Suite, names: Sequence[str], found: Calibration) -> Table:
    """How much equal trainings differ, and what a gate should allow."""
    frame = pd.DataFrame({"training": list(names), "robust accuracy": found.accuracies})
    k = len(names)
    return Table(
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
