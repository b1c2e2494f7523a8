"""Gradients in the image: how smooth the members of a surrogate are, how they differ, and how near a victim is."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from carom.draws import stream
from carom.errors import InputError
from carom.zoo.models.classifier import Classifier
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.state import Passes

from .hessian import BATCH, check, chunk, twice_differentiable


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Input gradients of the cross-entropy of members and victims.

    Attributes:
        loss: Mean over members and images.
        accuracy: The same.
        gradient_norm: Mean L2 norm of the gradient of an image's loss, over members and images: 0 is smoothest.
        zero_gradients: Share of gradients that are exactly 0; their cosines count as 0.
        alignment: Cosine of two members' gradients, mean over pairs and images; None for one member.
        loss_variance: Of an image's loss over the members (ddof 1), mean over images; None for one member.
        victim_alignment: Cosine of the mean of the members' gradients and a victim's, mean over victims and images;
            None without victims.
        passes: What they cost.
    """

    loss: float
    accuracy: float
    gradient_norm: float
    zero_gradients: float
    alignment: float | None
    loss_variance: float | None
    victim_alignment: float | None
    passes: Passes


def similarity(
    classifiers: Sequence[Classifier], images: ImageSet, *, victims: Sequence[Classifier] = (), batch: int = BATCH
) -> Similarity:
    """Smoothness and similarity of input gradients, the two that transfer is said to be made of.

    Demontis et al. 2019 (arXiv:1809.02861): size and alignment of input gradients, and the variability of the
    surrogate's loss. Zhang et al. 2024 (arXiv:2307.07873): what makes a surrogate smoother may make it less similar.

    Args:
        classifiers: The members, in eval mode.
        images: On the CPU.
        victims: Networks whose gradients are known; they are compared and never attacked here.
        batch: Images at a time.

    Raises:
        InputError: No classifier, no images, images of another shape, or training mode.
    """
    if not classifiers:
        raise InputError("similarity: no classifier; expected at least one")
    for classifier in (*classifiers, *victims):
        check(classifier, images)
    n, members = len(images), len(classifiers)
    total_loss = total_norm = pairs = toward = variance = 0.0
    right = zero = 0
    passes = Passes()
    for start in range(0, n, batch):
        losses, directions, mean = [], Tensor(), Tensor()
        for i, classifier in enumerate(classifiers):
            loss, correct, gradient = _gradients(classifier, images, start, batch, passes)
            length = gradient.norm(dim=1, keepdim=True)
            direction = gradient / torch.where(length > 0, length, 1.0)
            directions, mean = (direction, gradient) if i == 0 else (directions + direction, mean + gradient)
            losses.append(loss)
            right += correct
            zero += int((length == 0).sum())
            total_norm += float(length.sum())
            pairs -= float((length > 0).sum())  # a member with itself, in the square of the sum below
        stacked = torch.stack(losses)
        total_loss += float(stacked.sum())
        pairs += float((directions**2).sum())
        if members > 1:
            variance += float(stacked.var(0).sum())
        for victim in victims:
            _, _, gradient = _gradients(victim, images, start, batch, passes)
            toward += float(_cosine(mean, gradient).sum())
    return Similarity(
        loss=total_loss / (n * members),
        accuracy=right / (n * members),
        gradient_norm=total_norm / (n * members),
        zero_gradients=zero / (n * members),
        alignment=pairs / (n * members * (members - 1)) if members > 1 else None,
        loss_variance=variance / n if members > 1 else None,
        victim_alignment=toward / (n * len(victims)) if victims else None,
        passes=passes,
    )


def input_curvature(
    classifier: Classifier, images: ImageSet, *, seed: int, iterations: int = 10, batch: int = BATCH
) -> tuple[float, Passes]:
    """Mean over images of the largest |eigenvalue| of the Hessian of an image's loss in its pixels, and its cost.

    Power iteration on all images at once, a fixed number of steps: from below, and near enough to compare networks.
    A step is a forward and a backward pass, and the backward pass through both counts as one more of each.

    Args:
        classifier: In eval mode.
        images: On the CPU.
        seed: Of the first vectors.
        iterations: Steps, at least 1.
        batch: Images at a time.

    Raises:
        InputError: No images, images of another shape, training mode, or no step.
    """
    check(classifier, images)
    if iterations < 1:
        raise InputError(f"input curvature: iterations={iterations}; expected at least 1")
    total, passes = 0.0, Passes()
    for start in range(0, len(images), batch):
        x, labels = chunk(classifier, images, start, start + batch)
        x.requires_grad_()
        with twice_differentiable():
            loss = cross_entropy(classifier(x), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        generator = torch.Generator().manual_seed(stream(seed, "input curvature", start))
        vectors = torch.randn(x.shape, generator=generator).to(x.device)
        lengths = vectors.flatten(1).norm(dim=1)
        for _ in range(iterations):
            vectors = vectors / torch.where(lengths > 0, lengths, 1.0)[:, None, None, None]
            if gradient.requires_grad:  # images are apart in eval mode, so one product serves them all
                (vectors,) = torch.autograd.grad(gradient, x, vectors, retain_graph=True, materialize_grads=True)
            else:
                vectors = torch.zeros_like(x)
            lengths = vectors.flatten(1).norm(dim=1)
        total += float(lengths.sum())
        passes.forward += len(x) * (1 + iterations)
        passes.backward += len(x) * (1 + iterations)
    return total / len(images), passes


def _gradients(
    classifier: Classifier, images: ImageSet, start: int, batch: int, passes: Passes
) -> tuple[Float[Tensor, " n"], int, Float[Tensor, "n d"]]:
    """Loss of each image, right answers, and the gradient of each loss, in float64: small gradients square to 0."""
    x, labels = chunk(classifier, images, start, start + batch)
    x.requires_grad_()
    with torch.enable_grad():
        logits: Tensor = classifier(x)
        losses = cross_entropy(logits, labels, reduction="none")
        (gradient,) = torch.autograd.grad(losses.sum(), x)
    passes.forward += len(x)
    passes.backward += len(x)
    return losses.detach().double(), int((logits.argmax(1) == labels).sum()), gradient.flatten(1).double()


def _cosine(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Of each row; 0 where one is 0."""
    lengths = a.norm(dim=1) * b.norm(dim=1)
    return (a * b).sum(1) / torch.where(lengths > 0, lengths, 1.0)
