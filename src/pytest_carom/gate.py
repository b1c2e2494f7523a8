"""One gate: what a model answers to a suite, against the baseline. Loaded when a gate runs, since it needs torch."""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from carom.errors import CaromError, InputError, ModelError
from carom.scenarios.axes import CONDITIONS
from carom.scenarios.cases import case, case_of
from carom.scenarios.gates.ask import Answers, ask_suite, draws_by_image
from carom.scenarios.gates.judge import Limits, Verdict, judge
from carom.scenarios.gates.suite import Suite, find_suite, read_suite

from . import RobustnessWarning, message
from .baseline import Baseline, read_baseline, write_baseline
from .baselines import Baselines, baseline_path, named, plain_id, shown, test_id
from .history import keep

OTHER = "other"  # a condition that no surrogate of the suite has
NEAR = 0.85  # share of letters in common from which a condition is taken for a slip


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a test asks for; see `Robustness.__call__`."""

    suite: object
    scenario: object
    store: object
    name: str | None
    allowance: object
    floor: object
    per_class: object
    per_case: object
    conditions: Mapping[str, str] | None
    device: object
    level: float
    history: Path | None


def run_gate(
    model: Any,
    wanted: Wanted,
    *,
    node: pytest.Item,
    baselines: Baselines,
    judged: set[Path],
    record: Callable[[Mapping[str, str]], None],
) -> Verdict:
    """Ask, compare, and fail the test at the call where the model is weaker or something is wrong.

    Args:
        model: As a test gives it.
        wanted: As a test gives it.
        node: The test.
        baselines: Of the session.
        judged: Baselines that this run of the test has judged.
        record: Keeps what was found for the summary.
    """
    __tracebackhide__ = True
    own = test_id(node.path, plain_id(node)).partition("::")[2]
    test = f"{shown(node.path, node.config.invocation_params.dir)}::{own}"
    path: Path | None = None
    status, line, failure, doubt = "failed", "", "", ""
    verdict: Verdict | None = None
    try:
        path = _path(node, wanted.name)
        status, line, failure, doubt, verdict = _outcome(model, wanted, node, path, baselines, judged, test)
    except CaromError as error:
        line = " ".join(str(error).split())
        failure = f"robustness: {line}"
    record({"test": test, "baseline": "" if path is None else str(path), "status": status, "line": line})
    if doubt:
        try:
            warnings.warn(RobustnessWarning(doubt), stacklevel=3)
        except RobustnessWarning:  # warnings are errors here
            failure = doubt
    if failure:
        pytest.fail(failure, pytrace=False)
    assert verdict is not None
    return verdict


def _outcome(
    model: Any, wanted: Wanted, node: pytest.Item, path: Path, baselines: Baselines, judged: set[Path], test: str
) -> tuple[str, str, str, str, Verdict]:
    """Status, line of the summary, failure, warning, verdict."""
    start = node.config.invocation_params.dir
    where = shown(path, start)
    if path in judged or baselines.judged.get(path, node.nodeid) != node.nodeid:
        raise InputError(f'{where}: two gates of one name; tell them apart: robustness(..., name="NAME")')
    judged.add(path)
    baselines.judged[path] = node.nodeid
    writes = baselines.update or (baselines.new_only and not path.exists())
    if not writes and not path.exists():
        raise InputError(f"{where}: no baseline; to make it: {message.command('--robustness-update-new-only', test)}")
    limits = _limits(wanted)
    suite = _suite(wanted, baselines, node)
    old = None if writes else _comparable(path, where, suite, node, wanted.name, test)
    cases = _cases(suite, wanted)
    count = baselines.count(node.path.parent)
    now = _answers(model, suite, wanted.device, node.path.parent)
    verdict = judge(
        now if old is None else old.answers,
        now,
        suite.labels,
        suite.classes,
        limits,
        level=wanted.level,
        baselines=count,
        cases=cases,
    )
    if old is None:
        new = Baseline(
            test=test_id(node.path, plain_id(node)),
            gate=wanted.name,
            suite=suite.name,
            digest=suite.digest,
            sets=tuple(made.name for made in suite.sets),
            answers=now,
        )
        before, status = _readable(path), "written" if path.exists() else "new"
        if not write_baseline(new, path):
            status = "unchanged"
        return status, message.written(where, before, new, limits.floor), "", "", verdict
    if wanted.history is not None:
        keep(
            wanted.history,
            test=f"{named(node.path, node.config)}::{test_id(node.path, plain_id(node)).partition('::')[2]}",
            gate=wanted.name,
            baseline=named(path, node.config),
            suite=suite,
            verdict=verdict,
            before=old.answers,
            now=now,
        )
    status, line = verdict.verdict, message.line(verdict, suite)
    if status == "holds":
        return status, line, "", "", verdict
    full = message.full(verdict, suite, old.answers, now, baselines=count, baseline=where, test=test)
    if status == "cannot tell" and not baselines.strict:
        return status, line, "", verdict.explain()[0], verdict
    return status, line, full, "", verdict


def _path(node: pytest.Item, name: object) -> Path:
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise InputError(f"name={name!r}: expected a word that tells this gate from the others of the test")
    return baseline_path(node, name)


def _limits(wanted: Wanted) -> Limits:
    """What is allowed; a number of numpy is a number."""
    given: dict[str, Any] = {
        "allowance": wanted.allowance,
        "floor": wanted.floor,
        "per_class": wanted.per_class,
        "per_case": wanted.per_case,
    }
    return Limits(**{name: share.item() if isinstance(share, np.generic) else share for name, share in given.items()})


def _suite(wanted: Wanted, baselines: Baselines, node: pytest.Item) -> Suite:
    """The suite, read once a session."""
    if (wanted.suite is None) == (wanted.scenario is None):
        came = "both" if wanted.suite is not None else "neither"
        raise InputError(f'suite, scenario: {came} given; expected one of them, such as suite="digits-standard"')
    what, given = ("suite", wanted.suite) if wanted.suite is not None else ("scenario", wanted.scenario)
    if not isinstance(given, str | Path) or not str(given).strip():
        raise InputError(f"{what}={given!r}: expected a file or a name, such as {what}='digits-standard'")
    if not isinstance(wanted.store, str | Path):
        raise InputError(f"store={wanted.store!r}: expected a folder, such as store='.carom'")
    if what == "suite":
        path = find_suite(_beside(node, given)).resolve()
        if path not in baselines.suites:
            baselines.suites[path] = read_suite(path)
        found: Suite = baselines.suites[path]
        return found
    store, scenario = node.config.rootpath / wanted.store, str(_beside(node, given))
    key = store / scenario
    if key not in baselines.suites:
        from carom.scenarios.gates.freeze import suite_of  # loads what runs scenarios

        baselines.suites[key] = suite_of(scenario, store)
    made: Suite = baselines.suites[key]
    return made


def _beside(node: pytest.Item, given: str | Path) -> str | Path:
    """The file beside the test if there is one: a test runs from any working directory."""
    file = node.path.parent / given
    try:
        return file if file.is_file() else given
    except (OSError, ValueError):  # no name of a file
        return given


def _comparable(path: Path, where: str, suite: Suite, node: pytest.Item, name: str | None, test: str) -> Baseline:
    """The baseline, if it is of this gate and this suite."""
    found = read_baseline(path)
    mine = test_id(node.path, plain_id(node))
    if (found.test, found.gate) != (mine, name):
        whose = found.test if found.gate is None else f"{found.test} name={found.gate!r}"
        raise InputError(
            f'{where}: the baseline of {whose}, not of {mine}; tell them apart: robustness(..., name="NAME"), or take '
            f"it over: {message.command('--robustness-update', test)}"
        )
    if (found.digest, found.sets, len(found.answers.clean)) != (
        suite.digest,
        tuple(made.name for made in suite.sets),
        len(suite),
    ):
        raise InputError(
            f"{where}: not comparable: the baseline is of suite {found.suite} ({found.digest[:12]}, {len(found.sets)} "
            f"sets of {len(found.answers.clean)} images), this is {suite.name} ({suite.digest[:12]}, "
            f"{len(suite.sets)} sets of {len(suite)}); to start anew: {message.command('--robustness-update', test)}"
        )
    return found


def _readable(path: Path) -> Answers | None:
    """What a baseline that is rewritten said, for the summary; None if there is none or it is damaged."""
    try:
        return read_baseline(path).answers
    except InputError:
        return None


def _cases(suite: Suite, wanted: Wanted) -> list[str] | None:
    """The case of each set: what its surrogate and the model have in common."""
    own = wanted.conditions
    if own is None:
        if wanted.per_case is not None:
            raise InputError(
                "per_case: without conditions; say what the model was trained on, as the suite's scenario names it: "
                'conditions={"source": ..., "balance": ..., "architecture": ...}'
            )
        return None
    if not isinstance(own, Mapping) or set(own) != set(CONDITIONS):
        raise InputError(f"conditions={own!r}: expected a table of {', '.join(CONDITIONS)}")
    for name in CONDITIONS:
        _check_condition(name, own[name], suite)
    return [
        case_of(case(False, *(made.axes[name] == own[name] for name in CONDITIONS))).name
        if all(name in made.axes for name in CONDITIONS)
        else "C?"
        for made in suite.sets
    ]


def _check_condition(name: str, value: object, suite: Suite) -> None:
    """Refuse what is probably a slip: it would sort every set into the case of another model."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"conditions: {name}={value!r}; expected a word, as the suite's scenario spells it")
    known = {made.axes[name] for made in suite.sets if name in made.axes}
    known |= set(suite.sources) if name == "source" else set()
    if value in known or value == OTHER:
        return
    near = next((one for one in sorted(known) if _alike(value, one)), None)
    another = f'write "{OTHER}" for a model of another {name}'
    if near is not None:
        raise InputError(f"conditions: {name}={value!r} is not the suite's; did you mean {near!r}? {another}")
    if name == "source":
        raise InputError(f"conditions: source={value!r} is none of the suite's ({', '.join(sorted(known))}); {another}")


