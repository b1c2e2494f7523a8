"""Attacks of other libraries: by name, in the ball, contained, and as the libraries run them alone."""

import inspect
import random
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pyautoattack as untyped_too
import pytest
import torch
import torchattacks as untyped
from torch import Tensor, nn

from carom.attacks import Crafted, Gradients, Passes, check_fits, craft, craft_images, parse_attack
from carom.attacks.libraries.autoattack import AutoAttack
from carom.attacks.libraries.torchattacks import TorchAttacks
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import ContractError, InputError
from carom.identity import content_key

torchattacks: Any = untyped
pyautoattack: Any = untyped_too
BUDGETS = {"linf": Budget.parse("linf", "16/255"), "l2": Budget.parse("l2", "1.5")}
SHORT = {"steps": 5, "queries": 20}
SOME = [
    ("FGSM", {}),
    ("PGD", {}),
    ("MIFGSM", {}),
    ("VMIFGSM", {"steps": 3}),
    ("CW", {"steps": 10}),
    ("DeepFool", {}),
    ("Square", {"n_queries": 20}),
    ("Jitter", {}),
    ("EOTPGD", {"steps": 3}),
    ("PGDL2", {}),
    ("PIFGSM", {}),
    ("GN", {}),
    ("OnePixel", {}),
]


def made(attack: Any, norm: str, source: Any, batch: Any, **options: Any) -> Crafted:
    (crafted,) = craft([(attack, BUDGETS[norm])], source, batch.pixels, batch.y, seed=1, ids=batch.ids, **options)
    return crafted


def inside(images: Tensor, batch: Any, norm: str) -> bool:
    change = images.int() - batch.pixels.int()
    if norm == "linf":
        return int(change.abs().max()) <= 16
    return bool((change.square().sum((1, 2, 3)) <= (1.5 * 255) ** 2).all())


def vars_of(attack: Any) -> tuple[object, ...]:
    return type(attack), attack.name, attack.settings


def linear(classes: int, slope: float, lead: float = 0.0) -> nn.Module:
    """Random rows; class 2 has a head start."""
    layer = nn.Linear(3 * 8 * 7, classes).requires_grad_(False)
    layer.weight.copy_(slope * torch.randn(classes, 168, generator=torch.Generator().manual_seed(classes)))
    layer.bias.zero_()
    layer.bias[min(2, classes - 1)] = lead
    return nn.Sequential(nn.Flatten(), layer).eval()


@pytest.mark.parametrize("name", torchattacks.__all__)
def test_every_class_resolves_or_says_why_not(name: str) -> None:
    if name in ("LGV", "MultiAttack"):
        with pytest.raises(InputError, match=f"torchattacks:{name} is made of other attacks or models"):
            parse_attack(f"torchattacks:{name}")
        return
    attack = parse_attack(f"torchattacks:{name}")
    assert isinstance(attack, TorchAttacks)
    assert set(attack.norms) <= {"linf", "l2"}
    cls = getattr(torchattacks, name)
    said = (cls.__doc__ or "").split("Distance Measure")[-1].splitlines()[0].lower()
    for norm in ("linf", "l2"):  # as its own documentation says, where it speaks of one of ours
        if norm in said:
            assert norm in attack.norms


@pytest.mark.parametrize(("name", "settings"), SOME)
@pytest.mark.parametrize("targeted", [False, True])
def test_runs_and_stays_in_the_ball_after_rounding(
    name: str, settings: Any, targeted: bool, source: Any, batch: Any
) -> None:
    attack = parse_attack({"name": f"torchattacks:{name}", **settings})
    norm = attack.norms[0]
    if targeted and not attack.targeted:
        with pytest.raises(InputError, match="cannot aim at a class"):
            check_fits(attack, norm, targeted=True, name=name)
        with pytest.raises(InputError, match="cannot aim at a class"):
            made(attack, norm, source, batch, target=batch.target)
        return
    crafted = made(attack, norm, source, batch, target=batch.target if targeted else None)
    assert inside(crafted.images, batch, norm)
    assert name in ("CW", "OnePixel", "Square") or not torch.equal(crafted.images, batch.pixels)
    most = attack.passes()
    assert crafted.passes.forward <= 5 * most.forward
    assert crafted.passes.backward <= 5 * most.backward
    assert crafted.columns["projected"].shape == (5,)
    if name in ("GN", "FGSM"):
        assert bool((crafted.columns["projected"] == (name == "GN")).all())


