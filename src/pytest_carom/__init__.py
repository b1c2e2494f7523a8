"""The pytest plugin: a test that fails when a model's robust accuracy falls below its committed baseline.

    def test_transfer(robustness):
        robustness(model, suite="digits-standard")

Only pytest and the standard library are imported until a gate runs: every pytest run of a repository that has carom
installed loads this module. `baselines.py` knows which files there are and which are used, `gate.py` runs one gate,
`baseline.py` is the file, `history.py` keeps verdicts, `message.py` says what happened.
"""

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .baselines import SAID, Baselines, lines, plain_id

if TYPE_CHECKING:
    from carom.scenarios.gates.judge import Verdict

__all__ = ["Robustness", "RobustnessWarning", "robustness"]

PROPERTY = "carom-robustness"  # of a test and of a worker; a user's own may be called robustness
_BASELINES = pytest.StashKey[Baselines]()


class RobustnessWarning(UserWarning):
    """A gate passed that cannot tell: its suite has too few images for the allowance."""


class Robustness:
    """What the fixture `robustness` gives to a test."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._judged: set[Path] = set()

    def __call__(
        self,
        model: Any,
        *,
        suite: str | Path | None = None,
        scenario: str | Path | None = None,
        store: str | Path = ".carom",
        name: str | None = None,
        allowance: float | None = None,
        floor: float | None = None,
        per_class: float | None = None,
        per_case: float | None = None,
        conditions: Mapping[str, str] | None = None,
        device: str = "cpu",
    ) -> "Verdict":
        """Fail the test if the model is less robust than its baseline, by more than the allowance and than chance.

        All shares are of images: 0.02 is two points.

        Args:
            model: A module or a function from float images `n c h w` in [0, 1] to logits; or what a scenario would
                name as a victim, a string or a table; a file beside the test, or from the working directory.
            suite: A file ending in .suite, beside the test or in the working directory; or one that ships with carom.
            scenario: Instead of a suite: a scenario, whose adversarial sets are made once and kept in the store.
            store: Folder of the store, from pytest's rootdir.
            name: Tells the gates of one test apart.
            allowance: The drop of robust accuracy that is allowed; None for the ini option `robustness_allowance`.
            floor: The robust accuracy that must be kept, whatever the baseline.
            per_class: The drop that is allowed within each class.
            per_case: The drop that is allowed within the sets of each case, C1 to C8; needs `conditions`.
            conditions: The model's own `source`, `balance` and `architecture`, as the suite's scenario names them;
                "other" for one that it does not have.
            device: Where the model is asked; a function that is given by name is asked on the CPU.

        Returns:
            What was judged. With `--robustness-update`, the model against itself.
        """
        __tracebackhide__ = True
        from .gate import Wanted, run_gate  # loads torch

        config = self._request.config
        return run_gate(
            model,
            Wanted(
                suite=suite,
                scenario=scenario,
                store=store,
                name=name,
                allowance=_share(config, "robustness_allowance") if allowance is None else allowance,
                floor=floor,
                per_class=per_class,
                per_case=per_case,
                conditions=conditions,
                device=device,
                level=_share(config, "robustness_level"),
                history=_history(config),
            ),
            node=self._request.node,
            baselines=config.stash[_BASELINES],
            judged=self._judged,
            record=self._record,
        )

    def _record(self, said: Mapping[str, str]) -> None:
        # the properties of a test travel from an xdist worker to the controller, and into junit's XML
        self._request.node.user_properties.append((PROPERTY, json.dumps(said)))


@pytest.fixture
def robustness(request: pytest.FixtureRequest) -> Robustness:
    """A gate: `robustness(model, suite="digits-standard")` fails when the model is weaker than its baseline."""
    return Robustness(request)


# ----------------------------------------------------------------------------------------------------------- the hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    """Four options and three settings."""
    group = parser.getgroup("robustness", "baselines of robust accuracy (carom)")
    group.addoption(
        "--robustness-update",
        action="store_true",
        help="write the baselines of the gates that run, and remove those that no test uses",
    )
    group.addoption(
        "--robustness-update-new-only",
        action="store_true",
        help="write the baselines that are missing, judge the others",
    )
    group.addoption(
        "--robustness-strict",
        action="store_true",
        help="fail where a suite has too few images to tell, instead of warning",
    )
    group.addoption(
        "--robustness-history",
        metavar="STORE",
        help="keep what each gate judges in this store, for the page Gates of `carom app`",
    )
    parser.addini("robustness_history", "the same, from the ini file's folder", default="")
    parser.addini("robustness_allowance", "drop of robust accuracy that is allowed, share of images", default="0.02")
    parser.addini(
        "robustness_level",
        "chance that any model of a folder is called weaker although none is weaker than allowed",
        default="0.05",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what cannot be meant before a test runs."""
    update, new_only = config.getoption("robustness_update"), config.getoption("robustness_update_new_only")
    if update and new_only:
        raise pytest.UsageError(
            "--robustness-update and --robustness-update-new-only: expected one; the first rewrites"
        )
    if not 0 <= _share(config, "robustness_allowance") < 1:
        raise pytest.UsageError("robustness_allowance: expected a share of images from 0 to below 1, such as 0.02")
    if not 0 < _share(config, "robustness_level") < 0.5:
        raise pytest.UsageError("robustness_level: expected a chance above 0 and below 0.5, such as 0.05")
    arguments = [str(argument) for argument in config.args]
    config.stash[_BASELINES] = Baselines(
        update=update,
        new_only=new_only,
        strict=config.getoption("robustness_strict"),
        whole=not any("::" in argument for argument in arguments)
        and not config.getoption("lf", False)
        and not config.getoption("collectonly", False),
        roots=tuple(config.invocation_params.dir / argument for argument in arguments),
    )


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Which test files were collected, and without an error."""
    report = yield
    if isinstance(collector, pytest.File | pytest.Class):
        collector.config.stash[_BASELINES].collected(collector.path, whole=report.outcome == "passed")
    elif isinstance(collector, pytest.Directory):
        collector.config.stash[_BASELINES].add_folder(collector.path)
    return report


def pytest_itemcollected(item: pytest.Item) -> None:
    """Which tests there are, those that `-k` leaves out among them."""
    item.config.stash[_BASELINES].add_test(item.path, plain_id(item))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the baselines before the first test: what this run writes changes no verdict of this run."""
    baselines = session.config.stash[_BASELINES]
    for folder in {item.path.parent for item in session.items if "robustness" in getattr(item, "fixturenames", ())}:
        baselines.count(folder)


