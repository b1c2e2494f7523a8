"""What image passes of models that exist already take here: networks of unlike sizes differ tenfold."""

import os
import time
from collections.abc import Callable
from statistics import mean

import torch
from torch import nn

from carom.attacks.crafting.chunks import chunk_size
from carom.scenarios.spec.scenario import ReferencedModel
from carom.zoo.models.outside.onnx_file import OnnxFile
from carom.zoo.models.outside.programs import Program
from carom.zoo.models.prepare import prepare
from carom.zoo.models.references import Preprocessed, load_reference

from .plan import Plan

# Seconds for one image pass of the zoo's small networks on one core, until the store has measured its own.
FIRST_GUESS = {"train": 1.5e-4, "build": 1.5e-4, "measure": 1.5e-4, "craft": 1.0e-4, "evaluate": 8.0e-5}


class Prices:
    """Seconds an image pass, by kind of job and label of what is read or asked; a model is timed when first asked for.

    A model that may cost money for each question is not timed: `FIRST_GUESS` stands for it.

    Args:
        planned: A plan whose models all exist already.
        workers: Among whom the cores are shared.
        device: Where work is done.
    """

    def __init__(self, planned: Plan, workers: int, device: str) -> None:
        self._plan, self._device = planned, device
        self._threads = max(1, len(os.sched_getaffinity(0)) // max(1, workers))
        self._read = {s.surrogate: s.members for s in planned.sets.values() if s.surrogate is not None}
        self._asked = {planned.models[cell.victim_key].label: cell.victim_key for cell in planned.cells}
        self._found: dict[str, tuple[float, float]] = {}

    def __call__(self, kind: str, label: str) -> float:
        """Seconds of one worker that a pass of an image is expected to take; of an ensemble, a member's on average."""
        if kind == "craft":
            return mean(self._of(key)[1] for key in self._read.get(label) or self._plan.models)
        return self._of(self._asked[label])[0] if label in self._asked else FIRST_GUESS[kind]

    def _of(self, key: str) -> tuple[float, float]:
        """Of a forward pass, and of each of a forward and a backward pass together."""
        if key not in self._found:
            threads = torch.get_num_threads()
            torch.set_num_threads(self._threads)
            try:
                self._found[key] = self._timed(key)
            finally:
                torch.set_num_threads(threads)
        return self._found[key]

    def _timed(self, key: str) -> tuple[float, float]:
        planned, task = self._plan.models[key], self._plan.scenario.task
        assert isinstance(planned.model, ReferencedModel)
        named = planned.model.reference
        model = load_reference(named, shape=task.shape, classes=len(task.classes), where=planned.label)
        pixels = self._plan.images["test"].images.pixels
        x = pixels[: chunk_size(task.shape, torch.device(self._device))].to(self._device)
        inner = named.model if isinstance(named, Preprocessed) else named
        if not isinstance(model, nn.Module):
            if not isinstance(inner, OnnxFile | Program):
                return FIRST_GUESS["evaluate"], FIRST_GUESS["craft"]
            forward = _seconds(lambda: model(x)) / len(x)
            return forward, forward
        ready = prepare(model.eval()).to(self._device)

        def both() -> None:
            image = x.clone().requires_grad_()
            torch.autograd.grad(ready(image).sum(), image)

        with torch.no_grad():
            forward = _seconds(lambda: ready(x)) / len(x)
        with torch.inference_mode(False), torch.enable_grad():
            return forward, _seconds(both) / (2 * len(x))


def prices_of(planned: Plan, workers: int, device: str) -> Prices | None:
    """What passes of the models take; None where one of them is made here, so that only experience tells."""
    exist = all(isinstance(each.model, ReferencedModel) for each in planned.models.values())
    return Prices(planned, workers, device) if exist and planned.models else None


def _seconds(work: Callable[[], object]) -> float:
    """Of the second time: the first finds kernels and memory."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
