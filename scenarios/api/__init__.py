"""carom on one's own modules and tensors, without scenario or store: `carom.attack` and `carom.evaluate`.

`given` checks what came, for both.
"""

from .attacked import attack
from .evaluated import Evaluation, evaluate

__all__ = ["Evaluation", "attack", "evaluate"]
