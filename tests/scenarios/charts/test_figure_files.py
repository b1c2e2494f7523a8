"""Files of figures: of the size that was asked for, and words that stand on no others."""

import io
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import altair as alt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carom.app.charts.effects import effects
from carom.app.charts.gates import chart as gate_chart
from carom.app.charts.gates import checks
from carom.scenarios.charts import theme
from carom.scenarios.charts.cases import cases
from carom.scenarios.charts.costs import costs
from carom.scenarios.charts.curves import curves
from carom.scenarios.charts.dots import dots
from carom.scenarios.charts.matrix import heat_map

from .drawings import SVG

POINTS = 72 / 25.4  # of a millimetre
NAMES = ["uci/uniform/resnet-small", "uci/tv0.3/lenet", "fonts/uniform/mlp", "fonts/tv0.3/vgg-small"]
RNG = np.random.default_rng(0)


def rates(n: int) -> pd.DataFrame:
    asr = RNG.uniform(0.2, 0.9, n)
    return pd.DataFrame({"asr": asr, "low": asr - 0.05, "high": asr + 0.05, "n": 9, "95% interval": "x"})


def of_dots() -> alt.LayerChart:
    table = rates(24).assign(label=[f"{name} seed {i}" for name in NAMES for i in range(2) for _ in range(3)])
    return dots(
        table.assign(series=["attacker plain", "victim pgd-at", "both"] * 8),
        rows=list(dict.fromkeys(table["label"])),
        across="ASR",
    )


def of_cases() -> alt.LayerChart:
    table = rates(9).assign(case=[f"C{i}" for i in range(8)] + ["control"], mismatch="x", series="", cells=3)
    return cases(table, pd.DataFrame())


def of_heat_map() -> alt.LayerChart:
    names = [f"{name}/s{seed}" for name in NAMES for seed in (1, 2, 3)]
    table = pd.DataFrame(itertools.product(names, names), columns=["s", "v"])
    table = table.assign(ASR=RNG.random(len(table)), k=1, n=9, cells=1)
    return heat_map(table.astype({"s": pd.CategoricalDtype(names), "v": pd.CategoricalDtype(names)}), "s", "v")


def of_curves() -> alt.LayerChart:
    names = [f"{name} steps=10" for name in ("mi", "mi+di", "bim", "vt+mi", "pgd")]
    table = rates(20).assign(attack=names * 4, radius=np.repeat([4, 8, 16, 32], 5) / 255)
    ticks = {k / 255: f"{k}/255" for k in (4, 8, 16, 32)}
    return curves(table, line="attack", across="radius", title="eps", ticks=ticks)


def of_costs() -> alt.LayerChart:
    table = rates(12).assign(surrogate=[f"{name} {i}" for name in NAMES for i in range(3)], n=9, seeds=2)
    return costs(table.assign(trainings=np.geomspace(1, 30, 12)), "trainings")


def of_effects() -> alt.LayerChart:
    table = pd.DataFrame({"name": ["source", "balance", "architecture"], "effect": [-22.0, -1.0, -12.0]})
    return effects(table.assign(low=table["effect"] - 3, high=table["effect"] + 3, interval="x", p=0.01, kind="all"))


def of_gates() -> alt.LayerChart:
    table = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=8, freq="D"), "now": 0.6})
    return gate_chart(
        table.assign(
            verdict="holds", first="holds", before=0.61, low=-0.02, high=0.04, allowed=0.05, clean_now=0.9, commit="abc"
        )
    )


def of_checks() -> alt.LayerChart:
    table = pd.DataFrame({"what": ["robust accuracy", "floor", *(f"class {i}" for i in range(10))], "spare": 2.0})
    verdicts = ["weaker", "cannot tell", "holds"] * 4
    return checks(table.assign(verdict=verdicts, spare_low=-1.0, spare_high=4.0, before=0.7, now=0.6, n=100))


FIGURES = [of_dots, of_cases, of_heat_map, of_curves, of_costs, of_effects, of_gates, of_checks]
MADE = pytest.mark.parametrize("made", FIGURES, ids=lambda made: made.__name__)


