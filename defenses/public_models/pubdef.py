"""PubDef: training against attacks that transfer from public models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor
from types import MappingProxyType
from typing import ClassVar, Literal, get_args

import torch

from carom.attacks import Iterative, Uniform
from carom.budget import Budget, Norm
from carom.defenses.defense import PublicModel
from carom.errors import InputError
from carom.registry import checked, lookup
from carom.stages import Entry
from carom.zoo.architectures import Architecture
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.ground import Built, Ground, Progress, Weights
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.state import Passes

from .adversarial_copies import AdversarialCopy, AgainstLabels, adversarial_copy, augmented
from .against_copies import AgainstCopies, Copies, LossName
from .source_selection import Transfer, check_pool, drawn, groups_of, selected, transfer_matrix

SourceRule = Literal["selected", "drawn"]


@dataclass(frozen=True, kw_only=True)
class PubDef:
    """Training on attacks that transfer from public models (Sitawarin et al. 2024, arXiv:2310.17645).

    An attacker who has public models alone can play a model and an attack. Of each group of public models, which is
    their training style, one source is chosen: that whose PGD examples transfer best to the others, on validation
    images. Of each training image a few augmented copies are attacked once on each source, rounded to 8 bits in the
    ball, and the network learns from these and from clean images, which are augmented anew at each epoch, together in
    one batch. It withstands transfer, and is not meant to withstand white-box or query attacks.

    It may go on from a network that came before, as `plain -> pubdef` does and both of the authors' scripts; alone it
    begins with fresh weights. Augmentation, batch size and epochs are the scenario's recipe's; the kept epoch, where
    the recipe keeps the best, is that of the highest mean of clean and adversarial validation accuracy.

    Passes are those of the training and of crafting the training copies, also where these were crafted before and are
    read again; crafting on validation images is looking, and stands in the record alone. The record has "pool" and
    "transfer" (accuracy of each model, by column, on the examples from each, by row; not where sources are drawn),
    "groups" and "sources" in the same order, "copies", "crafting_seconds", "crafting_forward", "crafting_backward",
    "training_forward", "training_backward", "selection_forward", "selection_backward", and "validation_clean" and
    "validation_adversarial", accuracies of the kept epoch. Where the adversarial one is the higher, the perturbations
    may tell the labels.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1]; at least one grey level.
        norm: "linf" or "l2".
        steps: Of PGD, from a uniform start in the ball; at least 1.
        step: Length of one, in units of eps, above 0.
        copies: Of each training image, for each source; at least 1.
        loss: "random": the mean of the clean loss and that of one source, drawn for each image. "all": the mean of the
            clean loss and each source's. "top-k": for each image, the mean of the clean loss and the k largest.
            "dynamic-loss", "dynamic-accuracy": half the clean loss, half the sources', these weighted in proportion to
            an exponential mean of their losses, or of their error rates; the mean begins at the first batch's.
        k: Of "top-k", at least 1 and at most as many as there are groups.
        alpha: Weight of the newest batch in the exponential mean, above 0, at most 1.
        labels: What PGD makes the source lose: the "true" class, or the one that the source has "predicted" of the
            clean copy, so that the perturbation does not tell the true one where the source errs. The transfer matrix
            always attacks true classes.
        groups: Those to learn from; none for all of the pool.
        sources: "selected" by transfer, or "drawn", one a group.

    Raises:
        InputError: Out of range, an unknown name, or a group named twice.
    """

    eps: Fraction = Fraction(16, 255)
    norm: Norm = "linf"
    steps: int = 10
    step: Fraction = Fraction(1, 4)
    copies: int = 2
    loss: LossName = "random"
    k: int = 1
    alpha: float = 0.1
    labels: AgainstLabels = "true"
    groups: tuple[str, ...] = ()
    sources: SourceRule = "selected"

    version: ClassVar[int] = 2
    takes: ClassVar[Literal["one", "none", "either"]] = "either"
    pool: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, known in (("loss", LossName), ("labels", AgainstLabels), ("sources", SourceRule)):
            lookup(getattr(self, name), dict.fromkeys(get_args(known), 0), where=f"pubdef.{name}", what=name)
        checked(self, "pubdef", steps=(1.0, 1e4), copies=(1.0, 1e3), k=(1.0, 1e3), alpha=(1e-9, 1.0))
        levels = self.budget.eps * 255 if self.norm == "linf" else (self.budget.eps * 255) ** 2
        if floor(levels) < 1:
            raise InputError(
                f"pubdef: eps is {self.eps}, less than one grey level: there is nothing to learn against; give at "
                'least "1/255", or leave the defence out'
            )
        if self.step <= 0:
            raise InputError(f"pubdef: step must be above 0 (in units of eps), got {self.step}")
        if len(set(self.groups)) < len(self.groups):
            raise InputError(f"pubdef: groups {', '.join(self.groups)}: name each once")
        object.__setattr__(self, "groups", tuple(sorted(self.groups)))  # one set of groups is one key

    @property
    def budget(self) -> Budget:
        """The ball."""
        try:
            return Budget(norm=self.norm, eps=self.eps)
        except InputError as error:
            raise InputError(f"pubdef: {error}") from None

    @property
    def attack(self) -> Iterative:
        """The PGD that everything is crafted with."""
        return Iterative(start=Uniform(), steps=self.steps, step=self.step)

    def architecture(self, given: Architecture, weights: Weights) -> Architecture:
        """The defender's own."""
        del weights
        return given

    def planned(self, given: Architecture, groups: Sequence[str]) -> Architecture | None:
        """That of the scenario.

        Raises:
            InputError: A group that no public model is of, or fewer groups than "top-k" keeps.
        """
        self._check_k(len(groups_of(groups, self.groups)))
        return given

    def _check_k(self, groups: int) -> None:
        if self.loss == "top-k" and self.k > groups:
            raise InputError(f"pubdef: k={self.k} of {groups} sources; expected at most one for each group")

    def passes(self, recipe: Recipe) -> float:
        """Clean and adversarial images of each epoch, and the copies of, say, three sources."""
        return 2 * recipe.passes + 2 * self.steps * self.copies * (len(self.groups) or 3)

    def build(self, ground: Ground, given: Sequence[Weights], pool: Sequence[PublicModel]) -> Built:
        """Choose the sources, craft, train.

        Raises:
            InputError: A pool that is empty, that names a label twice, that has no member of a group, that holds the
                network that the defence starts from, or models of other images or classes; fewer sources than `k`.
            DivergedError: A loss or a logit is not finite.
        """
        check_pool(pool, ground, given)
        groups = groups_of((model.group for model in pool), self.groups)
        self._check_k(len(groups))
        making = _Making(self, ground, pool, groups)
        transfer = making.transfer() if self.sources == "selected" else None
        chosen = drawn(pool, groups, ground.seed) if transfer is None else selected(transfer.accuracy, pool, groups)
        copies = making.copies(chosen, transfer)

        by = AgainstCopies(copies=copies, loss=self.loss, k=self.k, alpha=self.alpha)
        recipe = adapted(ground.recipe, by)
        there = replace(ground, progress=making.onward())
        trained = there.trained(recipe, start=given[0] if given else None)
        best = trained.select == "best"
        epoch = trained.history[(trained.best_epoch if best else len(trained.history)) - 1]
        assert epoch.validation_accuracy is not None
        assert epoch.robust_accuracy is not None
        record: dict[str, object] = {
            "pool": [model.label for model in pool],
            "groups": list(groups),
            "sources": [pool[place].label for place in chosen],
            "copies": self.copies,
            "crafting_seconds": making.seconds,
            "crafting_forward": making.crafting.forward,
            "crafting_backward": making.crafting.backward,
            "training_forward": trained.passes.forward,
            "training_backward": trained.passes.backward,
            "selection_forward": making.looking.forward,
            "selection_backward": making.looking.backward,
            "validation_clean": epoch.validation_accuracy,
            "validation_adversarial": 2 * epoch.robust_accuracy - epoch.validation_accuracy,
        }
        if transfer is not None:
            record["transfer"] = transfer.accuracy.tolist()
        return Built(
            members=(trained.best if best else trained.last,),
            passes=trained.passes + making.crafting,
            record=record,
        )


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "cifar10": MappingProxyType({"eps": "8/255", "steps": 10, "step": "1/4", "copies": 4, "loss": "random"}),
        "imagenet": MappingProxyType({"eps": "4/255", "steps": 10, "step": "1/4", "copies": 4, "loss": "random"}),
    }
)


