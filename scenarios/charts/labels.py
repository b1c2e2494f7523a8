"""Names beside the points of a chart, where there is room for them."""

from typing import Literal

import altair as alt
import numpy as np
import pandas as pd

from . import theme

WIDTH, HEIGHT = 760.0, 380.0  # pixels of the plot of a figure, about: its axes and legend apart
NARROW = 330.0  # the same of a figure in a paper's column
LETTER, LINE, POINT = 6.2, 14.0, 6.0
LIMIT = 220.0  # of a name, which is cut there
ROOM = 0.04  # of an axis, beyond the points
PLACES: dict[str, tuple[Literal["left", "right", "center"], int, int]] = {
    "right": ("left", 11, 0),
    "left": ("right", -11, 0),
    "above": ("center", 0, -13),
    "below": ("center", 0, 13),
}


def placed(
    x: "pd.Series[float]",
    y: "pd.Series[float]",
    names: "pd.Series[str]",
    first: "pd.Series[bool]",
    *,
    width: float = WIDTH,
) -> list[str]:
    """Where each name stands so that it covers no other name and no point: a key of `PLACES`, or "" for nowhere.

    Args:
        x: Places across, in the units of the axis: of a logarithmic one the logarithms.
        y: Places up.
        names: What is written.
        first: Which come first; then from the top down.
        width: Of the plot, in pixels. A chart has the places of `WIDTH` in its column "place", and those of `NARROW` in
            "narrow", which stands in for it where the figure is laid out for a paper's column.
    """
    across, down = _pixels(x, width), [HEIGHT - place for place in _pixels(y, HEIGHT)]
    order = sorted(range(len(across)), key=lambda i: (not first.iloc[i], down[i]))
    taken: list[tuple[float, float, float, float]] = []
    found = [""] * len(x)
    points = [(a - POINT, d - POINT, a + POINT, d + POINT) for a, d in zip(across, down, strict=True)]
    for i in order:
        long = min(LIMIT, LETTER * len(str(names.iloc[i])), 0.4 * width)
        for place, (align, dx, dy) in PLACES.items():
            left = across[i] + dx - {"left": 0.0, "right": long, "center": long / 2}[align]
            box = (left, down[i] + dy - LINE / 2, left + long, down[i] + dy + LINE / 2)
            inside = box[0] >= -20 and box[2] <= width + 10 and box[1] >= -10 and box[3] <= HEIGHT + 10
            others = [p for j, p in enumerate(points) if j != i]
            if inside and not any(_meet(box, other) for other in (*taken, *others)):
                found[i] = place
                taken.append(box)
                break
    return found


def texts(base: alt.Chart, x: alt.X, y: alt.Y, name: str) -> list[alt.Chart]:
    """A layer for each place; the data have the column "place".

    Args:
        base: Of the data.
        x: Where the points stand.
        y: Likewise.
        name: Column of the names.
    """
    return [
        base.transform_filter(alt.datum.place == place)
        .mark_text(align=align, dx=dx, dy=dy, fontSize=11, limit=LIMIT, color=theme.GREY)
        .encode(x=x, y=y, text=alt.Text(f"{name}:N"))
        for place, (align, dx, dy) in PLACES.items()
    ]


def domain(values: "pd.Series[float]", *, log: bool = False) -> list[float]:
    """From the least to the largest value, and a little more, so that no point stands on the edge."""
    known = values[np.isfinite(values)]
    ends = np.array([known.min(), known.max()])
    if log:
        ends = np.log(ends)
    reach = max(float(ends[1] - ends[0]), 0.2 if log else 0.02)
    ends = ends + np.array([-ROOM, ROOM]) * reach
    return [float(end) for end in (np.exp(ends) if log else ends)]


def _pixels(values: "pd.Series[float]", length: float) -> list[float]:
    low, high = domain(values)
    return [(float(value) - low) / (high - low) * length for value in values]


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
