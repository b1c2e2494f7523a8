"""What every attack promises, over the registry and over sums of its parts."""

from collections import OrderedDict
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from carom.attacks import (
    ATTACKS,
    Crafted,
    Gradients,
    Iterative,
    Oracle,
    Part,
    Partners,
    Passes,
    check_fits,
    craft,
    craft_images,
    parse_attack,
)
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Attack
from carom.zoo.architectures.resnet import ResidualBlock

SUMS = ["mi+di+ti", "ni+si", "pgd+mi", "fgsm+si", "si+pgd+ni+di"]
# what would take long, shorter; the settings do not change what is promised
QUICKER: dict[str, dict[str, Any]] = {
    "pas": {"pas": {"coefficients": [0.5]}},  # without any it would have to be searched first
    **{name: {name: {"copies": 3}} for name in ("sia", "ssm")},
    "bsr": {"bsr": {"copies": 6, "angle": 10.0, "blocks": 1}},
    "admix": {"admix": {"scales": 2, "partners": 2}},
    "emi": {"emi": {"samples": 3}},
    **{name: {name: {"samples": 4}} for name in ("fia", "naa", "bfa")},
    **{name: {name: {"neighbours": 3}} for name in ("vmi", "vni", "gra", "pgn")},
    "cw": {"searches": 3, "steps": 30},
    "square": {"queries": 60},
    "bayes": {"queries": 5, "initial": 4},
    "subspace-random": {"queries": 40},
    "transfer-then-query": {"query": {"name": "square", "queries": 20}},
    "autoattack": {"steps": 5, "queries": 30},
}
NAMES = [*ATTACKS, *SUMS]
LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")
BUDGETS = [LINF, L2]

IN_BOTH_NORMS = ("fgsm", "pgd", "mi", "di", "vmi", "svre", "ila", "deepfool", "cw", "square")  # the rest: `-m slow`


def attack_of(name: str) -> Attack:
    """In fewer steps, to save time."""
    several = isinstance(ATTACKS.get(name, ATTACKS["mi"]), Part) and "fgsm" not in name
    steps = {"steps": 5} if several else {}
    return parse_attack({"name": name, **steps, **QUICKER.get(name, {})})


def family(name: str) -> str:
    return ATTACKS[name].family if name in ATTACKS else "gradient"


def attacks_and_budgets(*left_out: str) -> pytest.MarkDecorator:
    """Every attack with each budget that it is defined for."""
    return pytest.mark.parametrize(
        ("name", "budget"),
        [
            pytest.param(
                name,
                budget,
                id=f"{name}-{budget.norm}",
                marks=[] if budget == LINF or name in IN_BOTH_NORMS else [pytest.mark.slow],
            )
            for name in NAMES
            if name not in left_out
            for budget in BUDGETS
            if budget.norm in attack_of(name).norms
        ],
    )


every_attack = pytest.mark.parametrize("name", NAMES)
every_attack_and_budget = attacks_and_budgets()


def partners() -> Partners:
    images = torch.rand(12, 3, 8, 7, generator=torch.Generator().manual_seed(5))
    return Partners(images, torch.arange(12) % 6)


def made(name: str, budget: Budget, source: Any, batch: Any, **options: Any) -> Crafted:
    attack = attack_of(name)
    (crafted,) = craft(
        [(attack, budget)], source, batch.pixels, batch.y, seed=1, ids=batch.ids, partners=partners(), **options
    )
    return crafted


def floats(name: str, budget: Budget, source: Any, batch: Any, rows: Any = slice(None), **options: Any) -> Tensor:
    """The same from float64 images, unrounded."""
    (crafted,) = craft_images(
        [(attack_of(name), budget)],
        source,
        batch.pixels[rows].double() / 255,
        batch.y[rows],
        seed=1,
        ids=batch.ids[rows],
        partners=partners(),
        **options,
    )
    return crafted.images


@every_attack
def test_a_norm_without_the_attack_is_refused(name: str) -> None:
    attack = attack_of(name)
    for budget in BUDGETS:
        if budget.norm not in attack.norms:
            with pytest.raises(InputError, match=f"{name} needs {attack.norms[0]} budgets, got {budget.norm}"):
                check_fits(attack, budget.norm, targeted=False, name=name)


