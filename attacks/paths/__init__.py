"""Model paths: where the gradient flows inside a network.

To add one: write the file, and its entry in `names.py`.
"""

from .ghost import Ghost
from .linbp import LinBP
from .pas import PAS, knobs
from .search import Searched, Trial, search
from .sgm import SGM

__all__ = ["PAS", "SGM", "Ghost", "LinBP", "Searched", "Trial", "knobs", "search"]
