"""Draws of weights from a posterior.

Samplers: `langevin.py` is the optimizer of `sgld.py` and `csgld.py`; `hmc.py`. Gaussians around a network: `swag.py`,
`variational.py`, `laplace.py` and `mba.py`, which is drawn anew at each step of an attack. Masks: `dropout.py`.
"""
