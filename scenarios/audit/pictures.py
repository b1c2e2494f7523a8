"""Images that the strongest attack of an audit turned, to be looked at."""

from typing import Any

from carom.scenarios.report.pictured import Pictured, turned
from carom.scenarios.statistics import Outcomes
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_sets

MOST = 6


def turned_images(store: Store, run: str, made: Outcomes) -> tuple[str, list[Pictured]]:
    """What the strongest of some attacks does: a caption, and the first images that it turns.

    Args:
        store: Where the images are.
        run: Its id.
        made: The cells of these attacks on the audited model.

    Raises:
        StoreError: The images are not in the store any more.
    """
    cell = int(made.success.sum(1).argmax())
    row: dict[Any, Any] = made.cells.iloc[cell].to_dict()
    sets = list_sets(store, run)
    (image_set,) = sets.loc[sets["set_id"] == row["set_id"], "image_set"]
    images = turned(store, made, cell, int(image_set), MOST)
    return (
        f"{row['attack']} on {row['surrogate']} at {row['eps']}, the strongest of the attacks made on public models: "
        f"{len(images)} of the {int(made.success[cell].sum())} images that it turns.",
        images,
    )
