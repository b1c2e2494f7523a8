"""What is installed is what was tested: a wheel, built by way of the sdist, with every module and every data file."""

import configparser
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = {".toml", ".txt", ".npz", ".css", ".typed", ".suite"}

# Run without site-packages' .pth files (-S), so that the editable install of the checkout is not found.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
sys.path[:0] = sys.argv[1:]
import carom, pytest_carom
found = {package.__name__: package.__file__ for package in (carom, pytest_carom)}
for module in (m for p in (carom, pytest_carom) for m in pkgutil.walk_packages(p.__path__, f"{p.__name__}.")):
    if module.name != "carom.app.explorer" and not module.name.startswith("carom.app.pages"):  # streamlit's scripts
        found[module.name] = importlib.import_module(module.name).__file__
from carom.scenarios.catalogue import catalogue
from carom.scenarios.spec.read import parse_scenario
from carom.zoo.tasks import TASKS
digits = TASKS["digits"]()
loaded = [parse_scenario(entry["text"], where=entry["name"]).name for entry in catalogue("presets")
          if entry["name"] != "imagenet-standard" and "$" not in entry["text"]]  # those need folders of images
print(json.dumps({
    "files": found, "presets": loaded, "images": [len(digits.load(s, "test").images) for s in digits.sources],
    "version": carom.__version__, "attack": carom.attack.__module__,
}))
"""


def python(*arguments: object, **settings: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **settings,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def tracked() -> list[str]:
    """The files that belong to the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if os.path.lexists(ROOT / name)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist from a copy of the checkout, the wheel from the sdist."""
    source, built = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    # without isolation: nothing is downloaded, setuptools is that of this environment
    python("-m", "build", "--sdist", "--no-isolation", "--outdir", built, source)
    (archive,) = built.glob("*.tar.gz")
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as files:
        files.extractall(unpacked, filter="data")
    (inside,) = unpacked.iterdir()
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", built, inside)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installer would put into site-packages."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder)
    return folder


def expected_files() -> set[str]:
    """Modules and data of the package, as paths in the wheel."""
    files = set()
    for name in tracked():
        folder, _, rest = name.partition("/")
        inside = Path(rest) if folder == "src" else Path("carom", name)
        linked = folder == "src" or (ROOT / "src" / "carom" / folder).is_symlink()
        if linked and inside.suffix in {".py", *DATA} and not (ROOT / name).is_symlink():
            files.add(str(inside))
    return files


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = [n for n in files.namelist() if not n.endswith("/")]
    tops = {n.split("/")[0] for n in names}
    assert tops == {"carom", "pytest_carom", f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"}
    expected = expected_files()
    assert {n for n in names if n.startswith(("carom/", "pytest_carom/"))} == expected
    assert {Path(n).suffix for n in expected} >= {".py", ".toml", ".npz", ".typed"}
    assert "carom/zoo/tasks/digits_fonts.npz" in expected
    assert "carom/scenarios/spec/presets/digits-quick.toml" in expected
    assert "carom/py.typed" in expected


@pytest.mark.thorough
def test_every_module_is_imported_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    libraries = [p for p in sys.path if p.endswith("-packages")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"HOME": str(tmp_path)}
    told = json.loads(python("-S", "-c", IMPORT_ALL, installed, *libraries, cwd="/", env=environment))
    assert all(Path(file).is_relative_to(installed) for file in told["files"].values()), told["files"]
    modules = {
        str(Path(f).with_suffix("")).removesuffix("/__init__").replace("/", ".")
        for f in expected_files()
        if f.endswith(".py")
    }
    scripts = {m for m in modules if m == "carom.app.explorer" or m.startswith("carom.app.pages")}
    assert set(told["files"]) == modules - scripts
    assert set(told["presets"]) >= {"digits-quick", "digits-dumb", "fashion-dumb"}
    assert told["images"] == [320, 400]
    assert told["attack"] == "carom.scenarios.api.attacked"
    assert (installed / f"carom-{told['version']}.dist-info").is_dir()


def test_the_command_and_the_plugin_of_the_wheel(installed: Path) -> None:
    (entries,) = installed.glob("*.dist-info/entry_points.txt")
    parser = configparser.ConfigParser()
    parser.read_string(entries.read_text())
    assert {section: dict(parser[section]) for section in parser.sections()} == {
        "console_scripts": {"carom": "carom.scenarios.cli.main:main"},
        "pytest11": {"carom": "pytest_carom"},
    }
