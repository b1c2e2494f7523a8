"""What a scenario cannot be, though each of its fields is right."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.scenarios.conftest import SMALL, Carom, one_line

from carom.errors import InputError
from carom.scenarios.plan.plan import Plan, plan
from carom.scenarios.spec.read import load_scenario

Write = Callable[..., Path]


def planned(path: Path) -> Plan:
    return plan(load_scenario(str(path)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("seed = 2", 'seed = 2\n[[validation_victims]]\nseed = 2\nname = "judge"'),
            ["training seed 2", "two roles", "validation victim 'judge'"],
        ),
        (("seed = 2", "seed = 1_000_001"), ["training seed 1000001", "two roles"]),
        (("seed = 2", "seed = [2, 2]"), ["victims", "names must differ"]),
        (("seed = 2", 'seed = [2, 3]\nname = "v"'), ["victims", "'v'", "names must differ"]),
        (("seed = 2", 'seed = 2\nname = "a"\n[[victims]]\nseed = 2\nname = "b"'), ["'a'", "'b'", "same model"]),
        (('"mi"', '"mi", {name = "mi", label = "twin"}'), ["same adversarial set", "twin ask for", "drop one"]),
        (('eps = "32/255"', 'eps = ["32/255", "64/510"]'), ["budgets", "linf 32/255"]),
    ],
)
def test_two_of_one_are_refused(change: tuple[str, str], words: list[str], scenario: Write) -> None:
    ensemble = ("seed = 1", 'seed = 1\nbuilder = {name = "ensemble", size = 2}')
    with pytest.raises(InputError) as error:
        planned(scenario(*SMALL, ensemble, change))
    for word in words:
        assert word in str(error.value)


def test_one_model_in_two_roles(carom: Carom, scenario: Write, tmp_path: Path) -> None:
    trained = tmp_path / "m.safetensors"
    text = scenario().read_text()
    from carom.scenarios.spec.read import parse_scenario
    from carom.zoo.models.checkpoints import save_state_dict
    from carom.zoo.models.classifier import create

    parsed = parse_scenario(text, where="tiny")
    network = parsed.surrogates[0].base.configuration.architecture  # type: ignore[union-attr]
    save_state_dict(create(network, shape=(1, 6, 5), classes=3), trained)
    both = f'seed = 2\n[[victims]]\nname = "v"\nmodel = "{trained}"\n[[surrogates]]\nname = "s"\nmodel = "{trained}"'
    one_line(carom("run", scenario(("seed = 2", both)), "--store", tmp_path / "s"), "two roles", "'s'", "'v'")
