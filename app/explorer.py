"""The explorer: the pages, and how one gets from one to the other.

Started by `carom app`, which names the stores in the environment; reads, never writes. Each page is a script in
`pages/`; `frame.py` is what they share.
"""

import streamlit as st

PAGES = {
    "Answers": ("overview", "model", "defences"),
    "Explore": ("transfer", "matrix", "attacks", "surrogates", "images"),
    "Operate": ("runs", "gates"),
}
TITLES = {"model": "My model"}
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="3" cy="13" r="2.6" fill="#0072B2"/>'
    '<path d="M4 11 10 3l4 9" fill="none" stroke="#808080"/><circle cx="13" cy="13" r="2.6" fill="#E69F00"/></svg>'
)


def main() -> None:
    """Draw the page of the address."""
    pages = {
        group: [
            # An icon of Streamlit's would also be asked of a server of others, for the browser's tab.
            st.Page(
                f"pages/{name}.py",
                title=TITLES.get(name, name.capitalize()),
                url_path="" if name == "overview" else name,
                default=name == "overview",
            )
            for name in names
        ]
        for group, names in PAGES.items()
    }
    # Where Streamlit puts the first page is "/"; who writes its name as that of any other page finds it too.
    pages["Answers"].append(st.Page("pages/overview.py", title="Overview", url_path="overview", visibility="hidden"))
    page = st.navigation(pages)
    st.set_page_config(page_title=f"{page.title} · carom", page_icon=ICON, layout="wide")
    page.run()


main()
