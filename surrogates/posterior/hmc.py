"""Hamiltonian Monte Carlo over all weights of a small network: what other posteriors are held against."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite, log, sqrt
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from carom.draws import stream
from carom.errors import InputError
from carom.files import read_state, write_state
from carom.identity import content_key
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.stack import Vector, vector, with_vector
from carom.surrogates.surrogate import Schedule
from carom.surrogates.untrained import fitted_draws
from carom.zoo.models.classifier import Classifier, create, weights
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.state import Passes
from carom.zoo.training.trained import DivergedError

Potential = Callable[[Vector], tuple[float, Vector]]
"""From a position to minus the log-density there, up to a constant, and its gradient."""

_MOST = 100_000  # parameters
_BATCH = 4096
_SECONDS_BETWEEN_CHECKPOINTS = 10.0
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Point:
    """A position, and the potential and its gradient there."""

    position: Vector
    value: float
    gradient: Vector


@dataclass(frozen=True, eq=False)
class Move:
    """What a transition came to.

    Attributes:
        point: Where the chain is now.
        probability: With which the proposal was accepted.
        accepted: Whether it was.
        energy: Of the proposal less that of the begin; leap-frog's error, not finite where it broke down.
    """

    point: Point
    probability: float
    accepted: bool
    energy: float


def leapfrog(
    potential: Potential, point: Point, momentum: Vector, *, step_size: float, steps: int
) -> tuple[Point, Vector]:
    """Follow Hamilton's equations with unit mass; a potential and a gradient for each step."""
    position, gradient, value = point.position, point.gradient, point.value
    momentum = momentum - step_size / 2 * gradient
    for step in range(steps):
        position = position + step_size * momentum
        value, gradient = potential(position)
        momentum = momentum - (step_size if step + 1 < steps else step_size / 2) * gradient
    return Point(position, value, gradient), momentum


def transition(potential: Potential, point: Point, *, step_size: float, steps: int, generator: torch.Generator) -> Move:
    """One proposal by leap-frog from a fresh momentum, accepted or not (Metropolis)."""
    momentum = torch.randn(len(point.position), generator=generator, dtype=point.position.dtype)
    threshold = float(torch.rand((), generator=generator, dtype=torch.float64))
    there, left = leapfrog(potential, point, momentum.to(point.position.device), step_size=step_size, steps=steps)
    energy = there.value - point.value + _kinetic(left) - _kinetic(momentum)
    probability = exp(min(0.0, -energy)) if isfinite(energy) else 0.0
    accepted = threshold < probability
    return Move(there if accepted else point, probability, accepted, energy)


def split_r_hat(chains: Float[Tensor, "chains draws"]) -> float:
    """How far halves of chains disagree: 1 for none, above about 1.01 they have not mixed (Gelman et al., BDA3).

    Raises:
        InputError: Fewer than 4 draws of a chain.
    """
    draws = chains.shape[1]
    if draws < 4:
        raise InputError(f"r-hat: {draws} draws of a chain; expected at least 4")
    half = draws // 2
    parts = torch.cat([chains[:, :half], chains[:, -half:]]).double()
    within = float(parts.var(1).mean())
    between = half * float(parts.mean(1).var())
    if between <= _TINY:
        return 1.0
    return sqrt(((half - 1) / half * within + between / half) / max(within, _TINY))


@dataclass(eq=False)
class _Chain:
    """Where a chain stands.

    Attributes:
        point: Where it is.
        log_step: Logarithm of the step size.
        samples: Positions that were kept.
        values: The potential at each of them.
        accepted: Of the iterations after the burn-in.
        done: Iterations.
        evaluations: Of the potential.
    """

    point: Point
    log_step: float
    samples: list[Tensor] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    accepted: int = 0
    done: int = 0
    evaluations: int = 1


