"""What a run rests on changes under it: no outcome outlives it, and no digest is recorded of what was not loaded."""

import ast
import importlib.metadata
import json
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.scenarios import raw_store
from tests.scenarios.conftest import EMBEDDED, Carom, tiny_images

import carom.scenarios.store.outcomes as carom_reader
from carom.attacks.iterative import Iterative
from carom.errors import InputError
from carom.identity import content_key
from carom.scenarios.environment import LIBRARIES, code_digest, environment
from carom.scenarios.jobs import inputs
from carom.scenarios.run.executors.processes import Workers
from carom.scenarios.run.run import CODE, _Driver, run_scenario
from carom.scenarios.spec.read import load_scenario
from carom.scenarios.store.database import Store
from carom.scenarios.store.free import collect
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import find_run
from carom.scenarios.store.schema import cells
from carom.zoo.architectures import architecture
from carom.zoo.models.checkpoints import save_state_dict
from carom.zoo.models.classifier import Classifier, create

SOURCES = ("here", "there")
SPLITS = (("train", 90), ("validation", 30), ("test", 60))

SMALL = """
name = "NAME"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = [ATTACK]
budgets = [{norm = "linf", eps = "32/255"}]
[images]
per_source = 21
[models]
source = "here"
balance = "uniform"
architecture = {name = "mlp", width = 12}
recipe = {name = "standard", epochs = 2, shift = 0, rotation = 0, scale = 0, learning_rate = 0.02}
[[surrogates]]
seed = 1
[[victims]]
seed = 2
"""


def write_data(path: Path, *, only: int | None = None, **others: int) -> Path:
    """The tiny task; `test=1` draws other test images, `train=1` other training images, of one source or of both."""
    arrays = {}
    for i, source in enumerate(SOURCES):
        for j, (split, n) in enumerate(SPLITS):
            seed = 10 * i + j + 1000 * others.get(split, 0) * (only in (None, i))
            arrays[f"{source}/x_{split}"], arrays[f"{source}/y_{split}"] = tiny_images(seed, n, float(i))
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def write_scenario(folder: Path, name: str, attack: str, more: str = "") -> Path:
    text = SMALL.replace("NAME", name).replace("NPZ", str(folder / "data.npz")).replace("ATTACK", f'"{attack}"')
    path = folder / f"{name}.toml"
    path.write_text(text + more)
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data and two scenarios on them, `a` and `b`; modules are found there."""
    write_data(tmp_path / "data.npz")
    write_scenario(tmp_path, "a", "fgsm")
    write_scenario(tmp_path, "b", "mi")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(carom: Carom, file: Path, store: Path, code: int = 0) -> dict[str, Any]:
    answer = carom("run", file, "--store", store, "--workers", 0, "--json")
    assert answer.code == code, answer.err
    (report,) = json.loads(answer.out)
    assert isinstance(report, dict)
    return report


def outcomes(carom: Carom, place: Path, store: Path, *names: str) -> dict[tuple[str, str], raw_store.Cell]:
    """What a store of its own gets from these scenarios and the data as they are now."""
    for name in names:
        run(carom, place / f"{name}.toml", store)
    return raw_store.cells(store)


# ------------------------------------------------------------------------------------------------------ attacked images


def test_other_attacked_images_under_the_same_key_leave_no_outcome_of_any_run(carom: Carom, place: Path) -> None:
    store = place / "store"
    before = outcomes(carom, place, store, "a", "b")
    write_data(place / "data.npz", test=1)
    again = run(carom, place / "a.toml", store)
    assert (again["trained"], again["evaluated"]) == (0, again["cells"])
    truth = outcomes(carom, place, place / "fresh", "a", "b")
    came = raw_store.cells(store)
    assert {pair: cell for pair, cell in came.items() if truth[pair] != cell} == {}
    assert len(came) < len(before), "those of b are not there until b is run again"
    shown = json.loads(carom("show", "b", "--store", store, "--json").out)["cases"]
    assert {row["case"] for row in shown} == {"control"}, "b shows what a made anew for both, and none of its attacks"
    run(carom, place / "b.toml", store)
    assert raw_store.cells(store) == truth


# ------------------------------------------------------------------------------------------------------------- readers


def test_what_is_read_at_once_is_of_one_state(carom: Carom, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes are dropped and written between the queries of one reader."""
    store = place / "store"
    run(carom, place / "a.toml", store)
    with Store(store) as reader, Store(store, write=True) as writer:
        name = find_run(reader).id
        expected = read_outcomes(reader, name)
        images = carom_reader._images
        written = []

        def meanwhile(*of: Any) -> Any:
            found = images(*of)
            with writer.writing() as connection:
                written.append(connection.execute(cells.delete()).rowcount)
            return found

        monkeypatch.setattr(carom_reader, "_images", meanwhile)
        came = read_outcomes(reader, name)
        assert written[0] == len(expected.cells)
        assert came.cells.equals(expected.cells)
        assert (came.adversarial == expected.adversarial).all()
        with pytest.raises(InputError, match="has no outcome"):
            read_outcomes(reader, name)


