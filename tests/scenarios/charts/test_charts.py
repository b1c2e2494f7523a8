"""The charts that the explorer and the report share: marks stand at their values, names are short and hide nothing."""

import altair as alt
import pandas as pd
import pytest

from carom.scenarios.charts import theme
from carom.scenarios.charts.curves import curves
from carom.scenarios.charts.dots import dots
from carom.scenarios.charts.matrix import CHOSEN, POOLED, heat_map
from carom.scenarios.charts.names import short
from carom.scenarios.charts.scatter import scatter
from carom.scenarios.report.inline import inline

from .drawings import SVG, drawn, marks, places, words

ODD = """a </svg><script>alert(1)</script> & "b" 'c'\n\x07"""
TITLE = " ".join(ODD.split()).removesuffix("\x07")


def rows(*of: tuple[str, str, float, float, float]) -> pd.DataFrame:
    table = pd.DataFrame(of, columns=["label", "series", "asr", "low", "high"])
    return table.assign(n=9, **{"95% interval": "x"})


NAN = float("nan")


def test_dots_stand_at_their_value_in_their_row() -> None:
    table = rows(("a", "one", 0.0, 0.0, 0.5), ("a", "two", 1.0, NAN, NAN), ("b", "two", 0.5, 0.4, 0.6))
    table = pd.concat([table, rows(("b", "one", NAN, NAN, NAN))])
    root = drawn(dots(table, rows=["b", "a"], across="ASR"))
    (one, x0, ya), (two, x1, yb), (_, xm, yc) = marks(root)
    assert (one, two) == ("s0", "s1")
    assert xm == pytest.approx((x0 + x1) / 2, abs=0.01)
    assert yb > ya > yc  # two series of a row stand apart; b was to come first
    reaches = [abs(float(line.get("x2", "0"))) for _, _, _, line in places(root, "line")]
    assert reaches == pytest.approx([0.5 * (x1 - x0), 0.2 * (x1 - x0)], abs=0.01)
    assert {"one", "two", "a", "b", "0%", "100%", "ASR"} <= set(words(root))


def radii(*values: tuple[float, float]) -> pd.DataFrame:
    table = pd.DataFrame(values, columns=["radius", "asr"]).assign(attack="mi", n=9, **{"95% interval": "x"})
    return table.assign(low=table["asr"] - 0.05, high=table["asr"] + 0.05)


def test_curves_keep_scale_and_order() -> None:
    table = radii((4.0, 0.2), (8.0, 0.4), (16.0, 0.8))
    ticks = {4.0: "4/255", 8.0: "8/255", 16.0: "16/255"}
    root = drawn(curves(table, line="attack", across="radius", title="eps", ticks=ticks))
    (_, x4, y4), (_, x8, y8), (_, x16, y16) = sorted(marks(root), key=lambda m: m[1])
    assert x16 - x8 == pytest.approx(2 * (x8 - x4), abs=0.01)
    assert y8 - y16 == pytest.approx(2 * (y4 - y8), abs=0.01)
    assert {"4/255", "8/255", "16/255"} <= set(words(root))
    logged = drawn(curves(table, line="attack", across="radius", title="steps", log=True))
    (_, x4, _), (_, x8, _), (_, x16, _) = sorted(marks(logged), key=lambda m: m[1])
    assert x16 - x8 == pytest.approx(x8 - x4, abs=0.01)


def named(n: int, step: float = 0.0) -> pd.DataFrame:
    table = pd.DataFrame({"name": [f"name {i}" for i in range(n)], "asr": [1.0 - step * i for i in range(n)]})
    return table.assign(cost=10.0, low=table["asr"], high=table["asr"], n=9, **{"95% interval": "x"})


@pytest.mark.parametrize("n", [1, 2])
def test_figures_of_next_to_nothing(n: int) -> None:
    table = named(n)
    for log in (True, False):
        assert len(marks(drawn(scatter(table, name="name", across="cost", title="cost", log=log)))) == n
    same = table.assign(label=table["name"], series="")
    assert len(marks(drawn(dots(same, rows=list(same["label"]), across="ASR")))) == n


def test_names_beside_marks_cover_no_other() -> None:
    crowd = drawn(scatter(named(9), name="name", across="cost", title="cost"))
    shown = [w for w in words(crowd) if w.startswith("name")]
    assert 0 < len(shown) < 9


def pairs(row: str, column: str, *shares: float) -> pd.DataFrame:
    table = pd.DataFrame({"s": pd.Categorical([row] * len(shares)), "ASR": shares, "k": 1, "n": 9, "cells": 1})
    names = [f"{column}{i}" if i else column for i in range(len(shares))]
    return table.assign(v=pd.Categorical(names, names, ordered=True))


