"""Adversarial images made elsewhere: they give the cells that carom's own give, and what they may not be is said."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tests.scenarios.conftest import Carom, one_line

from carom.budget import Budget
from carom.errors import InputError
from carom.scenarios.plan.brought import brought
from carom.scenarios.plan.plan import plan
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import load_scenario
from carom.scenarios.spec.scenario import BroughtSet
from carom.scenarios.store.artifacts import read_tensors
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.zoo.tasks.attacked import target_classes
from carom.zoo.tasks.images import ImageSet

Scenario = Callable[..., Path]
ONE_MODEL = (
    ('source = ["here", "there"]', 'source = "here"'),
    ('balance = ["uniform", "tv0.2"]', 'balance = "uniform"'),
    ('architecture = [{name = "mlp", width = 12}, "lenet"]', 'architecture = {name = "mlp", width = 12}'),
)
TARGETED = ('"fgsm", "mi"', '{name = "mi", norms = "linf"}, {name = "mi", targeted = true, norms = "l2"}')
BUDGETS = ('[{norm = "linf", eps = "32/255"}]', '[{norm = "linf", eps = "32/255"}, {norm = "l2", eps = 1}]')
OURS = "here/uniform/mlp(width=12)/s1"


class Crafted(NamedTuple):
    """A run of carom's own, and the arrays of its sets as others would have them."""

    file: Path
    store: Path
    run: str
    images: ImageSet
    sets: Mapping[str, np.ndarray[Any, Any]]


@pytest.fixture
def crafted(scenario: Scenario, tmp_path: Path) -> Crafted:
    file = scenario(*ONE_MODEL, TARGETED, BUDGETS)
    planned = plan(load_scenario(str(file)))
    report = run_scenario(planned.scenario, tmp_path / "store", workers=0)
    assert not report.failures
    folder = tmp_path / "store" / "artifacts" / "sets"
    sets = {s.label: read_tensors(folder / f"{key}.safetensors")["images"].numpy() for key, s in planned.sets.items()}
    return Crafted(file, tmp_path / "store", report.run, planned.images["test"].images, sets)


def cells(crafted: Crafted, run: str) -> pd.DataFrame:
    """Who met what, and how that ended."""
    with Store(crafted.store) as store:
        outcomes = read_outcomes(store, run)
    wrong = [str(row.tolist()) for row in outcomes.adversarial]
    table = outcomes.cells.assign(n=outcomes.n, k=outcomes.success.sum(1), answers=wrong, transfer=outcomes.transfer)
    return table.assign(size=[len(outcomes.labels)] * len(table))


