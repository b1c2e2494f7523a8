"""Robust distillation: the losses by plain loops, their attacks, and a training by them."""

from fractions import Fraction

import pytest
import torch
from tests.defenses.conftest import ground, images, plain
from torch import Tensor, nn

from carom.defenses.distillation.adaad import AdaAD
from carom.defenses.distillation.ard import ARD
from carom.defenses.distillation.distilled import DISTILLATIONS, Distilled
from carom.defenses.distillation.robust_distillation import RobustDistillation
from carom.defenses.distillation.rslad import RSLAD
from carom.errors import InputError
from carom.identity import content_key
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, create
from carom.zoo.training.recipes import adapted
from carom.zoo.training.state import Passes

EPS = Fraction(16, 255)
WAYS: tuple[RobustDistillation, ...] = (
    ARD(steps=3),
    ARD(steps=3, alpha=0.7, temperature=4.0),
    RSLAD(steps=3),
    RSLAD(steps=3, alpha=1.0),
    AdaAD(steps=3),
    AdaAD(steps=3, alpha=0.5, norm="l2", eps=Fraction(1)),
)
# forward and backward passes an image of student and teacher, beside the one of each that the training counts
PASSES = ((3 + 1, 3), (3 + 1 + 1, 3 + 1), (3 + 1 + 1, 3 + 1), (3 + 1, 3), (6 + 1, 6), (6 + 2 + 1, 6 + 1))


def network(seed: int, name: str = "resnet-small") -> Classifier:
    return create(architecture(name), shape=(1, 8, 8), classes=3, seed=seed)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def kl(p: Tensor, q: Tensor, heat: float = 1.0) -> float:
    """Of logits: a mean over images of sums over classes."""
    total = 0.0
    for a, b in zip(p / heat, q / heat, strict=True):
        a, b = a.softmax(0), b.softmax(0)
        total += sum(float(a[c] * (a[c] / b[c]).log()) for c in range(len(a)))
    return total / len(p)


@pytest.mark.parametrize(("way", "counted"), list(zip(WAYS, PASSES, strict=True)))
def test_the_outer_loss_and_its_passes(way: RobustDistillation, counted: tuple[int, int]) -> None:
    data, student, teacher, passes = images(12), network(0), network(1).eval(), Passes()
    x, y = data.pixels, data.labels
    target = way.target(teacher, x, passes)
    x_adv = way.inner(student, teacher, x, y, target, generator=seeded(), passes=passes)
    assert student.training
    assert float(way.budget.size(x_adv, x).max()) <= float(way.eps) + 1e-6
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1
    loss, logits = way.outer(student.eval(), teacher, x, x_adv, y, target, passes=passes)
    torch.autograd.backward(loss)
    assert all(p.grad is None for p in teacher.parameters())
    assert any(p.grad is not None for p in student.parameters())
    assert (passes.forward, passes.backward) == (counted[0] * 12, counted[1] * 12)
    with torch.no_grad():
        s, s_adv, t, t_adv = student(x), student(x_adv), teacher(x), teacher(x_adv)
    alpha: float = way.alpha  # type: ignore[attr-defined]
    if isinstance(way, ARD):
        hard = -sum(float(s[i].log_softmax(0)[y[i]]) for i in range(12)) / 12
        expected = alpha * way.temperature**2 * kl(t, s_adv, way.temperature) + (1 - alpha) * hard
    elif isinstance(way, RSLAD):
        expected = alpha * kl(t, s_adv) + (1 - alpha) * kl(t, s)
    else:
        expected = alpha * kl(t_adv, s_adv) + (1 - alpha) * kl(t, s)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert torch.equal(logits, s_adv if alpha == 1 else s)


@pytest.mark.parametrize("name", ["rslad", "adaad"])
def test_the_attack_drives_student_and_teacher_apart(name: str) -> None:
    way, data = DISTILLATIONS[name](eps=Fraction(64, 255)), images(24)
    student, teacher, passes = network(0).eval(), network(1).eval(), Passes()
    target = way.target(teacher, data.pixels, passes)
    x_adv = way.inner(student, teacher, data.pixels, data.labels, target, generator=seeded(), passes=passes)
    with torch.no_grad():
        clean = kl(teacher(data.pixels), student(data.pixels))
        reached = kl(teacher(x_adv if name == "adaad" else data.pixels), student(x_adv))
    assert reached > 1.2 * clean


def test_adaad_climbs_through_the_teacher_too() -> None:
    # a student that never changes its mind: only the teacher can be moved
    teacher, data = network(1).eval(), images(12)

    def student(x: Tensor) -> Tensor:
        return torch.zeros(len(x), 3) * x.sum()

    x, y = data.pixels, data.labels
    ada = AdaAD(steps=2).inner(student, teacher, x, y, None, generator=seeded(), passes=Passes())
    with torch.no_grad():
        assert kl(teacher(ada), student(ada)) > kl(teacher(x), student(x)) + 1e-4
    rslad = RSLAD(steps=2)
    target = rslad.target(teacher, x, Passes())
    still = rslad.inner(student, teacher, x, y, target, generator=seeded(), passes=Passes())
    assert float((still - x).abs().max()) < 0.006  # the start alone


def test_a_callable_student_is_read_as_it_is_and_a_module_in_eval_mode() -> None:
    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.modes: list[bool] = []

        def forward(self, x: Tensor) -> Tensor:
            self.modes.append(self.training)
            return x.flatten(1)[:, :3]

    module, data = Watching(), images(6)
    x, y = data.pixels, data.labels
    way = ARD(steps=1)
    way.inner(module, module, x, y, None, generator=seeded(), passes=Passes())
    way.inner(lambda z: module(z), module, x, y, None, generator=seeded(), passes=Passes())
    assert module.modes == [False, True]


def test_a_network_is_trained_by_a_teacher() -> None:
    way = Distilled(by=RSLAD(steps=2, step=0.5), teacher=network(1))
    here = ground()
    trained = here.trained(adapted(plain(epochs=3), way))
    assert trained.history[-1].loss < trained.history[0].loss
    assert all(record.robust_accuracy is not None for record in trained.history)
    # attack 2, target 1, clean answer 1, and the training's own
    assert (trained.passes.forward, trained.passes.backward) == (3 * 96 * 5, 3 * 96 * 4)
    again = here.trained(adapted(plain(epochs=3), Distilled(by=RSLAD(steps=2, step=0.5), teacher=network(1))))
    assert all(torch.equal(tensor, again.last[name]) for name, tensor in trained.last.items())


def test_the_teacher_is_in_the_key_by_its_weights() -> None:
    a, b, c = (content_key(Distilled(by=ARD(), teacher=network(seed))) for seed in (1, 1, 2))
    assert a == b != c


@pytest.mark.parametrize("name", sorted(DISTILLATIONS))
def test_what_is_out_of_range_is_refused(name: str) -> None:
    cls = DISTILLATIONS[name]
    with pytest.raises(InputError, match=rf"{name}: alpha must be in \[0, 1\], got 1.1"):
        cls(alpha=1.1)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=rf"{name}: alpha must be"):
        cls(alpha=-0.1)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=rf"^{name}: eps is 0"):
        cls(eps=Fraction(0))
    with pytest.raises(InputError, match="steps"):
        cls(steps=0)


def test_temperature_0_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^ard: temperature is 0, and divides the logits; [^\n]*$"):
        ARD(temperature=0.0)
    assert ARD(temperature=4.0).temperature == 4.0