# -------------------------------------------------------------------------------------- what changes under a run's feet


def between_plan_and_work(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Everything is planned, and no job has begun."""
    work = _Driver.work

    def changed_first(driver: _Driver, pool: Workers) -> None:
        change()
        work(driver, pool)

    monkeypatch.setattr(_Driver, "work", changed_first)


def recorded(store: Path, kind: str) -> list[tuple[Any, ...]]:
    return raw_store.query(store, f"select key, digest, inputs from artifacts where kind = '{kind}' order by key")


def weights_of(store: Path) -> dict[str, tuple[str, str]]:
    """Digest of each training, and of the images that its record says it was made from."""
    return {key: (digest, json.loads(inputs)["train"]) for key, digest, inputs in recorded(store, "weights")}


@pytest.mark.thorough
def test_two_runs_of_one_process_load_their_own_data(carom: Carom, place: Path) -> None:
    store = place / "store"
    run(carom, place / "a.toml", store)
    before = weights_of(store)
    write_data(place / "data.npz", train=1)
    assert run(carom, place / "a.toml", store)["trained"] == 2
    inputs._kept.clear()  # as a fresh process
    run(carom, place / "a.toml", place / "fresh")
    after, truth = weights_of(store), weights_of(place / "fresh")
    assert set(before) == set(after) == set(truth)
    assert after == truth
    assert not set(before.values()) & set(after.values())


def test_training_images_that_change_after_the_plan_are_refused(
    carom: Carom, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place / "store"
    between_plan_and_work(monkeypatch, lambda: write_data(place / "data.npz", train=1))
    report = run(carom, place / "a.toml", store, code=2)
    assert report["trained"] == 0
    assert len(report["failures"]) == 2
    assert "the train images of here: sha256" in report["failures"][0]
    assert "as planned: they changed after the run was planned" in report["failures"][0]
    assert [digest for _, digest, _ in recorded(store, "weights")] == [None, None]
    monkeypatch.undo()
    monkeypatch.chdir(place)
    run(carom, place / "a.toml", store)
    run(carom, place / "a.toml", place / "fresh")
    assert weights_of(store) == weights_of(place / "fresh")


def test_a_pool_of_images_to_mix_in_that_changes_is_refused(
    carom: Carom, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the source that no model is trained on changes."""
    store = place / "store"
    file = write_scenario(place, "mixes", "admix")
    between_plan_and_work(monkeypatch, lambda: write_data(place / "data.npz", train=1, only=1))
    report = run(carom, file, store, code=2)
    assert report["trained"] == 2, "its own images are as they were"
    assert "the pool of images that attacks mix in: sha256" in report["failures"][0]
    sets = raw_store.query(
        store, "select digest from artifacts join run_sets on artifact = artifacts.id where surrogate is not null"
    )
    assert {digest for (digest,) in sets} == {None}


NET = """
import torch
from pathlib import Path
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(int(Path("seed.txt").read_text()))
        self.linear = nn.Linear(30, 3)
    def forward(self, x): return self.linear(x.flatten(1))

def judge(x): return (x.flatten(1).sum(1) * 10).long() % 3
"""
OTHER_NET = NET.replace("self.linear(x.flatten(1))", "-self.linear(x.flatten(1))")
OTHER_JUDGE = NET.replace("* 10", "* 20")
VICTIM = """
[[victims]]
name = "theirs"
model = "MODULE:WHAT"
revision = "1"
"""


def write_module(place: Path, name: str, what: str) -> Path:
    """A scenario with a victim of a Python module, which Python has not imported before."""
    (place / f"{name}.py").write_text(NET)
    (place / "seed.txt").write_text("1")
    return write_scenario(place, "model", "fgsm", VICTIM.replace("MODULE", name).replace("WHAT", what))


def answered(store: Path) -> set[str]:
    """Labels of the models with outcomes."""
    rows = raw_store.query(store, "select label from run_models join cells on cells.victim = artifact")
    return {label for (label,) in rows}


@pytest.mark.parametrize(
    ("what", "file", "text", "process", "said"),
    [
        ("Net", "seed.txt", "2", "same", "theirs: fingerprint"),
        ("Net", "seed.txt", "2", "another", "theirs: fingerprint"),
        ("Net", "{name}.py", OTHER_NET, "same", "{name}.py changed after this process imported it"),
        ("Net", "{name}.py", OTHER_NET, "another", "theirs: the file of its Python module changed"),
        (
            'judge"\nanswers = "labels',
            "{name}.py",
            OTHER_JUDGE,
            "another",
            "theirs: the file of its Python module changed",
        ),
    ],
)
def test_a_model_that_changes_after_the_plan_is_refused(
    carom: Carom,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    what: str,
    file: str,
    text: str,
    process: str,
    said: str,
) -> None:
    name = "changing_" + content_key(request.node.name)[:8]
    scenario, store = write_module(place, name, what), place / "store"

    def change() -> None:
        (place / file.format(name=name)).write_text(text)
        if process == "another":  # where it is imported anew
            del sys.modules[name]
            importlib.invalidate_caches()

    between_plan_and_work(monkeypatch, change)
    report = run(carom, scenario, store, code=2)
    assert said.format(name=name) in report["failures"][0]
    assert len(report["failures"]) == 1
    assert "theirs" not in answered(store)
    assert len(answered(store)) == 2, "the rest went on"


def test_a_module_that_changes_between_two_runs_of_one_process_is_refused(
    carom: Carom, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python goes on with the code that it imported, whatever its file and the revision say now."""
    scenario, store = write_module(place, "changed_between", "Net"), place / "store"
    run(carom, scenario, store)
    before = answered(store)
    (place / "changed_between.py").write_text(OTHER_NET)
    scenario.write_text(scenario.read_text().replace('revision = "1"', 'revision = "2"'))
    answer = carom("run", scenario, "--store", store, "--workers", 0)
    assert answer.code == 2
    assert "changed_between.py changed after this process imported it; start again" in answer.error
    monkeypatch.syspath_prepend(place)
    importlib.reload(sys.modules["changed_between"])
    assert run(carom, scenario, store)["evaluated"] > 0
    assert answered(store) == before


def test_published_weights_that_change_after_the_plan_are_refused(
    carom: Carom, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a library's weights are downloaded anew, or differ between two machines."""
    made = []

    def published(*_: object, **__: object) -> Classifier:
        made.append(1)
        return create(architecture("lenet"), shape=(1, 6, 5), classes=3, seed=len(made)).eval()

    monkeypatch.setattr("carom.zoo.models.outside.published.load_published", published)
    file = write_scenario(place, "theirs", "fgsm", '\n[[victims]]\nname = "theirs"\nmodel = "timm:resnet18"\n')
    report = run(carom, file, place / "store", code=2)
    assert len(made) == 2
    assert "theirs: fingerprint" in report["failures"][0]
    assert "theirs" not in answered(place / "store")


# ----------------------------------------------------------------------------------------------------- carom's own code


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    """A scenario whose stamp says that there is nothing to do."""
    file = tmp_path / "small.toml"
    file.write_text(EMBEDDED)
    return file


def test_code_that_changes_while_a_run_works_is_planned_again(
    carom: Carom, embedded: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The stamp is of the code that the plan was made with; the version of an attack is raised while a model trains."""
    store, read_bytes = embedded.parent / "store", Path.read_bytes
    request.addfinalizer(code_digest.cache_clear)

    def another_version() -> None:
        code_digest.cache_clear()
        monkeypatch.setattr(Iterative, "version", Iterative.version + 1)
        monkeypatch.setattr(Path, "read_bytes", lambda path: read_bytes(path) + b"#" * (path.suffix == ".py"))

    with monkeypatch.context() as during:
        between_plan_and_work(during, another_version)
        monkeypatch.setattr("carom.scenarios.jobs.job.code_digest", lambda: CODE)  # as a worker that began before
        run(carom, embedded, store)
    answer = carom("run", embedded, "--store", store, "--workers", 0)
    assert "nothing to do" not in answer.err, answer.err
    assert "trained 0, crafted 1 sets, evaluated 2 of 8 cells" in answer.err


def test_a_worker_of_other_code_does_nothing(carom: Carom, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carom.scenarios.jobs.job.code_digest", lambda: "other")
    report = run(carom, place / "a.toml", place / "store", code=1)
    assert (report["trained"], report["crafted"], report["evaluated"]) == (0, 0, 0)
    assert "carom's own files changed after the run began" in report["failures"][0]


# ----------------------------------------------------------------------------------- where it was done, and with what


def works_at(monkeypatch: pytest.MonkeyPatch, **what: object) -> None:
    """Workers find themselves on another machine, or with another version of torch."""

    def elsewhere(device: str) -> dict[str, Any]:
        found = environment(device)
        return found | what | {"versions": found["versions"] | {"torch": what.get("torch", "1.0")}}

    monkeypatch.setattr("carom.scenarios.jobs.job.environment", elsewhere)


def made_at(store: Path, kind: str) -> list[tuple[str, str]]:
    where = "json_extract(record, '$.environment.host'), json_extract(record, '$.environment.versions.torch')"
    return raw_store.query(store, f"select {where} from artifacts where kind = '{kind}' order by id")


def run_at(store: Path) -> list[tuple[str, str, str]]:
    where = "json_extract(environment, '$.host'), json_extract(environment, '$.versions.torch')"
    return raw_store.query(store, f"select scenario, {where} from runs order by scenario")


def test_every_artefact_and_attempt_says_where_it_was_made(
    carom: Carom, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place / "store"
    works_at(monkeypatch, host="first")
    run(carom, place / "a.toml", store)
    assert set(made_at(store, "weights")) == set(made_at(store, "sets")) == {("first", "1.0")}
    assert made_at(store, "images") == [(platform.node(), torch.__version__)], "by the driver"
    assert run_at(store) == [("a", "first", "1.0")]
    notes = [json.loads(path.read_text()) for path in (store / "artifacts").rglob("*.json")]
    rows = raw_store.query(store, "select record from artifacts")
    assert sorted(json.dumps(n["record"], sort_keys=True) for n in notes) == sorted(record for (record,) in rows)

    works_at(monkeypatch, host="second", torch="2.0")
    assert run(carom, place / "a.toml", store)["jobs"] == 0
    assert run_at(store) == [("a", "first", "1.0")], "a run that computes nothing says nothing"
    run(carom, place / "b.toml", store)
    assert set(made_at(store, "weights")) == {("first", "1.0")}
    made = made_at(store, "sets")
    assert made.count(("second", "2.0")) == 1, "the one set that b does not share with a"
    assert len(made) - 1 == made.count(("first", "1.0"))
    assert run_at(store) == [("a", "first", "1.0"), ("b", "second", "2.0")]
    tried = raw_store.query(
        store,
        "select run like 'a-%', json_extract(environment, '$.versions.torch'), count(*) from attempts group by 1, 2",
    )
    assert {(first, version) for first, version, _ in tried} == {(1, "1.0"), (0, "2.0")}


def test_what_can_change_bits_is_recorded(carom: Carom, place: Path) -> None:
    store = place / "store"
    file = place / "a.toml"
    file.write_text(file.read_text().replace("epochs = 2", "epochs = 2, threads = 2"))
    run(carom, file, store)
    records = dict(raw_store.query(store, "select kind, record from artifacts where kind in ('weights', 'sets')"))
    trained, crafted = (json.loads(records[kind])["environment"] for kind in ("weights", "sets"))
    assert (trained["threads"], crafted["devices"]) == (2, ["cpu"])
    assert torch.backends.cpu.get_cpu_capability() in crafted["processor"]
    chunks = raw_store.query(
        store,
        "select json_extract(record, '$.chunk') from artifacts join run_sets on artifact = artifacts.id "
        "where surrogate is not null",
    )
    assert chunks == [(128,)]
    assert crafted["versions"]["torch"] == torch.__version__
    for name in ("torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow", "torchmetrics"):
        assert crafted["versions"][name] == importlib.metadata.version(name)


def test_no_library_that_computes_is_left_out_of_the_record() -> None:
    """By what the components import; what only annotates or draws is named here."""
    harmless = {"jaxtyping", "typing_extensions", "matplotlib"}
    named = importlib.metadata.packages_distributions()
    package = Path(carom_reader.__file__).resolve().parents[2]
    found = set()
    for folder in ("attacks", "zoo", "surrogates", "defenses"):
        for path in (package / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
                found |= {name.partition(".")[0] for name in names}
    outside = found - set(sys.stdlib_module_names) - {"carom"} - harmless
    assert {"torch", "PIL", "botorch", "pymoo", "laplace"} <= outside
    recorded_as = {library.lower() for library in LIBRARIES}
    assert not {name for name in outside if not {d.lower() for d in named.get(name, [name])} & recorded_as}
    assert {"torchattacks", "pyautoattack", "onnxruntime", "transformers", "robustbench"} <= recorded_as


# -------------------------------------------------------------------------------------------------- what is lacking


def test_outcomes_of_what_is_gone_are_dropped_before_anything_is_made_anew(
    carom: Carom, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that cannot go on leaves no table in which old and new stand side by side."""
    store = place / "store"
    before = outcomes(carom, place, store, "a")
    write_data(place / "data.npz", train=1)

    def no_training(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as during:
        during.setattr("carom.scenarios.jobs.train.train", no_training)
        assert len(run(carom, place / "a.toml", store, code=1)["failures"]) == 2
        left = raw_store.cells(store)
        assert left == {}
        assert all(digest is None for _, digest, _ in recorded(store, "weights"))
        write_data(place / "data.npz")  # as before: the files of before are there still, and are taken as they are
        run(carom, place / "a.toml", store)
    assert raw_store.cells(store) == before


GEOMETRY = "\n[geometry]\nimages = 10\nmembers = 1\n"


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a scenario with every kind of job is done."""
    folder = tmp_path_factory.mktemp("once")
    write_data(folder / "data.npz")
    run_scenario(load_scenario(str(write_scenario(folder, "a", "fgsm", GEOMETRY))), folder / "store", workers=0)
    return folder


@pytest.fixture
def filled(once: Path, tmp_path: Path) -> Path:
    """A copy: the data have the path that the copied store knows, so they are put back afterwards."""
    shutil.copytree(once / "store", tmp_path / "store")
    (tmp_path / "a.toml").write_text((once / "a.toml").read_text())
    return tmp_path


def a_file(store: Path, kind: str) -> Path:
    return sorted((store / "artifacts" / kind).glob("*.safetensors"))[0]


# What happens to data or store, and then: trainings, models to look at, sets, cells.
CHANGES: dict[str, tuple[Callable[[Path, Path], object], tuple[int, ...]]] = {
    "nothing": (lambda data, store: None, (0, 0, 0, 0)),
    "training images": (lambda data, store: write_data(data, train=1), (2, 1, 1, 8)),
    "attacked images": (lambda data, store: write_data(data, test=1), (0, 0, 7, 8)),
    "a file of weights": (lambda data, store: a_file(store, "weights").unlink(), (1, 0, 0, 0)),
    "a file of a set": (lambda data, store: a_file(store, "sets").write_bytes(b"half"), (0, 0, 1, 0)),
    "no store": (lambda data, store: shutil.rmtree(store), (2, 1, 7, 8)),
    "freed sets": (lambda data, store: collect(store, sets=True), (0, 0, 0, 0)),
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(c, marks=[] if c in ("nothing", "no store", "attacked images") else [pytest.mark.thorough])
        for c in CHANGES
    ],
)
def test_a_plan_expects_what_the_run_then_does(
    carom: Carom, once: Path, filled: Path, change: str, request: pytest.FixtureRequest
) -> None:
    file, store = filled / "a.toml", filled / "store"
    request.addfinalizer(lambda: write_data(once / "data.npz"))
    happens, expected = CHANGES[change]
    happens(once / "data.npz", store)
    planned = json.loads(carom("plan", file, "--store", store, "--json").out)
    names = ("trainings", "models to look at", "adversarial sets", "cells")
    todo = tuple(int(planned[name].split()[0]) for name in names)
    assert todo == expected
    report = run(carom, file, store)
    assert (report["trained"], report["crafted"], report["evaluated"]) == (todo[0], todo[2], todo[3])
    assert ("measure" in report["busy"]) == bool(todo[1])
    again = json.loads(carom("plan", file, "--store", store, "--json").out)
    assert again["image passes"].startswith("0 (")


# --------------------------------------------------------------------------------- each kind of input, between two runs

JUDGE = """
def judge(x): return (x.flatten(1).sum(1) * 10).long() % 3
"""
THEIRS = """
[[victims]]
name = "theirs"
model = "judge_of_all:judge"
answers = "labels"
revision = "1"
[[victims]]
name = "net"
model = "net_of_all:Net"
revision = "1"
[[victims]]
name = "file"
model = "theirs.safetensors"
"""
BETWEEN: dict[str, Callable[[Path], object]] = {
    "training images": lambda place: write_data(place / "data.npz", train=1, only=0),
    "pool of images to mix in": lambda place: write_data(place / "data.npz", train=1, only=1),
    "attacked images": lambda place: write_data(place / "data.npz", test=1),
    "file of weights": lambda place: write_weights(place, 2),
    "weights of a module": lambda place: (place / "seed.txt").write_text("2"),
}


def write_weights(place: Path, seed: int) -> None:
    made = create(architecture("lenet"), shape=(1, 6, 5), classes=3, seed=seed)
    save_state_dict(made, place / "theirs.safetensors")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two scenarios on the same data and models, which differ in their attack."""
    folder = tmp_path_factory.mktemp("both")
    write_data(folder / "data.npz")
    write_weights(folder, 1)
    (folder / "judge_of_all.py").write_text(JUDGE)
    (folder / "net_of_all.py").write_text(NET)
    (folder / "seed.txt").write_text("1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, attack in (("a", "admix"), ("b", "fgsm")):
            file = write_scenario(folder, name, attack, THEIRS)
            run_scenario(load_scenario(str(file)), folder / "store", workers=0)
    return folder


@pytest.fixture
def changing(both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same folder, put back afterwards: its path is in the keys."""
    shutil.copytree(both, tmp_path / "kept")
    monkeypatch.chdir(both)
    yield both
    shutil.rmtree(both)
    shutil.copytree(tmp_path / "kept", both)


@pytest.mark.parametrize(
    "change", [pytest.param(c, marks=[] if c == "training images" else [pytest.mark.thorough]) for c in BETWEEN]
)
def test_no_outcome_survives_what_it_rested_on(carom: Carom, changing: Path, change: str) -> None:
    """One of two scenarios is run again: every outcome that is left of either is one that a fresh store gets too."""
    store = changing / "store"
    before = raw_store.cells(store)
    BETWEEN[change](changing)
    run(carom, changing / "a.toml", store)
    left = shown_cells(store)
    truth = outcomes(carom, changing, changing / "fresh", "a", "b")
    named, came = shown_cells(changing / "fresh"), raw_store.cells(store)
    assert {cell for cell in named if cell[0].startswith("a-")} <= left, "all of a is there"
    assert {(made, victim) for _, made, victim in left & named if came[made, victim] != truth[made, victim]} == set()
    outlived = {(name[:2], victim in {v for _, v in truth}) for name, _, victim in left - named}
    # another file of weights is another model under another key: b is of the first one until it is run again
    assert outlived == ({("b-", False)} if change == "file of weights" else set())
    run(carom, changing / "b.toml", store)
    assert shown_cells(store) == named
    assert {pair: raw_store.cells(store)[pair] for pair in truth} == truth
    assert before != truth


def shown_cells(store: Path) -> set[tuple[str, str, str]]:
    """Run, set and victim of every outcome that a run shows, by name and keys."""
    rows = raw_store.query(
        store,
        "select run_cells.run, s.key, v.key from run_cells join cells using (adversarial_set, victim) "
        "join artifacts s on s.id = adversarial_set join artifacts v on v.id = victim",
    )
    return {(name, made, victim) for name, made, victim in rows}
