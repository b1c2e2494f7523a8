"""What the page of surrogates makes of its tables."""

import pandas as pd
import pytest
from surrogate_orderings import PLAIN, TUNED, apart, epochs, settings_of, with_settings

from carom.scenarios.spec.read import load_scenario
from carom.scenarios.tables.table import Table


@pytest.fixture
def costs() -> Table:
    frame = pd.DataFrame({"surrogate": ["single", "lgv", "fge", "rd"], "n": [1, 2, 3, 4]})
    return Table(name="x", title="X", frame=frame, forms={"surrogate": "text", "n": "count"}, notes=("what it is.",))


def test_rows_that_were_tuned_stand_apart_from_rows_that_were_not(costs: Table) -> None:
    lines = list(apart(costs))
    titles = [line for line in lines if line.startswith("**")]
    assert len(titles) == 3
    tables = "\n".join(lines).split("**")[2::2]
    firsts = [[r.split(" | ")[0].strip("| ") for r in table.splitlines() if r.startswith("| ")] for table in tables]
    assert [set(names) - {"surrogate"} for names in firsts] == [{"lgv", "rd"}, {"single"}, {"fge"}]
    assert lines[-1] == "What it is."


def test_a_table_that_ranks_both_says_which_is_which(costs: Table) -> None:
    shown = with_settings(costs)
    assert list(shown.forms) == ["surrogate", "settings", "n"]
    assert shown.frame["settings"].tolist() == ["none", "tuned", "default", "tuned"]


def test_every_surrogate_of_the_preset_is_of_one_kind() -> None:
    """What is tuned has settings from the tuning run, what has none can have none."""
    tuning = {spec.builder_name.split("(")[0] for spec in load_scenario("fashion-surrogates-tuning").surrogates}
    names = {spec.builder_name for spec in load_scenario("fashion-surrogates").surrogates}
    assert names >= TUNED | PLAIN
    assert {name for name in names if settings_of(name) == "default"} == names - TUNED - PLAIN
    assert {name.split(",")[0] for name in TUNED} - {"l-sam", "lgv -> swa"} <= tuning


def test_the_kept_epoch_alone_is_bold() -> None:
    (row,) = list(epochs([{"asr": [0.1, 0.3, 0.2, 0.3], "chosen": 4}]))[2:]
    assert row == "| 1 | 10% | 30% | 20% | **30%** |"
