"""What the literature expects of surrogates, and what came: fills docs/science/surrogates.md and its figure.

    carom run fashion-surrogates-tuning fashion-surrogates
    python benchmarks/surrogate_orderings.py [--store .carom]

Reads the store alone. A row is a difference of ASR with its 95% interval, or of what was measured of the loss, with one
difference a seed; it holds if the interval lies above 0, does not if it lies below, and is undecided otherwise. "Alone"
is added where Holm's correction for all tests of the page takes that back.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import marked
import numpy as np
import pandas as pd
import sqlalchemy as sa
from family import Comparison, Row, compared, corrected, p_value

from carom.errors import InputError
from carom.scenarios.statistics import Difference, Outcomes, VarianceComponents, difference, surrogate_difference
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_surrogates
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import find_run
from carom.scenarios.store.schema import artifacts, run_models
from carom.scenarios.tables.table import Table
from carom.scenarios.tables.which import show_run

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "science" / "surrogates.md"
FIGURE = ROOT / "docs" / "figures" / "surrogates.svg"
RUN, TUNING = "fashion-surrogates", "fashion-surrogates-tuning"
RD_SWA = "lgv -> swa -> rd"


class Found:
    """The run's outcomes and measures, by the builder's name."""

    def __init__(self, store: Store, run: str) -> None:
        self.outcomes = read_outcomes(store, run)
        self.surrogates = list_surrogates(store, run)
        self.configs = dict(zip(self.surrogates["builder"], self.surrogates["surrogate_config"], strict=True))

    def config(self, builder: str) -> str:
        """The configuration of a builder; of several spellings the one that begins so."""
        return next(str(c) for b, c in self.configs.items() if b == builder or b.startswith(f"{builder}("))

    def attack(self, name: str) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        return self.outcomes.cells["attack"].str.startswith(name).to_numpy()

    def better(self, name: str, first: str, second: str) -> Row:
        """The first transfers better than the second, by BIM and by MI."""
        parts, tests, seeds = [], [], 0
        for attack in ("bim", "mi"):
            found = surrogate_difference(
                self.outcomes, self.config(first), self.config(second), among=self.attack(attack)
            )
            rates = f"{attack.upper()} {100 * found.first:.1f}% against {100 * found.second:.1f}%"
            parts.append(f"{rates}: {_interval(100 * found.value, 100 * found.low, 100 * found.high)}")
            tests.append(_test(found, attack.upper()))
            seeds = found.surrogate_seeds
        return compared(name, f"{first} > {second}", "; ".join(parts) + _seeds(seeds), tests)

    def smaller(self, name: str, quantity: str, first: str, second: str) -> Row:
        """Of what was measured, the first has less than the second: a difference of logarithms a seed."""
        of: dict[str, dict[int, float]] = {first: {}, second: {}}
        columns = ("surrogate_config", "surrogate_seed", "measures")
        for config, seed, measures in zip(*(self.surrogates[c] for c in columns), strict=True):
            for builder in of:
                if config == self.config(builder) and quantity in measures:
                    of[builder][seed] = measures[quantity]
        seeds = sorted(set(of[first]) & set(of[second]))
        logs = np.array([np.log(of[second][s] / of[first][s]) for s in seeds])
        value, half, p = float(logs.mean()), np.inf, 1.0
        if len(logs) > 1:
            spread = VarianceComponents(parts=((float(logs.var(ddof=1)) / len(logs), float(len(logs) - 1)),))
            half, p = spread.half_width(), spread.p_value(value)
        means = [float(np.mean(list(of[builder].values()))) for builder in (first, second)]
        interval = f"{np.exp(-value):.2f} ({np.exp(-value - half):.2f} to {np.exp(-value + half):.2f})"
        came = f"{means[0]:.3g} against {means[1]:.3g}: ratio {interval}"
        verdict = "undecided" if abs(value) <= half else "holds" if value > 0 else "does not hold"
        tests = [Comparison("", verdict, p)]
        return compared(name, f"{quantity} of {first} < of {second}", came + _seeds(len(seeds)), tests)


def _test(found: Difference, of: str = "") -> Comparison:
    return Comparison(of, found.verdict, p_value(found.value, found.low, found.high, df=found.df))


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _seeds(count: int) -> str:
    return f"; {count} seeds" if count > 1 else "; 1 seed: these models alone"


def orderings(found: Found) -> Iterator[Row]:
    """The rows that the run can answer."""
    better, smaller = found.better, found.smaller
    ladder = ["single", "2 DNN", "4 DNN", "8 DNN"]
    for small, large in itertools.pairwise(ladder):
        yield better("O1", large, small)
    yield better("O2", "csghmc", "single")
    yield better("O2", "8 DNN", "csghmc")
    yield better("O2, is it the noise", "csghmc", "csghmc, no noise")
    yield better("O2, is it the cycles", "csghmc, no noise", "single")
    yield better("O5", "4 DNN, full", "4 DNN")
    chain = ["lgv", RD_SWA, "lgv -> swa", "rd", "single"]
    yield better("O9, ends", "lgv", "single")
    for first, second in itertools.pairwise(chain):
        yield better("O9", first, second)
    for quantity in ("hessian_top", "hessian_trace"):
        yield smaller("O11", quantity, "lgv -> swa", "lgv")
        yield smaller("O11", quantity, "lgv", "single")
        yield smaller("O11", quantity, "lgv -> swa", "single")
    yield better("O15, ends", "l-sam", "single")
    yield better("O15", "l-sam", "sam")
    yield better("O15", "sam", "early-stopping")
    yield better("O15", "early-stopping", "single, last epoch")
    yield better("O15", "sam", "single, last epoch")
    for quantity in ("hessian_top", "hessian_trace"):
        yield smaller("O17", quantity, "sam", "single")
    yield better("O18", "mba", "lgv")
    yield intra_family(found)


def intra_family(found: Found) -> Row:
    """Victims of the surrogates' family are fooled more often than those of others."""
    cells = found.outcomes.cells
    mine = found.outcomes.transfer & found.outcomes.pooled()
    mine &= ((cells["surrogate_config"] == found.config("single")) & (cells["source_v"] == "original")).to_numpy()
    same = (cells["architecture_v"] == cells["architecture_s"]).to_numpy()
    apart = difference(found.outcomes, np.flatnonzero(mine & same), np.flatnonzero(mine & ~same))
    came = (
        f"single, BIM and MI: {100 * apart.first:.1f}% against {100 * apart.second:.1f}%: "
        f"{_interval(100 * apart.value, 100 * apart.low, 100 * apart.high)}"
    )
    return compared("O20", "own architecture > other ones", came + _seeds(apart.surrogate_seeds), [_test(apart)])


