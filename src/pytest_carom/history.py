"""What gates judged, one file a verdict, for the explorer's page Gates. Loaded with the first gate that runs."""

import json
import math
import os
import re
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import carom
from carom.errors import StoreError
from carom.files import write_whole
from carom.scenarios.gates.ask import Answers
from carom.scenarios.gates.judge import Verdict
from carom.scenarios.gates.suite import Suite

FORMAT = 1
COMMITS = ("GITHUB_SHA", "CI_COMMIT_SHA")  # where GitHub and GitLab say which commit they build
FLIPPED = 100  # images of a verdict that are named, at most
_LONGEST = 100  # characters of a folder's name


def keep(
    store: Path,
    *,
    test: str,
    gate: str | None,
    baseline: str,
    suite: Suite,
    verdict: Verdict,
    before: Answers,
    now: Answers,
) -> Path:
    """Add a verdict to the history of its gate: `STORE/gates/GATE/TIME-PROCESS.json`, whole or not at all.

    Args:
        store: Folder of a store, which need not hold runs; it is made where it is not there.
        test: Its id.
        gate: Its name within the test.
        baseline: Path of the baseline from pytest's rootdir, or from where pytest was started if it is not inside, with
            slashes: what tells gates apart.
        suite: That was asked.
        verdict: What came of it.
        before: The baseline's answers.
        now: The model's.

    Raises:
        StoreError: It cannot be written.
    """
    time = datetime.now(UTC)
    content: dict[str, Any] = {
        "format": FORMAT,
        "time": time.isoformat(timespec="microseconds"),
        "test": test,
        "gate": gate,
        "baseline": baseline,
        "suite": {"name": suite.name, "digest": suite.digest},
        "images": len(suite),
        "verdict": verdict.verdict,
        "said": list(verdict.explain()),
        "level": verdict.level,
        "share": verdict.share,
        "checks": [asdict(check) for check in verdict.checks],
        **{
            name: {"before": _share(getattr(before, name)), "now": _share(getattr(now, name))}
            for name in ("clean_accuracy", "robust_accuracy", "asr")
        },
        "sets": [
            {
                "name": made.name,
                "before": _share(before.adversarial[i].mean()),
                "now": _share(now.adversarial[i].mean()),
            }
            for i, made in enumerate(suite.sets)
        ],
        "classes": [
            {
                "name": name,
                "images": int(mine.sum()),
                "before": _share(before.adversarial[:, mine].mean()),
                "now": _share(now.adversarial[:, mine].mean()),
            }
            for i, name in enumerate(suite.classes)
            if (mine := np.asarray(suite.labels == i)).any()
        ],
        "flipped": _flipped(suite, before, now),
        "commit": next((os.environ[name] for name in COMMITS if os.environ.get(name)), None),
        "carom": carom.__version__,
    }
    path = store / "gates" / slug(baseline) / f"{time:%Y%m%dT%H%M%S.%fZ}-{os.getpid()}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise StoreError(
            f"robustness_history: {store} cannot be written: {error.strerror}; make it writable or name another folder"
        ) from None
    return path


def _flipped(suite: Suite, before: Answers, now: Answers) -> dict[str, Any]:
    """The images that are right in fewer or in more sets than before: how many, and those that changed most."""
    then, right = before.adversarial.sum(0, dtype=np.int64), now.adversarial.sum(0, dtype=np.int64)
    change = right - then
    order = np.argsort(-np.abs(change), kind="stable")[: min(FLIPPED, int((change != 0).sum()))]
    return {
        "lost": int((change < 0).sum()),
        "won": int((change > 0).sum()),
        "sets": len(suite.sets),
        "images": [
            {
                "id": int(suite.ids[i]),
                "source": suite.sources[int(suite.image_source[i])],
                "class": suite.classes[int(suite.labels[i])],
                "before": int(then[i]),
                "now": int(right[i]),
            }
            for i in order
        ],
    }


def slug(baseline: str) -> str:
    """The folder of a gate; a short digest tells apart what is spelled alike."""
    plain = re.sub(r"[^A-Za-z0-9_.=+]+", "-", baseline.removesuffix(".json")).strip("-.") or "gate"
    return f"{plain[-_LONGEST:].strip('-.')}-{sha256(baseline.encode()).hexdigest()[:8]}"


def _share(value: float | np.floating[Any]) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)
