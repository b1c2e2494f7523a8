"""carom on one's own modules and tensors, without scenario or store."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import nn

import carom.attacks
from carom.budget import Budget, in_range
from carom.copying import copied
from carom.errors import CaromError, ContractError, GradientWarning, InputError, ModelError, one_line
from carom.protocols import Attack, Combination, GradientSource, Victim
from carom.registry import lookup
from carom.surrogates import Surrogate
from carom.typing import Ids, Images, Labels, Pixels
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.prepare import prepare
from carom.zoo.models.victims import Answers, check_answer, check_gradient, check_steady
from carom.zoo.preprocessing import Preprocessing

from .jobs.answers import answers
from .statistics import wilson

CHECKED_IMAGES = 4
"""So many images a model answers before anything rests on it."""


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
        ModelError: The model breaks the classifier contract: it answers something else than logits, probabilities,
            something else the second time or alone, or has no gradient. A model that draws says so: an attribute
            `deterministic = False`.

    Warns:
        GradientWarning: The gradient of some images was exactly zero whenever it was read.
    """
    chosen = carom.attacks.parse_attack(name, where="attack") if isinstance(name, str | Mapping) else name
    budget = Budget.parse(norm, eps, where="attack")
    lookup(combination, {c: c for c in get_args(Combination)}, where="attack", what="combination")
    # what is copied in inference mode can have no gradient
    with torch.inference_mode(False), _made_beside(x):
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
    _warn_of_zero_gradients(made[0], len(x))
    return made[0].images


def _made_beside(x: object) -> AbstractContextManager[object]:
    """Where a script has another default device than the CPU, what is made in here is made where the images are."""
    if not isinstance(x, torch.Tensor) or torch.get_default_device() == torch.device("cpu"):
        return nullcontext()
    return torch.device(x.device)


def _warn_of_zero_gradients(made: carom.attacks.Crafted, n: int) -> None:
    dead = made.without_gradient
    if dead:
        warnings.warn(
            f"attack: for {dead} of {n} images ({dead / n:.0%}) every gradient was exactly zero, so there was nothing "
            "to follow, and an image that stayed as it was says nothing of the model: look for rounding, hard "
            "thresholds and detached parts in it; where it is only very sure, attack with an objective that does not "
            'saturate ("mi+margin"), or in float64',
            GradientWarning,
            stacklevel=3,
        )


def _images(x: Images, name: str, *, where: str) -> Images:
    """`x` without its history, float error at the ends of [0, 1] clamped away.

    Raises:
        InputError: It is not a batch of float images in [0, 1].
    """
    if not isinstance(x, torch.Tensor) or x.ndim != 4:
        raise InputError(f"{where}: {name}: expected a tensor n c h w of float images in [0, 1], got {_came(x)}")
    if not x.is_floating_point():
        raise InputError(f"{where}: {name}: expected float images in [0, 1], got {x.dtype}; divide 8-bit images by 255")
    return in_range(x.detach(), where=f"{where}: {name}")


def _came(x: object) -> str:
    """What came instead of a batch of images, and what to do."""
    if not isinstance(x, torch.Tensor):
        return f"{type(x).__name__}; make a tensor of it, such as torch.as_tensor(x)"
    advice = "; of one image make a batch: x[None]" if x.ndim == 3 else ""
    return f"shape {tuple(x.shape)}{advice}"


def _labels(y: Labels, name: str, x: Images, *, where: str) -> Labels:
    """A copy of `y` as int64, where the images are.

    Raises:
        InputError: It is not one whole number for each image.
    """
    if not isinstance(y, torch.Tensor) or y.ndim != 1 or y.is_floating_point() or len(y) != len(x):
        came = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, torch.Tensor) else type(y).__name__
        advice = "give one whole number an image"
        if not isinstance(y, torch.Tensor):
            advice = "make a tensor of it: torch.as_tensor(y)"
        elif y.ndim == 2 and len(y) == len(x):
            advice = "take the classes of scores or one-hot rows: y.argmax(1)"
        elif y.ndim == 1 and len(y) == len(x):
            advice = "make whole numbers of it: y.long()"
        raise InputError(
            f"{where}: {name}: expected a tensor of {len(x)} class numbers, one for each image, got {came}; {advice}"
        )
    return y.to(x.device, torch.int64, copy=True)


def _source(
    model: nn.Module | Sequence[nn.Module] | GradientSource, x: Images, combination: Combination, seed: int
) -> GradientSource:
    if isinstance(model, nn.Module) and not isinstance(model, nn.ModuleList):
        return Surrogate((_copied(model, x, "the model"),), combination=combination, seed=seed)
    if isinstance(model, Sequence | nn.ModuleList) and not isinstance(model, str):
        if not len(model) or not all(isinstance(m, nn.Module) for m in model):
            came = ", ".join(type(m).__name__ for m in model) or "none"
            raise InputError(f"attack: expected torch modules, got {came}; give one module, or a list of modules")
        members = tuple(_copied(m, x, f"model {place} of {len(model)}") for place, m in enumerate(model, start=1))
        counts = [member.classes for member in members]
        if len(set(counts)) > 1:
            raise ModelError(
                f"attack: the models answer with {', '.join(map(str, counts))} classes, in their order; expected one "
                "number: wrap those with more, so that they return the logits of the common classes alone, in one order"
            )
        return Surrogate(members, combination=combination, seed=seed)
    if not isinstance(model, GradientSource):
        raise InputError(
            f"attack: expected a torch module, several of them or a gradient source, got {type(model).__name__}: an "
            "attack needs gradients"
        )
    return model


