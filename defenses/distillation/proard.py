"""ProARD: one elastic network whose sub-networks all learn robustly from its largest one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import InitVar, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from carom.budget import Norm
from carom.defenses.defense import PublicModel
from carom.draws import stream
from carom.errors import InputError
from carom.files import read_state, write_state
from carom.identity import content_key, tensor_digest
from carom.registry import checked
from carom.stages import Entry
from carom.typing import Images, Labels, Logits
from carom.zoo.architectures import Architecture
from carom.zoo.architectures.elastic.family import Elastic
from carom.zoo.architectures.elastic.layers import ElasticNetwork, still
from carom.zoo.architectures.elastic.space import Choice, Kind, Space
from carom.zoo.models.classifier import Classifier, weights
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import Passes, State

from .distilled import LossName, distillation
from .robust_distillation import RobustDistillation
from .taken_out import accuracy, elastic_of, recalibrate, refuse_guessing

PHASES: tuple[tuple[str, tuple[Kind, ...]], ...] = (
    ("width", ("widths", "kernels")),
    ("depth", ("widths", "kernels", "depths")),
    ("expansion", ("widths", "kernels", "depths", "expansions")),
)
"""Names, and what is chosen in each; a family without widths begins with its kernels."""


@dataclass(frozen=True, kw_only=True)
class SubNetworks:
    """Trains sub-networks of one set of weights on what a frozen teacher answers, several in each batch.

    Each sub-network is attacked by itself. While a sub-network is attacked, batch norm normalises by the batch and
    takes nothing down, as running statistics are no sub-network's own; in the outer pass it normalises by the batch
    too, and running statistics follow the largest sub-network alone. The gradients are averaged.

    Attributes:
        by: Inner and outer loss.
        space: What is drawn from.
        subnetworks: Of a batch.
        sandwich: The largest and the smallest are among them.
        teacher: Read in eval mode; not part of the key, but its digest is.
        digest: Of the teacher; filled in.
    """

    by: RobustDistillation
    space: Space
    subnetworks: int
    sandwich: bool
    teacher: InitVar[Classifier]
    digest: str = field(default="", init=False)

    version: ClassVar[int] = 1

    def __post_init__(self, teacher: Classifier) -> None:
        object.__setattr__(self, "digest", teacher.fingerprint())
        object.__setattr__(self, "_teacher", teacher)

    def drawn(self, generator: torch.Generator) -> list[Choice]:
        """The sub-networks of a batch."""
        ends = [self.space.largest, self.space.smallest] if self.sandwich else []
        return ends + [self.space.random(generator) for _ in range(self.subnetworks - len(ends))]

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss, and gradients for all weights."""
        del recipe
        teacher: Classifier = self._teacher.eval()  # type: ignore[attr-defined]

        def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
            classifier, passes = state.classifier, state.passes
            network = classifier.network
            assert isinstance(network, ElasticNetwork)

            def student(z: Images) -> Logits:  # no module, so that nobody puts it into eval mode
                answer: Logits = classifier(z)
                return answer

            target = self.by.target(teacher, x, passes)
            losses, answers = [], []
            for choice in self.drawn(state.generator):
                largest = choice == self.space.largest
                network.choose(None if largest else choice)
                with still(network):
                    x_adv = self.by.inner(student, teacher, x, y, target, generator=state.generator, passes=passes)
                with nullcontext() if largest else still(network):
                    value, logits = self.by.outer(student, teacher, x, x_adv, y, target, passes=passes)
                losses.append(value)
                answers.append(logits)
            network.choose(None)
            further = (len(losses) - 1) * len(x)  # the loop counts those of one
            passes.forward += further
            passes.backward += further
            return torch.stack(losses).mean(), answers[0]

        def update(state: State, gradient: Callable[[], None]) -> None:
            def whole() -> None:
                gradient()
                # what no sub-network of the batch has: fused optimizers want momentum of all weights or of none
                for parameter in state.classifier.parameters():
                    if parameter.grad is None:
                        parameter.grad = torch.zeros_like(parameter)

            slots.update(state, whole)

        return replace(slots, loss=loss, update=update)


