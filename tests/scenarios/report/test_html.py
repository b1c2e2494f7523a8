"""The report of a run is one file that needs nothing else, says first what matters, and draws what the tables hold."""

import csv
import io
import re
import shutil
import sqlite3
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from tests.scenarios.conftest import TINY
from tests.scenarios.made_outcomes import made

from carom.errors import InputError
from carom.scenarios.report.figures import SERIES, Estimate, curves, dots, heat_map, short, viridis
from carom.scenarios.report.files import export_run
from carom.scenarios.report.html import (
    PAIRED,
    RANKED,
    Figure,
    attacks_drawn,
    defenses_drawn,
    eps_drawn,
    pairs_drawn,
    surrogates_drawn,
    write_report,
)
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.statistics import Outcomes
from carom.scenarios.store.database import Store
from carom.scenarios.store.runs import find_run
from carom.scenarios.tables.rates import Shown, groups_shown, show_run
from carom.scenarios.store.outcomes import find_run
from carom.scenarios.tables.rates import show_groups
from carom.scenarios.tables.table import Table
from carom.scenarios.tables.which import show_run

SVG = "{http://www.w3.org/2000/svg}"
ODD = """a </svg><script>alert(1)</script> & "b" 'c'\n\x07"""
CSV = "data:text/csv;charset=utf-8,"
VOID = {"meta", "br"}


def drawn(svg: str) -> ET.Element:
    """The figure, which is XML, and whose every place is a number inside it."""
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for element in root.iter():
        for side, end in (("x", width), ("x1", width), ("x2", width), ("y", height), ("y1", height), ("y2", height)):
            if side in element.attrib:
                assert 0 <= float(element.attrib[side]) <= end, (element.tag, element.attrib)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    return root


def marks(root: ET.Element) -> list[tuple[str, float, float]]:
    """Colour, x and y of every mark that has a tip, so none of the legend."""
    found = []
    for group in root.iter(f"{SVG}g"):
        path = group.find(f"{SVG}path")
        if path is not None and group.find(f"{SVG}title") is not None:
            place = re.fullmatch(r"translate\((\S+) (\S+)\)", path.attrib["transform"])
            assert place is not None
            found.append((path.attrib["class"], float(place[1]), float(place[2])))
    return found


def words(root: ET.Element) -> list[str]:
    return [str(text.text) for text in root.iter(f"{SVG}text")]


# ------------------------------------------------------------------------------------------------------------- figures


def test_dots_stand_at_their_value_in_their_row() -> None:
    estimates = [
        Estimate(label="a", value=0.0, low=0.0, high=0.5, series="one", tip="t"),
        Estimate(label="a", value=1.0, series="two", tip="t"),
        Estimate(label="b", value=0.5, low=0.4, high=0.6, series="two", tip="t"),
        Estimate(label="b", value=float("nan"), series="one", tip="t"),
    ]
    root = drawn(dots(estimates, rows=["b", "a"], alt="what", across="ASR"))
    (one, x0, ya), (two, x1, yb), (_, xm, yc) = marks(root)
    assert one == "mark s0"
    assert two == "mark s1"
    assert xm == pytest.approx((x0 + x1) / 2)
    assert yb > ya > yc  # two series of a row stand apart; b was to come first
    reaches = [line for line in root.iter(f"{SVG}line") if "reach" in line.attrib["class"]]
    assert [float(line.attrib["x2"]) - float(line.attrib["x1"]) for line in reaches] == pytest.approx(
        [0.5 * (x1 - x0), 0.2 * (x1 - x0)], abs=0.11
    )
    assert {"one", "two", "a", "b", "0%", "100%", "ASR"} <= set(words(root))


def test_curves_keep_scale_and_order() -> None:
    estimates = [
        Estimate(label="", value=v, low=v - 0.05, high=v + 0.05, series="mi", x=x, tip="t")
        for x, v in ((4.0, 0.2), (8.0, 0.4), (16.0, 0.8))
    ]
    ticks = {4.0: "4/255", 8.0: "8/255", 16.0: "16/255"}
    root = drawn(curves(estimates, alt="what", across="eps", up="ASR", ticks=ticks, joined=True))
    (_, x4, y4), (_, x8, y8), (_, x16, y16) = sorted(marks(root), key=lambda m: m[1])
    assert x16 - x8 == pytest.approx(2 * (x8 - x4), abs=0.3)
    assert y8 - y16 == pytest.approx(2 * (y4 - y8), abs=0.3)
    assert {"4/255", "8/255", "16/255"} <= set(words(root))
    logged = drawn(curves(estimates, alt="what", across="cost", up="ASR", log=True))
    (_, x4, _), (_, x8, _), (_, x16, _) = sorted(marks(logged), key=lambda m: m[1])
    assert x16 - x8 == pytest.approx(x8 - x4, abs=0.3)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_figures_of_next_to_nothing(n: int) -> None:
    same = [Estimate(label=f"p{i}", value=1.0, x=3.0, tip="t") for i in range(n)]
    assert len(marks(drawn(curves(same, alt="what", across="cost", up="ASR", log=True)))) == n
    assert len(marks(drawn(curves(same, alt="what", across="cost", up="ASR")))) == n
    assert len(marks(drawn(dots(same, rows=[e.label for e in same], alt="what", across="ASR")))) == n


