"""What a run writes down of itself: which models, sets and cells it shows, by the names that its file gave them."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from carom.scenarios.axes import OF_SURROGATE
from carom.scenarios.environment import environment
from carom.scenarios.plan.measures import examine_key, measure_key, measured_surrogates
from carom.scenarios.plan.plan import Plan
from carom.scenarios.plan.sets import PlannedSet
from carom.scenarios.plan.surrogates import PlannedSurrogate
from carom.scenarios.spec.scenario import SurrogateSpec, TrainedModel
from carom.scenarios.store.database import Store, insert_new, insert_or_update
from carom.scenarios.store.schema import run_cells, run_models, run_sets, run_surrogates, run_victims, runs
from carom.surrogates import Ensemble, Single


@dataclass(kw_only=True)
class RunRows:
    """The rows of one run; making it gives every artefact of the plan a row.

    Attributes:
        store: Where they are.
        plan: Of the scenario.
        run: Its id.
        models: Rows of the plan's models, by key.
        sets: Of its adversarial sets.
        images: Of its attacked images.
        measures: Of what is measured.
    """

    store: Store
    plan: Plan
    run: str
    models: Mapping[str, int] = field(init=False)
    sets: Mapping[str, int] = field(init=False)
    images: Mapping[str, int] = field(init=False)
    measures: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.models = self.store.row_ids("weights", list(self.plan.models))
        self.sets = self.store.row_ids("sets", list(self.plan.sets))
        self.images = self.store.row_ids("images", [i.key for i in self.plan.images.values()])
        of_surrogates = [measure_key(self.plan, s) for s in measured_surrogates(self.plan)]
        of_victims = [examine_key(self.plan, victim) for victim in self.plan.examined_victims]
        self.measures = self.store.row_ids("measures", [*of_surrogates, *of_victims])

    def open(self, devices: Sequence[str]) -> None:
        """Write down what this run is going to show."""
        scenario = self.plan.scenario
        row = {
            "id": self.run,
            "scenario": scenario.name,
            "description": scenario.description,
            "text": scenario.text,
            "task": scenario.task_name,
            "status": "running",
            "started": now(),
            "finished": None,
            "stamp": None,
            "environment": json.dumps(environment(devices[0]) | {"devices": list(devices)}),
        }
        with self.store.writing() as connection:
            # where the work was done is said when some is
            connection.execute(insert_or_update(runs, row, keep=("started", "environment")))
            for table in (run_models, run_sets, run_cells, run_surrogates, run_victims):
                connection.execute(table.delete().where(table.c.run == self.run))
            connection.execute(insert_new(run_models), [self._model_row(*r) for r in self.plan.roles])
            connection.execute(run_sets.insert(), [self._set_row(s) for s in self.plan.sets.values()])
            if self.plan.surrogates:
                connection.execute(run_surrogates.insert(), [self._surrogate_row(s) for s in self.plan.surrogates])
            if self.plan.examined_victims:
                connection.execute(run_victims.insert(), [self._victim_row(v) for v in self.plan.examined_victims])
            connection.execute(
                insert_new(run_cells),
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

    def close(
        self, status: str, stamp: str | None, failed: Mapping[str, str], done: Collection[tuple[str, str]]
    ) -> None:
        """Write down how the run ended and which of its cells have no outcome, and why.

        Args:
            status: As in the table of runs.
            stamp: Of what the plan rests on.
            failed: Why models and sets could not be made, by key.
            done: Keys of set and victim of the cells that have an outcome.
        """
        with self.store.writing() as connection:
            ended = {"status": status, "finished": now(), "stamp": stamp}
            connection.execute(runs.update().where(runs.c.id == self.run).values(ended))
            without = [
                {"s": self.sets[c.set_key], "v": self.models[c.victim_key], "why": why}
                for c in self.plan.cells
                if (why := failed.get(c.set_key) or failed.get(c.victim_key)) and (c.set_key, c.victim_key) not in done
            ]
            if without:
                where = (
                    (run_cells.c.run == self.run)
                    & (run_cells.c.adversarial_set == sa.bindparam("s"))
                    & (run_cells.c.victim == sa.bindparam("v"))
                )
                connection.execute(run_cells.update().where(where).values(failure=sa.bindparam("why")), without)

    def _model_row(self, key: str, role: str, label: str) -> dict[str, Any]:
        planned = self.plan.models[key]
        axes = dict(planned.model.axes)
        if planned.trained is not None:
            axes |= {"seed": str(planned.trained.seed), "n": str(planned.trained.configuration.n)}
        if planned.sees:
            axes["sees"] = planned.sees.removeprefix("sees ")
        return {
            "run": self.run,
            "artifact": self.models[key],
            "role": role,
            "label": label,
            "axes": json.dumps(axes),
        }

    def _set_row(self, planned: PlannedSet) -> dict[str, Any]:
        axes = {} if planned.spec is None else _surrogate_axes(planned.spec)
        stolen = planned.spec is not None and planned.spec.builder.asks  # a surrogate of the victim's own answers
        asked = planned.only_victim if stolen else planned.asked
        reads = None if planned.control is not None else planned.reads
        return {
            "run": self.run,
            "artifact": self.sets[planned.key],
            "image_set": self.images[self.plan.images[planned.split].key],
            "surrogate": planned.surrogate,
            **{f"{axis}_s": axes.get(axis) for axis in OF_SURROGATE},
            "reads": "both" if planned.asked is not None or stolen else reads,
            "asked": None if asked is None else self.plan.models[asked].label,
            "decoy": planned.attack is not None and planned.attack.decoy,
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
            "victim": "" if planned.only_victim is None else self.plan.models[planned.only_victim].label,
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
            "budget": str(self.plan.examination_budget),
        }


def _surrogate_axes(spec: SurrogateSpec) -> dict[str, str]:
    """What a surrogate was built on, and by what."""
    axes = {**spec.base.axes, "builder": spec.builder_name}
    return axes | ({"seed": str(spec.base.seed)} if isinstance(spec.base, TrainedModel) else {})


def _networks(planned: PlannedSurrogate) -> int | None:
    """How many networks, of surrogates that are nothing but networks trained apart."""
    chain = planned.spec.builder
    if chain.then or type(chain.first) not in (Single, Ensemble) or planned.spec.existing:
        return None
    return len(planned.members) if len({m.architecture for m in chain.members(0)}) == 1 else None


def now() -> str:
    """The time as rows have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