@pytest.mark.parametrize("name", ["FGSM", "BIM", "MIFGSM", "NIFGSM"])
@pytest.mark.parametrize("targeted", [False, True])
def test_equals_the_library_alone(name: str, targeted: bool, source: Any, batch: Any) -> None:
    x = batch.pixels.float() / 255
    theirs = getattr(torchattacks, name)(source.networks[0], eps=16 / 255)
    if targeted:
        theirs.set_mode_targeted_by_label(quiet=True)
    expected = theirs(x, batch.target if targeted else batch.y)
    (crafted,) = craft_images(
        [(parse_attack(f"torchattacks:{name}"), BUDGETS["linf"])],
        source, x, batch.y, seed=1, target=batch.target if targeted else None,
    )  # fmt: skip
    torch.testing.assert_close(crafted.images, expected, rtol=0, atol=1e-6)


def test_targeted_and_untargeted_differ_in_sign(source: Any, batch: Any) -> None:
    """27: labels given as targets, or targets as labels, would show here."""
    attack = parse_attack("torchattacks:BIM")

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = source.networks[0](images.float() / 255)
        return nn.functional.cross_entropy(logits, labels, reduction="none")

    away = made(attack, "linf", source, batch).images
    towards = made(attack, "linf", source, batch, target=batch.target).images
    assert bool((loss(away, batch.y) > loss(batch.pixels, batch.y)).all())
    assert bool((loss(towards, batch.target) < loss(batch.pixels, batch.target)).all())


