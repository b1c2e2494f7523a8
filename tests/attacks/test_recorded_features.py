"""Feature attacks against what TransferAttack made on the same networks."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch import Tensor

from carom.attacks import NAA, parse_attack

from .recorded import Asked, Entry, assert_equal, differ, names, needs_recording, recording

pytestmark = needs_recording
NO_MOMENTUM = {"decay": 0.0}


def made(kind: str, entry: Entry, *, answer: Any = None, **own: Any) -> dict[str, Tensor]:
    """What the feature attack of this name makes in place of the recorded run."""
    table = {"name": kind, "steps": entry.steps, "step": entry.step, kind: {"point": entry.point, **own}}
    return recording().run(entry, parse_attack(table), answer=answer)


def share(found: dict[str, Tensor], entry: Entry) -> float:
    """Of the numbers of the final images that differ."""
    return differ(found, entry, 1e-9)["adv"]


@pytest.mark.parametrize("name", names("BFA"))
def test_bfa(name: str) -> None:
    entry = recording().entry(name)
    largest = float(entry.eps) * recording().x[0].numel() ** 0.5
    own = {"samples": int(entry.arguments["num_ens"]), "length": float(entry.number("eta")) / largest}
    assert_equal(made("bfa", entry, decay=entry.decay, **own), entry)


@pytest.mark.parametrize("name", names("ILA"))
def test_ila_without_momentum_in_its_second_loop(name: str) -> None:
    entry = recording().entry(name)
    assert_equal(made("ila", entry, guide_decay=entry.decay, **NO_MOMENTUM), entry)
    assert share(made("ila", entry), entry) > 1e-3


def masks(rows: slice) -> Callable[[Asked], Tensor | None]:
    """Entries of the bank in [0, 1) from 0 on, not from half a step on: a mask keeps where (k + 128) / 256 >= rate."""
    bank = recording().bank()

    def answer(asked: Asked) -> Tensor | None:
        given = bank(asked)
        return given if given is None or asked.kind != "uniform" else given - 1 / 512

    return answer


@pytest.mark.parametrize("name", names("FIA"))
def test_fia_by_probabilities_without_momentum(name: str) -> None:
    entry = recording().entry(name)
    own = {"samples": int(entry.arguments["num_ens"]), "drop": float(entry.number("drop_rate")), "answer": masks}
    assert_equal(made("fia", entry, score="probability", **own, **NO_MOMENTUM), entry)
    assert share(made("fia", entry, **own), entry) > 1e-3


@pytest.mark.parametrize("name", names("NAA"))
def test_naa_on_a_path_that_begins_at_black_and_without_momentum(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = recording().entry(name)
    own = {"samples": int(entry.arguments["N"])}
    with_momentum, without = (share(made("naa", entry, **own, **more), entry) for more in ({}, NO_MOMENTUM))
    assert with_momentum > 1e-3
    assert without > 1e-3

    def from_black(attack: NAA, x: Tensor) -> Iterator[Tensor]:
        return (x * (n / attack.samples) for n in range(attack.samples))

    monkeypatch.setattr(NAA, "_path", from_black)
    assert_equal(made("naa", entry, **own, **NO_MOMENTUM), entry)