def _copied(model: nn.Module, x: Images, what: str) -> Classifier:
    """A frozen copy in eval mode, where the images are, that does to a few of them what attacks rest on.

    Raises:
        ModelError: It cannot be copied, does not map images to logits, or its answers cannot be relied on.
    """
    name = f"attack: {what}"
    try:
        classifier = copied(model).eval()
    except Exception as error:  # the user's module may raise anything
        raise ModelError(
            f"{name}: cannot be copied, and is not attacked itself: {one_line(error)}; build it anew without the part "
            "that cannot be, or give a module that makes that part when it is called"
        ) from error
    if not isinstance(classifier, Classifier):
        channels, rows, columns = x.shape[1:]
        plain = Preprocessing(mean=(0.0,) * channels, std=(1.0,) * channels)
        shape = (channels, rows, columns)
        classifier = Classifier(classifier, shape=shape, classes=0, preprocessing=plain, architecture=None)
    classifier = classifier.to(x.device)
    few = x[:CHECKED_IMAGES]
    network: nn.Module = classifier if isinstance(model, Classifier) else classifier.network
    logits = _answer(network, few, where=name) if len(x) else None  # a lazy module has its weights from now on
    classifier.requires_grad_(False)
    if len(x):
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or not logits.is_floating_point():
            raise ModelError(
                f"{name}: expected logits ({len(few)}, k) as floats, got {_shown(logits)}{_advice(logits)}"
            )
        classifier.classes = logits.shape[1]
        check_answer(logits, n=len(few), classes=classifier.classes, name=name, answers="logits")
        with torch.no_grad():
            if getattr(model, "deterministic", True):
                check_steady(network, logits, few, name=name, answers="logits")
        check_gradient(network, few, name=name)
    return classifier


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
        raise ModelError(
            f"{where}: failed on images {tuple(x.shape)} in [0, 1]: {one_line(error)}{_precision(model, x)}"
        ) from error


def _precision(model: object, x: Images) -> str:
    """The ending of an error, where weights of another precision than the images may be its reason."""
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    others = [p.dtype for p in parameters if p.is_floating_point() and p.dtype != x.dtype]
    if not others:
        return ""
    cast = "give images in float64 (x.double())" if others[0] == torch.float64 else "cast it (model.float())"
    return f"; its weights are {others[0]}, the images {x.dtype}: {cast}, or cast the images inside the module"


def _shown(answer: object) -> str:
    if hasattr(answer, "shape") and hasattr(answer, "dtype"):
        return f"{answer.dtype} {tuple(answer.shape)}"
    return type(answer).__name__


def _advice(answer: object) -> str:
    """The ending of an error: how the scores are had out of an answer that holds more than them."""
    if hasattr(answer, "logits"):
        way = "model(x).logits"
    elif isinstance(answer, Mapping):
        way = f'model(x)["{next(iter(answer), "logits")}"]'
    elif isinstance(answer, tuple | list):
        way = "model(x)[0]"
    else:
        return "; wrap it in a module that returns the scores alone"
    return f"; wrap it in a module that returns the scores alone, such as {way}"


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
        ModelError: The victim raised, answered in another shape than promised, or the same images otherwise the second
            time or alone; one that draws says so: an attribute `deterministic = False`.
    """
    x, x_adv = _images(x, "x", where="evaluate"), _images(x_adv, "x_adv", where="evaluate")
    if x.shape != x_adv.shape or not len(x):
        raise InputError(
            f"evaluate: x {tuple(x.shape)} and x_adv {tuple(x_adv.shape)}; expected equal shapes and some images: give "
            "the clean image of each adversarial one, in the same order"
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
    with _made_beside(x):
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
    scores = values.ndim == 2 and values.is_floating_point()
    if not scores and (values.ndim != 1 or values.is_floating_point()):
        raise ModelError(
            f"evaluate: the victim: expected scores n k or whole-number labels n, got {_shown(answer)}{_advice(answer)}"
        )
    answered = len(values) == len(x) and bool(values.isfinite().all())
    if answered and getattr(victim, "deterministic", True):
        kind: Answers = "logits" if scores else "labels"
        with torch.no_grad():
            check_steady(lambda x: torch.as_tensor(victim(x)), values, x, name="evaluate: the victim", answers=kind)
    return int(values.shape[1]) if scores else torch.iinfo(torch.int16).max
