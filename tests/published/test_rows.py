"""Error rates that others published, and those of a plain loop on the same images, come out of carom."""

import pytest
from published_networks import MISSING, folder
from published_rows import ROWS, Figure, Row, measure

from carom.errors import MissingData

FOLDER = folder()
pytestmark = pytest.mark.skipif(FOLDER is None, reason=MISSING)


@pytest.mark.parametrize(
    ("row", "figure"),
    [
        pytest.param(
            row,
            figure,
            id=f"{row.file}-{figure.what}",
            marks=[] if figure.attack is None else [pytest.mark.slow],
        )
        for row in ROWS
        for figure in row.figures
        if figure.within is not None or figure.within_seen is not None
    ],
)
def test_the_figure_comes_out(row: Row, figure: Figure) -> None:
    """Floats, as the others attacked."""
    assert FOLDER is not None
    try:
        error = measure(FOLDER, row, figure).error
    except MissingData as missing:
        pytest.skip(str(missing))
    if figure.within is not None:
        assert error == pytest.approx(figure.published, abs=figure.within)
    if figure.within_seen is not None:
        assert error == pytest.approx(figure.seen, abs=figure.within_seen)
