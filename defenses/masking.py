"""The gradient-masking gate: a model under attacks that must agree if its gradients tell the truth."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from carom.alarms import alarms
from carom.attacks import Iterative, Square, Uniform, craft
from carom.budget import Budget
from carom.draws import stream
from carom.errors import InputError
from carom.protocols import Combination, GradientSource
from carom.typing import Ids, Labels, Logits, Pixels
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.prepare import prepare

from .wrappers.wrapped import Randomised

_BATCH = 256
_LARGE = Fraction(64, 255)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What the gate found; all of one set of images.

    Attributes:
        clean: Accuracy on clean images, 0 to 1.
        fgsm: Under one step of full size.
        pgd20: Under PGD with 20 steps of eps/8 from a random start.
        pgd100: Under PGD with 100 steps of eps/40, an image right only if it withstood every restart.
        square: Under Square, which reads scores and no gradient.
        large: Under PGD with 20 steps at `large_eps`.
        large_eps: 64/255 or eight times the radius, the larger; at most 1 in linf.
        loss_half: Mean cross-entropy under PGD with 20 steps at half the radius.
        loss: At the radius.
        loss_double: At twice the radius.
        zero_gradients: Share of the gradients of PGD with 20 steps, over images and steps, that are exactly zero.
        difference: Largest difference of two answers to the same images, in units of the largest logit, or of 1 where
            that is smaller.
        probabilities: 1 where each answer is at least 0 and sums to 1, else 0.
        draws: Over how many draws the attacks averaged; 1 for a model that does not draw.
        restarts: Of PGD with 100 steps.
        macs: Multiplications and additions of one image, as pairs; matrix products and convolutions alone.
        parameters: How many numbers are trained.
        passes: Forward and backward image passes of all of this.
        images: How many were attacked.
        classes: How many.
    """

    clean: float
    fgsm: float
    pgd20: float
    pgd100: float
    square: float
    large: float
    large_eps: float
    loss_half: float
    loss: float
    loss_double: float
    zero_gradients: float
    difference: float
    probabilities: float
    draws: float
    restarts: float
    macs: float
    parameters: float
    passes: float
    images: float
    classes: float

    def numbers(self) -> dict[str, float]:
        """All of it by name, for a record; `alarms` takes them."""
        return asdict(self)

    def alarms(self, *, transfer: float | None = None) -> tuple[str, ...]:
        """A sentence for each sign of masked gradients; see `carom.alarms`."""
        return alarms(self.numbers(), transfer=transfer)


