"""The one training loop and its recipes.

A recipe (`recipes.py`) fills `slots.py`; `loop.py` calls them, brings `batches.py` (augmented by `augment.py`), shows
the slots where it stands (`state.py`), keeps a `checkpoint.py`, and returns what is in `trained.py`. `ground.py` is
what a surrogate or a defence makes a network with.
"""
