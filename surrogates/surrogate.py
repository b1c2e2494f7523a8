"""What an attacker owns: one or more classifiers, and when each of them is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from carom.draws import stream
from carom.errors import InputError
from carom.protocols import Classifier, Combination

Schedule = Literal["light", "full"]


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A gradient source over trained classifiers.

    Attributes:
        classifiers: At least one, prepared for crafting (eval mode, frozen).
        combination: How several active members become one loss.
        schedule: "full" reads every member at every step; "light" reads `per_step` of them, in a fresh seeded order
            each time all have been read, so that a step costs as much as on one network.
        per_step: Members a step of the light schedule.
        seed: Of the order of the light schedule.
    """

    classifiers: tuple[Classifier, ...]
    combination: Combination = "logits"
    schedule: Schedule = "full"
    per_step: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.classifiers:
            raise InputError("surrogate: no classifier; expected at least one")
        if not 1 <= self.per_step <= len(self.classifiers):
            raise InputError(
                f"surrogate: per_step={self.per_step} of {len(self.classifiers)} members; "
                f"expected 1 to {len(self.classifiers)}"
            )

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        """The active classifiers; all copies of a step read the same ones."""
        del copy
        count = len(self.classifiers)
        if self.schedule == "full" or self.per_step == count:
            return self.classifiers
        places = range(step * self.per_step, (step + 1) * self.per_step)
        return [self.classifiers[self._order(place // count)[place % count]] for place in places]

    def _order(self, round_: int) -> list[int]:
        generator = torch.Generator().manual_seed(stream(self.seed, "members", round_))
        return torch.randperm(len(self.classifiers), generator=generator).tolist()
