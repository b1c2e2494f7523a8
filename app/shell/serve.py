"""Streamlit's server with the explorer's libraries loaded, so that the first page need not wait for them.

`python -m carom.app.shell.serve run .../explorer.py --server.port=8501` takes what `streamlit` takes.
"""

import importlib
import logging

from streamlit.runtime.pages_manager import PagesManager
from streamlit.web import cli

LOADED = (
    "altair",
    "pandas.io.formats.style",
    "carom.app.shell.frame",
    "carom.app.shell.views",
    "carom.app.shell.parts",
    "carom.app.charts.gates",
)


def main() -> None:
    """Load, then serve."""
    # Until explorer.py has run once, Streamlit takes the folder pages/ for its older kind of app, and whoever opens the
    # address of a page first gets that script alone, without the sidebar's names and the page's settings.
    PagesManager.uses_pages_directory = False
    # functions that keep what they return say that no server runs yet, which is so
    keeping = logging.getLogger("streamlit.runtime.caching.cache_data_api")
    told = keeping.level
    keeping.setLevel(logging.ERROR)
    for name in LOADED:
        importlib.import_module(name)
    keeping.setLevel(told)
    cli.main(prog_name="streamlit")


if __name__ == "__main__":
    main()
