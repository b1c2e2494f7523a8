"""Figures as inline SVG for reports: estimates with intervals, curves, and heat maps. Strings alone, no library.

Colours are the classes `s0` to `s5` of `report.css`, Okabe and Ito's; each has a shape of its own too, so that nothing
rests on colour alone. Heat maps are viridis. A figure has no width in pixels: it fills what holds it.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 860.0
LETTER = 6.6  # mean width of a letter of 12 units
SERIES = 6  # as many as there are colours and shapes
SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.6-3.6h7.2v7.2h-7.2z",
    "M0-5L5 0L0 5L-5 0z",
    "M0-4.8L4.6 3.6H-4.6z",
    "M0 4.8L4.6-3.6H-4.6z",
    "M-4.6-1.5h3.1v-3.1h3v3.1h3.1v3h-3.1v3.1h-3v-3.1h-3.1z",
)
VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
DARK = 0.5  # of viridis; below it white is read better, above it black


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One number of a figure.

    Attributes:
        label: Row of `dots`, name of a point in `curves`.
        value: From 0 to 1, as all numbers here; NaN is not drawn.
        low: Of its interval; NaN where there is none.
        high: Likewise.
        series: What shares a colour and a shape.
        x: Place across, in `curves`.
        tip: What is said when somebody points at it.
    """

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    series: str = ""
    x: float = math.nan
    tip: str = ""


def short(names: Iterable[str], length: int = 38) -> dict[str, str]:
    """Each name without the parts that all of them have, cut in the middle to `length`; still distinct.

    Parts stand between "/", "," and parentheses, as in "original/uniform/lenet/standard(epochs=3)/s1".
    """
    distinct = list(dict.fromkeys(names))
    parts = {name: [p for p in re.split(r"[/(),]+", name) if p] for name in distinct}
    shared = set.intersection(*map(set, parts.values())) if len(distinct) > 1 else set()
    found: dict[str, str] = {}
    for i, name in enumerate(distinct, start=1):
        own = " ".join(p for p in parts[name] if p not in shared) if shared else name
        own = own or next(iter(parts[name]), "")
        if own in found.values():
            own = name
        own = _cut(own, length)
        found[name] = f"{i}: {own}" if own in found.values() else own
    return found


def dots(estimates: Sequence[Estimate], *, rows: Sequence[str], alt: str, across: str) -> str:
    """One row a label: a mark of each series at its value, its interval as a line.

    Args:
        estimates: At most `SERIES` series, their colours in the order that they come in.
        rows: Every label, from the top.
        alt: What the figure says, for who cannot see it.
        across: Title of the axis from 0 to 100%.
    """
    labels, series = _distinct(rows), _distinct(e.series for e in estimates)
    words = {label: _cut(label, 70) for label in labels}
    left = 24 + LETTER * max((len(word) for word in words.values()), default=0)
    drawn = [e for e in estimates if not math.isnan(e.value)]
    present = {label: [s for s in series if any(e.label == label and e.series == s for e in drawn)] for label in labels}
    right, step = WIDTH - 24.0, max(22.0, 10 + 10.0 * max(map(len, present.values()), default=0))
    legend, top = _legend(series, left)
    bottom = top + step * len(labels)
    places = {label: top + step * (i + 0.5) for i, label in enumerate(labels)}

    def at(share: float) -> float:
        return left + share * (right - left)

    parts = [legend]
    for tick in range(0, 101, 20):
        x = at(tick / 100)
        parts += [_line(x, top, x, bottom, "grid"), _text(x, bottom + 16, f"{tick}%", "middle")]
    parts.append(_text((left + right) / 2, bottom + 36, across, "middle"))
    parts += [_text(left - 10, y + 4, words[label], "end") for label, y in places.items()]
    for e in drawn:
        which, beside = series.index(e.series), present[e.label]
        y = places[e.label] + 10 * (beside.index(e.series) - (len(beside) - 1) / 2)
        reach = "" if math.isnan(e.low) else _line(at(e.low), y, at(e.high), y, f"reach s{which}")
        parts.append(_marked(reach, at(e.value), y, which, e.tip))
    return _svg(parts, bottom + 46, alt)


