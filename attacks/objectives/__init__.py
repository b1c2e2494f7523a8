"""What is raised: an `Objective` of `slots.py` a file. `cross_entropy.py` is the default.

Those that raise features, and are `Fitted` on the clean images first, stand together in `features.py`.
"""
