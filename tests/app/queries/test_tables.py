"""Tables as pages show them: numbers sort as numbers, whatever words they are written in."""

from collections.abc import Sequence

import pandas as pd
import pytest

from carom.app.queries.tables import displayed
from carom.scenarios.tables.table import INTERVAL, Form, Table


def made(**columns: Sequence[object]) -> Table:
    """A table of words."""
    forms: dict[str, Form] = dict.fromkeys(columns, "text")
    return Table(name="x", title="x", frame=pd.DataFrame(columns), forms=forms)


def in_order(table: Table, column: str) -> list[str]:
    """The words of a column as a click on its head sorts them."""
    found = displayed(table)
    values = found.frame[column].sort_values(kind="stable")
    assert pd.api.types.is_numeric_dtype(values)
    words = found.words[column]
    return ["–" if pd.isna(value) else words[value] for value in values]


def test_an_interval_becomes_two_columns_of_numbers() -> None:
    found = displayed(made(**{INTERVAL: ["7.3–9.5%", "–", "68.6–73.1%", "0.0–100.0%"]}))
    assert list(found.frame) == ["95% low", "95% high"]
    assert found.frame["95% low"].tolist() == pytest.approx([0.073, float("nan"), 0.686, 0.0], nan_ok=True)
    assert found.frame["95% high"].tolist() == pytest.approx([0.095, float("nan"), 0.731, 1.0], nan_ok=True)
    assert found.forms == {"95% low": "percent", "95% high": "percent"}
    assert found.column == {"95% low": INTERVAL, "95% high": INTERVAL}


def test_an_interval_of_points_keeps_its_signs() -> None:
    found = displayed(made(**{"interval": ["-25.7 to -19.0", "-2.8 to +1.0", "–"]}))
    assert found.frame["low"].tolist() == pytest.approx([-25.7, -2.8, float("nan")], nan_ok=True)
    assert found.frame["high"].tolist() == pytest.approx([-19.0, 1.0, float("nan")], nan_ok=True)
    assert set(found.forms.values()) == {"points"}


def test_radii_sort_by_their_size() -> None:
    assert in_order(made(eps=["16/255", "8/255", "0.05", "48/255", "1/2"]), "eps") == [
        "8/255",
        "0.05",
        "16/255",
        "48/255",
        "1/2",
    ]


def test_what_lies_beyond_a_ladder_sorts_beside_its_end() -> None:
    assert in_order(made(**{"T-DEE": ["2", "1.50", "<1", "1", "–", "10", ">10"]}), "T-DEE") == [
        "<1",
        "1",
        "1.50",
        "2",
        "10",
        ">10",
        "–",
    ]
    found = displayed(made(**{"T-DEE interval": ["<0.5–2.3", "1.0–4.0+", "–"]}))
    assert [found.words["T-DEE low"][v] for v in found.frame["T-DEE low"][:2]] == ["<0.5", "1.0"]
    assert [found.words["T-DEE high"][v] for v in found.frame["T-DEE high"][:2]] == ["2.3", "4.0+"]


def test_two_words_of_one_number_both_stay() -> None:
    assert in_order(made(eps=["0.5", "1/2", "0.25"]), "eps") == ["0.25", "0.5", "1/2"]


@pytest.mark.parametrize("words", [["a 1", "2"], ["C1", "C2"], ["–", ""], ["linf 8/255", "linf 16/255"]])
def test_other_words_stay_words(words: list[object]) -> None:
    found = displayed(made(name=words))
    assert found.frame["name"].tolist() == words
    assert not found.words
