"""What a network computes at a feature point, and the gradients there."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from carom.attacks.slots import FeatureLoss, Objective
from carom.errors import ModelError
from carom.protocols import Classifier, Passes
from carom.typing import Images, PerImage

from .answers import Answering


class ReadingFeatures(Answering):
    """The same, and the inside of single members."""

    def features(self, x_adv: Images, point: str, member: Classifier) -> Float[Tensor, "n ..."]:
        """What one member computes at a feature point, without gradient.

        Raises:
            InputError: It has no such point, or does not run it.
        """
        self.passes += Passes(len(x_adv), 0)
        with self._watch.running(), torch.no_grad():
            self._checked(self._ready(member, point)(x_adv), len(x_adv))
            return _full(self.ready.tap(member, self._path, point).read())

    def feature_gradient(
        self, x_adv: Images, point: str, member: Classifier, objective: Objective
    ) -> Float[Tensor, "n ..."]:
        """The gradient, at one member's feature point, of the loss that `at` would climb.

        Raises:
            InputError: It has no such point, or does not run it.
            ModelError: The logits do not depend on it.
        """
        self.passes += Passes(len(x_adv), len(x_adv))
        with self._watch.running(), torch.enable_grad():
            logits = self._logits(self._ready(member, point), x_adv.detach().requires_grad_())
            return self._to_features(self._loss(logits, objective), member, point)

    def image_gradient(self, x_adv: Images, member: Classifier, objective: Objective) -> Images:
        """The gradient that `at` would give if this member were alone.

        Raises:
            ModelError: As for `at`.
        """
        self.passes += Passes(len(x_adv), len(x_adv))
        x = x_adv.detach().requires_grad_()
        with self._watch.running(), torch.enable_grad():
            return self._to_images(self._loss(self._logits(self._ready(member), x), objective), x)

    def both_gradients(
        self, x_adv: Images, point: str, member: Classifier, inside: Objective, outside: Objective
    ) -> tuple[Float[Tensor, "n ..."], Images]:
        """`feature_gradient` of one objective and `image_gradient` of another, from one forward pass."""
        self.passes += Passes(len(x_adv), 2 * len(x_adv))
        x = x_adv.detach().requires_grad_()
        with self._watch.running(), torch.enable_grad():
            logits = self._logits(self._ready(member, point), x)
            at_point = self._to_features(self._loss(logits, inside), member, point, keep=True)
            return at_point, self._to_images(self._loss(logits, outside), x)

    def _read_features(self, x: Images, objective: FeatureLoss, members: Sequence[Classifier]) -> Images:
        total: Images | None = None
        for member in members:
            point = objective.point(member)
            self._logits(self._ready(member, point), x)
            loss = objective(_full(self.ready.tap(member, self._path, point).read()), member)
            gradient = self._to_images(loss, x)
            total = gradient if total is None else total + gradient
        assert total is not None
        return total / len(members)

    def _to_features(
        self, loss: PerImage, member: Classifier, point: str, *, keep: bool = False
    ) -> Float[Tensor, "n ..."]:
        features = self.ready.tap(member, self._path, point).read()
        (gradient,) = torch.autograd.grad(loss.sum(), features, allow_unused=True, retain_graph=keep)
        if gradient is None:
            raise ModelError(f"surrogate: its logits do not depend on the feature point {point!r}; choose another")
        return _full(gradient)


def _full(features: Tensor) -> Tensor:
    """Features of a network that works in half precision, in float32: what is done with them is ours."""
    return features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
