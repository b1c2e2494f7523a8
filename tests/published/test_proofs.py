"""No attack finds an adversarial example where verifiers proved that there is none."""

from functools import cache

import pytest
import torch
from published_networks import MISSING, folder
from published_proofs import (
    DUST,
    LEFT_OUT,
    ON_MARGINS,
    PGD,
    QUICK,
    Boxes,
    Verdict,
    attacked,
    load_boxes,
    names,
    restarts,
    setting,
)

import carom
from carom.attacks import ATTACKS
from carom.errors import CaromError

FOLDER = folder()
pytestmark = pytest.mark.skipif(FOLDER is None, reason=MISSING)
COUNTS: dict[Verdict, int] = {"robust": 66, "broken": 18, "open": 6}


@cache
def boxes() -> list[Boxes]:
    assert FOLDER is not None
    return load_boxes(FOLDER / "proofs")


def test_the_boxes_are_those_of_the_competition() -> None:
    verdicts = [verdict for group in boxes() for verdict in group.verdicts]
    assert {kind: verdicts.count(kind) for kind in COUNTS} == COUNTS
    assert len(boxes()) == 6


def test_the_balls_of_carom_are_the_boxes() -> None:
    """To half a unit in the last place of a float32 below 1; and the images in the middle are 8-bit."""
    for group in boxes():
        x = group.clean.float() / 255
        above, below = (group.budget.project(torch.full_like(x, value), x).double() for value in (1.0, 0.0))
        assert float((above - group.high).abs().max()) <= 1e-7
        assert float((below - group.low).abs().max()) <= 1e-7
        with torch.no_grad():
            assert bool((group.exact(x.double()).argmax(1) == group.labels).all())


def test_an_image_outside_its_box_is_no_answer() -> None:
    group = boxes()[0]
    far = group.high.clone()
    far[2] += 3 * DUST
    with pytest.raises(ValueError, match="outside its box"):
        group.broken(far)


def test_an_adversarial_example_in_a_box_is_seen() -> None:
    """With another label every image is one."""
    group = boxes()[0]
    other = Boxes(
        **{**{name: getattr(group, name) for name in Boxes.__annotations__}, "labels": (group.labels + 1) % 10}
    )
    assert bool(other.broken(group.clean.float() / 255).all())


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in names()])
def test_no_attack_breaks_a_box_that_is_proved_robust(name: str) -> None:
    """As floats, and as the 8-bit images that carom would store."""
    found = attacked(setting(name), boxes())
    assert found.of("robust") == []
    assert found.of("broken"), "an attack that finds nothing at all proves nothing"


def test_the_others_are_left_out_because_carom_refuses_them() -> None:
    group = boxes()[0]
    x = group.clean.float() / 255
    for name in LEFT_OUT:
        with pytest.raises(CaromError, match=name):
            carom.attack(name, group.model, x, group.labels, eps=group.eps)
    assert set(names()) | set(LEFT_OUT) == {*ATTACKS, "autoattack"}


@pytest.mark.slow
def test_pgd_finds_what_a_plain_loop_finds() -> None:
    """A loop of ten restarts that shares no code with carom broke 14 of the 18."""
    found = attacked(PGD, boxes())
    assert restarts(PGD) == 10
    assert found.of("robust") == []
    assert len(found.of("broken")) >= 14, f"missed {found.missed()}"


@pytest.mark.slow
def test_pgd_on_the_margin_to_each_wrong_class_finds_more() -> None:
    """From corners of the ball: see the settings."""
    found = attacked(ON_MARGINS, boxes(), each_class=True)
    assert found.of("robust") == []
    assert len(found.of("broken")) >= 15, f"missed {found.missed()}"