def test_settings_change_the_attack_and_its_key(source: Any, batch: Any) -> None:
    """31: what is written is what runs."""
    plain, set_ = parse_attack("torchattacks:PGD"), parse_attack({"name": "torchattacks:PGD", "alpha": "1/255"})
    assert content_key(plain) != content_key(set_)
    assert vars_of(set_) == vars_of(TorchAttacks(name="PGD", settings=(("alpha", 1 / 255),)))
    one, two = (made(attack, "linf", source, batch).images for attack in (plain, set_))
    assert not torch.equal(one, two)
    assert content_key(parse_attack("autoattack:rand")) != content_key(parse_attack("autoattack:standard"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("torchattacks:PDG", "unknown attack 'PDG'; did you mean 'PGD'"),
        ({"name": "torchattacks:PGD", "stps": 3}, "unknown key 'stps'; did you mean 'steps'"),
        ({"name": "torchattacks:PGD", "eps": 0.1}, "'eps' comes from the budget"),
        ({"name": "torchattacks:PIFGSM", "max_epsilon": 0.1}, "'max_epsilon' comes from the budget"),
        ({"name": "torchattacks:Square", "norm": "L2"}, "'norm' comes from the budget"),
        ({"name": "torchattacks:PGD", "random_start": "no"}, "random_start: expected a value such as True, got 'no'"),
        ({"name": "torchattacks:PGD", "alpha": True}, "alpha: expected a value such as"),
        ({"name": "torchattacks:AutoAttack", "version": "all"}, "Not valid version"),
        ("autoattack:standrad", "unknown suite 'standrad'; did you mean 'standard'"),
        ("autoattack:apgd-ce+sqare", "unknown attack 'sqare'; did you mean 'square'"),
        ("autoattack:square+square", "each once"),
        ({"name": "autoattack:standard", "steps": 0}, "steps must be at least 1, got 0"),
        ({"name": "autoattack:standard", "step": 1}, "unknown key 'step'; did you mean 'steps'"),
        ("torchattack:PGD", "unknown attack library 'torchattack'; did you mean 'torchattacks'"),
    ],
)
def test_errors_are_one_line(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        parse_attack(value)
    assert "\n" not in str(error.value)


def test_norms_are_checked(source: Any, batch: Any) -> None:
    attack = parse_attack("torchattacks:PGDL2")
    with pytest.raises(InputError, match="needs l2 budgets, got linf"):
        check_fits(attack, "linf", targeted=False, name="PGDL2")
    with pytest.raises(InputError, match="needs l2 budgets, got linf"):
        made(attack, "linf", source, batch)


@pytest.mark.parametrize(
    ("name", "library"), [("torchattacks:PGD", "torchattacks"), ("autoattack:rand", "pyautoattack")]
)
def test_a_missing_library_says_how_to_install_it(name: str, library: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match="pip install"):
        parse_attack(name)


@pytest.mark.parametrize("name", ["torchattacks:PGD", "autoattack:standard"])
def test_seeded_by_the_seed_and_the_images_whatever_the_global_state(name: str, source: Any, batch: Any) -> None:
    """32: their own default seeds are fixed or the time, and numpy's and python's generators are drawn from too."""
    attack = parse_attack({"name": name, **(SHORT if name.startswith("auto") else {})})
    torch.manual_seed(5)
    one = made(attack, "linf", source, batch).images
    torch.manual_seed(6)
    random.seed(6)
    np.random.seed(6)  # noqa: NPY002
    assert torch.equal(made(attack, "linf", source, batch).images, one)
    (other,) = craft([(attack, BUDGETS["linf"])], source, batch.pixels, batch.y, seed=2, ids=batch.ids)
    assert not torch.equal(other.images, one)
    assert not type(attack).batch_independent  # type: ignore[attr-defined]


@pytest.fixture(params=["torchattacks:CW", "autoattack:standard", "broken"])
def contained(request: Any, monkeypatch: Any) -> Iterator[Any]:
    if request.param == "broken":
        monkeypatch.setattr(torchattacks.PGD, "forward", lambda *_: 1 / 0)
        yield parse_attack("torchattacks:PGD"), "linf"
    else:
        yield parse_attack({"name": request.param, **(SHORT if "auto" in request.param else {"steps": 3})}), "l2"


def test_global_state_is_put_back(contained: Any, network: Any, source_of: Any, batch: Any, monkeypatch: Any) -> None:
    attack, norm = contained
    net = network(0).requires_grad_(True)
    modules = list(net.modules())
    modules[2].train()
    modes = [module.training for module in modules]
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state(legacy=False)  # noqa: NPY002
    taken: list[Any] = []  # python's generator is drawn from by the type checks too, so what is put back is watched
    given: list[Any] = []
    getstate, setstate = random.getstate, random.setstate

    def take() -> Any:
        taken.append(getstate())
        return taken[-1]

    def give(state: Any) -> None:
        given.append(state)
        setstate(state)

    monkeypatch.setattr(random, "getstate", take)
    monkeypatch.setattr(random, "setstate", give)
    with torch.no_grad():
        if norm == "linf":
            with pytest.raises(ContractError, match="torchattacks:PGD failed: ZeroDivisionError"):
                made(attack, norm, source_of([net]), batch)  # 34: not the clean images and an ASR of 0
        else:
            made(attack, norm, source_of([net]), batch)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_equal(np.random.get_state(legacy=False), before[1])  # noqa: NPY002
    assert len(given) == 1
    assert given == taken
    assert [module.training for module in modules] == modes
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in modules)


def test_several_members_are_combined_and_counted(network: Any, source_of: Any, batch: Any) -> None:
    nets = [network(0), network(1)]

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mean: Tensor = (nets[0](x) + nets[1](x)) / 2
            return mean

    x = batch.pixels.float() / 255
    gradients = Gradients(source_of(nets), x, batch.y)
    x_adv = parse_attack("torchattacks:BIM")(gradients, BUDGETS["linf"], Draws(1, batch.ids))
    alone = Mean().eval()
    alone.anchor = nn.Parameter(torch.zeros(()))
    expected = torchattacks.BIM(alone, eps=16 / 255)(x, batch.y)
    torch.testing.assert_close(x_adv, expected, rtol=0, atol=1e-6)
    assert gradients.passes == Passes(5 * 10 * 2, 5 * 10 * 2)
    assert parse_attack("torchattacks:BIM").passes(2) == Passes(20, 20)


def test_the_number_of_classes_is_the_models(source: Any, batch: Any) -> None:
    """26: torchattacks' own default is 10 classes whatever the model has."""
    made(parse_attack({"name": "torchattacks:APGDT", "steps": 2}), "linf", source, batch)
    with pytest.raises(InputError, match="n_classes is 10, but the model has 6"):
        made(parse_attack({"name": "torchattacks:APGDT", "n_classes": 10}), "linf", source, batch)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("classes", [2, 3, 4, 12])
