"""Weights along one training, and what is made of them.

Collected: `checkpoints.py`, `snapshots.py`, `fge.py`, `lgv.py`, `swa.py`. Made of those: averages (`swa.py`), random
directions (`directions.py`), subspaces (`subspace.py`).
"""
