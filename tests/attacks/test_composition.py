import dataclasses
import re
from fractions import Fraction
from typing import Any

import pytest
from tests.shape import misshapen

import carom.attacks.composition
from carom.attacks import ATTACKS, DI, LITERATURE, SI, TI, Iterative, LookAhead, Momentum, Part, Uniform, parse_attack
from carom.errors import InputError
from carom.identity import content_key

PARTS = {name: entry for name, entry in ATTACKS.items() if isinstance(entry, Part)}
FAMILIES = ("gradient", "transformation", "objective", "ensemble", "path", "smallest", "query")


def loop(value: object) -> Iterative:
    attack = parse_attack(value)
    assert isinstance(attack, Iterative)
    return attack


def test_parts_fill_slots() -> None:
    assert parse_attack("bim") == Iterative()
    assert parse_attack("fgsm") == Iterative(steps=1, step=Fraction(1))
    assert parse_attack("pgd") == Iterative(start=Uniform(), steps=10, step=Fraction(1, 4))
    assert parse_attack("mi") == Iterative(momentum=Momentum(decay=1.0))
    assert parse_attack("ni") == Iterative(momentum=Momentum(), rule=LookAhead())
    assert parse_attack("di") == Iterative(transformations=(DI(),))
    assert loop("mi + di+ti+si").transformations == (DI(), TI(), SI())
    assert loop("ti+di").transformations == (TI(), DI())


def test_equal_attacks_have_equal_keys_whatever_their_spelling() -> None:
    def key(value: object) -> str:
        return content_key(parse_attack(value))

    assert key("mi+di") == key("di+mi") == key({"name": "di+mi+bim", "steps": 10, "step": "1/10"})
    assert key("ni+mi") == key("ni") == key({"name": "ni", "ni": {"decay": 1.0}})
    keys = [
        key(v)
        for v in (
            *ATTACKS,
            "di+ti",
            "ti+di",
            "mi+di",
            {"name": "mi", "steps": 20},
            {"name": "mi", "step": "1/5"},
            {"name": "mi", "mi": {"decay": 0.9}},
            {"name": "di", "di": {"rate": 0.8}},
            {"name": "ti", "ti": {"size": 7}},
        )
    ]
    assert len(set(keys)) == len(keys)


