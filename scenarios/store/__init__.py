"""What is kept: tables, files, predictions, and how they are read.

`schema.py` has the tables and `artifacts.py` the files; `database.py` opens a store and drops what rests on what is no
longer there, `migrations.py` brings an older one up to date, `predictions.py` packs answers. `runs.py`, `outcomes.py`
and `lists.py` read, `stamps.py` says at once that a run was done before, `free.py` deletes.
"""
