"""What image passes of each model take here, measured before work begins: networks of unlike sizes differ tenfold."""

import os
import time
from collections.abc import Callable, Mapping
from statistics import mean

import torch
from torch import nn

from carom.attacks.crafting.chunks import chunk_size
from carom.zoo.models.prepare import prepare
from carom.zoo.preprocessing import Shape

from .model import Loaded

Load = Callable[[], Loaded]


class Prices:
    """Seconds an image pass, by kind of job and label of the model; each model is measured when it is first asked for.

    Args:
        models: Of every label; the first is the victim.
        shape: Of the images.
        workers: Among whom the cores are shared; None for one a core.
        device: Where work is done.
    """

    def __init__(self, models: Mapping[str, Load], shape: Shape, workers: int | None, device: str) -> None:
        self._models, self._shape, self._device = models, shape, device
        cores = len(os.sched_getaffinity(0))
        self._threads = max(1, cores // max(1, cores if workers is None else workers))
        self._found: dict[str, tuple[float, float]] = {}

    def __call__(self, kind: str, label: str) -> float:
        """Seconds that a pass of an image is expected to take; of all models in the mean where the label is ""."""
        labels = list(self._models) if kind == "craft" else [next(iter(self._models))]
        chosen = [label] if label in self._models else labels
        return mean(self._of(each)[kind == "craft"] for each in chosen)

    def _of(self, label: str) -> tuple[float, float]:
        """Of a forward pass, and of each of a forward and a backward pass together."""
        if label not in self._found:
            threads = torch.get_num_threads()
            torch.set_num_threads(self._threads)
            try:
                self._found[label] = self._measured(label)
            finally:
                torch.set_num_threads(threads)
        return self._found[label]

    def _measured(self, label: str) -> tuple[float, float]:
        model = self._models[label]()
        n = chunk_size(self._shape, torch.device(self._device))
        x = torch.rand(n, *self._shape, device=self._device, generator=torch.Generator(self._device).manual_seed(0))
        if not isinstance(model, nn.Module):
            forward = _seconds(lambda: model(x))
            return forward / n, forward / n
        ready = prepare(model.eval()).to(self._device)

        def both() -> None:
            image = x.clone().requires_grad_()
            torch.autograd.grad(ready(image).sum(), image)

        with torch.no_grad():
            forward = _seconds(lambda: ready(x))
        with torch.inference_mode(False), torch.enable_grad():
            return forward / n, _seconds(both) / (2 * n)


def _seconds(work: Callable[[], object]) -> float:
    """Of the second time: the first finds kernels and memory."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
