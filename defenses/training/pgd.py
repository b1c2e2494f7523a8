"""PGD inside a training: the inner maximisation that adversarial trainings share, and accuracy under it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carom.budget import Budget, l2
from carom.draws import stream
from carom.typing import Images, Labels, Logits, PerImage, per_image
from carom.zoo.tasks.splits import apportion, choose, class_counts
from carom.zoo.training.accuracy import macro_accuracy
from carom.zoo.training.state import Passes, State

Start = Literal["uniform", "zero", "gaussian"]

_BATCH = 256  # images judged at a time
_TINY_START = 0.001  # deviation of "gaussian", in pixels, whatever eps is: as TRADES begins


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """In eval mode, so that batch norm's statistics stay and nothing drops out; then each layer as it was."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def started(x: Images, budget: Budget, start: Start, generator: torch.Generator) -> Images:
    """Where an attack begins, in the ball.

    Args:
        x: Clean images in [0, 1].
        budget: The ball.
        start: "uniform" in the ball, "zero" at the images themselves, or "gaussian": deviation 0.001 around them.
        generator: Of the draws, on the CPU.
    """
    if start == "zero":
        return x
    if start == "gaussian":
        return budget.project(x + _TINY_START * torch.randn(x.shape, generator=generator).to(x.device), x)
    eps = float(budget.eps)
    if budget.norm == "linf":
        noise = torch.rand(x.shape, generator=generator).to(x.device).mul_(2 * eps).sub_(eps)
    else:
        direction = torch.randn(x.shape, generator=generator).to(x.device)
        radius: PerImage = torch.rand(len(x), generator=generator).to(x.device) ** (1 / x[0].numel())
        noise = direction.mul_(per_image(eps * radius / l2(direction).clamp_min(1e-12)))
    return budget.project(x + noise, x)


def ascended(
    objective: Callable[[Images], Float[Tensor, "*n"]],
    x: Images,
    begin: Images,
    budget: Budget,
    *,
    steps: int,
    step: float,
    passes: Passes | None = None,
) -> Images:
    """Images in the ball around `x` that make `objective` large, by projected steepest ascent.

    Networks that `objective` reads are read as they are: whoever calls sees to their mode (`evaluating`). Only the
    gradient with respect to the images is computed, never that of parameters.

    Args:
        objective: From images to a value of each, or to their sum.
        x: Clean images in [0, 1].
        begin: Where to begin.
        budget: The ball.
        steps: How many.
        step: Length of one, in units of eps.
        passes: Gets one pass forward and one backward an image and step; those of a second network, such as a
            teacher, are the caller's to add.
    """
    length = step * float(budget.eps)
    x_adv = begin.detach()
    for _ in range(steps):
        point = x_adv.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(objective(point).sum(), point)
        x_adv = budget.project(torch.add(point.detach(), budget.steepest(gradient), alpha=length), x)
    if passes is not None:
        passes.forward += steps * len(x)
        passes.backward += steps * len(x)
    return x_adv


def maximised(
    network: nn.Module,
    x: Images,
    loss: Callable[[Logits], Float[Tensor, "*n"]],
    budget: Budget,
    *,
    steps: int,
    step: float,
    start: Start = "uniform",
    generator: torch.Generator,
    passes: Passes | None = None,
) -> Images:
    """Images in the ball around `x` that make a loss of the network's logits large (Madry et al. 2018).

    The network is read in eval mode and put back as it was: an image's attack does not hang on the rest of its batch,
    and batch norm's statistics stay as they are. arXiv:1706.06083.

    Args:
        network: Images in [0, 1] to logits.
        x: Clean images.
        loss: Of each image, or their sum.
        budget: The ball.
        steps: How many.
        step: Length of one, in units of eps.
        start: Where to begin; see `started`.
        generator: Of the start, on the CPU.
        passes: Gets one pass forward and one backward an image and step.
    """
    begin = started(x, budget, start, generator)
    with evaluating(network):
        return ascended(lambda z: loss(network(z)), x, begin, budget, steps=steps, step=step, passes=passes)


def withstood(
    network: nn.Module,
    x: Images,
    y: Labels,
    budget: Budget,
    *,
    steps: int = 10,
    step: float = 0.25,
    start: Start = "uniform",
    generator: torch.Generator,
) -> PerImage:
    """1 for each image that the network, in eval mode, still gets right after PGD on the cross-entropy; else 0."""
    right = []
    with evaluating(network):
        for some, labels in zip(torch.split(x, _BATCH), torch.split(y, _BATCH), strict=True):
            x_adv = maximised(
                network,
                some.to(memory_format=torch.channels_last),
                summed_cross_entropy(labels),
                budget,
                steps=steps,
                step=step,
                start=start,
                generator=generator,
            )
            with torch.no_grad():
                right.append(network(x_adv).argmax(1) == labels)
    return torch.cat(right).float()


def robust_accuracy(state: State, budget: Budget, *, steps: int = 10, step: float = 0.25, most: int = 500) -> float:
    """Accuracy under PGD on validation images, the mean over classes; always of the same images, from the same starts.

    Draws are keyed by the seed and not by the epoch, so that epochs differ by their weights alone. Its passes are
    looking, and are not counted.

    Args:
        state: Of the training.
        budget: Of the attack.
        steps: How many.
        step: Length of one, in units of eps.
        most: So many validation images are looked at, at most; each class in proportion, whatever their order.
    """
    judges = state.judges
    labels, ids = judges.labels.cpu(), judges.ids.cpu()
    counts = apportion(min(most, len(labels)), class_counts(labels, int(labels.max()) + 1))
    chosen = choose(labels, ids, counts, seed=0, purpose="robust accuracy").to(judges.labels.device)
    x, y = judges.images[chosen].float() / 255, judges.labels[chosen]
    generator = torch.Generator().manual_seed(stream(state.seed, "robust accuracy"))
    return macro_accuracy(withstood(state.classifier, x, y, budget, steps=steps, step=step, generator=generator), y)


def summed_cross_entropy(y: Labels) -> Callable[[Logits], Float[Tensor, ""]]:
    """What PGD makes large."""
    return lambda logits: nn.functional.cross_entropy(logits, y, reduction="sum")
