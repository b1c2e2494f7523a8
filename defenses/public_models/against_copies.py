"""Training on clean images and on adversarial copies of them."""

from dataclasses import InitVar, dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import cross_entropy

from carom.identity import tensor_digest
from carom.typing import Images, Labels, Logits
from carom.zoo.training.accuracy import macro_accuracy
from carom.zoo.training.recipes import Recipe
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State

LossName = Literal["random", "all", "top-k", "dynamic-loss", "dynamic-accuracy"]


_MEANS = "pubdef means"


_BATCH = 256  # validation images at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Copies:
    """What a training reads beside its images, 8-bit, on the CPU.

    Attributes:
        adversarial: Augmented images, crafted, source by source and copy by copy, in the order of the training images.
        judged: The validation images crafted, source by source.
    """

    adversarial: UInt8[Tensor, "sources copies n c h w"]
    judged: UInt8[Tensor, "sources m c h w"]

    @property
    def digest(self) -> str:
        """sha256 over all of them."""
        return tensor_digest({"adversarial": self.adversarial, "judged": self.judged})


@dataclass(frozen=True, kw_only=True)
class AgainstCopies:
    """Trains on each batch's clean images and on adversarial copies of them, all in one forward pass.

    The clean images are those that the training loop brings, augmented anew each time an image is read, as in plain
    training and in the authors' code. The adversarial copies are augmented already and stay as they were crafted; which
    copy of an image is read is drawn at each step.

    Attributes:
        copies: What to train on.
        loss: As in `PubDef`.
        k: Of "top-k".
        alpha: Of the dynamic losses.
        digest: Of the copies, as part of the key; filled in.
    """

    copies: InitVar[Copies]
    loss: LossName
    k: int
    alpha: float
    digest: str = ""

    version: ClassVar[int] = 2

    def __post_init__(self, copies: Copies) -> None:
        object.__setattr__(self, "digest", copies.digest)
        object.__setattr__(self, "_copies", copies)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss, and the epoch chosen by clean and adversarial validation accuracy, each half."""
        copies: Copies = self._copies  # type: ignore[attr-defined]

        def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
            assert state.batch is not None
            pixels = self._drawn(copies, state.batch.index.cpu(), state.generator)
            n, streams = len(y), 1 + len(pixels) // len(y)
            seen = torch.cat([x, pixels.to(x.device).float() / 255]).to(memory_format=torch.channels_last)
            logits = state.classifier(seen)
            state.passes.forward += len(seen) - n
            state.passes.backward += len(seen) - n
            values = cross_entropy(
                logits, y.repeat(streams), reduction="none", label_smoothing=recipe.label_smoothing
            ).view(streams, n)
            return self._weighted(state, values, logits, y), logits[:n]

        return replace(slots, loss=loss, robust=lambda state: weighted_accuracy(state, copies))

    def _drawn(self, copies: Copies, index: Tensor, generator: torch.Generator) -> UInt8[Tensor, "streams_n c h w"]:
        """The adversarial copies of a batch's images, stream after stream."""
        copy = torch.randint(copies.adversarial.shape[1], index.shape, generator=generator)
        if self.loss == "random":
            source = torch.randint(len(copies.adversarial), index.shape, generator=generator)
            return copies.adversarial[source, copy, index]
        return copies.adversarial[:, copy, index].flatten(0, 1)

    def _weighted(
        self, state: State, values: Float[Tensor, "streams n"], logits: Float[Tensor, "streams_n k"], y: Labels
    ) -> Float[Tensor, ""]:
        """One number from the cross-entropies of all streams; the first is the clean one."""
        clean, adversarial = values[0], values[1:]
        match self.loss:
            case "random" | "all":
                return values.mean()
            case "top-k":
                hardest = adversarial.topk(self.k, dim=0).values
                return (clean + hardest.sum(0)).mean() / (self.k + 1)
            case "dynamic-loss":
                now = adversarial.detach().mean(1)
            case _:  # dynamic-accuracy
                now = (logits.detach()[len(y) :].argmax(1).view(-1, len(y)) != y).to(values).mean(1)
        before = state.memory.get(_MEANS, now)
        state.memory[_MEANS] = means = (1 - self.alpha) * before + self.alpha * now
        total = means.sum()
        weights = torch.where(total > 0, means / total.clamp_min(1e-12), 1 / len(means))  # equal where nothing is lost
        return (clean.mean() + weights @ adversarial.mean(1)) / 2


def weighted_accuracy(state: State, copies: Copies) -> float:
    """Half the macro accuracy on clean validation images, half that on adversarial ones, the mean over the sources."""
    labels, classifier = state.judges.labels, state.classifier

    def accuracy(pixels: UInt8[Tensor, "m c h w"]) -> float:
        with torch.inference_mode():
            parts = [classifier(p.to(labels.device).float() / 255).argmax(1) for p in torch.split(pixels, _BATCH)]
        return macro_accuracy((torch.cat(parts) == labels).float(), labels)

    adversarial = [accuracy(pixels) for pixels in copies.judged]
    return (accuracy(state.judges.images) + sum(adversarial) / len(adversarial)) / 2
