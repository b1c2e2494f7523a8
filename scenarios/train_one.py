"""Train one model outside of any scenario, and export it."""

from pathlib import Path

import torch

from carom.errors import InputError, StoreError
from carom.registry import lookup
from carom.zoo.architectures import architecture
from carom.zoo.balance import draw, largest_n, parse_balance
from carom.zoo.recipes import recipe as parse_recipe
from carom.zoo.references import save_state_dict
from carom.zoo.tasks import TASKS
from carom.zoo.training import macro_accuracy, train

from .jobs import answers
from .run import Progress, TimeLeft
from .workers import devices_of


def train_one(
    recipe_name: str,
    task_name: str,
    output: Path,
    *,
    architecture_name: str,
    source: str | None,
    balance: str,
    seed: int,
    epochs: int | None,
    device: str,
    progress: Progress,
) -> str:
    """Train, test, write the file, and say in one line what it is.

    Raises:
        InputError: An unknown name, or a file that cannot be written.
        MissingData: The task's files are not on this machine.
    """
    where = "carom train"
    task = lookup(task_name, TASKS, where=where, what="task")()
    chosen = lookup(source or task.sources[0], {s: s for s in task.sources}, where=where, what="source")
    fields = {} if epochs is None else {"epochs": epochs}
    recipe = parse_recipe({"name": recipe_name, **fields}, where=where)
    network = architecture(architecture_name, where=where)
    profile = parse_balance(balance, where=where)
    if output.suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(f"{where}: {output}: unknown kind of file; expected .safetensors, .pt or .pth")
    if not output.resolve().parent.is_dir():
        raise InputError(f"{where}: {output.parent} is not a folder; make it first")
    pool, validation, test = (task.load(chosen, split) for split in ("train", "validation", "test"))
    classes = len(task.classes)
    n = largest_n([tuple(torch.bincount(pool.labels, minlength=classes).tolist())], [profile])
    images = draw(pool, profile.counts(n, classes), seed)
    left = TimeLeft({"train": 2 * n * recipe.epochs}, 1)
    progress.begin("train", recipe.epochs, left)

    def told(done: int, total: int, numbers: dict[str, float]) -> None:
        left.done("train", 2 * n)
        progress.advance(1, f"epoch {done} of {total}, validation {numbers['validation_accuracy']:.1%}")

    place = devices_of(device)[0]
    trained = train(
        recipe, network, train=images, validation=validation, classes=classes, seed=seed, device=place, progress=told
    )
    classifier = trained.classifier().to(place)
    given = torch.from_numpy(answers(classifier, test.images, classes=classes, device=place, name=architecture_name))
    accuracy = macro_accuracy((given == test.labels).float(), test.labels)
    try:
        save_state_dict(classifier.cpu(), output)
    except OSError as error:
        raise StoreError(f"{output}: cannot be written: {error.strerror}") from None
    return (
        f"{output}: {architecture_name} on {task_name} {chosen}, {n} images, best of {recipe.epochs} epochs by "
        f"validation; macro accuracy {accuracy:.1%} on {len(test)} test images; fingerprint {classifier.fingerprint()}"
    )