@dataclass(eq=False)
class _Making:
    """The sets of images that a network is about to learn from, and what they cost.

    Attributes:
        crafting: Passes of crafting training copies.
        looking: Passes on validation images.
        seconds: Of crafting.
        done: Sets that are there.
    """

    by: PubDef
    ground: Ground
    pool: Sequence[PublicModel]
    groups: Sequence[str]
    crafting: Passes = field(default_factory=Passes)
    looking: Passes = field(default_factory=Passes)
    seconds: float = 0.0
    done: int = 0

    @property
    def sets(self) -> int:
        """How many there will be."""
        training = len(self.groups) * self.by.copies
        looked_at = len(self.pool) if self.by.sources == "selected" else 0
        return training + looked_at + (0 if self._judged_by_transfer else len(self.groups))

    def transfer(self) -> Transfer:
        """Over the whole pool, on validation images."""
        found = transfer_matrix(
            self.pool,
            self.ground.validation,
            attack=self.by.attack,
            budget=self.by.budget,
            seed=self.ground.seed,
            device=self.ground.device,
            stored=self.ground.stored,
            made=self._tell,
        )
        self.looking += found.passes
        self.seconds += found.seconds
        return found

    def copies(self, chosen: Sequence[int], transfer: Transfer | None) -> Copies:
        """Of training images, and of validation images where the transfer matrix did not make them."""
        ground, many = self.ground, self.by.copies
        sources = [self.pool[place] for place in chosen]
        shape = ground.train.images.shape
        adversarial = torch.empty(len(sources), many, *shape, dtype=torch.uint8)
        for copy in range(many):
            images = augmented(ground.train, ground.recipe, seed=ground.seed, copy=copy)
            for s, source in enumerate(sources):
                made = self._copy(source, images, copy)
                adversarial[s, copy] = made.images
                self.crafting += made.passes
        if transfer is not None and self._judged_by_transfer:
            judged = [transfer.sets[place] for place in chosen]
        else:
            looked_at = [self._copy(source, ground.validation, 0) for source in sources]
            self.looking = sum((made.passes for made in looked_at), self.looking)
            judged = [made.images for made in looked_at]
        return Copies(adversarial=adversarial, judged=torch.stack(judged))

    def onward(self) -> Progress | None:
        """For the training: its epochs come after the sets."""
        tell, done = self.ground.progress, self.done
        return None if tell is None else lambda epochs, total, numbers: tell(done + epochs, done + total, numbers)

    @property
    def _judged_by_transfer(self) -> bool:
        return self.by.sources == "selected" and self.by.labels == "true"

    def _copy(self, source: PublicModel, images: ImageSet, copy: int) -> AdversarialCopy:
        made = adversarial_copy(
            source,
            images,
            attack=self.by.attack,
            budget=self.by.budget,
            labels=self.by.labels,
            seed=self.ground.seed,
            copy=copy,
            device=self.ground.device,
            stored=self.ground.stored,
        )
        self.seconds += made.seconds
        self._tell()
        return made

    def _tell(self) -> None:
        self.done += 1
        if self.ground.progress is not None:
            self.ground.progress(self.done, self.sets + self.ground.recipe.epochs, {})


ENTRY = Entry(
    summary="Learns from attacks that transfer from public models, one of each training style.",
    paper="Sitawarin, Chang, Huang, Altoyan and Wagner 2024, arXiv:2310.17645",
    stages=(PubDef(),),
    presets=PRESETS,
)
