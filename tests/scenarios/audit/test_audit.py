"""`carom audit`: from a model and a folder to sentences whose numbers are those of the stored answers."""

import html
import importlib
import io
import json
import os
import re
import shutil
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest  # type: ignore[attr-defined]
from tests.conftest import Once
from tests.scenarios.audit.made import LABELS, NETWORKS, SIDE, save_folder
from tests.scenarios.conftest import Answer, Carom, one_line

from carom.errors import InputError
from carom.scenarios.audit import surrogates
from carom.scenarios.audit.audit import Asked, audit
from carom.scenarios.audit.fitting import _some, fit
from carom.scenarios.audit.images import photographs
from carom.scenarios.audit.model import look
from carom.scenarios.audit.scenario import attack_names
from carom.scenarios.gates.ask import ask_suite
from carom.scenarios.gates.named import named_model
from carom.scenarios.gates.suite import read_suite
from carom.scenarios.plan.images import images_to_attack
from carom.scenarios.run.progress import Silent
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes

EPS = ("5/255", "6/255")
ONE = ("audit", "nets:normalised", "--images", "photos", "--surrogates", "nets:two,nets:three", "--eps", ",".join(EPS))
SHORT = ("--surrogates", "nets:two", "--attacks", "fgsm", "--eps", "6/255", "--workers", "0")
MADE_ON = ("nets.two", "nets.three")


def fill(folder: Path) -> None:
    """Networks and pictures, and the audit of one, done."""
    (folder / "nets.py").write_text(NETWORKS)
    save_folder(folder / "photos")
    asked = Asked(
        model="nets:normalised",
        images="photos",
        output=Path("audit"),
        store=Path(".carom"),
        surrogates="nets:two,nets:three",
        eps=",".join(EPS),
    )
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = audit(asked, workers=0, device="cpu", progress=Silent())
    finally:
        os.chdir(before)
        sys.modules.pop("nets", None)
    assert done.report.crafted == 2 * 2 * 3 + 2 + 2 * 5 + 1  # two radii; white box; controls, one of them of no size


