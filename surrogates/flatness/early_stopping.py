"""Early stopping by transfer: of a training's checkpoints, the one whose adversarial images fool others most."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from carom.attacks import craft
from carom.attacks.iterative import Iterative
from carom.budget import Budget, Norm
from carom.draws import stream
from carom.errors import InputError
from carom.protocols import Classifier
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.surrogate import Schedule, Surrogate
from carom.surrogates.trajectory.checkpoints import Checkpoints
from carom.typing import Images, Labels
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.state import Passes

_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """The checkpoint whose adversarial images transfer best to validation victims (Gubri et al. 2023).

    Surrogates are best some time before their training ends, soon after the learning rate falls, and this finds when.
    Each checkpoint is attacked on images that every validation victim gets right; the share of (image, victim) pairs
    that come out wrong is its success rate, and the latest of the best is kept. The record has "asr", a rate for each
    checkpoint in order, "chosen", the place of the kept one, from 1, and "judged_images". arXiv:2304.02688.

    The paper judges as it attacks. So what is left out here is the scenario's: its first untargeted loop that reads
    surrogates, and its largest linf budget, or else its largest l2 one. Outside of a scenario eps and steps have to be
    given.

    Attributes:
        eps: Radius of the attack, in pixel units, exact; None for the scenario's.
        norm: "linf" or "l2"; None for the scenario's, outside of one "linf".
        steps: Of BIM; None for the scenario's attack.
        step: Of BIM, in units of eps; read where `steps` is given.
        images: Most validation images to attack.
        attack: What it judges with, as part of the key; filled in.

    Raises:
        InputError: A number that is not positive.
    """

    eps: Fraction | None = None
    norm: Norm | None = None
    steps: int | None = None
    step: Fraction = Fraction(1, 10)
    images: int = 200
    attack: Iterative | None = field(default=None, repr=False)

    version: ClassVar[int] = 2
    schedule: ClassVar[Schedule] = "full"
    takes: ClassVar[str] = "several"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("eps", "steps", "step", "images"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"early stopping: {name} must be more than 0, got {value}")
        if self.eps is not None:
            Budget(norm=self.norm or "linf", eps=self.eps)

    def against(self, attack: Iterative | None, budgets: Sequence[Budget]) -> "EarlyStopping":
        """The same, with what a scenario attacks with in the place of what is left out.

        Args:
            attack: The scenario's; None where it has none that will do.
            budgets: The scenario's.

        Raises:
            InputError: Something is left out, and the scenario has nothing that will do.
        """
        some = [b for b in budgets if b.eps > 0 and self.norm in (None, b.norm)]
        largest = max(some, key=lambda b: (b.norm == "linf", b.eps), default=None)
        if self.steps is not None:
            attack = Iterative(steps=self.steps, step=self.step)
        if attack is None:
            raise InputError(
                "early stopping: it judges with the scenario's attack, and there is no untargeted loop of steps that "
                "reads surrogates and needs nothing else; give it steps"
            )
        if self.eps is None and largest is None:
            of = "" if self.norm is None else f" of {self.norm}"
            raise InputError(
                f"early stopping: it judges in the scenario's budget, and none{of} is above 0; give it eps"
            )
        norm = self.norm or ("linf" if largest is None else largest.norm)
        eps = self.eps if largest is None or self.eps is not None else largest.eps
        return replace(self, eps=eps, norm=norm, attack=attack, steps=None, step=Fraction(1, 10))

    def count(self, given: int) -> int:
        """The best one."""
        del given
        return 1

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """The checkpoint that transfers best; its passes are the attacks'.

        Raises:
            InputError: No validation victims or images, or no image that all of them get right.
        """
        if not ground.judges or ground.judging is None or not len(ground.judging):
            raise InputError(
                f"early stopping: {len(ground.judges)} validation victims and "
                f"{0 if ground.judging is None else len(ground.judging)} images to judge by; expected at least one of "
                "each: add validation victims to the scenario"
            )
        settled = self if self.attack is not None else self.against(None, ())
        attack, budget = settled.attack, Budget(norm=settled.norm or "linf", eps=settled.eps or Fraction(0))
        assert attack is not None
        chosen = self._judged(ground, ground.judging)
        rates: list[float] = []
        passes = Passes()
        for done, weights in enumerate(given, start=1):
            (made,) = craft(
                [(attack, budget)],
                Surrogate((ground.classifier(weights),)),
                chosen.images.to(ground.device),
                chosen.labels.to(ground.device),
                seed=ground.seed,
                ids=chosen.ids.to(ground.device),
            )
            x_adv, y = made.images.float() / 255, chosen.labels.to(ground.device)
            wrong = torch.stack([_answers(judge, x_adv) != y for judge in ground.judges])
            rates.append(float(wrong.double().mean()))
            passes += made.passes
            if ground.progress is not None:
                ground.progress(done, len(given), {"asr": rates[-1]})
        best = max(range(len(given)), key=lambda i: (rates[i], i))
        return Built(
            members=(given[best],),
            passes=passes,
            record={"asr": rates, "chosen": best + 1, "judged_images": len(chosen)},
        )

    def _judged(self, ground: Ground, images: ImageSet) -> ImageSet:
        """Images that every judge gets right, in a random order, as many as asked for."""
        x, y = images.pixels.to(ground.device), images.labels.to(ground.device)
        right = torch.stack([_answers(judge, x) == y for judge in ground.judges]).all(0).cpu()
        generator = torch.Generator().manual_seed(stream(ground.seed, "early stopping"))
        order = torch.randperm(len(images), generator=generator)
        index: Int[Tensor, " m"] = order[right[order]][: self.images]
        if not len(index):
            raise InputError(
                f"early stopping: none of {len(images)} validation images is right for all of {len(ground.judges)} "
                "validation victims; check that they were trained on this task"
            )
        return images.select(index.to(images.images.device))


def _answers(judge: Classifier, x: Images) -> Labels:
    with torch.inference_mode():
        return torch.cat([judge(part).argmax(1) for part in torch.split(x, _BATCH)])


ENTRY = Entry(
    summary="The epoch of a plain training that transfers best to validation victims.",
    paper="Gubri et al. 2023, arXiv:2304.02688",
    stages=(Checkpoints(), EarlyStopping()),
)
