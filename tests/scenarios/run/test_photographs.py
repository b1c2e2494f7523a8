"""Images that are only attacked, on models of 1,000 classes: scenarios of three lines, targets, refusals."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.scenarios.conftest import Carom

from carom import evaluate
from carom.errors import CaromError
from carom.scenarios.plan.plan import Plan, plan
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes

SIDE, CLASSES = 8, 1000

NETWORKS = f"""
import torch
from torch import nn


def network(seed):
    '''Each of the 1,000 classes by the pattern that its images have, seen through a haze of the network's own.'''
    patterns = torch.randint(0, 2, ({CLASSES}, {3 * SIDE * SIDE}), generator=torch.Generator().manual_seed(7)) * 2.0 - 1
    own = torch.randn(patterns.shape, generator=torch.Generator().manual_seed(seed))
    net = nn.Sequential(nn.Flatten(), nn.Linear(patterns.shape[1], {CLASSES}))
    with torch.no_grad():
        net[1].weight.copy_(patterns + 0.5 * own)
        net[1].bias.copy_(-0.5 * net[1].weight.sum(1))
    return net


def one():
    return network(1)


def two():
    return network(2)


def three():
    return network(3)


def other_order():
    net = network(2)
    net[1].weight.data = net[1].weight.data.roll(1, 0)
    net[1].bias.data = net[1].bias.data.roll(1, 0)
    return net
