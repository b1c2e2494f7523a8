"""How every figure looks: width, letters, colours and shapes, axes in percent, marks with intervals; figures as files.

A figure has one size and one layout, on a screen and in a file. Only the colours of words, lines and paper differ: on a
screen they are the explorer's own light or dark theme, in a file these.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

# near Okabe and Ito's colours, which people of all kinds of colour vision tell apart; shapes say the same
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "triangle-right")
SERIES = len(PALETTE)  # as many can be told apart
OTHERS = "#999999"  # what has no colour of its own
GREY = "#808080"  # read on white and on black
INK, FAINT, LINE = "#1a1a1a", "#666666", "#dddddd"  # words, axes and grid of a file
WIDTH = 860  # pixels of a figure, axes and legends included
LETTERS = 12  # pixels of its words
FONT = "Arial, Liberation Sans, Helvetica, sans-serif"  # all but the last are equally wide
COLUMN, TEXT = 84.0, 174.0  # millimetres of a paper's column, and of its whole text
PER_MM = WIDTH / TEXT  # pixels: at both widths letters have the same size in print, near 7 points
NAMES = 0.4  # of a figure's width: what names of rows take at most
LEGEND = 24  # pixels of a legend's line
VERSION = "_".join(alt.SCHEMA_VERSION.split(".")[:2])  # of Vega-Lite, as vl_convert names it
SHARE = alt.Scale(domain=[0, 1])


def percent_axis(**more: Any) -> alt.Axis:
    """An axis of shares, written as percent."""
    return alt.Axis(format=".0%", tickMinStep=0.01, **more)


def colours(names: Sequence[str]) -> alt.Scale:
    """A colour for each of at most `SERIES` names."""
    return alt.Scale(domain=list(names), range=list(PALETTE[: len(names)]))


def shapes(names: Sequence[str]) -> alt.Scale:
    """A shape for each of at most `SERIES` names."""
    return alt.Scale(domain=list(names), range=list(SHAPES[: len(names)]))


def interval_marks(
    base: alt.Chart, value: alt.X | alt.Y, *, faint: bool = False, size: int = 80, **channels: Any
) -> list[alt.Chart]:
    """A mark at a value, behind it a line over its interval, from the columns `low` to `high` where there is one.

    Args:
        base: Of the data.
        value: Where the mark stands along the axis that the interval lies on.
        faint: Whether lines are thin and grey, so that they do not hide the marks of others.
        size: Of the mark, in square pixels.
        channels: Of the mark; those of place and colour are the line's too.
    """
    along = "x" if isinstance(value, alt.X) else "y"
    low = value.copy()
    low["shorthand"] = "low:Q"
    of_line = {k: v for k, v in channels.items() if k not in ("shape", "size", "tooltip", "detail")}
    line = {"opacity": 0.45, "strokeWidth": 1} if faint else {"strokeWidth": 2}
    if faint:
        of_line["color"] = alt.value(GREY)
    reach = base.transform_filter("isValid(datum.low)").mark_rule(**line)
    return [
        reach.encode(**{along: low, f"{along}2": "high:Q"}, **of_line),
        base.mark_point(filled=True, size=size, opacity=1).encode(**{along: value}, **channels),
    ]


def whole(*layers: alt.Chart, height: int) -> alt.LayerChart:
    """The layers as one figure.

    Args:
        layers: From the back to the front.
        height: Pixels, with axes and legends.
    """
    size = alt.AutoSizeParams(type="fit", contains="padding")
    figure: alt.LayerChart = dressed(alt.layer(*layers).properties(width=WIDTH, height=height, autosize=size))
    return figure


def dressed(figure: Any) -> Any:
    """A chart of any kind with the letters of all figures; what it says of its own looks stays.

    One that is put together of several has the sizes that it was given.
    """
    words: dict[str, Any] = {"labelFont": FONT, "titleFont": FONT, "titleFontWeight": "normal"}
    words |= {"labelFontSize": LETTERS, "titleFontSize": LETTERS}
    own = figure.to_dict(validate=False).get("config", {}) if figure.config is not alt.Undefined else {}
    config: dict[str, Any] = {"font": FONT, **own}
    config["axis"] = {**words, "titlePadding": 8, "labelPadding": 4, **own.get("axis", {})}
    config["legend"] = {**words, "orient": "bottom", "symbolLimit": 0, **own.get("legend", {})}
    config["view"] = {"strokeWidth": 0, **own.get("view", {})}
    worn = figure.copy(deep=False)
    worn.config = alt.Config(**config)
    if worn.padding is alt.Undefined:
        # whoever looks may have wider letters than those that names are measured with: hence the room on the left
        worn.padding = {"left": 24, "right": 12, "top": 5, "bottom": 5}
    return worn


# --------------------------------------------------------------------------------------------------------------- files


def svg(figure: alt.LayerChart, millimetres: float | None = None) -> str:
    """The figure as SVG, as it is on the screen.

    Args:
        figure: From `whole`.
        millimetres: How wide it is to be in a paper, such as `COLUMN`; laid out anew, so that letters can be read.
    """
    drawn = _drawn(figure, millimetres)
    return drawn if millimetres is None else _as_wide_as(drawn, millimetres, "mm")


def png(figure: alt.LayerChart, millimetres: float | None = None) -> bytes:
    """The figure as PNG: of a screen's size, 200 pixels an inch; in a paper's, 300. Arguments as of `svg`."""
    import vl_convert  # here, as most of who looks at a figure takes no file along

    spec, ppi, scale = still(figure, millimetres), 200, 1.0
    if millimetres is not None:
        ppi, scale = 300, millimetres / 25.4 * 72 / float(spec.get("width") or WIDTH)
    drawn: bytes = vl_convert.vegalite_to_png(spec, vl_version=VERSION, ppi=ppi, scale=scale)
    return drawn


def pdf(figure: alt.LayerChart, millimetres: float | None = None) -> bytes:
    """The figure as PDF, of lines and letters; a pixel of the screen is a point. Arguments as of `svg`."""
    import vl_convert

    drawn = _drawn(figure, millimetres)
    if millimetres is not None:
        drawn = _as_wide_as(drawn, millimetres / 25.4 * 72, "")
    page: bytes = vl_convert.svg_to_pdf(drawn)
    return page


def _drawn(figure: alt.LayerChart, millimetres: float | None) -> str:
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(still(figure, millimetres), vl_version=VERSION)
    return drawn


def _as_wide_as(drawn: str, length: float, unit: str) -> str:
    """The same drawing in another size."""

    def sized(found: re.Match[str]) -> str:
        start, width, height = found[1], float(found[2]), float(found[3])
        return f'{start} width="{length:.6g}{unit}" height="{height * length / width:.6g}{unit}"'

    return re.sub(r'(<svg[^>]*?) width="([\d.]+)" height="([\d.]+)"', sized, drawn, count=1)


def still(figure: alt.LayerChart, millimetres: float | None = None) -> dict[str, Any]:
    """What is drawn into a file: the figure as it is on the screen, with the words and lines of paper."""
    spec: dict[str, Any] = _printable(dressed(figure).to_dict())
    config = spec["config"]
    config["axis"] |= {
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": LINE,
        "domainColor": FAINT,
        "tickColor": FAINT,
    }
    config["legend"] |= {"labelColor": INK, "titleColor": INK}
    if millimetres is not None and "width" in spec:
        _fit(spec, round(millimetres * PER_MM))
    return spec


def _printable(value: Any) -> Any:
    """The same without control characters in its words, as XML has none."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else " " for c in value)
    if isinstance(value, Mapping):
        return {_printable(k): _printable(v) for k, v in value.items()}
    return [_printable(v) for v in value] if isinstance(value, list | tuple) else value


