"""A transferred image first, and queries only where it failed."""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from carom.attacks.iterative import Iterative
from carom.attacks.momentum.momentum import Momentum
from carom.budget import Budget, Norm
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Attack, Passes, Reader
from carom.typing import Images

from .oracle import oracle_of
from .square import Square


@runtime_checkable
class FromStart(Attack, Protocol):
    """An attack that can begin elsewhere than at the clean images."""

    def from_start(self, reader: Reader, budget: Budget, draws: Draws, start: Images) -> Images:
        """As a call, from other images in the ball; its first query asks about them."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferThenQuery:
    """Crafts on a surrogate, asks the target once, and goes on with queries from there where that failed.

    The order of work of an attacker who owns a surrogate (as in Suya et al. 2020, arXiv:1908.07000, where transferred
    images are the starts of a query attack). The query attack stays in the ball around the clean image; its budget of
    queries includes the first one.

    Attributes:
        transfer: What reads the surrogate's gradients.
        query: What asks the target, from the transferred image on.

    Raises:
        InputError: A query attack that cannot begin elsewhere, or a transfer that asks; or, when called, no target to
            ask, a norm that one of the two has not, or a target class for one that cannot aim.
    """

    transfer: Attack = field(default_factory=lambda: Iterative(momentum=Momentum()))
    query: Attack = field(default_factory=Square)

    version: ClassVar[int] = 1
    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    targeted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.query, FromStart):
            raise InputError(
                f"transfer-then-query: {type(self.query).__name__} cannot begin at a transferred image; use 'square', "
                "'bayes' or 'subspace-random' as its query"
            )

        if isinstance(self.transfer, FromStart):
            raise InputError(
                f"transfer-then-query: {type(self.transfer).__name__} asks the target too; its transfer is what reads "
                "gradients, such as 'mi'"
            )

    def passes(self, members: int = 1) -> Passes:
        """What an image costs at most: the transfer's passes, and one for each query."""
        return self.transfer.passes(members) + self.query.passes(members)

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        """Images in the ball around `reader.x`; those that fooled the target are the ones it was asked about."""
        for part, attack in (("transfer", self.transfer), ("query", self.query)):
            if budget.norm not in attack.norms:
                needed = " or ".join(attack.norms)
                raise InputError(f"transfer-then-query: its {part} needs {needed} budgets, got {budget.norm}")
            if reader.target is not None and not attack.targeted:
                raise InputError(f"transfer-then-query: its {part} cannot aim at a class; use another one")
        assert isinstance(self.query, FromStart)
        if budget.eps == 0:
            return reader.x.detach().clone()
        oracle_of(reader.oracle, self.query.passes().forward, name="transfer-then-query")  # before the work
        start = self.transfer(reader, budget, draws)
        return self.query.from_start(reader, budget, draws, start)