@pytest.mark.thorough
@MADE
def test_files_are_as_wide_as_the_screen_or_as_a_column(made: Callable[[], alt.LayerChart]) -> None:
    figure = made()
    _, _, width, height = view(theme.svg(figure))
    assert width == theme.WIDTH
    assert height == figure.to_dict()["height"]
    picture = Image.open(io.BytesIO(theme.png(figure)))
    assert picture.size == pytest.approx((width * 200 / 72, height * 200 / 72), abs=1.5)
    assert page(theme.pdf(figure)) == pytest.approx((width, height))

    for millimetres in (theme.COLUMN, theme.TEXT):
        drawn = theme.svg(figure, millimetres)
        assert re.search(rf'<svg[^>]* width="{millimetres:g}mm" height="[\d.]+mm"', drawn)
        _, _, width, height = view(drawn)
        printed = Image.open(io.BytesIO(theme.png(figure, millimetres)))
        assert printed.size[0] == pytest.approx(millimetres / 25.4 * 300, abs=1.5)
        assert printed.size[1] / printed.size[0] == pytest.approx(height / width, rel=0.01)
        across, up = page(theme.pdf(figure, millimetres))
        assert across == pytest.approx(millimetres * POINTS, rel=1e-4)
        assert up / across == pytest.approx(height / width, rel=1e-4)
        # journals ask for letters of 5 to 7 points
        assert min(size for size, _ in letters(drawn)) * millimetres * POINTS / width > 5


@MADE
@pytest.mark.parametrize("millimetres", [None, theme.COLUMN])
def test_no_word_stands_on_another(made: Callable[[], alt.LayerChart], millimetres: float | None) -> None:
    found = boxes(theme.svg(made(), millimetres))
    assert len(found) > 5
    for (one, a), (other, b) in itertools.combinations(found, 2):
        apart = a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]
        assert apart, (one, other)


@MADE
@pytest.mark.parametrize("millimetres", [None, theme.COLUMN])
def test_words_stand_inside_the_figure(made: Callable[[], alt.LayerChart], millimetres: float | None) -> None:
    drawn = theme.svg(made(), millimetres)
    _, _, width, height = view(drawn)
    for word, (left, top, right, bottom) in boxes(drawn):
        assert min(left, top) > -1, word
        assert right < width + 1, word
        assert bottom < height + 1, word


def view(drawn: str) -> tuple[float, ...]:
    return tuple(map(float, ET.fromstring(drawn).attrib["viewBox"].split()))


def page(file: bytes) -> tuple[float, float]:
    found = re.search(rb"MediaBox ?\[ ?0 0 ([\d.]+) ([\d.]+)", file)
    assert found is not None
    return float(found[1]), float(found[2])


def letters(drawn: str) -> list[tuple[float, str]]:
    """The size of each word that is seen, and the word."""
    texts = ET.fromstring(drawn).iter(f"{SVG}text")
    return [(float(t.attrib["font-size"][:-2]), "".join(t.itertext())) for t in texts if t.get("opacity") != "0"]


def boxes(drawn: str) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Left, top, right and bottom of every word that lies or stands; letters are taken to be half as wide as high."""
    found = []

    def walk(element: ET.Element, x: float, y: float) -> None:
        moves = re.findall(r"translate\(([-\d.e]+),([-\d.e]+)\)", element.get("transform", ""))
        for dx, dy in moves:
            x, y = x + float(dx), y + float(dy)
        turned = re.search(r"rotate\(([-\d.]+)\)", element.get("transform", ""))
        word = "".join(element.itertext()).strip() if element.tag == f"{SVG}text" else ""
        angle = float(turned[1]) if turned else 0.0
        if word and element.get("opacity") != "0" and angle in (0, -90):
            size = float(element.attrib["font-size"][:-2])
            long = 0.5 * size * len(word)
            start = {"end": -long, "middle": -long / 2}.get(element.get("text-anchor", ""), 0.0)
            flat = (x + start, y - 0.7 * size, x + start + long, y + 0.1 * size)
            upright = (x - 0.7 * size, y - start - long, x + 0.1 * size, y - start)
            found.append((word, upright if angle else flat))
        for child in element:
            walk(child, x, y)

    walk(ET.fromstring(drawn), 0.0, 0.0)
    return found
