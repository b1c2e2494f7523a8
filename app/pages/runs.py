"""Runs: what ran, when, how far, on what, and what failed and why; two runs compared."""

import pandas as pd
import streamlit as st

from carom.app import parts, queries, views
from carom.app.frame import STANDS, Opened, header, show

TABLES = ("failures", "failed-jobs", "models")


def page(opened: Opened) -> float:
    """All runs of the store, then the chosen one."""
    header(opened, "Runs")
    runs = [
        {
            "run": r.id,
            "task": r.task,
            "state": STANDS[queries.state(r)],
            "cells with an outcome": r.done,
            "cells": r.cells,
            "failed": r.failed,
            "started (UTC)": r.started.replace("T", " ").split("+")[0].split(".")[0],
        }
        for r in opened.runs
    ]
    st.dataframe(pd.DataFrame(runs), hide_index=True)
    view, seconds = views.of_run(opened)
    for shown in view.tables:
        if shown.name in TABLES:
            parts.table(shown)
    st.subheader("Scenario file")
    st.code(opened.run.text, language="toml", height=400)
    st.subheader("Where it ran")
    environment = {**opened.run.environment, **opened.run.environment.get("versions", {})}
    environment.pop("versions", None)
    words = [(str(k), ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for k, v in environment.items()]
    st.dataframe(pd.DataFrame(words, columns=["what", "value"]), hide_index=True)
    return seconds


show(page)
