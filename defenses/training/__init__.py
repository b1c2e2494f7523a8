"""Networks trained to withstand.

`pgd.py` is the attack in the loop; `pgd_at.py` and `trades.py` train against it, `mart.py`, `awp.py` and `accelat.py`
in other ways of theirs, `fast_at.py` with one step. `corruption.py` learns from corrupted images, `plain.py` is none.
"""
