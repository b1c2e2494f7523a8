"""Gates: a model asked about a frozen suite of adversarial sets, and judged against the model before it.

`suite.py` is the file, `freeze.py` makes one of a scenario, `ask.py` asks a model about it, `judge.py` says how much
weaker it is and how sure that is, `baseline.py` keeps what it is compared with, `calibrate.py` says how much equal
trainings differ. Nothing here that a gate runs imports more than numpy and torch: a gate is a test, and tests start
often.
"""
