import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from carom.app.shell.plain import JOINER, code, plain

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def rendered(text: str) -> tuple[str, set[str]]:
    """What a reader of markdown sees, and by which elements."""
    words, kinds = "", set()
    for block in MARKDOWN.parse(text):
        for token in [block] if block.type != "inline" else (block.children or []):
            kinds.add(token.type)
            if token.type in ("text", "text_special", "code_inline"):
                words += token.content
    return words, kinds


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40))
def test_every_text_is_shown_as_it_stands(text: str) -> None:
    line = " ".join(text.split())
    words, kinds = rendered(plain(text))
    assert words.replace(JOINER, "") == line.replace(JOINER, "")
    assert kinds <= {"paragraph_open", "paragraph_close", "text", "text_special"}


@pytest.mark.parametrize(
    "text",
    [
        "**x**",
        "<b>x</b>",
        "![i](http://a/b.png)",
        "[l](http://a)",
        "# title",
        "- item",
        "1. one",
        "`code`",
        "$a$",
        "|a|",
    ],
)
def test_markup_is_text(text: str) -> None:
    words, kinds = rendered(plain(text))
    assert words == text
    assert "html_inline" not in kinds


@pytest.mark.parametrize("text", [":smile:", ":material/star:", "a->b", "a <- b", "x >= 1", "p -- q"])
def test_what_streamlit_replaces_after_markdown_is_broken_up(text: str) -> None:
    words, _ = rendered(plain(text))
    assert words.replace(JOINER, "") == text
    assert text not in words


def test_ordinary_text_gets_nothing_invisible() -> None:
    for text in ("linf 48/255", "eps = 0: 75 of 2139", "uci/tv0.3/lenet/s1", "12:30:05", "digits-dumb"):
        assert JOINER not in plain(text)


def test_code_holds_any_text() -> None:
    words, kinds = rendered(code("carom run a`b **c**\n<d>"))
    assert words == "carom run a'b **c** <d>"
    assert "code_inline" in kinds
