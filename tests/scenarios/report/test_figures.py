"""The figures of a report draw what the tables hold: ranked, cut where there is too much, and it is said."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.scenarios.charts.drawings import drawn, marks, places, words
from tests.scenarios.made_outcomes import made

from carom.scenarios.charts import theme
from carom.scenarios.report.figures import (
    PAIRED,
    RANKED,
    Figure,
    attacks_drawn,
    defenses_drawn,
    eps_drawn,
    pairs_drawn,
    surrogates_drawn,
)
from carom.scenarios.report.inline import inline
from carom.scenarios.statistics import Outcomes
from carom.scenarios.tables.rates import show_groups
from carom.scenarios.tables.table import Table


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
    return len(places(drawn(figure.chart), "path"))


@pytest.mark.thorough
def test_a_large_heat_map_is_cut_and_says_so() -> None:
    (figure,) = pairs_drawn(many(100, 100))
    assert fields(figure) == PAIRED**2
    assert f"the {PAIRED} of 100 surrogates" in figure.caption
    assert f"the {PAIRED} of 100 victims" in figure.caption
    assert len(figure.data.frame) == PAIRED**2
    (small,) = pairs_drawn(many(1, 1))
    assert fields(small) == 1
    assert "Only" not in small.caption


def test_a_gradient_of_a_figure_is_on_the_page_under_the_name_that_asks_for_it() -> None:
    (figure,) = pairs_drawn(many(3, 3))
    page = inline(figure.chart, "what", "one")
    asked = set(re.findall(r"url\(#([^)]+)\)", page))
    assert asked
    assert asked <= set(re.findall(r'id="([^"]+)"', page))


def test_attacks_are_ranked_and_cut() -> None:
    outcomes = many(2, 2, RANKED + 5)
    (figure,) = attacks_drawn(show_groups(outcomes, "attack", ("norm", "eps")))
    places = marks(drawn(figure.chart))
    assert len(places) == RANKED
    by_row = [x for _, x, y in sorted(places, key=lambda m: m[2])]
    assert by_row == sorted(by_row, reverse=True)
    assert f"Only the first {RANKED} of {RANKED + 5} rows" in figure.caption


def test_eps_is_drawn_where_there_are_several() -> None:
    by_attack = show_groups(many(2, 2, theme.SERIES + 2, ("4/255", "8/255", "1/10")), "attack", ("norm", "eps"))
    (figure,) = eps_drawn(by_attack)
    assert len(marks(drawn(figure.chart))) == 3 * theme.SERIES
    assert f"Only the {theme.SERIES} strongest of {theme.SERIES + 2}" in figure.caption
    assert {"4/255", "8/255", "1/10"} <= set(words(drawn(figure.chart)))
    assert not eps_drawn(show_groups(many(2, 2), "attack", ("norm", "eps")))


def test_more_groups_than_colours_are_rows() -> None:
    outcomes = many(theme.SERIES + 1, 1, 2)
    recipes = outcomes.cells["surrogate"].str[:2]
    outcomes = replace(outcomes, cells=outcomes.cells.assign(recipe_s=recipes))
    (figure,) = attacks_drawn(show_groups(outcomes, "attack", ("norm", "eps", "recipe_s")))
    assert {colour for colour, _, _ in marks(drawn(figure.chart))} == {"s0"}
    assert len(marks(drawn(figure.chart))) == 2 * (theme.SERIES + 1)
    assert "attack-0, surrogate's recipe s0" in words(drawn(figure.chart))


SAID = {"norm": "linf", "eps": "8/255", "ranges_over": "images", "claim": "these models"}


def test_surrogates_are_drawn_over_cost() -> None:
    frame = pd.DataFrame(
        {
            "surrogate": ["single", "lgv", "unknown"],
            "attack": "mi",
            "trainings": [1.0, 2.0, float("nan")],
            "efficient": [True, False, False],
            "asr": [0.5, 0.3, 0.4],
            "low": [0.4, 0.2, 0.3],
            "high": [0.6, 0.4, 0.5],
            "n": 100,
            **SAID,
        }
    )
    frame["95% interval"] = "x"
    (figure,) = surrogates_drawn(Table(name="surrogates", title="", frame=frame, forms={}))
    (first_, x1, y1), (second, x2, y2) = sorted(marks(drawn(figure.chart)), key=lambda mark: mark[1])
    assert (first_, second) == ("s1", "s0")  # nothing is as good for less; a single network is better and cheaper
    assert x1 < x2
    assert y1 < y2
    assert {"single", "lgv"} <= set(words(drawn(figure.chart)))
    assert not surrogates_drawn(Table(name="surrogates", title="", frame=frame[:1], forms={}))


def test_defenses_are_drawn_clean_and_attacked() -> None:
    rows: list[dict[str, object]] = []
    for defense, kept in (("none", (0.9, 0.4, 0.2)), ("trades", (0.8, 0.75, 0.7))):
        row: dict[str, object] = {"defense": defense, "configuration": defense, "norm": "linf", "eps": "8/255"}
        rates = dict(zip(("clean", "average", "strongest"), kept, strict=True)) | {"white box": float("nan")}
        for rate, value in rates.items():
            raw = rate.replace(" ", "_")
            row |= {rate: value, f"{raw}_low": 0.1, f"{raw}_high": 0.95}
        rows.append({**row, "images": 300, "seeds": 1, "alarms": 0.0, "training passes": 100.0})
    frame = pd.DataFrame(rows).assign(**SAID)
    apart = frame.assign(**{"attacker has": "public models", "strongest pair": "a × mi"})
    tables = {
        name: Table(name=name, title="", frame=of, forms={})
        for name, of in (("defenses", frame), ("defenses-by-threat", apart))
    }
    for column in ("average", "strongest"):
        tables["defenses"] = replace(
            tables["defenses"],
            frame=tables["defenses"].frame.drop(columns=[column, f"{column}_low", f"{column}_high"]),
        )
    tables["defenses"] = replace(
        tables["defenses"], frame=tables["defenses"].frame.drop(columns=["ranges_over", "claim"])
    )
    (figure,) = defenses_drawn(tables)
    assert "Defences against attackers who have public models only" in figure.title
    spec = figure.chart.to_json()
    assert all(word in spec for word in ("trades", "undefended", "1, tied", "no signs"))
    assert {"clean", "average", "strongest"} <= set(words(drawn(figure.chart)))
    assert "white box" not in words(drawn(figure.chart))  # nobody attacked it
    assert len(marks(drawn(figure.chart))) == 2 * 3
    assert "n = 300 images" in figure.caption