@dataclass(frozen=True, kw_only=True)
class ProARD:
    """Progressive adversarial robustness distillation: many robust networks for one training (Mousavi et al. 2025).

    From a robust elastic network that came before (trained by TRADES, say), which also is the frozen teacher, trains
    all its sub-networks in three phases: widths (or kernels) are drawn, then depths too, then expansions too. Before
    widths and expansions are drawn, channels are sorted by L1 importance, which keeps the function. Each batch trains
    the largest, the smallest and random sub-networks, each on images attacked for itself. In the end, batch norm's
    statistics are those of the largest sub-network; `student` takes others out with statistics of their own.

    Without progress, all three phases draw from the whole space and all else is the same: the same passes.
    arXiv:2506.07666; elastic networks and phases are those of Once-for-All (Cai et al. 2020, arXiv:1908.09791).

    Other than the authors' code: several sub-networks in each batch, not one for a whole epoch; one phase for a kind,
    not one for its two largest levels and one for all; and nothing is chosen on test images.

    Attributes:
        loss: "rslad", "ard" or "adaad".
        epochs: Of the three phases, each at least 1.
        rates: Learning rates of the three phases, in units of the recipe's, each above 0 and up to 100.
        subnetworks: Of each batch, 3 to 64 with a sandwich, else 1 to 64.
        sandwich: The largest and the smallest are among them; else all are random.
        progressive: False draws from the whole space in all phases.
        eps: Radius of the ball, pixels in [0, 1].
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.

    Raises:
        InputError: Out of range.
    """

    loss: LossName = "rslad"
    epochs: tuple[int, int, int] = (5, 5, 5)
    rates: tuple[float, float, float] = (0.3, 0.1, 0.1)
    subnetworks: int = 3
    sandwich: bool = True
    progressive: bool = True
    eps: Fraction = Fraction(16, 255)
    norm: Norm = "linf"
    steps: int = 10
    step: float = 0.25

    version: ClassVar[int] = 1
    takes: ClassVar[Literal["one", "none", "either"]] = "one"
    pool: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(float(rate) for rate in self.rates))
        checked(self, "proard", subnetworks=(3 if self.sandwich else 1, 64))
        for name, low, high in (("epochs", 1, 1e6), ("rates", 1e-9, 100)):
            values = getattr(self, name)
            if len(values) != 3 or not all(low <= value <= high for value in values):
                shown = ", ".join(f"{value:g}" for value in values)
                raise InputError(f"proard: {name} must be three numbers in [{low:g}, {high:g}], got ({shown})")
        self._by()

    def _by(self) -> RobustDistillation:
        return distillation(self.loss, eps=self.eps, norm=self.norm, steps=self.steps, step=self.step, where="proard")

    def planned(self, given: Architecture, groups: Sequence[str]) -> Architecture | None:
        """The elastic network itself.

        Raises:
            InputError: The architecture holds no sub-networks.
        """
        del groups
        return elastic_of(given, "proard")

    def passes(self, recipe: Recipe) -> float:
        """Every sub-network of each batch, attacked and trained."""
        del recipe
        return 2.0 * sum(self.epochs) * self.subnetworks * (1 + self.steps)

    def architecture(self, given: Architecture, weights: Weights) -> Architecture:
        """The elastic one that came before."""
        del weights
        return given

    def build(self, ground: Ground, given: Sequence[Weights], pool: Sequence[PublicModel]) -> Built:
        """Three trainings, each from where the last one ended; a resumed build goes on in the phase where it was.

        Raises:
            InputError: The network that came before is not elastic.
            DivergedError: A loss is not finite, or the largest sub-network does no better than guessing.
        """
        del pool
        elastic = elastic_of(ground.architecture, "proard")
        teacher = ground.classifier(given[0]).requires_grad_(requires_grad=False)
        at: Weights = given[0]
        done: list[_Done] = []
        for place, (name, kinds) in enumerate(PHASES):
            if place == 0:
                at = elastic.sorted_channels(at, "widths")
            if name == (PHASES[-1][0] if self.progressive else PHASES[0][0]):
                at = elastic.sorted_channels(at, "expansions")
            phase = SubNetworks(
                by=self._by(),
                space=elastic.space.only(kinds) if self.progressive else elastic.space,
                subnetworks=self.subnetworks,
                sandwich=self.sandwich,
                teacher=teacher,
            )
            recipe = adapted(
                ground.recipe,
                phase,
                epochs=self.epochs[place],
                learning_rate=ground.recipe.learning_rate * self.rates[place],
                select="last",
            )
            done.append(_phase(self._ground(ground, name, place), recipe, at, _file(ground, f"{name}-done")))
            at = done[-1].weights
        built = self._finished(ground, elastic, at, done)
        for name, _ in PHASES:
            if (file := _file(ground, f"{name}-done")) is not None:
                file.unlink(missing_ok=True)
        return built

    def _ground(self, ground: Ground, name: str, place: int) -> Ground:
        """Of one phase: its own draws and checkpoint, and progress that goes on."""
        before, total, told = sum(self.epochs[:place]), sum(self.epochs), ground.progress
        return replace(
            ground,
            seed=stream(ground.seed, f"proard, {name}"),
            checkpoint=_file(ground, name),
            progress=None if told is None else lambda done, _, numbers: told(before + done, total, numbers),
        )

    def _finished(self, ground: Ground, elastic: Elastic, at: Weights, done: Sequence["_Done"]) -> Built:
        classifier = ground.classifier(at)
        looked = recalibrate(classifier, ground.train, seed=ground.seed)
        reached = accuracy(classifier, ground.validation)
        refuse_guessing(reached, ground.classes, where="proard")
        first = "kernel" if elastic.space.kernels else "width"
        return Built(
            members=(weights(classifier),),
            passes=Passes(sum(d.passes.forward for d in done) + looked, sum(d.passes.backward for d in done)),
            record={
                "phases": [first, *(name for name, _ in PHASES[1:])] if self.progressive else ["all"] * len(PHASES),
                "epochs": list(self.epochs),
                "forward passes": [d.passes.forward for d in done],
                "backward passes": [d.passes.backward for d in done],
                "phase seconds": [d.seconds for d in done],
                "accuracy of the largest": reached,
            },
        )


