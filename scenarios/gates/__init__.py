"""Gates: a model asked about a frozen suite of adversarial sets, and judged against the model before it.

`suite.py` is the file, `freeze.py` makes one of a scenario, `named.py` loads a model that is given by its name,
`ask.py` asks a model about a suite, `judge.py` says how much weaker it is and how sure that is, `calibrate.py` says how
much equal trainings differ, `shown.py` makes tables of them for the command line. The baseline that a model is compared
with is pytest's: `pytest_carom`. A gate is a test, and tests start often: `suite.py`, `ask.py`, `judge.py` and
`calibrate.py` import no library but numpy and torch; the others load more, and with them a gate that names its model or
a scenario.
"""
