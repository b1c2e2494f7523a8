"""What attacks of other libraries are run in, so that nothing outside is changed.

They draw from torch's global generator for a whole batch at once, so their sets depend on how the images are cut into
chunks. Each run seeds that generator from the attack's seed and the ids of the images at hand. All that they could
change outside themselves is put back.
"""

import contextlib
import hashlib
import importlib
import io
import random
import warnings
from collections.abc import Iterator, Mapping
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from carom.budget import Norm
from carom.draws import Draws
from carom.errors import CaromError, ContractError, InputError, one_line
from carom.protocols import Reader

THEIR_NORM: Mapping[Norm, str] = {"linf": "Linf", "l2": "L2"}


class Answers(nn.Module):
    """A chunk's target as one torch module: the active members combined, every pass counted.

    The members are no submodules, so nobody's `train()` or `eval()` reaches them.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = (reader,)
        # what is asked for the device is a parameter
        self.anchor = nn.Parameter(torch.zeros((), device=reader.x.device), requires_grad=False)
        self.eval()

    @override
    def forward(self, x: Tensor) -> Tensor:
        (reader,) = self._reader
        return reader.answer(x.to(reader.x.dtype)).to(x.dtype)


@contextlib.contextmanager
def contained(reader: Reader, draws: Draws, name: str) -> Iterator[int]:
    """Seeds every generator, silences, and puts everything back; gives the seed.

    Raises:
        ContractError: Whatever was raised inside, but carom's own errors, which pass.
    """
    digest = hashlib.sha256(f"{draws.seed}|{name}|".encode() + draws.ids.cpu().numpy().tobytes())
    seed = int.from_bytes(digest.digest()[:4], "big") >> 1
    modules = {m for member in reader.members() if isinstance(member, nn.Module) for m in member.modules()}
    trainable = [(p, p.grad) for module in modules for p in module.parameters(recurse=False) if p.requires_grad]
    training = [(module, module.training) for module in modules]
    cudnn = torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark
    strict, lenient = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  they draw from it
    with (
        torch.random.fork_rng(devices=[reader.x.device] if reader.x.is_cuda else []),
        torch.enable_grad(),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            for parameter, _ in trainable:  # they call backward, which would leave gradients here
                parameter.requires_grad_(False)
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield seed
        except CaromError:
            raise
        except Exception as error:
            raise ContractError(f"{name} failed: {one_line(error)}") from error
        finally:
            for parameter, gradient in trainable:
                parameter.requires_grad_(True)
                parameter.grad = gradient
            for module, mode in training:
                module.training = mode
            cudnn.deterministic, cudnn.benchmark = flags
            torch.use_deterministic_algorithms(strict, warn_only=lenient)
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002


def library(name: str, install: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{name} cannot be imported ({one_line(error)}); install it: {install}") from None
