"""What a gate says to the one who reads the test's output."""

import shlex

import numpy as np
from numpy.typing import NDArray

from carom.scenarios.gates.ask import Answers
from carom.scenarios.gates.judge import Verdict
from carom.scenarios.gates.suite import Suite

from .baseline import Baseline
from .baselines import FOLDER

_MOST = 0.005  # a smaller drop of a set or a class is not worth naming


def command(option: str, test: str) -> str:
    """What to type."""
    return f"pytest {option} {shlex.quote(test)}"


def full(
    verdict: Verdict, suite: Suite, before: Answers, now: Answers, *, baselines: int, baseline: str, test: str
) -> str:
    """The failure: what fell and how sure that is, where most, compared with what, and how to accept it."""
    first, *others = verdict.explain()
    asr = f"ASR {_percent(before.asr)} -> {_percent(now.asr)}"
    clean = f"clean accuracy {_percent(before.clean_accuracy)} -> {_percent(now.clean_accuracy)}"
    text = [first, *(f"  {other}" for other in others)]
    text.append(f"  suite {suite.name}: {_sets(len(suite.sets))} of the same {len(suite)} images; {asr}; {clean}")
    most = [part for part in (_worst_set(suite, before, now), _worst_class(suite, before, now)) if part]
    if most:
        text.append(f"  most in: {'; '.join(most)}")
    checks = len(verdict.checks)
    each = f"each of {checks} checks of " if checks > 1 else ""
    if baselines > 1 or checks > 1:
        shared = f"{baselines} baseline{'s' if baselines > 1 else ''} in {FOLDER}"
        text.append(
            f"  certainty {_certainty(verdict.share)} for {each}{'each of ' if baselines > 1 else ''}{shared}, "
            f"{_certainty(verdict.level)} for all together"
        )
    text.append(f"  baseline: {baseline}")
    text.append(f"  to accept: {command('--robustness-update', test)}")
    return "\n".join(text)


def line(verdict: Verdict, suite: Suite) -> str:
    """One line for the summary."""
    return f"{verdict.explain()[0]} (suite {suite.name}, {_sets(len(suite.sets))} of {len(suite)} images)"


def written(baseline: str, before: Answers | None, new: Baseline, floor: float | None) -> str:
    """What was written, for the summary."""
    now = new.answers
    was = "" if before is None else f"{_percent(before.robust_accuracy)} -> "
    was_clean = "" if before is None else f"{_percent(before.clean_accuracy)} -> "
    missed = f" (misses the floor of {_percent(floor)})" if floor is not None and now.robust_accuracy < floor else ""
    return (
        f"{baseline}: robust accuracy {was}{_percent(now.robust_accuracy)}{missed}, clean accuracy {was_clean}"
        f"{_percent(now.clean_accuracy)} (suite {new.suite}, {_sets(len(new.sets))} of {len(now.clean)} images)"
    )


def _worst_set(suite: Suite, before: Answers, now: Answers) -> str | None:
    if len(suite.sets) == 1:
        return None
    return _worst([made.name for made in suite.sets], before.adversarial.mean(1), now.adversarial.mean(1))


def _worst_class(suite: Suite, before: Answers, now: Answers) -> str | None:
    there = np.unique(suite.labels)
    shares = [
        np.array([answers.adversarial[:, suite.labels == label].mean() for label in there]) for answers in (before, now)
    ]
    return _worst([f'class "{suite.classes[label]}"' for label in there], *shares)


def _worst(names: list[str], before: NDArray[np.float64], now: NDArray[np.float64]) -> str | None:
    i = int(np.argmax(before - now))
    if before[i] - now[i] < _MOST:
        return None
    return f"{names[i]} ({_percent(float(before[i]))} -> {_percent(float(now[i]))})"


def _sets(count: int) -> str:
    return f"{count} adversarial set{'s' if count > 1 else ''}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _certainty(share: float) -> str:
    return f"{int(1e4 * (1 - share) + 1e-6) / 100:g}%"