@every_attack_and_budget
@pytest.mark.parametrize("targeted", [False, True])
def test_stays_in_the_ball_after_rounding_and_counts_its_passes(
    name: str, budget: Budget, targeted: bool, source: Any, batch: Any
) -> None:
    attack = attack_of(name)
    assert isinstance(attack, Attack)
    if targeted and not attack.targeted:
        with pytest.raises(InputError, match=f"{name} cannot aim"):
            check_fits(attack, budget.norm, targeted=True, name=name)
        return
    crafted = made(name, budget, source, batch, target=batch.target if targeted else None)
    images = crafted.images.int() - batch.pixels.int()
    size = images.abs().amax((1, 2, 3)) if budget.norm == "linf" else images.square().sum((1, 2, 3)).sqrt() / 255
    assert bool((size <= (16 if budget.norm == "linf" else 1.5)).all())
    each = Passes(attack.passes().forward * len(batch.y), attack.passes().backward * len(batch.y))
    if isinstance(attack, Iterative):
        # all of the budget, or most of it; in l2 a random start is nearly at a right angle to the step after it
        clean_start = attack.start == Iterative().start
        assert bool((size > (15 if budget.norm == "linf" else 1.0 if clean_start else 0.75)).all())
        assert crafted.passes == each
        assert crafted.zero_gradients == 0
    else:
        assert 0 < crafted.passes.forward <= each.forward
        assert crafted.passes.backward <= each.backward
    assert 0 <= crafted.model_seconds <= crafted.seconds
    for values in crafted.columns.values():
        assert len(values) == len(batch.y)