def test_names_beside_marks_cover_no_other() -> None:
    crowd = [Estimate(label=f"name {i}", value=0.5 + 0.001 * i, x=10.0, tip="t") for i in range(9)]
    shown = [w for w in words(drawn(curves(crowd, alt="what", across="cost", up="ASR"))) if w.startswith("name")]
    assert 0 < len(shown) < 9


def test_a_heat_map_has_one_field_a_pair_and_its_number() -> None:
    values = {("a", "x"): (0.0, "t"), ("a", "y"): (1.0, "t"), ("b", "x"): (0.254, "t")}
    root = drawn(heat_map(values, rows=["a", "b"], columns=["x", "y"], alt="what", down="surrogate", across="victim"))
    fields = [g.find(f"{SVG}rect") for g in root.iter(f"{SVG}g")]
    assert [f.attrib["fill"] for f in fields if f is not None] == [viridis(0.0), viridis(1.0), viridis(0.254)]
    assert {"0", "100", "25", "surrogate", "victim"} <= set(words(root))


def test_what_comes_from_data_is_words_only() -> None:
    estimate = Estimate(label=ODD, value=0.5, low=0.4, high=0.6, series=ODD, x=1.0, tip=ODD)
    heat = heat_map({(ODD, ODD): (0.5, ODD)}, rows=[ODD], columns=[ODD], alt=ODD, down="s", across="v")
    for svg in (
        dots([estimate], rows=[ODD], alt=ODD, across=ODD),
        curves([estimate], alt=ODD, across=ODD, up="ASR"),
        heat,
    ):
        root = ET.fromstring(svg)
        assert not list(root.iter(f"{SVG}script"))
        assert "<script>alert(1)</script>" in root.attrib["aria-label"]


def test_short_names_leave_out_what_all_share_and_stay_distinct() -> None:
    assert short(["d/u/lenet/standard(epochs=3)/s1", "d/u/vgg/standard(epochs=3)/s1"]) == {
        "d/u/lenet/standard(epochs=3)/s1": "lenet",
        "d/u/vgg/standard(epochs=3)/s1": "vgg",
    }
    assert short(["d/u/lenet"]) == {"d/u/lenet": "d/u/lenet"}
    names = ["a" * 30 + str(i) + "b" * 30 for i in range(9)] + ["", "/", "a", "a/b", "b/a"]
    found = short(names, 20)
    assert len(set(found.values())) == len(names)
    assert all(len(name) <= 24 for name in found.values())


# ------------------------------------------------------------------------------------------------- figures of outcomes


def many(surrogates: int, victims: int, attacks: int = 1, eps: tuple[str, ...] = ("8/255",)) -> Outcomes:
    rng = np.random.default_rng(0)
    hits, rows = {}, []
    for i in range(surrogates * attacks * len(eps)):
        for v in range(victims):
            budget, attack = eps[i % len(eps)], i // len(eps) % attacks
            hits[f"s{i}", 1, f"v{v}", 2] = rng.random(20) < 0.3
            rows.append({"attack": f"attack-{attack}", "eps": budget, "surrogate": f"s{i // len(eps) // attacks}/s1"})
    return made(hits, rows=rows)


def fields(figure: Figure) -> int:
    return len(list(drawn(figure.svg).iter(f"{SVG}g")))


def test_a_large_heat_map_is_cut_and_says_so() -> None:
    (figure,) = pairs_drawn(many(100, 100))
    assert fields(figure) == PAIRED**2
    assert f"the {PAIRED} of 100 surrogates" in figure.caption
    assert f"the {PAIRED} of 100 victims" in figure.caption
    assert len(figure.data.frame) == PAIRED**2
    (small,) = pairs_drawn(many(1, 1))
    assert fields(small) == 1
    assert "Only" not in small.caption


