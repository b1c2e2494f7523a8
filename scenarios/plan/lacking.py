"""What a store lacks of a plan: the one answer, for a run that does it and for an estimate of what that would cost.

An artefact is there if the store has it under its key, made from inputs of the digests that are there now, in a file
that was not harmed. What rests on something that is not there is not there either.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import torch

from carom.identity import content_key, tensor_digest
from carom.scenarios.jobs.job import EXAMINED_PASSES, MEASURED_PASSES
from carom.scenarios.spec.scenario import BuiltModel, ReferencedModel, TrainedModel, WrappedModel
from carom.scenarios.store.database import Kind, Row, Store, cells, chunks

from .plan import Plan, PlannedCell, PlannedModel, PlannedSet, PlannedSurrogate

EXAMINED_IMAGES = 100
EXAMINED_VERSION = 1  # raise it when the numbers of an examination change

Inputs = Mapping[str, str]  # digests by what they are of


@dataclass(kw_only=True)
class Lacking:
    """What is lacking now; each answer asks the store anew.

    Attributes:
        plan: Of the scenario.
        store: None where there is none yet: all is lacking.
        failed: Why models and sets could not be made, by key; a run adds to it.
        say: Told of files that were harmed, once each.
    """

    plan: Plan
    store: Store | None
    failed: Mapping[str, str] = field(default_factory=dict)
    say: Callable[[str], None] = lambda _: None
    _said: set[str] = field(default_factory=set)

    # ------------------------------------------------------------------------------------------------- what is there

    def states(self, kind: Kind, keys: Sequence[str]) -> dict[str, Row]:
        """The store's rows of these artefacts by key, of those that it has."""
        return {} if self.store is None else self.store.states(kind, keys)

    def model_digests(self) -> dict[str, str]:
        """Digests of the models that are there, by key: trained ones, those that exist already, and wrapped ones."""
        states = self.states("weights", list(self.plan.models))
        return self._model_digests({k: row.digest for k, row in states.items()}, without=self.failed)

    def _model_digests(self, recorded: Mapping[str, str | None], without: Collection[str] = ()) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, planned in self.plan.models.items():  # a model stands behind what it rests on
            digest = self._model_digest(planned, recorded.get(key), found)
            if digest is not None and key not in without:
                found[key] = digest
        return found

    def _model_digest(self, planned: PlannedModel, recorded: str | None, others: Mapping[str, str]) -> str | None:
        if isinstance(planned.model, ReferencedModel):
            return planned.digest
        if isinstance(planned.model, WrappedModel):
            inner = others.get(planned.model.inner)
            return None if inner is None else tensor_digest(behind_wrappers(inner))
        return recorded

    def set_digests(self) -> dict[str, str]:
        """Digests of the adversarial sets that are there, by key."""
        states = self.states("sets", list(self.plan.sets))
        return {k: row.digest for k, row in states.items() if row.digest is not None and k not in self.failed}

    def outcomes(self) -> set[tuple[str, str]]:
        """Keys of set and victim, of all planned pairs with an outcome of the victim that is meant now."""
        if self.store is None:
            return set()
        states = self.states("weights", list(self.plan.models))
        digests = self._model_digests({key: row.digest for key, row in states.items()})
        victims = {
            row.id: key for key, row in states.items() if row.digest is not None and row.digest == digests.get(key)
        }
        sets = {row.id: key for key, row in self.states("sets", list(self.plan.sets)).items()}
        found: set[tuple[str, str]] = set()
        with self.store.reading() as connection:
            for some in chunks(sorted(sets)):
                query = sa.select(cells.c.adversarial_set, cells.c.victim).where(cells.c.adversarial_set.in_(some))
                found |= {(sets[s], victims[v]) for s, v in connection.execute(query) if v in victims}
        return found

    def whole(self, kind: Kind, row: Row | None, inputs: Inputs | None, label: str) -> bool:
        """Whether an artefact is there, made from what is there now, and undamaged."""
        if row is None or not made_from(row, inputs):
            return False
        assert self.store is not None
        why = self.store.damage(kind, row)
        if why is not None and row.key not in self._said:
            self._said.add(row.key)
            self.say(f"{self.store.path(kind, row.key)} {why}; rebuilding {label}")
        return why is None

    # ------------------------------------------------------------------------------------------- what things rest on

    def model_inputs(self, planned: PlannedModel, digests: Mapping[str, str]) -> dict[str, str] | None:
        """Digests that a model rests on; None while one of the models among them is missing."""
        if isinstance(planned.model, WrappedModel):
            inner = digests.get(planned.model.inner)
            return None if inner is None else {"inner": inner}
        inputs = dict(planned.inputs)
        if isinstance(planned.model, BuiltModel):
            for i, model in enumerate(planned.model.models):
                if model not in digests:
                    return None
                inputs[f"model {i}"] = digests[model]
        return inputs

    def set_inputs(self, planned: PlannedSet, digests: Mapping[str, str]) -> dict[str, str] | None:
        """Digests that a set rests on; None while one of its models is missing."""
        if any(model not in digests for model in planned.models):
            return None
        inputs = {"images": self.plan.images[planned.split].digest}
        inputs |= {f"member {i}": digests[member] for i, member in enumerate(planned.members)}
        if planned.asked is not None:
            inputs["asked"] = digests[planned.asked]
        inputs |= {f"judge {i}": digests[judge] for i, judge in enumerate(planned.judges)}
        if planned.judges:
            inputs["judging"] = self.plan.images["validation"].digest
        if planned.attack is not None and planned.attack.mixes:
            inputs["partners"] = str(self.plan.pool)
        return inputs

    def measure_inputs(self, planned: PlannedSurrogate, digests: Mapping[str, str]) -> dict[str, str] | None:
        """Digests that the measures of a surrogate rest on: its models, and its own training images."""
        if any(member not in digests for member in planned.members):
            return None
        data = self.plan.models[planned.members[0]].inputs
        return {"train": data["train"], **{f"member {i}": digests[m] for i, m in enumerate(planned.members)}}

    def examine_inputs(self, victim: str, digests: Mapping[str, str]) -> dict[str, str] | None:
        """Digests that the examination of a victim rests on."""
        if victim not in digests:
            return None
        return {"victim": digests[victim], "images": self.plan.images["validation"].digest}

    # ------------------------------------------------------------------------------------------------ what is lacking

    def models(self) -> list[str]:
        """Keys of models that have to be trained or built, each behind those that it rests on."""
        states = self.states("weights", list(self.plan.models))
        digests, new = self.model_digests(), self.new_models()
        return [
            key
            for key, planned in self.plan.models.items()
            if isinstance(planned.model, TrainedModel | BuiltModel)
            and (
                key in new
                or not self.whole("weights", states.get(key), self.model_inputs(planned, digests), planned.label)
            )
        ]

    def new_models(self) -> set[str]:
        """Keys of models that were never made of what is there now, so that nothing can rest on them yet.

        One whose file was harmed is lacking too, but not new: it comes back as it was.
        """
        states = self.states("weights", list(self.plan.models))
        digests = self.model_digests()
        new: set[str] = set()
        for key, planned in self.plan.models.items():
            if isinstance(planned.model, ReferencedModel):
                continue
            row, inputs = states.get(key), self.model_inputs(planned, digests)
            rests_on: tuple[str, ...] = ()
            if isinstance(planned.model, BuiltModel):
                rests_on = planned.model.models
            elif isinstance(planned.model, WrappedModel):
                rests_on = (planned.model.inner,)
            if new & set(rests_on) or not made_from(row, inputs):
                new.add(key)
        return new

    def sets(self) -> list[PlannedSet]:
        """Adversarial sets that have to be made."""
        digests, new = self.model_digests(), self.new_sets()
        states = self.states("sets", list(self.plan.sets))
        asked = {c.set_key for c in self.cells()}
        lacking = []
        for key, planned in self.plan.sets.items():
            if any(m in self.failed for m in planned.models):
                continue
            if key in new:
                lacking.append(planned)
                continue
            assert self.store is not None  # it has this set
            if key not in asked and not self.store.path("sets", key).exists():
                continue  # `carom gc --sets`: its outcomes are all there, and nobody asks for the images
            label = f"{planned.surrogate or 'control'} {planned.label}"
            if not self.whole("sets", states.get(key), self.set_inputs(planned, digests), label):
                lacking.append(planned)
        return lacking

    def new_sets(self) -> set[str]:
        """Keys of adversarial sets that were never made of what is there now."""
        digests, new = self.model_digests(), self.new_models()
        states = self.states("sets", list(self.plan.sets))
        return {
            key
            for key, planned in self.plan.sets.items()
            if new & set(planned.models) or not made_from(states.get(key), self.set_inputs(planned, digests))
        }

    def cells(self) -> list[PlannedCell]:
        """Cells that have to be evaluated, once all models and sets are there."""
        done, models, sets = self.outcomes(), self.new_models(), self.new_sets()
        return [
            c
            for c in self.plan.cells
            if c.set_key in sets or c.victim_key in models or (c.set_key, c.victim_key) not in done
        ]

    def measures(self) -> list[PlannedSurrogate]:
        """Surrogates whose loss has to be measured."""
        digests, new = self.model_digests(), self.new_models()
        wanted = measured(self.plan)
        states = self.states("measures", [measure_key(self.plan, s) for s in wanted])
        lacking = []
        for s in wanted:
            if any(m in self.failed for m in s.members):
                continue
            row, inputs = states.get(measure_key(self.plan, s)), self.measure_inputs(s, digests)
            if new & set(s.members) or not self.whole("measures", row, inputs, f"measures of {s.spec.label}"):
                lacking.append(s)
        return lacking

    def examinations(self) -> list[str]:
        """Keys of victims that have to be looked at for masked gradients."""
        if self.plan.examined_in is None:
            return []
        digests, new = self.model_digests(), self.new_models()
        states = self.states("measures", [examine_key(self.plan, v) for v in self.plan.examined])
        lacking = []
        for v in self.plan.examined:
            if v in self.failed:
                continue
            row, inputs = states.get(examine_key(self.plan, v)), self.examine_inputs(v, digests)
            if v in new or not self.whole("measures", row, inputs, f"measures of {self.plan.models[v].label}"):
                lacking.append(v)
        return lacking

    def outdated(self) -> list[tuple[Kind, str]]:
        """Artefacts that the store has, but made from what is no longer there: kind and key.

        A file that was harmed is none: made again from the same inputs, it is what it was.
        """
        found: list[tuple[Kind, str]] = []
        states = self.states("weights", list(self.plan.models))
        digests: dict[str, str] = {}
        for key, planned in self.plan.models.items():
            row = states.get(key)
            model_inputs = self.model_inputs(planned, digests)
            digest = self._model_digest(planned, None if row is None else row.digest, digests)
            there = row is not None and row.digest is not None and not isinstance(planned.model, ReferencedModel)
            if there and not made_from(row, model_inputs):
                found.append(("weights", key))  # and so is what rests on it
            elif digest is not None:
                digests[key] = digest
        wanted: list[tuple[Kind, str, Inputs | None]] = [
            *(("sets", key, self.set_inputs(s, digests)) for key, s in self.plan.sets.items()),
            *(("measures", measure_key(self.plan, s), self.measure_inputs(s, digests)) for s in measured(self.plan)),
            *(("measures", examine_key(self.plan, v), self.examine_inputs(v, digests)) for v in self.plan.examined),
        ]
        kinds = dict.fromkeys(kind for kind, _, _ in wanted)
        rows = {kind: self.states(kind, [key for k, key, _ in wanted if k == kind]) for kind in kinds}
        for kind, key, made_of in wanted:
            row = rows[kind].get(key)
            if row is not None and row.digest is not None and not made_from(row, made_of):
                found.append((kind, key))
        return found

    def passes(self) -> dict[str, int]:
        """Image passes that are due, by kind of job."""
        n = {split: len(i.images) for split, i in self.plan.images.items()}
        geometry = self.plan.scenario.geometry
        per_surrogate = 0 if geometry is None else MEASURED_PASSES * geometry.images * geometry.members
        per_victim = EXAMINED_PASSES * EXAMINED_IMAGES
        models = [self.plan.models[key].model for key in self.models()]
        return {
            "train": sum(m.configuration.passes for m in models if isinstance(m, TrainedModel)),
            "build": sum(m.passes for m in models if isinstance(m, BuiltModel)),
            "measure": per_surrogate * len(self.measures()) + per_victim * len(self.examinations()),
            "craft": sum(s.passes * n[s.split] for s in self.sets()),
            "evaluate": sum(n[self.plan.sets[c.set_key].split] for c in self.cells()),
        }


