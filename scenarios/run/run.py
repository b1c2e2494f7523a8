"""Run a scenario: do what the store lacks, record it, and say what failed.

The driver alone writes the database. Whatever is interrupted or killed resumes where it was: done is what the store
holds with the digests of its inputs.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from carom.errors import StoreError
from carom.identity import content_key, tensor_digest
from carom.scenarios.environment import code_digest, environment
from carom.scenarios.jobs.job import (
    BuildJob,
    ControlJob,
    CraftJob,
    EvaluateJob,
    ExamineJob,
    Job,
    MeasureJob,
    Result,
    SetToCraft,
    TrainJob,
    WeightsOf,
)
from carom.scenarios.plan.cost import FIRST_GUESS
from carom.scenarios.plan.images import AttackedImages
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.measures import EXAMINED_IMAGES, examine_key, measure_key, measured
from carom.scenarios.plan.models import BuiltModel, WrappedModel, behind_wrappers
from carom.scenarios.plan.plan import Plan, layers, plan
from carom.scenarios.plan.sets import PlannedSet
from carom.scenarios.plan.surrogates import PlannedSurrogate
from carom.scenarios.spec.scenario import ReferencedModel, Scenario, SurrogateSpec, TrainedModel
from carom.scenarios.store.artifacts import Kind, Written, write_artifact
from carom.scenarios.store.database import Row, Store
from carom.scenarios.store.predictions import pack_changes, unpack_predictions
from carom.scenarios.store.schema import (
    attempts,
    cells,
    clean,
    image_sets,
    run_cells,
    run_models,
    run_sets,
    run_surrogates,
    run_victims,
    runs,
)
from carom.scenarios.store.unchanged import stamp
from carom.surrogates import Ensemble, Single
from carom.zoo.tasks.attacked import target_classes

from .executors.processes import Workers, devices_of

CODE = code_digest()  # of this process, which has just read it
IMAGES_PER_JOB = 200_000  # an evaluation is cut after so many images: what a kill can cost


@runtime_checkable
class Progress(Protocol):
    """Told what a run is doing."""

    def say(self, text: str) -> None:
        """A line for the user."""
        ...

    def begin(self, phase: str, units: int, left: "TimeLeft") -> None:
        """A phase of so many units begins."""
        ...

    def advance(self, units: int, label: str) -> None:
        """So many units are done."""
        ...


class Silent:
    """Tells nobody."""

    def say(self, text: str) -> None:
        """Nothing."""

    def begin(self, phase: str, units: int, left: "TimeLeft") -> None:
        """Nothing."""

    def advance(self, units: int, label: str) -> None:
        """Nothing."""


@dataclass
class TimeLeft:
    """Expects the rest of a run from what image passes have cost so far, by kind of job."""

    units: dict[str, int]
    workers: int
    seconds: dict[str, float] = field(default_factory=dict)
    passes: dict[str, int] = field(default_factory=dict)

    def learn(self, kind: str, seconds: float, passes: int) -> None:
        """Count a job that was done."""
        self.seconds[kind] = self.seconds.get(kind, 0.0) + seconds
        self.passes[kind] = self.passes.get(kind, 0) + passes

    def done(self, kind: str, units: int) -> None:
        """Take a job's units off what is left."""
        self.units[kind] = max(0, self.units.get(kind, 0) - units)

    def expected(self) -> float:
        """Seconds that are left."""
        total = 0.0
        for kind, units in self.units.items():
            passes = self.passes.get(kind, 0)
            total += units * (self.seconds[kind] / passes if passes else FIRST_GUESS[kind])
        return total / max(1, self.workers)


@dataclass(kw_only=True)
class Report:
    """What a run did."""

    run: str
    status: str = "done"
    trained: int = 0
    crafted: int = 0
    evaluated: int = 0  # cells
    cells: int = 0
    jobs: int = 0
    failures: list[str] = field(default_factory=list)
    input_at_fault: bool = False
    seconds: float = 0.0
    busy: dict[str, float] = field(default_factory=dict)  # seconds of all workers in jobs, by kind of job
    inside: dict[str, float] = field(default_factory=dict)  # of those, in forward and backward passes
    workers: int = 0

    @property
    def nothing_to_do(self) -> bool:
        """The store held everything already."""
        return self.jobs == 0 and not self.failures


