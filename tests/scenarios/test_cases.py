"""The cases C0 to C8."""

import itertools

import pytest

from carom.scenarios.cases import CASES, CONTROL, case, case_of

# Source, balance and architecture match, as in the table of the DUMB attacker model.
DUMB_TABLE = {
    1: (True, True, True),
    2: (True, False, True),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, True, True),
    6: (False, False, True),
    7: (False, True, False),
    8: (False, False, False),
}


@pytest.mark.parametrize(("number", "matches"), DUMB_TABLE.items())
def test_the_closed_form_is_the_table_of_dumb(number: int, matches: tuple[bool, bool, bool]) -> None:
    assert case(False, *matches) == number


def test_every_combination_has_a_case_of_its_own() -> None:
    assert sorted(case(False, *m) for m in itertools.product((True, False), repeat=3)) == list(range(1, 9))


def test_the_same_weights_are_c0() -> None:
    assert case(True, True, True, True) == 0


@pytest.mark.parametrize("matches", [m for m in itertools.product((True, False), repeat=3) if not all(m)])
def test_one_model_cannot_differ_from_itself(matches: tuple[bool, bool, bool]) -> None:
    with pytest.raises(ValueError, match="cannot differ from itself"):
        case(True, *matches)


def test_names_and_letters_agree_with_the_numbers() -> None:
    assert [c.name for c in CASES] == [f"C{i}" for i in range(9)]
    for number, (source, balance, architecture) in DUMB_TABLE.items():
        letters = {"D": source, "B": balance, "M": architecture}
        expected = "+".join(letter for letter, match in letters.items() if not match) or "none"
        assert case_of(number).mismatch == expected
        assert case_of(number).number == number


def test_controls_have_a_name_and_other_numbers_do_not() -> None:
    assert case_of(CONTROL).name == "control"
    for wrong in (-2, 9):
        with pytest.raises(ValueError, match="expected 0 to 8"):
            case_of(wrong)
