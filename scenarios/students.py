"""The students of an elastic network: measured once, listed, and one of them exported."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from carom.budget import Budget
from carom.defenses.distillation.candidates import Candidate, Scores, unbeaten
from carom.defenses.distillation.measure import Measure, Sizes
from carom.defenses.distillation.proard import ProARD
from carom.defenses.distillation.search import Search
from carom.errors import InputError, StoreError
from carom.files import write_whole
from carom.identity import content_key
from carom.registry import lookup
from carom.scenarios.jobs.inputs import load_images
from carom.scenarios.plan.models import BuiltModel, PlannedModel
from carom.scenarios.plan.plan import Plan, plan
from carom.scenarios.run.executors.processes import devices_of
from carom.scenarios.run.progress import Progress, TimeLeft
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.store.artifacts import read_artifact
from carom.scenarios.store.database import Store, store_errors
from carom.scenarios.store.runs import find_run
from carom.scenarios.tables.students import FORMS
from carom.scenarios.tables.table import Table
from carom.surrogates.stack import unstacked
from carom.zoo.architectures import table
from carom.zoo.architectures.elastic.family import Elastic
from carom.zoo.architectures.elastic.space import Choice
from carom.zoo.models.checkpoints import SUFFIXES, save_state_dict
from carom.zoo.tasks.balance import draw
from carom.zoo.training.ground import Ground, Weights

STUDENTS = "students"  # a folder beside those of artefacts, without rows: scores by supernet
_STEPS = 20  # of PGD
_SMALL = 200  # below so many samples a linear predictor is the better one


@dataclass(frozen=True, kw_only=True)
class Students:
    """Those of one supernet.

    Attributes:
        model: The supernet's label.
        candidates: All that were measured.
        measure: By what; takes them out too.
    """

    model: str
    candidates: Sequence[Candidate]
    measure: Measure

    def shown(self, front: Sequence[Candidate]) -> Table:
        """A table of these."""
        budget, images = self.measure.budget, len(self.measure.ground.validation)
        return Table(
            name="students",
            title=f"{self.model}: {len(front)} of {len(self.candidates)} measured students",
            frame=pd.DataFrame([record(c) for c in front]),
            forms=FORMS,
            notes=(
                "No other student is better in one of accuracy, robust accuracy and MACs and as good in the others.",
                f"Means over classes on {images} validation images; robust: right under PGD of {self.measure.steps} "
                f"steps, {budget}.",
                "The best of many looks better than it is: export it, and judge it as a victim, on test images.",
            ),
        )

    def export(self, candidate: Candidate, output: Path) -> list[str]:
        """Write a student as a plain state dict, and say what it is and how a scenario names it.

        Raises:
            StoreError: The file cannot be written.
        """
        classifier = self.measure.student(candidate.choice).cpu()
        try:
            save_state_dict(classifier, output)
        except OSError as error:
            raise StoreError(f"{output}: cannot be written: {error.strerror}") from None
        return [
            f"{output}: the student {str(candidate.choice)!r} of {self.model}, accuracy {candidate.accuracy:.1%}, "
            f"robust accuracy {candidate.robustness:.1%}, {candidate.macs:,} MACs, {candidate.parameters:,} "
            f"parameters; fingerprint {classifier.fingerprint()}",
            f"in a scenario: model = {json.dumps(str(output))}, architecture = {_named(classifier.architecture)}",
        ]


def record(candidate: Candidate) -> dict[str, Any]:
    """A student's line, for tables and JSON."""
    return {
        "student": str(candidate.choice),
        "accuracy": candidate.accuracy,
        "robust accuracy": candidate.robustness,
        "MACs": candidate.macs,
        "parameters": candidate.parameters,
    }


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other beats in accuracy, robust accuracy and MACs, by falling robust accuracy."""
    return unbeaten(candidates, by_macs=True)


def check_output(output: Path) -> None:
    """Refuse a file that could not be written, before anything is measured.

    Raises:
        InputError: Another kind of file, or no such folder.
    """
    if output.suffix not in SUFFIXES:
        raise InputError(f"carom students: {output}: unknown kind of file; expected {', '.join(SUFFIXES)}")
    if not output.resolve().parent.is_dir():
        raise InputError(f"carom students: {output.parent} is not a folder; make it first")


def students_of(
    folder: Path,
    run: str | None,
    *,
    model: str | None,
    samples: int,
    measured: int,
    device: str,
    progress: Progress,
) -> Students:
    """The students of a run's supernet, from the store or measured now; what was measured is kept, one by one.

    Args:
        folder: The store.
        run: A run, or a scenario; None for the latest run.
        model: Label of the supernet; None where the run has one.
        samples: Random ones to measure, which a predictor learns from.
        measured: Further ones to measure, of those that NSGA-II finds by the predictor.
        device: Where, as `carom run` takes it.
        progress: Told how far it is.

    Raises:
        InputError: No such run or model, no supernet, or one that is not trained.
        StoreError: The store cannot be read or written.
        MissingData: The task's files are not on this machine.
    """
    with Store(folder) as store:
        found = find_run(store, run)
        if found.status == "published":
            raise InputError(
                f"carom students: {found.id} holds published rates, no models; expected a run of one's own"
            )
        planned = plan(parse_scenario(found.text, where=found.id))
        supernets = {one.label: one for one in _supernets(store, planned)}
    where = f"carom students: {found.id}"
    if not supernets:
        raise InputError(f'{where} has no network with students; defend a victim by "trades -> proard", say')
    if model is None and len(supernets) > 1:
        raise InputError(f"{where} has several networks with students; name one by --model: {', '.join(supernets)}")
    chosen = lookup(model or next(iter(supernets)), supernets, where=where, what="network with students")
    if chosen.weights is None:
        raise InputError(f"{where}: {chosen.label} is not trained; finish it by: carom run {found.scenario}")
    search = Search(
        samples=samples,
        measured=measured,
        by_macs=True,
        layers=0 if samples < _SMALL else 3,
        eps=chosen.proard.eps,
        norm=chosen.proard.norm,
        steps=_STEPS,
    )
    ground = _ground(chosen, planned, device)
    measure = Measure(ground, chosen.weights, search.budget, steps=search.steps)
    sizes = Sizes(architecture=chosen.architecture, shape=ground.shape, classes=ground.classes)
    scores = _scores(folder, chosen, search, sizes, measure, progress)
    return Students(model=chosen.label, candidates=_candidates(scores, chosen.architecture, sizes), measure=measure)


def measured_students(folder: Path, run: str) -> dict[str, list[Candidate]]:
    """The students of a run's networks that were measured before, by the network's label; nothing is measured.

    Args:
        folder: The store.
        run: A run of one's own.

    Raises:
        InputError: No such run.
        StoreError: The store cannot be read.
        MissingData: The task's files are not on this machine.
    """
    if not any((folder / "artifacts" / STUDENTS).glob("*.json")):
        return {}
    with Store(folder) as store:
        found = find_run(store, run)
        if found.status == "published":
            return {}
        planned = plan(parse_scenario(found.text, where=found.id))
        supernets = list(_supernets(store, planned))
    task = planned.scenario.task
    known: dict[str, list[Candidate]] = {}
    for one in supernets:
        sizes = Sizes(architecture=one.architecture, shape=task.shape, classes=len(task.classes))
        budget = Search(eps=one.proard.eps, norm=one.proard.norm).budget
        notes = _Notes(path=_notes_of(folder, one, budget, _STEPS))
        notes.read()
        if notes.scores:
            known[one.label] = _candidates(notes.scores, one.architecture, sizes)
    return known


# ----------------------------------------------------------------------------------------------------------- supernets


@dataclass(frozen=True, kw_only=True, eq=False)
class _Supernet:
    """A trained network of sub-networks, or one that a run was to train."""

    planned: PlannedModel
    model: BuiltModel
    proard: ProARD
    architecture: Elastic
    digest: str
    weights: Weights | None

    @property
    def label(self) -> str:
        return self.planned.label


def _supernets(store: Store, planned: Plan) -> Iterator[_Supernet]:
    rows = store.recorded("weights", list(planned.models))
    for key, one in planned.models.items():
        model, proard = one.model, _proard(planned, key)
        if proard is None or not isinstance(model, BuiltModel):
            continue
        digest = rows[key].digest if key in rows else None
        weights: Weights | None = None
        architecture = model.base.configuration.architecture
        if digest is not None:
            weights = unstacked(read_artifact(store.folder, "weights", key, digest))[0]
            architecture = model.stage.architecture(architecture, weights)  # type: ignore[union-attr]
        elif model.stage is not proard:
            continue  # which network it will be stands in its weights
        if isinstance(architecture, Elastic) and architecture.choice is None:
            yield _Supernet(
                planned=one,
                model=model,
                proard=proard,
                architecture=architecture,
                digest=digest or "",
                weights=weights,
            )


def _proard(planned: Plan, key: str) -> ProARD | None:
    """The stage that trained a model's students: its own, or one before it."""
    model = planned.models[key].model
    while isinstance(model, BuiltModel):
        if isinstance(model.stage, ProARD):
            return model.stage
        if not model.given:
            return None
        model = planned.models[model.given[0]].model
    return None