def test_sets_that_come_back_under_another_name_have_the_cells_of_the_crafted(
    crafted: Crafted, tmp_path: Path, carom: Carom
) -> None:
    """As 8-bit npz in another order, as torchattacks-like floats, and as a folder of PNG files."""
    images, shuffled = crafted.images, torch.randperm(42, generator=torch.Generator().manual_seed(1)).numpy()
    clean, y = images.images.numpy(), images.labels.numpy()
    mi, aimed = crafted.sets["mi"], crafted.sets["mi targeted"]
    np.savez(tmp_path / "eight.npz", x_adv=mi[shuffled], x_clean=clean[shuffled], y=y[shuffled])
    target = target_classes(images.labels, images.ids, 3).numpy()
    floats = [(part.astype(np.float32) / 255).transpose(0, 2, 3, 1) for part in (aimed, clean)]
    np.savez_compressed(tmp_path / "floats.npz", x=floats[0], x_clean=floats[1], target=target)
    for i in range(42):
        for name, pixels in (("made", mi), ("from", clean)):
            where = tmp_path / name / f"class {y[i]}"
            where.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[i, 0]).save(where / f"{i:03}.png")
    text = crafted.file.read_text().replace('name = "tiny"', 'name = "brought"').replace('"mi", norms', '"fgsm", norms')
    sets = f"""
[[sets]]
name = "theirs"
path = "{tmp_path / "eight.npz"}"
budget = {{eps = "32/255"}}
surrogate = "{OURS}"
[[sets]]
name = "theirs, aimed"
path = "{tmp_path / "floats.npz"}"
budget = {{norm = "l2", eps = 1}}
targeted = true
surrogate = "{OURS}"
[[sets]]
name = "theirs, as files"
path = "{tmp_path / "made"}"
clean = "{tmp_path / "from"}"
budget = {{eps = "32/255"}}
surrogate = "a network of theirs"
source = "there"
balance = "uniform"
architecture = "mlp(width=12)"
"""
    second = tmp_path / "brought.toml"
    second.write_text(text + sets)
    report = run_scenario(load_scenario(str(second)), crafted.store, workers=0)
    assert not report.failures
    assert report.trained == 0
    before, after = cells(crafted, crafted.run), cells(crafted, report.run)
    same = ["victim", "case", "n", "k", "answers", "targeted", "surrogate_config", "transfer", "surrogate", "eps"]
    for ours, theirs in (("mi", "theirs"), ("mi targeted", "theirs, aimed")):
        expected = before[before["attack"] == ours][same].reset_index(drop=True)
        assert len(expected) == 2
        assert set(expected["case"]) == {0, 1}
        pd.testing.assert_frame_equal(after[after["attack"] == theirs][same].reset_index(drop=True), expected)
    files = after[after["attack"] == "theirs, as files"]
    expected = before[(before["attack"] == "mi") & (before["case"] == 1)]
    assert files["answers"].tolist() == expected["answers"].tolist()
    assert [(row.case, row.surrogate, row.transfer) for row in files.itertuples()] == [(5, "a network of theirs", True)]
    # the same again has nothing to do, and tables and exports hold them
    again = run_scenario(load_scenario(str(second)), crafted.store, workers=0)
    assert (again.crafted, again.evaluated, again.run) == (0, 0, report.run)
    shown = carom("show", report.run, "--store", crafted.store)
    assert shown.code == 0, shown.err
    assert "theirs, as files" in shown.out
    tables = json.loads(carom("show", report.run, "--json", "--store", crafted.store).out)
    (row,) = [row for row in tables["by-attack"] if row["attack"] == "theirs, as files"]
    assert row["cells"] == 1
    for form in ("csv", "html"):
        done = carom("export", report.run, "--format", form, "-o", tmp_path / form, "--store", crafted.store)
        assert done.code == 0, done.err
    assert carom("export", crafted.run, "--format", "images", "-o", tmp_path, "--store", crafted.store).code == 0
    with np.load(tmp_path / f"{crafted.run}-images.npz") as given:
        assert {k: v.dtype for k, v in given.items()} == {"x_clean": np.uint8, "y": np.int64, "target": np.int64}
        assert np.array_equal(given["x_clean"], clean)
        assert np.array_equal(given["y"], y)
        assert np.array_equal(given["target"], target)
    compared = carom("compare", crafted.run, report.run, "--store", crafted.store)
    assert compared.code == 0, compared.err


@pytest.fixture
def images() -> ImageSet:
    """Seven images of 3 x 5 x 4 pixels, two of them equal but for their class."""
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(40, 200, (7, 3, 5, 4), generator=generator, dtype=torch.uint8)
    pixels[6] = pixels[2]
    return ImageSet(pixels, torch.tensor([0, 1, 2, 0, 1, 2, 0]), torch.arange(100, 107))


def npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **{k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in arrays.items()})  # type: ignore[arg-type]
    return str(path)


def spec(path: str, eps: str = "8/255", norm: str = "linf", **more: Any) -> BroughtSet:
    given: dict[str, Any] = {"clean": None, "targeted": False, **more}
    budget = Budget.parse(norm, eps)
    return BroughtSet(label="theirs", path=path, budget=budget, seed=0, surrogate="x", axes={}, **given)


