"""What gates judge is kept where the explorer finds it."""

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import PLUGIN, QUICK, Run
from .test_gate import Write, gate, text


def kept(repository: Path, store: str = "kept") -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((repository / store / "gates").glob("*/*.json"))]


@pytest.fixture
def made(run: Run, write: Write, repository: Path, pytester: pytest.Pytester) -> Path:
    """A repository with a baseline, whose ini file names a store for verdicts."""
    pytester.makeini("[pytest]\nrobustness_history = kept\n")
    write(test_model=gate())
    run("--robustness-update-new-only").assert_outcomes(passed=1)
    return repository


def test_each_judged_gate_adds_a_file(run: Run, write: Write, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept(made) == []  # a baseline that was just written judged nothing
    monkeypatch.setenv("CI_COMMIT_SHA", "abc123")
    run().assert_outcomes(passed=1)
    write(test_model=gate("0.2, only_set=1", "per_class=0.3"))
    run()
    write(test_model=gate("0.5, only_class=1", "per_class=0.3"))
    run().assert_outcomes(failed=1)
    assert len(list((made / "kept" / "gates").iterdir())) == 1  # one gate, one folder
    first, _, last = kept(made)
    assert (first["verdict"], last["verdict"]) == ("holds", "weaker")
    assert first["test"] == "test_model.py::test_transfer"
    assert first["baseline"] == "robustness_baselines/test_model/transfer.json"
    assert first["suite"]["name"] == "tiny"
    assert first["commit"] == "abc123"
    assert first["images"] == 600
    assert first["robust_accuracy"]["before"] == first["robust_accuracy"]["now"] == pytest.approx(0.8, abs=0.02)
    assert last["robust_accuracy"]["now"] < last["robust_accuracy"]["before"]
    assert [check["what"] for check in last["checks"]] == ["robust accuracy", "class zero", "class one", "class two"]
    assert last["checks"][0]["low"] > last["checks"][0]["allowed"] == 0.02
    drops = {c["name"]: c["before"] - c["now"] for c in last["classes"]}
    assert max(drops, key=lambda name: drops[name]) == "one"
    assert sum(c["images"] for c in last["classes"]) == 600
    assert [s["name"] for s in last["sets"]] == ["pgd linf 48/255 from net-1", "pgd linf 48/255 from net-2"]
    assert "fell from" in last["said"][0]


def test_the_command_line_names_another_store(run: Run, made: Path) -> None:
    run("--robustness-history", "other").assert_outcomes(passed=1)
    assert kept(made) == []
    assert len(kept(made, "other")) == 1


def test_without_the_setting_nothing_is_kept(
    run: Run, write: Write, repository: Path, pytester: pytest.Pytester
) -> None:
    write(test_model=gate())
    run("--robustness-update-new-only")
    run().assert_outcomes(passed=1)
    assert not list(repository.glob("**/gates"))


def test_a_history_that_cannot_be_written_turns_the_gate_red(run: Run, made: Path) -> None:
    (made / "kept").write_text("a file")
    red = run()
    red.assert_outcomes(failed=1)
    assert "robustness_history:" in text(red)
    assert "cannot be written" in text(red)
    assert "Traceback" not in text(red)


@pytest.mark.thorough
def test_a_store_that_pytest_takes_for_its_rootdir_changes_no_name(
    made: Path, tmp_path_factory: pytest.TempPathFactory, pytester: pytest.Pytester
) -> None:
    (made / "tox.ini").unlink()  # pytest looks for its settings beside what it takes for an argument
    store = tmp_path_factory.mktemp("far") / "store"
    store.mkdir()
    (store / "pytest.ini").write_text("[pytest]\n")
    for option in ([f"--robustness-history={store}"], ["--robustness-history", str(store)]):
        pytester.runpytest_subprocess(*PLUGIN, *QUICK, "-p", "no:cacheprovider", *option).assert_outcomes(passed=1)
    one, other = kept(store.parent, "store")
    assert one["baseline"] == other["baseline"] == "robustness_baselines/test_model/transfer.json"
    assert one["test"] == other["test"] == "test_model.py::test_transfer"