"""

MODELS = """
surrogates = [{model = "photo_nets:one", revision = "1"}]
victims = [{model = "photo_nets:two", revision = "1"}]
"""


def photographs(labels: list[int]) -> np.ndarray:
    """8-bit colour images `n rows columns channels` whose classes the networks see."""
    patterns = torch.randint(0, 2, (CLASSES, 3 * SIDE * SIDE), generator=torch.Generator().manual_seed(7)) * 2 - 1
    rng = np.random.default_rng(0)
    seen = patterns.numpy().reshape(CLASSES, 3, SIDE, SIDE).transpose(0, 2, 3, 1)[labels]
    found: np.ndarray = (128 + 6 * seen + rng.integers(-6, 7, seen.shape)).astype(np.uint8)
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "photo_nets.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "photo_nets", raising=False)
    return tmp_path


LABELS = [*range(0, 1000, 59), 999, 0, 0]  # 20 images of 18 classes


def save_folder(root: Path, *, targets: list[int] | None = None) -> None:
    root.mkdir()
    rows = ["file,label" + (",target" if targets else "")]
    for i, image in enumerate(photographs(LABELS)):
        Image.fromarray(image).save(root / f"{i:02}.png")
        rows.append(f"{i:02}.png,{LABELS[i]}" + (f",{targets[i]}" if targets else ""))
    (root / "labels.csv").write_text("\n".join(rows) + "\n")


def folder_with_a_table(here: Path) -> str:
    save_folder(here / "photos")
    return 'task = {name = "photographs", root = "photos", names = "imagenet"}'


def npz_of_two_arrays(here: Path) -> str:
    np.savez(here / "photos.npz", x=photographs(LABELS), y=np.array(LABELS))
    return 'task = {name = "npz", path = "photos.npz", layout = "nhwc", names = "imagenet"}'


def class_folders(here: Path) -> str:
    for i, image in enumerate(photographs(LABELS)):
        folder = here / "photos" / "val" / str(LABELS[i])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:02}.png")
    return 'task = {name = "photographs", root = "photos", names = "imagenet"}'


def planned(text: str) -> Plan:
    return plan(parse_scenario(text, where="photos.toml"))


@pytest.mark.parametrize("made", [folder_with_a_table, npz_of_two_arrays, class_folders])
def test_three_lines_are_a_scenario(here: Path, carom: Carom, made: Callable[[Path], str]) -> None:
    (here / "photos.toml").write_text(made(here) + MODELS)
    done = carom("run", "photos.toml", "--store", "st", "--workers", "0", "--json")
    assert done.code == 0, done.err
    with Store(here / "st") as store:
        outcomes = read_outcomes(store, json.loads(done.out)[0]["run"])
    assert len(outcomes.classes) == CLASSES
    assert sorted(outcomes.labels) == sorted(LABELS)
    attacked = outcomes.cells[~outcomes.cells["control"]]
    assert set(attacked["attack"]) == {"fgsm", "mi"}
    assert set(attacked["norm"] + " " + attacked["eps"]) == {"linf 8/255"}
    assert (outcomes.clean_predictions == outcomes.labels).all()
    assert outcomes.asr[~outcomes.control].max() > 0.5


def test_targets_of_the_table_are_aimed_at(here: Path) -> None:
    targets = [(label + 1 + i) % CLASSES for i, label in enumerate(LABELS)]
    save_folder(here / "photos", targets=targets)
    text = (
        'task = {name = "photographs", root = "photos", names = "imagenet"}\n'
        'attacks = [{name = "mi", targeted = true}]\nbudgets = [{eps = "32/255"}]\n'
    ) + MODELS
    scenario = parse_scenario(text, where="photos.toml")
    report = run_scenario(scenario, here / "st", workers=0)
    assert not report.failures
    found = plan(scenario)
    (made,) = [s for s in found.sets.values() if s.attack is not None]
    by_file = dict(
        zip(
            found.images["test"].images.ids.tolist(),
            load_file(here / "st" / "artifacts" / "sets" / f"{made.key}.safetensors")["target"].tolist(),
            strict=True,
        )
    )
    images = found.scenario.task.load("images", "test")
    assert [by_file[i] for i in images.ids.tolist()] == targets  # files are in the order of the table here
    with Store(here / "st") as store:
        outcomes = read_outcomes(store, report.run)
        assert outcomes.target is not None
        assert outcomes.target.tolist() == targets
        own = outcomes.cells["case"].to_numpy() == 0
        hit = outcomes.adversarial[own & outcomes.targeted] == np.array(targets)
    assert hit.mean() > 0.9  # a white box at 32/255
    assert outcomes.success[own & outcomes.targeted].sum() == hit.sum()  # all were right before
    # other targets are other images to attack: what rests on the first ones is made anew
    others = [(target + 1) % CLASSES for target in targets]
    for path in (here / "photos").iterdir():
        path.unlink()
    (here / "photos").rmdir()
    save_folder(here / "photos", targets=others)
    again = run_scenario(scenario, here / "st", workers=0)
    assert (again.crafted, again.evaluated) != (0, 0)
    with Store(here / "st") as store:
        outcomes = read_outcomes(store, again.run)
    assert outcomes.target is not None
    assert outcomes.target.tolist() == others


def test_freed_sets_leave_their_targets(here: Path, carom: Carom) -> None:
    targets = [(label + 3) % CLASSES for label in LABELS]
    save_folder(here / "photos", targets=targets)
    text = 'task = {name = "photographs", root = "photos", names = "imagenet"}\n'
    text += 'attacks = [{name = "mi", targeted = true}]\n'
    report = run_scenario(parse_scenario(text + MODELS, where="photos.toml"), here / "st", workers=0)
    assert carom("gc", "--sets", "--store", "st").code == 0
    with Store(here / "st") as store:
        outcomes = read_outcomes(store, report.run)
    assert outcomes.target is not None
    assert outcomes.target.tolist() == targets


def test_fewer_images_than_classes(here: Path) -> None:
    task = folder_with_a_table(here)
    some = planned(task + MODELS + "[images]\nper_source = 5\n").images["test"]
    every = planned(task + MODELS).images["test"]
    assert (len(some.images), len(every.images)) == (5, 20)
    assert set(some.images.ids.tolist()) < set(every.images.ids.tolist())
    assert some.key != every.key


def test_a_file_of_other_names_is_another_image_set(here: Path) -> None:
    save_folder(here / "photos")
    text = 'task = {name = "photographs", root = "photos", names = "names.txt"}' + MODELS
    keys = set()
    for extra in ("", "x"):
        (here / "names.txt").write_text("\n".join(f"{extra}class {k}" for k in range(CLASSES)))
        keys.add(planned(text).images["test"].key)
    assert len(keys) == 2


def test_images_mixed_in_are_attacked_ones_of_other_classes(here: Path) -> None:
    text = folder_with_a_table(here) + '\nattacks = ["admix"]\n' + MODELS
    report = run_scenario(parse_scenario(text, where="photos.toml"), here / "st", workers=0)
    assert not report.failures


def test_a_stated_accuracy_is_held_to_the_attacked_images(here: Path) -> None:
    stated = MODELS.replace('"photo_nets:two"', '"photo_nets:two", clean_accuracy = {accuracy}, tolerance = 0.01')
    task = folder_with_a_table(here)
    said = " ".join(planned(task + stated.replace("{accuracy}", "0.9")).checks)
    assert "clean accuracy 100.0% on 20 test images" in said
    with pytest.raises(CaromError, match=r"clean accuracy 0\.0% on 20 test images, stated 90\.0%"):
        planned(task + stated.replace("{accuracy}", "0.9").replace("photo_nets:two", "photo_nets:other_order"))


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("[[pool]]\ngroup = 'normal'\nseed = 3\n", "is to be trained, and photographs has images that are only att"),
        ("[[validation_victims]]\nmodel = 'photo_nets:three'\n", "photo_nets:three answers validation images"),
        ("[geometry]\n", "geometry is measured on training images"),
    ],
)
def test_what_needs_more_images_is_refused(here: Path, extra: str, said: str) -> None:
    with pytest.raises(CaromError) as error:
        parse_scenario(folder_with_a_table(here) + MODELS + extra, where="photos.toml")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_victims_to_train_or_defend_are_refused(here: Path) -> None:
    task = folder_with_a_table(here)
    with pytest.raises(CaromError, match=r"is to be trained, .* give it a `model`"):
        parse_scenario(
            task + '\nsurrogates = [{model = "photo_nets:one"}]\nvictims = [{seed = 2}]', where="photos.toml"
        )
    text = task + MODELS.replace('"photo_nets:two"', '"photo_nets:two", defense = "jpeg"')
    with pytest.raises(CaromError, match=r"is chosen on validation images, .* leave the defense out"):
        parse_scenario(text, where="photos.toml")


def test_classes_in_another_order_are_an_alarm(here: Path, carom: Carom) -> None:
    text = (
        folder_with_a_table(here) + MODELS.replace("photo_nets:two", "photo_nets:other_order") + 'attacks = ["fgsm"]\n'
    )
    (here / "photos.toml").write_text(text)
    done = carom("run", "photos.toml", "--store", "st", "--workers", "0")
    assert done.code == 0, done.err
    assert "order of classes?" in done.out
    (check,) = [
        c for c in json.loads(carom("show", "--store", "st", "--json").out)["controls"] if c["control"] == "labels"
    ]
    assert check["came"].startswith("photo_nets:other_order right on 0 of 20 clean images")
    assert "of 3 images labelled 'tench' 3 are called 'goldfish'" in check["came"]
    assert carom("export", "--format", "html", "-o", "report", "--store", "st").code == 0
    (report,) = (here / "report").glob("*.html")
    assert "order of classes?" in report.read_text()
    x = torch.from_numpy(photographs(LABELS)).permute(0, 3, 1, 2) / 255
    from photo_nets import other_order  # type: ignore[import-not-found]

    found = evaluate(other_order().eval(), x, torch.tensor(LABELS), x)
    assert "order of classes? of 3 images labelled '0' 3 are called '1'" in str(found)


def test_what_each_model_sees_stands_in_plan_and_tables(here: Path, carom: Carom) -> None:
    declared = 'model = "photo_nets:two", revision = "1", preprocessing = {resize = 10, crop = [8, 8]}'
    text = folder_with_a_table(here) + MODELS.replace('model = "photo_nets:two", revision = "1"', declared)
    (here / "photos.toml").write_text(text + 'attacks = ["fgsm"]\n')
    told = carom("plan", "photos.toml", "--store", "st", "--json")
    models = json.loads(told.out)["your models"]
    assert "photo_nets:one answers logits, sees 8x8, all pixels as they are" in models
    assert "photo_nets:two answers logits, sees 8x8, the middle of 10x10, resized from 8x8 (bilinear)" in models
    assert carom("run", "photos.toml", "--store", "st", "--workers", "0").code == 0
    rows = json.loads(carom("show", "--store", "st", "--json").out)["models"]
    sees = {row["model"]: row["sees"] for row in rows}
    assert sees == {
        "photo_nets:one": "8x8, all pixels as they are",
        "photo_nets:two": "8x8, the middle of 10x10, resized from 8x8 (bilinear)",
    }
