"""From numbers to tables, for the terminal, exports and the explorer: one place that says what is shown and how.

`table.py` says what a table is and how numbers are written; each other file makes the tables of one thing; `which.py`
says which tables a run has. `glossary.toml` has what the words of their columns mean.
"""
