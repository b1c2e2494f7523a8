"""One thread a test process; trained models made once for all of them; at the end one line on what was left out."""

import fcntl
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytest_plugins = ["pytester"]  # pytest runs in tests of the plugin; only the topmost conftest may load it

torch.set_num_threads(1)  # two workers share the cores, and sums keep their order

Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, make)`: a folder that `make` fills, once for all workers of the session; to be read, or copied."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    shared.mkdir(exist_ok=True)

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        made = shared / name
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / f"{name}.done").exists():
                made.mkdir()  # another worker's failure stays, and fails here too
                make(made)
                (shared / f"{name}.done").touch()
        return made

    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What this machine could not test, and why: nothing is left out silently."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    if reasons:
        told = "; ".join(f"{n} ({reason})" for reason, n in reasons.most_common())
        terminalreporter.write_line(f"tests left out here: {told}")
