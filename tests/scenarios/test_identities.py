"""What must hold exactly, whatever the numbers are; read from the store's files, not through carom's reader."""

import json
from collections import defaultdict
from fractions import Fraction
from math import floor, isclose, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from tests.conftest import Once

from carom.attacks import craft, craft_control, parse_attack
from carom.attacks.controls import GaussianNoise, SignNoise
from carom.budget import Budget
from carom.scenarios.run.run import run_id_of, run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.spec.scenario import Scenario
from carom.scenarios.store.database import Store
from carom.scenarios.tables.which import show_run
from carom.surrogates import Surrogate
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import restore
from carom.zoo.models.prepare import prepare

from . import raw_store
from .conftest import TINY

ATTACKS = """attacks = [
    "fgsm",
    {name = "pgd", steps = 2, label = "pgd"},
    {name = "mi", steps = 2, targeted = true, label = "targeted"},
]"""
BUDGETS = 'budgets = [{norm = "linf", eps = ["0/255", "32/255"]}, {norm = "l2", eps = "0.7"}]'


def run(text: str, folder: Path) -> Scenario:
    """A scenario, done."""
    scenario = parse_scenario(text, where="test")
    report = run_scenario(scenario, folder, workers=0, device="cpu")
    assert not report.failures
    return scenario


@pytest.fixture(scope="session")
def text(tiny_npz: Path) -> str:
    changed = TINY.replace("NPZ", str(tiny_npz)).replace('attacks = ["fgsm", "mi"]', ATTACKS)
    return changed.replace('budgets = [{norm = "linf", eps = "32/255"}]', BUDGETS)


@pytest.fixture(scope="session")
def store(text: str, once: Once) -> Path:
    """All eight cases, both norms, each with a radius of 0."""
    return once("identities", lambda folder: run(text, folder))


