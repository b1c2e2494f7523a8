"""What is in the store before a job is done: the attacked images, models that exist already, and wrapped ones."""

import json

import sqlalchemy as sa

from carom.identity import tensor_digest
from carom.scenarios.environment import environment
from carom.scenarios.plan.images import AttackedImages
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.models import WrappedModel, behind_wrappers
from carom.scenarios.plan.plan import Plan
from carom.scenarios.spec.scenario import ReferencedModel, Scenario
from carom.scenarios.store.artifacts import Artifact, write_artifact
from carom.scenarios.store.database import Store
from carom.scenarios.store.schema import image_sets


def write_images(store: Store, scenario: Scenario, attacked: AttackedImages, artifact: int) -> None:
    """The images that a run starts from, in this row of the store; where they are as they were, nothing is written."""
    images = attacked.images
    row = {
        "artifact": artifact,
        "task": scenario.task_name,
        "split": attacked.split,
        "classes": json.dumps(list(scenario.task.classes)),
        "sources": json.dumps(list(scenario.image_sources)),
        "labels": images.labels.numpy().astype("<i4").tobytes(),
        "image_source": attacked.image_source.numpy().astype("<i4").tobytes(),
        "ids": images.ids.numpy().astype("<i8").tobytes(),
    }
    state = store.recorded("images", [attacked.key])[attacked.key]
    with store.reading() as connection:  # a kill may have come between the file and this row
        described = connection.execute(sa.select(image_sets).where(image_sets.c.artifact == state.id)).first()
    same = described is not None and described._asdict() == row
    if same and state.digest == attacked.digest and store.why_unusable("images", state) is None:
        return
    written = Artifact(
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
    write_artifact(store.folder, written, images.tensors)
    with store.writing() as connection:  # all at once: outcomes are never counted by labels of other images
        store.record_within(connection, written)
        connection.execute(image_sets.delete().where(image_sets.c.artifact == artifact))
        connection.execute(image_sets.insert(), [row])


def register_references(store: Store, plan: Plan) -> None:
    """A model that exists already is there from the start: its digest is its fingerprint."""
    states = store.recorded("weights", list(plan.models))
    for key, planned in plan.models.items():
        if isinstance(planned.model, ReferencedModel) and states[key].digest != planned.digest:
            assert planned.digest is not None
            record = {"kind": "referenced", "label": planned.label, "environment": environment("cpu")}
            store.record(Artifact(kind="weights", key=key, digest=planned.digest, inputs={}, record=record))


def register_wrapped(store: Store, lacking: Lacking) -> None:
    """A wrapped model has no weights of its own; what stands under its key says which ones are behind it."""
    wrapped = {key: p for key, p in lacking.plan.models.items() if isinstance(p.model, WrappedModel)}
    states = store.recorded("weights", list(wrapped))
    for key, planned in wrapped.items():
        inputs = lacking.model_inputs(planned, lacking.model_digests)
        if inputs is not None and not lacking.intact("weights", states[key], inputs, planned.label):
            behind = behind_wrappers(inputs["inner"])
            written = Artifact(
                kind="weights",
                key=key,
                digest=tensor_digest(behind),
                inputs=inputs,
                record={"kind": "wrapped", "label": planned.label, "environment": environment("cpu")},
            )
            write_artifact(store.folder, written, behind)
            store.record(written)
