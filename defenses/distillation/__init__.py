"""Robust students of teachers, and students taken out of a network that holds many.

`robust_distillation.py` says what a way of distilling is; `ard.py`, `rslad.py` and `adaad.py` are the ways;
`distilled.py` trains a network so. `proard.py` trains an elastic network, `taken_out.py` takes a part out of it,
`student.py` has the stages that do. `search.py` looks for the best part: `measure.py` measures some, `predictor.py`
learns from them, `nsga2.py` searches by it, `candidates.py` chooses among what was measured.
"""
