"""Where and how often a step reads the gradient: a `Rule` of `slots.py` a file. `plain.py` is the default.

`neighbours.py` is what those share that read around a point.
"""
