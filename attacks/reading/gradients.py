"""What an attack sees of its target: gradients and answers, counted."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from carom.attacks.slots import FeatureLoss, Objective, reads_features
from carom.errors import ContractError
from carom.protocols import BlackBox, Classifier, Passes
from carom.typing import Images, Logits

from .answers import combined
from .features import ReadingFeatures


class Gradients(ReadingFeatures):
    """What an attack sees: some images, and near them its target's gradients and answers, with the cost counted.

    The gradient at the clean images themselves is computed once and shared by every object that came from `fresh`:
    by all attacks on a chunk and by a whole grid of eps. It is counted each time all the same: passes are a property
    of the attack, seconds of the run.

    Attributes:
        x: Clean images, `n c h w`, in [0, 1].
        y: True classes, `n`.
        target: Classes that the images should be taken for, `n`; None for untargeted.
        partners: A pool of images to mix in; None where there is none.
        oracle: The answers that a query attack may buy; None where there is no target to ask.
        passes: Image passes asked for so far.
        columns: What the attack notes of each image beside the image itself, by name, each `n`.

    Raises:
        InputError: As many labels as images are needed, and no target may be the image's own class.
    """

    def fresh(self, oracle: BlackBox | None = None) -> "Gradients":
        """The same images and source for another attack: counters at zero, gradients at the clean images shared."""
        return Gradients(
            self.source,
            self.x,
            self.y,
            self.target,
            ready=self.ready,
            partners=self.partners,
            oracle=oracle,
            _known=self._known,
        )

    def at(
        self,
        x_adv: Images,
        objective: Objective | FeatureLoss,
        *,
        step: int = 0,
        copy: int = 0,
        member: int | None = None,
        summed: bool = False,
        through: Callable[[Images], Images] | None = None,
    ) -> Images:
        """The gradient to climb: of the summed loss of `y`, or of minus the summed loss of `target`.

        Do not change the result in place: it may be shared.

        Args:
            x_adv: Where, `n c h w`.
            objective: The loss. That of a `FeatureLoss` is climbed as it is, targeted or not.
            step: Which step of the attack asks; the source may show other members at another step.
            copy: Which of the passes of this step asks.
            member: Only this one of the active members; None for all of them.
            summed: The loss of the members' added logits, whatever the source makes of several answers. Losses of
                features are averaged all the same.
            through: What the images go through before the classifiers; differentiated too.

        Raises:
            ModelError: Logits of another shape, not finite, or without a gradient to the images. On a GPU what is not
                finite shows in `check`, since looking at once would make every step wait.
            InputError: A label that the model has no logit for.
            ContractError: `through` changed the shape.
        """
        members = self._active(step, copy, member)
        n = len(x_adv) * len(members)
        self.passes += Passes(n, n)
        self._evaluations += 1
        point = x_adv.detach().requires_grad_()
        if through is None:
            seen = point
        else:
            with self._watch.running(), torch.enable_grad():
                seen = through(point)
        if _of_shape(seen, point) is not point:
            outer = self._read(seen.detach(), objective, members, summed=summed)
            with self._watch.running():
                (gradient,) = torch.autograd.grad(seen, point, outer)
        elif x_adv is self.x and not reads_features(objective):
            # a source may change the weights of its members in place from step to step
            drawn = None if self._path is None else self._draws  # without a path nothing is
            key = (objective, step, copy, summed, self._path, drawn, *(id(member) for member in members))
            if key not in self._known.clean:  # the members stay alive with it, so no id is used twice
                self._known.clean[key] = (
                    members,
                    *_looked_at(self._read(point.detach(), objective, members, summed=summed)),
                )
            return self._noted(*self._known.clean[key][1:])
        else:
            gradient = self._read(point.detach(), objective, members, summed=summed)
        return self._noted(*_looked_at(gradient))

    def at_versions(
        self,
        x_adv: Images,
        objective: Objective | FeatureLoss,
        versions: Mapping[int, Callable[[Images], Images]],
        *,
        step: int = 0,
        member: int | None = None,
        summed: bool = False,
    ) -> Images:
        """As `at`, for several versions of the images: the gradient of one loss of their averaged logits.

        Args:
            x_adv: As in `at`.
            objective: The loss; of several versions one of logits, not of features.
            versions: For each copy, what the images go through. One alone is `at`.
            step: As in `at`.
            member: As in `at`.
            summed: As in `at`.

        Raises:
            ModelError: As for `at`.
            InputError: As for `at`.
            ContractError: As for `at`.
        """
        if len(versions) == 1:
            ((copy, through),) = versions.items()
            return self.at(x_adv, objective, step=step, copy=copy, member=member, summed=summed, through=through)
        assert not reads_features(objective)
        self._evaluations += 1
        point = x_adv.detach().requires_grad_()
        each = []
        with self._watch.running(), torch.enable_grad():
            for copy, through in versions.items():
                members = self._active(step, copy, member)
                self.passes += Passes(len(x_adv) * len(members), len(x_adv) * len(members))
                seen = _of_shape(through(point), point)
                each.append([self._logits(self._ready(member), seen) for member in members])
            averaged = [torch.stack(logits).mean(0) for logits in zip(*each, strict=True)]
            if summed or self.source.combination != "loss":
                loss = self._loss(self._one_answer(averaged, summed=summed), objective)
            else:
                loss = torch.stack([self._loss(logits, objective) for logits in averaged]).mean(0)
            gradient = self._to_images(loss, point)
        return self._noted(*_looked_at(gradient))

    def _read(
        self, x: Images, objective: Objective | FeatureLoss, members: Sequence[Classifier], *, summed: bool
    ) -> Images:
        x = x.requires_grad_()
        with self._watch.running(), torch.enable_grad():
            if reads_features(objective):
                return self._read_features(x, objective, members)
            if summed or len(members) == 1 or self.source.combination != "loss":
                each = [self._logits(self._ready(member), x) for member in members]
                return self._to_images(self._loss(self._one_answer(each, summed=summed), objective), x)
            total: Images | None = None
            for member in members:  # one graph at a time: a sum of losses needs no more
                gradient = self._to_images(self._loss(self._logits(self._ready(member), x), objective), x)
                total = gradient if total is None else total + gradient
            assert total is not None
            return total / len(members)

    def _one_answer(self, each: Sequence[Logits], *, summed: bool) -> Logits:
        return torch.stack(tuple(each)).sum(0) if summed else combined(each, self.source.combination)


def _of_shape(seen: Tensor, point: Tensor) -> Tensor:
    """What a transformation made of the images, as long as it kept their shape."""
    if seen.shape != point.shape:
        raise ContractError(f"a transformation made {tuple(seen.shape)} of images {tuple(point.shape)}")
    return seen


def _looked_at(gradient: Images) -> tuple[Images, Tensor, Tensor]:
    """A gradient, the images whose gradient is exactly zero, and whether all of it is finite."""
    largest = gradient.abs().flatten(1).amax(1)
    return gradient, largest == 0, largest.isfinite().all()
