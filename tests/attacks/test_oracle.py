"""Against torchattacks, an independent implementation: each row of the table in docs/attacks.md is measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchattacks as untyped
from torch import nn

from carom.attacks import Gradients, parse_attack
from carom.budget import Budget
from carom.draws import Draws

torchattacks: Any = untyped
DOCS = Path(__file__).parents[2] / "docs" / "attacks.md"
EIGHT = Budget.parse("linf", "8/255")


def rows() -> dict[str, tuple[str, str, str]]:
    """The table: attack to (difference, size, cause)."""
    lines = DOCS.read_text().split("## Differences from torchattacks")[1].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0] == ["attack", "difference", "size", "cause"]
    return {row[0]: (row[1], row[2], row[3]) for row in cells[2:]}


def table(name: str, **more: Any) -> dict[str, Any]:
    """With torchattacks' step of eps / 4."""
    return {"name": name, "step": "1/4", **more}


PAIRS: dict[str, tuple[object, Callable[[nn.Module], Any], int]] = {
    # row: (carom's attack, torchattacks', images at once)
    "fgsm": ("fgsm", lambda net: torchattacks.FGSM(net), 1),
    "bim": (table("bim"), lambda net: torchattacks.BIM(net), 1),
    "pgd": (table("bim"), lambda net: torchattacks.PGD(net, random_start=False), 1),
    "mi": (table("mi"), lambda net: torchattacks.MIFGSM(net), 1),
    "ni": (table("ni"), lambda net: torchattacks.NIFGSM(net), 1),
    "ni+si": (table("ni+si"), lambda net: torchattacks.SINIFGSM(net), 1),
    "mi+ti": (
        table("mi+ti", ti={"size": 15}),
        lambda net: torchattacks.TIFGSM(net, decay=1.0, diversity_prob=0.0),
        1,
    ),
    "mi+di": (
        table("mi+di", di={"probability": 0.0}),
        lambda net: torchattacks.DIFGSM(net, decay=1.0, diversity_prob=0.0),
        1,
    ),
    "mi, 8 images": (table("mi"), lambda net: torchattacks.MIFGSM(net), 8),
    "mi, vanishing gradient": (table("mi"), lambda net: torchattacks.MIFGSM(net), 1),
    "mi, defaults": ("mi", lambda net: torchattacks.MIFGSM(net), 1),
    "ti, defaults": ("ti", lambda net: torchattacks.TIFGSM(net), 1),
    "di, 8 images": (table("di"), lambda net: torchattacks.DIFGSM(net), 8),
}


def make_model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 16, 3), nn.Tanh(),
            nn.AdaptiveAvgPool2d(5), nn.Flatten(), nn.Linear(400, 10),
        ).eval()  # fmt: skip


def make_saturating_model() -> nn.Module:
    """Two logits that stop at -0.3 and 0.3: two steps from most clean images the gradient is exactly zero."""
    last = nn.Linear(3072, 2)
    signs = torch.randn(3072, generator=torch.Generator().manual_seed(0)).sign() / 64
    last.weight.data = torch.stack([signs, -signs])
    last.bias.data = -0.5 * last.weight.data.sum(1)
    return nn.Sequential(nn.Flatten(), last, nn.Hardtanh(-0.3, 0.3)).eval()


def test_the_table_and_the_comparisons_name_the_same_rows() -> None:
    assert list(rows()) == list(PAIRS)


@pytest.mark.thorough
@pytest.mark.parametrize("name", PAIRS)
def test_each_difference_is_as_large_as_the_docs_say(name: str, source_of: Any) -> None:
    torch.manual_seed(3)  # torchattacks draws from the global generator
    written, peer, at_once = PAIRS[name]
    model = make_saturating_model() if name == "mi, vanishing gradient" else make_model()
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    ours, theirs = [], []
    for begin in range(0, 8, at_once):
        rows_ = slice(begin, begin + at_once)
        gradients = Gradients(source_of([model]), x[rows_], y[rows_])
        ours.append(parse_attack(written)(gradients, EIGHT, Draws(0, torch.arange(8)[rows_])))
        theirs.append(peer(model)(x[rows_], y[rows_]))
    kind, relation, bound, *unit = rows()[name][1].split()
    difference = (torch.cat(ours) - torch.cat(theirs)).abs()
    assert kind in ("max", "pixels")
    measured = float(difference.max()) if kind == "max" else float((difference > 1e-6).double().mean())
    limit = float(bound) / (100 if unit == ["%"] else 1)
    assert measured <= limit if relation == "<=" else measured >= limit, measured