@pytest.fixture
def here(once: Once, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with networks, pictures, and an audit."""
    shutil.copytree(once("audited-pictures", fill), tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    sys.modules.pop("nets", None)
    yield tmp_path / "here"
    sys.modules.pop("nets", None)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any weights."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(surrogates, "_packages", lambda classes: iter(()))


def counted(here: Path, run: str, victim: str) -> dict[str, Any]:
    """The same numbers by a plain loop over stored predictions."""
    with Store(here / ".carom") as store:
        outcomes = read_outcomes(store, run)
    found: dict[str, Any] = {"right": 0, "turned": {}}
    clean = None
    for row, answers in zip(outcomes.cells.to_dict("records"), outcomes.adversarial.tolist(), strict=True):
        if row["victim"] != victim:
            continue
        clean = outcomes.clean_predictions[row["victim_index"]].tolist()
        turned = [
            i
            for i, (was, now, label) in enumerate(zip(clean, answers, outcomes.labels.tolist(), strict=True))
            if was == label and now != label
        ]
        found["turned"][row["surrogate"], row["attack"], row["eps"]] = turned
    assert clean is not None
    found["right"] = sum(was == label for was, label in zip(clean, outcomes.labels.tolist(), strict=True))
    found["labels"] = outcomes.labels.tolist()
    return found


def told(carom: Carom) -> dict[str, Any]:
    answer = carom(*ONE, "--workers", "0", "--json")
    assert answer.code == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out)
    return found


def test_the_sentences_say_what_a_plain_loop_over_stored_predictions_counts(here: Path, carom: Carom) -> None:
    done = carom(*ONE, "--workers", "0")
    assert done.code == 0, done.err
    by_hand = counted(here, told(carom)["run"], "nets.normalised")
    right, turned = by_hand["right"], by_hand["turned"]
    lines = done.out.splitlines()
    assert f"Nets.normalised gets {right} of {len(LABELS)} images right." in lines
    partly = 0
    for eps in EPS:
        made = {key: images for key, images in turned.items() if key[0] in MADE_ON and key[2] == eps}
        assert len(made) == 6
        mean = sum(map(len, made.values())) / (6 * right)
        most = max(made, key=lambda key: len(made[key]))
        some = len(set().union(*made.values()))
        noise = len(turned["", "sign-noise 1", eps]) / right
        own = len(turned["nets.normalised", "mi on victims", eps]) / right
        line = next(line for line in lines if f" at {eps};" in line)
        assert line.startswith(f"Of {right} images that the model gets right, attacks made on public models")
        numbers = [int(n) for n in re.findall(r"(\d+) %", line)]
        said = [mean, len(made[most]) / right, some / right, noise, own]
        assert numbers == [int(f"{100 * share:.0f}") for share in said], line
        low, high = binomtest(some, right).proportion_ci(method="wilson")
        assert f"at least one of them {100 * some / right:.0f} % ({100 * low:.0f} to {100 * high:.0f})" in line
        partly += 0 < mean < 1
    assert partly  # else the loop compares noughts


def test_the_most_exposed_classes_are_those_with_enough_images(here: Path, carom: Carom) -> None:
    found = told(carom)
    by_hand = counted(here, found["run"], "nets.normalised")
    findings = found["findings"]
    assert findings["headline"] == "6/255"
    assert findings["eligible"] == 2  # six of class 0, five of class 59
    assert {rate["of"] for rate in findings["classes"]} == {"tench", "vine snake"}
    shares = [rate["rate"] for rate in findings["classes"]]
    assert shares == sorted(shares, reverse=True)
    for rate, label in ((r, {"tench": 0, "vine snake": 59}[r["of"]]) for r in findings["classes"]):
        k = sum(
            by_hand["labels"][i] == label
            for (surrogate, _, eps), images in by_hand["turned"].items()
            if surrogate in MADE_ON and eps == "6/255"
            for i in images
        )
        assert rate["k"] == k
        assert rate["n"] == 6 * LABELS.count(label)
        assert rate["low"] <= rate["rate"] <= rate["high"]


def test_the_same_command_again_computes_nothing_and_prints_the_same(here: Path, carom: Carom) -> None:
    first, second = carom(*ONE, "--workers", "0"), carom(*ONE, "--workers", "0")
    assert "nothing to do, the store holds everything" in first.err
    assert first.out == second.out
    assert "report: audit/report.html" in first.out
    assert "scenario: audit/scenario.toml" in first.out


def test_the_scenario_is_run_by_carom_run(here: Path, carom: Carom) -> None:
    again = carom("run", "audit/scenario.toml", "--workers", "0")
    assert again.code == 0, again.err
    assert "nothing to do" in again.err


def test_the_test_file_holds_the_model_to_the_suite(here: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(Path("audit/test_nets_normalised.py").read_text(), "test", "exec"), names)
    asked: list[tuple[Mapping[str, object], str]] = []
    names["test_transfer"](lambda model, suite: asked.append((model, suite)))
    (model, file), *_ = asked
    suite = read_suite(here / "audit" / file)
    answers = ask_suite(named_model(model, suite), suite, name="audited")
    assert answers.clean_accuracy == 1
    assert len(suite.sets) == 2 * 3 * len(EPS)
    assert 0 < answers.asr < 1


def test_the_report_begins_with_the_answer(here: Path, carom: Carom) -> None:
    done = carom(*ONE, "--workers", "0")
    page = Path("audit/report.html").read_text()
    assert page.index("<h2>The answer</h2>") < page.index("<h2>What this does not say</h2>") < page.index("<h2>Tables")
    line = next(line for line in done.out.splitlines() if " at 6/255;" in line)
    assert line in html.unescape(page)
    assert "<svg" in page


def test_the_report_shows_images_that_the_strongest_attack_turns(here: Path, carom: Carom) -> None:
    by_hand = counted(here, told(carom)["run"], "nets.normalised")
    made = {key: images for key, images in by_hand["turned"].items() if key[0] in MADE_ON and key[2] == EPS[1]}
    key = max(made, key=lambda key: len(made[key]))
    page = html.unescape(Path("audit/report.html").read_text())
    section = page.partition("<h2>Images that are turned</h2>")[2].partition("<h2>")[0]
    assert f"{key[1]} on {key[0]} at {EPS[1]}, the strongest" in section
    assert f"of the {len(made[key])} images that it turns" in section
    coded = re.findall(r'src="data:image/png;base64,([^"]+)"', section)
    shown = [np.asarray(Image.open(io.BytesIO(b64decode(text)))).astype(int) for text in coded]
    factor = shown[0].shape[0] // SIDE  # small images are enlarged
    shown = [image[::factor, ::factor] for image in shown]
    stored = {Path(f"photos/{i:02}.png"): i for i in made[key]}
    opened = {i: np.asarray(Image.open(file)).astype(int) for file, i in stored.items()}
    assert len(shown) == 3 * min(6, len(made[key]))
    names = [names for names in re.findall(r"<b>(.*?) → (.*?)</b>", section) if names[0] != names[1]]
    assert len(names) == len(shown) // 3
    for clean, adversarial in zip(shown[::3], shown[2::3], strict=True):
        assert any(np.array_equal(clean, image) for image in opened.values())  # one of those that are turned
        assert 0 < np.abs(adversarial - clean).max() <= 6


# -------------------------------------------------------------------------------------------------------- preprocessing


@pytest.mark.parametrize(
    ("model", "words"), [("one", "pixels in [0, 1]"), ("normalised", "ImageNet's mean and deviation")]
)
@pytest.mark.usefixtures("here")
def test_the_preprocessing_is_found(model: str, words: str) -> None:
    fitted = fit(look({"model": f"nets:{model}"}, classes=None, side=8), "photos", labels=None, names=None, limit=99)
    assert fitted.said.startswith(f"{words}: 100 % of {len(LABELS)} images right; next best ")
    net = importlib.import_module("nets").one()  # both are this one: right with its own preprocessing alone
    images = photographs({"root": "photos", "names": "imagenet"}).load("images", "test")
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, None, :, None, None]
    seen = images.pixels * std + mean if model == "normalised" else (images.pixels - mean) / std
    wrong = [int(said) != int(truth) for said, truth in zip(net(seen).argmax(1), images.labels, strict=True)]
    p = binomtest(0, sum(wrong)).pvalue
    assert f"with {100 * (1 - sum(wrong) / len(wrong)):.0f} %, " in fitted.said
    assert fitted.said.endswith("p < .001." if p < 0.0005 else f"p = {p:.3f}.".replace("0.", ".", 1))
    assert fitted.sure
    assert fitted.side == 8


@pytest.mark.usefixtures("here")
def test_of_many_images_it_is_tried_on_those_that_are_attacked() -> None:
    table = {"name": "photographs", "root": "photos", "names": "imagenet"}
    text = """
task = {name = "photographs", root = "photos", names = "imagenet"}
attacks = ["fgsm"]
budgets = [{eps = "4/255"}]
surrogates = [{model = "nets:two"}]
victims = [{model = "nets:normalised"}]
[images]
per_source = 7
"""
    attacked = images_to_attack(parse_scenario(text, where="few.toml"), "test").images
    assert _some(table, 7).ids.tolist() == attacked.ids.tolist()


@pytest.mark.usefixtures("here")
def test_the_preprocessing_that_is_given_wins() -> None:
    table = {"model": "nets:normalised", "preprocessing": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    with pytest.raises(InputError, match="no better than guessing"):
        fit(look(table, classes=None, side=8), "photos", labels=None, names=None, limit=99)
    table["preprocessing"] = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    fitted = fit(look(table, classes=None, side=8), "photos", labels=None, names=None, limit=99)
    assert fitted.preprocessing == table["preprocessing"]
    assert fitted.said == f"the preprocessing that was given: 100 % of {len(LABELS)} images right."


@pytest.mark.usefixtures("here")
def test_a_function_has_no_white_box(carom: Carom) -> None:
    done = carom("audit", "nets:function", "--images", "photos", *SHORT)
    assert done.code == 0, done.err
    assert "own weights" not in done.out
    assert "gives no gradients" in done.out
    assert "reads" not in Path("audit/scenario.toml").read_text()


# ------------------------------------------------------------------------------------------------------------- refusals


def empty(here: Path) -> None:
    shutil.rmtree(here / "photos")
    (here / "photos").mkdir()


def unknown_label(here: Path) -> None:
    table = here / "photos" / "labels.csv"
    table.write_text(table.read_text().replace("01.png,59", "01.png,tensh"))


REFUSED: list[tuple[str, Callable[[Path], object], tuple[object, ...], tuple[str, ...]]] = [
    ("no folder", lambda here: None, ("nets:one", "--images", "nowhere"), ("nowhere", "no such folder")),
    ("no images", empty, ("nets:one", "--images", "photos"), ("no images", "<class>/<file>")),
    ("an unknown label", unknown_label, ("nets:one", "--images", "photos"), ("labels.csv:3", "tensh", "tench")),
    (
        "other classes",
        lambda here: (here / "names.txt").write_text("cat\ndog\n"),
        ("nets:one", "--images", "photos", "--names", "names.txt"),
        ("2", "names"),
    ),
    (
        "a surrogate of other classes",
        lambda here: None,
        ("nets:one", "--images", "photos", "--surrogates", "nets:ten"),
        ("nets.ten answers with 10 classes, the model with 1000",),
    ),
    (
        "the model as its own surrogate",
        lambda here: None,
        ("nets:one", "--images", "photos", "--surrogates", "nets:one"),
        ("it is the model itself",),
    ),
    (
        "no surrogate",
        lambda here: None,
        ("nets:one", "--images", "photos"),
        ("no public model of 1000 classes is on this machine", "--surrogates timm:resnet18", "carom[pretrained]"),
    ),
    (
        "classes in another order",
        lambda here: None,
        ("nets:other_order", "--images", "photos", "--surrogates", "nets:two"),
        (f"0 of {len(LABELS)} images right", "no better than guessing", "order"),
    ),
    (
        "a radius without its 255",
        lambda here: None,
        ("nets:one", "--images", "photos", "--eps", "4"),
        ("--eps 4", "4/255"),
    ),
    ("no such model", lambda here: None, ("nets:none", "--images", "photos"), ("nets has no 'none'",)),
    ("no such file", lambda here: None, ("net.onnx", "--images", "photos"), ("net.onnx", "no such file")),
    (
        "a preprocessing that is none",
        lambda here: None,
        ("nets:one", "--images", "photos", "--preprocessing", "imagenet"),
        ("--preprocessing", "inline table"),
    ),
]


@pytest.mark.parametrize(("change", "arguments", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
@pytest.mark.usefixtures("bare")
def test_what_is_wrong_is_one_line(
    here: Path,
    carom: Carom,
    change: Callable[[Path], object],
    arguments: tuple[object, ...],
    words: tuple[str, ...],
) -> None:
    change(here)
    answer: Answer = carom("audit", *arguments, "--workers", "0")
    one_line(answer, *words)


# ----------------------------------------------------------------------------------------------------------- at hand


@pytest.mark.usefixtures("bare")
def test_weights_in_the_caches_are_found_with_their_families(tmp_path: Path) -> None:
    for name in ("resnet18.a1_in1k", "mixer_b16_224.goog_in21k_ft_in1k", "resnet50.a1_in1k"):
        snapshot = tmp_path / "hub" / f"models--timm--{name}" / "snapshots" / "1"
        snapshot.mkdir(parents=True)
        if not name.startswith("resnet50"):  # which was cut off
            (snapshot / "model.safetensors").touch()
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "vgg16-397923af.pth").touch()
    found = surrogates.at_hand(1000)
    assert {(str(table["model"]), family) for table, family in found} == {
        ("timm:resnet18.a1_in1k", "residual"),
        ("timm:mixer_b16_224.goog_in21k_ft_in1k", "mixer"),
        ("torchvision:vgg16", "cnn"),
    }
    assert surrogates.at_hand(10) == []
    ordered = [str(table["model"]) for table in surrogates._in_turn(found, "residual")]
    assert ordered[-1] == "timm:resnet18.a1_in1k"  # its own family last


def test_surrogates_are_read_with_commas_between_and_tables_among_them() -> None:
    text = '{model = "x.pth", preprocessing = {mean = [0.5], std = [0.5]}}, timm:resnet18,torchvision:vgg16'
    assert surrogates.named_surrogates(text) == [
        {"model": "x.pth", "preprocessing": {"mean": [0.5], "std": [0.5]}},
        {"model": "timm:resnet18"},
        {"model": "torchvision:vgg16"},
    ]


@pytest.mark.parametrize("name", ["transfer-then-query", "square"])
def test_attacks_that_ask_the_model_are_none_of_public_models(name: str) -> None:
    assert attack_names("fgsm, mi+di") == ("fgsm", "mi+di")
    with pytest.raises(InputError, match=f"--attacks {name}: it asks the audited model"):
        attack_names(f"mi,{name}")
