"""Sentences of `carom.scenarios.findings` on a page, each with a link to where its figure and numbers stand."""

from collections.abc import Sequence

import streamlit as st

from carom.scenarios.findings.words import Finding

from .plain import plain

CARRIED = ("store", "run", "budget", "attack", "victim")  # what an address says on every page


def told(findings: Sequence[Finding], *, here: str) -> None:
    """The sentences, one below the other.

    Args:
        findings: In their order.
        here: The page that they stand on, to which nothing links.
    """
    for finding in findings:
        if finding.kind == "intervals":
            st.caption(plain(finding.text))
        elif finding.page == here:
            st.markdown(plain(finding.text))
        else:
            words, way = st.columns([5, 1])
            words.markdown(plain(finding.text))
            with way:
                link(finding.page)


def link(page: str, *, label: str | None = None, **more: str) -> None:
    """A link to another page, which keeps what is chosen; it is called as the page is, or as `label` says."""
    address = {name: value for name in CARRIED if (value := st.query_params.get(name)) is not None}
    words = {"model": "My model"}.get(page, page.capitalize())
    icon, address = ":material/arrow_forward:", {**address, **more}
    st.page_link(f"pages/{page}.py", label=label or words, icon=icon, query_params=address)
