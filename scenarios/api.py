"""carom on one's own modules and tensors, without scenario or store."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import nn

import carom.attacks
from carom.budget import Budget
from carom.errors import CaromError, ContractError, InputError, ModelError, one_line
from carom.protocols import Attack, Combination, GradientSource, Victim
from carom.registry import lookup
from carom.surrogates import Surrogate
from carom.typing import Ids, Images, Labels
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.prepare import prepare
from carom.zoo.preprocessing import Preprocessing

from .jobs.answers import answers
from .statistics import wilson


def attack(
    name: str | Mapping[str, object] | Attack,
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
    partners: tuple[Images, Labels] | None = None,
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
        partners: A fixed pool of images and classes for attacks that mix others in ("admix"); None takes `x` and `y`.

    Returns:
        Images in the ball around `x`, on its device, floats that are not rounded to 8 bits.

    Raises:
        InputError: An unknown name, images out of range, or a target that is the image's own class.
        ModelError: The model breaks the classifier contract.
    """
    chosen = carom.attacks.parse_attack(name, where="attack") if isinstance(name, str | Mapping) else name
    budget = Budget.parse(norm, eps, where="attack")
    lookup(combination, {c: c for c in get_args(Combination)}, where="attack", what="combination")
    with torch.inference_mode(False):  # what is copied in inference mode can have no gradient
        x = _images(x, "x", where="attack")
        y = _labels(y, "y", x, where="attack")
        target = None if target is None else _labels(target, "target", x, where="attack")
        source = _source(model, x, combination, seed)
        named = str(name["name"] if isinstance(name, Mapping) else name)
        carom.attacks.check_fits(chosen, budget.norm, targeted=target is not None, name=named)
        made = carom.attacks.craft_images(
            [(chosen, budget)],
            source,
            x,
            y,
            seed=seed,
            ids=ids,
            target=target,
            partners=None if partners is None else carom.attacks.Partners(*partners),
            prepare=None if source is model else prepare,  # a source of one's own may change its weights at each step
        )
    return made[0].images


def _images(x: Images, name: str, *, where: str) -> Images:
    """`x` without its history.

    Raises:
        InputError: It is not a batch of float images in [0, 1].
    """
    if not isinstance(x, torch.Tensor) or x.ndim != 4:
        came = f"shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise InputError(f"{where}: {name}: expected a tensor n c h w of float images in [0, 1], got {came}")
    if not x.is_floating_point():
        raise InputError(f"{where}: {name}: expected float images in [0, 1], got {x.dtype}; divide 8-bit images by 255")
    x = x.detach()
    if len(x) and not (float(x.min()) >= -1e-6 and float(x.max()) <= 1 + 1e-6):  # written so that NaN fails
        raise InputError(
            f"{where}: {name}: pixels in [{float(x.min()):.4g}, {float(x.max()):.4g}], expected [0, 1]; put the "
            "normalisation into the model, and clamp what left the range"
        )
    return x


def _labels(y: Labels, name: str, x: Images, *, where: str) -> Labels:
    """A copy of `y` as int64, where the images are.

    Raises:
        InputError: It is not one whole number for each image.
    """
    if not isinstance(y, torch.Tensor) or y.ndim != 1 or y.is_floating_point() or len(y) != len(x):
        came = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, torch.Tensor) else type(y).__name__
        raise InputError(
            f"{where}: {name}: expected a tensor of {len(x)} class numbers, one for each image, got {came}"
        )
    return y.to(x.device, torch.int64, copy=True)


def _source(
    model: nn.Module | Sequence[nn.Module] | GradientSource, x: Images, combination: Combination, seed: int
) -> GradientSource:
    if isinstance(model, nn.Module) and not isinstance(model, nn.ModuleList):
        return Surrogate((_copied(model, x),), combination=combination, seed=seed)
    if isinstance(model, Sequence | nn.ModuleList) and not isinstance(model, str):
        if not len(model) or not all(isinstance(m, nn.Module) for m in model):
            raise InputError(f"attack: expected torch modules, got {[type(m).__name__ for m in model]}")
        return Surrogate(tuple(_copied(m, x) for m in model), combination=combination, seed=seed)
    if not isinstance(model, GradientSource):
        raise InputError(
            f"attack: expected a torch module, several of them or a gradient source, got {type(model).__name__}: an "
            "attack needs gradients"
        )
    return model


