"""docs/surrogates.md is what the registry says."""

import os

import pytest
from surrogates_page import PAGE, filled


def test_the_page_is_what_the_registry_says() -> None:
    """Renewed by CAROM_WRITE_PAGES=1."""
    page = PAGE.read_text()
    if os.environ.get("CAROM_WRITE_PAGES"):
        PAGE.write_text(filled(page))
    assert PAGE.read_text() == filled(page)


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="generated: builders"):
        filled("no markers")