@pytest.mark.parametrize(("norm", "eps"), [("linf", "8/255"), ("linf", "2/255"), ("linf", "0.03"), ("l2", "0.5")])
def test_floats_on_the_border_are_rounded_into_the_ball(images: ImageSet, tmp_path: Path, norm: str, eps: str) -> None:
    """Made with another library's arithmetic: x + delta in float32, clamped to the radius."""
    x = images.images.float() / 255
    delta = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    radius = float(Budget.parse(norm, eps).eps)
    if norm == "linf":
        delta = radius * delta.sign()
    else:
        delta = delta * (radius / delta.flatten(1).norm(dim=1))[:, None, None, None]
    x_adv = (x + delta).clamp(0, 1)
    path = npz(tmp_path / "a.npz", x_adv=x_adv, x_clean=x, y=images.labels)
    came = brought(spec(path, eps, norm), images, 3)
    levels = (came.images.int() - images.images.int()).flatten(1)
    exact = Budget.parse(norm, eps).eps * 255
    size = levels.abs().amax(1) if norm == "linf" else levels.square().sum(1)
    assert all(int(one) <= (exact if norm == "linf" else exact**2) for one in size)
    if norm == "linf":  # the whole radius is kept, in whole levels
        assert bool((size == int(exact)).all())
    else:
        assert torch.allclose(levels.double().norm(dim=1), torch.tensor(float(exact), dtype=torch.float64), rtol=0.02)


def test_equal_images_of_two_classes_each_get_their_own(images: ImageSet, tmp_path: Path) -> None:
    moved = images.images + torch.arange(1, 8, dtype=torch.uint8)[:, None, None, None]
    order = torch.tensor([6, 0, 5, 1, 4, 2, 3])
    path = npz(tmp_path / "a.npz", x_adv=moved[order], x_clean=images.images[order], y=images.labels[order])
    assert torch.equal(brought(spec(path), images, 3).images, moved)


def test_targets_are_those_of_the_images_where_these_have_some(images: ImageSet, tmp_path: Path) -> None:
    given = (images.labels + 1) % 3
    aimed = ImageSet(images.images, images.labels, images.ids, given)
    path = npz(tmp_path / "a.npz", x_adv=images.images, target=given)
    came = brought(spec(path, targeted=True), aimed, 3)
    assert came.target is not None
    assert torch.equal(came.target, given)


def wrong(images: ImageSet, folder: Path) -> Iterator[tuple[BroughtSet, list[str]]]:
    """Sets that cannot stand, each with what the line has to say."""
    x, y = images.images, images.labels
    a = folder / "a.npz"
    far = x.clone()
    far[4, 1, 2, 3] += 9
    far[5, 0, 0, 0] -= 11
    yield spec(npz(a, x_adv=far, x_clean=x)), ["2 of 7 images are outside", "image 5", "11/255 away", "allowed 8/255"]
    yield spec(npz(a, x=far.float() / 255)), ["2 of 7 images are outside", "image 5", "11/255 away", "allowed 8/255"]
    yield (
        spec(npz(a, x_adv=far, x_clean=x), "9/255", "l2"),
        ["1 of 7 images are outside", "image 5", "11/255 away (l2)", "allowed 9/255"],
    )
    yield (
        spec(npz(a, x_adv=x[1:5], x_clean=x[1:5])),
        ["of the 7 attacked images 3 are missing", "0 (class 0), 5 (class 2), 6 (class 0)"],
    )
    yield spec(npz(a, x_adv=x[1:])), ["6 images, 7 are attacked", "x_clean", "order"]
    yield spec(npz(a, x_adv=x, x_clean=x.float() / 255 + 0.001)), ["7 are missing", "0 (class 0)", "and 2 more"]
    twice = torch.tensor([0, 1, 2, 3, 4, 5, 6, 3])
    yield spec(npz(a, x_adv=x[twice], x_clean=x[twice])), ["image 3 and image 7", "one image"]
    yield spec(npz(a, x_adv=x, y=(y + 1) % 3)), ["7 of 7", "another label", "image 0: 1, expected 0"]
    yield spec(npz(a, x_adv=x, y=y[:3])), ["7 images in x_adv, 3 in y"]
    yield spec(npz(a, x_adv=x, y=y.float())), ["y is float32", "whole numbers"]
    yield spec(npz(a, x_adv=x), targeted=True), ["does not say at what", "'target'"]
    yield spec(npz(a, x_adv=x, target=y), targeted=True), ["another target", "image 0: 0, expected"]
    yield spec(npz(a, x_adv=x.float())), ["pixels in [", "expected [0, 1]", "divide by 255"]
    yield spec(npz(a, x_adv=x.float() * float("nan"))), ["pixels in [nan"]
    yield spec(npz(a, x_adv=x.int())), ["x_adv is int32", "uint8"]
    yield spec(npz(a, x_adv=x[:, :, 1:])), ["shape (7, 3, 4, 4)", "expected (n, 3, 5, 4)"]
    yield spec(npz(a, x_avd=x)), ["'x_avd'", "x_adv"]
    yield spec(npz(a, y=y)), ["holds y", "'x_adv'"]
    yield spec(npz(a, x_adv=x), clean=str(folder)), ["clean belongs to a folder"]
    yield spec(str(folder / "gone.npz")), ["gone.npz", "no such file or folder"]
    (folder / "text.npz").write_text("no")
    yield spec(str(folder / "text.npz")), ["text.npz", "cannot be read as npz"]


