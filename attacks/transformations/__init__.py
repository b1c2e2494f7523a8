"""What the images go through before the model reads them, and what its gradient goes through after.

A `Transformation` of `slots.py` a file; `resize.py` is what several of them share.
"""