def run_scenario(
    scenario: Scenario,
    folder: Path,
    *,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Report:
    """Do what the store lacks of a scenario.

    Args:
        scenario: What is asked.
        folder: The store; made when it is not there.
        workers: Processes; None takes one for each core, or for each GPU; 0 works in this process.
        device: "auto", "cpu", "cuda", or names such as "cuda:0,cuda:1".
        progress: Told what happens.

    Raises:
        InputError: Something in the scenario, its data or its models is wrong; nothing was computed yet.
        StoreError: The store cannot be written; what was computed is kept.
    """
    start = time.perf_counter()
    devices = devices_of(device)
    if workers is None:
        workers = len(devices) if devices != ["cpu"] else len(os.sched_getaffinity(0))
    with Store(folder, write=True) as store:
        if store.remark is not None:
            (progress or Silent()).say(store.remark)
        token = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f") + f"-{os.getpid()}"
        planned = plan(scenario, run_id=token, progress=(progress or Silent()).say)
        driver = _Driver(store, planned, progress or Silent(), max(1, workers))
        driver.open(devices)
        try:
            with Workers(folder, count=workers, devices=devices, code=CODE) as pool:
                driver.work(pool)
        except BaseException as error:
            driver.close("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        report = driver.close("failed" if driver.report.failures else "done")
        report.seconds = time.perf_counter() - start
        report.workers = max(1, workers)
        return report


def run_id_of(scenario: Scenario) -> str:
    """The run of a scenario file: the same text is the same run, so that a run resumes under its own name."""
    return f"{scenario.name}-{content_key('run', scenario.text)[:6]}"


class _Driver:
    """One run over one store."""

    def __init__(self, store: Store, planned: Plan, progress: Progress, workers: int) -> None:
        self.store, self.plan, self.progress = store, planned, progress
        self.run = run_id_of(planned.scenario)
        self.report = Report(run=self.run, cells=len(planned.cells))
        self.devices: list[str] = []
        self.failed: dict[str, str] = {}  # key of a model or set -> why it is not there
        self.said: set[str] = set()  # keys of harmed files that the user was told of
        self.left = TimeLeft({}, workers)
        self.stamp = self._stamp()
        self.shape, self.classes = planned.scenario.task.shape, len(planned.scenario.task.classes)

    @property
    def lacking(self) -> Lacking:
        """What is lacking now."""
        return Lacking(plan=self.plan, store=self.store, failed=self.failed, say=self.progress.say, said=self.said)

    # ------------------------------------------------------------------------------------------------ the run's rows

    def open(self, devices: Sequence[str]) -> None:
        """Write down what this run is going to show, and the images that it starts from."""
        scenario = self.plan.scenario
        self.models = self.store.ensure("weights", list(self.plan.models))
        self.sets = self.store.ensure("sets", list(self.plan.sets))
        self.images = self.store.ensure("images", [i.key for i in self.plan.images.values()])
        of_surrogates = [measure_key(self.plan, s) for s in measured(self.plan)]
        of_victims = [examine_key(self.plan, victim) for victim in self.plan.examined]
        self.measures = self.store.ensure("measures", [*of_surrogates, *of_victims])
        for attacked in self.plan.images.values():
            self._write_images(attacked)
        row = {
            "id": self.run,
            "scenario": scenario.name,
            "description": scenario.description,
            "text": scenario.text,
            "task": scenario.task_name,
            "status": "running",
            "started": _now(),
            "finished": None,
            "stamp": None,
            "environment": json.dumps(environment(devices[0]) | {"devices": list(devices)}),
        }
        with self.store.writing() as connection:
            statement = insert(runs).values(row)
            connection.execute(
                statement.on_conflict_do_update(
                    # where the work was done is said when some is
                    index_elements=["id"],
                    set_={k: v for k, v in row.items() if k not in ("id", "started", "environment")},
                )
            )
            for table in (run_models, run_sets, run_cells, run_surrogates, run_victims):
                connection.execute(table.delete().where(table.c.run == self.run))
            connection.execute(
                insert(run_models).on_conflict_do_nothing(), [self._model_row(*r) for r in self.plan.roles]
            )
            connection.execute(run_sets.insert(), [self._set_row(s) for s in self.plan.sets.values()])
            connection.execute(run_surrogates.insert(), [self._surrogate_row(s) for s in self.plan.surrogates])
            if self.plan.examined:
                connection.execute(run_victims.insert(), [self._victim_row(v) for v in self.plan.examined])
            connection.execute(
                insert(run_cells).on_conflict_do_nothing(),
                [
                    {
                        "run": self.run,
                        "adversarial_set": self.sets[c.set_key],
                        "victim": self.models[c.victim_key],
                        "case": c.case,
                    }
                    for c in self.plan.cells
                ],
            )

    def close(self, status: str) -> Report:
        """Write down how the run ended and which of its cells have no outcome, and why."""
        self.report.status = status
        done = self.lacking.outcomes
        with self.store.writing() as connection:
            ended = {"status": status, "finished": _now(), "stamp": self.stamp if status == "done" else None}
            connection.execute(runs.update().where(runs.c.id == self.run).values(ended))
            failed = [
                {"s": self.sets[c.set_key], "v": self.models[c.victim_key], "why": why}
                for c in self.plan.cells
                if (why := self.failed.get(c.set_key) or self.failed.get(c.victim_key))
                and (c.set_key, c.victim_key) not in done
            ]
            if failed:
                where = (
                    (run_cells.c.run == self.run)
                    & (run_cells.c.adversarial_set == sa.bindparam("s"))
                    & (run_cells.c.victim == sa.bindparam("v"))
                )
                connection.execute(run_cells.update().where(where).values(failure=sa.bindparam("why")), failed)
        return self.report

    def _stamp(self) -> str | None:
        """So that the same run is known to be done without planning it; not where files from outside matter."""
        scenario = self.plan.scenario
        outside = any(isinstance(planned.model, ReferencedModel) for planned in self.plan.models.values())
        return stamp(scenario.name, scenario.text) if scenario.task.embedded and not outside else None

    def _model_row(self, key: str, role: str, label: str) -> dict[str, Any]:
        planned = self.plan.models[key]
        axes = dict(planned.model.axes)
        if planned.trained is not None:
            axes |= {"seed": str(planned.trained.seed), "n": str(planned.trained.configuration.n)}
        return {
            "run": self.run,
            "artifact": self.models[key],
            "role": role,
            "label": label,
            "axes": json.dumps(axes),
        }

    def _set_row(self, planned: PlannedSet) -> dict[str, Any]:
        axes = {} if planned.spec is None else _surrogate_axes(planned.spec)
        if planned.attack is not None:
            stolen = planned.spec is not None and planned.spec.builder.asks  # a surrogate of the victim's own answers
            axes["reads"] = "both" if planned.asked is not None or stolen else planned.attack.reads
            if planned.attack.decoy:
                axes["decoy"] = "true"
        asked = planned.only if planned.spec is not None and planned.spec.builder.asks else planned.asked
        if asked is not None:
            axes["asked"] = self.plan.models[asked].label
        return {
            "run": self.run,
            "artifact": self.sets[planned.key],
            "image_set": self.images[self.plan.images[planned.split].key],
            "surrogate": planned.surrogate,
            "surrogate_axes": json.dumps(axes),
            "attack": planned.label,
            "norm": planned.budget.norm,
            "eps": str(planned.budget).split(" ")[1],
            "attack_seed": planned.seed,
            "targeted": planned.targeted,
        }

    def _surrogate_row(self, planned: PlannedSurrogate) -> dict[str, Any]:
        return {
            "run": self.run,
            "label": planned.spec.label,
            "victim": "" if planned.only is None else self.plan.models[planned.only].label,
            "builder": planned.spec.builder_name,
            "members": json.dumps([self.models[m] for m in planned.members]),
            "rests_on": json.dumps([self.models[m] for m in planned.rests_on]),
            "measures": self.measures.get(measure_key(self.plan, planned)),
            "active": planned.spec.builder.active,
            "schedule": planned.spec.builder.schedule,
            "networks": _networks(planned),
            "axes": json.dumps(_surrogate_axes(planned.spec)),
        }

    def _victim_row(self, victim: str) -> dict[str, Any]:
        return {
            "run": self.run,
            "victim": self.models[victim],
            "rests_on": json.dumps([self.models[m] for m in self.plan.rests_on(victim)]),
            "measures": self.measures[examine_key(self.plan, victim)],
            "budget": str(self.plan.examined_in),
        }

    def _write_images(self, attacked: AttackedImages) -> None:
        scenario, images = self.plan.scenario, attacked.images
        row = {
            "artifact": self.images[attacked.key],
            "task": scenario.task_name,
            "split": attacked.split,
            "classes": json.dumps(list(scenario.task.classes)),
            "sources": json.dumps(list(scenario.image_sources)),
            "labels": images.labels.numpy().astype("<i4").tobytes(),
            "image_source": attacked.image_source.numpy().astype("<i4").tobytes(),
            "ids": images.ids.numpy().astype("<i8").tobytes(),
        }
        state = self.store.states("images", [attacked.key])[attacked.key]
        with self.store.reading() as connection:  # a kill may have come between the file and this row
            described = connection.execute(sa.select(image_sets).where(image_sets.c.artifact == state.id)).first()
        same = described is not None and described._asdict() == row
        if same and state.digest == attacked.digest and self.store.damage("images", state) is None:
            return
        written = Written(
            kind="images",
            key=attacked.key,
            digest=attacked.digest,
            inputs={},
            record={
                "task": scenario.task_name,
                "split": attacked.split,
                "per_source": scenario.per_source,
                "environment": environment("cpu"),
            },
        )
        tensors = {"images": images.images, "labels": images.labels, "ids": images.ids}
        write_artifact(self.store.folder, written, tensors)
        with self.store.writing() as connection:  # all at once: outcomes are never counted by labels of other images
            self.store.record_within(connection, written)
            connection.execute(image_sets.delete().where(image_sets.c.artifact == row["artifact"]))
            connection.execute(image_sets.insert(), [row])

    # ---------------------------------------------------------------------------------------------------- the phases

    def work(self, pool: Workers) -> None:
        """Train, build on that, craft and evaluate what is lacking."""
        self._register_references()
        # outcomes of what the scenario no longer names are not shown beside those that it asks for
        if outdated := self.lacking.outdated:
            self.store.forget(outdated)
        self._register_wrapped()
        lacking = self.lacking
        self._learn_rates()
        self.left.units = lacking.passes
        for warning in self.plan.warnings:
            self.progress.say(f"warning: {warning}")
        phases: tuple[tuple[str, Callable[[], list[Job]]], ...] = (
            ("train", lambda: self._train_jobs(lacking.models)),
            *(("build", lambda keys=keys: self._build_jobs(keys)) for keys in layers(self.plan)),
            ("measure", lambda: [*self._measure_jobs(), *self._examine_jobs()]),
            ("craft", self._craft_jobs),
            ("evaluate", self._evaluate_jobs),
        )
        for phase, jobs in phases:
            todo = jobs()
            if phase != "build":
                self.left.units[phase] = sum(j.units for j in todo)
            if todo:
                self.progress.begin(phase, self.left.units[phase], self.left)
            for job, result in pool.perform(todo):
                self._take(job, result)
                self.left.done(phase, job.units)
                self.progress.advance(job.units, job.label)
            if phase in ("train", "build"):
                self._register_wrapped()

    def _register_references(self) -> None:
        """A model that exists already is there from the start: its digest is its fingerprint."""
        states = self.store.states("weights", list(self.plan.models))
        for key, planned in self.plan.models.items():
            if isinstance(planned.model, ReferencedModel) and states[key].digest != planned.digest:
                assert planned.digest is not None
                record = {"kind": "referenced", "label": planned.label, "environment": environment("cpu")}
                self.store.record(Written(kind="weights", key=key, digest=planned.digest, inputs={}, record=record))

    def _register_wrapped(self) -> None:
        """A wrapped model has no weights of its own; what stands under its key says which ones are behind it."""
        digests = self.lacking.model_digests
        states = self.store.states("weights", list(self.plan.models))
        for key, planned in self.plan.models.items():
            if not isinstance(planned.model, WrappedModel):
                continue
            inner = planned.model.inner
            if inner in self.failed:
                self.failed[key] = f"{self.plan.models[inner].label}: {self.failed[inner]}"
            elif inner in digests and not self.lacking.whole(
                "weights", states[key], {"inner": digests[inner]}, planned.label
            ):
                behind = behind_wrappers(digests[inner])
                written = Written(
                    kind="weights",
                    key=key,
                    digest=tensor_digest(behind),
                    inputs={"inner": digests[inner]},
                    record={"kind": "wrapped", "label": planned.label, "environment": environment("cpu")},
                )
                write_artifact(self.store.folder, written, behind)
                self.store.record(written)

    def _train_jobs(self, keys: Iterable[str]) -> list[Job]:
        jobs: list[Job] = []
        for key in keys:
            planned = self.plan.models[key]
            if not isinstance(planned.model, TrainedModel):
                continue
            jobs.append(
                TrainJob(
                    key=key,
                    label=planned.label,
                    task=self.plan.scenario.task,
                    configuration=planned.model.configuration,
                    seed=planned.model.seed,
                    inputs=dict(planned.inputs),
                )
            )
        return sorted(jobs, key=lambda j: -j.units)

    def _build_job(self, key: str, digests: Mapping[str, str]) -> BuildJob:
        planned = self.plan.models[key]
        model = planned.model
        assert isinstance(model, BuiltModel)
        return BuildJob(
            key=key,
            label=planned.label,
            task=self.plan.scenario.task,
            configuration=model.base.configuration,
            seed=model.base.seed,
            stage=model.stage,
            given=tuple(self._weights(m, digests[m]) for m in (*model.given, *model.others)),
            pool=tuple(
                replace(self._weights(m, digests[m]), group=group, label=label)
                for m, group, label in zip(model.pool, model.groups, model.pool_labels, strict=True)
            ),
            expected=model.expected,
            asked=None if model.asked is None else self._weights(model.asked, digests[model.asked]),
            judges=tuple(self._weights(j, digests[j]) for j in model.judges),
            judging=self._judging(model.judges),
            inputs=self.lacking.model_inputs(planned, digests) or {},
            precision=self.plan.scenario.precision,
            units=model.passes,
        )

    def _build_jobs(self, keys: Sequence[str]) -> list[Job]:
        """One layer of what is lacking; what rests on a model that failed fails with it."""
        digests = self.lacking.model_digests
        states = self.store.states("weights", list(keys))
        jobs: list[Job] = []
        for key in keys:
            planned = self.plan.models[key]
            assert isinstance(planned.model, BuiltModel)
            bad = [m for m in planned.model.models if m in self.failed]
            if bad:
                self.failed[key] = f"{self.plan.models[bad[0]].label}: {self.failed[bad[0]]}"
                continue
            inputs = self.lacking.model_inputs(planned, digests)
            if not self.lacking.whole("weights", states[key], inputs, planned.label):
                jobs.append(self._build_job(key, digests))
        return sorted(jobs, key=lambda j: -j.units)

    def _measure_jobs(self) -> list[Job]:
        digests = self.lacking.model_digests
        jobs: list[Job] = []
        for planned in self.lacking.measures:
            geometry, base = self.plan.scenario.geometry, planned.spec.base
            inputs = self.lacking.measure_inputs(planned, digests)
            trained = self.plan.models[planned.members[0]].trained
            assert geometry is not None
            assert isinstance(base, TrainedModel)
            assert trained is not None
            if inputs is None:
                continue
            jobs.append(
                MeasureJob(
                    key=measure_key(self.plan, planned),
                    label=planned.spec.label,
                    task=self.plan.scenario.task,
                    configuration=trained.configuration,
                    models=tuple(self._weights(m, digests[m]) for m in planned.members),
                    images=geometry.images,
                    members=geometry.members,
                    seed=base.seed,
                    inputs=inputs,
                )
            )
        return jobs

    def _examine_jobs(self) -> list[Job]:
        digests = self.lacking.model_digests
        jobs: list[Job] = []
        for victim in self.lacking.examinations:
            budget, attacked = self.plan.examined_in, self.plan.images["validation"]
            inputs = self.lacking.examine_inputs(victim, digests)
            assert budget is not None
            if inputs is None:
                continue
            jobs.append(
                ExamineJob(
                    key=examine_key(self.plan, victim),
                    label=self.plan.models[victim].label,
                    victim=self._weights(victim, digests[victim]),
                    images_key=attacked.key,
                    images_digest=attacked.digest,
                    images=EXAMINED_IMAGES,
                    classes=self.classes,
                    budget=budget,
                    inputs=inputs,
                )
            )
        return jobs

    def _craft_jobs(self) -> list[Job]:
        scenario = self.plan.scenario
        digests = self.lacking.model_digests
        groups: dict[tuple[Any, ...], list[PlannedSet]] = defaultdict(list)
        for planned in self.lacking.sets:
            groups[planned.surrogate, planned.members, planned.asked, planned.judges, planned.split].append(planned)
        for planned in self.plan.sets.values():
            bad = [m for m in planned.models if m in self.failed]
            if bad:
                self.failed[planned.key] = f"{self.plan.models[bad[0]].label}: {self.failed[bad[0]]}"
        jobs: list[Job] = []
        for (surrogate, members, asked, judges, split), group in groups.items():
            attacked = self.plan.images[split]
            if surrogate is None:
                controls = tuple((s.key, scenario.controls[s.label], s.budget, s.seed) for s in group)
                jobs.append(
                    ControlJob(
                        label=f"controls ({split})",
                        sets=controls,
                        images_key=attacked.key,
                        images_digest=attacked.digest,
                    )
                )
                continue
            spec = group[0].spec
            assert spec is not None
            jobs.append(
                CraftJob(
                    label=surrogate,
                    members=tuple(self._weights(m, digests[m]) for m in members),
                    asked=None if asked is None else self._weights(asked, digests[asked]),
                    judges=tuple(self._weights(j, digests[j]) for j in judges),
                    judging=self._judging(judges),
                    partners=self.plan.pool,
                    task=scenario.task,
                    builder=spec.builder,
                    sets=tuple(
                        SetToCraft(
                            key=s.key,
                            attack=s.attack.attack,
                            budget=s.budget,
                            seed=s.seed,
                            targeted=s.attack.targeted,
                            mixes=s.attack.mixes,
                            decoy=s.attack.decoy,
                        )
                        for s in group
                        if s.attack is not None
                    ),
                    images_key=attacked.key,
                    images_digest=attacked.digest,
                    n=len(attacked.images),
                    classes=self.classes,
                    precision=scenario.precision,
                )
            )
        return sorted(jobs, key=lambda j: -j.units)

    def _judging(self, judges: Sequence[str]) -> tuple[str, str] | None:
        """Key and digest of the images that coefficients are searched on."""
        attacked = self.plan.images.get("validation")
        return (attacked.key, attacked.digest) if judges and attacked is not None else None

    def _weights(self, key: str, digest: str) -> WeightsOf:
        planned = self.plan.models[key]
        model = planned.model
        built = model if isinstance(model, BuiltModel) else None
        wrapped = model if isinstance(model, WrappedModel) else None
        behind = None if wrapped is None else self.lacking.model_digests.get(wrapped.inner, "")
        return WeightsOf(
            key=key,
            label=planned.label,
            shape=self.shape,
            classes=self.classes,
            configuration=None if planned.trained is None else planned.trained.configuration,
            reference=model.reference if isinstance(model, ReferencedModel) else None,
            digest=digest,
            code=planned.code,
            stacked=planned.stacked,
            chain=built.chain if built is not None else None,
            stages=built.stages if built is not None else (),
            inner=None if wrapped is None or behind is None else self._weights(wrapped.inner, behind),
            wrappers=() if wrapped is None else wrapped.wrappers,
        )

    def _evaluate_jobs(self) -> list[Job]:
        models, sets = self.lacking.model_digests, self.lacking.set_digests
        with self.store.reading() as connection:
            asked = {(v, i) for v, i in connection.execute(sa.select(clean.c.victim, clean.c.image_set))}
        wanted: dict[str, list[str]] = defaultdict(list)
        for cell in self.lacking.cells:
            if cell.set_key in sets and cell.victim_key in models:
                wanted[cell.victim_key].append(cell.set_key)
        jobs: list[Job] = []
        for victim, keys in wanted.items():
            items: list[tuple[Kind, str, str]] = []
            for split in dict.fromkeys(self.plan.sets[k].split for k in keys):
                attacked = self.plan.images[split]
                if (self.models[victim], self.images[attacked.key]) not in asked:
                    items.append(("images", attacked.key, attacked.digest))
            n = max(len(i.images) for i in self.plan.images.values())
            size = max(1, IMAGES_PER_JOB // n)
            for start in range(0, len(keys), size):
                # results come in any order, so each part brings the clean answers that its cells are packed against
                some: list[tuple[Kind, str, str]] = [("sets", k, sets[k]) for k in keys[start : start + size]]
                jobs.append(
                    EvaluateJob(
                        label=self.plan.models[victim].label,
                        victim=self._weights(victim, models[victim]),
                        sets=(*items, *some),
                        images={
                            **{i.key: (i.key, i.digest) for i in self.plan.images.values()},
                            **{k: self._images_of(k) for _, k, _ in some},
                        },
                        n=n,
                        classes=self.classes,
                        precision=self.plan.scenario.precision,
                    )
                )
        return sorted(jobs, key=lambda j: -j.units)

    def _images_of(self, key: str) -> tuple[str, str]:
        """Key and digest of the images that a set was made of."""
        attacked = self.plan.images[self.plan.sets[key].split]
        return attacked.key, attacked.digest

    # ------------------------------------------------------------------------------------------------------- results

    def _take(self, job: Job, result: Result) -> None:
        if result.fault == "store":
            raise StoreError(str(result.failure))
        for written in result.written:
            self.store.record(written)
        if isinstance(job, EvaluateJob) and result.failure is None:
            self._take_outcomes(job, result)
        self.report.trained += sum(w.kind == "weights" for w in result.written)
        self.report.crafted += sum(w.kind == "sets" for w in result.written)
        self.report.jobs += 1
        for totals, seconds in ((self.report.busy, result.seconds), (self.report.inside, result.inside)):
            totals[result.kind] = totals.get(result.kind, 0.0) + seconds
        if result.passes:
            self.left.learn(result.kind, result.seconds, result.passes)
        with self.store.writing() as connection:
            connection.execute(
                attempts.insert(),
                [
                    {
                        "run": self.run,
                        "job": result.kind,
                        "label": result.label,
                        "finished": _now(),
                        "seconds": result.seconds,
                        "inside": result.inside,
                        "passes": result.passes,
                        "failure": result.failure or "; ".join(dict.fromkeys(result.failures.values())) or None,
                        "environment": json.dumps(result.environment) if result.environment else None,
                    }
                ],
            )
            if result.environment:
                self.devices += [d for d in result.environment["devices"] if d not in self.devices]
                where = json.dumps({**result.environment, "devices": sorted(self.devices)})
                connection.execute(runs.update().where(runs.c.id == self.run).values(environment=where))
        if result.failure is not None:
            self._fail(job, result)
        for why in dict.fromkeys(result.failures.values()):
            keys = [key for key, reason in result.failures.items() if reason == why]
            self.failed |= dict.fromkeys(keys, why)
            names = ", ".join(dict.fromkeys(self.plan.sets[key].label for key in keys))
            self.report.failures.append(f"{job.kind} {job.label}: {names}: {why}")
            self.progress.say(f"failed: {job.kind} {job.label}: {names}: {why}")

    def _fail(self, job: Job, result: Result) -> None:
        why = str(result.failure)
        self.report.failures.append(f"{job.kind} {job.label}: {why}")
        self.report.input_at_fault |= result.fault == "input"
        self.progress.say(f"failed: {job.kind} {job.label}: {why}")
        there = {w.key for w in result.written}
        if isinstance(job, TrainJob | BuildJob):
            self.failed[job.key] = why
        elif isinstance(job, MeasureJob | ExamineJob):
            pass  # nothing rests on it
        elif isinstance(job, CraftJob):
            self.failed |= {s.key: why for s in job.sets if s.key not in there}
        elif isinstance(job, ControlJob):
            self.failed |= {s[0]: why for s in job.sets if s[0] not in there}
        else:
            self.failed[job.victim.key] = why

    def _take_outcomes(self, job: EvaluateJob, result: Result) -> None:
        victim = self.models[job.victim.key]
        with self.store.writing() as connection:
            for attacked in self.plan.images.values():
                if attacked.key in result.outcomes:
                    packed = result.outcomes[attacked.key]
                    predictions = unpack_predictions(packed, self.classes)
                    right = int((predictions == attacked.images.labels.numpy()).sum())
                    row = {
                        "victim": victim,
                        "image_set": self.images[attacked.key],
                        "correct": right,
                        "predictions": packed,
                    }
                    connection.execute(insert(clean).on_conflict_do_nothing(), [row])
            mine = sa.select(clean.c.image_set, clean.c.id, clean.c.predictions).where(clean.c.victim == victim)
            unattacked = {row.image_set: row for row in connection.execute(mine)}
            rows = []
            for _, key, _ in job.sets:
                if key in self.plan.sets:
                    image_set = self.images[self.plan.images[self.plan.sets[key].split].key]
                    rows.append(self._cell_row(key, victim, result.outcomes[key], unattacked[image_set]))
            if rows:
                connection.execute(insert(cells).on_conflict_do_nothing(), rows)
            self.report.evaluated += len(rows)

    def _cell_row(self, key: str, victim: int, packed: bytes, unattacked: Row) -> dict[str, Any]:
        planned = self.plan.sets[key]
        attacked = self.plan.images[planned.split]
        labels = attacked.images.labels.numpy()
        right = unpack_predictions(unattacked.predictions, self.classes) == labels
        answers = unpack_predictions(packed, self.classes)
        if planned.targeted:
            images = attacked.images
            won = answers == target_classes(images.labels, images.ids, self.classes).numpy()
        else:
            won = answers != labels
        return {
            "adversarial_set": self.sets[key],
            "victim": victim,
            "n": int(right.sum()),
            "k": int((right & won).sum()),
            "clean": unattacked.id,
            "changes": pack_changes(packed, unattacked.predictions),
        }

    def _learn_rates(self) -> None:
        """What image passes cost in earlier runs of this store."""
        query = sa.select(attempts.c.job, sa.func.sum(attempts.c.seconds), sa.func.sum(attempts.c.passes)).where(
            attempts.c.failure.is_(None), attempts.c.passes > 0
        )
        with self.store.reading() as connection:
            for kind, seconds, passes in connection.execute(query.group_by(attempts.c.job)):
                self.left.learn(kind, seconds, passes)


def _surrogate_axes(spec: SurrogateSpec) -> dict[str, str]:
    """What a surrogate was built on, and by what."""
    axes = {**spec.base.axes, "builder": spec.builder_name}
    return axes | ({"seed": str(spec.base.seed)} if isinstance(spec.base, TrainedModel) else {})


def _networks(planned: PlannedSurrogate) -> int | None:
    """How many networks, of surrogates that are nothing but networks trained apart."""
    chain = planned.spec.builder
    if chain.then or type(chain.first) not in (Single, Ensemble) or isinstance(planned.spec.base, ReferencedModel):
        return None
    return len(planned.members) if len({m.architecture for m in chain.members(0)}) == 1 else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
