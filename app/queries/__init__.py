"""All questions of the explorer to a store, a file a page, without Streamlit.

`runs.py` first: what a page shows of a run. `cells.py` and `tables.py` serve several pages.
"""