def _ground(chosen: _Supernet, planned: Plan, device: str) -> Ground:
    """What the supernet was trained with."""
    task, base = planned.scenario.task, chosen.model.base
    configuration = base.configuration
    assert configuration.n is not None
    of = chosen.planned.inputs
    pool = load_images(task, configuration.source, "train", configuration.samples, of["train"])
    counts = configuration.balance.counts(configuration.n, len(task.classes))
    return Ground(
        architecture=chosen.architecture,
        shape=task.shape,
        classes=len(task.classes),
        recipe=configuration.recipe,
        train=draw(pool, counts, base.seed),
        validation=load_images(task, configuration.source, "validation", configuration.samples, of["validation"]),
        seed=base.seed,
        device=torch.device(devices_of(device)[0]),
    )


# ----------------------------------------------------------------------------------------------------------- measuring


@dataclass(kw_only=True)
class _Notes:
    """What was measured of one supernet, in a file."""

    path: Path
    scores: dict[str, Scores] = field(default_factory=dict)  # by the student's name
    searches: list[str] = field(default_factory=list)  # keys of those that are done

    def read(self) -> None:
        """A damaged file counts as none: all of it can be measured again."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            self.scores = {str(name): (float(a), float(b)) for name, (a, b) in found["scores"].items()}
            self.searches = [str(key) for key in found["searches"]]
        except (OSError, ValueError, KeyError, TypeError):
            self.scores, self.searches = {}, []

    def write(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        write_whole(self.path, json.dumps({"scores": self.scores, "searches": self.searches}, indent=1).encode())


def _scores(
    folder: Path, chosen: _Supernet, search: Search, sizes: Sizes, measure: Measure, progress: Progress
) -> Mapping[str, Scores]:
    """Of all students that were ever measured, after this search."""
    notes = _Notes(path=_notes_of(folder, chosen, search.budget, search.steps))
    notes.read()
    asked = content_key(search)
    if asked in notes.searches:
        return notes.scores
    total = search.samples + search.measured
    each = len(measure.ground.validation) * (2 * search.steps + 2)
    left = TimeLeft({"measure": total * each}, 1)
    progress.begin("measure", total, left)

    def score(choice: Choice) -> Scores:
        name = str(choice)
        if name not in notes.scores:
            start = time.perf_counter()
            notes.scores[name] = measure(choice)
            left.learn("measure", time.perf_counter() - start, each)
            with store_errors(folder):
                notes.write()
        left.done("measure", each)
        clean, robust = notes.scores[name]
        progress.advance(1, f"accuracy {clean:.1%}, robust accuracy {robust:.1%}")
        return clean, robust

    search(sizes, score, seed=measure.ground.seed)
    notes.searches.append(asked)
    with store_errors(folder):
        notes.write()
    return notes.scores


def _notes_of(folder: Path, chosen: _Supernet, budget: Budget, steps: int) -> Path:
    key = content_key("students", chosen.digest, dict(chosen.planned.inputs), budget, steps)
    return folder / "artifacts" / STUDENTS / f"{key}.json"


def _candidates(scores: Mapping[str, Scores], architecture: Elastic, sizes: Sizes) -> list[Candidate]:
    choices = {name: architecture.space.parse(name) for name in scores}
    return [
        Candidate(
            choice=choices[name],
            accuracy=clean,
            robustness=robust,
            macs=sizes.macs(choices[name]),
            parameters=sizes.parameters(choices[name]),
        )
        for name, (clean, robust) in scores.items()
    ]


def _named(architecture: Any) -> str:
    """As TOML: its name, and the fields that are not the usual ones."""
    usual = {f.name: f.default for f in fields(architecture) if f.default is not MISSING}
    told = {name: value for name, value in table(architecture).items() if usual.get(name, MISSING) != value}
    entries = {"name": told.pop("name"), **told}
    return "{" + ", ".join(f"{name} = {_toml(value)}" for name, value in entries.items()) + "}"


def _toml(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, tuple) else str(value)
