"""A table as LaTeX."""

import re
from collections.abc import Mapping

from carom.scenarios.tables.table import Table

PAGE = 45  # rows of a LaTeX table that fit on one
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