def _copied(model: nn.Module, x: Images) -> nn.Module:
    """A frozen copy in eval mode, where the images are.

    Raises:
        ModelError: It does not map one of them to logits.
    """
    classifier = copy.deepcopy(model).eval()
    if not isinstance(classifier, Classifier):
        channels, rows, columns = x.shape[1:]
        plain = Preprocessing(mean=(0.0,) * channels, std=(1.0,) * channels)
        shape = (channels, rows, columns)
        classifier = Classifier(classifier, shape=shape, classes=0, preprocessing=plain, architecture=None)
    classifier = classifier.to(x.device)
    if len(x):
        network = classifier if isinstance(model, Classifier) else classifier.network
        logits = _answer(network, x[:1], where="attack: the model")
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or not logits.is_floating_point():
            raise ModelError(f"attack: the model: expected logits (1, k) for one image, got {_shown(logits)}")
    return classifier.requires_grad_(False)


def _answer(model: Callable[[torch.Tensor], object], x: Images, *, where: str) -> object:
    """What a model says to a few images.

    Raises:
        ModelError: It raised; the exception is the cause.
    """
    try:
        with torch.no_grad():
            return model(x.clone())
    except CaromError:
        raise
    except Exception as error:
        raise ModelError(f"{where}: failed on images {tuple(x.shape)} in [0, 1]: {one_line(error)}") from error


def _shown(answer: object) -> str:
    if hasattr(answer, "shape") and hasattr(answer, "dtype"):
        return f"{answer.dtype} {tuple(answer.shape)}"
    return type(answer).__name__


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
        if not self.n:
            return f"no ASR: none of {self.images} images was right before the attack; clean accuracy 0.0%"
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
        InputError: Shapes that do not fit, images out of range, or a target that is the image's own class.
        ContractError: An adversarial image left the ball.
        ModelError: The victim raised, or answered in another shape than promised.
    """
    x, x_adv = _images(x, "x", where="evaluate"), _images(x_adv, "x_adv", where="evaluate")
    if x.shape != x_adv.shape or not len(x):
        raise InputError(
            f"evaluate: x {tuple(x.shape)} and x_adv {tuple(x_adv.shape)}; expected equal shapes and some images"
        )
    y = _labels(y, "y", x, where="evaluate")
    if target is not None:
        target = _labels(target, "target", x, where="evaluate")
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
            raise ContractError(f"evaluate: x_adv is {size:.6g} away from x, allowed {budget}")
        adversarial = budget.quantize(x_adv, clean)
    if not callable(victim):
        raise InputError(f"evaluate: expected a module or a function of images, got {type(victim).__name__}")
    if isinstance(victim, nn.Module) and any(module.training for module in victim.modules()):
        raise ModelError("evaluate: the victim is in training mode; call .eval() first")
    classes = _classes(victim, x[:1])
    if int(y.min()) < 0 or int(y.max()) >= classes:
        wrong = int(y.min()) if int(y.min()) < 0 else int(y.max())
        raise InputError(f"evaluate: label {wrong}, but the victim has {classes} classes (from 0)")
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
    """How many classes it scores; for a victim that answers labels any number will do.

    Raises:
        ModelError: It answers neither scores nor labels.
    """
    answer = _answer(victim, x, where="evaluate: the victim")
    try:
        values = torch.as_tensor(answer)
    except (TypeError, ValueError, RuntimeError):
        values = torch.empty(())
    if values.ndim == 2:
        return int(values.shape[1])
    if values.ndim != 1 or values.is_floating_point():
        raise ModelError(f"evaluate: the victim: expected scores n k or whole-number labels n, got {_shown(answer)}")
    return torch.iinfo(torch.int16).max
