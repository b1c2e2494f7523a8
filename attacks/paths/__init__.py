"""Model paths: where the gradient flows inside a network. A `Path` of `slots.py` a file.

`anatomy.py` says what a network has, seen in one run of it (`graph.py`); a path puts modules of `operators.py` in some
places. `search.py` finds the coefficients of PAS.
"""

from .ghost import Ghost
from .linbp import LinBP
from .pas import PAS, knobs
from .search import Searched, Trial, search
from .sgm import SGM

__all__ = ["PAS", "SGM", "Ghost", "LinBP", "Searched", "Trial", "knobs", "search"]
