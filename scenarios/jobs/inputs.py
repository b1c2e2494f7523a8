"""What a job works on: loaded, and compared with what the plan named.

The record of an artefact names the digests of what it was made from. They are those of the plan, which read the data
and the models once; a job reads them again, later, perhaps in another process or on another machine. So a job loads
them through these functions alone, which refuse what has another digest.
"""

from functools import lru_cache

from carom.errors import InputError, ModelError
from carom.zoo.models.classifier import Classifier, Shape
from carom.zoo.models.references import CallableVictim, Reference, code_behind, load_reference
from carom.zoo.tasks import Task
from carom.zoo.tasks.attacked import partner_images
from carom.zoo.tasks.images import ImageSet, Split

_AGAIN = "they changed after the run was planned, or differ between machines; run it again"


@lru_cache(maxsize=8)  # a worker trains many models on the same images; the digest is of what is kept
def load_images(task: Task, source: str, split: Split, samples: str, digest: str) -> ImageSet:
    """The images of one source and split.

    Args:
        task: Where they come from.
        source: One of its sources.
        split: "train", "validation" or "test".
        samples: Which training images.
        digest: Of the images, labels and ids that are meant.

    Raises:
        InputError: They have another digest, or cannot be read.
        MissingData: The files are not on this machine.
    """
    found = task.load(source, split, samples)
    if found.digest != digest:
        raise InputError(
            f"the {split} images of {source}: sha256 {found.digest[:12]}, expected {digest[:12]} as planned: {_AGAIN}"
        )
    return found


@lru_cache(maxsize=2)
def load_partners(task: Task, digest: str) -> ImageSet:
    """The pool of training images that attacks mix into others.

    Raises:
        InputError: It has another digest.
        MissingData: The files are not on this machine.
    """
    found = partner_images(task)
    if found.digest != digest:
        raise InputError(
            f"the pool of images that attacks mix in: sha256 {found.digest[:12]}, expected {digest[:12]} as planned: "
            f"{_AGAIN}"
        )
    return found


def load_outsider(
    reference: Reference, *, shape: Shape, classes: int, label: str, digest: str, code: str | None
) -> Classifier | CallableVictim:
    """A model that exists already, on the CPU.

    Args:
        reference: Where it is.
        shape: Channels, rows and columns of the task.
        classes: Of the task.
        label: For errors.
        digest: The fingerprint of the classifier that is meant; a function has none.
        code: Of the module that makes it, as `code_behind` says; None where there is none.

    Raises:
        ModelError: It has another fingerprint or is made by other code, or breaks its contract.
        MissingData: Its files are not on this machine.
    """
    found = load_reference(reference, where=label, shape=shape, classes=classes)
    if isinstance(found, Classifier) and (fingerprint := found.fingerprint()) != digest:
        raise ModelError(
            f"{label}: fingerprint {fingerprint[:12]}, expected {digest[:12]} as planned: its weights changed after "
            "the run was planned, differ between machines, or are drawn anew each time it is made; mend that and run "
            "again"
        )
    if code_behind(reference) != code:
        raise ModelError(
            f"{label}: the file of its Python module changed after the run was planned, or differs between machines; "
            "run it again"
        )
    return found
