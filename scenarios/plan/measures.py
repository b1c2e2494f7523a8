"""What is measured of models beside their outcomes: of a surrogate its loss, of a victim whether its gradients mask."""

from typing import Any

from carom.identity import content_key

from .plan import Plan
from .surrogates import PlannedSurrogate

EXAMINED_IMAGES = 100
EXAMINED_VERSION = 1  # raise it when the numbers of an examination change
EXAMINED_PASSES = 1_500  # an image's, about: two hundred steps twice over, queries, and the rest
MEASURED_PASSES = 500  # an image's and a weight set's, about


def measured_surrogates(plan: Plan) -> list[PlannedSurrogate]:
    """The surrogates whose loss is measured: those that are trained here."""
    if plan.scenario.geometry is None:
        return []
    return [s for s in plan.surrogates if not s.spec.existing]


def measure_key(plan: Plan, planned: PlannedSurrogate) -> str:
    """Of what is measured of a surrogate."""
    return content_key("measure", plan.scenario.geometry, planned.spec.builder, planned.members)


def examine_key(plan: Plan, victim: str) -> str:
    """Of what is found when a victim is looked at for masked gradients."""
    question: tuple[Any, ...] = ("examine", EXAMINED_VERSION, EXAMINED_IMAGES, victim)
    return content_key(*question, plan.examination_budget, plan.images["validation"].key)