# --------------------------------------------------------------------------------------------------------- other widths


def _fit(spec: dict[str, Any], width: int) -> None:
    """Lay a figure out at a smaller width: shorter names, fewer entries of a legend side by side, room for these."""
    if width >= spec["width"]:
        return
    narrow = _Narrow(share=width / spec["width"], width=width)
    spec["config"]["axis"].setdefault("labelLimit", NAMES * width)
    for key, value in spec.items():
        if key != "config":
            spec[key] = narrow.of(value)
    spec["width"] = width
    spec["height"] += LEGEND * sum(narrow.lines.values())


@dataclass
class _Narrow:
    """What changes inside of a narrower figure."""

    share: float
    width: int
    lines: dict[str, int] = field(default_factory=dict)  # of each legend, how many more than before

    def of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.of(one) for one in value if not self._has_no_room(one)]
        if not isinstance(value, dict):
            return value
        found = {key: self._one(key, one) for key, one in value.items()}
        legend, levels = found.get("legend"), value.get("scale")
        if isinstance(legend, dict) and "columns" in legend and isinstance(levels, dict):
            before, entries = value["legend"]["columns"], len(levels.get("domain", ()))
            more = -(-entries // legend["columns"]) - -(-entries // before)
            self.lines[str(found.get("field"))] = more
        return found

    def _one(self, key: str, value: Any) -> Any:
        if key in ("labelLimit", "maxExtent", "limit") and isinstance(value, int | float):
            return min(value, NAMES * self.width)
        if key == "columns" and isinstance(value, int):
            return max(1, int(value * self.share))
        if key == "filter" and isinstance(value, str):
            return value.replace("datum.place", "datum.narrow")  # of names beside points: `labels.placed`
        return self.of(value)

    def _has_no_room(self, layer: Any) -> bool:
        """Whether it is a layer of words in fields that are now narrower than their words."""
        if not isinstance(layer, dict) or not isinstance(layer.get("mark"), dict) or layer["mark"]["type"] != "text":
            return False
        across = layer.get("encoding", {}).get("x", {}).get("scale", {}).get("domain")
        return isinstance(across, list) and 0.7 * self.width / max(1, len(across)) < 2.5 * LETTERS