@dataclass(frozen=True, kw_only=True)
class HMC:
    """Draws from the posterior of all weights, by Hamiltonian Monte Carlo (Neal 2011, arXiv:1206.1901).

    The potential is the cross-entropy summed over all training images, as they are, plus `|w|^2 / (2 prior^2)`. Chains
    begin at fresh networks of their own seeds. In the burn-in the step size goes to where proposals are accepted as
    often as wanted (Robbins and Monro 1951); it is held after that. Only for small networks without batch norm; for
    the real posterior of a large one see Izmailov et al. 2021, arXiv:2104.14421.

    The record has "acceptance" and "step_size" of each chain, and with 4 draws of a chain or more the split R-hat of
    the log-posterior, "r_hat_log_posterior", and of the logits of validation images: "r_hat_logits", the median, and
    "r_hat_logits_worst".

    Attributes:
        step_size: Of leap-frog, at the begin, above 0.
        leapfrog_steps: Of a proposal, 1 to 100000; each costs a pass over all training images.
        burn_in: Proposals before the first sample of a chain, 0 to 1e6.
        samples: Weight sets to keep of a chain, 1 to 10000.
        thinning: Proposals between them, 1 to 10000.
        chains: 1 to 1000.
        prior: Standard deviation of each weight before any data, 0.001 to 1e6.
        acceptance: That the step size is fitted to in the burn-in, 0.05 to 0.99; 0 to leave it.

    Raises:
        InputError: A number out of range.
    """

    step_size: float = 0.01
    leapfrog_steps: int = 30
    burn_in: int = 60
    samples: int = 5
    thinning: int = 10
    chains: int = 2
    prior: float = 0.3
    acceptance: float = 0.8

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"
    takes: ClassVar[str] = "none"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(
            self,
            "hmc",
            step_size=(1e-9, 1e3),
            leapfrog_steps=(1.0, 1e5),
            burn_in=(0.0, 1e6),
            samples=(1.0, 1e4),
            thinning=(1.0, 1e4),
            chains=(1.0, 1e3),
            prior=(1e-3, 1e6),
            acceptance=(0.05 if self.acceptance else 0.0, 0.99),
        )

    def count(self, given: int) -> int:
        """The samples of all chains; those that do no better than guessing are left out."""
        del given
        return self.chains * self.samples

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """Sample; goes on from the checkpoint, to the same bits as without a break.

        Raises:
            InputError: Batch norm, or more than 100,000 parameters.
            DivergedError: A chain that moves nowhere, or no sample that does better than guessing.
        """
        del given
        threads = torch.get_num_threads()
        torch.set_num_threads(ground.recipe.threads)  # the order of sums, so the bits, depends on it
        try:
            return self._build(ground)
        finally:
            torch.set_num_threads(threads)

    def _build(self, ground: Ground) -> Built:
        first = self._network(ground, 0)
        names = [name for name, _ in first.network.named_parameters()]
        base = weights(first)
        potential = self.potential(ground, first)
        saved = _Saved.of(self, ground)
        chains = [] if saved is None else saved.load(ground.device)
        length = self.burn_in + self.samples * self.thinning
        for number in range(self.chains):
            if number == len(chains):
                start = vector(weights(self._network(ground, number)), names).to(ground.device)
                chains.append(_Chain(Point(start, *potential(start)), log(self.step_size)))
            chain = chains[number]
            while chain.done < length:
                move = self._iterate(potential, chain, ground.seed, number)
                if saved is not None:
                    saved.write(chains)
                if ground.progress is not None:
                    numbers = {"log_posterior": -chain.point.value, "acceptance": move.probability}
                    ground.progress(number * length + chain.done, self.chains * length, numbers)
        if stuck := [i + 1 for i, chain in enumerate(chains) if not chain.accepted]:
            raise DivergedError(f"hmc: chain {stuck[0]} accepts no proposal after the burn-in; lower the step size")
        positions = [sample for chain in chains for sample in chain.samples]
        made = fitted_draws(
            ground,
            (with_vector(base, names, position.cpu()) for position in positions),
            where="hmc",
            remedy="lengthen the burn-in",
        )
        record: dict[str, object] = {
            **made.record,
            "acceptance": [chain.accepted / (length - self.burn_in) for chain in chains],
            "step_size": [exp(chain.log_step) for chain in chains],
        }
        if self.samples >= 4:
            record |= self._mixing(ground, first, names, chains)
        if saved is not None:
            saved.path.unlink(missing_ok=True)
        each = len(ground.train) * sum(chain.evaluations for chain in chains)
        return Built(members=made.members, passes=Passes(each, each) + made.passes, record=record)

    def potential(self, ground: Ground, classifier: Classifier) -> Potential:
        """Minus the log-posterior of the classifier's parameters in their order, up to a constant."""
        network = classifier.network.eval()
        with torch.no_grad():
            inputs = classifier.preprocess(ground.train.pixels.to(ground.device))
        labels = ground.train.labels.to(ground.device)
        shapes = {name: p.shape for name, p in network.named_parameters()}
        sizes = [shape.numel() for shape in shapes.values()]

        def potential(position: Vector) -> tuple[float, Vector]:
            position = position.detach()
            value = float(position.double().square().sum()) / (2 * self.prior**2)
            gradient = position / self.prior**2
            for x, y in zip(torch.split(inputs, _BATCH), torch.split(labels, _BATCH), strict=True):
                leaf = position.clone().requires_grad_()
                parts = zip(shapes.items(), torch.split(leaf, sizes), strict=True)
                logits = functional_call(network, {name: part.view(shape) for (name, shape), part in parts}, (x,))
                loss = nn.functional.cross_entropy(logits, y, reduction="none").double().sum()
                (of_batch,) = torch.autograd.grad(loss, leaf)
                value, gradient = value + float(loss.detach()), gradient + of_batch
            return value, gradient

        return potential

    def _iterate(self, potential: Potential, chain: _Chain, seed: int, number: int) -> Move:
        """One proposal; in the burn-in the step size learns from it, after it the position may be kept."""
        generator = torch.Generator().manual_seed(stream(seed, "hmc", chain.done, number))
        move = transition(
            potential, chain.point, step_size=exp(chain.log_step), steps=self.leapfrog_steps, generator=generator
        )
        chain.point = move.point
        chain.evaluations += self.leapfrog_steps
        if chain.done < self.burn_in:
            if self.acceptance:
                chain.log_step += (move.probability - self.acceptance) / sqrt(chain.done + 1)
        else:
            chain.accepted += move.accepted
            if (chain.done + 1 - self.burn_in) % self.thinning == 0:
                chain.samples.append(move.point.position)
                chain.values.append(move.point.value)
        chain.done += 1
        return move

    def _network(self, ground: Ground, number: int) -> Classifier:
        """A fresh network; what cannot be sampled is refused."""
        classifier = create(
            ground.architecture,
            shape=ground.shape,
            classes=ground.classes,
            seed=stream(ground.seed, "hmc start", copy=number),
            preprocessing=ground.preprocessing,
            pretrained=False,
        ).to(ground.device)
        if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in classifier.modules()):
            raise InputError(
                "hmc: the network has batch norm, which ties images together, so that it has no posterior; "
                "expected one without, such as mlp or lenet"
            )
        parameters = sum(p.numel() for p in classifier.network.parameters())
        if parameters > _MOST:
            raise InputError(
                f"hmc: the network has {parameters:,} parameters; expected at most {_MOST:,}: make it narrower"
            )
        return classifier.eval()

    def _mixing(
        self, ground: Ground, classifier: Classifier, names: Sequence[str], chains: Sequence[_Chain]
    ) -> dict[str, object]:
        base = weights(classifier)
        x = ground.validation.pixels[:256].to(ground.device)
        logits = []
        for chain in chains:
            with torch.inference_mode():
                of = [ground.classifier(with_vector(base, names, s.cpu()))(x).flatten().cpu() for s in chain.samples]
            logits.append(torch.stack(of))
        each = torch.stack(logits).unbind(2)
        ratios = torch.tensor([split_r_hat(one) for one in each])
        return {
            "r_hat_log_posterior": split_r_hat(torch.tensor([chain.values for chain in chains], dtype=torch.float64)),
            "r_hat_logits": float(ratios.median()),
            "r_hat_logits_worst": float(ratios.max()),
        }


