"""A run as files: `files.py` writes them, `latex.py`, `markdown.py` and `html.py` say what stands in them.

The report is a page: first what `carom.scenarios.findings` says, then the figures of `figures.py`, drawn by
`carom.scenarios.charts`, then all tables.
"""
