"""The report of a run is one file that needs nothing else, and says first what matters."""

import csv
import io
import re
import shutil
import sqlite3
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.scenarios.conftest import TINY

from carom.errors import InputError
from carom.scenarios.report.files import export_run
from carom.scenarios.report.html import write_report
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.store.database import Store
from carom.scenarios.store.runs import find_run
from carom.scenarios.tables.which import show_run

CSV = "data:text/csv;charset=utf-8,"
VOID = {"meta", "br", "img"}


class Page(HTMLParser):
    """Tags with their attributes, and text; every tag that opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, tiny_npz: Path) -> Iterator[tuple[Store, str]]:
    """A store with one run: one surrogate, one victim, two attacks, two eps."""
    text = TINY.replace("NPZ", str(tiny_npz)).replace('["here", "there"]', '"here"').replace("epochs = 3", "epochs = 2")
    text = text.replace('["uniform", "tv0.2"]', '"uniform"').replace(', "lenet"]', "]")
    text = text.replace('eps = "32/255"', 'eps = ["16/255", "32/255"]')
    text = text.replace('name = "tiny"', 'name = "tiny"\ndescription = \'a <i>tiny</i> & "small" run\'')
    folder = tmp_path_factory.mktemp("report")
    run_scenario(parse_scenario(text, where="tiny.toml"), folder / "store", workers=0)
    with Store(folder / "store") as store:
        yield store, find_run(store).id


def test_one_file_that_needs_nothing_else(filled: tuple[Store, str], tmp_path: Path) -> None:
    store, run = filled
    assert export_run(store, run, tmp_path / "out", "html") == [tmp_path / "out" / f"{run}.html"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == [f"{run}.html"]
    text = (tmp_path / "out" / f"{run}.html").read_text()
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "i"}
    assert not re.search(r"url\((?!#)", text)  # but gradients of its own
    assert "@import" not in text
    places = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for _, attributes in page.tags:
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        href = attributes.get("href", CSV)
        assert href.startswith(CSV) or href.removeprefix("#") in places
        assert not any(name.startswith("on") for name in attributes)
    said = " ".join(page.words)
    assert 'a <i>tiny</i> & "small" run' in said
    assert "Incomplete" not in said
    for table in show_run(store, run):
        assert table.title in said
        assert all(note in said for note in table.notes)
    assert said.index("Controls:") < said.index("At linf 32/255") < said.index("Figure 1.") < said.index("Tables")


def test_every_figure_has_its_words_and_numbers(filled: tuple[Store, str]) -> None:
    page = write_report(*filled)
    figures = re.findall(r"(?s)<figure>.*?</figure>", page.partition("<h2>Figures</h2>")[2])
    titles = [m[1] for m in re.finditer(r"<b>Figure \d+\. (.*?)\.</b>", page)]
    assert titles == [
        "ASR by case, linf 32/255",
        "Attacks, ranked by ASR, linf 32/255",
        "ASR over eps, linf",
        "Who fools whom, linf 32/255",
    ]
    for figure in figures:
        svg = re.search(r"(?s)<svg.*</svg>", figure)
        assert svg is not None
        assert ET.fromstring(svg[0]).attrib["aria-label"]
        assert "95% intervals range over" in figure
        assert re.search(r"\bn (=|from) [\d,]+", figure)
        link = re.search(r'href="data:text/csv;charset=utf-8,([^" ]*)"', figure)
        assert link is not None
        rows = list(csv.DictReader(io.StringIO(unquote(link[1].replace("&amp;", "&")))))
        assert rows
        assert all(0 <= float(row["asr"]) <= 1 and float(row["low"]) <= float(row["high"]) for row in rows)
        assert figure.count("<tr>") == len(rows) + 1


@pytest.mark.parametrize("status", ["interrupted", "running", "failed"])
def test_an_incomplete_run_says_so_at_the_top(filled: tuple[Store, str], tmp_path: Path, status: str) -> None:
    store, run = filled
    folder = Path(shutil.copytree(store.folder, tmp_path / "store"))
    with closing(sqlite3.connect(folder / "carom.db")) as database, database:
        database.execute("update runs set status = ?", (status,))
        (one,) = database.execute("select adversarial_set, victim from cells limit 1")
        database.execute(
            "update run_cells set failure = 'out of <memory>' where adversarial_set = ? and victim = ?", one
        )
        database.execute("delete from cells where adversarial_set = ? and victim = ?", one)
    with Store(folder) as opened:
        said = " ".join(Page(write_report(opened, run)).words)
    assert said.index("Incomplete.") < said.index("In short")
    assert re.search(r"1 of \d+ cells have no outcome, 1 of them failed", said)
    assert "out of <memory>" in said
    with closing(sqlite3.connect(folder / "carom.db")) as database, database:
        database.execute("delete from cells")
    with Store(folder) as opened, pytest.raises(InputError, match="has no outcome yet"):
        export_run(opened, run, tmp_path / "out", "html")
    assert not (tmp_path / "out").exists()