def test_autoattack_with_any_number_of_classes(norm: str, classes: int, source_of: Any, batch: Any) -> None:
    net = linear(classes, 0.02)
    y = net(batch.pixels.float() / 255).argmax(1)
    attack = parse_attack({"name": "autoattack:standard", **SHORT})
    (crafted,) = craft([(attack, BUDGETS[norm])], source_of([net]), batch.pixels, y, seed=1, ids=batch.ids)
    assert inside(crafted.images, batch, norm)
    assert crafted.passes.forward <= 5 * attack.passes().forward
    assert crafted.passes.backward <= 5 * attack.passes().backward
    assert crafted.passes.forward > 5 * 6
    if classes < 4:
        named = parse_attack({"name": "autoattack:apgd-t", **SHORT})
        with pytest.raises(InputError, match=f"apgd-t needs 4 classes, the model has {classes}"):
            craft([(named, BUDGETS[norm])], source_of([net]), batch.pixels, y, seed=1, ids=batch.ids)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_autoattack_keeps_the_last_word_of_images_that_stand(norm: str, source_of: Any, batch: Any) -> None:
    """The library gives their clean images back, which fool nobody else either."""
    net = linear(6, 0.02, lead=5.0)
    y = torch.full((5,), 2)
    y[0] = 3  # and one that is misclassified already
    attack = parse_attack({"name": "autoattack:standard", **SHORT})
    (crafted,) = craft([(attack, BUDGETS[norm])], source_of([net]), batch.pixels, y, seed=1, ids=batch.ids)

    def margin(images: Tensor) -> Tensor:
        logits: Tensor = net(images.float() / 255)
        own = logits.gather(1, y[:, None])[:, 0]
        return own - logits.scatter(1, y[:, None], float("-inf")).amax(1)

    assert bool((crafted.images != batch.pixels).flatten(1).any(1).all())
    assert bool((margin(crafted.images) < margin(batch.pixels)).all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_autoattack_equals_the_library_on_what_it_breaks(norm: str, source: Any, batch: Any, monkeypatch: Any) -> None:
    x, seed = batch.pixels.float() / 255, 77
    budget = Budget(norm=BUDGETS[norm].norm, eps=BUDGETS[norm].eps * 2)
    theirs: Any = pyautoattack.AutoAttack(
        source.networks[0], norm={"linf": "Linf", "l2": "L2"}[norm], eps=float(budget.eps), seed=seed,
        version="custom", attacks=["apgd-ce"],
    )  # fmt: skip
    theirs.apgd.n_restarts = 1
    attack = AutoAttack(suite=("apgd-ce",))
    monkeypatch.setattr(theirs, "verbose", False)
    expected, _ = theirs.run_standard_evaluation(x, batch.y)
    gradients = Gradients(source, x, batch.y)
    with monkeypatch.context() as patch:
        # the seed is a hash of seed and ids; here it is theirs
        patch.setattr(torch, "manual_seed", lambda _, real=torch.manual_seed: real(seed))
        x_adv = attack(gradients, budget, Draws(1, batch.ids))
    broken = source.networks[0](expected).argmax(1) != batch.y
    assert int(broken.sum()) >= 2
    torch.testing.assert_close(x_adv[broken], expected[broken], rtol=0, atol=1e-5)
    assert gradients.passes == Passes(5 * 102, 5 * 101)


@pytest.mark.parametrize("name", ["torchattacks:PGD", "autoattack:standard"])
def test_no_radius_no_change_and_no_cost(name: str, source: Any, batch: Any) -> None:
    none = Budget(norm="linf", eps=Fraction(0))
    (crafted,) = craft([(parse_attack(name), none)], source, batch.pixels, batch.y, seed=1, ids=batch.ids)
    assert torch.equal(crafted.images, batch.pixels)
    assert crafted.passes == Passes()


def test_nothing_is_imported_before_it_is_needed() -> None:
    text = inspect.getsource(sys.modules["carom.attacks.libraries.torchattacks"])
    assert not re.findall(r"(?m)^\s*(?:import|from) +(?:torchattacks|pyautoattack)", text)


def test_what_is_not_finite_is_an_error(source: Any, batch: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(torchattacks.FGSM, "forward", lambda _, x, y: x * float("nan"))
    with pytest.raises(ContractError, match="not finite"):
        made(parse_attack("torchattacks:FGSM"), "linf", source, batch)
