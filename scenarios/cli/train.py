"""Train one model outside of any scenario, hardened or not, and export it."""

from pathlib import Path

import torch

from carom.defenses import build, parse_defense
from carom.errors import InputError, StoreError
from carom.registry import lookup
from carom.scenarios.jobs.answers import answers
from carom.scenarios.run.executors.processes import devices_of
from carom.scenarios.run.progress import Progress, TimeLeft
from carom.zoo.architectures import Architecture, architecture, table
from carom.zoo.models.checkpoints import save_state_dict
from carom.zoo.tasks import TASKS
from carom.zoo.tasks.balance import draw, largest_n, parse_balance
from carom.zoo.training.accuracy import macro_accuracy
from carom.zoo.training.ground import Ground
from carom.zoo.training.recipes import recipe as parse_recipe

SHOWN = ("validation_accuracy", "robust_accuracy")


def train_one(
    recipe_name: str,
    task_name: str,
    output: Path,
    *,
    architecture_name: str,
    defense_name: str,
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
    _, defense = parse_defense(defense_name, where=where)
    if defense.pool or defense.wrappers:
        why = "learns from public models" if defense.pool else "stands before a model, and a file holds weights alone"
        raise InputError(f"{where}: {defense_name} {why}; name it in a scenario's [[victims]]")
    profile = parse_balance(balance, where=where)
    if output.suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(f"{where}: {output}: unknown kind of file; expected .safetensors, .pt or .pth")
    if not output.resolve().parent.is_dir():
        raise InputError(f"{where}: {output.parent} is not a folder; make it first")
    pool, validation, test = (task.load(chosen, split) for split in ("train", "validation", "test"))
    classes = len(task.classes)
    n = largest_n([tuple(torch.bincount(pool.labels, minlength=classes).tolist())], [profile])
    images = draw(pool, profile.counts(n, classes), seed)
    first = recipe if defense.first is None else defense.first.recipe(recipe)
    passes = n * (first.passes * defense.trains_first + sum(stage.passes(recipe) for stage in defense.then))
    left = TimeLeft({"train": round(passes)}, 1)
    progress.begin("train", first.epochs, left)

    def told(done: int, total: int, numbers: dict[str, float]) -> None:
        left.done("train", round(passes / total))
        shown = "".join(f", {name.replace('_', ' ')} {numbers[name]:.1%}" for name in SHOWN if name in numbers)
        progress.advance(1, f"{done} of {total}{shown}")

    place = devices_of(device)[0]
    ground = Ground(
        architecture=network,
        shape=task.shape,
        classes=classes,
        recipe=recipe,
        train=images,
        validation=validation,
        seed=seed,
        device=torch.device(place),
        progress=told,
    )
    defended = build(defense, ground)
    classifier = defended.classifier
    given = torch.from_numpy(answers(classifier, test.images, classes=classes, device=place, name=architecture_name))
    accuracy = macro_accuracy((given == test.labels).float(), test.labels)
    hardened = "" if defense_name == "none" else f" by {defense_name}"
    try:
        save_state_dict(classifier.cpu(), output)
    except OSError as error:
        raise StoreError(f"{output}: cannot be written: {error.strerror}") from None
    return (
        f"{output}: {_named(defended.architecture, architecture_name)}{hardened} on {task_name} {chosen}, {n} images, "
        f"best of {recipe.epochs} epochs by validation; macro accuracy {accuracy:.1%} on {len(test)} test images; "
        f"fingerprint {classifier.fingerprint()}"
    )


def _named(network: Architecture, asked: str) -> str:
    """As a scenario names it; a student is another architecture than the one that was asked for."""
    fields = table(network)
    extra = ", ".join(f'{k} = "{v}"' for k, v in fields.items() if k == "choice" and v)
    return f'{{name = "{fields["name"]}", {extra}}}' if extra else asked
