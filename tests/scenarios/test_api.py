"""carom on one's own modules and tensors."""

import copy
import math
import subprocess
import sys
import warnings
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import carom
from carom.attacks import parse_attack
from carom.errors import ContractError, GradientWarning, InputError, ModelError
from carom.surrogates import Surrogate
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create

EPS = "16/255"


class Victim(nn.Module):
    """Scores four classes of 3x8x7 images; counts how often it was asked."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 6 * 5, 4)
            )
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.layers(x)
        return logits


@pytest.fixture
def model() -> Victim:
    return Victim(1).eval()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(5, 3, 8, 7, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def y(model: Victim, x: Tensor) -> Tensor:
    with torch.no_grad():
        answer: Tensor = model(x).argmax(1)
    model.calls = 0
    return answer


def loss(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(x), y))


# ------------------------------------------------------------------------------------------------------------- attack


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["fgsm", "mi+di+ti"])
def test_images_are_in_the_ball_and_the_loss_rises(name: str, norm: str, model: Victim, x: Tensor, y: Tensor) -> None:
    eps = EPS if norm == "linf" else 0.5
    x_adv = carom.attack(name, model, x, y, eps=eps, norm=norm)
    change = (x_adv - x).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    limit = 16 / 255 if norm == "linf" else 0.5
    assert bool(((size <= limit * (1 + 1e-5)) & (size > 0.3 * limit)).all())
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert x_adv.shape == x.shape
    assert loss(model, x_adv, y) > loss(model, x, y)


def test_a_model_in_training_mode_stays_as_it_is(x: Tensor, y: Tensor) -> None:
    model = Victim(1).train()
    first, last = model.layers[0], model.layers[4]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Linear)
    first.weight.grad = torch.ones_like(first.weight)
    before = copy.deepcopy(model.state_dict())
    x_adv = carom.attack("mi", model, x, y, eps=EPS)
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == [True] * 5
    assert torch.equal(first.weight.grad, torch.ones_like(first.weight))
    assert last.weight.grad is None
    assert model.calls == 0, "a copy was asked, not the model itself"
    assert torch.equal(x_adv, carom.attack("mi", Victim(1).eval(), x, y, eps=EPS)), "it is attacked as in eval mode"


def test_the_callers_tensors_and_random_state_stay_as_they_are(model: Victim, x: Tensor, y: Tensor) -> None:
    x.requires_grad_()
    kept, state = x.detach().clone(), torch.get_rng_state()
    x_adv = carom.attack("pgd+di", model, x, y, eps=EPS)
    assert torch.equal(x.detach(), kept)
    assert x.grad is None
    assert not x_adv.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_any_gradient_mode_of_the_caller_will_do(mode: type, model: Victim, x: Tensor, y: Tensor) -> None:
    expected = carom.attack("mi", model, x, y, eps=EPS)
    with mode():
        assert torch.equal(carom.attack("mi", model, x.clone(), y.clone(), eps=EPS), expected)


def test_an_image_becomes_the_same_in_any_batch(model: Victim, x: Tensor, y: Tensor) -> None:
    together = carom.attack("pgd+di", model, x, y, eps=EPS)
    alone = torch.cat([carom.attack("pgd+di", model, x[i : i + 1], y[i : i + 1], eps=EPS) for i in range(5)])
    backwards = carom.attack("pgd+di", model, x.flip(0), y.flip(0), eps=EPS).flip(0)
    # float sums differ in the last bits between batches, and a sign of a near-zero gradient with them
    for other in (alone, backwards):
        assert float(((together - other).abs() > 1e-4).float().mean()) < 0.01


def test_draws_belong_to_seed_and_ids(model: Victim, x: Tensor, y: Tensor) -> None:
    def made(**settings: object) -> Tensor:
        return carom.attack("pgd", model, x, y, eps=EPS, **settings)  # type: ignore[arg-type]

    ids = torch.tensor([7, 2, 9, 4, 4])
    assert torch.equal(made(ids=ids), made(ids=ids))
    assert not torch.equal(made(ids=ids), made(ids=ids + 1))
    assert not torch.equal(made(seed=1), made(seed=2))
    twins = carom.attack("pgd", model, x[[0, 0]], y[[0, 0]], eps=EPS, ids=ids[:2])
    assert not torch.equal(twins[0], twins[1])
    same = carom.attack("pgd", model, x[[0, 0]], y[[0, 0]], eps=EPS)
    torch.testing.assert_close(same[0], same[1])


def test_targeted(model: Victim, x: Tensor, y: Tensor) -> None:
    target = (y + 1) % 4
    x_adv = carom.attack("mi", model, x, y, eps="32/255", target=target)
    assert loss(model, x_adv, target) < loss(model, x, target)
    told = carom.evaluate(model, x, y, x_adv, eps="32/255", target=target)
    with torch.no_grad():
        reached = int((model((x_adv * 255).round() / 255).argmax(1) == target).sum())
    assert told.k == reached


def test_several_models_are_attacked_as_one(x: Tensor, y: Tensor) -> None:
    models = [Victim(1).eval(), Victim(2).eval(), Victim(3).eval()]
    listed = carom.attack("mi", models, x, y, eps=EPS)
    assert torch.equal(listed, carom.attack("mi", nn.ModuleList(models), x, y, eps=EPS))
    assert torch.equal(listed, carom.attack("mi", tuple(models), x, y, eps=EPS, combination="logits"))
    assert not torch.equal(listed, carom.attack("mi", models, x, y, eps=EPS, combination="loss"))
    assert not torch.equal(listed, carom.attack("mi", models[0], x, y, eps=EPS))


def test_a_gradient_source_and_an_attack_of_ones_own(x: Tensor, y: Tensor) -> None:
    classifier = create(architecture("resnet-small"), shape=(3, 8, 7), classes=4, seed=2).eval()
    source = Surrogate((classifier.requires_grad_(False),))
    mine = parse_attack({"name": "mi", "steps": 3})
    given = carom.attack(mine, source, x, y, eps=EPS)
    named = carom.attack({"name": "mi", "steps": 3}, classifier, x, y, eps=EPS)
    assert float(((given - named).abs() > 1e-4).float().mean()) < 0.01, "folding changes rounding only"


def test_labels_of_any_integer_type(model: Victim, x: Tensor, y: Tensor) -> None:
    assert torch.equal(carom.attack("fgsm", model, x, y.int(), eps=EPS), carom.attack("fgsm", model, x, y, eps=EPS))


# ----------------------------------------------------------------------------------------------------------- evaluate


def test_what_is_counted(x: Tensor, y: Tensor) -> None:
    before, after = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 1, 3, 0, 2])
    truth = torch.tensor([0, 1, 2, 0, 1])
    answers = iter([before[:1], before, after])
    told = carom.evaluate(lambda x: next(answers), x, truth, x)
    assert (told.images, told.n, told.k) == (5, 3, 2)
    assert told.asr == pytest.approx(2 / 3)
    assert told.clean_accuracy == pytest.approx(3 / 5)
    assert told.robust_accuracy == pytest.approx(2 / 5)
    # Wilson's interval by hand
    z, n, p = 1.959963984540054, 3, 2 / 3
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (told.low, told.high) == pytest.approx(
        ((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n))
    )
    assert str(told).startswith("ASR 66.7% [")
    assert "2 of 3 images right before" in str(told)


def test_a_radius_as_a_float_is_that_of_the_fraction(model: Victim, y: Tensor) -> None:
    """8-bit images that moved by exactly k levels are judged as they are, and attacks reach as far as k levels."""
    clean = torch.full((5, 3, 8, 7), 100, dtype=torch.uint8)
    x = clean.float() / 255
    for k in (1, 8, 13, 35, 64):
        seen: list[Tensor] = []

        def victim(images: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(images)
            return torch.zeros(len(images), 4)

        carom.evaluate(victim, x, y, (clean + k).float() / 255, eps=k / 255)
        assert float((seen[-1] * 255).round().max()) == 100 + k
        by_float = carom.attack("fgsm", model, x, y, eps=k / 255)
        assert torch.equal(by_float, carom.attack("fgsm", model, x, y, eps=f"{k}/255"))


def test_scores_labels_and_arrays_are_judged_alike(model: Victim, x: Tensor, y: Tensor) -> None:
    x_adv = carom.attack("fgsm", Victim(2).eval(), x, y, eps="64/255")
    expected = carom.evaluate(model, x, y, x_adv, eps="64/255")
    assert expected.n == 5
    assert 0 < expected.k < 5
    for victim in (
        lambda x: model(x).argmax(1),
        lambda x: model(x).detach().numpy(),
        lambda x: model(x).argmax(1).numpy().astype(np.int32),
        lambda x: model(x).softmax(1),
    ):
        assert carom.evaluate(victim, x, y, x_adv, eps="64/255") == expected


def test_images_are_judged_in_eight_bits(x: Tensor, y: Tensor) -> None:
    seen: list[Tensor] = []

    def victim(x: Tensor) -> Tensor:
        seen.append(x)
        return torch.zeros(len(x), 4)

    carom.evaluate(victim, x, y, (x + 0.03).clamp(0, 1), eps="8/255")
    clean, adversarial = seen[-2:]
    for images in (clean, adversarial):
        torch.testing.assert_close(images * 255, (images * 255).round(), rtol=0, atol=1e-4)
    assert float((adversarial - clean).abs().max()) <= 8 / 255 + 1e-6


def test_no_image_right_before(x: Tensor) -> None:
    told = carom.evaluate(lambda x: torch.zeros(len(x), 4), x, torch.ones(5, dtype=torch.int64), x)
    assert told.n == 0
    assert math.isnan(told.asr)
    assert str(told).startswith("no ASR: none of 5 images was right before the attack; clean accuracy 0.0%")
    assert "order of classes? of 5 images labelled '1' 5 are called '0'" in str(told)


def test_no_answer_is_wrong(model: Victim, x: Tensor, y: Tensor) -> None:
    def fails_on_change(images: Tensor) -> Tensor:
        scores: Tensor = model(images)
        return torch.where((images[:, 0, 0, 0] > 0.5)[:, None], torch.nan, scores)

    x[:, 0, 0, 0] = 0.49
    with torch.no_grad():
        y = model(x).argmax(1)
    told = carom.evaluate(fails_on_change, x, y, (x + 0.05).clamp(0, 1), eps=EPS)
    assert (told.n, told.k, told.robust_accuracy) == (5, 5, 0.0)


# ------------------------------------------------------------------------------------------------------------- errors


def test_a_victim_with_a_part_in_training_mode_is_refused(model: Victim, x: Tensor, y: Tensor) -> None:
    model.layers[1].train()
    with pytest.raises(ModelError, match=r"training mode; call \.eval\(\) first"):
        carom.evaluate(model, x, y, x)


def test_images_outside_the_ball_are_refused(model: Victim, x: Tensor, y: Tensor) -> None:
    with pytest.raises(ContractError, match=r"x_adv is 0\.1\d* away from x, allowed linf 16/255"):
        carom.evaluate(model, x, y, (x + 0.1).clamp(0, 1), eps=EPS)
    x_adv = carom.attack("fgsm", model, x, y, eps=EPS)
    with pytest.raises(ContractError, match="allowed l2"):
        carom.evaluate(model, x, y, x_adv, eps=EPS, norm="l2")


class NotANumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4] * torch.nan


class Dictionary(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": x.flatten(1)[:, :4]}


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("no such\nlayer")


class Blind(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 4)


@pytest.mark.parametrize(
    ("broken", "words"),
    [(NotANumber, "is nan; expected"), (Dictionary, "got dict"), (Raises, "no such layer"), (Blind, "no gradient")],
)
def test_a_broken_model_is_one_line(broken: type[nn.Module], words: str, x: Tensor, y: Tensor) -> None:
    with pytest.raises(ModelError, match=words) as refused:
        carom.attack("mi", broken(), x, y, eps=EPS)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("answer", "words"), [("cat", "got str"), (None, "got NoneType"), (torch.zeros(1), "float32")])
def test_a_victim_that_answers_something_else_is_one_line(answer: object, words: str, x: Tensor, y: Tensor) -> None:
    with pytest.raises(ModelError, match=words):
        carom.evaluate(lambda x: answer, x, y, x)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no such layer"):
        carom.evaluate(Raises().eval(), x, y, x)


def test_wrong_settings_are_one_line(model: Victim, x: Tensor, y: Tensor) -> None:
    for settings, words in (
        ({"eps": 8.0}, '"8/255" for 8 of 255 grey levels'),
        ({"eps": "x"}, "expected a number or a fraction"),
        ({"norm": "l1"}, "unknown norm 'l1'"),
        ({"name": "mii"}, "did you mean 'mi'"),
        ({"target": y}, "is of its target class"),
        ({"y": y + 40}, "but the model has 4 classes"),
        ({"x": 2 * x}, r"expected \[0, 1\]"),
        ({"x": x * torch.nan}, r"expected \[0, 1\]"),
        ({"model": []}, "expected torch modules"),
    ):
        given = {"name": "mi", "model": model, "x": x, "y": y, "eps": EPS} | settings
        with pytest.raises(InputError, match=words) as refused:
            carom.attack(**given)  # type: ignore[arg-type]
        assert "\n" not in str(refused.value)
    for settings, words in (
        ({"eps": 8.0}, '"8/255" for 8 of 255 grey levels'),
        ({"y": y + 40}, "but the victim has 4 classes"),
        ({"target": y}, "is of its target class"),
        ({"x_adv": x * 2}, r"x_adv: pixels in"),
        ({"x_adv": x * torch.nan}, r"x_adv: pixels in"),
        ({"x": x[:0], "x_adv": x[:0], "y": y[:0]}, "some images"),
    ):
        given = {"victim": model, "x": x, "y": y, "x_adv": x} | settings
        with pytest.raises(InputError, match=words):
            carom.evaluate(**given)  # type: ignore[arg-type]


WRONG_TYPES = """
import torch, carom, carom.errors
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(168, 4))
x, y = torch.rand(5, 3, 8, 7), torch.arange(5) % 4
attack = lambda model=model, x=x, y=y, eps="8/255", **more: carom.attack("mi", model, x, y, eps=eps, **more)
evaluate = lambda victim=model.eval(), x=x, y=y, x_adv=x: carom.evaluate(victim, x, y, x_adv)
for call in (
    lambda: attack(x=(x * 255).byte()),
    lambda: attack(x=x[0]),
    lambda: attack(x=x.numpy()),
    lambda: attack(y=y.float()),
    lambda: attack(y=torch.eye(4)[y]),
    lambda: attack(y=y.tolist()),
    lambda: attack(y=y[:3]),
    lambda: attack(model=lambda x: x),
    lambda: attack(model="resnet"),
    lambda: attack(combination="logit"),
    lambda: attack(eps=8),
    lambda: attack(ids=y[:3]),
    lambda: evaluate(x=(x * 255).byte()),
    lambda: evaluate(y=torch.eye(4)[y]),
    lambda: evaluate(victim="resnet"),
    lambda: evaluate(x_adv=x[:3]),
):
    try:
        call()
        print("nothing was raised")
    except carom.errors.InputError as error:
        print(error)
