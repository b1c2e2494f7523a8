"""Adversarial copies of images: crafted once from a public model, and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch

from carom.attacks import craft
from carom.budget import Budget
from carom.defenses.defense import PublicModel
from carom.draws import stream
from carom.files import write_whole
from carom.identity import content_key, tensor_digest
from carom.protocols import Attack, Combination
from carom.typing import Labels, Pixels
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.prepare import prepare
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.augment import draw, warp
from carom.zoo.training.recipes import Recipe
from carom.zoo.training.state import Passes

AgainstLabels = Literal["true", "predicted"]

_VERSION = 1  # of the files; raise it when the same key would name other bytes
_BATCH = 256
_CHUNK = 1024  # images augmented at a time


@dataclass(frozen=True, eq=False)
class Alone:
    """One classifier as what an attack reads.

    Attributes:
        classifier: In eval mode.
    """

    classifier: Classifier

    @property
    def combination(self) -> Combination:
        """Of one: any."""
        return "logits"

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        """The one, always."""
        del step, copy
        return (self.classifier,)


@dataclass(frozen=True, kw_only=True, eq=False)
class AdversarialCopy:
    """An adversarial image for each of some images, all from one model.

    Attributes:
        images: 8-bit, in the ball.
        passes: Image passes that they took, through the model that they come from.
        seconds: The same in time, when they were crafted.
    """

    images: Pixels
    passes: Passes
    seconds: float


def augmented(images: ImageSet, recipe: Recipe, *, seed: int, copy: int) -> ImageSet:
    """The images as the recipe's augmentation shows them, rounded to 8 bits; each copy is drawn anew.

    On the CPU, so that the copies are the same wherever they are attacked.
    """
    generator = torch.Generator().manual_seed(stream(seed, "pubdef", copy=copy))
    n, size = len(images), (int(images.images.shape[2]), int(images.images.shape[3]))
    maps = draw(recipe, n, size, generator)
    if maps is None:
        return images
    made = torch.empty_like(images.images, device="cpu")
    for first in range(0, n, _CHUNK):
        at = slice(first, first + _CHUNK)
        seen = warp(images.images[at].cpu().float(), maps[at])
        made[at] = seen.round().clamp(0, 255).to(torch.uint8)
    return ImageSet(made, images.labels, images.ids)


def predicted(classifier: Classifier, pixels: Pixels, device: torch.device) -> Labels:
    """The classes that a classifier in eval mode gives to 8-bit images, on the CPU."""
    with torch.inference_mode():
        parts = [classifier(part.to(device).float() / 255).argmax(1).cpu() for part in torch.split(pixels, _BATCH)]
    return torch.cat(parts)


def adversarial_copy(
    model: PublicModel,
    images: ImageSet,
    *,
    attack: Attack,
    budget: Budget,
    labels: AgainstLabels = "true",
    seed: int,
    copy: int = 0,
    device: torch.device,
    stored: Path | None = None,
) -> AdversarialCopy:
    """Craft one copy, or read it where the same was crafted before.

    Args:
        model: What the attack reads.
        images: Clean, and augmented already.
        attack: Of the crafting engine.
        budget: Around `images`.
        labels: Attacked are the "true" classes, or those that the model has "predicted" of the clean images.
        seed: Of the attack's draws, which differ from model to model and from copy to copy.
        copy: Which.
        device: Where to work.
        stored: A folder of copies by key; None keeps nothing.
    """
    fingerprint = model.classifier.fingerprint()
    draws = stream(seed, f"pubdef, {fingerprint}", copy=copy)
    key = content_key("adversarial copy", _VERSION, fingerprint, images.digest, attack, budget, labels, draws)
    path = None if stored is None else stored / f"{key}.safetensors"
    if path is not None and (found := _read(path, images)) is not None:
        return found
    began = perf_counter()
    pixels, classes = images.images.cpu(), images.labels.cpu()
    passes = Passes()
    if labels == "predicted":
        classes = predicted(model.classifier, pixels, device)
        passes.forward += len(images)
    (made,) = craft(
        [(attack, budget)],
        Alone(model.classifier),
        pixels,
        classes,
        seed=draws,
        ids=images.ids.cpu(),
        prepare=prepare,
        device=device,
    )
    passes.forward += made.passes.forward
    passes.backward += made.passes.backward
    result = AdversarialCopy(images=made.images, passes=passes, seconds=perf_counter() - began)
    if path is not None:
        _write(path, result)
    return result


def _read(path: Path, images: ImageSet) -> AdversarialCopy | None:
    """What a file holds; None where there is none, or it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            note, found = file.metadata(), file.get_tensor("images")
        whole = found.shape == images.images.shape and tensor_digest({"images": found}) == note["digest"]
        passes = Passes(int(note["forward"]), int(note["backward"]))
        seconds = float(note["seconds"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    return AdversarialCopy(images=found, passes=passes, seconds=seconds) if whole else None


def _write(path: Path, made: AdversarialCopy) -> None:
    """The whole file or none."""
    from safetensors.torch import save

    tensors = {"images": made.images.contiguous()}
    note = {
        "digest": tensor_digest(tensors),
        "forward": str(made.passes.forward),
        "backward": str(made.passes.backward),
        "seconds": repr(made.seconds),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(tensors, metadata=note))
