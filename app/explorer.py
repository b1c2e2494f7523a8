"""The explorer: the pages, and how one gets from one to the other.

Started by `carom app`, which names the stores in the environment; reads, never writes. Each page is a script in
`pages/`; `frame.py` is what they share.
"""

import streamlit as st

PAGES = {
    "runs": ("Runs", ":material/list:"),
    "cases": ("Cases", ":material/balance:"),
    "matrix": ("Matrix", ":material/grid_on:"),
    "methods": ("Methods", ":material/science:"),
    "images": ("Images", ":material/image:"),
    "gates": ("Gates", ":material/fence:"),
}


def main() -> None:
    """Draw the page of the address."""
    st.set_page_config(page_title="carom", layout="wide")
    pages = [
        st.Page(f"pages/{name}.py", title=title, icon=icon, url_path=name, default=name == "runs")
        for name, (title, icon) in PAGES.items()
    ]
    st.navigation(pages).run()


main()