def examined(
    model: Classifier,
    images: Pixels,
    labels: Labels,
    ids: Ids,
    budget: Budget,
    *,
    seed: int,
    device: torch.device | None = None,
    restarts: int = 2,
    queries: int = 300,
    draws: int = 10,
) -> Examined:
    """The gate's numbers of one model, white box.

    A model behind wrappers that draw is attacked through the expectation over its draws (EOT) and judged by its
    answers, image by image; so is Square, which asks for the mean over draws. Every judged set is 8-bit and in its
    ball. An image costs 1 + 4 x 20 + `restarts` x 100 forward and backward passes and up to `queries` forward ones,
    times the draws.

    Args:
        model: In eval mode, on the device.
        images: Clean images, `n c h w`, 8-bit.
        labels: Their classes.
        ids: Theirs; draws belong to them.
        budget: Of the attacks; eps above 0.
        seed: Of the attacks' draws.
        device: Where to work; None for where the images are.
        restarts: Of PGD with 100 steps, at least 1.
        queries: That Square may spend on an image.
        draws: To average over, for a model that draws.

    Raises:
        InputError: No images, no radius or no restart.
        ModelError: The model gives no gradient at all, or breaks the classifier contract.
    """
    if not len(images):
        raise InputError("masking: no images; give some dozens at least")
    if budget.eps == 0:
        raise InputError("masking: eps is 0, so there is nothing to attack; give a radius above 0")
    if restarts < 1:
        raise InputError(f"masking: restarts must be at least 1, got {restarts}")
    device = device or images.device
    random = isinstance(model, Randomised)
    source: GradientSource = (
        model.expectation(stream(seed, "masking"), draws) if isinstance(model, Randomised) else _Alone((model,))
    )
    judged = _Judged(prepare(model), labels, ids, device)

    def radius(eps: Fraction) -> Budget:
        return Budget(norm=budget.norm, eps=min(eps, Fraction(1)) if budget.norm == "linf" else eps)

    large = radius(max(_LARGE, 8 * budget.eps))
    fgsm = Iterative(steps=1, step=Fraction(1))
    pgd = Iterative(start=Uniform(), steps=20, step=Fraction(1, 8))
    long = Iterative(start=Uniform(), steps=100, step=Fraction(1, 40))
    sets = craft(
        [
            (fgsm, budget),
            (pgd, radius(budget.eps / 2)),
            (pgd, budget),
            (pgd, radius(2 * budget.eps)),
            (pgd, large),
            (Square(queries=queries), budget),
        ],
        source,
        images,
        labels,
        seed=seed,
        ids=ids,
        prepare=prepare,
        device=device,
    )
    again = [
        craft(
            [(long, budget)],
            source,
            images,
            labels,
            seed=stream(seed, "restart", restart),
            ids=ids,
            prepare=prepare,
            device=device,
        )[0]
        for restart in range(restarts)
    ]
    logits = judged.logits(images)
    answers = [judged.logits(crafted.images) for crafted in sets]
    right = [judged.right(answer) for answer in (logits, *answers)]
    withstood = torch.stack([judged.right(judged.logits(crafted.images)) for crafted in again]).all(0)
    losses = [float(cross_entropy(answer, judged.labels)) for answer in answers[1:4]]
    twice = judged.logits(images)
    return Examined(
        clean=_mean(right[0]),
        fgsm=_mean(right[1]),
        pgd20=_mean(right[3]),
        pgd100=_mean(withstood),
        square=_mean(right[6]),
        large=_mean(right[5]),
        large_eps=float(large.eps),
        loss_half=losses[0],
        loss=losses[1],
        loss_double=losses[2],
        zero_gradients=sets[2].zero_gradients,
        difference=float((twice - logits).abs().max()) / max(1.0, float(logits.abs().max())),
        probabilities=float(_probabilities(logits)),
        draws=float(draws if random else 1),
        restarts=float(restarts),
        macs=_macs(model, device),
        parameters=float(sum(p.numel() for p in model.parameters())),
        passes=float(judged.passes + sum(crafted.passes.total for crafted in (*sets, *again))),
        images=float(len(images)),
        classes=float(logits.shape[1]),
    )


@dataclass(frozen=True, eq=False)
class _Alone:
    """A source that is one classifier."""

    classifiers: Sequence[Classifier]

    combination: ClassVar[Combination] = "logits"

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        """This one."""
        del step, copy
        return self.classifiers


class _Judged:
    """A model asked about 8-bit images, counted."""

    def __init__(self, model: torch.nn.Module, labels: Labels, ids: Ids, device: torch.device) -> None:
        self.model, self.ids, self.device = model, ids.to(device), device
        self.labels = labels.to(device)
        self.passes = 0

    @torch.inference_mode()
    def logits(self, images: Pixels) -> Logits:
        """Float32, on the device."""
        self.passes += len(images)
        parts = []
        for some, ids in zip(torch.split(images, _BATCH), torch.split(self.ids, _BATCH), strict=True):
            x = some.to(self.device).float() / 255
            parts.append(self.model.answer(x, ids) if isinstance(self.model, Randomised) else self.model(x))
        return torch.cat(parts).float()

    def right(self, logits: Logits) -> Bool[Tensor, " n"]:
        """Which of the images are given their class."""
        return logits.argmax(1) == self.labels


def _mean(right: Bool[Tensor, " n"]) -> float:
    return float(right.float().mean())


def _probabilities(logits: Logits) -> bool:
    return bool((logits >= 0).all() & ((logits.sum(1) - 1).abs() < 1e-3).all())


@torch.no_grad()
def _macs(model: Classifier, device: torch.device) -> float:
    """Of one image; a multiplication and an addition count as one."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *model.shape, device=device))
    return float(counter.get_total_flops()) / 2
