"""A baseline that no test uses fails the run, but only where the run can know."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import PLUGIN, QUICK, Run

Write = Callable[..., None]
GATE = "def test_transfer(robustness):\n    robustness(Model(), suite='tiny.suite')"
OTHER = "def test_other(robustness):\n    robustness(Model(), suite='tiny.suite')"
FILE = "robustness_baselines/test_model/transfer.json"


@pytest.fixture
def two(run: Run, write: Write) -> None:
    """A file with two gates and their baselines."""
    write(test_model=f"{GATE}\n\n{OTHER}")
    run("--robustness-update").assert_outcomes(passed=2)


def unused(result: pytest.RunResult) -> list[str]:
    return [line.split(":")[0].split()[1] for line in result.stdout.lines if line.startswith("UNUSED")]


@pytest.mark.usefixtures("two")
def test_the_baseline_of_a_test_that_is_gone(run: Run, write: Write, repository: Path) -> None:
    write(test_model=OTHER)
    red = run()
    red.assert_outcomes(passed=1)
    assert red.ret == pytest.ExitCode.TESTS_FAILED
    red.stdout.fnmatch_lines(
        [
            f"UNUSED *{FILE}: there is no test test_model.py::test_transfer",
            "*guards nothing: delete it, or have it removed: pytest --robustness-update",
        ]
    )
    assert (repository / FILE).exists()
    update = run("--robustness-update")
    update.stdout.fnmatch_lines([f"removed *{FILE}: there is no test*"])
    assert update.ret == 0
    assert not (repository / FILE).exists()
    assert run().ret == 0


@pytest.mark.usefixtures("two")
def test_the_baseline_of_a_test_that_passes_without_it(run: Run, write: Write) -> None:
    write(test_model=f"def test_transfer():\n    pass\n\n{OTHER}")
    red = run()
    assert red.ret == pytest.ExitCode.TESTS_FAILED
    assert unused(red) == [FILE]
    assert "test_model.py::test_transfer passed without asking for it" in red.stdout.str()


NOT_KNOWN = {
    "it is deselected": (GATE, ("-k", "other")),
    "its test is named": (GATE, ("test_model.py::test_other",)),
    "it is skipped": (f"@pytest.mark.skip\n{GATE}", ()),
    "it skips itself": ("def test_transfer():\n    pytest.skip('no network')", ()),
    "it fails": ("def test_transfer():\n    assert False", ()),
    "its set-up fails": ("@pytest.fixture\ndef model():\n    1 / 0\n\ndef test_transfer(model):\n    pass", ()),
    "its file cannot be imported": ("1 / 0", ("--continue-on-collection-errors",)),
    "its file skips itself": ("pytest.skip('no network', allow_module_level=True)", ()),
    "only collected": (GATE, ("--collect-only",)),
    "stopped before it": ("def test_a():\n    assert False\n\n" + GATE, ("-x",)),
}


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("why", NOT_KNOWN)
def test_nothing_is_said_where(why: str, run: Run, write: Write) -> None:
    test, options = NOT_KNOWN[why]
    write(test_model=f"{test}\n\n{OTHER}", test_beside="def test_beside():\n    pass")
    assert unused(run(*options)) == []


@pytest.mark.usefixtures("two")
def test_the_baselines_of_a_file_that_is_gone_or_emptied(run: Run, write: Write, repository: Path) -> None:
    write(test_beside="def test_beside():\n    pass")
    write(test_model="")
    assert len(unused(run())) == 2
    (repository / "test_model.py").unlink()
    gone = run()
    assert gone.ret == pytest.ExitCode.TESTS_FAILED
    assert len(unused(gone)) == 2
    assert "its test file test_model.py is gone" in gone.stdout.str()
    assert run("--robustness-update").ret == 0
    assert not (repository / "robustness_baselines").exists()


@pytest.mark.usefixtures("two")
def test_a_folder_that_is_not_collected_is_left_alone(run: Run, repository: Path) -> None:
    (repository / "elsewhere").mkdir()
    (repository / "elsewhere" / "test_else.py").write_text("def test_else():\n    pass\n")
    (repository / "test_model.py").unlink()
    assert run("elsewhere", "--robustness-update").ret == 0
    assert (repository / FILE).exists()


@pytest.mark.usefixtures("two")
def test_after_last_failed_nothing_is_unused(pytester: pytest.Pytester, write: Write) -> None:
    write(test_model=f"{GATE.replace('Model()', 'Model(0.9)')}\n\n{OTHER}")
    pytester.runpytest_inprocess(*PLUGIN, *QUICK).assert_outcomes(failed=1, passed=1)
    last = pytester.runpytest_inprocess(*PLUGIN, *QUICK, "--lf")
    last.assert_outcomes(failed=1)
    assert unused(last) == []


@pytest.mark.usefixtures("two")
def test_another_file_of_the_same_name_is_not_the_test_file(run: Run, repository: Path) -> None:
    (repository / "test_model.md").write_text(">>> 1 + 1\n2\n")
    for options in ((), ("--robustness-update",)):
        both = run("--doctest-glob=*.md", "test_model.md", "test_model.py", *options)
        both.assert_outcomes(passed=3)
        assert both.ret == 0
        only = run("--doctest-glob=*.md", "test_model.md", *options)  # test_model.py was not collected
        assert (only.ret, unused(only)) == (0, [])
    assert (repository / FILE).exists()


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("beside", [True, False])
def test_the_last_test_file_of_a_folder_is_gone(beside: bool, run: Run, repository: Path) -> None:
    folder = repository / "tests" / "models"
    folder.mkdir(parents=True)
    for name in ("test_model.py", "robustness_baselines"):
        (repository / name).rename(folder / name)
    if beside:
        (repository / "tests" / "test_beside.py").write_text("def test_beside():\n    pass\n")
    (folder / "test_model.py").rename(folder / "model_test_old.py")
    red = run()
    assert red.ret == pytest.ExitCode.TESTS_FAILED
    assert len(unused(red)) == 2
    assert "its test file test_model.py is gone" in red.stdout.str()
    if beside:
        assert len(unused(run("tests"))) == 2
        for other in (("tests/test_beside.py",), ("--ignore=tests/models",)):
            left = run(*other)
            assert (left.ret, unused(left)) == (0, [])
    run("--robustness-update")
    assert not (folder / "robustness_baselines").exists()
