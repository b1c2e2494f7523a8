"""A training under way in a file, to go on from."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor

from carom.files import read_state, write_state
from carom.identity import tensor_digest
from carom.zoo.models.classifier import load_weights, weights

from .state import EpochRecord, Passes, State
from .trained import Course, Sample

_SECONDS_BETWEEN_CHECKPOINTS = 10.0  # what a kill can cost, at least
_SHARE_OF_CHECKPOINTS = 0.05  # of the time may go into writing them: those of many large samples are rarer


def start_digest(start: Mapping[str, Tensor] | None) -> str | None:
    """What a training starts from, by its content."""
    return None if start is None else tensor_digest(start)


@dataclass
class Checkpoint:
    """A training's whole state in one file, after an epoch."""

    path: Path
    same: str
    written: float = field(default_factory=time.monotonic)
    took: float = 0.0

    def load(self, state: State, course: Course) -> None:
        """Go on from the file; where there is none, it is damaged, or of another training, from the beginning."""
        found = read_state(self.path, self.same)
        if found is None:
            return
        load_weights(state.classifier, found["weights"], where=str(self.path))
        state.optimizer.load_state_dict(found["optimizer"])
        state.step, state.passes = found["step"], Passes(*found["passes"])
        state.model_seconds = found["model_seconds"]
        state.memory = {name: tensor.to(state.images.labels.device) for name, tensor in found["memory"].items()}
        course.best, course.best_epoch, course.best_accuracy = found["best"]
        course.history[:] = [EpochRecord(**record) for record in found["history"]]
        course.samples = [Sample(*sample) for sample in found["samples"]]
        course.diverged = found["diverged"]

    def write(self, state: State, course: Course) -> None:
        """After an epoch, where the last time is long enough ago."""
        began = time.monotonic()
        if began - self.written < max(_SECONDS_BETWEEN_CHECKPOINTS, self.took / _SHARE_OF_CHECKPOINTS):
            return
        content = {
            "weights": weights(state.classifier),
            "optimizer": state.optimizer.state_dict(),
            "step": state.step,
            "passes": (state.passes.forward, state.passes.backward),
            "model_seconds": state.model_seconds,
            "memory": state.memory,
            "best": (course.best, course.best_epoch, course.best_accuracy),
            "history": [asdict(record) for record in course.history],
            "samples": [(s.epoch, s.weights, s.validation_accuracy) for s in course.samples],
            "diverged": course.diverged,
        }
        write_state(self.path, self.same, content)
        self.written = time.monotonic()
        self.took = (self.written - began) if _SECONDS_BETWEEN_CHECKPOINTS else 0.0

    def remove(self) -> None:
        """The training is done."""
        self.path.unlink(missing_ok=True)
