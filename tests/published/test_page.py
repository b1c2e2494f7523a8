"""docs/published.md is what was recorded, and what was recorded holds."""

import os
from typing import Any

import pytest
from published_page import PAGE, page, results
from published_proofs import LEFT_OUT, names
from published_rows import ROWS


def test_the_page_is_what_was_recorded() -> None:
    """Renewed by CAROM_WRITE_PAGES=1."""
    if os.environ.get("CAROM_WRITE_PAGES"):
        PAGE.write_text(page(results()))
    assert PAGE.read_text() == page(results())


def test_every_attack_of_the_registry_stands_there() -> None:
    lines = PAGE.read_text().splitlines()
    for name in names():
        assert sum(line.startswith(f"| `{name}` |") for line in lines) == 1, "run benchmarks/published.py"
    for name in LEFT_OUT:
        assert sum(line.startswith(f"- `{name}`: ") for line in lines) == 1


def test_what_was_recorded_holds() -> None:
    found = results()
    for label, one in found["proofs"].items():
        assert one["robust"] == 0, label
    for row in ROWS:
        for number, figure in enumerate(row.figures):
            one = found["rows"].get(f"{row.file} {number}")
            if one is None:
                continue
            error = 100 * one["k"] / one["n"]
            if figure.within is not None:
                assert error == pytest.approx(figure.published, abs=figure.within)
            if figure.within_seen is not None:
                assert error == pytest.approx(figure.seen, abs=figure.within_seen)


def test_numbers_stand_with_their_intervals_and_holes_are_named() -> None:
    """Clopper and Pearson's interval of 5 of 200 is 0.82 to 5.74 per cent."""
    rows: dict[str, Any] = {"cifar10/resnet20.th 0": {"n": 200, "k": 5, "eight_bit": 5}}
    lines = page({"rows": rows, "proofs": {}}).splitlines()
    (line,) = [line for line in lines if line.startswith("| cifar10/resnet20.th")]
    assert "| 200 | 8.27 | 7.50 | 2.50 | 0.82–5.74 | – | l ±0.005 |" in line
    holes = sum(len(row.figures) for row in ROWS) - 1 + len(names()) + 2
    assert sum("not measured" in line for line in lines) == holes
