"""Images that the strongest attack of an audit turned, to be looked at."""

from typing import Any

import numpy as np

from carom.scenarios.report.pictured import Pictured
from carom.scenarios.statistics import Outcomes
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_sets, read_pictures

MOST = 6
_SET = ("surrogate", "attack", "norm", "eps")


def turned_images(store: Store, run: str, made: Outcomes) -> tuple[str, list[Pictured]]:
    """What the strongest of some attacks does: a caption, and the first images that it turns.

    The first of each class stand before the second of any, so that they are of as many classes as there are.

    Args:
        store: Where the images are.
        run: Its id.
        made: The cells of these attacks on the audited model.

    Raises:
        StoreError: The images are not in the store any more.
    """
    cell = int(made.success.sum(1).argmax())
    row: dict[Any, Any] = made.cells.iloc[cell].to_dict()
    turned = np.flatnonzero(made.success[cell])
    labels = made.labels[turned]
    before = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)], dtype=np.int64)
    places = sorted(turned[np.argsort(before, kind="stable")][:MOST].tolist())
    caption = (
        f"{row['attack']} on {row['surrogate']} at {row['eps']}, the strongest of the attacks made on public models: "
        f"{len(places)} of the {len(turned)} images that it turns."
    )
    if not places:
        return caption, []
    sets = list_sets(store, run)
    (here,) = sets[(sets[[*_SET]] == [row[name] for name in _SET]).all(axis=1)].to_dict("records")
    clean, adversarial = read_pictures(store, here["set_id"], here["image_set"], places)
    answered = made.clean_predictions[made.victim_index[cell]]
    return caption, [
        Pictured(
            clean=clean[i],
            adversarial=adversarial[i],
            before=made.classes[answered[place]],
            after=made.classes[made.adversarial[cell, place]],
        )
        for i, place in enumerate(places)
    ]
