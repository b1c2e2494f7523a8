"""The Laplace approximation of a trained network's last layer, by the library laplace-torch."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from carom.draws import stream
from carom.errors import InputError, one_line
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.surrogate import Schedule
from carom.surrogates.untrained import fitted_draws
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.state import Passes

_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Laplace:
    """Draws of the last layer from a Gaussian around a trained one (MacKay 1992; Ritter et al. 2018).

    Its precision is the Gauss-Newton Hessian of the summed cross-entropy on the training images as they are, whole or
    in Kronecker factors, plus the prior's. A draw is the whole network, with another last layer; all that comes before,
    batch norm with it, is the given network's bit for bit. The Hessian and its draws are the library's of Daxberger et
    al. 2021, arXiv:2106.14806, which gets the features that the last layer reads: one forward pass over the images.

    Attributes:
        hessian: "kron", "full" (for a small last layer), or "diag".
        prior_precision: One over the variance of each weight before any data, up to 1e9; 0 for the one of the largest
            marginal likelihood. The record has it.
        temperature: Divides the Hessian, 1e-6 to 1e6: 1 is Bayes', below it draws lie nearer.
        draws: Members, 1 to 10000.

    Raises:
        InputError: A number out of range.
    """

    hessian: Literal["kron", "full", "diag"] = "kron"
    prior_precision: float = 0.0
    temperature: float = 1.0
    draws: int = 10

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"
    takes: ClassVar[str] = "one"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self, "laplace", prior_precision=(0.0, 1e9), temperature=(1e-6, 1e6), draws=(1.0, 1e4))

    def count(self, given: int) -> int:
        """The draws; those that do no better than guessing are left out."""
        del given
        return self.draws

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """Fit and draw. The record has "layer", its name, and "prior_precision", beside the draws' accuracy.

        Raises:
            InputError: laplace-torch is not installed, the network does not end in a linear layer, or the library
                cannot fit it.
            DivergedError: No draw does better than guessing.
        """
        library = _library()
        name, features, labels = _features(ground, given[0])
        places = [place for place in (f"{name}.weight", f"{name}.bias") if place in given[0]]
        try:
            samples, precision = self._samples(library, given[0], places, features, labels, ground.seed)
        except (RuntimeError, ValueError, SystemExit) as error:  # it exits where no eigenvalues are found
            raise InputError(
                f"laplace: the library cannot fit the last layer, {name} ({one_line(error)}); "
                "use another hessian, a prior precision, or another builder"
            ) from error

        def draws() -> Iterator[Weights]:
            sizes = [given[0][place].numel() for place in places]
            for sample in samples:
                parts = zip(places, torch.split(sample, sizes), strict=True)
                yield {**given[0], **{p: part.reshape(given[0][p].shape).to(given[0][p]) for p, part in parts}}

        made = fitted_draws(ground, draws(), where="laplace", remedy="raise the prior precision", norms=False)
        return replace(
            made,
            passes=Passes(forward=len(ground.train)) + made.passes,
            record={**made.record, "layer": name, "prior_precision": precision},
        )

    def _samples(
        self,
        library: ModuleType,
        given: Weights,
        places: Sequence[str],
        features: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"],
        seed: int,
    ) -> tuple[Float[Tensor, "draws p"], float]:
        """Draws of the last layer's parameters, and the prior precision."""
        weight = given[places[0]]
        # a loader of its own generator, and a fork: the caller's generators stay as they are
        loader = DataLoader(TensorDataset(features, labels), batch_size=_BATCH, generator=torch.Generator())
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's, about others' interfaces
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias=len(places) == 2).double()
            with torch.no_grad():
                for parameter, place in zip(layer.parameters(), places, strict=True):
                    parameter.copy_(given[place])
            # all of a network that is the last layer alone is the last layer of the whole one
            posterior = library.Laplace(
                nn.Sequential(layer),
                "classification",
                subset_of_weights="all",
                hessian_structure=self.hessian,
                prior_precision=self.prior_precision or 1.0,
                temperature=self.temperature,
            )
            posterior.fit(loader)
            if not self.prior_precision:
                posterior.optimize_prior_precision(method="marglik")
            generator = torch.Generator().manual_seed(stream(seed, "laplace"))
            samples = posterior.sample(self.draws, generator=generator).detach()
        return samples, float(torch.as_tensor(posterior.prior_precision).mean())


def _library() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of what it imports is old
            import laplace
    except ImportError:
        raise InputError(
            "laplace: the library laplace-torch is not installed; install it with: pip install 'carom[laplace]'"
        ) from None
    module: ModuleType = laplace
    return module


def _features(ground: Ground, given: Weights) -> tuple[str, Float[Tensor, "n d"], Int[Tensor, " n"]]:
    """The name of the last layer, what it reads for each training image, in float64 on the CPU, and the labels."""
    classifier = ground.classifier(given)
    ran: list[tuple[str, Tensor, Tensor]] = []

    def keep(name: str) -> object:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            del module
            ran.append((name, inputs[0], output))

        return hook

    handles = [
        module.register_forward_hook(keep(name))  # type: ignore[arg-type]
        for name, module in classifier.network.named_modules()
        if isinstance(module, nn.Linear)
    ]
    features, last = [], ""
    try:
        for x in torch.split(ground.train.pixels, _BATCH):
            ran.clear()
            with torch.no_grad():
                logits = classifier(x.to(ground.device))
            if not ran or ran[-1][2] is not logits or ran[-1][1].ndim != 2:
                raise InputError(
                    "laplace: the network does not end in a linear layer of its own; "
                    "use another architecture or builder"
                )
            last = ran[-1][0]
            features.append(ran[-1][1].double().cpu())
    finally:
        for handle in handles:
            handle.remove()
    return last, torch.cat(features), ground.train.labels.cpu()


ENTRY = Entry(
    summary="Draws of the last layer from the Gaussian that fits the loss around a trained network.",
    paper="Daxberger et al. 2021, arXiv:2106.14806",
    stages=(Laplace(),),
)
