"""docs/published.md: published numbers beside carom's, from docs/science/published.json."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from published_proofs import LEFT_OUT, names
from published_rows import ROWS

from carom.scenarios.gates.judge import share_bounds

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "published.md"
RESULTS = ROOT / "docs" / "science" / "published.json"

HEAD = """# Published numbers

carom held against numbers that others published, on their weights and images. `benchmarks/published.py` measures and
writes this page; it finds the files through `CAROM_PUBLISHED_DIR`, and `make science` runs it. `tests/published`
asserts what is said here to be held.

## Error rates

Weights are loaded as their authors left them, attacks are the registry's. *Error*: per cent of all images that the
network gets wrong; where accuracy was published, 100 minus it. *Published*: by the network's authors, of all 10,000
test images; "(recalled)": not read in its source. *Plain loop*: found on the same images by a loop that shares no
code with carom. *ours*: the float images that the attack ends at, as the others attacked; the interval is Clopper and
Pearson's, 95%, over images. *8-bit*: the images that carom stores, rounded inside the ball. *held*: a test asserts
that ours is so near, to published (p) or to the plain loop (l).
"""

PROOFS = """
## Proofs

VNN-COMP 2022, `mnist_fc`: three fully connected networks of 784 inputs, boxes of radius 0.03 and 0.05 around 15
images. Complete verifiers proved that {robust} boxes hold no adversarial example, found one in {broken}, and left
{open} open. carom's balls are these boxes to float precision, its networks have the logits of the published files to
1e-5, and an image counts only if it lies in the box and is misclassified in float64. Every attack is run in float32,
ten times where it begins at a random place; what it ends at is judged as floats and as 8-bit images.

*robust*: in how many of the {robust} it found something; each would be an error in carom. *broken* and *open*: the
same of the others. An attack that finds few is not wrong: a proof bounds from above alone.

| attack | settings | restarts | robust: floats or 8-bit | broken: floats | broken: 8-bit | open |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
"""

REFUTED = """
## What would have refuted it

- *Weights are read as they are*: a clean error that differs by one image from the plain loop's.
- *FGSM and PGD are those of the papers*: an error more than 0.3 points from the published one of the provable
  networks. An attack that left its ball, or attacked another class, would be above it; one that climbs wrongly,
  below.
- *Attacks stay in their balls, and success is judged right*: one adversarial example in one of the {robust} proved
  boxes.
- *PGD finds what there is to find*: fewer than 14 of the {broken} broken boxes on cross-entropy, or fewer than 15 on
  the margin to each wrong class.

Recalled figures, and those of 10,000 images beside 200 of ours, decide nothing: they stand here to be looked at.
"""


def results() -> dict[str, Any]:
    """What was recorded."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": {}, "proofs": {}}
    return found


def page(found: Mapping[str, Any]) -> str:
    """The page's text."""
    counts = {"robust": 66, "broken": 18, "open": 6}
    parts = [HEAD, *_rows(found["rows"]), PROOFS.format(**counts).rstrip("\n"), *_proofs(found["proofs"])]
    return "\n".join([*parts, REFUTED.format(**counts)])


def _rows(measured: Mapping[str, Any]) -> Iterator[str]:
    yield "| file | eps | images | attack | n | published | plain loop | ours | 95% interval | 8-bit | held |"
    yield "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | --- | ---: | --- |"
    for row in ROWS:
        for number, figure in enumerate(row.figures):
            one = measured.get(f"{row.file} {number}")
            shown = [row.file, row.eps if figure.attack else "–", row.images, figure.what]
            published = "–" if figure.published is None else f"{figure.published:.2f}"
            published += " (recalled)" if figure.recalled else ""
            seen = "–" if figure.seen is None else f"{figure.seen:.2f}"
            held = [] if figure.within is None else [f"p ±{figure.within:g}"]
            held += [] if figure.within_seen is None else [f"l ±{figure.within_seen:g}"]
            if one is None:
                ours = ["–", published, seen, "not measured", "–", "–"]
            else:
                n, k = one["n"], one["k"]
                low, high = share_bounds(float(k), n, 0.025)
                interval = f"{100 * low:.2f}–{100 * high:.2f}"
                eight = "–" if figure.attack is None else f"{100 * one['eight_bit'] / n:.2f}"
                ours = [f"{n:,}", published, seen, f"{100 * k / n:.2f}", interval, eight]
            yield "| " + " | ".join([*shown, *ours, ", ".join(held) or "–"]) + " |"
    yield ""
    yield (
        "Sources: "
        + "; ".join(
            f"{', '.join(dict.fromkeys(row.file for row in ROWS if row.source == source))}: {source}"
            for source in dict.fromkeys(row.source for row in ROWS)
        )
        + "."
    )
    yield (
        "The four CIFAR-10 networks of two convolutions were published with 50.0, 49.5, 53.0 and 57.5% of 200 images "
        "robust to PGD, in an order that is not known here (recalled). The published PGD of fast-at and "
        "pgd-at is of 10 restarts, ours of one, as the plain loop's."
    )


def _proofs(measured: Mapping[str, Any]) -> Iterator[str]:
    for label in ("PGD", "PGD on margins", *names()):
        if label not in measured:
            yield f"| `{label}` |" + " not measured |" * 6
            continue
        one = measured[label]
        cells = [f"`{label}`", one["settings"], one["restarts"], one["robust"], one["floats"], one["eight_bit"]]
        yield "| " + " | ".join(map(str, [*cells, one["open"]])) + " |"
    yield ""
    for label in ("PGD", "PGD on margins", "autoattack"):
        if label in measured:
            missed = ", ".join(f"{network} {name}" for network, name in measured[label]["missed"])
            yield f"- `{label}` missed: {missed or 'nothing'}."
    yield ""
    yield "Not tried:"
    yield ""
    for name, reason in LEFT_OUT.items():
        yield f"- `{name}`: {reason}."
    yield "- `torchattacks:...`: another library's; carom's own are held against it elsewhere."
