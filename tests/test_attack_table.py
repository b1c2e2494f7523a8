"""The program that measures the attacks: what it tries, what it keeps, and that it chooses without the test images."""

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import attack_jobs
import attack_table
import numpy as np
import pytest
import torch
from attack_jobs import FULL, MODELS, SURROGATES, VICTIMS, Job, Model, Outcome, Row, Scale
from attack_table import candidates, cost, rows, tables_of
from attacks_page import LIMITS

from carom.attacks import ATTACKS, Iterative, Partners, craft, parse_attack
from carom.identity import content_key
from carom.zoo.architectures import architecture
from carom.zoo.models.checkpoints import save_state_dict
from carom.zoo.models.classifier import create
from carom.zoo.tasks.images import ImageSet

ROWS = rows()
MI = next(row for row in ROWS if row.label == "mi" and row.source == "residual" and row.norm == "linf")
ENSEMBLE = next(row for row in ROWS if row.label == "mi" and row.source == "ensemble")
N = 7


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (N, 1, 28, 28), generator=generator).to(torch.uint8)
    made = ImageSet(pixels, torch.arange(N) % 10, torch.arange(N))
    monkeypatch.setattr(attack_jobs, "attacked", lambda split: made)
    monkeypatch.setattr(attack_jobs, "pool", lambda: Partners(made.pixels, made.labels))
    return made


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Untrained networks in the places of the trained ones."""
    for number, model in enumerate(MODELS):
        network = create(architecture(model.architecture), shape=(1, 28, 28), classes=10, seed=model.seed).eval()
        save_state_dict(network, tmp_path / f"{number}.safetensors")
    yield tuple(map(str, range(len(MODELS))))
    attack_jobs.network.cache_clear()
    attack_jobs.ready.cache_clear()


def job(row: Row, folder: Path, keys: tuple[str, ...], table: Any = None, split: str = "test") -> Job:
    scale = dataclasses.replace(FULL, folder=folder)
    return Job(row=row, table=table or {"name": row.label, "steps": 2}, split=split, n=N, scale=scale, keys=keys)


def test_every_entry_of_the_registry_has_a_row() -> None:
    assert {row.entry for row in ROWS} == set(ATTACKS)
    assert len({row.slug for row in ROWS}) == len(ROWS)


def test_no_model_is_in_two_roles() -> None:
    roles = [set(SURROGATES) | set(attack_jobs.ENSEMBLE), set(VICTIMS["validation"]), set(VICTIMS["test"])]
    assert len(set.union(*roles)) == sum(map(len, roles)) == len(MODELS)
    assert len({model.seed for model in MODELS}) == len(MODELS)
    for models, samples in ((roles[0], "a"), (roles[1] | roles[2], "b")):
        assert {model.samples for model in models} == {samples}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_what_is_tried_is_different_and_costs_at_most_its_limit(row: Row) -> None:
    for limit in LIMITS:
        tables = candidates(row, limit)
        assert all(cost(row, parse_attack(table)) <= limit for table in tables)
        assert len({content_key(parse_attack(table)) for table in tables}) == len(tables)
    found = tables_of(row)
    for smaller, larger in pairwise(LIMITS):
        assert found[larger][: len(found[smaller])] == found[smaller], "what fits a limit fits a larger one"


@pytest.mark.parametrize("row", [row for row in ROWS if row.family == "path"], ids=lambda row: row.slug)
def test_model_paths_find_something_to_change_in_the_surrogates(row: Row) -> None:
    network = create(architecture(SURROGATES[0].architecture), shape=(1, 28, 28), classes=10, seed=0).eval()
    tables = [attack_table.default(row), *candidates(row, 10)]
    for table in [{**table, "pas": {"coefficients": [0.5]}} if row.entry == "pas" else table for table in tables]:
        attack = parse_attack(table)
        assert isinstance(attack, Iterative)
        assert attack.path is not None
        attack.path(network)


def test_members_count_in_what_an_ensemble_costs() -> None:
    attack = parse_attack({"name": "mi", "steps": 4})
    assert cost(MI, attack) == 4
    assert cost(ENSEMBLE, attack) == 12


def test_outcomes_are_kept_and_read_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    own, own_right = rng.random(11) < 0.5, rng.random(11) < 0.5
    wrong, right = rng.random((5, 11)) < 0.5, rng.random((5, 11)) < 0.5
    made = Outcome(own=own, own_right=own_right, wrong=wrong, right=right, l2=1.25, queries=None, seconds=0.5)
    made.save(tmp_path / "deep" / "outcome.json")
    back = Outcome.load(tmp_path / "deep" / "outcome.json")
    for field in dataclasses.fields(Outcome):
        assert np.array_equal(getattr(back, field.name), getattr(made, field.name)) or field.name == "queries"
    assert back.queries is None
    assert back.of(slice(1, 4)).wrong.tolist() == wrong[:, 1:4].tolist()


def test_rates_are_wrong_given_right() -> None:
    wrong = np.array([[1, 1, 0, 1], [0, 1, 1, 0]], dtype=bool)
    right = np.array([[1, 0, 1, 1], [1, 1, 0, 1]], dtype=bool)
    outcome = Outcome(own=wrong[0], own_right=right[0], wrong=wrong, right=right, l2=1.0, queries=None, seconds=1.0)
    assert attack_table.own(outcome)["asr"] == pytest.approx(2 / 3, abs=1e-5)
    assert attack_table.transferred(outcome)["asr"] == pytest.approx(3 / 6)
    assert attack_table.score(MI, outcome) == pytest.approx(3 / 6)
    query = dataclasses.replace(MI, family="query")
    assert attack_table.score(query, outcome) == pytest.approx(2 / 3)


def test_no_difference_on_few_images_is_not_none() -> None:
    """Bonett and Price's interval, with no image gained and none lost."""
    answers = np.random.default_rng(0).random((1, 50)) < 0.5
    every = np.ones_like(answers)
    one = Outcome(own=answers[0], own_right=every[0], wrong=answers, right=every, l2=1.0, queries=None, seconds=1.0)
    counts = attack_table._counts(one, asks=False)
    found = attack_table._difference(counts, counts, one)
    reach = 1.959964 * 2**0.5 / 52
    assert [found[name] for name in ("difference", "low", "high")] == pytest.approx([0, -reach, reach], abs=1e-5)