def test_attacks_are_ranked_and_cut() -> None:
    outcomes = many(2, 2, RANKED + 5)
    (figure,) = attacks_drawn(show_groups(outcomes, "attack", ("norm", "eps")))
    places = marks(drawn(figure.svg))
    assert len(places) == RANKED
    by_row = [x for _, x, y in sorted(places, key=lambda m: m[2])]
    assert by_row == sorted(by_row, reverse=True)
    assert f"Only the first {RANKED} of {RANKED + 5} rows" in figure.caption


def test_eps_is_drawn_where_there_are_several() -> None:
    by_attack = show_groups(many(2, 2, SERIES + 2, ("4/255", "8/255", "1/10")), "attack", ("norm", "eps"))
    (figure,) = eps_drawn(by_attack)
    assert len(marks(drawn(figure.svg))) == 3 * SERIES
    assert f"Only the {SERIES} strongest of {SERIES + 2}" in figure.caption
    assert {"4/255", "8/255", "1/10"} <= set(words(drawn(figure.svg)))
    assert not eps_drawn(show_groups(many(2, 2), "attack", ("norm", "eps")))


def test_more_groups_than_colours_are_rows() -> None:
    outcomes = many(SERIES + 1, 1, 2)
    recipes = outcomes.cells["surrogate"].str[:2]
    outcomes = replace(outcomes, cells=outcomes.cells.assign(recipe_s=recipes))
    (figure,) = attacks_drawn(show_groups(outcomes, "attack", ("norm", "eps", "recipe_s")))
    assert {colour for colour, _, _ in marks(drawn(figure.svg))} == {"mark s0"}
    assert len(marks(drawn(figure.svg))) == 2 * (SERIES + 1)
    assert "attack-0, surrogate's recipe s0" in words(drawn(figure.svg))


SAID = {"norm": "linf", "eps": "8/255", "ranges_over": "images", "claim": "these models"}


def test_surrogates_are_drawn_over_cost() -> None:
    frame = pd.DataFrame(
        {
            "surrogate": ["single", "lgv", "unknown"],
            "attack": "mi",
            "trainings": [1.0, 2.0, float("nan")],
            "efficient": [True, False, False],
            "asr": [0.3, 0.5, 0.4],
            "low": [0.2, 0.4, 0.3],
            "high": [0.4, 0.6, 0.5],
            "n": 100,
            **SAID,
        }
    )
    frame["95% interval"] = "x"
    (figure,) = surrogates_drawn(Table(name="surrogates", title="", frame=frame, forms={}))
    (second, x2, y2), (first_, x1, y1) = marks(drawn(figure.svg))  # the better one lies on top
    assert (first_, second) == ("mark s0", "mark s1")
    assert x1 < x2
    assert y1 > y2
    assert {"single", "lgv"} <= set(words(drawn(figure.svg)))
    assert not surrogates_drawn(Table(name="surrogates", title="", frame=frame[:1], forms={}))


def test_defenses_are_drawn_clean_and_attacked() -> None:
    kept = {"clean": [0.9, 0.8], "best": [0.2, 0.7], "white box": [float("nan"), 0.6]}
    frame = pd.DataFrame(
        {"defense": ["none", "trades"], "configuration": ["a", "b"], "images": 300, "seeds": 1, **SAID}
    )
    for column, values in kept.items():
        raw = column.replace(" ", "_")
        frame[column], frame[f"{raw}_low"], frame[f"{raw}_high"] = values, 0.1, 0.95
    (figure,) = defenses_drawn(Table(name="defenses", title="", frame=frame, forms={}))
    assert [colour for colour, _, _ in marks(drawn(figure.svg))] == ["mark s0"] * 2 + ["mark s1"] * 2 + ["mark s2"]
    assert {"none", "trades", "clean", "best transfer pair", "white box"} <= set(words(drawn(figure.svg)))
    assert "n = 300 images" in figure.caption


# -------------------------------------------------------------------------------------------------------------- report


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
    assert not tags & {"script", "link", "img", "iframe", "object", "i"}
    assert "url(" not in text
    assert "@import" not in text
    for _, attributes in page.tags:
        assert "src" not in attributes
        assert attributes.get("href", CSV).startswith(CSV)
        assert not any(name.startswith("on") for name in attributes)
    said = " ".join(page.words)
    assert 'a <i>tiny</i> & "small" run' in said
    assert "Incomplete" not in said
    for table in show_run(store, run):
        assert table.title in said
        assert all(note in said for note in table.notes)
    assert said.index("Controls:") < said.index("ASR at linf 32/255") < said.index("Figure 1.") < said.index("Tables")


def test_every_figure_has_its_words_and_numbers(filled: tuple[Store, str]) -> None:
    page = write_report(*filled)
    figures = re.findall(r"(?s)<figure>.*?</figure>", page)
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
        drawn(svg[0])
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