# a handful of queries need not raise the loss of every image
@attacks_and_budgets(*(name for name in NAMES if family(name) == "query"))
def test_untargeted_raises_and_targeted_lowers_the_loss(name: str, budget: Budget, source: Any, batch: Any) -> None:
    def loss(images: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = source.networks[0](images.float() / 255)
        return nn.functional.cross_entropy(logits, labels, reduction="none")

    assert bool((loss(made(name, budget, source, batch).images, batch.y) > loss(batch.pixels, batch.y)).all())
    if attack_of(name).targeted:
        aimed = made(name, budget, source, batch, target=batch.target).images
        assert bool((loss(aimed, batch.target) < loss(batch.pixels, batch.target)).all())


@attacks_and_budgets("bayes", "subspace-random")  # a handful of labels need not lead anywhere
def test_fools_its_own_source(name: str, budget: Budget, source: Any, source64: Any, batch: Any) -> None:
    wide = Budget(norm=budget.norm, eps=budget.eps * 4)
    if family(name) == "smallest":  # a hair beyond the boundary: eight bits may lose it
        images = floats(name, wide, source64, batch)
        assert bool((source64.networks[0](images).argmax(1) != batch.y).all())
        return
    predicted = source.networks[0](made(name, wide, source, batch).images.float() / 255).argmax(1)
    assert int((predicted != batch.y).sum()) >= 4


@pytest.mark.thorough
@every_attack
def test_same_seed_same_bytes(name: str, source: Any, batch: Any) -> None:
    budget = next(budget for budget in BUDGETS if budget.norm in attack_of(name).norms)
    one, two = (made(name, budget, source, batch) for _ in range(2))
    assert torch.equal(one.images, two.images)


# some of other libraries draw for the whole batch
@attacks_and_budgets(*(name for name in NAMES if not getattr(attack_of(name), "batch_independent", True)))
def test_an_image_depends_on_neither_its_batch_nor_its_place(
    name: str, budget: Budget, source64: Any, batch: Any
) -> None:
    whole = floats(name, budget, source64, batch)
    order = torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(floats(name, budget, source64, batch, order, chunk=2), whole[order], rtol=0, atol=1e-9)


@every_attack_and_budget
@pytest.mark.parametrize("scale", [0.0, pytest.param(1e-40, marks=pytest.mark.thorough), 1e30])
def test_zero_tiny_and_saturated_gradients_are_survived(
    name: str, budget: Budget, scale: float, source_of: Any, batch: Any
) -> None:
    """Scale 0: a constant network; 1e-40: gradients below the normal floats; 1e30: confidence 1, loss exactly 0."""
    last = nn.Linear(3 * 8 * 7, 6)
    weights = torch.linspace(-1, 1, last.weight.numel()).reshape_as(last.weight)
    idle = ResidualBlock(3, 3, stride=1)  # its branch is dead, so it changes nothing
    net = nn.Sequential(OrderedDict(stage1=idle, flatten=nn.Flatten(), head=last)).eval().requires_grad_(False)
    for parameter in idle.branch.parameters():
        parameter.zero_()
    last.weight.copy_(weights * min(scale, 1.0))
    last.bias.zero_()
    y = batch.y
    if scale > 1:
        last.bias[0] = scale
        y = torch.zeros_like(y)
    attack = attack_of(name)
    ((crafted),) = craft(
        [(attack, budget)], source_of([net]), batch.pixels, y, seed=1, ids=batch.ids, partners=partners()
    )
    if not isinstance(attack, Iterative) or attack.objective != Iterative().objective:
        return  # other losses are not saturated where cross-entropy is; that they end in the ball is all that is asked
    assert crafted.zero_gradients == (0 if scale == 1e-40 else 1)
    if scale != 1e-40 and attack.start == Iterative().start:
        assert torch.equal(crafted.images, batch.pixels)
    if scale == 1e-40:
        assert not torch.equal(crafted.images, batch.pixels)


@every_attack_and_budget
def test_no_radius_no_change(name: str, budget: Budget, source: Any, batch: Any) -> None:
    none = Budget(norm=budget.norm, eps=Fraction(0))
    x = batch.pixels.float() / 255
    gradients = Gradients(source, x, batch.y)
    gradients.oracle = Oracle(gradients.logits, len(x))
    x_adv = attack_of(name)(gradients, none, Draws(1, batch.ids))
    assert gradients.passes == Passes()
    assert x_adv.numpy().tobytes() == x.numpy().tobytes()
    assert torch.equal(made(name, none, source, batch).images, batch.pixels)


@pytest.mark.thorough
@every_attack
def test_results_carry_no_graph_even_from_a_network_with_trainable_weights(
    name: str, network: Any, source_of: Any, batch: Any
) -> None:
    net = network(0).requires_grad_(True)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    x = (batch.pixels.float() / 255).requires_grad_()
    attack = attack_of(name)
    budget = next(b for b in BUDGETS if b.norm in attack.norms)
    (crafted,) = craft_images(
        [(attack, budget)], source_of([net]), x, batch.y, seed=1, ids=batch.ids, partners=partners()
    )
    assert not crafted.images.requires_grad
    assert x.grad is None
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    # the model is the user's: no hook, no mode, no weight of it has changed
    assert not any(module.training or module._forward_hooks or module._backward_hooks for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(parse_attack(name), Iterative)])
def test_an_ensemble_is_attacked_whole_and_in_turn(name: str, network: Any, source_of: Any, batch: Any) -> None:
    attack = attack_of(name)
    assert isinstance(attack, Iterative)
    attack = replace(attack, steps=min(attack.steps, 3), step=Fraction(1, 2))
    for source, active in (
        (source_of([network(0), network(1)]), 2),
        (source_of([network(0), network(1)], in_turn=True), 1),
    ):
        (crafted,) = craft(
            [(attack, LINF)], source, batch.pixels, batch.y, seed=1, ids=batch.ids, partners=partners(), chunk=5
        )
        each = attack.passes(active, distinct=2)  # feature attacks look at each network once
        assert crafted.passes == Passes(each.forward * 5, each.backward * 5)
        assert not torch.equal(crafted.images, batch.pixels)


def test_attacks_run_inside_inference_mode(source: Any, batch: Any) -> None:
    outside = made("mi+di", LINF, source, batch).images
    with torch.inference_mode():
        assert torch.equal(made("mi+di", LINF, source, batch).images, outside)
        x = batch.pixels.float() / 255
        craft_images([(parse_attack("mi+di"), LINF)], source, x, batch.y, seed=1)