def made_from(row: Row | None, inputs: Inputs | None) -> bool:
    """Whether an artefact is recorded, and as made from these inputs; None: some of them are missing."""
    return row is not None and inputs is not None and row.digest is not None and json.loads(row.inputs) == dict(inputs)


def behind_wrappers(inner: str) -> dict[str, torch.Tensor]:
    """What stands under the key of a wrapped model, which has no weights of its own: whose weights are behind it."""
    return {"inner": torch.frombuffer(bytearray.fromhex(inner), dtype=torch.uint8)}


def depths(plan: Plan) -> list[list[str]]:
    """Keys of the built models, in layers: each layer rests on those before it."""
    placed: dict[str, int] = {}
    for key, planned in plan.models.items():  # a model stands behind what it rests on
        if isinstance(planned.model, BuiltModel):
            placed[key] = 1 + max((placed.get(m, 0) for m in planned.model.models), default=0)
        elif isinstance(planned.model, WrappedModel):
            placed[key] = placed.get(planned.model.inner, 0)
    built = {k: d for k, d in placed.items() if isinstance(plan.models[k].model, BuiltModel)}
    return [[k for k, d in built.items() if d == depth] for depth in range(1, max(built.values(), default=0) + 1)]


def measured(plan: Plan) -> list[PlannedSurrogate]:
    """The surrogates whose loss is measured: those that are trained here."""
    if plan.scenario.geometry is None:
        return []
    return [s for s in plan.surrogates if not isinstance(s.spec.base, ReferencedModel)]


def measure_key(plan: Plan, planned: PlannedSurrogate) -> str:
    """Of what is measured of a surrogate."""
    return content_key("measure", plan.scenario.geometry, planned.spec.builder, planned.members)


def examine_key(plan: Plan, victim: str) -> str:
    """Of what is found when a victim is looked at for masked gradients."""
    question: tuple[Any, ...] = ("examine", EXAMINED_VERSION, EXAMINED_IMAGES, victim)
    return content_key(*question, plan.examined_in, plan.images["validation"].key)