def test_what_cannot_stand_is_said_in_one_line(images: ImageSet, tmp_path: Path) -> None:
    for one, words in wrong(images, tmp_path):
        with pytest.raises(InputError) as error:
            brought(one, images, 3)
        said = str(error.value)
        assert said.startswith("sets: theirs: ")
        assert "\n" not in said
        for word in words:
            assert word in said, said


def picture(path: Path, pixels: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)


def test_folders_say_what_is_wrong_with_which_file(images: ImageSet, tmp_path: Path) -> None:
    made, origin = tmp_path / "made", tmp_path / "from"
    for i, one in enumerate(images.images[:6]):
        picture(origin / f"{i}.png", one)
        picture(made / f"{i}.png", one + 3)
    some = images.select(torch.arange(6))
    both = spec(str(made), clean=str(origin))
    assert torch.equal(brought(both, some, 3).images, some.images + 3)
    first = brought(both, some, 3).files
    picture(made / "2.png", some.images[2] + 4)
    assert brought(both, some, 3).files != first

    def refused(what: BroughtSet, *words: str) -> None:
        with pytest.raises(InputError) as error:
            brought(what, some, 3)
        for word in words:
            assert word in str(error.value), str(error.value)

    refused(spec(str(made)), "clean is missing", "same names")
    refused(spec(str(made), clean=str(tmp_path / "gone")), "gone", "no such folder")
    picture(made / "9.png", some.images[0])
    refused(both, "9 in", "no image of that name")
    (made / "9.png").unlink()
    picture(made / "2.bmp", some.images[2])
    refused(both, "2.bmp and 2.png", "one image of a name")
    (made / "2.bmp").unlink()
    (made / "2.png").unlink()
    refused(both, "of the 6 attacked images 1 are missing, places 2 (class 2)")
    picture(made / "2.png", some.images[2, :, 1:])
    refused(both, "2.png: 4 x 4 pixels", "expected 5 x 4")
    (made / "2.png").unlink()
    Image.fromarray(some.images[2].permute(1, 2, 0).numpy()).save(made / "2.jpg")
    refused(both, "1 of 6 images are outside", "2.jpg", "save them as PNG")
    (made / "2.jpg").unlink()
    (made / "2.ppm").write_bytes(b"P6 4 5 65535\n" + bytes(4 * 5 * 6))  # 16 bits, of which PIL would drop eight
    refused(both, "2.ppm: more than 8 bits a channel", "sets: theirs")
    (made / "2.ppm").unlink()
    picture(made / "2.png", some.images[2])
    picture(made / "__MACOSX" / "2.png", some.images[2] + 200)  # what a system leaves beside
    assert torch.equal(brought(both, some, 3).images[2], some.images[2])


