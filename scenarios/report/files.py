"""Tables of a run as files, and its report."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from carom.errors import StoreError
from carom.files import replacing
from carom.registry import lookup
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import find_run
from carom.scenarios.tables.published import published_rows_shown
from carom.scenarios.tables.rates import Shown, cells_shown, show_run
from carom.scenarios.store.outcomes import find_run, read_outcomes
from carom.scenarios.tables.published import show_published_rows
from carom.scenarios.tables.rates import show_cells
from carom.scenarios.tables.table import Table
from carom.scenarios.tables.which import show_run

from .html import write_report

SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "latex": ".tex", "markdown": ".md", "html": ".html"}
PAGE = 45  # rows of a LaTeX table that fit on one


def export_run(store: Store, run: str, folder: Path, form: str) -> list[Path]:
    """Write every table of a run, and its cells or published rows one by one; returns the files.

    Numbers stay numbers in parquet and csv, rates from 0 to 1; parquet also holds titles, notes and how columns are
    shown (pandas reads them as `frame.attrs`). latex and markdown hold what `carom show` prints. html is one file with
    everything: figures, tables, and their numbers to download.

    Raises:
        InputError: Unknown format, or no outcome yet.
        StoreError: The folder cannot be written.
    """
    suffix = lookup(form, SUFFIXES, where="carom export", what="format")
    write: dict[Path, Callable[[Path], object]] = {}
    if form == "html":
        report = write_report(store, run)
        write[folder / f"{run}{suffix}"] = lambda path: path.write_text(report, encoding="utf-8")
    else:
        tables = show_run(store, run)
        if form in ("parquet", "csv"):
            published = find_run(store, run).status == "published"
            tables.append(show_published_rows(store, run) if published else show_cells(read_outcomes(store, run)))
        for table in tables:
            write[folder / f"{run}-{table.name}{suffix}"] = _writer(table, form, f"{run}-{table.name}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, to in write.items():
            with replacing(path) as part:
                to(part)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error.strerror or error}; give another folder") from None
    return list(write)


def _writer(table: Table, form: str, name: str) -> Callable[[Path], object]:
    if form == "parquet":
        described = table.frame.copy()
        described.attrs = {"title": table.title, "notes": list(table.notes), "forms": dict(table.forms)}
        return lambda path: described.to_parquet(path, index=False)
    if form == "csv":
        return lambda path: table.frame.to_csv(path, index=False)
    text = latex(table, f"tab:{name}") if form == "latex" else markdown(table)
    return lambda path: path.write_text(text, encoding="utf-8")


# --------------------------------------------------------------------------------------------------------------- LaTeX

SPECIAL: Mapping[str, str] = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "''",
    "\0": "{}",  # between hyphens, once no other is left
    "[": "{[}",  # after \\ and \midrule a bracket would open an argument
    "]": "{]}",
    "*": "{*}",  # and a star another command
    "`": r"{\textasciigrave}",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "…": r"\ldots{}",
    "’": "'",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "→": r"$\to$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "∞": r"$\infty$",
    "ε": r"$\varepsilon$",
    "σ": r"$\sigma$",
    "ρ": r"$\rho$",
    "µ": r"$\mu$",
}


def escape_latex(text: object) -> str:
    """Words as LaTeX prints them: hyphens that are signs as minus, no two joined to a dash. Letters stay UTF-8."""
    words = "".join(c if c.isprintable() else " " for c in str(text))
    words = re.sub(r"(?<![^\s(])-(?=\d)", "−", words)
    return "".join(SPECIAL.get(c, c) for c in re.sub("([-–—])(?=[-–—])", "\\1\0", words))


def latex(table: Table, label: str) -> str:
    """A table with booktabs, caption and label; over pages with longtable where it is long."""
    frame = table.formatted()
    columns = "".join("l" if table.is_text(c) else "r" for c in frame.columns)
    head = " & ".join(escape_latex(c) for c in frame.columns) + r" \\"
    rows = [" & ".join(escape_latex(v) for v in row) + r" \\" for row in frame.itertuples(index=False, name=None)]
    caption = rf"\caption{{{escape_latex(table.title)}}}"
    named = rf"\label{{{re.sub(r'[^A-Za-z0-9:.-]', '-', label)}}}"
    notes = [escape_latex(note) for note in table.notes]
    if len(rows) > PAGE:
        lines = [
            r"% needs \usepackage{booktabs,longtable}",
            r"\begin{longtable}{" + columns + "}",
            rf"{caption}{named} \\",
            *(opening := [r"\toprule", head, r"\midrule"]),
            r"\endfirsthead",  # one caption and one label, however many pages
            *opening,
            r"\endhead",
            *rows,
            r"\bottomrule",
            r"\end{longtable}",
            *([r"{\footnotesize\noindent", *notes, r"\par}"] if notes else []),
        ]
    else:
        lines = [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            caption + named,
            r"\begin{tabular}{" + columns + "}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            *([r"\par\smallskip\footnotesize\raggedright", *notes] if notes else []),
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------------------------------ Markdown


def escape_markdown(text: object) -> str:
    """Words as Markdown prints them, in a table too: on one line, nothing of them read as markup."""
    words = "".join(c if c.isprintable() else " " for c in str(text))
    words = re.sub(r"[\\|`*<>\[\]~&]", r"\\\g<0>", words)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\_", words)  # inside a word it is no markup


def markdown(table: Table) -> str:
    """A table under its title, its notes below."""
    frame = table.formatted()

    def row(values: Iterable[object]) -> str:
        return "| " + " | ".join(map(str, values)) + " |"

    rule = ["---" if table.is_text(c) else "---:" for c in frame.columns]
    rows = [row(map(escape_markdown, values)) for values in frame.itertuples(index=False, name=None)]
    lines = [f"## {escape_markdown(table.title)}", "", row(map(escape_markdown, frame.columns)), row(rule), *rows]
    return "\n\n".join(["\n".join(lines), *map(escape_markdown, table.notes)]) + "\n"