def _pooled(outcomes: Outcomes, chosen: "pd.Series[bool]") -> float:
    rows = np.flatnonzero(chosen.to_numpy() & outcomes.transfer)
    return float(outcomes.success[rows].sum() / outcomes.n[rows].sum())


NOT_RUN = (
    Row("O3, O4", "ASR grows with cycles; flat in samples per cycle", "not run, about 0.5 h", "–"),
    Row("O6", "DI and ghost lift one network more than cSGLD", "not run, about 0.3 h", "–"),
    Row("O7, O8", "one network's ASR falls with 100 and more steps, large sets' does not", "not run, about 1 h", "–"),
    Row("O10", "one LGV model below LGV-SWA, above one network", "not run, about 0.3 h", "–"),
    Row("O13", "LGV with 10 members a step at least as good as with 1", "not run, about 0.5 h", "–"),
    Row("O19", "SGM, LinBP > MI > BIM on a residual network", "measured with the attacks: [README](README.md)", "–"),
    Row("O21", "several architectures > one, at equal passes", "not run, about 1 h", "–"),
)  # fmt: skip


def tuned(store: Store, run: str) -> Iterator[str]:
    """The tuning run: ASR on validation victims, by setting and radius; O12 and O14 are read from it."""
    outcomes = read_outcomes(store, run)
    cells = outcomes.cells
    builders = dict(zip(*(list_surrogates(store, run)[c] for c in ("surrogate", "builder")), strict=True))
    radii = list(dict.fromkeys(cells.loc[~cells["control"], "eps"]))
    yield "| surrogate | " + " | ".join(f"eps {eps}" for eps in radii) + " |"
    yield "|---" * (1 + len(radii)) + "|"
    for surrogate in dict.fromkeys(cells.loc[~cells["control"], "surrogate"]):
        rates = [_pooled(outcomes, (cells["surrogate"] == surrogate) & (cells["eps"] == eps)) for eps in radii]
        yield f"| {builders[surrogate]} | " + " | ".join(f"{rate:.1%}" for rate in rates) + " |"


def curves(store: Store, run: str) -> Iterator[str]:
    """O16: ASR of each epoch of a plain training on validation victims."""
    query = sa.select(artifacts.c.record).join(run_models, run_models.c.artifact == artifacts.c.id)
    with store.reading() as connection:
        records = [json.loads(r) for r in connection.execute(query.where(run_models.c.run == run)).scalars()]
    yield from epochs([record for record in records if "asr" in record])