def test_a_heat_map_has_one_field_a_pair_and_its_number() -> None:
    root = drawn(heat_map(pairs("a", "x", 0.0, 1.0, 0.254), "s", "v", down="surrogate", across="victim"))
    fields = places(root, "path")
    # the ends of viridis, as its authors published them
    assert [colour for colour, *_ in fields][:2] == ["rgb(68, 1, 84)", "rgb(253, 231, 37)"]
    assert len(fields) == 3
    assert {"0%", "100%", "25%", "surrogate", "victim"} <= set(words(root))


def test_a_heat_map_has_margins_and_outlines() -> None:
    table = pairs("a", "x", 0.2, 0.4, 0.6).assign(low=0.1, high=0.7, one_case=[1, 2, -1])
    down = pd.DataFrame({"s": pd.Categorical(["a"]), "ASR": 0.5, "k": 3, "n": 27, "cells": 3, "low": 0.4, "high": 0.6})
    across = table.drop(columns="s")
    chart = heat_map(table, "s", "v", margins=(down, across), chosen=("a", "x1"))
    spec = chart.to_dict()
    (frame,) = [values for values in spec["datasets"].values() if values == [{"row": "a", "column": "x1"}]]
    assert frame
    told = [value for values in spec["datasets"].values() for value in values if value.get("row") == POOLED]
    assert [value["ASR"] for value in told] == [0.2, 0.4, 0.6]
    assert {value["interval"] for value in told} == {"10.0–70.0%"}
    assert [layer["mark"]["stroke"] for layer in spec["layer"] if "stroke" in layer["mark"]] == [
        "white", "black", "white", CHOSEN,
    ]  # fmt: skip
    assert POOLED in words(drawn(chart))
    alone = heat_map(table, "s", "v", chosen=("a", "gone")).to_dict()  # what is not there is not outlined
    assert CHOSEN not in str(alone)


def test_one_mark_a_row_stands_in_its_middle() -> None:
    table = rows(("a", "one", 0.5, 0.4, 0.6), ("b", "two", 0.5, 0.4, 0.6))
    spec = dots(table, rows=["a", "b"], across="ASR", kinds=["one", "two"]).to_dict()
    assert "yOffset" not in spec["layer"][1]["encoding"]
    assert spec["layer"][1]["encoding"]["color"]["scale"]["range"] == [theme.PALETTE[0], theme.OTHERS]


def test_two_figures_of_a_page_share_no_name() -> None:
    chart = heat_map(pairs("a", "x", 0.5), "s", "v")
    first, second = (inline(chart, "what", name) for name in ("one", "two"))
    assert "url(#one-" in first
    assert "one-" not in second


def test_what_comes_from_data_is_words_only() -> None:
    table = rows((ODD, ODD, 0.5, 0.4, 0.6), (ODD, "other", 0.5, 0.4, 0.6))
    line = radii((1.0, 0.5)).assign(attack=ODD)
    charts: list[alt.LayerChart] = [
        dots(table, rows=[ODD], across=TITLE),
        curves(line, line="attack", across="radius", title=TITLE),
        heat_map(pairs(ODD, ODD, 0.5), "s", "v", down=TITLE, across=TITLE),
    ]
    for chart in charts:
        root = drawn(chart, ODD)
        assert not list(root.iter(f"{SVG}script"))
        assert "<script>alert(1)</script>" in root.attrib["aria-label"]


def test_a_file_is_as_wide_as_a_page_and_as_high_as_its_rows() -> None:
    """Without a width each row would be drawn 20 pixels wide and names upon another."""
    table = rows(*((f"row {i}", "", 0.5, 0.4, 0.6) for i in range(30)))
    width, height = map(
        float, drawn(dots(table, rows=list(table["label"]), across="ASR")).attrib["viewBox"].split()[2:]
    )
    assert width == theme.WIDTH
    assert 30 * 20 < height < 30 * 40


def test_short_names_leave_out_what_all_share_and_stay_distinct() -> None:
    assert short(["d/u/lenet/standard(epochs=3)/s1", "d/u/vgg/standard(epochs=3)/s1"]) == {
        "d/u/lenet/standard(epochs=3)/s1": "lenet",
        "d/u/vgg/standard(epochs=3)/s1": "vgg",
    }
    assert short(["d/u/lenet"]) == {"d/u/lenet": "d/u/lenet"}
    assert short(["uci/a/vgg/s1", "fonts/a/vgg/s1"]) == {"uci/a/vgg/s1": "uci", "fonts/a/vgg/s1": "fonts"}
    names = ["a" * 30 + str(i) + "b" * 30 for i in range(9)] + ["", "/", "a", "a/b", "b/a"]
    found = short(names, 20)
    assert len(set(found.values())) == len(names)
    assert all(len(name) <= 24 for name in found.values())
