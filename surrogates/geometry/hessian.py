"""Curvature of the loss in the weights: extreme eigenvalues and trace of the Hessian, from products with vectors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from carom.draws import stream
from carom.errors import InputError, ModelError
from carom.zoo.models.classifier import Classifier
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.state import Passes

Vector = Float[Tensor, " d"]
Which = Literal["magnitude", "algebraic"]

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Eigenvalues:
    """Extreme eigenvalues of a Hessian.

    Attributes:
        values: The largest first. Equal ones count once.
        converged: The residual of each is at most the tolerance times the first, so that an eigenvalue is that near.
        iterations: Products with the Hessian.
        passes: What they cost.
    """

    values: tuple[float, ...]
    converged: bool
    iterations: int
    passes: Passes

    @property
    def top(self) -> float:
        """The first."""
        return self.values[0]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """An estimate of the trace of a Hessian.

    Attributes:
        value: Mean over the drawn vectors.
        standard_error: Of the mean; of the draws alone, not of the images.
        draws: Vectors.
        passes: What they cost.
    """

    value: float
    standard_error: float
    draws: int
    passes: Passes


def top_eigenvalues(
    classifier: Classifier,
    images: ImageSet,
    *,
    seed: int,
    count: int = 1,
    which: Which = "magnitude",
    tolerance: float = 1e-2,
    iterations: int = 60,
    batch: int = BATCH,
) -> Eigenvalues:
    """The largest eigenvalues of the Hessian of the mean cross-entropy in all parameters.

    "magnitude" is what published numbers of sharpness mean (PyHessian, Yao et al. 2020, arXiv:1912.07145): the largest
    |eigenvalue|, with its sign. "algebraic" leaves negative curvature aside. Found by the Lanczos method with full
    reorthogonalisation: the space that it searches holds every step of a power iteration, so that it needs fewer
    products, and two eigenvalues of opposite sign and nearly one size do not stall it.

    Batch norm reads its running statistics, and ReLU counts as flat on either side of its kink.

    Args:
        classifier: In eval mode; it may be frozen, and stays as it is.
        images: Not augmented; on the CPU.
        seed: Of the first vector.
        count: Eigenvalues.
        which: Largest in magnitude, or largest.
        tolerance: Residual at which to stop, relative to the largest eigenvalue.
        iterations: Products at most; each vector of the search is held, in float32.
        batch: Images at a time. If all fit in one, their graph is kept, which halves the cost.

    Raises:
        InputError: No images, images of another shape, training mode, or a count, tolerance or bound out of range.
        ModelError: A loss is not finite.
    """
    if count < 1 or iterations < count or tolerance <= 0:
        raise InputError(
            f"hessian: count={count}, iterations={iterations}, tolerance={tolerance}; expected a count of at least 1, "
            "no fewer iterations, and a tolerance above 0"
        )
    products = _Products(classifier, images, batch)
    generator = torch.Generator().manual_seed(stream(seed, "lanczos"))
    vector = torch.randn(products.size, generator=generator).to(products.device)
    basis = [vector / vector.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        product = products(basis[-1])
        diagonal.append(float(product @ basis[-1]))
        for _ in range(2):  # once is not enough in float32
            for earlier in basis:
                product -= (product @ earlier) * earlier
        length = float(product.norm())
        small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        if beside:
            off = torch.tensor(beside, dtype=torch.float64)
            small += torch.diag(off, 1) + torch.diag(off, -1)
        values, vectors = torch.linalg.eigh(small)
        order = torch.argsort(values.abs() if which == "magnitude" else values, descending=True)[:count]
        size = float(values.abs().max())
        # what is left of a product is noise once the whole space has been searched
        whole = len(diagonal) == products.size or length <= 1e-6 * size
        residuals = length * vectors[-1, order].abs()
        near = len(order) == count and bool((residuals <= tolerance * values[order].abs().max()).all())
        if whole or near or len(diagonal) == iterations:
            return Eigenvalues(
                values=tuple(values[order].tolist()),
                converged=whole or near,
                iterations=len(diagonal),
                passes=products.passes,
            )
        beside.append(length)
        basis.append(product / length)


def hessian_trace(classifier: Classifier, images: ImageSet, *, seed: int, draws: int = 30, batch: int = BATCH) -> Trace:
    """The trace of the same Hessian, by Hutchinson's estimate: mean of v'Hv over vectors of random signs.

    Hutchinson 1990; with random signs the diagonal adds nothing to the variance.

    Args:
        classifier: As `top_eigenvalues`.
        images: As `top_eigenvalues`.
        seed: Of the vectors.
        draws: Vectors, at least 2.
        batch: Images at a time.

    Raises:
        InputError: As `top_eigenvalues`, or fewer than two draws.
        ModelError: A loss is not finite.
    """
    if draws < 2:
        raise InputError(f"hessian: draws={draws}; expected at least 2, for a standard error")
    products = _Products(classifier, images, batch)
    found = torch.empty(draws, dtype=torch.float64)
    for i in range(draws):
        generator = torch.Generator().manual_seed(stream(seed, "signs", i))
        signs = (torch.randint(0, 2, (products.size,), generator=generator) * 2 - 1).float().to(products.device)
        found[i] = float(products(signs) @ signs)
    return Trace(
        value=float(found.mean()), standard_error=float(found.std()) / draws**0.5, draws=draws, passes=products.passes
    )


class _Products:
    """Products of the Hessian of the mean cross-entropy with vectors.

    Attributes:
        size: Parameters.
        device: Of the classifier.
        passes: So far. A gradient is a forward and a backward pass. The backward pass through it goes back through
            both, and counts as one more of each.
    """

    def __init__(self, classifier: Classifier, images: ImageSet, batch: int) -> None:
        check(classifier, images)
        self._classifier = classifier
        self._images = images
        self._batch = batch
        # copies that want a gradient: the classifier may be frozen
        self._parameters = {n: p.detach().clone().requires_grad_() for n, p in classifier.named_parameters()}
        self.size = sum(p.numel() for p in self._parameters.values())
        self.device = next(iter(self._parameters.values())).device
        self.passes = Passes()
        self._held = self._gradient(0, len(images)) if len(images) <= batch else None

    def __call__(self, vector: Vector) -> Vector:
        sizes = [p.numel() for p in self._parameters.values()]
        parts = [
            part.reshape(p.shape) for part, p in zip(torch.split(vector, sizes), self._parameters.values(), strict=True)
        ]
        total = torch.zeros_like(vector)
        for start in range(0, len(self._images), self._batch):
            stop = min(start + self._batch, len(self._images))
            gradient = self._gradient(start, stop) if self._held is None else self._held
            pairs = [(g, v) for g, v in zip(gradient, parts, strict=True) if g.requires_grad]
            if pairs:  # nothing bends a linear loss
                product = torch.autograd.grad(
                    [g for g, _ in pairs],
                    list(self._parameters.values()),
                    [v for _, v in pairs],
                    retain_graph=self._held is not None,
                    allow_unused=True,
                    materialize_grads=True,
                )
                total += torch.cat([p.flatten() for p in product])
            self._count(stop - start)
        return total

    def _gradient(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """What images `start` to `stop` add to the gradient, to be differentiated once more."""
        loss = _loss(self._classifier, self._parameters, self._images, start, stop) / len(self._images)
        if not torch.isfinite(loss):
            raise ModelError("hessian: the loss is not finite; expected a network whose training did not diverge")
        self._count(stop - start)
        return torch.autograd.grad(
            loss, list(self._parameters.values()), create_graph=True, allow_unused=True, materialize_grads=True
        )

    def _count(self, images: int) -> None:
        self.passes.forward += images
        self.passes.backward += images


def _loss(
    classifier: Classifier, parameters: Mapping[str, Tensor], images: ImageSet, start: int, stop: int
) -> Float[Tensor, ""]:
    """Sum of the cross-entropy over images `start` to `stop`, at these parameters."""
    x, labels = chunk(classifier, images, start, stop)
    with twice_differentiable():
        logits: Tensor = functional_call(classifier, dict(parameters), (x,))
    return cross_entropy(logits, labels, reduction="sum")


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Attention in plain operations: the fused kernels have no second derivative."""
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        yield


def chunk(classifier: Classifier, images: ImageSet, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Images `start` to `stop` as floats, and their labels, where the classifier is."""
    device = classifier.mean.device
    part = images.select(torch.arange(start, min(stop, len(images))))
    return part.pixels.to(device), part.labels.to(device)


def check(classifier: Classifier, images: ImageSet) -> None:
    """Refuse what cannot be measured.

    Raises:
        InputError: No images, images of another shape, or a network in training mode.
    """
    if not len(images):
        raise InputError("geometry: no images; expected at least one")
    if tuple(images.images.shape[1:]) != tuple(classifier.shape):
        raise InputError(
            f"geometry: images are {tuple(images.images.shape[1:])}, the network takes {tuple(classifier.shape)}; "
            "take images of its own task"
        )
    if any(module.training for module in classifier.modules()):
        raise InputError("geometry: the network is in training mode; call eval() first")
