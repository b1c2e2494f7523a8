"""carom on one's own modules and tensors, without scenario or store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import carom.attacks
from carom.budget import Budget
from carom.errors import ContractError, InputError, ModelError
from carom.protocols import Combination, GradientSource, Victim
from carom.surrogates import Surrogate
from carom.typing import Ids, Images, Labels
from carom.zoo.classifier import Classifier, Preprocessing
from carom.zoo.prepare import prepare

from .jobs import answers
from .statistics import wilson


def attack(
    name: str | Mapping[str, object] | carom.attacks.Iterative,
    model: nn.Module | Sequence[nn.Module] | GradientSource,
    x: Images,
    y: Labels,
    *,
    eps: str | float,
    norm: str = "linf",
    target: Labels | None = None,
    combination: Combination = "logits",
    seed: int = 0,
    ids: Ids | None = None,
) -> Images:
    """Adversarial images for `x`, crafted on `model`.

    The model is copied, put into eval mode and prepared for speed; yours stays as it is. What an image becomes does not
    depend on its batch: draws belong to `ids`, by default to the images' own content.

    Args:
        name: Such as "mi+di+ti", or a table of a name and its settings: {"name": "pgd", "steps": 50}.
        model: What the attacker owns: a module from images in [0, 1] to logits, several of them, or a gradient source.
        x: Clean images, `n c h w`, floats in [0, 1].
        y: Their classes, `n`.
        eps: Radius in pixel units, such as "8/255".
        norm: "linf" or "l2".
        target: Classes to be taken for, `n`, none equal to `y`; None to be taken for any other.
        combination: How several models become one loss: "logits", "probabilities" or "loss".
        seed: Of the attack's draws.
        ids: `n` whole numbers that name the images, for draws that do not rest on their content.

    Returns:
        Images in the ball around `x`, on its device, floats that are not rounded to 8 bits.

    Raises:
        InputError: An unknown name, images out of range, or a target that is the image's own class.
        ModelError: The model breaks the classifier contract.
    """
    chosen = name if isinstance(name, carom.attacks.Iterative) else carom.attacks.parse_attack(name, where="attack")
    source = _source(model, x, combination, seed)
    budget = Budget.parse(norm, eps, where="attack")
    made = carom.attacks.craft_images([(chosen, budget)], source, x, y, seed=seed, ids=ids, target=target)
    return made[0].images


def _source(
    model: nn.Module | Sequence[nn.Module] | GradientSource, x: Images, combination: Combination, seed: int
) -> GradientSource:
    if isinstance(model, nn.Module):
        return Surrogate((_prepared(model, x),), combination=combination, seed=seed)
    if isinstance(model, Sequence):
        if not model or not all(isinstance(m, nn.Module) for m in model):
            raise InputError(f"attack: expected torch modules, got {[type(m).__name__ for m in model]}")
        return Surrogate(tuple(_prepared(m, x) for m in model), combination=combination, seed=seed)
    return model


def _prepared(model: nn.Module, x: Images) -> nn.Module:
    """A copy that is fast to attack."""
    if isinstance(model, Classifier):
        return prepare(model)
    channels, rows, columns = x.shape[1:]
    plain = Preprocessing(mean=(0.0,) * channels, std=(1.0,) * channels)
    shape = (channels, rows, columns)
    return prepare(Classifier(model, shape=shape, classes=0, preprocessing=plain, architecture=None))


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
    """

    images: int
    n: int
    k: int
    asr: float
    low: float
    high: float
    clean_accuracy: float
    robust_accuracy: float

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"ASR {self.asr:.1%} [{self.low:.1%}, {self.high:.1%}] ({self.k} of {self.n} images right before; interval "
            f"over images), clean accuracy {self.clean_accuracy:.1%}, robust accuracy {self.robust_accuracy:.1%}"
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
        InputError: Shapes that do not fit.
        ContractError: An adversarial image left the ball.
        ModelError: The victim raised, or answered in another shape than promised.
    """
    if x.shape != x_adv.shape or len(y) != len(x):
        raise InputError(
            f"evaluate: x {tuple(x.shape)}, x_adv {tuple(x_adv.shape)} and {len(y)} labels; expected equal shapes and "
            "a label for each image"
        )
    clean = (x * 255).round().to(torch.uint8)
    if eps is None:
        adversarial = (x_adv * 255).round().clamp(0, 255).to(torch.uint8)
    else:
        budget = Budget.parse(norm, eps, where="evaluate")
        size = float(budget.size(x_adv, x).max()) if len(x) else 0.0
        if not size <= float(budget.eps) * (1 + 1e-5) + 1e-6:
            raise ContractError(f"evaluate: x_adv is {size:.6g} away from x, allowed {budget}")
        adversarial = budget.quantize(x_adv, clean)
    if isinstance(victim, nn.Module) and victim.training:
        raise ModelError("evaluate: the victim is in training mode; call .eval() first")
    classes = _classes(victim, x[:1])
    device = str(x.device)
    labels = y.cpu().numpy()
    before = answers(victim, clean, classes=classes, device=device, name="victim")
    after = answers(victim, adversarial, classes=classes, device=device, name="victim")
    right = before == labels
    won = after != labels if target is None else after == target.cpu().numpy()
    n, k = int(right.sum()), int((right & won).sum())
    low, high = wilson(np.array([k]), np.array([n]))
    return Evaluation(
        images=len(x),
        n=n,
        k=k,
        asr=k / n if n else float("nan"),
        low=float(low[0]),
        high=float(high[0]),
        clean_accuracy=float(right.mean()),
        robust_accuracy=float((after == labels).mean()),
    )


def _classes(victim: Victim, x: Images) -> int:
    """How many classes it scores; for a victim that answers labels any number will do."""
    with torch.inference_mode():
        answer = torch.as_tensor(victim(x))
    return answer.shape[1] if answer.ndim == 2 else 32_000
