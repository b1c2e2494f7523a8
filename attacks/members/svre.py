"""SVRE: an ensemble's gradient with less of the variance between its members."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from carom.attacks.momentum.momentum import Momentum
from carom.attacks.slots import Look, Memory
from carom.errors import InputError
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class SVRE:
    """Stochastic variance reduction over the members (Xiong et al. 2022, arXiv:2111.10752).

    Each reading is a short walk with momentum of its own. Update m reads one member k, drawn uniformly, where the walk
    stands, and follows `g_k(walk) - g_k(point) + g(point)`, g the gradient of all members; the momentum at its end is
    the answer. The member drawn belongs to (seed, step, reading, update), and is one for all images.

    `g_k(point)` is read once for each member and reading, under the same random transformations as `g(point)`, and the
    first update follows `g(point)` without a reading, as it equals that. The authors read both again at every update:
    the same where nothing is random, and cheaper by a third. Transformations of the walk are drawn anew at every
    update. TI smooths every gradient that is read, and where the walk led once more, as the authors' code does. The
    walk stays in the ball around the clean image. With one member it is a walk along its gradient; with a single
    update, that gradient.

    Attributes:
        updates: Updates a member, at least 1: 4 is the paper's 16 for four members.
        decay: Of the walk's momentum, at least 0.
        inner: Step size of the walk, in steps of the attack, more than 0.
        smooth_answer: Whether TI smooths the answer too. TransferAttack smooths the gradients that are read alone.

    Raises:
        InputError: Out of these ranges.
    """

    updates: int = 4
    decay: float = 1.0
    inner: float = 1.0
    smooth_answer: bool = True

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise InputError(f"svre: updates must be at least 1 (a member), got {self.updates}")
        if not self.decay >= 0:
            raise InputError(f"svre: decay must be at least 0, got {self.decay:g}")
        if not 0 < self.inner < float("inf"):
            raise InputError(f"svre: inner must be more than 0 (in steps of the attack), got {self.inner:g}")

    def passes(self, members: int) -> int:
        return (1 if members == 1 else 2 * members) + self.updates * members - 1

    def __call__(self, look: Look, at: Images, reading: int, memory: Memory) -> Images:
        members, budget = look.members, look.budget
        updates = self.updates * members
        whole = look.read_members(at, reading, None)
        alone = [whole] if members == 1 else [look.read_members(at, reading, member) for member in range(members)]
        corrections = [whole - gradient for gradient in alone]
        accumulate = Momentum(decay=self.decay).accumulate
        momentum = accumulate(None, whole)
        of_all = look.draws.shared(torch.device("cpu"))  # a choice of the program, not of the images
        walk = at
        for update in range(1, updates):
            walk = budget.project(walk.add(budget.steepest(momentum), alpha=self.inner * look.size), look.x)
            member = int(of_all.integers("svre member", members, step=look.step, copy=reading * updates + update))
            gradient = look.read_members(walk, reading, member, update) + corrections[member]
            momentum = accumulate(momentum, gradient)
        return look.smooth(momentum) if self.smooth_answer else momentum
