"""What attacks do to networks that others trained: fills docs/science/real-models.md from the store.

    carom run cifar10-resnets imagenet-lite
    python benchmarks/real_models_page.py [--store .carom]

Reads the store alone. A difference has its 95% interval over images, for these models; it holds if the interval lies
above 0, does not if it lies below, and is undecided otherwise. "Alone" is added where Holm's correction for all tests
of the page takes that back. What was not run to its end says so.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import marked
import numpy as np
import pandas as pd
from family import Comparison, Row, compared, corrected, p_value
from numpy.typing import NDArray

from carom.attacks import parse_attack
from carom.scenarios.statistics import Difference, Outcomes, difference, group_table
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import list_runs

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "science" / "real-models.md"
NOT_RUN = "Not run yet."
Rows = NDArray[np.int64]
SET = ["surrogate", "attack_seed", "victim", "norm"]


@dataclass(frozen=True)
class Ordering:
    """One attack above another.

    Attributes:
        better: Its label in the run.
        worse: The same.
        fashion: The difference that docs/science/README.md has on Fashion-MNIST within 10 passes; "" where it has none.
    """

    better: str
    worse: str
    fashion: str = ""


ORDERINGS = (
    Ordering("mi", "bim", "+2.2 (+1.6 to +2.8)"),
    Ordering("mi+di", "mi", "+1.9 (+1.3 to +2.5)"),
    Ordering("mi+sia", "mi+di", "-5.4 (-6.3 to -4.5)"),
    Ordering("mi+bsr", "mi+di", "-10.9 (-12.1 to -9.7)"),
    Ordering("sgm", "mi", "-0.2 (-0.6 to +0.1)"),
    Ordering("linbp", "mi", "-1.2 (-1.8 to -0.6)"),
)
ON_PHOTOGRAPHS = ORDERINGS[:2]


def found(store: Path, scenario: str) -> Outcomes | str:
    """The latest run of a scenario, or why there is none to show."""
    if not (store / "carom.db").is_file():
        return NOT_RUN
    with Store(store) as opened:
        run = next((run for run in list_runs(opened) if run.scenario == scenario), None)
        if run is None:
            return NOT_RUN
        if run.done < run.cells:
            return f"Not run to its end yet: {run.done} of {run.cells} cells."
        return read_outcomes(opened, run.id)


def radii(outcomes: Outcomes) -> list[str]:
    """Of the sets that a surrogate made, smallest first."""
    some = outcomes.cells.loc[~outcomes.control, "eps"].unique()
    return sorted(map(str, some), key=lambda eps: float(eps.split("/")[0]))


def rates(outcomes: Outcomes) -> Iterator[str]:
    """One row an attack: what it transfers and, behind that, what it does to the model that it read."""
    table = group_table(outcomes, ("attack", "eps"))
    own = outcomes.where((outcomes.cells["case"] == 0).to_numpy())
    yield "| attack | passes | " + " | ".join(f"eps {eps}" for eps in radii(outcomes)) + " |"
    yield "|---" * (2 + len(radii(outcomes))) + "|"
    for attack in dict.fromkeys(outcomes.cells.loc[~outcomes.control, "attack"]):
        cells = [f"`{attack}`", str(parse_attack(str(attack)).passes(1).total)]
        for eps in radii(outcomes):
            row = table[(table["attack"] == attack) & (table["eps"] == eps)].iloc[0]
            said = f"{row['asr']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
            itself = ((own.cells["attack"] == attack) & (own.cells["eps"] == eps)).to_numpy()
            share = own.success[itself].sum() / own.n[itself].sum() if itself.any() else np.nan
            cells.append(said if np.isnan(share) else f"{said}; {share:.1%}")
        yield "| " + " | ".join(cells) + " |"


def ordering(outcomes: Outcomes, one: Ordering) -> Row:
    """A row of the table of orderings: at each radius the same surrogates, victims and images on both sides."""
    parts, tests = [], []
    for eps in radii(outcomes):
        first, second = paired(outcomes, one.better, one.worse, eps)
        apart = difference(outcomes, first, second)
        parts.append(_said(eps, apart))
        tests.append(Comparison(eps, apart.verdict, p_value(apart.value, apart.low, apart.high, df=apart.df)))
    return compared(f"{one.better} > {one.worse}", one.fashion or "–", "; ".join(parts), tests)


def _said(eps: str, apart: Difference) -> str:
    points = f"{100 * apart.value:+.1f} ({100 * apart.low:+.1f} to {100 * apart.high:+.1f})"
    return f"{eps}: {points}, n {apart.n}"


def paired(outcomes: Outcomes, better: str, worse: str, eps: str) -> tuple[Rows, Rows]:
    """Rows of the cells of transfer that both attacks have."""
    cells = outcomes.cells.assign(_row=np.arange(len(outcomes.cells)))
    chosen = cells[outcomes.transfer & outcomes.pooled() & (cells["eps"] == eps).to_numpy()]
    both = chosen[chosen["attack"] == better].merge(chosen[chosen["attack"] == worse], on=SET, suffixes=("", "_b"))
    return both["_row"].to_numpy(dtype=np.int64), both["_row_b"].to_numpy(dtype=np.int64)


def pairs_above_singles(outcomes: Outcomes) -> Row:
    """On each victim, the sets made on the two others together against those made on either of them."""
    parts, tests = [], []
    several = outcomes.cells["surrogate"].astype(str).str.contains("+", regex=False).to_numpy()
    for eps in radii(outcomes):
        mine = outcomes.transfer & outcomes.pooled() & (outcomes.cells["eps"] == eps).to_numpy()
        apart = difference(outcomes, np.flatnonzero(mine & several), np.flatnonzero(mine & ~several))
        parts.append(_said(eps, apart))
        tests.append(Comparison(eps, apart.verdict, p_value(apart.value, apart.low, apart.high, df=apart.df)))
    return compared("two networks > one of them", "–", "; ".join(parts), tests)


def table_of(rows: Iterable[Row]) -> Iterator[str]:
    """The orderings as they are printed."""
    yield "| expected | Fashion-MNIST, 10 passes | came | verdict |"
    yield "|---|---|---|---|"
    yield from map(str, rows)


def by_victim(outcomes: Outcomes) -> Iterator[str]:
    """MI from each surrogate on each victim; C0 in brackets."""
    cells = outcomes.cells
    victims = list(dict.fromkeys(cells["victim"]))
    eps = radii(outcomes)[1]
    yield f"| MI, eps {eps}, from | " + " | ".join(f"on {victim}" for victim in victims) + " |"
    yield "|---" * (1 + len(victims)) + "|"
    mine = cells[(cells["attack"] == "mi") & (cells["eps"] == eps)]
    for surrogate in dict.fromkeys(mine["surrogate"]):
        shown = [_rate(outcomes, mine[(mine["surrogate"] == surrogate) & (mine["victim"] == v)]) for v in victims]
        yield f"| {surrogate} | " + " | ".join(shown) + " |"


def _rate(outcomes: Outcomes, cell: pd.DataFrame) -> str:
    row = int(cell.index[0])
    share = outcomes.success[row].sum() / outcomes.n[row]
    return f"({share:.1%})" if cell.iloc[0]["case"] == 0 else f"{share:.1%}"


def texts(cifar: Outcomes | str, lite: Outcomes | str) -> dict[str, str]:
    """The generated parts of the page, with verdicts corrected for all tests that stand there."""
    rows: list[Row] = []
    for outcomes, some in ((cifar, ORDERINGS), (lite, ON_PHOTOGRAPHS)):
        if not isinstance(outcomes, str):
            rows += [ordering(outcomes, one) for one in some]
    if not isinstance(lite, str):
        rows.append(pairs_above_singles(lite))
    rows = corrected(rows)
    ours = 0 if isinstance(cifar, str) else len(ORDERINGS)
    return {
        "cifar10-resnets": _part(cifar, rates),
        "cifar10-orderings": _part(cifar, lambda _: table_of(rows[:ours])),
        "cifar10-pairs": _part(cifar, by_victim),
        "imagenet-lite": _part(lite, rates),
        "imagenet-orderings": _part(lite, lambda _: table_of(rows[ours:])),
        "imagenet-pairs": _part(lite, by_victim),
    }


def _part(outcomes: Outcomes | str, lines: Callable[[Outcomes], Iterator[str]]) -> str:
    return outcomes if isinstance(outcomes, str) else "\n".join(lines(outcomes))


def main(arguments: Sequence[str] | None = None) -> None:
    """Fills the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path(".carom"))
    options = parser.parse_args(arguments)
    parts = texts(found(options.store, "cifar10-resnets"), found(options.store, "imagenet-lite"))
    PAGE.write_text(marked.filled(PAGE.read_text(), parts, of=PAGE.name))


if __name__ == "__main__":
    main()
