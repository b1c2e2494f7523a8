"""Black-box access: a target's answers, every one of them counted."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from carom.errors import ContractError, InputError, ModelError
from carom.protocols import BlackBox
from carom.typing import Images, Labels, Logits

Answer = Callable[[Images], Logits | Labels]


class Oracle:
    """What a query attack sees of its target: answers to images, counted image by image.

    The target is asked about what could be saved: `view` rounds to 8 bits inside the ball before it looks. Each image
    has its own count, and an attack that spends more than it declared is stopped.

    Attributes:
        queries: `n` int64: how often each image was asked about.
        limit: Queries that one image may cost; None for no limit.
    """

    def __init__(
        self,
        answer: Answer,
        n: int,
        *,
        view: Callable[[Images, Int[Tensor, " m"]], Images] | None = None,
        limit: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        if limit is not None and limit < 1:
            raise InputError(f"oracle: a limit of {limit} queries; expected at least 1")
        self._answer, self._view, self.limit = answer, view, limit
        self.queries = torch.zeros(n, dtype=torch.int64, device=device)

    def limited(self, limit: int) -> "Oracle":
        """The same target and counts under a limit of `limit` queries an image from now on."""
        self.limit = limit if self.limit is None else min(self.limit, limit)
        return self

    def scores(self, x: Images, rows: Int[Tensor, " m"]) -> Logits:
        """Scores `m k` (logits, or log-probabilities: what the target gives) for versions of the images `rows`.

        Raises:
            ModelError: The target answers labels only, in another number than the images, or with NaN.
            ContractError: More queries than the limit.
        """
        answer = self._ask(x, rows)
        if answer.ndim != 2:
            raise ModelError(
                "attack: the target answers labels only, and this attack needs scores; use a hard-label one"
            )
        return answer

    def labels(self, x: Images, rows: Int[Tensor, " m"]) -> Labels:
        """Predicted classes `m` for versions of the images `rows`; errors as for `scores`."""
        answer = self._ask(x, rows)
        return answer.argmax(1) if answer.ndim == 2 else answer

    def _ask(self, x: Images, rows: Int[Tensor, " m"]) -> Tensor:
        if len(x) != len(rows):
            raise ContractError(f"oracle: {len(x)} images for {len(rows)} rows")
        spent = self.queries.index_add(0, rows, torch.ones_like(rows))  # a row may stand here more than once
        if self.limit is not None and len(rows) and int(spent.max()) > self.limit:
            raise ContractError(
                f"oracle: query {int(spent.max())} about image {int(spent.argmax())}, but the attack's budget is "
                f"{self.limit} queries an image"
            )
        self.queries = spent
        seen = x if self._view is None else self._view(x, rows)
        with torch.no_grad():
            answer = torch.as_tensor(self._answer(seen))
        if answer.ndim not in (1, 2) or len(answer) != len(x):
            raise ModelError(
                f"attack: the target answered {len(x)} images with shape {tuple(answer.shape)}; expected scores n k or "
                "labels n"
            )
        answer = answer.to(seen.device)
        if bool(answer.isnan().any()):  # the search would take it for a class
            raise ModelError("attack: the target answered with NaN; a query attack needs an answer to every image")
        return answer


def oracle_of(oracle: BlackBox | None, queries: int, *, name: str) -> BlackBox:
    """What the attack `name` asks, at most `queries` times an image.

    Raises:
        InputError: There is no target to ask.
    """
    if oracle is None:
        raise InputError(f"attack: {name} asks a target, and there is none; craft it with a target that answers")
    return oracle.limited(queries)


def fooled(labels: Labels, y: Labels, target: Labels | None) -> Bool[Tensor, " n"]:
    """Whether these answers are what the attack is after: any class but `y`, or the class `target`."""
    return labels != y if target is None else labels == target