@dataclass(eq=False)
class _Saved:
    """The chains in one file, now and then."""

    path: Path
    same: str
    written: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, builder: HMC, ground: Ground) -> "_Saved | None":
        if ground.checkpoint is None:
            return None
        return cls(
            ground.checkpoint,
            content_key(
                builder,
                ground.architecture,
                ground.preprocessing,
                ground.recipe.threads,
                ground.seed,
                ground.train.digest,
            ),
        )

    def load(self, device: torch.device) -> list[_Chain]:
        """Where there is no file, it is damaged, or of other chains, none."""
        found = read_state(self.path, self.same)
        if found is None:
            return []
        chains = []
        for kept in found["chains"]:
            position, value, gradient = kept.pop("point")
            samples = [sample.to(device) for sample in kept.pop("samples")]
            chains.append(_Chain(Point(position.to(device), value, gradient.to(device)), samples=samples, **kept))
        return chains

    def write(self, chains: Sequence[_Chain]) -> None:
        """Where the last time is long enough ago."""
        if time.monotonic() - self.written < _SECONDS_BETWEEN_CHECKPOINTS:
            return
        content = [
            {**vars(chain), "point": (chain.point.position, chain.point.value, chain.point.gradient)}
            for chain in chains
        ]
        write_state(self.path, self.same, {"chains": content})
        self.written = time.monotonic()


def _kinetic(momentum: Vector) -> float:
    return float(momentum.double().square().sum()) / 2


ENTRY = Entry(
    summary="Hamiltonian Monte Carlo over all weights of a small network.",
    paper="Neal 1996; Neal 2011, arXiv:1206.1901",
    stages=(HMC(),),
)
