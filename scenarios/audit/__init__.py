"""How exposed a model is to attacks made on public ones, from one model and a folder of images.

`audit.py` is the way from the question to the answer; `model.py` looks at the model, `fitting.py` finds its
preprocessing, `surrogates.py` what public models are at hand, `scenario.py` writes down what is run,
`findings.py` reads the numbers, `sentences.py` says them, `gate.py` leaves a suite and a test behind.
"""
