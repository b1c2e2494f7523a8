"""Generated parts of a page: each stands between two comments, and what is written by hand around them stays."""

from collections.abc import Mapping


def marks(name: str) -> tuple[str, str]:
    """The comments before and after a part."""
    return f"<!-- generated: {name} -->", f"<!-- end: {name} -->"


def filled(page: str, parts: Mapping[str, str], *, of: str) -> str:
    """The page with its generated parts renewed.

    Args:
        page: Its text.
        parts: The text of each part, by the name in its marks.
        of: Name of the page, for the error.

    Raises:
        ValueError: A part does not have its two marks once each.
    """
    for name, text in parts.items():
        begin, end = marks(name)
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"{of}: expected {begin} and {end} once each")
        before, rest = page.split(begin)
        page = f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"
    return page
