"""Images of a set inside a report: clean, what was added, and adversarial, with a victim's answers."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from carom.scenarios.charts.picture import Picture, perturbation, png, sizes, small
from carom.scenarios.statistics import Outcomes
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import read_pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictured:
    """One image, `c h w` in [0, 1], and what a victim answers.

    Attributes:
        clean: As it came.
        adversarial: As it was attacked.
        before: The class that the victim answers to the clean image.
        after: To the adversarial one.
    """

    clean: Picture
    adversarial: Picture
    before: str
    after: str


def turned(store: Store, outcomes: Outcomes, cell: int, image_set: int, most: int) -> list[Pictured]:
    """The first images of a cell that the attack turned, at most so many, of as many classes as there are.

    The first of each class stand before the second of any.

    Args:
        store: Where they are.
        outcomes: Of the run.
        cell: A row of `outcomes.cells`.
        image_set: Row of the store of the images that its set was made of.
        most: How many.

    Raises:
        StoreError: The images are not in the store any more.
    """
    found = np.flatnonzero(outcomes.success[cell])
    labels = outcomes.labels[found]
    before = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)], dtype=np.int64)
    places: list[int] = sorted(found[np.argsort(before, kind="stable")][:most].tolist())
    if not places:
        return []
    clean, adversarial = read_pictures(store, int(outcomes.cells["set_id"].iloc[cell]), image_set, places)
    answered = outcomes.clean_predictions[outcomes.victim_index[cell]]
    return [
        Pictured(
            clean=clean[i],
            adversarial=adversarial[i],
            before=outcomes.classes[answered[place]],
            after=outcomes.classes[outcomes.adversarial[cell, place]],
        )
        for i, place in enumerate(places)
    ]


def pairs_of_images(images: Sequence[Pictured]) -> str:
    """Two small pictures and one line for each image: clean, adversarial, and what the victim answers."""
    pairs = []
    for one in images:
        both = "".join(
            f'<img loading="lazy" src="data:image/{kind};base64,{b64encode(file).decode()}" alt="{words}">'
            for picture, words in ((one.clean, "clean"), (one.adversarial, "adversarial"))
            for kind, file in [small(picture)]
        )
        pairs.append(f"<figure>{both}<figcaption>{escape(one.before)} → {escape(one.after)}</figcaption></figure>")
    return f'<div class="pairs">{"".join(pairs)}</div>'


def rows_of_images(heading: str, caption: str, images: Sequence[Pictured]) -> str:
    """A heading, and three pictures and one line for each image; nothing where there is no image."""
    if not images:
        return ""
    rows = "".join(f"<figure>{_three(one)}{_said(one)}</figure>" for one in images)
    return f'<h2>{escape(heading)}</h2><p class="note">{escape(caption)}</p><div class="pictures">{rows}</div>'


def _three(one: Pictured) -> str:
    added, factor = perturbation(one.clean, one.adversarial)
    words = f"what was added, times {factor:.2g}" if factor else "nothing was added"
    shown = ((one.clean, "clean"), (added, words), (one.adversarial, "adversarial"))
    return "".join(
        f'<img src="data:image/png;base64,{b64encode(png(image)).decode()}" alt="{words}" title="{words}">'
        for image, words in shown
    )


def _said(one: Pictured) -> str:
    linf, l2 = sizes(one.clean, one.adversarial)
    answers = f"<b>{escape(one.before)} → {escape(one.after)}</b>"
    return f"<figcaption>{answers}, linf {linf:.3g}/255, l2 {l2:.2g}</figcaption>"