def epochs(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One row a seed; bold is the kept epoch, which is the latest of the best."""
    most = max(len(record["asr"]) for record in records)
    yield "| seed | " + " | ".join(f"epoch {i + 1}" for i in range(most)) + " |"
    yield "|---" * (1 + most) + "|"
    for seed, record in enumerate(records, start=1):
        rates = enumerate(record["asr"], start=1)
        yield (
            f"| {seed} | "
            + " | ".join(f"**{v:.0%}**" if i == record["chosen"] else f"{v:.0%}" for i, v in rates)
            + " |"
        )


TUNED = frozenset(
    {"csghmc", "csghmc, no noise", "lgv", "lgv -> swa", "rd", RD_SWA, "l-sam"}
)  # settings from the tuning run
PLAIN = frozenset({"single", "single, last epoch", "2 DNN", "4 DNN", "8 DNN", "4 DNN, full", "early-stopping"})
SETTINGS: Mapping[str, str] = {"tuned": "Settings chosen on validation victims", "none": "Nothing to choose"}


def settings_of(surrogate: str) -> str:
    """Whether a row's settings were "tuned" on validation victims, are at their "default", or there are "none"."""
    return "tuned" if surrogate in TUNED else "none" if surrogate in PLAIN else "default"


def with_settings(shown: Table) -> Table:
    """The table with a column that says so."""
    place = list(shown.frame.columns).index("surrogate") + 1
    frame = shown.frame.copy()
    frame.insert(place, "settings", frame["surrogate"].map(settings_of))
    names = list(shown.forms)
    at = names.index("surrogate") + 1
    forms = {name: shown.forms[name] for name in names[:at]} | {"settings": "text"}
    return replace(shown, frame=frame, forms=forms | {name: shown.forms[name] for name in names[at:]})


def apart(shown: Table, leave_out: Sequence[str] = ()) -> Iterator[str]:
    """A table for each kind of settings, so that what was tuned is not ranked beside what was not."""
    kinds = shown.frame["surrogate"].map(settings_of)
    for kind, title in (*SETTINGS.items(), ("default", "Settings at their defaults")):
        if not (kinds == kind).any():
            continue
        yield f"**{title}**"
        yield ""
        *lines, _, _ = markdown(replace(shown, frame=shown.frame[kinds == kind]), leave_out)
        yield from lines
        yield ""
    *_, note = markdown(shown, leave_out)
    yield note


def markdown(shown: Table, leave_out: Sequence[str] = ()) -> Iterator[str]:
    """A table of `carom show`, with its notes."""
    frame = shown.formatted().drop(columns=list(leave_out), errors="ignore")
    yield "| " + " | ".join(frame.columns) + " |"
    yield "|---" * len(frame.columns) + "|"
    for row in frame.to_numpy().tolist():
        yield "| " + " | ".join(row) + " |"
    yield ""
    yield " ".join(note[:1].upper() + note[1:] for note in shown.notes if not note.startswith("left out"))


def figure(shown: Table, path: Path) -> None:
    """ASR of MI over training passes, logarithmic, with intervals."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "carom"
    from matplotlib import pyplot as plt

    frame = shown.frame[shown.frame["attack"].str.startswith("mi")].sort_values("trainings")
    drawing, axes = plt.subplots(figsize=(9, 6))
    for row in frame.to_dict(orient="records"):
        colour = "tab:orange" if row["efficient"] else "tab:blue"
        reach = [[100 * (row["asr"] - row["low"])], [100 * (row["high"] - row["asr"])]]
        axes.errorbar(
            row["trainings"], 100 * row["asr"], yerr=reach,
            fmt="o" if row["seeds"] > 1 else "s", color=colour, alpha=0.8, elinewidth=0.8, markersize=5,
        )  # fmt: skip
        axes.annotate(
            str(row["surrogate"]), (row["trainings"], 100 * row["asr"]), (5, 3), textcoords="offset points", fontsize=7
        )
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes.minorticks_off()
    axes.set_xlabel("training passes, in trainings of a single network")
    axes.set_ylabel("ASR of MI on five victims, %")
    axes.grid(alpha=0.3)
    drawing.tight_layout()
    drawing.savefig(path, metadata={"Date": None})


def main() -> None:
    """Fills the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path(".carom"))
    options = parser.parse_args()
    with Store(options.store) as store:
        run, tuning = find_run(store, RUN), find_run(store, TUNING)
        for one in (run, tuning):
            if one.done < one.cells:
                raise InputError(f"{one.id}: {one.done} of {one.cells} cells are done; run it to its end first")
        tables = {table.name: table for table in show_run(store, run.id)}
        found = Found(store, run.id)
        rows = [*corrected(orderings(found)), *NOT_RUN]

        def expectations() -> Iterator[str]:
            yield "| | expected | came | |"
            yield "|---|---|---|---|"
            yield from map(str, rows)

        parts: dict[str, Callable[[], Iterator[str]]] = {
            "orderings": expectations,
            "costs": lambda: apart(tables["surrogates"], ("norm", "eps", "seconds")),
            "equal-training": lambda: markdown(with_settings(tables["equal-training-cost"]), ("norm", "eps")),
            "equal-attack": lambda: markdown(with_settings(tables["equal-attack-cost"]), ("norm", "eps")),
            "geometry": lambda: markdown(tables["geometry"]),
            "controls": lambda: markdown(tables["controls"]),
            "tuning": lambda: tuned(store, tuning.id),
            "epochs": lambda: curves(store, run.id),
        }
        texts = {name: "\n".join(lines()) for name, lines in parts.items()}
        PAGE.write_text(marked.filled(PAGE.read_text(), texts, of=PAGE.name))
        figure(tables["surrogates"], FIGURE)


if __name__ == "__main__":
    main()
