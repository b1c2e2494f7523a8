"""What a check makes of gradients: needed of a surrogate, looked for in a victim, left alone where nobody asks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from carom.errors import ModelError
from carom.zoo.models.victims import VictimCheck, check_victim

IMAGES = torch.randint(0, 256, (5, 1, 6, 5), generator=torch.Generator().manual_seed(0)).byte()


def scores(x: Tensor) -> Tensor:
    return 5 * x[:, 0, ::2].sum(2)


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return scores(x)


class Forward(nn.Module):
    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.passed, self.wanted = forward, False

    def forward(self, x: Tensor) -> Tensor:
        self.wanted |= x.requires_grad
        return self.passed(x)


def check(module: nn.Module, *, surrogate: bool = False, gradient: bool = True) -> VictimCheck:
    return check_victim(
        module, name="net", shape=(1, 6, 5), classes=3, images=IMAGES, surrogate=surrogate, gradient=gradient
    )


def test_a_module_that_normalises_in_place_is_differentiable() -> None:
    assert check(Forward(lambda x: scores(x.sub_(0.1).div_(0.5))), surrogate=True).differentiable


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (_Once.apply, "^net: its gradient at a clean image failed: NotImplementedError"),
        (lambda x: torch.from_numpy(scores(torch.from_numpy(x.numpy())).numpy()), "^net: failed on images"),
    ],
    ids=["no backward", "through numpy"],
)
def test_a_module_without_a_backward_pass_is_a_victim_and_no_surrogate(
    forward: Callable[[Tensor], Tensor], message: str
) -> None:
    assert not check(Forward(forward)).differentiable
    with pytest.raises(ModelError, match=message):
        check(Forward(forward), surrogate=True)


def test_without_gradients_only_forward_passes_are_made() -> None:
    module = Forward(scores)
    assert not check(module, gradient=False).differentiable
    assert not module.wanted
    check(module)
    assert module.wanted
