"""Run a scenario: do what the store lacks, record it, and say what failed.

The driver alone writes the database. Whatever is interrupted or killed resumes where it was: done is what the store
holds with the digests of its inputs.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path

from carom.identity import content_key
from carom.scenarios.environment import code_digest
from carom.scenarios.jobs.job import Job, Make
from carom.scenarios.jobs.kinds import PHASES
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.models import BuiltModel, WrappedModel
from carom.scenarios.plan.plan import Plan, plan
from carom.scenarios.plan.prices import prices_of
from carom.scenarios.spec.scenario import ReferencedModel, Scenario
from carom.scenarios.store.database import Store
from carom.scenarios.store.runs import spent
from carom.scenarios.store.stamps import stamp

from .executors.processes import Workers, devices_of
from .given import register_references, register_wrapped, write_images
from .progress import Progress, Report, Silent, TimeLeft, Work
from .rows import RunRows
from .take import Intake

CODE = code_digest()  # of this process, which has just read it


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
        driver = _Driver(store, planned, progress or Silent(), max(1, workers), devices[0])
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

    def __init__(self, store: Store, planned: Plan, progress: Progress, workers: int, device: str) -> None:
        self.store, self.plan, self.progress = store, planned, progress
        self.failed: dict[str, str] = {}  # key of a model or set -> why it is not there
        self.said: set[str] = set()  # keys of harmed files that the user was told of
        self.left = TimeLeft({}, workers, prices_of(planned, workers, device))
        self.stamp = self._stamp()
        run = run_id_of(planned.scenario)
        self.report = Report(run=run, cells=len(planned.cells))
        self.rows = RunRows(store=store, plan=planned, run=run)
        self.intake = Intake(rows=self.rows, report=self.report, progress=progress, left=self.left, failed=self.failed)

    @property
    def lacking(self) -> Lacking:
        """What is lacking now."""
        return Lacking(plan=self.plan, store=self.store, failed=self.failed, say=self.progress.say, said=self.said)

    def open(self, devices: Sequence[str]) -> None:
        """Write down what this run is going to show, and the images that it starts from."""
        for attacked in self.plan.images.values():
            write_images(self.store, self.plan.scenario, attacked, self.rows.images[attacked.key])
        self.rows.open(devices)

    def work(self, pool: Workers) -> None:
        """Do what is lacking, phase by phase."""
        register_references(self.store, self.plan)
        # outcomes of what the scenario no longer names are not shown beside those that it asks for
        if outdated := self.lacking.outdated:
            self.store.forget(outdated)
        register_wrapped(self.store, self.lacking)
        if self.left.price is None:
            for kind, seconds, passes in spent(self.store):  # in earlier runs of this store
                self.left.learn(kind, seconds, passes)
        self.left.work = {
            kind: sum(self.left.worth(kind, label, passes) for label, passes in labelled.items())
            for kind, labelled in self.lacking.work.items()
        }
        for warning in self.plan.warnings:
            self.progress.say(f"warning: {warning}")
        for phase, rounds in self._phases():
            for makes in rounds:
                todo = self._jobs(makes)
                if len(rounds) == 1:
                    self.left.work = {**self.left.work, phase: sum(self._worth(job) for job in todo)}
                if todo:
                    self.progress.begin(phase, sum(job.units for job in todo), self.left)
                for job, result in pool.perform(todo):
                    self.intake.take(job, result)
                    self.left.done(phase, self._worth(job))
                    self.progress.advance(job.units, job.label)

    def _phases(self) -> Iterator[tuple[str, list[tuple[Make, ...]]]]:
        """Each phase with its rounds; in a round go the jobs of all its kinds."""
        for phase, kinds in PHASES.items():
            rounds = zip_longest(*(kind.rounds(self.plan) for kind in kinds))
            yield phase, [tuple(make for make in makes if make is not None) for makes in rounds]

    def _jobs(self, makes: Sequence[Make]) -> list[Job]:
        """What is lacking now of these kinds, the longest first."""
        self.failed |= _failed_with(self.plan, self.failed)
        register_wrapped(self.store, self.lacking)
        lacking = self.lacking
        return sorted((job for make in makes for job in make(lacking)), key=lambda job: -self._worth(job))

    def _worth(self, job: Job) -> Work:
        return self.left.worth(job.kind, job.label, job.units)

    def close(self, status: str) -> Report:
        """Write down how the run ended."""
        self.report.status = status
        self.rows.close(status, self.stamp if status == "done" else None, self.failed, self.lacking.outcomes)
        return self.report

    def _stamp(self) -> str | None:
        """So that the same run is known to be done without planning it; not where files from outside matter."""
        scenario = self.plan.scenario
        outside = any(isinstance(planned.model, ReferencedModel) for planned in self.plan.models.values())
        outside |= bool(scenario.sets)
        return stamp(scenario.name, scenario.text) if scenario.task.embedded and not outside else None


def _failed_with(plan: Plan, failed: Mapping[str, str]) -> dict[str, str]:
    """What rests on a model that failed fails with it: keys of models and sets, with the reason."""
    why = dict(failed)
    new: dict[str, str] = {}
    rests_on: list[tuple[str, tuple[str, ...]]] = []
    for key, planned in plan.models.items():  # a model stands behind what it rests on
        if isinstance(planned.model, BuiltModel):
            rests_on.append((key, planned.model.models))
        elif isinstance(planned.model, WrappedModel):
            rests_on.append((key, (planned.model.inner,)))
    for key, models in (*rests_on, *((key, planned.models) for key, planned in plan.sets.items())):
        bad = next((model for model in models if model in why), None)
        if bad is not None:
            new[key] = why[key] = f"{plan.models[bad].label}: {why[bad]}"
    return new
