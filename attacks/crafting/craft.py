"""Sets of adversarial images: 8-bit ones, ones without a model, and ones that are not rounded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from carom.attacks.queries.oracle import Answer
from carom.attacks.reading.networks import Prepare, Ready
from carom.attacks.reading.partners import Partners
from carom.budget import NORMS, Budget, Norm, in_range
from carom.draws import Draws, content_ids
from carom.errors import ContractError, InputError
from carom.protocols import Attack, Classifier, Combination, Control, GradientSource, Passes, Reader
from carom.typing import Ids, Images, Labels, Pixels

from .chunks import Chunks, Progress
from .crafted import Crafted
from .rounding import as_seen, rounded
from .verifying import check_inside


def craft(
    attacks: Sequence[tuple[Attack, Budget]],
    source: GradientSource,
    pixels: Pixels,
    y: Labels,
    *,
    seed: int,
    ids: Ids,
    target: Labels | None = None,
    partners: Partners | None = None,
    asked: Answer | None = None,
    prepare: Prepare | None = None,
    chunk: int | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> list[Crafted]:
    """The 8-bit adversarial set of each attack under its budget.

    Args:
        attacks: Attacks with budgets; one attack may stand here with a grid of radii.
        source: What the attacks read, on `device`.
        pixels: Clean images, `n c h w`, 8-bit.
        y: Their classes, `n`.
        seed: Of the attacks' draws.
        ids: `n`; draws belong to them.
        target: Classes to be taken for, `n`; None for untargeted.
        partners: A fixed pool of images for attacks that mix others in.
        asked: What query attacks ask, on `device`; None for the source itself.
        prepare: What each classifier goes through before it is read, after a model path has rebuilt it.
        chunk: Images at once; None chooses `chunk_size`. It changes no draw, only float rounding.
        device: Where to work; None for where `pixels` are. The sets come back to where `pixels` are.
        progress: Called after each attack on each chunk.

    Raises:
        InputError: Counts that differ, a target that is the image's own class, or a label without a logit.
        ModelError: The source breaks the classifier contract.
        ContractError: An attack left its ball.
    """
    device = device or pixels.device
    chunks = Chunks(pixels, y, target, ids, seed, partners, asked, Ready(prepare), chunk, device, progress)

    def keep(x_adv: Images, budget: Budget, at: slice) -> Pixels:
        clean = pixels[at].to(device)
        quantized = rounded(x_adv, budget, clean)
        budget.check(quantized, clean)
        return quantized

    return chunks.run(attacks, source, keep, as_seen)


def craft_control(
    controls: Sequence[tuple[Control, Budget]],
    pixels: Pixels,
    *,
    seed: int,
    ids: Ids,
    chunk: int | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> list[Crafted]:
    """The 8-bit set of each control under its budget; arguments and errors as in `craft`."""
    attacks = [(_WithoutModel(control), budget) for control, budget in controls]
    nobody = torch.zeros(len(pixels), dtype=torch.int64)
    return craft(
        attacks, WITHOUT_GRADIENTS, pixels, nobody, seed=seed, ids=ids, chunk=chunk, device=device, progress=progress
    )


def craft_images(
    attacks: Sequence[tuple[Attack, Budget]],
    source: GradientSource,
    x: Images,
    y: Labels,
    *,
    seed: int,
    ids: Ids | None = None,
    target: Labels | None = None,
    partners: Partners | None = None,
    asked: Answer | None = None,
    prepare: Prepare | None = None,
    chunk: int | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> list[Crafted]:
    """As `craft`, for images that need not be 8-bit and are not rounded.

    Args:
        attacks: Attacks with budgets.
        source: What the attacks read, on `device`.
        x: Clean images, `n c h w`, floats in [0, 1]; float error at the ends is clamped away.
        y: Their classes, `n`.
        seed: Of the attacks' draws.
        ids: `n`; None takes them from the images' own bytes.
        target: Classes to be taken for.
        partners: A fixed pool of images for attacks that mix others in; None takes `x` and `y` themselves.
        asked: What query attacks ask; None for the source itself.
        prepare: What each classifier goes through before it is read.
        chunk: Images at once.
        device: Where to work.
        progress: Called after each attack on each chunk.

    Raises:
        InputError: Also for images that are not floats in [0, 1].
        ModelError: The source breaks the classifier contract.
        ContractError: An attack left its ball.
    """
    x = x.detach()
    if x.dtype not in (torch.float32, torch.float64):  # in half precision the ball would have no sharp border
        raise InputError(
            f"attack: expected float32 or float64 images in [0, 1], got {x.dtype}; divide 8-bit images by 255, and "
            "leave half precision to the model"
        )
    x = in_range(x, where="attack")
    device = device or x.device
    partners = partners or (Partners(x, y) if len(x) else None)
    ids = content_ids(x) if ids is None else ids
    chunks = Chunks(x, y, target, ids, seed, partners, asked, Ready(prepare), chunk, device, progress)

    def keep(x_adv: Images, budget: Budget, at: slice) -> Images:
        check_inside(x_adv, budget, x[at].to(device))
        return x_adv

    return chunks.run(attacks, source, keep, None)


@dataclass(frozen=True)
class _WithoutModel:
    """A control in the place of an attack."""

    control: Control

    norms: ClassVar[tuple[Norm, ...]] = NORMS
    targeted: ClassVar[bool] = False

    def passes(self, members: int = 1) -> Passes:
        return Passes()

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        return self.control(reader.x, budget, draws)


class _NoSource:
    """Nothing to read."""

    combination: Combination = "logits"

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        raise ContractError("attack: asked for a gradient where there is none")


WITHOUT_GRADIENTS: GradientSource = _NoSource()
"""For controls, and for attacks that only ask."""