@dataclass(frozen=True, eq=False)
class _Done:
    """What a phase came to."""

    weights: Weights
    passes: Passes
    seconds: float


def _file(ground: Ground, name: str) -> Path | None:
    path = ground.checkpoint
    return None if path is None else path.with_name(f"{name}-{path.name}")


def _phase(ground: Ground, recipe: Recipe, start: Weights, file: Path | None) -> _Done:
    """One phase, or what it came to before the build was interrupted, which the file then says."""
    key = content_key(
        recipe, ground.architecture, ground.seed, ground.train.digest, ground.validation.digest, tensor_digest(start)
    )
    if file is not None and (found := read_state(file, key)) is not None:
        return _Done(found["weights"], Passes(*found["passes"]), found["seconds"])
    trained = ground.trained(recipe, start)
    done = _Done(trained.last, trained.passes, trained.seconds)
    if file is not None:
        content = {"weights": dict(done.weights), "seconds": done.seconds}
        write_state(file, key, {**content, "passes": (done.passes.forward, done.passes.backward)})
    return done


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    # Of the authors' code. One random sub-network at a time, without a sandwich; its epochs of one, two and four passes
    # over the images are so many epochs here, warm-up included: 125, 2 x 150 and 4 x 150. Its divergence is a mean over
    # images and classes, a tenth of the one here, so its rates of 3e-2 and 7.5e-3 beside the teacher's 0.1 are a tenth
    # too. With that, its weight decay of 3e-5 would be 3e-4 in the scenario's recipe, and its space of networks is not
    # among the elastic ones here: no published number can be met with this.
    {
        "cifar10": MappingProxyType(
            {
                "eps": Fraction(31, 1000),
                "steps": 10,
                "step": 78 / 310,
                "subnetworks": 1,
                "sandwich": False,
                "epochs": (125, 300, 600),
                "rates": (0.03, 0.0075, 0.0075),
            }
        )
    }
)


ENTRY = Entry(
    summary="All sub-networks of a robust elastic network, distilled phase by phase; itself the largest.",
    paper="Mousavi et al. 2025, arXiv:2506.07666",
    stages=(ProARD(),),
    presets=PRESETS,
)
