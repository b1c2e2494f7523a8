"""The gate raises an alarm for each way to mask gradients, and none for an honest network."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from scipy.stats import binomtest  # type: ignore[attr-defined]
from torch import Tensor, nn
from typing_extensions import override

from carom.alarms import alarms
from carom.budget import Budget
from carom.defenses.masking import Examined, examined
from carom.defenses.wrappers.noise import Noise
from carom.errors import InputError
from carom.zoo.models.classifier import Classifier
from carom.zoo.preprocessing import Preprocessing

from .conftest import images as made

BUDGET = Budget(norm="linf", eps=Fraction(32, 255))


def classifier(network: nn.Module) -> Classifier:
    plain = Preprocessing(mean=(0.0,), std=(1.0,))
    return Classifier(network, shape=(1, 8, 8), classes=3, preprocessing=plain, architecture="test").eval()


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A small network that knows the three classes."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 3)
        )
    train = made(192)
    x, y = train.images.float() / 255, train.labels
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(x), y))
        optimizer.step()
    return network


def look(network: nn.Module, n: int = 30, budget: Budget = BUDGET, **settings: Any) -> Examined:
    test = made(n, seed=5)
    model = network if isinstance(network, Classifier) else classifier(network)
    settings = {"queries": 5, "restarts": 1, **settings}
    return examined(model, test.images, test.labels, test.ids, budget, seed=0, **settings)


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Stairs(nn.Module):
    @override
    def forward(self, x: Tensor) -> Tensor:
        return torch.round(x * 10) / 10


class Shaky(nn.Module):
    @override
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.3 * torch.randn(x.shape)


def test_an_honest_network_raises_no_alarm(trained: nn.Module) -> None:
    found = look(trained, restarts=2, queries=40)
    assert found.alarms() == ()
    assert found.clean > 0.9
    assert found.clean > found.fgsm >= found.pgd20 >= found.pgd100
    assert found.loss_half < found.loss < found.loss_double
    assert found.large == 0
    assert found.large_eps == pytest.approx(1.0)
    assert (found.zero_gradients, found.difference, found.probabilities, found.draws) == (0, 0, 0, 1)
    # 8 x 8 pixels x 8 channels x 9 weights, and the linear layer
    assert found.macs == 64 * 8 * 9 + 128 * 3
    assert found.parameters == 80 + 128 * 3 + 3
    exact = 2 * 30 * (1 + 4 * 20 + 2 * 100) + 30 * (1 + 1 + 6 + 2)
    assert exact < found.passes <= exact + 30 * 40


def test_saturated_logits_raise_an_alarm(trained: nn.Module) -> None:
    found = look(nn.Sequential(trained, Times(1e4)), queries=60)
    assert found.zero_gradients > 0.5
    assert any("exactly zero" in line for line in found.alarms())
    assert any("Square" in line for line in found.alarms())


def test_a_staircase_before_the_network_raises_an_alarm(trained: nn.Module) -> None:
    found = look(nn.Sequential(Stairs(), trained))
    assert found.zero_gradients == 1
    assert any("exactly zero" in line for line in found.alarms())
    assert any("guessing gets 33.3%" in line for line in found.alarms())


def test_probabilities_and_hidden_randomness_raise_an_alarm_each(trained: nn.Module) -> None:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        found = look(nn.Sequential(Shaky(), trained, nn.Softmax(1)))
    assert found.difference > 1e-3
    assert any("did not average over draws" in line for line in found.alarms())
    assert any("probabilities" in line for line in found.alarms())


def test_a_model_behind_noise_is_attacked_through_the_mean_of_its_draws(trained: nn.Module) -> None:
    found = look(Noise(sigma=0.05).wrap(classifier(trained)), draws=2, n=12)
    assert found.draws == 2
    assert found.alarms() == ()
    assert found.clean > 0.9
    assert found.pgd20 < found.clean
    assert found.passes > 2 * 2 * 12 * 181


def test_an_l2_ball_and_radii_that_do_not_divide(trained: nn.Module) -> None:
    found = look(trained, n=12, budget=Budget(norm="l2", eps=Fraction(1, 2)))
    assert found.large_eps == 4
    assert found.alarms() == ()


def numbers(**changes: float) -> dict[str, float]:
    honest = Examined(
        clean=0.9,
        fgsm=0.5,
        pgd20=0.45,
        pgd100=0.44,
        square=0.5,
        large=0.0,
        large_eps=0.25,
        loss_half=0.5,
        loss=1.0,
        loss_double=2.0,
        zero_gradients=0.0,
        difference=0.0,
        probabilities=0.0,
        draws=1.0,
        restarts=2.0,
        macs=1.0,
        parameters=1.0,
        passes=1.0,
        images=1000.0,
        classes=10.0,
    )
    return {**honest.numbers(), **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pgd20": 0.52, "pgd100": 0.5, "square": 0.6}, "PGD with 20 steps leaves 52.0% right, one step of FGSM"),
        ({"pgd100": 0.42}, "100 steps with 2 restarts only 42.0%"),
        ({"square": 0.42}, "Square, which reads no gradient, leaves 42.0% right, attacks with gradients 44.0%"),
        ({"large": 0.18}, "at the radius 0.25 PGD leaves 18.0% right, guessing gets 10.0%"),
        ({"loss_double": 0.98}, "the loss under PGD does not grow with the radius: 0.5, 1, 0.98"),
        ({"clean": 0.42}, "45.0% are right under attack, but 42.0% of the clean"),
        ({"zero_gradients": 0.02}, "2.0% of the gradients are exactly zero"),
        ({"difference": 0.01}, "two answers to the same images differ by 0.01"),
        ({"probabilities": 1.0}, "probabilities instead of logits"),
    ],
)
def test_each_rule_speaks_alone(changes: dict[str, float], words: str) -> None:
    (line,) = alarms(numbers(**changes))
    assert words in line


def test_what_stays_within_the_slack_is_no_alarm() -> None:
    assert alarms(numbers()) == ()
    assert alarms(numbers(pgd20=0.51, pgd100=0.49, square=0.48, loss_double=0.995, zero_gradients=0.01)) == ()
    assert alarms(numbers(large=0.15, clean=0.45)) == ()
    assert alarms(numbers(difference=0.5, draws=10.0)) == ()


@pytest.mark.parametrize("images", [30, 100, 1000])
def test_what_so_few_images_show_by_chance_is_no_alarm(images: int) -> None:
    """A point is allowed: an alarm needs so many images that the exact binomial test finds more than that at 2.5%."""
    for few in range(1, min(40, int(0.44 * images))):
        found = alarms(numbers(images=float(images), square=0.44 - few / images))
        surely = few / images > 0.01 and binomtest(few, images, 0.01, alternative="greater").pvalue <= 0.025
        assert bool(found) == surely


@pytest.mark.parametrize("images", [10, 30, 100, 1000])
def test_few_images_without_gradients_are_no_alarm(images: int) -> None:
    """An image has gradients in all steps or in none: one of 30 says nothing of 1% of all images."""
    for few in range(min(images, 40)):
        found = alarms(numbers(images=float(images), zero_gradients=few / images))
        surely = few / images > 0.01 and binomtest(few, images, 0.01, alternative="greater").pvalue <= 0.025
        assert bool(found) == surely
    # images that lose some of their steps count as that many whole ones at most
    assert alarms(numbers(images=100.0, zero_gradients=0.0399)) == alarms(numbers(images=100.0, zero_gradients=0.03))


def test_transfer_must_not_beat_the_white_box() -> None:
    assert alarms(numbers(), transfer=0.45) == ()
    (line,) = alarms(numbers(), transfer=0.4)
    assert "made on other models leave 40.0% right, those made on this one 44.0%" in line


def test_what_cannot_be_examined_is_refused(trained: nn.Module) -> None:
    with pytest.raises(InputError, match="eps is 0"):
        look(trained, budget=Budget(norm="linf", eps=Fraction(0)))
    with pytest.raises(InputError, match="no images"):
        look(trained, n=0)
    with pytest.raises(InputError, match="restarts"):
        look(trained, restarts=0)


@pytest.mark.parametrize("images", [30, 100, 250, 1000])
def test_shares_of_images_are_compared_as_the_counts_that_they_are(images: int) -> None:
    """Recorded in float32, 0.41 - 0.35 is a little less than 6 of 100: six all the same."""

    def share(count: int) -> float:
        return float(torch.tensor(count / images))

    for left in range(images // 5, images // 2, max(1, images // 40)):
        for more in range(min(left, 40)):
            found = alarms(
                numbers(
                    images=float(images),
                    clean=1.0,
                    fgsm=share(left),
                    pgd20=share(left),
                    pgd100=share(left - more),
                    square=share(left),
                )
            )
            expected = binomtest(more, images, 0.02, alternative="greater").pvalue <= 0.025 and more > 0.02 * images
            assert bool(found) == expected, (left, more)
