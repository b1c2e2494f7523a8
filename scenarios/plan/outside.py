"""Models that exist already: loaded and checked, so that what is wrong with one is said before anything is computed."""

from dataclasses import replace

import torch

from carom.scenarios.spec.scenario import ReferencedModel, Role, Scenario
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.references import Preprocessed, Reference, code_behind, load_reference
from carom.zoo.models.victims import CallableVictim, check_accuracy, check_victim
from carom.zoo.preprocessing import Resized, Shape, on_images
from carom.zoo.tasks.images import ImageSet, Split, concatenate

from .images import AttackedImages
from .models import PlannedModel


def checked(
    planned: PlannedModel, model: ReferencedModel, scenario: Scenario, attacked: AttackedImages, role: Role
) -> tuple[PlannedModel, str]:
    """The model with its digest, and what checking it noticed.

    Raises:
        ModelError: It breaks the contract of its role, or is less accurate than stated.
    """
    task = scenario.task
    name, classes = planned.label, len(task.classes)
    found = load_reference(model.reference, shape=task.shape, classes=classes, where=name)
    # of the model as it was loaded: a job will load it again and compare
    digest = found.fingerprint() if isinstance(found, Classifier) else planned.key
    check = check_victim(
        found,
        name=name,
        shape=task.shape,
        classes=classes,
        images=attacked.images.images,
        surrogate=role not in ("victim", "validation victim"),
    )
    remark = f"{name} answers {check.answers}" + (", was in training mode" if check.was_training else "")
    sees = seen_by(found, model.reference, task.shape)
    remark += f", {sees}"
    if model.stated is not None:
        remark += f", {held_to(found, model, scenario, name)}"
    return replace(planned, digest=digest, code=code_behind(model.reference), sees=sees), remark


def seen_by(found: Classifier | CallableVictim, reference: Reference, shape: Shape) -> str:
    """What a model sees of the attacked images, in words; a function may do more with them inside."""
    if isinstance(found, Classifier):
        return found.preprocessing.seen(shape)
    declared = reference.preprocessing if isinstance(reference, Preprocessed) else Resized()
    return on_images(declared, shape).seen(shape)


def held_to(found: Classifier | CallableVictim, model: ReferencedModel, scenario: Scenario, name: str) -> str:
    """The clean accuracy of a model, in words.

    Raises:
        ModelError: It is below what is stated of it.
    """
    assert model.stated is not None
    some = _for_accuracy(scenario, model.axes.get("source"))
    classes = len(scenario.task.classes)
    what = _accuracy_split(scenario)
    right = check_accuracy(
        found, model.stated, name=name, images=some.images, labels=some.labels, classes=classes, what=what
    )
    return f"clean accuracy {right:.1%} on {len(some)} {what} images"


def _accuracy_split(scenario: Scenario) -> Split:
    """Validation images; where there are none, those that may be attacked: the check chooses nothing by them."""
    return "validation" if "validation" in scenario.task.splits else "test"


_ACCURACY_ON = 500  # validation images at most: each may be a question to a service


def _for_accuracy(scenario: Scenario, source: str | None) -> ImageSet:
    """Images that a stated clean accuracy is held to: of the model's source, where that is declared."""
    sources = (source,) if source in scenario.task.sources else scenario.image_sources
    found = concatenate([scenario.task.load(s, _accuracy_split(scenario)) for s in sources])
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))
    return found.select(order[:_ACCURACY_ON])