def curves(
    estimates: Sequence[Estimate],
    *,
    alt: str,
    across: str,
    up: str,
    ticks: Mapping[float, str] | None = None,
    log: bool = False,
    joined: bool = False,
) -> str:
    """Marks at `x` and their value, with intervals; names beside them where they are not joined and there is room.

    Args:
        estimates: At most `SERIES` series, with `x`.
        alt: What the figure says, for who cannot see it.
        across: Title of the axis of `x`.
        up: Title of the axis of the values, in percent.
        ticks: Where the axis across is marked, and with what; by default round numbers.
        log: Whether the axis across is logarithmic; then every `x` is above 0.
        joined: Whether a line joins the marks of a series; then they have no names.
    """
    drawn = [e for e in estimates if not (math.isnan(e.value) or math.isnan(e.x))]
    series = _distinct(e.series for e in estimates)
    left, right = 64.0, WIDTH - 24.0
    legend, top = _legend(series, left)
    bottom = top + 360

    def scaled(x: float) -> float:
        return math.log10(x) if log else x

    reached = [v for e in drawn for v in (e.value, e.low, e.high) if not math.isnan(v)] or [0.0, 1.0]
    floor, ceiling = math.floor(10 * min(reached) + 1e-9) / 10, math.ceil(10 * max(reached) - 1e-9) / 10
    floor, ceiling = (floor, ceiling) if ceiling > floor else (max(0.0, floor - 0.1), floor + 0.1)
    first, last = min((scaled(e.x) for e in drawn), default=0.0), max((scaled(e.x) for e in drawn), default=1.0)
    if first == last:
        first, last = first - 0.5, last + 0.5
    margin = 0.06 * (last - first)
    first, last = first - margin, last + margin

    def place(x: float, value: float) -> tuple[float, float]:
        return (
            left + (scaled(x) - first) / (last - first) * (right - left),
            bottom - (value - floor) / (ceiling - floor) * (bottom - top),
        )

    parts = [legend]
    every = 20 if ceiling - floor > 0.55 else 10 if ceiling - floor > 0.25 else 5
    for percent in range(round(100 * floor), round(100 * ceiling) + 1):
        if percent % every == 0:
            y = bottom - (percent / 100 - floor) / (ceiling - floor) * (bottom - top)
            parts += [_line(left, y, right, y, "grid"), _text(left - 8, y + 4, f"{percent}%", "end")]
    for x, name in (_round_ticks(first, last, log) if ticks is None else ticks).items():
        if first <= scaled(x) <= last:
            x_at = place(x, floor)[0]
            parts += [_line(x_at, bottom, x_at, bottom + 4, "axis"), _text(x_at, bottom + 18, name, "middle")]
    parts += [
        _line(left, bottom, right, bottom, "axis"),
        _text((left + right) / 2, bottom + 38, across, "middle"),
        _text(left - 52, top - 14, up, "start"),
    ]
    if joined:
        for i, name in enumerate(series):
            points = sorted(place(e.x, e.value) for e in drawn if e.series == name)
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline class="joined s{i}" points="{path}"/>')
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in (place(e.x, e.value) for e in drawn)]
    for e in reversed(drawn):  # the first come to lie on top, and their names find room first
        x, y = place(e.x, e.value)
        which = series.index(e.series)
        reach = ""
        if not math.isnan(e.low):
            reach = _line(x, place(e.x, e.low)[1], x, place(e.x, e.high)[1], f"reach s{which}")
        parts.append(_marked(reach, x, y, which, e.tip))
    if not joined:
        parts += [_beside(e.label, *place(e.x, e.value), taken, left, right) for e in drawn if e.label]
    return _svg(parts, bottom + 48, alt)