class _Reports:
    """Hears of every test; a plugin of its own, since a report does not lead to its session."""

    def __init__(self, baselines: Baselines) -> None:
        self._baselines = baselines

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        baselines = self._baselines
        if report.when == "call" and report.outcome == "passed":
            baselines.passed.add(report.nodeid)
        elif report.outcome == "failed":
            baselines.passed.discard(report.nodeid)
        if report.when == "teardown":
            told = [_said(value) for name, value in report.user_properties if name == PROPERTY]
            baselines.said += [said for said in told if said is not None]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Listen to the tests' reports."""
    session.config.pluginmanager.register(_Reports(session.config.stash[_BASELINES]), "robustness-reports")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """With xdist only workers collect; what they found comes to the controller at their end."""
    found = getattr(node, "workeroutput", {}).get(PROPERTY)
    if found is not None:
        node.config.stash[_BASELINES].receive(found)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A baseline that no test uses fails the run: what it guarded is not guarded any more."""
    baselines = session.config.stash[_BASELINES]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[PROPERTY] = baselines.found()
        return
    nothing = pytest.ExitCode.NO_TESTS_COLLECTED
    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, nothing):
        return
    if baselines.settle() and exitstatus in (pytest.ExitCode.OK, nothing):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What every gate found, where gates ran."""
    text = lines(config.stash[_BASELINES], config.invocation_params.dir)
    if text:
        terminalreporter.section("robustness")
        for line in text:
            terminalreporter.write_line(line)


def _said(value: object) -> dict[str, str] | None:
    """What a gate recorded; None for what is not a gate's."""
    try:
        said = json.loads(str(value))
    except (ValueError, RecursionError):
        return None
    known = isinstance(said, dict) and set(said) == SAID and all(isinstance(text, str) for text in said.values())
    return said if known else None


def _share(config: pytest.Config, name: str) -> float:
    given = config.getini(name)
    try:
        return float(given)
    except (TypeError, ValueError):
        raise pytest.UsageError(f"{name}: expected a number such as 0.02, got {given!r}") from None


def _history(config: pytest.Config) -> Path | None:
    """The store that verdicts are kept in: of the command line, from where it was typed, or of the ini file."""
    option, ini = str(config.getoption("robustness_history") or ""), str(config.getini("robustness_history"))
    if option:
        return config.invocation_params.dir / option
    return (config.inipath.parent if config.inipath else config.rootpath) / ini if ini else None
