"""What an audit leaves behind for every further version of the model: a suite of its images, and a test."""

from collections.abc import Mapping
from pathlib import Path
from pprint import pformat
from typing import Any

from carom.files import write_whole
from carom.scenarios.gates.freeze import freeze
from carom.scenarios.gates.suite import SUFFIX, write_suite


def write_gate(store: Path, run: str, folder: Path, name: str, victim: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write suite and test file; returns both.

    Args:
        store: Where the run is.
        run: Its id.
        folder: To write to.
        name: Begins the files' names.
        victim: The model, as a scenario's table names it.

    Raises:
        StoreError: A file cannot be written.
    """
    suite, test = folder / f"{name}{SUFFIX}", folder / f"test_{''.join(c if c.isalnum() else '_' for c in name)}.py"
    write_suite(freeze(store, run), suite)
    table = {key: value for key, value in victim.items() if key != "revision"}
    model = pformat(table, width=110, sort_dicts=False)
    write_whole(
        test,
        (
            '"""Written by carom audit: fails when the model gets weaker on the attacks that it was audited with.\n\n'
            "First: pytest --robustness-update-new-only, which writes the baseline; commit it. Replace MODEL by how\n"
            'the tests load the model, if that is not the file that was audited.\n"""\n\n'
            f"MODEL = {model}\n\n\n"
            "def test_transfer(robustness):\n"
            f"    robustness(MODEL, suite={suite.name!r})\n"
        ).encode(),
    )
    return suite, test
