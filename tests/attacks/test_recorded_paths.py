"""Model paths against what TransferAttack made on the same networks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.resnet import BasicBlock, Bottleneck

from carom.attacks import PAS, SGM, Ghost, Iterative, LinBP, Momentum, Path
from carom.attacks.paths import knobs

from .recorded import Asked, Entry, assert_equal, differ, names, needs_recording, recording

pytestmark = needs_recording


def along(path: Path, entry: Entry, **more: Any) -> dict[str, Tensor]:
    """What momentum along this path makes in place of the recorded run."""
    attack = Iterative(momentum=Momentum(decay=entry.decay), path=path, steps=entry.steps, step=entry.step)
    return recording().run(entry, attack, **more)


def blocks_of(entry: Entry) -> list[str]:
    """Names of the residual blocks of the run's network, in their order."""
    (name,) = entry.networks
    behind = recording().network(name).get_submodule("network")
    return [name for name, module in behind.named_modules() if isinstance(module, BasicBlock | Bottleneck)]


@pytest.mark.parametrize("name", names("LinBP"))
def test_linbp_is_linear_inside_the_branches_from_its_start_on(name: str) -> None:
    entry = recording().entry(name)
    stage, block = str(entry.arguments["linbp_layer"]).split("_")
    assert_equal(along(LinBP(start=f"layer{stage}.{block}"), entry), entry)


@pytest.mark.parametrize("name", names("SGM"))
def test_sgm_leaves_the_first_block_of_each_stage(name: str) -> None:
    entry = recording().entry(name)
    gamma = float(entry.number("gamma"))
    assert_equal(along(SGM(gamma=gamma), entry), entry)
    assert differ(along(SGM(gamma=gamma, first_blocks=True), entry), entry, 1e-9)["adv"] > 0.2


@pytest.mark.parametrize("name", names("SGM"))
def test_pas_begins_its_search_with_the_recorded_sgm(name: str) -> None:
    entry = recording().entry(name)
    (network,) = (recording().network(each) for each in entry.networks)
    gamma = float(entry.number("gamma"))
    later = tuple(f"branch:{block}." for block in blocks_of(entry) if not block.endswith(".0"))
    shares = {
        knob: gamma if knob.startswith(later) else 1.0
        for knob in knobs(network, tuple(recording().x.shape[1:]))  # type: ignore[arg-type]
    }
    assert later
    assert sum(knob.startswith(later) for knob in shares) == len(later)
    assert_equal(along(PAS(coefficients=tuple(shares.values())), entry), entry)


def factors(entry: Entry) -> Callable[[slice], Callable[[Asked], Tensor | None]]:
    """The recorded factors as the draws that they come from: the skip of each block, in order, channel by channel."""
    given, spread = entry.array("factors"), float(entry.number("ghost_random_range"))
    blocks = blocks_of(entry)

    def answer(asked: Asked) -> Tensor | None:
        (block,) = (number for number, name in enumerate(blocks) if f" {name}." in asked.purpose)
        (channels,) = asked.shape
        return ((given[asked.step, block, :channels] - 1) / spread + 1)[None] / 2

    return lambda rows: answer


@pytest.mark.parametrize("name", names("GhostBottleneck under MIFGSM"))
def test_ghosts_scale_every_skip(name: str) -> None:
    entry = recording().entry(name)
    network, x = recording().network(entry.networks[0]), recording().x
    before = network(x)
    made = along(Ghost(spread=float(entry.number("ghost_random_range"))), entry, answer=factors(entry))
    assert_equal(made, entry)
    assert differ(along(Ghost(), entry, answer=lambda rows: lambda asked: None), entry, 1e-9)["adv"] > 0.1
    assert torch.equal(network(x), before)
