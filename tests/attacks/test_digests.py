"""The bytes of every attack and control on a tiny network, pinned.

When a digest changes, raise the `version` of the component that changed, then run this file to write the new ones.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from carom.attacks import ATTACKS, CONTROLS, Partners, craft, craft_control, parse_attack, parse_control
from carom.budget import Budget
from carom.identity import content_key, tensor_digest
from carom.protocols import Classifier, Combination
from carom.zoo.architectures.resnet import ResidualBlock

FILE = Path(__file__).parent / "digests.json"
BUDGETS = {"linf": Budget.parse("linf", "16/255"), "l2": Budget.parse("l2", "1.5")}
# what would take long, shorter, and what has no defaults
QUICKER: dict[str, dict[str, Any]] = {
    "pas": {"pas": {"coefficients": [0.5]}},
    "cw": {"searches": 3, "steps": 30},
    "square": {"queries": 60},
    "bayes": {"queries": 8, "initial": 4},
    "subspace-random": {"queries": 40},
    "transfer-then-query": {"query": {"name": "square", "queries": 20}},
}
NAMES = [*ATTACKS, "mi+di+ti", "ni+si", *CONTROLS]


class Exact:
    """Float64 weights that are multiples of 1/16, so that no rounding of a machine shows in 8 bits."""

    def __init__(self) -> None:
        i = torch.arange(6 * 168, dtype=torch.float64)
        self.weight = (((i * i * 7 + i * 3) % 17 - 8) / 16).reshape(6, 168)

    def __call__(self, x: Tensor, /) -> Tensor:
        logits = x.double().flatten(1) @ self.weight.T / 4
        return logits + logits.square().roll(1, 1) / 8


class Residual(nn.Module):
    """A network in float64 with an inside, for attacks that change or read it."""

    def __init__(self) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {
            "stage1": ResidualBlock(3, 3, stride=1),
            "stage2": ResidualBlock(3, 3, stride=1),
            "flatten": nn.Flatten(),
            "head": nn.Linear(168, 6),
        }
        self.network = nn.Sequential(OrderedDict(layers)).double().eval().requires_grad_(False)
        for parameter in self.parameters():
            i = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((((i * i * 7 + i * 3) % 17 - 7) / 16).reshape(parameter.shape))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.double())
        return logits


class ExactSource:
    combination: Combination = "logits"

    def __init__(self, inside: bool) -> None:
        self.network = Residual() if inside else Exact()

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        return [self.network]


def measured(name: str, norm: str) -> dict[str, str]:
    """What is asked (versions are in it), and what comes."""
    budget = BUDGETS[norm]
    i = torch.arange(5 * 168)
    pixels = ((i * i * 31 + i * 57) % 256).to(torch.uint8).reshape(5, 3, 8, 7)
    y, ids = torch.arange(5), torch.tensor([5, 0, 123456789, -1, 77])
    if name in CONTROLS:
        control = parse_control(name)
        ((crafted), asked) = (craft_control([(control, budget)], pixels, seed=1, ids=ids)[0], control)
        return {"key": content_key(asked, budget), "digest": tensor_digest({"images": crafted.images})}
    attack = parse_attack({"name": name, **QUICKER.get(name, {})})
    if norm not in attack.norms:
        return {"key": content_key(attack, budget), "digest": f"not defined for {norm}"}
    source = ExactSource(inside=name in ATTACKS and ATTACKS[name].family in ("path", "objective"))
    partners = Partners(pixels.flip(0).float() / 255, torch.arange(5))
    (crafted,) = craft([(attack, budget)], source, pixels, y, seed=1, ids=ids, partners=partners)
    return {"key": content_key(attack, budget), "digest": tensor_digest({"images": crafted.images})}


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", BUDGETS)
def test_bytes_change_only_with_the_version(name: str, norm: str) -> None:
    pinned = json.loads(FILE.read_text()).get(f"{name} {norm}")
    assert pinned is not None, f"no digest of {name}; run {Path(__file__).name}"
    now = measured(name, norm)
    if now["digest"] != pinned["digest"]:
        assert now["key"] != pinned["key"], f"{name} makes other images: raise the version of what changed"
    assert now == pinned, f"the question has changed; if that was meant, run {Path(__file__).name}"


def write() -> None:
    """Write what is new; refuse to change bytes under the same versions."""
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    now = {f"{name} {norm}": measured(name, norm) for name in NAMES for norm in BUDGETS}
    for name, entry in now.items():
        old = known.get(name, entry)
        if old["key"] == entry["key"] and old["digest"] != entry["digest"]:
            raise SystemExit(f"{name} makes other images: raise the version of what changed first")
    FILE.write_text(json.dumps(now, indent=1) + "\n")


if __name__ == "__main__":
    write()