SET = '\n[[sets]]\nname = "theirs"\npath = "a.npz"\nbudget = {eps = "32/255"}\n'


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (SET.replace('name = "theirs"\n', ""), ["sets[0]", "'name' is missing"]),
        (SET.replace('budget = {eps = "32/255"}\n', ""), ["sets[0]", "'budget' is missing"]),
        (SET.replace('"32/255"', '["32/255", "8/255"]'), ["sets[0].budget", "2 budgets"]),
        (SET.replace('"theirs"', '"fgsm"'), ["sets[0].name", "'fgsm' is an attack"]),
        (SET.replace('"theirs"', '"box-blur"'), ["sets[0].name", "'box-blur' is a control"]),
        (SET + 'attack = "mi"', ["sets[0]", "attack"]),
        (SET + SET.replace("a.npz", "b.npz"), ["sets[1]", "two sets are called 'theirs'"]),
        (SET + f'surrogate = "{OURS}"\nsource = "there"', ["sets[0].source", "leave it out"]),
        (SET, ["sets: theirs: a.npz", "no such file"]),
    ],
)
def test_tables_that_cannot_be_are_refused(
    table: str, words: list[str], scenario: Scenario, tmp_path: Path, carom: Carom
) -> None:
    file = scenario(*ONE_MODEL)
    file.write_text(file.read_text() + table)
    one_line(carom("run", file, "--store", tmp_path / "s", "--workers", 0), *words)


def test_a_changed_file_is_evaluated_anew_and_nothing_has_to_be_crafted(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carom: Carom
) -> None:
    """A scenario of victims and sets alone; one set is a white box of the victim that it names."""
    monkeypatch.chdir(tmp_path)
    file = scenario(
        *ONE_MODEL,
        ('attacks = ["fgsm", "mi"]\nbudgets = [{norm = "linf", eps = "32/255"}]\n', ""),
        ("[[surrogates]]\nseed = 1\n", ""),
        ("seed = 2", "seed = [2, 3]"),
    )
    text = file.read_text()
    file.write_text(text + SET + SET.replace('"theirs"', '"white"').replace("a.npz", "b.npz"))
    file.write_text(file.read_text() + 'surrogate = "here/uniform/mlp(width=12)/s2"\n')
    images = plan_images(text)
    np.savez(tmp_path / "a.npz", x_adv=images)
    np.savez(tmp_path / "b.npz", x_adv=np.minimum(images, 254) + 1)
    first = run_scenario(load_scenario(str(file)), tmp_path / "store", workers=0)
    assert not first.failures
    with Store(tmp_path / "store") as store:
        outcomes = read_outcomes(store, first.run)
    mine = outcomes.cells.assign(transfer=outcomes.transfer, k=outcomes.success.sum(1))
    told = {(row.attack, str(row.victim)[-2:]): (row.case, row.transfer) for row in mine.itertuples() if row.surrogate}
    assert set(mine[mine["attack"] == "theirs"]["surrogate_config"]) == {"made elsewhere"}
    assert told == {("theirs", "s2"): (99, True), ("theirs", "s3"): (99, True), ("white", "s2"): (0, False)}
    assert set(mine[mine["attack"] == "theirs"]["k"]) == {0}
    assert carom("show", "--store", tmp_path / "store").code == 0
    np.savez(tmp_path / "a.npz", x_adv=images + (images < 224) * np.uint8(31))
    second = run_scenario(load_scenario(str(file)), tmp_path / "store", workers=0)
    assert (second.crafted, second.evaluated) == (1, 2)


def test_a_surrogate_that_is_nearly_one_of_the_scenarios_is_warned_of(scenario: Scenario, tmp_path: Path) -> None:
    file = scenario(*ONE_MODEL)
    np.savez(tmp_path / "a.npz", x_adv=plan_images(file.read_text()))
    table = SET.replace("a.npz", str(tmp_path / "a.npz"))
    told = {}
    for name in (OURS, OURS.replace("uniform/", ""), "made elsewhere"):
        (tmp_path / "b.toml").write_text(f'{file.read_text()}{table}surrogate = "{name}"\n')
        told[name] = plan(load_scenario(str(tmp_path / "b.toml"))).warnings
    assert [len(warnings) for warnings in told.values()] == [0, 1, 0]
    assert f"did you mean '{OURS}'?" in told[OURS.replace("uniform/", "")][0]


def plan_images(text: str) -> np.ndarray[Any, Any]:
    """The attacked images of a scenario, in their order."""
    from carom.scenarios.plan.images import images_to_attack
    from carom.scenarios.spec.read import parse_scenario

    if "attacks" not in text:
        text = f'attacks = ["fgsm"]\nbudgets = [{{eps = "8/255"}}]\n{text}\n[[surrogates]]\nseed = 9\n'
    return images_to_attack(parse_scenario(text, where="t.toml"), "test").images.images.numpy()