@pytest.mark.parametrize("row", [MI, ENSEMBLE], ids=lambda row: row.source)
def test_a_job_attacks_every_image_and_is_done_once(
    row: Row, tmp_path: Path, keys: tuple[str, ...], images: ImageSet
) -> None:
    one = job(row, tmp_path, keys)
    assert attack_jobs.perform(one) is None
    outcome = Outcome.load(one.path)
    assert outcome.wrong.shape == outcome.right.shape == (len(VICTIMS["test"]), N)
    assert outcome.l2 > 1
    before = one.path.stat().st_mtime_ns
    assert attack_jobs.perform(one) is None
    assert one.path.stat().st_mtime_ns == before


def test_every_third_image_is_attacked_on_each_surrogate(
    tmp_path: Path, keys: tuple[str, ...], images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["ids"].tolist())
        return craft(*args, **kwargs)

    monkeypatch.setattr(attack_jobs, "craft", watched)
    assert attack_jobs.perform(job(MI, tmp_path, keys)) is None
    assert seen == [[0, 3, 6], [1, 4], [2, 5]]


def test_keys_of_outcomes_say_everything_that_decides_them(tmp_path: Path, keys: tuple[str, ...]) -> None:
    base = job(MI, tmp_path, keys)
    others = [
        job(MI, tmp_path, keys, {"name": "mi", "steps": 3}),
        job(MI, tmp_path, keys, split="validation"),
        job(ENSEMBLE, tmp_path, keys),
        job(dataclasses.replace(MI, norm="l2"), tmp_path, keys),
        job(MI, tmp_path, (*keys[:-1], "retrained")),
        dataclasses.replace(base, n=N - 1),
    ]
    assert len({base.path, *(other.path for other in others)}) == 1 + len(others)
    assert job(MI, tmp_path, keys, {"name": "mi", "steps": 2, "step": "1/2"}).path == base.path, "two spellings"


def test_an_attack_that_breaks_says_so_and_takes_nothing_along(
    tmp_path: Path, keys: tuple[str, ...], images: ImageSet
) -> None:
    broken = job(MI, tmp_path, ("missing",) * len(keys))
    problem = attack_jobs.perform(broken)
    assert problem is not None
    assert "missing" in problem
    assert not broken.path.exists()


def test_settings_are_chosen_on_validation_alone(tmp_path: Path, keys: tuple[str, ...]) -> None:
    """The setting that is better on the test images, and worse on validation, is not taken."""
    tables = [{"name": "mi", "steps": 2}, {"name": "mi", "steps": 3}]
    scale = Scale(folder=tmp_path, validation=N, test={200: N})
    for split, success in (("validation", (0.2, 0.9)), ("test", (0.9, 0.2))):
        made = attack_table.jobs_of(MI, tables, split, scale, keys)
        for one, share in zip(made, success, strict=True):
            wrong = np.arange(N * len(VICTIMS[split])).reshape(-1, N) < share * N * len(VICTIMS[split])
            all_right = np.ones_like(wrong)
            Outcome(
                own=wrong[0], own_right=all_right[0], wrong=wrong, right=all_right, l2=1.0, queries=None, seconds=1.0
            ).save(one.path)
    assert attack_table.choose(MI, tables, scale, keys) == tables[1]


def test_the_beginning_of_a_model_file_says_what_was_asked(tmp_path: Path) -> None:
    scale = Scale(folder=tmp_path)
    assert attack_jobs.trained(SURROGATES[0], scale) is None
    key = content_key(attack_jobs.VERSION, SURROGATES[0], attack_jobs.RECIPE, scale.epochs, scale.n)
    (tmp_path / f"{key}-0123.safetensors").touch()
    assert attack_jobs.trained(SURROGATES[0], scale) == f"{key}-0123"
    assert attack_jobs.trained(Model(architecture="mlp", seed=1, samples="a"), scale) is None
