"""carom's attacks against what other projects' code made on the same networks with the same numbers."""

from dataclasses import replace
from typing import Any

import pytest

from carom.attacks import Uniform, parse_attack

from .recorded import Entry, assert_equal, names, needs_recording, recording

pytestmark = needs_recording


def loop(name: str, entry: Entry, **own: Any) -> Any:
    """The attack of this name with the steps of the run."""
    return parse_attack({"name": name, "steps": entry.steps, "step": entry.step, **own})


@pytest.mark.parametrize("name", names("MIFGSM"))
def test_momentum(name: str) -> None:
    entry = recording().entry(name)
    attack = loop("mi", entry)
    if entry.arguments.get("random_start"):
        attack = replace(attack, start=Uniform())
    assert_equal(recording().run(entry, attack), entry)