def heat_map(
    values: Mapping[tuple[str, str], tuple[float, str]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    alt: str,
    down: str,
    across: str,
) -> str:
    """One field a pair, viridis from 0 to 100%, with its number where there is room.

    Args:
        values: Of (row, column): the value, from 0 to 1, and what is said when somebody points at it.
        rows: From the top.
        columns: From the left.
        alt: What the figure says, for who cannot see it.
        down: Title of the rows.
        across: Title of the columns.
    """
    left = 24 + LETTER * max(len(name) for name in (*rows, down))
    names = LETTER * max(len(name) for name in columns)
    slanted = len(columns) > 1 and names > min(96.0, (WIDTH - left - 20) / len(columns)) - 6
    top = 34 + (names * 0.72 if slanted else 18.0)
    over = names * 0.72 if slanted else 20.0
    wide = max(14.0, min(96.0, (WIDTH - left - over) / len(columns)))
    width = max(WIDTH, left + wide * len(columns) + over)
    high = 24.0 if wide >= 34 else 18.0
    parts = [_text(left + wide * len(columns) / 2, 14.0, across, "middle"), _text(left - 10, top - 8, down, "end")]
    for i, name in enumerate(columns):
        x = left + wide * (i + 0.5)
        turn = f' transform="rotate(-46 {x:.1f} {top - 8:.1f})"' if slanted else ""
        parts.append(_text(x, top - 8, name, "start" if slanted else "middle", turn))
    for j, name in enumerate(rows):
        y = top + high * j
        parts.append(_text(left - 10, y + high / 2 + 4, name, "end"))
        for i, column in enumerate(columns):
            value, tip = values.get((name, column), (math.nan, ""))
            if math.isnan(value):
                continue
            x = left + wide * i
            field = f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{viridis(value)}"/>'
            if wide >= 30:
                ink = "on-dark" if value < DARK else "on-light"
                field += _text(x + wide / 2, y + high / 2 + 4, f"{100 * value:.0f}", "middle", f' class="{ink}"')
            parts.append(f"<g>{_tip(tip)}{field}</g>")
    bottom = top + high * len(rows) + 14
    parts += [
        f'<rect x="{left + 8 * i:.1f}" y="{bottom:.1f}" width="8.5" height="10" fill="{viridis(i / 20)}"/>'
        for i in range(21)
    ]
    parts += [_text(left - 6, bottom + 10, "0%", "end"), _text(left + 174, bottom + 10, "100%", "start")]
    return _svg(parts, bottom + 20, alt, width)


def viridis(share: float) -> str:
    """The colour of a share from 0 to 1."""
    at = min(max(share, 0.0), 1.0) * (len(VIRIDIS) - 1)
    i = min(int(at), len(VIRIDIS) - 2)
    mixed = (round(a + (b - a) * (at - i)) for a, b in zip(VIRIDIS[i], VIRIDIS[i + 1], strict=True))
    return "#" + "".join(f"{c:02x}" for c in mixed)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _cut(words: str, length: int) -> str:
    head = length * 3 // 5
    return words if len(words) <= length else f"{words[:head]}…{words[head + 1 - length :]}"


def _legend(series: Sequence[str], left: float) -> tuple[str, float]:
    """What each shape stands for, and where the figure begins below it; nothing for one series without a name."""
    if len(series) == 1 and not series[0]:
        return "", 26.0
    x, y, parts = left, 14.0, []
    for i, name in enumerate(series):
        width = 30 + LETTER * len(name)
        if x + width > WIDTH and x > left:
            x, y = left, y + 20
        parts.append(_marked("", x + 8, y - 4, i, "") + _text(x + 18, y, name, "start"))
        x += width
    return "".join(parts), y + 28


def _beside(
    name: str, x: float, y: float, taken: list[tuple[float, float, float, float]], left: float, right: float
) -> str:
    """The name of a mark where it covers nothing; none where there is no such place, as its tip has it too."""
    width = LETTER * len(name)
    for anchor, at_x, at_y in (
        ("start", x + 9, y + 4),
        ("end", x - 9, y + 4),
        ("start", x + 7, y - 8),
        ("start", x + 7, y + 16),
        ("end", x - 7, y - 8),
        ("end", x - 7, y + 16),
    ):
        begin = at_x if anchor == "start" else at_x - width
        box = (begin, at_y - 10, begin + width, at_y + 2)
        free = all(box[2] < t[0] or box[0] > t[2] or box[3] < t[1] or box[1] > t[3] for t in taken)
        if free and box[0] > left and box[2] < right + 20:
            taken.append(box)
            return _text(at_x, at_y, name, anchor)
    return ""


def _round_ticks(first: float, last: float, log: bool) -> dict[float, str]:
    """Round numbers between two ends, which are powers of ten if `log`."""
    if not log:
        step = 10.0 ** math.floor(math.log10(last - first))
        step = next(s for s in (step / 5, step / 2, step, 2 * step) if (last - first) / s <= 8)
        return {i * step: f"{i * step:.4g}" for i in range(math.ceil(first / step), math.floor(last / step) + 1)}
    powers = range(math.floor(first), math.ceil(last) + 1)
    ticks: dict[float, str] = {}
    for digits in ((1,), (1, 3), (1, 2, 5)):  # as many as have room
        finer = [d * 10.0**p for p in powers for d in digits if first <= math.log10(d) + p <= last]
        ticks = {x: _amount(x) for x in finer} if len(finer) <= 9 else ticks
    return ticks


def _amount(number: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.4g}{letter}"
    return f"{number:.4g}"


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{_escaped(words)}</text>'


def _tip(words: str) -> str:
    return f"<title>{_escaped(words)}</title>" if words else ""


def _marked(reach: str, x: float, y: float, which: int, tip: str) -> str:
    mark = f'<path class="mark s{which}" transform="translate({x:.1f} {y:.1f})" d="{SHAPES[which]}"/>'
    return f"<g>{_tip(tip)}{reach}{mark}</g>"


def _escaped(words: str) -> str:
    """Words for XML, which has no control characters."""
    return escape("".join(c if c.isprintable() else " " for c in words))


def _svg(parts: Iterable[str], height: float, alt: str, width: float = WIDTH) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{_escaped(alt)}">{"".join(parts)}</svg>'
    )
