"""What the command line prints: tables on stdout, progress on stderr."""

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import rich.box
import rich.console
import rich.table

if TYPE_CHECKING:
    from carom.scenarios.run.progress import Report, TimeLeft
    from carom.scenarios.tables.table import Table

    from .doctor import Finding

PLAIN_WIDTH = 200  # of tables that go to a file or a pipe


class Console:
    """Prints for people: results on stdout, everything else on stderr."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        self._out = rich.console.Console(width=width, highlight=False, markup=False)
        self._err = rich.console.Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def out(self, text: str) -> None:
        """A result, never wrapped."""
        print(text)

    def say(self, text: str) -> None:
        """A remark."""
        self._err.print(text)

    def json(self, value: object) -> None:
        """A result for programs; numbers that are not there are null."""
        print(json.dumps(_finite(value), indent=1))

    def tables(self, tables: "Sequence[Table]") -> None:
        """Results for people."""
        for shown in tables:
            table = rich.table.Table(title=shown.title, title_justify="left", title_style="bold", box=rich.box.SIMPLE)
            frame = shown.formatted()
            for column in frame.columns:
                justify = "left" if shown.is_text(column) else "right"
                table.add_column(str(column), justify=justify, no_wrap=justify == "right")  # type: ignore[arg-type]
            for row in frame.itertuples(index=False):
                table.add_row(*[str(v) for v in row])
            self._out.print(table)
            for note in shown.notes:
                self._out.print(f"  {note}")
            self._out.print()

    def pairs(self, entry: Mapping[str, Any]) -> None:
        """Names and values, one a line."""
        grid = rich.table.Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for key, value in entry.items():
            grid.add_row(key, _words(value))
        self._out.print(grid)

    def entries(self, kind: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Names with summary and paper."""
        table = rich.table.Table(box=rich.box.SIMPLE)
        for column in ("name", "summary", "paper"):
            table.add_column(column)
        for entry in entries:
            table.add_row(str(entry["name"]), str(entry.get("summary", "")), str(entry.get("paper", "")))
        self._out.print(table)
        if not entries:
            self._out.print(f"no {kind} yet")

    def findings(self, findings: "Sequence[Finding]") -> None:
        """What the doctor found."""
        grid = rich.table.Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for finding in findings:
            grid.add_row(finding.level, finding.name, finding.text)
        self._out.print(grid)

    def profile(self, report: "Report") -> None:
        """Where the time of all workers went."""
        total, busy, inside = report.seconds * report.workers, sum(report.busy.values()), sum(report.inside.values())
        self.say(f"time of {report.workers} workers: {total:.1f} s")
        for kind, seconds in report.busy.items():
            outside = seconds - report.inside[kind]
            self.say(
                f"  {kind}: {seconds:.1f} s, inside forward and backward {report.inside[kind]:.1f} s, outside "
                f"{outside:.1f} s ({_percent(outside, seconds)})"
            )
        self.say(
            f"  all jobs: {busy:.1f} s, inside {inside:.1f} s, outside {busy - inside:.1f} s "
            f"({_percent(busy - inside, busy)})"
        )
        self.say(f"  start-up, planning and waiting: {total - busy:.1f} s ({_percent(total - busy, total)} of all)")

    @contextmanager
    def progress(self) -> "Iterator[Live | Lines]":
        """Progress with the time left: a bar on a terminal, a line every ten seconds elsewhere."""
        if not self._err.is_terminal:
            yield Lines(self)
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[label]}", markup=False),  # a label is the user's: "[/x]" is no markup
        )
        with Progress(*columns, console=self._err, transient=True) as bar:
            yield Live(bar)


class Live:
    """Progress on a terminal."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task: Any = None
        self._left: TimeLeft | None = None

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._bar.console.print(text)

    def begin(self, phase: str, units: int, left: "TimeLeft") -> None:
        """A bar for a phase."""
        self._left = left
        self._task = self._bar.add_task(phase, total=units, left=_left(left), label="")

    def advance(self, units: int, label: str) -> None:
        """Move the bar."""
        if self._left is not None:
            self._bar.update(self._task, advance=units, left=_left(self._left), label=label)


class Lines:
    """Progress in a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase, self._units, self._done, self._last = "", 0, 0, 0.0
        self._left: TimeLeft | None = None

    def say(self, text: str) -> None:
        """A line."""
        self._console.say(text)

    def begin(self, phase: str, units: int, left: "TimeLeft") -> None:
        """A line for a phase."""
        self._phase, self._units, self._done, self._left = phase, max(1, units), 0, left
        self._last = time.monotonic()
        self.say(f"{phase}: {_left(left)}")

    def advance(self, units: int, label: str) -> None:
        """A line when the last one is ten seconds old."""
        self._done += units
        if self._left is not None and time.monotonic() - self._last >= 10:
            self._last = time.monotonic()
            self.say(f"{self._phase}: {self._done / self._units:.0%}, {_left(self._left)} ({label})")


def _left(left: "TimeLeft") -> str:
    seconds = left.expected()
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    minutes = seconds / 60
    return f"about {minutes:.0f} min left" if minutes < 90 else f"about {minutes / 60:.1f} h left"


def _percent(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole > 0 else "0%"


def _words(value: object) -> str:
    """Settings as people write them: a = 1, b = 2."""
    if isinstance(value, Mapping):
        kind = f"{value['kind']}: " if "kind" in value else ""
        return kind + ", ".join(f"{k} = {_words(v)}" for k, v in value.items() if k != "kind")
    if isinstance(value, list | tuple):
        return "; ".join(_words(v) for v in value)
    return str(value).strip()


def _finite(value: object) -> object:
    """JSON has no NaN: what is not there is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if hasattr(value, "item"):
        return _finite(value.item())
    return value
