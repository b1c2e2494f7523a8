"""Early stopping: every epoch is judged, and the one that transfers best is kept."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from tests.surrogates.conftest import ground, images, plain
from torch import Tensor, nn

from carom.attacks.iterative import Iterative
from carom.attacks.momentum.momentum import Momentum
from carom.budget import Budget
from carom.errors import InputError
from carom.identity import content_key
from carom.surrogates.builder import Chain, Refinement, Training, build
from carom.surrogates.flatness.early_stopping import EarlyStopping
from carom.surrogates.networks.single import Single
from carom.surrogates.trajectory.checkpoints import Checkpoints
from carom.zoo.training.ground import Ground
from carom.zoo.training.recipes import Adaptation

CHAIN = Chain(first=Checkpoints(), then=(EarlyStopping(images=24, eps=Fraction(32, 255), steps=10),))

LARGE = Fraction(16, 255)


def judged(name: str = "mlp", **changes: object) -> Ground:
    """An attacker with two validation victims, trained apart."""
    here = ground(name, recipe=plain(epochs=4, learning_rate=0.02))
    judges = [replace(here, seed=seed).trained(plain(epochs=4)).classifier() for seed in (11, 12)]
    return replace(here, judges=judges, judging=images(60, seed=5, first_id=20_000), **changes)  # type: ignore[arg-type]


def test_they_are_a_training_and_a_refinement() -> None:
    assert isinstance(Checkpoints(), Training)
    assert isinstance(Checkpoints(), Adaptation)
    assert isinstance(EarlyStopping(), Refinement)
    assert CHAIN.count == 1
    assert CHAIN.judged


def test_the_checkpoint_that_transfers_best_is_kept() -> None:
    here = judged()
    given = [s.weights for s in here.trained(Checkpoints().recipe(here.recipe)).samples]
    # a checkpoint without gradients fools nobody, wherever it stands
    dead = {name: torch.zeros_like(tensor) for name, tensor in given[0].items()}
    stage = EarlyStopping(images=24, eps=Fraction(32, 255), steps=10)
    for place, weights in enumerate(([given[-1], dead], [dead, given[-1]])):
        made = stage.build(here, weights)
        assert made.members[0] is given[-1]
        rates = made.record["asr"]
        assert isinstance(rates, list)
        assert rates[1 - place] == 0
        assert rates[place] > 0
        assert made.record["chosen"] == place + 1


def test_a_rate_is_the_share_of_wrong_answers_over_images_and_victims() -> None:
    here = judged()
    stage = EarlyStopping(images=1000, eps=Fraction(32, 255), steps=10)
    weights = here.trained(here.recipe).last
    classifier = here.classifier(weights)
    assert here.judging is not None
    x, y = here.judging.pixels, here.judging.labels
    right = torch.stack([judge(x).argmax(1) == y for judge in here.judges]).all(0)
    x, y = x[right], y[right]
    x_adv = x
    for _ in range(10):
        point = x_adv.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(classifier(point), y, reduction="sum"), point)
        step = x_adv + 32 / 255 / 10 * gradient.sign()
        x_adv = torch.max(torch.min(step, x + 32 / 255), x - 32 / 255).clamp(0, 1)
    wrong = torch.stack([judge((x_adv * 255).round() / 255).argmax(1) != y for judge in here.judges])
    made = stage.build(here, [weights])
    assert made.record["judged_images"] == int(right.sum())
    assert made.record["asr"] == [pytest.approx(float(wrong.float().mean()), abs=0.5 / wrong.numel())]
    assert made.passes.forward == made.passes.backward == 10 * int(right.sum())


def test_of_equals_the_latest() -> None:
    here = judged()
    weights = here.trained(here.recipe).last
    again = {name: tensor.clone() for name, tensor in weights.items()}
    assert EarlyStopping(images=8, eps=Fraction(8, 255), steps=2).build(here, [weights, again]).record["chosen"] == 2


def test_a_chain_ends_with_one_of_the_training_s_epochs() -> None:
    here = judged()
    made = build(CHAIN, here)
    rates, place = made.record["asr"], made.record["chosen"]
    assert isinstance(rates, list)
    assert isinstance(place, int)
    assert len(made.members) == 1
    assert rates[place - 1] == max(rates)


def test_it_says_how_far_it_is() -> None:
    told: list[tuple[int, int, dict[str, float]]] = []
    here = judged()
    weights = here.trained(here.recipe).last
    telling = replace(here, progress=lambda *numbers: told.append(numbers))
    EarlyStopping(images=8, eps=Fraction(8, 255), steps=2).build(telling, [weights, weights, weights])
    assert [(done, total) for done, total, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert all(set(numbers) == {"asr"} for *_, numbers in told)


def test_without_validation_victims() -> None:
    here = ground("mlp")
    with pytest.raises(InputError, match=r"0 validation victims and 0 images.*add validation victims"):
        EarlyStopping(eps=Fraction(8, 255), steps=2).build(here, [])


def test_victims_that_know_nothing() -> None:
    def wrong(x: Tensor) -> Tensor:
        return torch.zeros(len(x), 3).index_fill_(1, torch.tensor([2]), 1.0)

    def wrong_too(x: Tensor) -> Tensor:
        return torch.zeros(len(x), 3)

    here = replace(ground("mlp"), judges=[wrong, wrong_too], judging=images(30))
    with pytest.raises(InputError, match="none of 30 validation images is right for all of 2"):
        EarlyStopping(eps=Fraction(8, 255), steps=2).build(here, [])


def test_what_is_left_out_is_the_scenarios() -> None:
    budgets = [Budget.parse(norm, eps) for norm, eps in (("l2", 3), ("linf", "8/255"), ("linf", "16/255"))]
    mi = Iterative(momentum=Momentum(), steps=50, step=Fraction(1, 10))
    plainly = EarlyStopping().against(mi, budgets)
    assert (plainly.attack, plainly.norm, plainly.eps) == (mi, "linf", LARGE)
    of_its_own = EarlyStopping(steps=7, norm="l2").against(mi, budgets)
    assert of_its_own.attack == Iterative(steps=7, step=Fraction(1, 10))
    assert (of_its_own.norm, of_its_own.eps) == ("l2", Fraction(3))
    keys = {
        content_key(EarlyStopping().against(attack, chosen))
        for attack in (mi, Iterative(steps=50, step=Fraction(1, 10)))
        for chosen in (budgets[:2], budgets)
    }
    assert len(keys) == 4  # what it judges with is part of the key


def test_it_judges_with_the_attack_and_the_budget_that_it_was_given() -> None:
    """A scenario's attack of 1 step in a ball of 40/255 leads to the rate of just that, by hand."""
    here = judged()
    weights = here.trained(here.recipe).last
    classifier = here.classifier(weights)
    assert here.judging is not None
    x, y = here.judging.pixels, here.judging.labels
    right = torch.stack([judge(x).argmax(1) == y for judge in here.judges]).all(0)
    x, y = x[right], y[right]
    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(classifier(point), y, reduction="sum"), point)
    x_adv = (x + 40 / 255 * gradient.sign()).clamp(0, 1)
    wrong = torch.stack([judge((x_adv * 255).round() / 255).argmax(1) != y for judge in here.judges])
    stage = EarlyStopping(images=1000).against(
        Iterative(steps=1, step=Fraction(1)), [Budget(norm="linf", eps=Fraction(40, 255))]
    )
    made = stage.build(here, [weights])
    assert made.record["asr"] == [pytest.approx(float(wrong.float().mean()), abs=0.5 / wrong.numel())]


@pytest.mark.parametrize(
    ("stage", "message"),
    [(EarlyStopping(), "give it steps"), (EarlyStopping(steps=3), "give it eps"), (EarlyStopping(norm="l2"), "steps")],
)
def test_nothing_to_judge_with_is_one_line(stage: EarlyStopping, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        stage.build(judged(), [])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", [{"steps": 0}, {"images": -1}, {"eps": Fraction(0)}, {"step": Fraction(0)}])
def test_settings_out_of_range(setting: dict[str, int | Fraction]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(setting))} must be more than 0"):
        EarlyStopping(**setting)  # type: ignore[arg-type]


def test_it_takes_several() -> None:
    with pytest.raises(InputError, match="takes weights of one training"):
        Chain(first=None, then=(EarlyStopping(),))
    assert Chain(first=Single(), then=(EarlyStopping(),)).count == 1
