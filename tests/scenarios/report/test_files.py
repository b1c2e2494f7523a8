"""What is written for papers says what the table says: every character, in LaTeX, in Markdown and in parquet."""

import re
import string
from pathlib import Path

import pandas as pd
import pytest

from carom.scenarios.report.files import _writer as writer
from carom.scenarios.report.latex import PAGE, SPECIAL, escape_latex, latex
from carom.scenarios.report.markdown import escape_markdown, markdown
from carom.scenarios.tables.table import Table

PRINTED = {  # what a command of LaTeX puts on the page
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"{\textasciigrave}": "`",
    r"\ldots{}": "…",
    "$<$": "<",
    "$>$": ">",
    "$|$": "|",
    "$-$": "−",
    r"$\pm$": "±",
    r"$\times$": "×",
    r"$\cdot$": "·",
    r"$\to$": "→",
    r"$\leq$": "≤",
    r"$\geq$": "≥",
    "{[}": "[",
    "{]}": "]",
    "{*}": "*",
    **{f"\\{c}": c for c in "&%$#_{}"},
    "---": "—",
    "--": "–",
    "''": '"',
    "{}": "",
}


def typeset(text: str) -> str:
    """What LaTeX would print; refuses whatever it would read as a command."""
    printed, rest = "", text
    while rest:
        command = next((c for c in PRINTED if rest.startswith(c)), None)
        if command is None:
            assert rest[0] not in "\\{}$&#^_~%", (text, rest)
            assert rest[0].isprintable()
            printed, rest = printed + rest[0], rest[1:]
        else:
            printed, rest = printed + PRINTED[command], rest[len(command) :]
    return printed


@pytest.mark.parametrize("character", [*string.printable.strip(), *"±×–—…·→≤≥é日"])
def test_every_character_is_typeset_as_itself(character: str) -> None:
    assert typeset(escape_latex(f"a{character}b")) == f"a{character}b"
    assert typeset(escape_latex(character)) == character
    # twice is another matter: two hyphens would become a dash
    assert typeset(escape_latex(2 * character)) == 2 * character or character == "'"


def test_hyphens_signs_and_lines() -> None:
    assert escape_latex("-1.5 to -0.2 (-3)") == "$-$1.5 to $-$0.2 ($-$3)"
    assert escape_latex("C1-2, p-value, 8-bit") == "C1-2, p-value, 8-bit"
    assert typeset(escape_latex("a---b")) == "a---b"
    assert escape_latex("a\nb\x07\0c") == "a b  c"
    assert escape_latex("50% & more_\\") == r"50\% \& more\_\textbackslash{}"
    assert all(typeset(command) for character, command in SPECIAL.items() if command in PRINTED and character != "\0")


def table(rows: int = 2) -> Table:
    return Table(
        name="made",
        title="A_title & more",
        frame=pd.DataFrame({"name": ["[a|b]", "*c\nd`"] * (rows // 2), "rate": [0.5, float("nan")] * (rows // 2)}),
        forms={"name": "text", "rate": "percent"},
        notes=["first: 50% of <n>\nstill first", "second_"],
    )


def test_latex_of_a_short_table() -> None:
    lines = latex(table(), "tab:run a_b-made").splitlines()
    assert lines[:5] == [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\caption{A\_title \& more}\label{tab:run-a-b-made}",
        r"\begin{tabular}{lr}",
    ]
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert body == [r"{[}a$|$b{]} & 50.0\% \\", r"{*}c d{\textasciigrave} & -- \\"]
    assert r"first: 50\% of $<$n$>$ still first" in lines
    assert lines[-1] == r"\end{table}"


def test_latex_of_a_long_table_goes_over_pages() -> None:
    text = latex(table(PAGE + 1 + (PAGE + 1) % 2), "tab:made")
    assert r"\begin{longtable}{lr}" in text
    assert r"\begin{table}" not in text
    first, again, rows = re.split(r"\\endfirsthead\n|\\endhead\n", text)
    assert r"\caption{A\_title \& more}\label{tab:made} \\" in first
    assert again == "\\toprule\nname & rate \\\\\n\\midrule\n"
    assert first.endswith(again)
    assert r"50.0\%" in rows
    assert text.count(r"\caption") == text.count(r"\label") == 1
    assert text.count(r"\begin") == text.count(r"\end{") == 1


def test_markdown_is_one_line_a_row_and_no_markup() -> None:
    lines = markdown(table()).splitlines()
    assert lines[0] == "## A_title \\& more"
    assert lines[2:6] == ["| name | rate |", "| --- | ---: |", r"| \[a\|b\] | 50.0% |", r"| \*c d\` | – |"]
    assert lines[6:] == ["", r"first: 50% of \<n\> still first", "", r"second\_"]
    assert escape_markdown("recipe_v _x_ a\\|b ~~c~~") == r"recipe_v \_x\_ a\\\|b \~\~c\~\~"
    cell = re.split(r"(?<!\\)\|", lines[4])
    assert len(cell) == 4  # an escaped bar ends no cell


def test_parquet_keeps_numbers_and_says_what_they_are(tmp_path: Path) -> None:
    writer(table(), "parquet", "made")(tmp_path / "made.parquet")
    read = pd.read_parquet(tmp_path / "made.parquet")
    assert read["rate"].tolist()[0] == 0.5
    assert read.attrs["forms"] == {"name": "text", "rate": "percent"}
    assert read.attrs["notes"] == list(table().notes)
    writer(table(), "csv", "made")(tmp_path / "made.csv")
    assert pd.read_csv(tmp_path / "made.csv")["name"].tolist() == ["[a|b]", "*c\nd`"]
