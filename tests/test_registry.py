from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import pytest

from carom.errors import InputError
from carom.registry import build, check_keys, did_you_mean, lookup, summary


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How something is made.

    More lines.
    """

    epochs: int
    rate: float = 0.1
    radius: Fraction | None = None
    kind: Literal["light", "full"] = "full"
    sizes: tuple[int, ...] = ()
    note: str | None = None
    shuffle: bool = True
    made: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise InputError(f"epochs must be at least 0, got {self.epochs}")


def test_a_table_becomes_an_object() -> None:
    table = {"epochs": 3, "rate": 1, "radius": "8/255", "kind": "light", "sizes": [1, 2], "note": "x", "shuffle": False}
    made = build(Recipe, table, where="w")
    assert made == Recipe(
        epochs=3, rate=1.0, radius=Fraction(8, 255), kind="light", sizes=(1, 2), note="x", shuffle=False
    )
    assert isinstance(made.rate, float)  # so that 1 and 1.0 have one key
    assert build(Recipe, {"epochs": 3}, where="w") == Recipe(epochs=3)


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({}, r"w\.epochs"),
        ({"epoch": 3}, r"w: unknown key 'epoch'; did you mean 'epochs'\? \(known: epochs, rate"),
        ({"epochs": "3"}, r"w\.epochs: .*got '3'"),
        ({"epochs": 3.0}, r"w\.epochs"),
        ({"epochs": True}, r"w\.epochs"),
        ({"epochs": 3, "rate": "0.1"}, r"w\.rate"),
        ({"epochs": 3, "shuffle": 1}, r"w\.shuffle"),
        ({"epochs": 3, "note": 1}, r"w\.note"),
        ({"epochs": 3, "kind": "heavy"}, r"w\.kind"),
        ({"epochs": 3, "sizes": [1, "2"]}, r"w\.sizes\.1"),
        ({"epochs": 3, "sizes": 1}, r"w\.sizes"),
        ({"epochs": 3, "radius": "much"}, r"w\.radius"),
        ({"epochs": -1}, r"w: epochs must be at least 0, got -1"),
        ({"epochs": 3, "made": 1}, r"w: unknown key 'made'"),
    ],
)
def test_mistakes_name_their_place_on_one_line(table: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError, match="^" + place) as caught:
        build(Recipe, table, where="w")
    assert "\n" not in str(caught.value)


def test_lookup_finds_or_suggests() -> None:
    known = {"resnet18": 1, "small": 2}
    assert lookup("small", known, where="w", what="architecture") == 2
    with pytest.raises(
        InputError, match=r"w: unknown architecture 'resnet'; did you mean 'resnet18'\? \(known: resnet18"
    ):
        lookup("resnet", known, where="w", what="architecture")
    for wrong in (None, 3, ["small"]):
        with pytest.raises(InputError, match="unknown architecture"):
            lookup(wrong, known, where="w", what="architecture")


def test_far_names_get_no_suggestion() -> None:
    assert did_you_mean("xyz", ["resnet18", "small"]) == ""
    with pytest.raises(InputError, match=r"unknown key 'xyz' \(known: a, b\)"):
        check_keys({"a": 1, "xyz": 2}, ["a", "b"], where="w")
    check_keys({"a": 1}, ["a", "b"], where="w")


def test_summary_is_the_first_line() -> None:
    assert summary(Recipe) == "How something is made."
    assert summary(object()) != ""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("LENET", "lenet"),
        ("ResNet-Small", "resnet-small"),
        ("resnet_small", "resnet-small"),
        ("RESNET SMAL", "resnet-small"),
        ("Cifar-10", "CIFAR10"),
        ("lenett", "lenet"),
    ],
)
def test_letter_case_and_signs_do_not_hide_a_name(written: str, meant: str) -> None:
    known = {"lenet": 1, "resnet-small": 2, "CIFAR10": 3, "net": 4}
    with pytest.raises(InputError, match=f"did you mean '{meant}'"):
        lookup(written, known, where="w", what="thing")
    with pytest.raises(InputError, match=f"did you mean '{meant}'"):
        check_keys({written: 1}, known, where="w")
