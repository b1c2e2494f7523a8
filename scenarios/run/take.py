"""What jobs did, taken into the store: files that were written, answers, and why something failed."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from carom.errors import StoreError
from carom.scenarios.jobs.job import Job, Result
from carom.scenarios.store.database import Row, insert_new
from carom.scenarios.store.predictions import pack_changes, unpack_predictions
from carom.scenarios.store.schema import attempts, cells, clean, runs
from carom.zoo.tasks.attacked import target_classes

from .progress import Progress, Report, TimeLeft
from .rows import RunRows, now


@dataclass(kw_only=True)
class Intake:
    """Takes results as they come.

    Attributes:
        rows: Of the run.
        report: Counts them.
        progress: Told of failures.
        left: Learns what image passes cost.
        failed: Key of a model or set -> why it is not there.
    """

    rows: RunRows
    report: Report
    progress: Progress
    left: TimeLeft
    failed: dict[str, str]
    _devices: list[str] = field(default_factory=list)

    def take(self, job: Job, result: Result) -> None:
        """Write down what a job did.

        Raises:
            StoreError: The store could not be written.
        """
        if result.fault == "store":
            raise StoreError(str(result.failure))
        for written in result.written:
            self.rows.store.record(written)
        if result.victim is not None and result.failure is None:
            self._take_outcomes(result.victim, result)
        self.report.trained += sum(w.kind == "weights" for w in result.written)
        self.report.crafted += sum(w.kind == "sets" for w in result.written)
        self.report.jobs += 1
        for totals, seconds in ((self.report.busy, result.seconds), (self.report.inside, result.inside)):
            totals[result.kind] = totals.get(result.kind, 0.0) + seconds
        if result.passes:
            self.left.learn(result.kind, result.seconds, self.left.worth(job.kind, job.label, result.passes))
        with self.rows.store.writing() as connection:
            connection.execute(
                attempts.insert(),
                [
                    {
                        "run": self.rows.run,
                        "job": result.kind,
                        "label": result.label,
                        "finished": now(),
                        "seconds": result.seconds,
                        "inside": result.inside,
                        "passes": result.passes,
                        "failure": result.failure or "; ".join(dict.fromkeys(result.failures.values())) or None,
                        "environment": json.dumps(result.environment) if result.environment else None,
                    }
                ],
            )
            if result.environment:
                self._devices += [d for d in result.environment["devices"] if d not in self._devices]
                where = json.dumps({**result.environment, "devices": sorted(self._devices)})
                connection.execute(runs.update().where(runs.c.id == self.rows.run).values(environment=where))
        if result.failure is not None:
            self._fail(job, result)
        for why in dict.fromkeys(result.failures.values()):
            keys = [key for key, reason in result.failures.items() if reason == why]
            self.failed |= dict.fromkeys(keys, why)
            names = ", ".join(dict.fromkeys(self.rows.plan.sets[key].label for key in keys))
            self.report.failures.append(f"{job.kind} {job.label}: {names}: {why}")
            self.progress.say(f"failed: {job.kind} {job.label}: {names}: {why}")

    def _fail(self, job: Job, result: Result) -> None:
        why = str(result.failure)
        self.report.failures.append(f"{job.kind} {job.label}: {why}")
        self.report.input_at_fault |= result.fault == "input"
        self.progress.say(f"failed: {job.kind} {job.label}: {why}")
        there = {w.key for w in result.written}
        self.failed |= {key: why for key in job.lost if key not in there}

    def _take_outcomes(self, key: str, result: Result) -> None:
        plan, classes, victim = self.rows.plan, self._classes, self.rows.models[key]
        with self.rows.store.writing() as connection:
            for attacked in plan.images.values():
                if attacked.key in result.outcomes:
                    packed = result.outcomes[attacked.key]
                    predictions = unpack_predictions(packed, classes)
                    right = int((predictions == attacked.images.labels.numpy()).sum())
                    row = {
                        "victim": victim,
                        "image_set": self.rows.images[attacked.key],
                        "correct": right,
                        "predictions": packed,
                    }
                    connection.execute(insert_new(clean), [row])
            mine = sa.select(clean.c.image_set, clean.c.id, clean.c.predictions).where(clean.c.victim == victim)
            unattacked = {row.image_set: row for row in connection.execute(mine)}
            rows = []
            for made, packed in result.outcomes.items():
                if made in plan.sets:
                    image_set = self.rows.images[plan.images[plan.sets[made].split].key]
                    rows.append(self._cell_row(made, victim, packed, unattacked[image_set]))
            if rows:
                connection.execute(insert_new(cells), rows)
            self.report.evaluated += len(rows)

    def _cell_row(self, key: str, victim: int, packed: bytes, unattacked: Row) -> dict[str, Any]:
        planned = self.rows.plan.sets[key]
        attacked = self.rows.plan.images[planned.split]
        labels = attacked.images.labels.numpy()
        right = unpack_predictions(unattacked.predictions, self._classes) == labels
        answers = unpack_predictions(packed, self._classes)
        if planned.targeted:
            images = attacked.images
            won = answers == target_classes(images.labels, images.ids, self._classes, images.targets).numpy()
        else:
            won = answers != labels
        return {
            "adversarial_set": self.rows.sets[key],
            "victim": victim,
            "n": int(right.sum()),
            "k": int((right & won).sum()),
            "clean": unattacked.id,
            "changes": pack_changes(packed, unattacked.predictions),
        }

    @cached_property
    def _classes(self) -> int:
        return len(self.rows.plan.scenario.task.classes)
