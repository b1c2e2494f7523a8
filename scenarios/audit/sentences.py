"""What an audit says, in sentences; and what it does not say."""

from collections.abc import Sequence

from .findings import ENOUGH, AtRadius, Findings, Rate
from .surrogates import Chosen


def sentences(found: Findings, chosen: Chosen) -> list[str]:
    """The answer: a sentence for each radius, and one on the classes."""
    return [
        f"{found.model} gets {found.right} of {found.images} images right.",
        *(_at(one, found, chosen) for one in found.radii),
        _classes(found),
    ]


def made_on(chosen: Chosen) -> str:
    """On what the attacks were made, in words that claim no more than is known."""
    names = _listed([one.label for one in chosen.models])
    if chosen.only_sisters and chosen.family:
        return f"made on its sisters ({names}: of its own family, {chosen.family})"
    if chosen.strangers:
        return f"made on public models it shares nothing with ({names})"
    if chosen.sisters:
        return f"made on public models ({names}; {_listed(chosen.sisters)} of its own family)"
    return f"made on public models ({names}; whether they are of its family is not known)"


def _at(one: AtRadius, found: Findings, chosen: Chosen) -> str:
    mean = one.transfer
    parts = [
        f"of {found.right} images that the model gets right, attacks {made_on(chosen)} turn {share(mean)} at {one.eps}"
    ]
    if mean.cells > 1:
        parts.append(
            f"the strongest of {mean.cells} ({one.strongest.of}) {share(one.strongest)}, at least one of them "
            f"{share(one.any)}"
        )
    parts.append(f"noise of that size {_percent(one.noise.rate)}")
    if one.white_box is not None:
        parts.append(f"with the model's own weights {share(one.white_box)}")
    return "; ".join(parts) + "."


def _classes(found: Findings) -> str:
    if not found.classes:
        return (
            f"no class has {ENOUGH} images that the model gets right (the most have {found.largest}), so nothing is "
            "said of single classes."
        )
    told = ", ".join(f"{rate.of} {share(rate)} of {rate.n // max(1, rate.cells)}" for rate in found.classes)
    of = f"of the {found.eligible} classes with at least {ENOUGH} images that are right" if found.eligible > 1 else ""
    return f"most exposed at {found.headline}{', ' if of else ''}{of}: {told}."


def unsaid(found: Findings, chosen: Chosen, *, per_class: bool) -> list[str]:
    """What these numbers do not say."""
    told = [
        "Intervals range over images such as these, for this model and these surrogates: other images, another "
        "training of the model, and other surrogates give other numbers.",
        "It is no upper bound: an attacker who asks the model, trains surrogates of his own on images such as yours, "
        "or tries more attacks turns more.",
        "Only small changes of every pixel were tried (linf, on the images after resize and crop), not patches, "
        "rotations, or changes that a person would see.",
        "The strongest attack was picked by these very images, so it looks stronger than on others; the mean was not.",
    ]
    if chosen.only_sisters and chosen.family:
        told.append(
            "All attacks were made on sisters of the model: what strangers reach, commonly less, is not known here."
        )
    elif not chosen.family:
        told.append("The family of the model's network could not be told, so the surrogates may be its sisters.")
    if per_class:
        told.append("Of the classes the most exposed are named because they are: some are by chance.")
    if all(one.white_box is None for one in found.radii):
        told.append("The model gives no gradients, so what an attacker with its weights would reach was not measured.")
    return told


def share(rate: Rate) -> str:
    """Such as "43 % (36 to 50)"."""
    return f"{_percent(rate.rate)} ({100 * rate.low:.0f} to {100 * rate.high:.0f})"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
