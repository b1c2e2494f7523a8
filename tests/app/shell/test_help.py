"""What pages share: help on hover for all that is shown, filters that stand in the address, links to the matrix."""

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import carom.app
from carom.app.queries import matrix as matrix_queries
from carom.app.queries import runs as run_queries
from carom.app.queries import tables as table_queries
from carom.app.shell import parts
from carom.app.shell.help import help_of
from carom.scenarios.store.database import Store
from carom.scenarios.tables.compare import compare_runs
from carom.scenarios.tables.table import Table

APP = Path(carom.app.__file__).parent


def labels() -> Iterator[tuple[str, str]]:
    """Where a choice is offered, and its label, as far as the label is written out."""
    for path in sorted(APP.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "pick":
                explained = any(word.arg == "help" for word in node.keywords)
                label = node.args[1]
                if isinstance(label, ast.Constant) and not explained:
                    yield path.name, str(label.value)


def test_every_choice_has_a_term() -> None:
    found = dict.fromkeys(labels())
    assert ("surrogates.py", "Cost") in found
    assert not [f"{file}: {label}" for file, label in found if help_of(label, "pick") is None]


def test_every_axis_has_a_term() -> None:
    assert not [name for name in matrix_queries.AXES.values() if help_of(name) is None]


def unexplained(tables: list[Table]) -> list[str]:
    return [
        f"{table.name}: {column}"
        for table in tables
        for found in [table_queries.displayed(table)]
        for column in found.frame.columns
        if parts.column_help(table, found, str(column)) is None
    ]


def test_every_column_of_a_run_has_a_term(finished: Path) -> None:
    (run,) = run_queries.runs(finished)
    tables = list(run_queries.view(finished, run.id).tables)
    assert {"cases", "effects", "controls", "by-attack", "sets", "models"} <= {t.name for t in tables}
    assert not unexplained(tables)
    assert not [t.name for t in tables if help_of(t.name.replace("-", " ")) is None]


def test_every_column_of_a_comparison_has_a_term(finished: Path) -> None:
    (run,) = run_queries.runs(finished)
    with Store(finished) as store:
        assert not unexplained(compare_runs(store, run.id, run.id))


def test_help_is_text_that_markdown_leaves_alone() -> None:
    said = help_of("ASR")
    assert said is not None
    assert said.startswith("**ASR**")
    assert "k \\/ n" in said
    assert help_of("nonsense") is None


# ------------------------------------------------------------------------------------------------------------- tables

SCRIPT = """
import altair as alt
import pandas as pd
from carom.app.shell import parts
from carom.scenarios.charts import theme
from carom.scenarios.tables.table import Table
rows = ROWS
frame = pd.DataFrame({"attack": [f"mi+di {i}" for i in range(rows)], "norm": "linf", "eps": "8/255", "n": range(rows)})
forms = {"attack": "text", "norm": "text", "eps": "text", "n": "count"}
parts.table(Table(name="by-attack", title="By attack", frame=frame, forms=forms))
"""


@pytest.fixture
def table() -> Callable[..., AppTest]:
    """A page with one table of so many rows."""

    def draw(rows: int, **address: str) -> AppTest:
        at = AppTest.from_string(SCRIPT.replace("ROWS", str(rows)), default_timeout=60)
        for name, value in address.items():
            at.query_params[name.replace("_", "-")] = value
        at.run()
        assert not at.exception, at.exception
        return at

    return draw


def test_a_short_table_has_no_filter(table: Callable[..., AppTest]) -> None:
    at = table(10)
    assert not at.text_input
    assert len(at.dataframe[0].value) == 10


def test_a_filter_stands_in_the_address(table: Callable[..., AppTest]) -> None:
    at = table(30, filter_by_attack="DI 2")
    assert at.dataframe[0].value["n"].tolist() == [2, 12, *range(20, 30)]
    at.text_input[0].set_value("29").run()
    assert at.dataframe[0].value["n"].tolist() == [29]
    assert at.query_params["filter-by-attack"] in ("29", ["29"])
    at.text_input[0].set_value("").run()
    assert len(at.dataframe[0].value) == 30
    assert "filter-by-attack" not in at.query_params


def test_a_filter_that_nothing_meets_says_so(table: Callable[..., AppTest]) -> None:
    at = table(30, filter_by_attack="**x**")
    assert "No row holds \\*\\*x\\*\\*" in at.info[0].value
    assert not at.dataframe


def test_a_long_table_shows_its_first_rows_and_says_so(table: Callable[..., AppTest]) -> None:
    at = table(parts.MOST + 5)
    assert len(at.dataframe[0].value) == parts.MOST
    assert "The first 2,000 of 2,005 rows" in at.caption[0].value.replace("\\", "")


def test_columns_say_what_they_are(table: Callable[..., AppTest]) -> None:
    at = table(3, run="small-1")
    columns = json.loads(at.dataframe[0].proto.columns)
    assert "Attack success" not in columns["attack"]["help"]
    assert "gets right clean" in columns["n"]["help"]


def test_rows_lead_to_the_matrix(table: Callable[..., AppTest]) -> None:
    at = table(2, run="small-1", store="/some where")
    link = at.dataframe[0].value["matrix"].iloc[1]
    address = urlsplit(link)
    assert address.path == "matrix"
    assert {name: value for name, (value,) in parse_qs(address.query).items()} == {
        "run": "small-1",
        "store": "/some where",
        "rows": "surrogate",
        "columns": "victim",
        "attack": "mi+di 1",
        "budget": "linf 8/255",
    }
    targeted = pd.DataFrame({"victim": ["v"], "norm": ["l2"], "eps": ["1"], "targeted": [True]})
    shown = Table(name="by-victim", title="x", frame=targeted, forms={})
    assert parts.holds(targeted, "V l2").tolist() == [True]
    assert parts.holds(targeted, "v linf").tolist() == [False]
    assert parts.cell_links(Table(name="models", title="x", frame=targeted, forms={})) is None
    assert "targeted" in str((parts.cell_links(shown) or [""])[0])


def test_a_white_box_and_a_control_lead_where_they_can() -> None:
    frame = pd.DataFrame({"attack": ["mi", "sign-noise 1"], "norm": "linf", "eps": "8/255", "case_number": [0, -1]})
    first, second = parts.cell_links(Table(name="cases-by-attack", title="x", frame=frame, forms={})) or []
    assert "white-box=with" in str(first)
    assert second is None


def test_a_pair_of_models_leads_to_its_cells() -> None:
    frame = pd.DataFrame({"surrogate": ["a/s1", ""], "victim": "b/s2", "attack": "mi", "norm": "l2", "eps": "1"})
    first, second = parts.cell_links(Table(name="compare-cells", title="x", frame=frame, forms={})) or []
    where = parse_qs(urlsplit(str(first)).query)
    assert (where["row"], where["column"], where["budget"]) == (["a/s1"], ["b/s2"], ["l2 1"])
    assert second is None


def test_a_table_keeps_its_title() -> None:
    """Only the run that the page is about is left out, and its id is never written with a capital."""
    titles = {
        "digits-quick-3c5126: attack success by case": "Attack success by case",
        "digits-quick-3c5126 beside published results": "digits-quick-3c5126 beside published results",
        "T-DEE: how many networks trained apart transfer as well": None,
        "Defences: each victim": None,
    }

    def page() -> None:
        import pandas as pd
        import streamlit as st

        from carom.app.shell import parts
        from carom.scenarios.tables.table import Table

        for title in st.session_state["titles"]:
            st.text(parts.heading(Table(name="x", title=title, frame=pd.DataFrame(), forms={})))

    at = AppTest.from_function(page)
    at.session_state["titles"] = list(titles)
    at.query_params["run"] = "digits-quick-3c5126"
    at.run()
    assert [text.value for text in at.text] == [asked or title for title, asked in titles.items()]


def test_no_difference_of_minus_nothing() -> None:
    assert [parts.FORMATS["points"](value) for value in (-0.04, 0.04, -0.06)] == ["+0.0", "+0.0", "-0.1"]
