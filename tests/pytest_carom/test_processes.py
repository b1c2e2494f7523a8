"""In processes of their own: several workers, a repository with folders of the same names, a run without gates."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import MODELS, PLUGIN, QUICK

Write = Callable[..., None]
GATE = "def test_{name}(robustness):\n    robustness(Model({wrong}), suite='tiny.suite')\n\n"


@pytest.mark.thorough
def test_workers_write_judge_and_report_as_one_process_does(
    pytester: pytest.Pytester, repository: Path, write: Write
) -> None:
    def run(*options: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*PLUGIN, *QUICK, "-p", "no:cacheprovider", *options)

    names = "abcd"
    write(test_model="".join(GATE.format(name=name, wrong=0.2) for name in names))
    written = run("-n", "2", "--robustness-update")
    written.assert_outcomes(passed=4)
    assert len([line for line in written.stdout.lines if line.startswith("new ")]) == 4
    files = sorted((repository / "robustness_baselines" / "test_model").iterdir())
    assert [file.name for file in files] == ["a.json", "b.json", "c.json", "d.json"]

    write(test_model="".join(GATE.format(name=name, wrong=0.4 if name == "b" else 0.2) for name in "abc"))
    one, many = pytester.runpytest_inprocess(*PLUGIN, *QUICK, "-p", "no:cacheprovider"), run("-n", "2")
    for result in (one, many):
        result.assert_outcomes(passed=2, failed=1)
        assert result.ret == 1
        assert "certainty 98.75% for each of 4 baselines in robustness_baselines" in result.stdout.str()
        assert re.search(r"UNUSED +robustness_baselines/test_model/d.json: there is no test", result.stdout.str())

    update = run("-n", "2", "--robustness-update")
    assert update.ret == 0
    assert re.search(r"removed +robustness_baselines/test_model/d.json", update.stdout.str())
    assert not files[3].exists()


@pytest.mark.thorough
def test_groups_of_workers_change_no_id(pytester: pytest.Pytester, repository: Path, write: Write) -> None:
    def run(*options: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*PLUGIN, *QUICK, "-p", "no:cacheprovider", *options)

    grouped = "@pytest.mark.xdist_group('one')\n"
    write(test_model="".join(grouped + GATE.format(name=name, wrong=0.2) for name in "ab"))
    run("--robustness-update").assert_outcomes(passed=2)
    files = sorted((repository / "robustness_baselines" / "test_model").iterdir())
    before = [file.read_bytes() for file in files]
    for options in ([], ["--robustness-update"]):
        result = run("-n", "2", "--dist", "loadgroup", *options)
        result.assert_outcomes(passed=2)
        assert "@one" not in "".join(line for line in result.stdout.lines if "robust accuracy" in line)
    assert [file.read_bytes() for file in files] == before
    write(test_model=grouped + "def test_a():\n    pass\n\n" + grouped + GATE.format(name="b", wrong=0.2))
    gone = run("-n", "2", "--dist", "loadgroup")
    assert gone.ret == 1
    assert "test_model.py::test_a passed without asking for it" in gone.stdout.str()


@pytest.mark.thorough
def test_a_repository_may_have_folders_named_as_ours(pytester: pytest.Pytester, repository: Path) -> None:
    for name in ("attacks", "scenarios", "app", "zoo", "surrogates", "defenses"):
        (repository / name).mkdir()
        (repository / name / "__init__.py").write_text("NAME = __name__\n")
    (repository / "app" / "models.py").write_text(MODELS)
    (repository / "models.py").unlink()
    (repository / "test_app.py").write_text(
        "import attacks, scenarios, zoo\nfrom app.models import Model\n\n"
        "def test_app(robustness):\n    assert attacks.NAME == 'attacks'\n    assert scenarios.NAME == 'scenarios'\n"
        "    robustness(Model(), suite='tiny.suite')\n"
    )
    for options in (["--robustness-update"], []):
        result = pytester.runpytest_subprocess(*PLUGIN, *QUICK, *options)
        result.assert_outcomes(passed=1)


def test_a_run_without_gates_loads_nothing_heavy_and_says_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_plain="import sys\n\ndef test_plain():\n"
        "    heavy = {'torch', 'numpy', 'carom', 'scipy', 'pandas', 'pydantic'} & set(sys.modules)\n"
        "    assert 'pytest_carom' in sys.modules\n    assert not heavy\n"
    )
    result = pytester.runpytest_subprocess(*PLUGIN, *QUICK, "-p", "no:jaxtyping")
    result.assert_outcomes(passed=1)
    assert "robustness" not in result.stdout.str()


def test_the_plugin_imports_only_pytest_and_the_standard_library() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import pytest_carom;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["pytest_carom"]


def test_the_gate_loads_no_more_than_numpy_and_torch(pytester: pytest.Pytester, repository: Path) -> None:
    (repository / "test_model.py").write_text(
        "import sys\nfrom models import Model\n\ndef test_transfer(robustness):\n"
        "    robustness(Model(), suite='tiny.suite')\n"
        "    assert not {'pandas', 'scipy', 'pydantic', 'sqlalchemy', 'timm', 'torchvision'} & set(sys.modules)\n"
    )
    pytester.runpytest_subprocess(*PLUGIN, *QUICK, "--robustness-update").assert_outcomes(passed=1)
    pytester.runpytest_subprocess(*PLUGIN, *QUICK).assert_outcomes(passed=1)
