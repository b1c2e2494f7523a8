"""docs/defenses.md is what the registry says."""

import os
import re

import pytest
from defenses_page import BEGIN, END, PAGE, filled

from carom.defenses import DEFENSES
from carom.scenarios.spec.read import parse_scenario


def test_the_page_is_what_the_registry_says() -> None:
    """Renewed by CAROM_WRITE_PAGES=1."""
    page = PAGE.read_text()
    if os.environ.get("CAROM_WRITE_PAGES"):
        PAGE.write_text(filled(page))
    assert PAGE.read_text() == filled(page)


def test_every_defence_has_one_row() -> None:
    generated = filled(PAGE.read_text()).split(BEGIN)[1].split(END)[0]
    rows = [line for line in generated.splitlines() if line.startswith("| `")]
    assert len(rows) == len(DEFENSES)
    for name in DEFENSES:
        assert sum(row.startswith(f"| `{name}` |") for row in rows) == 1, name


def test_the_scenario_of_the_page_can_be_read() -> None:
    victims, attacks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    budgets = 'budgets = [{norm = "linf", eps = "16/255"}]'
    models = '[models]\narchitecture = "lenet"\n[[surrogates]]\nseed = 1'
    text = f'name = "page"\ntask = "digits"\n{attacks}\n{budgets}\n{models}\n{victims}'
    scenario = parse_scenario(text, where="docs/defenses.md")
    assert scenario.defended
    assert {v.defense_name for v in scenario.victims} >= {"none", "plain -> pubdef", "AT + JPEG"}
    assert [a.decoy for a in scenario.attacks] == [False, False, True, False]


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="generated: defences"):
        filled("no markers")