def sets(store: Path) -> list[dict[str, Any]]:
    """The adversarial sets of a store that holds one run."""
    axes = ("source", "balance", "architecture")
    names = ("key", "digest", "images", "surrogate", "attack", "norm", "eps", "seed", "targeted", *axes)
    rows = raw_store.query(
        store,
        "select s.key, s.digest, i.key, surrogate, attack, norm, eps, attack_seed, targeted, "
        "source_s, balance_s, architecture_s "
        "from run_sets join artifacts s on s.id = artifact join artifacts i on i.id = image_set",
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


# ------------------------------------------------------------------------------------------------------------ the ball


def test_no_budget_changes_nothing(store: Path) -> None:
    clean, cells = raw_store.clean_answers(store), raw_store.cells(store)
    nothing = [s for s in sets(store) if Fraction(s["eps"]) == 0]
    assert {s["attack"] for s in nothing} > {"identity", "fgsm", "pgd", "targeted"}
    assert {s["norm"] for s in nothing} == {"linf", "l2"}  # in l2 the identity alone
    count = 0
    for made in nothing:
        images = raw_store.tensors(store, "images", made["images"])["images"]
        np.testing.assert_array_equal(raw_store.tensors(store, "sets", made["key"])["images"], images)
        for (key, victim), cell in cells.items():
            if key == made["key"]:
                count += 1
                assert cell.predictions == clean[victim, made["images"]]
                assert cell.k == 0
                assert cell.n > 0
    assert count >= 8 * len(nothing)


def test_stored_images_lie_in_the_integer_ball_and_reach_its_edge(store: Path) -> None:
    reached = set()
    for made in sets(store):
        images = raw_store.tensors(store, "images", made["images"])["images"]
        adversarial = raw_store.tensors(store, "sets", made["key"])["images"]
        assert adversarial.dtype == np.uint8
        assert adversarial.shape == images.shape
        delta = (adversarial.astype(np.int64) - images.astype(np.int64)).reshape(len(images), -1)
        levels = 255 * Fraction(made["eps"])
        if made["norm"] == "linf":
            size, limit = np.abs(delta).max(1), floor(levels)
        else:
            size, limit = (delta**2).sum(1), floor(levels**2)
        assert size.max() <= limit, made
        if made["surrogate"] and limit and size.max() > 0.98 * limit:
            reached.add((made["norm"], made["attack"]))
    assert reached >= {(norm, attack) for norm in ("linf", "l2") for attack in ("fgsm", "targeted")}


def test_targets_are_never_the_true_class(store: Path) -> None:
    targeted = [s for s in sets(store) if s["targeted"]]
    assert targeted
    for made in targeted:
        labels = raw_store.tensors(store, "images", made["images"])["labels"]
        target = raw_store.tensors(store, "sets", made["key"])["target"]
        assert (target != labels).all()
        assert set(target.tolist()) == {0, 1, 2}


# --------------------------------------------------------------------------------------------------------------- draws


def test_draws_do_not_depend_on_chunks_or_order(store: Path) -> None:
    made = sets(store)[0]
    found = raw_store.tensors(store, "images", made["images"])
    images, ids = torch.from_numpy(found["images"]), torch.from_numpy(found["ids"])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    for norm, eps in (("linf", "32/255"), ("l2", "0.7")):
        budget = Budget.parse(norm, eps)
        for control in (SignNoise(), GaussianNoise()):
            once = craft_control([(control, budget)], images, ids=ids, seed=3)[0].images
            cut = craft_control([(control, budget)], images[order], ids=ids[order], seed=3, chunk=7)[0].images
            other = craft_control([(control, budget)], images, ids=ids, seed=4)[0].images
            assert torch.equal(once[order], cut)
            assert not torch.equal(once, other)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_stored_sets_are_crafted_again_in_any_chunks_and_order(store: Path, norm: str) -> None:
    """PGD draws its start; whichever images come along, each gets the bytes that the store holds."""
    wanted = [s for s in sets(store) if s["attack"] == "pgd" and s["norm"] == norm and Fraction(s["eps"]) > 0]
    assert len(wanted) == 8
    one_each = {s["architecture"]: s for s in wanted}
    assert set(one_each) == {"mlp(width=12)", "lenet"}
    keys = dict(raw_store.query(store, "select label, a.key from run_models join artifacts a on a.id = artifact"))
    for name, made in one_each.items():
        found = raw_store.tensors(store, "images", made["images"])
        weights = raw_store.tensors(store, "weights", keys[made["surrogate"]])
        spec = {"name": "mlp", "width": 12} if name == "mlp(width=12)" else name
        tensors = {k: torch.from_numpy(v) for k, v in weights.items()}
        network = restore(architecture(spec, where="test"), tensors, shape=(1, 6, 5), classes=3)
        order = torch.randperm(len(found["ids"]), generator=torch.Generator().manual_seed(1))
        again = craft(
            [(parse_attack({"name": "pgd", "steps": 2}, where="test"), Budget.parse(norm, made["eps"]))],
            Surrogate((prepare(network),)),
            torch.from_numpy(found["images"])[order],
            torch.from_numpy(found["labels"])[order],
            seed=made["seed"],
            ids=torch.from_numpy(found["ids"])[order],
            chunk=11,
        )[0].images
        stored = raw_store.tensors(store, "sets", made["key"])["images"]
        np.testing.assert_array_equal(again.numpy(), stored[order.numpy()])


# ----------------------------------------------------------------------------------------------------------- ensembles


@pytest.mark.thorough
def test_all_members_a_step_is_the_full_schedule(tiny_npz: Path, tmp_path: Path) -> None:
    combinations = ("logits", "probabilities", "loss")
    tables = ""
    for how in combinations:
        for name, schedule in (
            ("full", ""),
            ("all", ', schedule = "light", per_step = 3'),
            ("one", ', schedule = "light", per_step = 1'),
        ):
            builder = f'{{name = "ensemble", size = 3, combination = "{how}"{schedule}}}'
            tables += f'[[surrogates]]\nseed = 1\nname = "{name} {how}"\nbuilder = {builder}\n'
    text = TINY.replace("NPZ", str(tiny_npz)).replace("[[surrogates]]\nseed = 1\n", tables)
    for old, new in (
        ('["here", "there"]', '"here"'),
        ('["uniform", "tv0.2"]', '"uniform"'),
        ('[{name = "mlp", width = 12}, "lenet"]', '{name = "mlp", width = 12}'),
    ):
        text = text.replace(old, new)
    run(text, tmp_path)
    digests = {(s["surrogate"], s["attack"]): s["digest"] for s in sets(tmp_path) if s["surrogate"]}
    assert len(digests) == 2 * 9
    for attack in ("fgsm", "mi"):
        for how in combinations:
            assert digests[f"all {how}", attack] == digests[f"full {how}", attack]
            assert digests[f"one {how}", attack] != digests[f"full {how}", attack]
        assert len({digests[f"full {how}", attack] for how in combinations}) > 1
    assert len(raw_store.query(tmp_path, "select 1 from artifacts where kind = 'weights'")) == 3 + 1
    for cell in raw_store.cells(tmp_path).values():
        assert cell.n >= cell.k


# ------------------------------------------------------------------------------------------------------ the floor


@pytest.mark.thorough
def test_a_surrogate_that_learned_nothing_is_at_the_floor(tmp_path: Path) -> None:
    """Labels permuted in training: FGSM transfers as sign noise of the same size does; true labels: far better."""
    rng = np.random.default_rng(0)
    prototypes = rng.normal(0, 40, (4, 1, 6, 5))
    arrays: dict[str, NDArray[Any]] = {}
    for split, n in (("train", 400), ("validation", 80), ("test", 200)):
        y = np.arange(n) % 4
        x = (128 + prototypes[y] + rng.normal(0, 40, (n, 1, 6, 5))).clip(0, 255).round().astype(np.uint8)
        for source in ("told", "permuted"):
            arrays[f"{source}/x_{split}"] = x
            honest = source == "told" or split == "test"
            arrays[f"{source}/y_{split}"] = y if honest else rng.permutation(y)
    np.savez(tmp_path / "permuted.npz", **arrays)  # type: ignore[arg-type]
    text = f"""
task = {{name = "npz", path = "{tmp_path / "permuted.npz"}", layout = "nchw"}}
attacks = ["fgsm"]
budgets = [{{eps = "24/255"}}]
itself = false
[images]
per_source = 200
[models]
architecture = {{name = "mlp", width = 16}}
recipe = {{name = "standard", epochs = 4, shift = 0, rotation = 0, scale = 0, learning_rate = 0.01}}
[[surrogates]]
source = ["told", "permuted"]
seed = {list(range(1, 11))}
[[victims]]
source = "told"
seed = [21, 22, 23]
"""
    store = tmp_path / "store"
    run(text, store)
    cells = raw_store.cells(store)
    rates: dict[str, list[float]] = defaultdict(list)
    for made in sets(store):
        mine = [cell for (key, _), cell in cells.items() if key == made["key"]]
        assert len(mine) == 3
        who = made["source"] if made["surrogate"] else made["attack"]
        rates[who].append(sum(c.k for c in mine) / sum(c.n for c in mine))
    (noise,) = rates["sign-noise 1"]
    told, permuted = np.array(rates["told"]), np.array(rates["permuted"])
    assert len(told) == len(permuted) == 10
    reach = stdtrit(9, 0.995) * permuted.std(ddof=1) / sqrt(10)
    assert abs(permuted.mean() - noise) <= reach, (permuted, noise)
    assert told.min() > permuted.max() + 0.1, (told, permuted)
    assert told.mean() - noise > 5 * reach, "the interval is narrow enough to notice a surrogate that learned"


# -------------------------------------------------------------------------------------------------------- the tables


def by_hand(store: Path) -> dict[tuple[str, str, str, str], dict[str, float]]:
    """The rows of the table of cases, by plain loops over outcomes and images."""
    models = raw_store.query(store, "select a.key, label, axes from run_models join artifacts a on a.id = artifact")
    axes_of = {key: (label, json.loads(axes)) for key, label, axes in models}
    clean, cells = raw_store.clean_answers(store), raw_store.cells(store)
    ((blob, sources),) = raw_store.query(store, "select labels, image_source from image_sets")
    labels, source_of = np.frombuffer(blob, "<i4").tolist(), np.frombuffer(sources, "<i4").tolist()
    sums: dict[tuple[str, str, str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for made in sets(store):
        target = raw_store.tensors(store, "sets", made["key"])["target"] if made["targeted"] else None
        for (key, victim), cell in cells.items():
            if key != made["key"]:
                continue
            label, attacked = axes_of[victim]
            if made["surrogate"] is None:
                name = "control"
            elif label == made["surrogate"]:
                name = "C0"
            else:
                differ = [made[a] != attacked[a] for a in ("balance", "architecture", "source")]
                name = f"C{1 + differ[0] + 2 * differ[1] + 4 * differ[2]}"
            row = sums[made["norm"], made["eps"], made["attack"], name]
            n = k = robust = 0
            before = clean[victim, made["images"]]
            for i, label_i in enumerate(labels):
                right, answer = before[i] == label_i, cell.predictions[i]
                won = answer == target[i] if target is not None else answer != label_i
                n += right
                k += right and won
                robust += answer == label_i
                where = ("here", "there")[source_of[i]]
                row[f"n:{where}"] += right
                row[f"k:{where}"] += right and won
            assert (cell.n, cell.k) == (n, k)
            row["cells"] += 1
            row["n"] += n
            row["k"] += k
            row["clean_accuracy"] += n / len(labels)
            row["robust_accuracy"] += robust / len(labels)
    for row in sums.values():
        for share in ("clean_accuracy", "robust_accuracy"):
            row[share] /= row["cells"]
        for end in ("", ":here", ":there"):
            row[f"asr{end}"] = row[f"k{end}"] / row[f"n{end}"]
    return sums


def test_the_table_of_cases_is_what_plain_loops_give(store: Path, text: str) -> None:
    with Store(store) as opened:
        shown = show_run(opened, run_id_of(parse_scenario(text, where="test")))
    (table,) = [t for t in shown if t.name == "cases-by-attack"]
    expected = by_hand(store)
    came = {(r["norm"], r["eps"], r["attack"], r["case"]): r for r in table.records()}
    assert set(came) == set(expected)
    assert {name for *_, name in came} == {"control", *(f"C{i}" for i in range(9))}
    for key, row in expected.items():
        for column, value in row.items():
            assert isclose(came[key][column], value, rel_tol=1e-12), (key, column)
    transfer = [row["asr"] for (norm, eps, attack, name), row in came.items() if name[0] == "C" and attack == "fgsm"]
    assert len(set(transfer)) > 9, "cases that all agree would hide a mixed-up table"


def test_cells_by_case_are_those_of_the_grid(store: Path) -> None:
    """2 x 2 x 2 configurations a side: each surrogate meets one victim in each of C1 to C8, and itself."""
    counts = raw_store.query(store, 'select "case", count(*) from run_cells group by 1 order by 1')
    surrogate_sets = 8 * 3 * 3
    controls = len([s for s in sets(store) if s["surrogate"] is None])
    assert counts == [(None, controls * 8), *((case, surrogate_sets) for case in range(9))]
