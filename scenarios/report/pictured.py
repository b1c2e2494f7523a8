"""Images of a set inside a report: clean, what was added, and adversarial, with a victim's answers."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from carom.scenarios.charts.picture import Picture, perturbation, png, sizes


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
