"""What a run found, in sentences: pure functions from its tables to words that report and explorer both say.

Read `words.py` first: what a finding is, and how numbers are said. Then `rows.py`: which rows of a table a sentence is
about. `overview.py` has a run, `victim.py` one model, `defences.py` what to deploy against whom. Nothing here draws,
and every number is one of a table of `carom show`.
"""
