"""Gates: to be drawn."""

import streamlit as st

from carom.app.frame import Opened, header, show


def page(opened: Opened) -> float:
    """To be drawn."""
    header(opened, "Gates")
    st.info("Nothing yet.")
    return 0.0


show(page)
