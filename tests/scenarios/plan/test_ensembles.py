"""Models that exist already, attacked as one: their gradient, what they may be, and what is no transfer."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from tests.scenarios.conftest import Carom, one_line
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

import carom as api
from carom.budget import Budget
from carom.errors import InputError, ModelError
from carom.protocols import Combination
from carom.scenarios.plan.plan import plan
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import load_scenario
from carom.scenarios.store.artifacts import read_tensors
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.surrogates import Surrogate
from carom.zoo.architectures import architecture
from carom.zoo.models.checkpoints import save_state_dict
from carom.zoo.models.classifier import Classifier, create
from carom.zoo.preprocessing import Preprocessing

Scenario = Callable[..., Path]
ONE_MODEL = (
    ('source = ["here", "there"]', 'source = "here"'),
    ('balance = ["uniform", "tv0.2"]', 'balance = "uniform"'),
    ('architecture = [{name = "mlp", width = 12}, "lenet"]', 'architecture = {name = "mlp", width = 12}'),
)
LARGE = Preprocessing(mean=(0.4,), std=(0.3,), resize=(13, 11))
SMALL = Preprocessing(mean=(0.5,), std=(0.25,))
MLP = '{name = "mlp", width = 9}'


def weights(path: Path, name: str | Mapping[str, object], seed: int, preprocessing: Preprocessing) -> Classifier:
    made = create(architecture(name), shape=(1, 6, 5), classes=3, seed=seed, preprocessing=preprocessing)
    save_state_dict(made, path)
    return made.eval()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Classifier]:
    """Two files of weights: of a network that sees 13 x 11 pixels, and of one that sees 6 x 5."""
    monkeypatch.chdir(tmp_path)
    return {
        "large.safetensors": weights(Path("large.safetensors"), "lenet", 1, LARGE),
        "small.safetensors": weights(Path("small.safetensors"), {"name": "mlp", "width": 9}, 2, SMALL),
    }


def write(scenario: Scenario, models: str, more: str = "", *changes: tuple[str, str]) -> Path:
    """The tiny scenario with an ensemble in the place of its surrogate."""
    table = f"[[surrogates]]\nmodels = [{models}]\n{more}"
    return scenario(*ONE_MODEL, ("[[surrogates]]\nseed = 1", table), *changes)


BOTH = '"large.safetensors", "small.safetensors"'
ATTACKS = ('attacks = ["fgsm", "mi"]', 'attacks = ["fgsm", "svre", "cwa", "mi"]')


@pytest.mark.parametrize("combination", ["logits", "probabilities", "loss"])
def test_the_gradient_of_an_ensemble_is_that_of_its_models_at_the_attacked_image(
    combination: str, files: dict[str, Classifier], scenario: Scenario, tmp_path: Path
) -> None:
    """One step, written out: each model resizes and normalises for itself, and they are fused as said."""
    how = f'builder = {{name = "ensemble", combination = "{combination}"}}'
    file = write(scenario, BOTH, how, ATTACKS if combination == "logits" else ('"fgsm", "mi"', '"fgsm"'))
    planned = plan(load_scenario(str(file)))
    report = run_scenario(planned.scenario, tmp_path / "store", workers=0)
    assert not report.failures
    attacked = planned.images["test"].images
    x = (attacked.images.float() / 255).requires_grad_()
    large, small = (model.network for model in files.values())
    seen = interpolate(x, (13, 11), mode="bilinear", align_corners=False, antialias=LARGE.antialias)
    logits = [large((seen - 0.4) / 0.3), small((x - 0.5) / 0.25)]
    if combination == "logits":
        loss = cross_entropy((logits[0] + logits[1]) / 2, attacked.labels, reduction="sum")
    elif combination == "probabilities":
        mean = (logits[0].softmax(1) + logits[1].softmax(1)) / 2
        loss = -mean.gather(1, attacked.labels[:, None]).log().sum()
    else:
        loss = sum(cross_entropy(one, attacked.labels, reduction="sum") for one in logits) / 2  # type: ignore[assignment]
    (gradient,) = torch.autograd.grad(loss, x)
    expected = (attacked.images.int() + 32 * gradient.sign().int()).clamp(0, 255)
    sets = {s.label: key for key, s in planned.sets.items()}
    images = read_tensors(tmp_path / "store" / "artifacts" / "sets" / f"{sets['fgsm']}.safetensors")["images"]
    clear = gradient.abs() > 1e-5 * gradient.abs().amax()
    assert bool(clear.float().mean() > 0.99)
    assert torch.equal(images.int()[clear], expected[clear])
    if combination == "logits":  # the rules for several members read it too, and its own modules give the same
        for name in ("svre", "cwa", "mi"):
            made = api.attack(
                name, list(files.values()), attacked.pixels, attacked.labels, eps="32/255", ids=attacked.ids
            )
            stored = read_tensors(tmp_path / "store" / "artifacts" / "sets" / f"{sets[name]}.safetensors")["images"]
            rounded = Budget.parse("linf", "32/255").quantize(made, attacked.images)
            assert float((rounded == stored).float().mean()) > 0.99, name


def test_its_own_models_are_white_boxes_and_never_transfer(
    files: dict[str, Classifier], scenario: Scenario, tmp_path: Path
) -> None:
    declared = 'name = "both"\nsource = "here"\nbalance = "uniform"\narchitecture = "lenet+mlp(width=9)"'
    file = write(scenario, BOTH, declared, ('"fgsm", "mi"', '"fgsm"'))
    report = run_scenario(load_scenario(str(file)), tmp_path / "store", workers=0)
    assert not report.failures
    with Store(tmp_path / "store") as store:
        outcomes = read_outcomes(store, report.run)
    mine = outcomes.cells.assign(transfer=outcomes.transfer)
    mine = mine[mine["surrogate"] == "both"]
    told = {row.victim: (row.case, row.transfer) for row in mine.itertuples()}
    assert told == {
        "large.safetensors": (0, False),
        "small.safetensors": (0, False),
        "here/uniform/mlp(width=12)/s2": (3, True),
    }


VICTIM = '[[victims]]\nname = "theirs"\nmodel = "{}"\n'


@pytest.mark.parametrize("name", ["small.safetensors", "copy.safetensors"])
def test_a_victim_that_is_one_of_its_models_under_another_name_is_refused(
    name: str, files: dict[str, Classifier], scenario: Scenario, tmp_path: Path, carom: Carom
) -> None:
    shutil.copy("small.safetensors", "copy.safetensors")
    file = write(scenario, BOTH, 'name = "both"')
    file.write_text(f"{file.read_text()}\n{VICTIM.format(name)}")
    one_line(
        carom("run", file, "--store", tmp_path / "store"),
        "two roles",
        "'small.safetensors'",
        "'theirs'",
        "call both alike",
    )


NETS = """
import torch
from torch import nn
class Ten(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(30, 4))
def judge(x): return x[:, 0, ::2].sum(2)
class Rounds(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(30, 3)
    def forward(self, x): return self.net(x.detach().flatten(1))
"""


@pytest.mark.parametrize(
    ("models", "more", "words"),
    [
        ('"large.safetensors"', "", ["surrogates[0].models", "at least 2 models"]),
        (f'"large.safetensors", {{architecture = {MLP}}}', "", ["surrogates[0].models[1]", "a table with `model`"]),
        ('"large.safetensors", "large.safetensors"', "", ["models[1]", "are one model", "once"]),
        ('"large.safetensors", "other.safetensors"', "", ["models[1]", "'other.safetensors' are one model", "once"]),
        ('"small.safetensors", {model = "changed.safetensors"}', "", ["have the same weights", "once"]),
        (BOTH, 'builder = "lgv"', ["surrogates[0].builder", "read as they are", "lgv"]),
        (BOTH, 'builder = {name = "ensemble", size = 2}', ["builder.size", "those of 'models'"]),
        (BOTH, "seed = 1", ["seed", "surrogates[0]"]),
        (f'{BOTH}, "nets_of_ensembles:Ten"', "", ["nets_of_ensembles:Ten", "4 classes", "has 3"]),
        (f'{BOTH}, "nets_of_ensembles:judge"', "", ["nets_of_ensembles:judge", "torch module", "gradients"]),
        (f'{BOTH}, "nets_of_ensembles:Rounds"', "", ["nets_of_ensembles:Rounds", "no gradient reaches"]),
        (f'{BOTH}, "gone.safetensors"', "", ["models[2]", "gone.safetensors", "no such file"]),
    ],
)
def test_what_is_no_ensemble_is_refused_in_one_line(
    models: str,
    more: str,
    words: list[str],
    files: dict[str, Classifier],
    scenario: Scenario,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy("large.safetensors", "other.safetensors")
    # the same tensors, in a file of other bytes
    weights(Path("changed.safetensors"), {"name": "mlp", "width": 9}, 2, SMALL)
    from safetensors.torch import load_file, save_file

    save_file(load_file("changed.safetensors"), "changed.safetensors", metadata=metadata("small.safetensors"))
    (tmp_path / "nets_of_ensembles.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as error:
        plan(load_scenario(str(write(scenario, models, more))))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def metadata(name: str) -> dict[str, str]:
    """That of a file of weights, with a word more."""
    from safetensors import safe_open

    with safe_open(name, "pt") as file:
        return {**(file.metadata() or {}), "note": "copied"}


@pytest.mark.parametrize("combination", ["logits", "loss"])
@pytest.mark.parametrize("source", [False, True])
def test_modules_of_different_classes_are_refused_in_one_line(combination: Combination, source: bool) -> None:
    """Given as modules, or shown by a gradient source of one's own."""
    both = [nn.Sequential(nn.Flatten(), nn.Linear(30, k)).eval() for k in (3, 4)]
    model = Surrogate(tuple(both), combination=combination) if source else both
    y = torch.tensor([0, 1])
    with pytest.raises(ModelError) as error:
        api.attack("mi", model, torch.rand(2, 1, 6, 5), y, eps="8/255", combination=combination)
    said = "answers with 4 classes, another with 3" if source else "the models answer with 3, 4 classes"
    assert said in str(error.value)
    assert "\n" not in str(error.value)
