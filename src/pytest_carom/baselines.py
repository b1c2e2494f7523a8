"""Which baselines there are, and which no test uses; loaded by every pytest run, so nothing heavy is imported."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

FOLDER = "robustness_baselines"
SAID = frozenset({"test", "baseline", "status", "line"})  # what a gate records of itself
_LONGEST = 100  # characters of a file's name


@dataclass(kw_only=True)
class Baselines:
    """What one pytest process knows of its baselines.

    Attributes:
        update: Write all that run.
        new_only: Write those that are missing.
        strict: "Cannot tell" fails.
        whole: Test files are collected whole: no test was named, and `--lf` left none out.
        roots: What pytest was told to collect, folders and files.
        passed: Ids of the tests that passed.
        said: What each gate found, as `gate.py` records it.
        judged: Which test judged a baseline.
        suites: Those that were read, by file.
        unused: Baselines that no test uses, and why.
        removed: Those of them that were removed.
    """

    update: bool
    new_only: bool
    strict: bool
    whole: bool
    roots: tuple[Path, ...] = ()
    passed: set[str] = field(default_factory=set)
    said: list[dict[str, str]] = field(default_factory=list)
    judged: dict[Path, str] = field(default_factory=dict)
    suites: dict[Path, Any] = field(default_factory=dict)
    unused: list[tuple[Path, str]] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    _files: dict[Path, bool] = field(default_factory=dict)
    _folders: set[Path] = field(default_factory=set)
    _tests: dict[Path, list[str]] = field(default_factory=dict)
    _counts: dict[Path, int] = field(default_factory=dict)

    def collected(self, file: Path, *, whole: bool) -> None:
        """Note a test file; `whole` is false where a part of it could not be collected."""
        self._files[file] = self._files.get(file, True) and whole

    def add_folder(self, folder: Path) -> None:
        """Note a folder that was looked into, with or without test files."""
        self._folders.add(folder)

    def add_test(self, file: Path, nodeid: str) -> None:
        """Note a test."""
        self._tests.setdefault(file, []).append(nodeid)

    def count(self, folder: Path) -> int:
        """How many baselines were in a folder of tests when it was first asked about; at least 1."""
        if folder not in self._counts:
            self._counts[folder] = max(1, sum(1 for _ in (folder / FOLDER).glob("*/*.json")))
        return self._counts[folder]

    def found(self) -> dict[str, Any]:
        """What was collected in folders with baselines, to send to the controller of xdist."""
        kept = [file for file in self._files if (file.parent / FOLDER).is_dir()]
        return {
            "files": {str(file): [self._files[file], self._tests.get(file, [])] for file in kept},
            "folders": [str(folder) for folder in sorted(self._folders) if (folder / FOLDER).is_dir()],
        }

    def receive(self, found: Mapping[str, Any]) -> None:
        """What a worker found; all collect the same."""
        for file, (whole, tests) in found["files"].items():
            self.collected(Path(file), whole=whole)
            self._tests[Path(file)] = tests
        self._folders |= {Path(folder) for folder in found["folders"]}

    def settle(self) -> bool:
        """Find the baselines that no test uses; remove them when updating. True if they fail the run."""
        if not self.whole:
            return False
        used = {Path(said["baseline"]) for said in self.said if said["baseline"]}
        # pytest also looks into the folders above what it was told to collect
        searched = {folder for folder in self._folders if any(folder.is_relative_to(root) for root in self.roots)}
        for folder in sorted({file.parent for file in self._files} | searched):
            for stem in sorted(path for path in (folder / FOLDER).glob("*") if path.is_dir()):
                self.unused += [
                    (path, why)
                    for path in sorted(stem.glob("*.json"))
                    if path not in used and (why := self._unused(path, folder))
                ]
        if not self.update:
            return bool(self.unused)
        for path, _ in self.unused:
            path.unlink(missing_ok=True)
            self.removed.append(path)
            for emptied in (path.parent, path.parent.parent):
                if not any(emptied.iterdir()):
                    emptied.rmdir()
        return False

    def _unused(self, path: Path, folder: Path) -> str | None:
        """Why a baseline that no gate has read is unused; None where this run cannot know."""
        owner, stem = _owner(path), path.parent.name
        name = f"{stem}.py" if owner is None else owner.partition("::")[0]
        files = [
            file
            for file in self._files
            if file.parent == folder and (file.name == name if owner is not None else file.stem == stem)
        ]
        if not files:
            there = [other.name for other in folder.iterdir() if other.is_file() and other.stem == stem]
            return None if name in there or (owner is None and there) else f"its test file {name} is gone"
        if not all(self._files[file] for file in files):
            return None
        tests = {test_id(file, nodeid): nodeid for file in files for nodeid in self._tests.get(file, [])}
        # pytest-xdist adds the group to the ids of what ran, with --dist loadgroup
        passed = self.passed | {nodeid.rpartition("@")[0] for nodeid in self.passed}
        if owner is None:  # damaged: some test that did not pass may have wanted it
            return "no test asked for it" if all(nodeid in passed for nodeid in tests.values()) else None
        if owner not in tests:
            return f"there is no test {owner}"
        return f"{owner} passed without asking for it" if tests[owner] in passed else None


def plain_id(node: pytest.Item) -> str:
    """The id of a test, without the group that pytest-xdist adds with --dist loadgroup."""
    return f"{node.parent.nodeid}::{node.name}" if node.parent is not None else node.nodeid


def test_id(file: Path, nodeid: str) -> str:
    """The id of a test within its folder, so that folders can be moved."""
    _, _, rest = nodeid.partition("::")
    return f"{file.name}::{rest}"


test_id.__test__ = False  # type: ignore[attr-defined]


def baseline_path(node: pytest.Item, name: str | None) -> Path:
    """The file of a gate: one for each, so that workers never share one."""
    parts = [part.name for part in node.listchain() if isinstance(part, pytest.Class)]
    parts.append(node.name.removeprefix("test_") or node.name)
    if name is not None:
        parts.append(name)
    plain = re.sub(r"[^A-Za-z0-9_.=+-]+", "-", "-".join(parts)).strip("-.") or "gate"
    if len(plain) > _LONGEST:
        plain = f"{plain[: _LONGEST - 9]}-{sha256(plain.encode()).hexdigest()[:8]}"
    return node.path.parent / FOLDER / node.path.stem / f"{plain}.json"


def shown(path: Path, start: Path) -> str:
    """A path as the user would type it."""
    try:
        return os.path.relpath(path, start)
    except ValueError:  # another drive
        return str(path)


def named(path: Path, config: pytest.Config) -> str:
    """A path as a name that does not depend on where pytest was started; outside its rootdir, from where it was."""
    start = config.rootpath if path.is_relative_to(config.rootpath) else config.invocation_params.dir
    return shown(path, start).replace(os.sep, "/")


def lines(baselines: Baselines, start: Path) -> list[str]:
    """The section of the terminal's summary; empty where there is nothing to say."""
    text = [f"{said['status']:<12} {said['test']}: {said['line']}" for said in baselines.said]
    if baselines.removed:
        text += [f"{'removed':<12} {shown(path, start)}: {why}" for path, why in baselines.unused]
    elif baselines.unused:
        text += [f"{'UNUSED':<12} {shown(path, start)}: {why}" for path, why in baselines.unused]
        text.append("an unused baseline guards nothing: delete it, or have it removed: pytest --robustness-update")
    return text


def _owner(path: Path) -> str | None:
    try:
        test = json.loads(path.read_text(encoding="utf-8"))["test"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return test if isinstance(test, str) else None
