"""The attacked images of a run, for attacks that are not in carom."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from carom.errors import InputError
from carom.scenarios.store.artifacts import read_artifact
from carom.scenarios.store.database import Store
from carom.scenarios.store.schema import artifacts, image_sets, run_sets


def attacked_arrays(store: Store, run: str) -> Mapping[str, Any]:
    """What every set of a run on test images starts from, as [[sets]] of a scenario take it back beside `x_adv`.

    Returns:
        `x_clean`, 8-bit `n c h w`; `y`, their classes; `target`, the classes that targeted attacks aim at. In the
        order of the attacked images.

    Raises:
        InputError: The run attacks no images.
        StoreError: The file of the images is missing or damaged.
    """
    from carom.zoo.tasks.attacked import target_classes

    query = (
        sa.select(artifacts.c.key, artifacts.c.digest, image_sets.c.classes)
        .join(image_sets, image_sets.c.artifact == artifacts.c.id)
        .join(run_sets, run_sets.c.image_set == image_sets.c.artifact)
        .where(run_sets.c.run == run, image_sets.c.split == "test")
        .limit(1)
    )
    with store.reading() as connection:
        row = connection.execute(query).first()
    if row is None:
        raise InputError(f"{store.folder}: run {run} attacks no test images; expected a run with adversarial sets")
    found = read_artifact(store.folder, "images", row.key, row.digest)
    target = target_classes(found["labels"], found["ids"], len(json.loads(row.classes)), found.get("targets"))
    return {"x_clean": found["images"].numpy(), "y": found["labels"].numpy(), "target": target.numpy()}
