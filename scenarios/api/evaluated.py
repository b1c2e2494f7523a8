"""carom.evaluate: what a victim makes of adversarial images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from carom.budget import Budget
from carom.errors import ContractError, InputError, ModelError
from carom.protocols import Victim
from carom.scenarios.jobs.answers import answers
from carom.scenarios.statistics import wilson
from carom.scenarios.statistics.class_order import misfit
from carom.typing import Images, Labels, Pixels
from carom.zoo.models.victims import Answers, check_steady

from .given import CHECKED_IMAGES, advice_on, answer_of, images_of, labels_of, made_beside, shown

ANY_LABEL = torch.iinfo(torch.int16).max
"""As many classes as a victim may have that answers labels, not scores."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How one victim answered clean and adversarial images.

    Attributes:
        images: How many.
        n: Of these, how many it got right clean: the denominator of the ASR.
        k: Of those n, how many the attack won.
        asr: k / n; NaN when n is 0.
        low: Lower end of the 95% Wilson interval of the ASR; it ranges over images, for this model and these settings.
        high: Upper end.
        clean_accuracy: Over all images.
        robust_accuracy: Share of all images that it gets right although they were attacked.
        alarm: Why its clean answers look as if its classes stood in another order; "" where they do not.
    """

    images: int
    n: int
    k: int
    asr: float
    low: float
    high: float
    clean_accuracy: float
    robust_accuracy: float
    alarm: str = ""

    def __str__(self) -> str:
        """One line for people."""
        alarm = f"; {self.alarm}" if self.alarm else ""
        if not self.n:
            return f"no ASR: none of {self.images} images was right before the attack; clean accuracy 0.0%{alarm}"
        return (
            f"ASR {self.asr:.1%} [{self.low:.1%}, {self.high:.1%}] ({self.k} of {self.n} images right before; interval "
            f"over images), clean accuracy {self.clean_accuracy:.1%}, robust accuracy {self.robust_accuracy:.1%}{alarm}"
        )


def evaluate(
    victim: Victim,
    x: Images,
    y: Labels,
    x_adv: Images,
    *,
    eps: str | float | None = None,
    norm: str = "linf",
    target: Labels | None = None,
) -> Evaluation:
    """What a victim makes of adversarial images, paired with what it made of the clean ones.

    Both are rounded to 8 bits first, the adversarial ones inside the ball if `eps` is given: what is judged is what
    could be saved.

    Args:
        victim: A module, or any function from images in [0, 1] to scores `n k` or labels `n`.
        x: Clean images, `n c h w`, floats in [0, 1].
        y: Their classes, `n`.
        x_adv: Adversarial images, `n c h w`.
        eps: If given, an image that left the ball is an error.
        norm: Of the ball.
        target: For targeted attacks: success is this class.

    Raises:
        InputError: Shapes that do not fit, images out of range, or a target that is the image's own class.
        ContractError: An adversarial image left the ball.
        ModelError: The victim raised, answered in another shape than promised, or the same images otherwise the second
            time or alone; one that draws says so: an attribute `deterministic = False`.
    """
    x, x_adv = images_of(x, "x", where="evaluate"), images_of(x_adv, "x_adv", where="evaluate")
    if x.shape != x_adv.shape or not len(x):
        raise InputError(
            f"evaluate: x {tuple(x.shape)} and x_adv {tuple(x_adv.shape)}; expected equal shapes and some images: give "
            "the clean image of each adversarial one, in the same order"
        )
    y = labels_of(y, "y", x, where="evaluate")
    if target is not None:
        target = labels_of(target, "target", x, where="evaluate")
        if bool((same := target == y).any()):
            at = int(same.nonzero()[0])
            raise InputError(f"evaluate: image {at} is of its target class {int(y[at])}; choose another target")
    clean = (x * 255).round().to(torch.uint8)
    if eps is None:
        adversarial = (x_adv * 255).round().clamp(0, 255).to(torch.uint8)
    else:
        budget = Budget.parse(norm, eps, where="evaluate")
        size = float(budget.size(x_adv, x).max()) if len(x) else 0.0
        if not size <= float(budget.eps) * (1 + 1e-5) + 1e-6:
            raise ContractError(
                f"evaluate: x_adv is {size:.6g} away from x, allowed {budget}; check that it belongs to these images, "
                "in their order, and the units of eps"
            )
        adversarial = budget.quantize(x_adv, clean)
    if not callable(victim):
        raise InputError(
            f"evaluate: expected a module or a function of images, got {type(victim).__name__}; load the model first"
        )
    if isinstance(victim, nn.Module) and any(module.training for module in victim.modules()):
        raise ModelError("evaluate: the victim is in training mode; call .eval() first")
    with made_beside(x):
        return _judged(victim, x, y, clean, adversarial, target)


def _judged(
    victim: Victim, x: Images, y: Labels, clean: Pixels, adversarial: Pixels, target: Labels | None
) -> Evaluation:
    classes = _classes(victim, x[:CHECKED_IMAGES])
    if int(y.min()) < 0 or int(y.max()) >= classes:
        wrong = int(y.min()) if int(y.min()) < 0 else int(y.max())
        raise InputError(
            f"evaluate: label {wrong}, but the victim has {classes} classes (from 0); number the classes as it does"
        )
    device = str(x.device)
    labels = y.cpu().numpy()
    before = answers(victim, clean, classes=classes, device=device, name="victim")
    after = answers(victim, adversarial, classes=classes, device=device, name="victim")
    right = before == labels
    won = after != labels if target is None else after == target.cpu().numpy()
    n, k = int(right.sum()), int((right & won).sum())
    low, high = wilson(np.array([k]), np.array([n]))
    # of who answers labels alone, as many classes are known as were met
    known = classes if classes < ANY_LABEL else int(max(labels.max(), before.max())) + 1
    misfitting = misfit(before, labels, known)
    return Evaluation(
        images=len(x),
        n=n,
        k=k,
        asr=k / n if n else float("nan"),
        low=float(low[0]),
        high=float(high[0]),
        clean_accuracy=float(right.mean()),
        robust_accuracy=float((after == labels).mean()),
        alarm="" if misfitting is None else misfitting.words([str(number) for number in range(known)]),
    )


def _classes(victim: Victim, x: Images) -> int:
    """How many classes it scores; for a victim that answers labels any number will do.

    Raises:
        ModelError: It answers neither scores nor labels.
    """
    answer = answer_of(victim, x, where="evaluate: the victim")
    try:
        values = torch.as_tensor(answer)
    except (TypeError, ValueError, RuntimeError):
        values = torch.empty(())
    scores = values.ndim == 2 and values.is_floating_point()
    if not scores and (values.ndim != 1 or values.is_floating_point()):
        raise ModelError(
            "evaluate: the victim: expected scores n k or whole-number labels n, got "
            f"{shown(answer)}{advice_on(answer)}"
        )
    answered = len(values) == len(x) and bool(values.isfinite().all())
    if answered and getattr(victim, "deterministic", True):
        kind: Answers = "logits" if scores else "labels"
        with torch.no_grad():
            check_steady(lambda x: torch.as_tensor(victim(x)), values, x, name="evaluate: the victim", answers=kind)
    return int(values.shape[1]) if scores else ANY_LABEL
