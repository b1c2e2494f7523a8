"""What reading costs: passes, seconds, and gradients that were exactly zero."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import torch
from jaxtyping import Int, Num
from torch import Tensor

from carom.errors import ModelError
from carom.protocols import Passes
from carom.typing import Images


class Stopwatch:
    """Seconds spent in marked places; on a GPU by events, so that measuring waits for nothing.

    A place marked inside another counts once.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds = 0.0
        self._inside = False
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts the time inside the `with` block."""
        if self._inside:
            yield
            return
        self._inside = True
        try:
            if self._cuda:
                start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
                end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
                start.record()
                yield
                end.record()
                self._events.append((start, end))
            else:
                began = perf_counter()
                yield
                self._seconds += perf_counter() - began
        finally:
            self._inside = False

    @property
    def seconds(self) -> float:
        """The sum so far. On a GPU this waits for the work to end."""
        for start, end in self._events:
            end.synchronize()
            self._seconds += start.elapsed_time(end) / 1000
        self._events.clear()
        return self._seconds


class Counted:
    """Some images, and what was spent on them.

    Attributes:
        x: Clean images, `n c h w`, in [0, 1].
        passes: Image passes asked for so far.
        columns: What the attack notes of each image beside the image itself, by name, each `n`.
    """

    def __init__(self, x: Images) -> None:
        self.x = x.detach()
        self.passes = Passes()
        self.columns: dict[str, Tensor] = {}
        self._watch = Stopwatch(x.device)
        self._evaluations = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        self._zero = torch.zeros_like(self._evaluations)
        self._finite = torch.ones((), dtype=torch.bool, device=x.device)

    def note(self, name: str, values: Num[Tensor, " n"]) -> None:
        """Keep a number of each image beside the images: its queries, its radius."""
        self.columns[name] = values.detach()

    def check(self) -> None:
        """Look back at every answer so far.

        Raises:
            ModelError: A logit or a gradient was not finite.
        """
        if not bool(self._finite):
            raise ModelError(
                "surrogate: logits or gradients are not finite; check its weights and preprocessing, and that it "
                "takes images in [0, 1]"
            )

    @property
    def evaluations(self) -> Int[Tensor, " n"]:
        """For each image, how often its gradient was asked for."""
        return self._evaluations.clone()

    @property
    def zero_gradients(self) -> Int[Tensor, " n"]:
        """For each image, at how many evaluations its gradient was exactly zero."""
        return self._zero.clone()

    @property
    def seconds(self) -> float:
        """Time inside forward and backward passes, through the transformations too."""
        return self._watch.seconds

    def _noted(self, gradient: Images, zero: Tensor, finite: Tensor) -> Images:
        self._zero += zero
        self._finite &= finite
        if not self.x.is_cuda:
            self.check()
        return gradient
