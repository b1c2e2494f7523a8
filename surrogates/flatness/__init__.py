"""Trainings that look for flat minima, and the epoch that is flattest: chosen by transfer.

`sam.py` and its relatives read the gradient at weights nearby (`probe.py` beside this folder); `wasam.py` averages;
`early_stopping.py` chooses.
"""
