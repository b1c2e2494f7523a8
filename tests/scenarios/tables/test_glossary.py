"""The glossary: three sentences a term, papers that the pages cite, and a term for everything that is shown."""

import os
import re
from pathlib import Path

import pytest
from glossary_page import PAGE, filled

from carom.errors import InputError
from carom.scenarios.catalogue import description
from carom.scenarios.tables.glossary import TERMS, Term, term_of

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("term", TERMS.values(), ids=lambda term: term.name)
def test_a_term_is_three_sentences(term: Term) -> None:
    for sentence in (term.what, term.how, term.beware):
        assert sentence.endswith("."), sentence
        assert not re.search(r"[.!?] [A-Z]", sentence), f"more than one sentence: {sentence}"
    assert len(term.text) < 600


def test_papers_are_those_that_the_pages_cite() -> None:
    pages = {page.name: page.read_text() for page in DOCS.glob("*.md") if page != PAGE}
    cited = set(re.findall(r"arXiv:? ?(\d{4}\.\d{4,5})", "\n".join(pages.values())))
    for term in TERMS.values():
        paper = re.search(r"arXiv:(\d{4}\.\d{4,5})$", term.source)
        if paper:
            assert paper[1] in cited, term
        else:
            path, _, heading = term.source.removeprefix("docs/").partition(", ")
            assert f"## {heading}" in pages[path] if heading else path in pages, term


def test_no_name_means_two_things() -> None:
    said = [
        name.casefold()
        for term in TERMS.values()
        for name in {term.name.casefold(), *(c.casefold() for c in term.columns)}
    ]
    assert sorted(said) == sorted(set(said))


@pytest.mark.parametrize(
    ("name", "table", "term"),
    [
        ("ASR", None, "ASR"),
        ("asr:uci", "cases", "ASR of a source"),
        ("best 95%", "defenses-intervals", "interval"),
        ("budget", None, "budget"),
        ("budget", "equal-attack-cost", "equal cost"),
        ("worst", "defenses", "worst of each image"),
        ("worst", "game", "game value"),
        ("dumb math", "published", "published rates"),
        ("ASR", "published", "ASR"),
        ("robust accuracy", "students", "early-student front"),
        ("C5", None, "C5"),
    ],
)
def test_names_of_columns_lead_to_their_term(name: str, table: str | None, term: str) -> None:
    found = term_of(name, table)
    assert found is not None
    assert found.name == term


def test_what_nobody_explains_is_none() -> None:
    assert term_of("nonsense") is None
    assert term_of("nonsense", "cases") is None


def test_describe_knows_terms_and_columns() -> None:
    lift = description("lift")
    assert lift["kind"] == "term"
    assert "sign noise" in lift["formula"]
    assert description("white box 95%")["name"] == "interval"
    assert description("mi")["kind"] == "attack"
    with pytest.raises(InputError, match="did you mean 'robust accuracy'"):
        description("robust acuracy")


def test_the_page_is_what_the_glossary_says() -> None:
    """Renewed by CAROM_WRITE_PAGES=1."""
    page = PAGE.read_text()
    if os.environ.get("CAROM_WRITE_PAGES"):
        PAGE.write_text(filled(page))
    assert PAGE.read_text() == filled(page)