def _alike(one: str, other: str) -> bool:
    """The same but for case and marks; or nearly, with the same numbers: resnet18 is no slip for resnet34."""
    one, other = (re.sub(r"[\W_]+", "", text.casefold()) for text in (one, other))
    numbers = [re.findall(r"\d+", text) for text in (one, other)]
    return one == other or (numbers[0] == numbers[1] and SequenceMatcher(None, one, other).ratio() >= NEAR)


def _answers(model: Any, suite: Suite, device: object, folder: Path) -> Answers:
    if not isinstance(device, str | torch.device):
        raise InputError(f'device={device!r}: expected a name, such as "cpu" or "cuda"')
    name = "the model"
    if isinstance(model, str | Mapping):
        from carom.scenarios.gates.named import named_model  # loads timm and torchvision

        name = str(model.get("model", "model")) if isinstance(model, Mapping) else model
        model = named_model(model, suite, folder=folder)
    elif not callable(model):
        raise InputError(
            f"model: expected a module or a function of images, or what names one; got {type(model).__name__}"
        )
    _repeats(model, name)
    return ask_suite(model, suite, name=name, device=str(device))


def _repeats(model: Callable[..., Any], name: str) -> None:
    if not getattr(model, "deterministic", True) and not draws_by_image(model):
        raise ModelError(
            f"{name}: declares deterministic = false, so its verdict would not repeat; draw by a fixed seed and leave "
            "that out, or give the model answer(x, ids), whose draws follow from the images' ids"
        )
