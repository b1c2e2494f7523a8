"""The tables of what was done: models and how they were trained, jobs, and what failed."""

from carom.errors import may_pass
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_attempts, list_failures, list_models

from .table import Form, Table


def show_models(store: Store, run: str) -> Table:
    """How the models of a run were trained."""
    table = list_models(store, run)
    if "sees" in table:  # models that are there already say what they see of the attacked images
        table = table.assign(sees=table["sees"].fillna("the image itself"))
    return Table(
        name="models",
        title="Models",
        frame=table,
        forms={"role": "text", "model": "text", "sees": "text", "n": "text", "passes": "count", "seconds": "number"},
    )


def show_trained(store: Store, run: str) -> list[Table]:
    """How far the models of a run without outcomes are."""
    frame = list_models(store, run)
    forms: dict[str, Form] = {
        "role": "text",
        "model": "text",
        "trained": "text",
        "passes": "count",
        "seconds": "number",
    }
    return [Table(name="models", title="Models", frame=frame, forms=forms)] if len(frame) else []


def show_jobs(store: Store, run: str) -> Table:
    """How many jobs of each kind were tried, and how long that took."""
    frame = list_attempts(store, run)
    if len(frame):
        frame = frame.assign(failed=frame["failure"].notna())
        kinds = frame.groupby("job", sort=False)
        frame = kinds.agg(
            jobs=("id", "size"), failed=("failed", "sum"), seconds=("seconds", "sum"), passes=("passes", "sum")
        )
        frame = frame.reset_index()
    return Table(
        name="jobs",
        title="Jobs",
        frame=frame,
        forms={"job": "text", "jobs": "count", "failed": "count", "seconds": "number", "passes": "count"},
        notes=["Seconds and passes are sums over jobs, also of those that ran at once or failed."],
    )


def show_failures(store: Store, run: str) -> Table:
    """Why cells have no outcome."""
    frame = list_failures(store, run)
    return Table(
        name="failures",
        title=f"{int(frame['cells'].sum()) if len(frame) else 0:,} cells have no outcome",
        frame=frame,
        forms={"reason": "text", "cells": "count"},
        notes=_advice([may_pass(reason) for reason in frame["reason"]]),
    )


def _advice(passing: list[bool]) -> list[str]:
    """What to do about failures that may pass, and about those that come again."""
    if not passing:
        return []
    if all(passing):
        return ["Run the scenario again to try these once more."]
    again = "These come again until what they name is changed."
    if not any(passing):
        return [again]
    return [
        "Run the scenario again to try once more what failed for want of memory, a process or a service. The others "
        "come again until what they name is changed."
    ]


def show_failed_jobs(store: Store, run: str) -> Table:
    """The jobs that failed, the latest first."""
    frame = list_attempts(store, run)
    if len(frame):
        frame = frame[frame["failure"].notna()]
    return Table(
        name="failed-jobs",
        title="Jobs that failed, the latest first",
        frame=frame,
        forms={"finished": "text", "job": "text", "label": "text", "seconds": "number", "failure": "text"},
        notes=["A job that failed once and then succeeded stands here too."],
    )
