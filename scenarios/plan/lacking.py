"""What a store lacks of a plan: the one answer, for a run that does it and for an estimate of what that would cost.

An artefact is there if the store has it under its key, made from inputs of the digests that are there now, in a file
that was not harmed. What rests on something that is not there is not there either.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from carom.identity import tensor_digest
from carom.scenarios.spec.scenario import ReferencedModel, TrainedModel
from carom.scenarios.store.artifacts import Kind

from .measures import EXAMINED_IMAGES, EXAMINED_PASSES, MEASURED_PASSES, examine_key, measure_key, measured_surrogates
from .models import BuiltModel, PlannedModel, WrappedModel, behind_wrappers
from .plan import Plan
from .sets import PlannedCell, PlannedSet
from .stored import Recorded, Stored
from .surrogates import PlannedSurrogate

Inputs = Mapping[str, str]  # digests by what they are of


@dataclass(kw_only=True)
class Lacking:
    """What is lacking at one moment: the store is asked each question once, so a run that went on makes another.

    Attributes:
        plan: Of the scenario.
        store: None where there is none yet: all is lacking.
        failed: Why models and sets could not be made, by key.
        say: Told of files that were harmed, once each.
        said: Keys of those that it was told of; a run's moments share them.
    """

    plan: Plan
    store: Stored | None
    failed: Mapping[str, str] = field(default_factory=dict)
    say: Callable[[str], None] = lambda _: None
    said: set[str] = field(default_factory=set)

    # ------------------------------------------------------------------------------------------------- what is there

    def recorded(self, kind: Kind, keys: Sequence[str]) -> Mapping[str, Recorded]:
        """The store's rows of these artefacts by key, of those that it has."""
        return {} if self.store is None else self.store.recorded(kind, keys)

    @cached_property
    def _weights(self) -> Mapping[str, Recorded]:
        return self.recorded("weights", list(self.plan.models))

    @cached_property
    def _sets(self) -> Mapping[str, Recorded]:
        return self.recorded("sets", list(self.plan.sets))

    @cached_property
    def _measures(self) -> Mapping[str, Recorded]:
        of_surrogates = [measure_key(self.plan, s) for s in measured_surrogates(self.plan)]
        return self.recorded(
            "measures", [*of_surrogates, *(examine_key(self.plan, v) for v in self.plan.examined_victims)]
        )

    @cached_property
    def model_digests(self) -> dict[str, str]:
        """Digests of the models that are there, by key: trained ones, those that exist already, and wrapped ones."""
        return self._model_digests({k: row.digest for k, row in self._weights.items()}, without=self.failed)

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

    @cached_property
    def set_digests(self) -> dict[str, str]:
        """Digests of the adversarial sets that are there, by key."""
        return {k: row.digest for k, row in self._sets.items() if row.digest is not None and k not in self.failed}

    @cached_property
    def outcomes(self) -> set[tuple[str, str]]:
        """Keys of set and victim, of all planned pairs with an outcome of the victim that is meant now."""
        if self.store is None:
            return set()
        digests = self._model_digests({key: row.digest for key, row in self._weights.items()})
        victims = {
            row.id: key
            for key, row in self._weights.items()
            if row.digest is not None and row.digest == digests.get(key)
        }
        sets = {row.id: key for key, row in self._sets.items()}
        return {(sets[s], victims[v]) for s, v in self.store.evaluated(sorted(sets)) if v in victims}

    @cached_property
    def answered(self) -> set[tuple[str, str]]:
        """Keys of victim and image set, of all pairs with the victim's answers to the clean images."""
        if self.store is None:
            return set()
        images = {
            row.id: key for key, row in self.recorded("images", [i.key for i in self.plan.images.values()]).items()
        }
        victims = {row.id: key for key, row in self._weights.items()}
        return {(victims[v], images[i]) for v, i in self.store.answered(sorted(images)) if v in victims}

    def intact(self, kind: Kind, row: Recorded | None, inputs: Inputs | None, label: str) -> bool:
        """Whether an artefact is there, made from what is there now, and undamaged."""
        if row is None or not made_from(row, inputs):
            return False
        assert self.store is not None
        why = self.store.why_unusable(kind, row)
        if why is not None and row.key not in self.said:
            self.said.add(row.key)
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
        if planned.files is not None:
            inputs["files"] = planned.files
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

    @cached_property
    def models(self) -> list[str]:
        """Keys of models that have to be trained or built, each behind those that it rests on."""
        rows, digests = self._weights, self.model_digests
        return [
            key
            for key, planned in self.plan.models.items()
            if isinstance(planned.model, TrainedModel | BuiltModel)
            and (
                key in self.new_models
                or not self.intact("weights", rows.get(key), self.model_inputs(planned, digests), planned.label)
            )
        ]

    @cached_property
    def new_models(self) -> set[str]:
        """Keys of models that were never made of what is there now, so that nothing can rest on them yet.

        One whose file was harmed is lacking too, but not new: it comes back as it was.
        """
        new: set[str] = set()
        for key, planned in self.plan.models.items():
            if isinstance(planned.model, ReferencedModel):
                continue
            row, inputs = self._weights.get(key), self.model_inputs(planned, self.model_digests)
            rests_on: tuple[str, ...] = ()
            if isinstance(planned.model, BuiltModel):
                rests_on = planned.model.models
            elif isinstance(planned.model, WrappedModel):
                rests_on = (planned.model.inner,)
            if new & set(rests_on) or not made_from(row, inputs):
                new.add(key)
        return new

    @cached_property
    def sets(self) -> list[PlannedSet]:
        """Adversarial sets that have to be made."""
        asked = {c.set_key for c in self.cells}
        lacking = []
        for key, planned in self.plan.sets.items():
            if any(m in self.failed for m in planned.models):
                continue
            if key in self.new_sets:
                lacking.append(planned)
                continue
            assert self.store is not None  # it has this set
            if key not in asked and not self.store.path("sets", key).exists():
                continue  # `carom gc --sets`: its outcomes are all there, and nobody asks for the images
            label = f"{planned.surrogate or 'control'} {planned.label}"
            if not self.intact("sets", self._sets.get(key), self.set_inputs(planned, self.model_digests), label):
                lacking.append(planned)
        return lacking

    @cached_property
    def new_sets(self) -> set[str]:
        """Keys of adversarial sets that were never made of what is there now."""
        rows, digests, new = self._sets, self.model_digests, self.new_models
        return {
            key
            for key, planned in self.plan.sets.items()
            if new & set(planned.models) or not made_from(rows.get(key), self.set_inputs(planned, digests))
        }

    @cached_property
    def cells(self) -> list[PlannedCell]:
        """Cells that have to be evaluated, once all models and sets are there."""
        done, models, sets = self.outcomes, self.new_models, self.new_sets
        return [
            c
            for c in self.plan.cells
            if c.set_key in sets or c.victim_key in models or (c.set_key, c.victim_key) not in done
        ]

    @cached_property
    def measures(self) -> list[PlannedSurrogate]:
        """Surrogates whose loss has to be measured."""
        lacking = []
        for s in measured_surrogates(self.plan):
            if any(m in self.failed for m in s.members):
                continue
            row, inputs = self._measures.get(measure_key(self.plan, s)), self.measure_inputs(s, self.model_digests)
            label = f"measures of {s.spec.label}"
            if self.new_models & set(s.members) or not self.intact("measures", row, inputs, label):
                lacking.append(s)
        return lacking

    @cached_property
    def examinations(self) -> list[str]:
        """Keys of victims that have to be looked at for masked gradients."""
        if self.plan.examination_budget is None:
            return []
        lacking = []
        for v in self.plan.examined_victims:
            if v in self.failed:
                continue
            row, inputs = self._measures.get(examine_key(self.plan, v)), self.examine_inputs(v, self.model_digests)
            label = f"measures of {self.plan.models[v].label}"
            if v in self.new_models or not self.intact("measures", row, inputs, label):
                lacking.append(v)
        return lacking

    @cached_property
    def outdated(self) -> list[tuple[Kind, str]]:
        """Artefacts that the store has, but made from what is no longer there: kind and key.

        A file that was harmed is none: made again from the same inputs, it is what it was.
        """
        found: list[tuple[Kind, str]] = []
        digests: dict[str, str] = {}
        for key, planned in self.plan.models.items():
            row = self._weights.get(key)
            model_inputs = self.model_inputs(planned, digests)
            digest = self._model_digest(planned, None if row is None else row.digest, digests)
            there = row is not None and row.digest is not None and not isinstance(planned.model, ReferencedModel)
            if there and not made_from(row, model_inputs):
                found.append(("weights", key))  # and so is what rests on it
            elif digest is not None:
                digests[key] = digest
        wanted: list[tuple[Kind, str, Inputs | None]] = [
            *(("sets", key, self.set_inputs(s, digests)) for key, s in self.plan.sets.items()),
            *(
                ("measures", measure_key(self.plan, s), self.measure_inputs(s, digests))
                for s in measured_surrogates(self.plan)
            ),
            *(
                ("measures", examine_key(self.plan, v), self.examine_inputs(v, digests))
                for v in self.plan.examined_victims
            ),
        ]
        rows = {"sets": self._sets, "measures": self._measures}
        for kind, key, made_of in wanted:
            row = rows[kind].get(key)
            if row is not None and row.digest is not None and not made_from(row, made_of):
                found.append((kind, key))
        return found

    @cached_property
    def work(self) -> dict[str, Counter[str]]:
        """Image passes that are due, by kind of job, and by the label of what is made, read or asked."""
        n = {split: len(i.images) for split, i in self.plan.images.items()}
        geometry = self.plan.scenario.geometry
        per_surrogate = 0 if geometry is None else MEASURED_PASSES * geometry.images * geometry.members
        per_victim = EXAMINED_PASSES * EXAMINED_IMAGES
        found: dict[str, Counter[str]] = {
            kind: Counter() for kind in ("train", "build", "measure", "craft", "evaluate")
        }
        for planned in map(self.plan.models.__getitem__, self.models):
            if isinstance(planned.model, TrainedModel):
                found["train"][planned.label] += planned.model.configuration.passes
            elif isinstance(planned.model, BuiltModel):
                found["build"][planned.label] += planned.model.passes
        found["measure"][""] = per_surrogate * len(self.measures) + per_victim * len(self.examinations)
        for one in self.sets:
            found["craft"][one.surrogate or ""] += one.passes * n[one.split]
        for cell in self.cells:
            found["evaluate"][self.plan.models[cell.victim_key].label] += n[self.plan.sets[cell.set_key].split]
        return found


def made_from(row: Recorded | None, inputs: Inputs | None) -> bool:
    """Whether an artefact is recorded, and as made from these inputs; None: some of them are missing."""
    return row is not None and inputs is not None and row.digest is not None and json.loads(row.inputs) == dict(inputs)
