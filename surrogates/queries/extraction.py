"""Extraction: a surrogate that learns from what the victim answers."""

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from math import ceil, log2
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from carom.draws import content_ids, stream
from carom.errors import InputError
from carom.identity import tensor_digest
from carom.registry import checked, lookup
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.surrogate import Schedule
from carom.typing import Images, Labels, Logits, Pixels
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import Passes, State
from carom.zoo.training.trained import Trained

Probabilities = Float[Tensor, "n k"]

_BATCH = 256  # images of one question, and of one gradient


@dataclass(frozen=True, kw_only=True)
class SoftLabels:
    """Trains on probabilities instead of classes: cross-entropy of the victim's answer to each image.

    Attributes:
        table: Probabilities, one row for each training image, in their order.
        digest: Of these, as part of the key; filled in.
    """

    table: InitVar[Probabilities]
    digest: str = ""

    version: ClassVar[int] = 1

    def __post_init__(self, table: Probabilities) -> None:
        object.__setattr__(self, "digest", tensor_digest({"probabilities": table}))
        object.__setattr__(self, "_table", table)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss."""
        table: Probabilities = self._table  # type: ignore[attr-defined]

        def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
            del y
            assert state.batch is not None
            logits = state.classifier(x)
            answers = table[state.batch.index].to(logits.device)
            return cross_entropy(logits, answers, label_smoothing=recipe.label_smoothing), logits

        return replace(slots, loss=loss)


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """A network that learns to answer as a black box does, from a given number of questions.

    The attacker has images without labels, and what the victim says of each image that he asks about. With "plain" he
    asks about as many of his own images as he may, in a random order. With "jacobian" (Papernot et al. 2017,
    arXiv:1602.02697) he begins with a few of them; again and again he trains a network on what he knows, takes a step
    from each image along the sign of the gradient of the victim's class at that network, and asks about the new images,
    which at most doubles what he knows, until the questions are spent; where fewer are left than images, a random part
    is asked. Images are rounded to 8 bits before they are asked, and no image is asked twice. The last network is
    trained from fresh weights as the scenario trains networks, on all answers, and its last epoch is kept: there is
    nothing to choose by. True labels are never looked at. The paper flips the sign of its step from time to time; here
    it stays.

    The record has "queries", the number of images asked, "rounds", and "answered", how many classes the victim named.

    Attributes:
        queries: Most images to ask, at least 2, and as many as there are classes.
        answers: "labels", the victim's classes, or "scores", its probabilities, which are then learnt as they are.
            Scores that are no probabilities are taken for logits.
        augmentation: "jacobian" or "plain".
        start: Of "jacobian": own images to begin with, at least 2.
        step: Of "jacobian": how far each pixel moves, in units of the pixel range, up to 1.
        epochs: Of "jacobian": of each training before the last.

    Raises:
        InputError: Out of range, or more images to begin with than questions.
    """

    queries: int = 1000
    answers: Literal["labels", "scores"] = "labels"
    augmentation: Literal["jacobian", "plain"] = "jacobian"
    start: int = 100
    step: float = 0.1
    epochs: int = 10

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "full"
    takes: ClassVar[str] = "none"
    asks: ClassVar[bool] = True
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        known = {"answers": ("labels", "scores"), "augmentation": ("jacobian", "plain")}
        for name, values in known.items():
            lookup(getattr(self, name), dict.fromkeys(values, 0), where=f"extraction.{name}", what=name)
        checked(
            self, "extraction", queries=(2.0, 1e9), start=(2.0, 1e9), step=(1 / 255, 1.0), epochs=(1.0, 1e6)
        )  # a smaller step is lost in rounding
        if self.augmentation == "jacobian" and self.start > self.queries:
            raise InputError(
                f"extraction: begins with {self.start} images, and may ask about {self.queries}; lower 'start', or "
                "raise 'queries'"
            )

    def count(self, given: int) -> int:
        """One network."""
        del given
        return 1

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """A network trained on the victim's answers.

        Raises:
            InputError: Nobody to ask, fewer questions than classes, too few images, or answers of another kind.
            DivergedError: A loss is not finite.
        """
        del given
        jacobian = self.augmentation == "jacobian"
        wanted = self.start if jacobian else self.queries
        if ground.asked is None:
            raise InputError("extraction: there is no black box to ask; name a victim that the surrogate may ask")
        if self.queries < ground.classes:
            raise InputError(
                f"extraction: {self.queries} queries for {ground.classes} classes; expected at least one for each"
            )
        if wanted > len(ground.train):
            name = "start" if jacobian else "queries"
            raise InputError(
                f"extraction: {name}={wanted} of {len(ground.train)} images of the attacker; expected at most so many"
                + ("" if jacobian else ', or augmentation="jacobian", which makes more')
            )
        generator = torch.Generator().manual_seed(stream(ground.seed, "extraction images"))
        chosen = torch.randperm(len(ground.train), generator=generator)[:wanted]
        known = _Known(ground, self.answers)
        known.ask(ground.train.images[chosen].cpu(), self.queries)
        rounds, passes = 0, Passes()
        planned = ceil(log2(self.queries / self.start)) if jacobian else 0
        while jacobian and known.asked < self.queries:
            trained = self._trained(ground, known, last=False, done=rounds, rounds=max(planned, rounds + 1))
            new = _stepped(ground, trained.last, known, self.step)
            more = len(known.images)
            passes += Passes(more, more) + trained.passes
            order = torch.Generator().manual_seed(stream(ground.seed, "extraction round", rounds))
            rounds += 1
            if not known.ask(new[torch.randperm(len(new), generator=order)], self.queries):
                break  # rounding gave back known images alone
        trained = self._trained(ground, known, last=True, done=rounds, rounds=rounds)
        return Built(
            members=(trained.last,),
            passes=passes + trained.passes,
            record={"queries": known.asked, "rounds": rounds, "answered": len(set(known.labels.tolist()))},
        )

    def _trained(self, ground: Ground, known: "_Known", *, last: bool, done: int, rounds: int) -> Trained:
        """On all answers; tells of its epochs among those of all trainings."""
        recipe = replace(ground.recipe, select="last")
        before, total = done * self.epochs, rounds * self.epochs + recipe.epochs
        if not last:
            recipe = replace(recipe, epochs=self.epochs)
        if self.answers == "scores":
            recipe = adapted(recipe, SoftLabels(table=known.probabilities))
        tell = ground.progress
        here = replace(
            ground,
            progress=None if tell is None else lambda epochs, _, numbers: tell(before + epochs, total, numbers),
            # of the last training alone: what comes before is short, and would write over it
            checkpoint=ground.checkpoint if last else None,
        )
        return here.trained(recipe, images=known.images)


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType({})


@dataclass(eq=False)
class _Known:
    """Images that the victim was asked about, and its answers."""

    ground: Ground
    answers: Literal["labels", "scores"]
    asked: int = 0
    _ids: set[int] = field(default_factory=set)
    _pixels: list[Pixels] = field(default_factory=list)
    _answers: list[Probabilities] = field(default_factory=list)

    @property
    def probabilities(self) -> Probabilities:
        return torch.cat(self._answers)

    @property
    def labels(self) -> Labels:
        return self.probabilities.argmax(1)

    @property
    def images(self) -> ImageSet:
        pixels = torch.cat(self._pixels)
        return ImageSet(pixels, self.labels, content_ids(pixels))

    def ask(self, pixels: Pixels, most: int) -> int:
        """Ask about those that are new, in their order, as long as there are questions left; says how many it were."""
        fresh: list[int] = []
        for place, name in enumerate(content_ids(pixels).tolist()):
            if len(fresh) < most - self.asked and name not in self._ids:
                self._ids.add(name)
                fresh.append(place)
        for part in torch.split(pixels[torch.tensor(fresh, dtype=torch.int64)], _BATCH):
            if len(part):
                self._pixels.append(part)
                self._answers.append(self._answered(part))
                self.asked += len(part)
        return len(fresh)

    def _answered(self, pixels: Pixels) -> Probabilities:
        ground, classes = self.ground, self.ground.classes
        assert ground.asked is not None
        with torch.no_grad():
            answer = ground.asked(pixels.to(ground.device).float() / 255).detach().cpu()
        if answer.ndim == 1 and len(answer) == len(pixels) and not answer.is_floating_point():
            if self.answers == "scores":
                raise InputError('extraction: the victim answers with classes alone; use answers="labels"')
            low, high = int(answer.min()), int(answer.max())
            if low < 0 or high >= classes:
                raise InputError(f"extraction: the victim answers {low} to {high}; expected 0 to {classes - 1}")
            return one_hot(answer.long(), classes).float()
        if answer.shape != (len(pixels), classes) or not bool(answer.isfinite().all()):
            raise InputError(
                f"extraction: the victim answers {len(pixels)} images with {tuple(answer.shape)} numbers, "
                f"{int((~answer.isfinite()).sum())} of them not finite; expected {(len(pixels), classes)} scores, or "
                f"{len(pixels)} classes"
            )
        if self.answers == "labels":
            return one_hot(answer.argmax(1), classes).float()
        answer = answer.float()
        sums_to_one = bool(((answer.sum(1) - 1).abs() < 1e-3).all()) and float(answer.min()) >= 0
        return answer if sums_to_one else answer.softmax(1)


def _stepped(ground: Ground, weights: Weights, known: _Known, step: float) -> Pixels:
    """A step from every known image along the gradient's sign of the victim's class, rounded."""
    classifier = ground.classifier(weights)
    images = known.images
    parts = []
    for x, y in zip(torch.split(images.pixels, _BATCH), torch.split(images.labels, _BATCH), strict=True):
        point = x.to(ground.device).requires_grad_()
        logits = classifier(point).gather(1, y.to(ground.device)[:, None])
        (gradient,) = torch.autograd.grad(logits.sum(), point)
        moved = (point.detach() + step * gradient.sign()).clamp(0, 1)
        parts.append((moved * 255).round().to(torch.uint8).cpu())
    return torch.cat(parts)


ENTRY = Entry(
    summary="Learnt from the answers of a black box, within a number of questions.",
    paper="Papernot et al. 2017, arXiv:1602.02697",
    stages=(Extraction(),),
)