"""


def test_wrong_types_are_one_line_each_where_nothing_checks_annotations() -> None:
    done = subprocess.run([sys.executable, "-c", WRONG_TYPES], capture_output=True, text=True, check=True)
    expected = [
        "x: expected float images in [0, 1], got torch.uint8; divide 8-bit images by 255",
        "got shape (3, 8, 7); of one image make a batch: x[None]",
        "got ndarray; make a tensor of it, such as torch.as_tensor(x)",
        "got torch.float32 (5,); make whole numbers of it: y.long()",
        "got torch.float32 (5, 4); take the classes of scores or one-hot rows: y.argmax(1)",
        "got list; make a tensor of it: torch.as_tensor(y)",
        "class numbers, one for each image, got torch.int64 (3,); give one whole number an image",
        "got function",
        "got str",
        "did you mean 'logits'",
        'so write "8/255" for 8 of 255 grey levels',
        "5 images but 3 ids",
        "divide 8-bit images by 255",
        "got torch.float32 (5, 4)",
        "got str",
        "expected equal shapes and some images: give the clean image of each adversarial one",
    ]
    lines = done.stdout.splitlines()
    assert len(lines) == len(expected), done.stdout
    for line, words in zip(lines, expected, strict=True):
        assert words in line


# ----------------------------------------------------------------------------------------- what scenarios check too


def test_float_error_at_the_ends_of_the_range_is_clamped(model: Victim, x: Tensor, y: Tensor) -> None:
    x[0, 0, 0, 0], x[1, 0, 0, 0] = -2.98e-8, 1 + 1.2e-7
    exact = x.clamp(0, 1)
    assert torch.equal(carom.attack("mi", model, x, y, eps=EPS), carom.attack("mi", model, exact, y, eps=EPS))
    assert carom.evaluate(model, x, y, x) == carom.evaluate(model, exact, y, exact)
    for wrong in (-1e-4, 1.001):
        x[0, 0, 0, 0] = wrong
        for call in (lambda: carom.attack("mi", model, x, y, eps=EPS), lambda: carom.evaluate(model, x, y, exact)):
            with pytest.raises(InputError, match=r"x: pixels in \[.*expected \[0, 1\]"):
                call()


class Killed(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, *gradients: Any) -> Any:
        return torch.zeros_like(gradients[0])


class Behind(nn.Module):
    """A victim behind something that is done to images."""

    def __init__(self, victim: nn.Module, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.victim, self.does = victim, does

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.victim(self.does(x))
        return logits


def darkened_is_killed(x: Tensor) -> Tensor:
    return torch.where((x[:, :1, :1, :1] > 0.5), x, Killed.apply(x))


@pytest.mark.parametrize("name", ["mi", "fgsm", "pgd", "vmi", "mi+di"])
@pytest.mark.parametrize("does", [Killed.apply, lambda x: (x * 32).round() / 32, torch.sign])
def test_gradients_that_are_zero_are_said(
    does: Callable[[Tensor], Tensor], name: str, model: Victim, x: Tensor, y: Tensor
) -> None:
    with pytest.warns(GradientWarning, match=r"for 5 of 5 images \(100%\) every gradient was exactly zero"):
        carom.attack(name, Behind(model, does), x, y, eps=EPS)


def test_the_share_of_images_without_a_gradient_is_said(model: Victim, x: Tensor, y: Tensor) -> None:
    x[:, :, 0, 0] = torch.tensor([0.9, 0.1, 0.9, 0.2, 0.1])[:, None]
    with pytest.warns(GradientWarning, match=r"for 3 of 5 images \(60%\)"):
        carom.attack("fgsm", Behind(model, darkened_is_killed), x, y, eps=EPS)


def test_a_loss_that_saturates_in_float32_is_said_and_one_that_does_not_is_attacked(x: Tensor) -> None:
    sure = Behind(Victim(1).eval(), lambda x: x)
    last = sure.victim.layers[4]  # type: ignore[index]
    assert isinstance(last, nn.Linear)
    last.weight.data *= 1e5
    y = sure(x).argmax(1)
    with pytest.warns(GradientWarning, match="mi.margin"):
        carom.attack("mi", sure, x, y, eps=EPS)
    assert loss(sure, carom.attack("mi+margin", sure, x, y, eps=EPS), y) > 0


@pytest.mark.parametrize(
    ("wraps", "words"),
    [
        (lambda model: nn.Sequential(model, nn.Softmax(1)), "probabilities, where logits are expected"),
        (lambda model: Behind(model, lambda x: nn.functional.dropout(x, 0.5, training=True)), "the second time"),
        (lambda model: Behind(model, lambda x: x + torch.rand(1, device=x.device)), "the second time"),
        (lambda model: Behind(model, lambda x: x - x.mean(0, keepdim=True)), "another answer alone than among others"),
        (lambda model: Behind(model, lambda x: x.detach()), "no gradient reaches the images"),
    ],
)
def test_attacks_refuse_models_as_scenarios_do(
    wraps: Callable[[nn.Module], nn.Module], words: str, model: Victim, x: Tensor, y: Tensor
) -> None:
    for broken in (wraps(model), [model, wraps(model)]):
        with pytest.raises(ModelError, match=words) as refused:
            carom.attack("mi", broken, x, y, eps=EPS)
        assert "\n" not in str(refused.value)


def test_a_model_that_says_that_it_draws_is_taken(model: Victim, x: Tensor, y: Tensor) -> None:
    noisy = Behind(model, lambda x: x + 0.1 * torch.rand_like(x)).eval()
    noisy.deterministic = False  # type: ignore[assignment]
    assert carom.attack("mi", noisy, x, y, eps=EPS).shape == x.shape
    assert carom.evaluate(noisy, x, y, x).images == 5


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (lambda x: nn.functional.dropout(x, 0.5, training=True), "the second time"),
        (lambda x: x - x.mean(0, keepdim=True), "another answer alone than among others"),
    ],
)
def test_evaluate_refuses_victims_as_scenarios_do(
    does: Callable[[Tensor], Tensor], words: str, model: Victim, x: Tensor, y: Tensor
) -> None:
    victim = Behind(model, does).eval()
    for asked in (victim, lambda x: victim(x).detach().numpy(), lambda x: (victim(x) > 0.1).long().sum(1)):
        with pytest.raises(ModelError, match=f"evaluate: the victim: .*{words}"):
            carom.evaluate(asked, x, y, x)


# ------------------------------------------------------------------------------------------- modules that people have


def test_models_of_an_ensemble_answer_with_the_same_classes(x: Tensor, y: Tensor) -> None:
    def linear(classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(168, classes))

    for models, counts in (([4, 5], "4, 5"), ([5, 4], "5, 4"), ([4, 4, 1001], "4, 4, 1001")):
        with pytest.raises(ModelError, match=f"the models answer with {counts} classes"):
            carom.attack("mi", [linear(k) for k in models], x, y, eps=EPS)


Answer = namedtuple("Answer", "logits hidden")


@pytest.mark.parametrize(
    ("answers", "way"),
    [
        (lambda s: Answer(s, s), r"model\(x\)\.logits"),
        (lambda s: {"logits": s, "aux": s}, r'model\(x\)\["logits"\]'),
        (lambda s: (s, s), r"model\(x\)\[0\]"),
        (lambda s: [s], r"model\(x\)\[0\]"),
        (lambda s: "cat", "returns the scores alone"),
    ],
)
def test_answers_that_hold_more_than_scores(
    answers: Callable[[Tensor], object], way: str, model: Victim, x: Tensor, y: Tensor
) -> None:
    class Wrapped(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return answers(model(x))

    for call in (
        lambda: carom.attack("mi", Wrapped(), x, y, eps=EPS),
        lambda: carom.evaluate(Wrapped().eval(), x, y, x),
    ):
        with pytest.raises(ModelError, match=f"; wrap it in a module that .*{way}"):
            call()


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        (torch.float16, r"weights are torch\.float16, .* cast it \(model\.float\(\)\)"),
        (torch.bfloat16, r"weights are torch\.bfloat16, .* cast it \(model\.float\(\)\)"),
        (torch.float64, r"weights are torch\.float64, .* give images in float64 \(x\.double\(\)\)"),
    ],
)
def test_weights_of_another_precision_say_what_to_do(dtype: torch.dtype, advice: str, x: Tensor, y: Tensor) -> None:
    model = Victim(1).eval().to(dtype)
    for call in (lambda: carom.attack("mi", model, x, y, eps=EPS), lambda: carom.evaluate(model, x, y, x)):
        with pytest.raises(ModelError, match=advice):
            call()


def test_a_module_of_another_precision_that_casts_is_attacked(x: Tensor, y: Tensor) -> None:
    for dtype in (torch.bfloat16, torch.float64):
        model = Behind(Victim(1).eval().to(dtype), lambda x, dtype=dtype: x.to(dtype))  # type: ignore[misc]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GradientWarning)
            x_adv = carom.attack("mi", model, x, y, eps=EPS)
        assert loss(model, x_adv, y) > loss(model, x, y)
        assert x_adv.dtype == torch.float32


@pytest.mark.parametrize("name", ["fgsm", "mi", "pgd", "mi+di+ti", "vmi", "square", "mi+admix"])
def test_a_default_device_elsewhere_changes_nothing(name: str, model: Victim, x: Tensor, y: Tensor) -> None:
    """The device "meta" stands for one that the images are not on."""
    expected = carom.attack(name, model, x, y, eps=EPS)
    judged = carom.evaluate(model, x, y, expected)
    torch.set_default_device("meta")
    try:
        assert torch.equal(carom.attack(name, model, x, y, eps=EPS), expected)
        assert carom.evaluate(model, x, y, expected) == judged
    finally:
        torch.set_default_device(None)


# --------------------------------------------------------------------------------------------------------------- readme


def test_the_snippet_of_the_readme(model: Victim, x: Tensor, y: Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (snippet,) = [part.split("```")[0] for part in readme.split("```python")[1:] if "carom.attack" in part]
    exec(snippet, {"model": model, "other_model": Victim(2).eval(), "x": x, "y": y})
    assert capsys.readouterr().out.count("ASR") == 1


def test_torch_is_loaded_when_first_needed() -> None:
    code = "import sys, carom; assert 'torch' not in sys.modules; carom.attack; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'atack'"):
        carom.atack  # noqa: B018


def test_a_victim_that_answers_labels_is_held_to_the_classes_that_were_met() -> None:
    """Guessing among ten classes: not one in 32,767."""
    x, y = torch.rand(100, 1, 4, 4), torch.arange(100) % 10
    said = torch.randint(0, 10, (100,), generator=torch.Generator().manual_seed(0))
    told = {bytes(image.numpy().tobytes()): label for image, label in zip((x * 255).round().byte(), said, strict=True)}

    def victim(images: Tensor) -> Tensor:
        return torch.stack([told[bytes(i.numpy().tobytes())] for i in (images * 255).round().byte()])

    assert "guessing gets 0.1 of them" in carom.evaluate(victim, x, y, x).alarm
