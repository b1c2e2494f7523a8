"""How every figure looks: colours and shapes, axes in percent, marks with intervals; and figures as files.

Colours of words, lines and paper are the explorer's own theme while a figure is looked at there, and these in a file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

# near Okabe and Ito's colours, which people of all kinds of colour vision tell apart; shapes say the same
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "triangle-right")
SERIES = len(PALETTE)  # as many can be told apart
OTHERS = "#999999"  # what has no colour of its own
GREY = "#808080"  # read on white and on black
INK, FAINT, LINE = "#1a1a1a", "#666666", "#dddddd"  # words, axes and grid of a file
WIDTH = 860  # pixels of a file
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
        height: Pixels, with axes and legends: who shows it fits it in.
    """
    figure: alt.LayerChart = alt.layer(*layers).properties(height=height).configure_view(strokeWidth=0)
    return figure


# --------------------------------------------------------------------------------------------------------------- files


def svg(figure: alt.LayerChart) -> str:
    """The figure as SVG."""
    import vl_convert  # here, as most of who looks at a figure takes no file along

    drawn: str = vl_convert.vegalite_to_svg(_still(figure), vl_version=VERSION)
    return drawn


def png(figure: alt.LayerChart) -> bytes:
    """The figure as PNG, for print."""
    import vl_convert

    drawn: bytes = vl_convert.vegalite_to_png(_still(figure), vl_version=VERSION, ppi=200)
    return drawn


def _still(figure: alt.LayerChart) -> dict[str, Any]:
    """As wide as a page, with the words and lines of a file, fitted in as a page of the explorer does.

    Who opens the file may have a wider font than the one that it is measured with: hence the room on the left.
    """
    room = {"left": 24, "right": 8, "top": 5, "bottom": 5}
    size = alt.AutoSizeParams(type="fit", contains="padding")
    fitted = figure.properties(width=WIDTH, autosize=size, padding=room)
    words: dict[str, Any] = {
        "labelColor": INK,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
    }
    axes = {**words, "gridColor": LINE, "domainColor": FAINT, "tickColor": FAINT}
    spec: dict[str, Any] = _printable(fitted.configure_axis(**axes).configure_legend(**words).to_dict())
    return spec


def _printable(value: Any) -> Any:
    """The same without control characters in its words, as XML has none."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else " " for c in value)
    if isinstance(value, Mapping):
        return {_printable(k): _printable(v) for k, v in value.items()}
    return [_printable(v) for v in value] if isinstance(value, list | tuple) else value
