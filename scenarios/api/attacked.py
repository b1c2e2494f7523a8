"""carom.attack: adversarial images on one's own module and tensors."""

import warnings
from collections.abc import Mapping, Sequence
from typing import get_args

import torch
from torch import nn

import carom.attacks
from carom.budget import Budget
from carom.copying import copied
from carom.errors import GradientWarning, InputError, ModelError, one_line
from carom.protocols import Attack, Combination, GradientSource
from carom.registry import lookup
from carom.surrogates import Surrogate
from carom.typing import Ids, Images, Labels
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.prepare import prepare
from carom.zoo.models.victims import check_answer, check_gradient, check_steady
from carom.zoo.preprocessing import Preprocessing

from .given import CHECKED_IMAGES, advice_on, answer_of, images_of, labels_of, made_beside, shown


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
    with torch.inference_mode(False), made_beside(x):
        x = images_of(x, "x", where="attack")
        y = labels_of(y, "y", x, where="attack")
        target = None if target is None else labels_of(target, "target", x, where="attack")
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
    logits = answer_of(network, few, where=name) if len(x) else None  # a lazy module has its weights from now on
    classifier.requires_grad_(False)
    if len(x):
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or not logits.is_floating_point():
            raise ModelError(
                f"{name}: expected logits ({len(few)}, k) as floats, got {shown(logits)}{advice_on(logits)}"
            )
        classifier.classes = logits.shape[1]
        check_answer(logits, n=len(few), classes=classifier.classes, name=name, answers="logits")
        with torch.no_grad():
            if getattr(model, "deterministic", True):
                check_steady(network, logits, few, name=name, answers="logits")
        check_gradient(network, few, name=name)
    return classifier