def test_a_table_sets_fields() -> None:
    table = {"name": "mi+di", "steps": 20, "step": "1/8", "mi": {"decay": 0.9}, "di": {"probability": 0.7}}
    assert parse_attack(table) == Iterative(
        momentum=Momentum(decay=0.9), transformations=(DI(probability=0.7),), steps=20, step=Fraction(1, 8)
    )
    assert loop({"name": "mi", "steps": 20}).step == Fraction(1, 20)
    assert loop({"name": "pgd", "steps": 20}).step == Fraction(1, 4)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("mi+dii", r"unknown attack 'dii'; did you mean 'di'\? \(known: admix, "),
        ("", r"unknown attack ''"),
        ("mi+", r"unknown attack ''"),
        ("bim+fgsm", r"'bim' and 'fgsm' both set steps: 10 and 1; leave one out"),
        ("bim+pgd", r"'bim' and 'pgd' both set step: 1/steps and 1/4"),
        ({"name": "mi+ni", "mi": {"decay": 0.5}}, r"'mi' and 'ni' both set momentum"),
        ("di+mi+di", r"'di' stands twice"),
        (3, r"expected a name such as"),
        ({"steps": 3}, r"expected a name such as"),
        ({"name": "mi", "stesp": 3}, r"unknown key 'stesp'; did you mean 'step"),
        ({"name": "mi", "di": {}}, r"unknown key 'di'"),
        ({"name": "mi", "mi": 3}, r"\.mi: expected a table"),
        ({"name": "mi", "mi": {"deccay": 3}}, r"\.mi: unknown key 'deccay'; did you mean 'decay'"),
        ({"name": "mi", "mi": {"decay": "much"}}, r"\.mi"),
        ({"name": "di", "di": {"probability": 2.0}}, r"probability must be in \[0, 1\], got 2"),
        ({"name": "mi", "steps": 0}, r"steps must be at least 1"),
        ({"name": "mi", "steps": True}, r"\.steps: expected a whole number"),
        ({"name": "mi", "steps": 2.0}, r"\.steps: expected a whole number"),
        ({"name": "mi", "step": "0"}, r"step must be more than 0"),
        ({"name": "mi", "step": "fast"}, r"\.step: expected a number"),
    ],
)
def test_mistakes_are_named_with_their_place(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_attack(value, where="quick.toml: attacks[1]")
    assert str(caught.value).startswith("quick.toml: attacks[1]")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_name_says_what_it_is(name: str) -> None:
    part = ATTACKS[name]
    assert part.summary.endswith(".")
    assert "arXiv:" in part.paper or "doi:" in part.paper
    assert part.family in FAMILIES
    assert part.passes == parse_attack(name).passes()


@pytest.mark.parametrize("name", PARTS)
def test_what_is_listed_as_a_default_can_be_written_and_changes_nothing(name: str) -> None:
    part = PARTS[name]
    own = {k: v for k, v in part.defaults.items() if k not in ("steps", "step")}
    table: dict[str, Any] = {"name": name, "steps": part.defaults["steps"], "step": part.defaults["step"]}
    assert parse_attack({**table, name: own} if own else table) == parse_attack(name)


def test_a_field_that_two_components_of_a_part_share_means_the_same() -> None:
    """One key of the part's table sets both: SVRE's and CWA's inner and outer decay, as their authors have it."""
    for part in PARTS.values():
        values = [v for value in part.slots.values() for v in (value if isinstance(value, tuple) else [value])]
        fields = [
            (f.name, getattr(v, f.name)) for v in values if dataclasses.is_dataclass(v) for f in dataclasses.fields(v)
        ]
        assert len(dict(fields)) == len(set(fields))
    svre = loop({"name": "svre", "svre": {"decay": 0.5}})
    assert svre.momentum == Momentum(decay=0.5)
    assert svre.members == dataclasses.replace(loop("svre").members, decay=0.5)  # type: ignore[type-var]


def test_an_adapter_is_named_before_the_colon_or_alone() -> None:
    assert parse_attack("autoattack") == parse_attack("autoattack:standard")
    with pytest.raises(InputError, match="attack: torchattacks: name one of its attacks, such as torchattacks:"):
        parse_attack("torchattacks")
    with pytest.raises(InputError, match="unknown attack library 'foolbocks'"):
        parse_attack("foolbocks:FGSM")


def test_what_is_given_away_cannot_be_changed_and_every_argument_has_a_name() -> None:
    assert not list(misshapen(carom.attacks.composition))


def test_parts_are_immutable() -> None:
    part = Part(summary="", paper="", family="", slots={"steps": 3})
    with pytest.raises(TypeError):
        part.slots["steps"] = 4


# What the papers' abstracts and torchattacks' list of classes call them.
@pytest.mark.parametrize(
    ("written", "own"),
    [
        ("PGD", "pgd"),
        ("FGSM", "fgsm"),
        ("CW", "cw"),
        ("C&W", "cw"),
        ("AutoAttack", "autoattack"),
        ("auto-attack", "autoattack"),
        ("Square", "square"),
        ("Square Attack", "square"),
        ("DeepFool", "deepfool"),
        ("I-FGSM", "bim"),
        ("MI-FGSM", "mi"),
        ("MIFGSM", "mi"),
        ("mi_fgsm", "mi"),
        ("NI-FGSM", "ni"),
        ("VMI-FGSM", "vmi"),
        ("EMI-FGSM", "emi"),
        ("R+FGSM", "rfgsm"),
        ("DI2-FGSM", "di"),
        ("M-DI2-FGSM", "mi+di"),
        ("TI-FGSM", "ti"),
        ("TI-DIM", "mi+di+ti"),
        ("DIFGSM", "di"),
        ("SINIFGSM", "ni+si"),
        ("SI-NI-FGSM", "ni+si"),
        ("MI-DI-TI", "mi+di+ti"),
        ("MI-FGSM+DI2-FGSM", "mi+di"),
        ("MI+DI+TI", "mi+di+ti"),
        ("VMI-DI-TI-FGSM", "vmi+di+ti"),
        ("Admix", "admix"),
        ("Subspace Random", "subspace-random"),
        ("PGDL2", "pgd"),
    ],
)
def test_names_of_the_literature_lead_to_carom_s_own(written: str, own: str) -> None:
    with pytest.raises(InputError, match=rf"did you mean '{re.escape(own)}'\?") as error:
        parse_attack(written)
    assert "\n" not in str(error.value)
    assert parse_attack(own)


def test_every_name_of_the_literature_is_written_as_an_attack_that_exists() -> None:
    for name, own in LITERATURE.items():
        assert parse_attack(own), name
        with pytest.raises(InputError, match=rf"did you mean '{re.escape(own)}'\?"):
            parse_attack(name)


def test_a_name_that_nobody_knows_gets_the_nearest_one_or_none() -> None:
    with pytest.raises(InputError, match=r"did you mean 'admix'\?"):
        parse_attack("mi+admux")
    with pytest.raises(InputError, match=r"unknown attack 'zzzzzz' \(known: "):
        parse_attack("zzzzzz")
