"""The tables of a run, for the terminal, exports and the explorer: one place that says what is shown and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from carom.errors import InputError
from carom.scenarios.axes import AXES, CONDITIONS
from carom.scenarios.statistics import (
    Outcomes,
    SurrogateCost,
    case_table,
    cell_rates,
    compare,
    compare_pooled,
    controls,
    cost_against_transfer,
    equal_attack_cost,
    equal_training_cost,
    group_table,
    marginal_effects,
    source_levels,
    tdee,
)
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_failures, list_models, list_surrogates
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import find_run

Form = Literal["text", "count", "percent", "points", "number"]

FURTHER_AXES = tuple(a for a in AXES if a not in CONDITIONS)  # cases are computed within one level of each


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One table, with what is needed to read it.

    Attributes:
        name: Short, for files.
        title: One line.
        frame: Numbers as they are: rates from 0 to 1.
        forms: How each shown column is written; columns without a form are not shown to people.
        notes: What the numbers are, over what intervals range, and what to beware of.
    """

    name: str
    title: str
    frame: pd.DataFrame
    forms: Mapping[str, Form]
    notes: Sequence[str] = field(default=())

    def is_text(self, column: str) -> bool:
        """Whether a shown column holds words."""
        return self.forms.get(column) == "text"

    def records(self) -> list[dict[str, Any]]:
        """All columns, for JSON."""
        return records(self.frame)

    def formatted(self) -> pd.DataFrame:
        """The shown columns as words."""
        columns = [c for c in self.forms if c in self.frame]
        return pd.DataFrame({c: [_written(v, self.forms[c]) for v in self.frame[c]] for c in columns})


def _written(value: Any, form: Form) -> str:
    if form == "text":
        return str(value)
    if value is None or pd.isna(value):
        return "–"
    if form == "count":
        return f"{int(value):,}"
    if form == "percent":
        return f"{100 * value:.1f}%"
    if form == "points":
        return f"{round(100 * value, 1) + 0.0:+.1f}"  # -0.0 is written as 0
    return f"{value:.3g}"


RATE_FORMS: Mapping[str, Form] = {
    "cells": "count",
    "n": "count",
    "ASR": "percent",
    "95% interval": "text",
    "clean accuracy": "percent",
    "robust accuracy": "percent",
    "lift": "points",
    "relative": "percent",
}


def show_run(store: Store, run: str, *, split: str = "test", brief: bool = False) -> list[Shown]:
    """The tables of a run.

    Args:
        store: Where it is.
        run: Its id.
        split: "test", or "validation".
        brief: Only the cases over all attacks, the effects and the controls.

    Raises:
        InputError: The run has no outcome yet.
    """
    # these make their tables of what is here
    from .defenses import defense_tables
    from .published import beside_shown, published_tables

    found = find_run(store, run)
    if found.status == "published":
        return published_tables(store, found.id)
    outcomes = read_outcomes(store, run, split=split)
    fixed = _axes_that_vary(outcomes)
    tables = [cases_shown(outcomes, fixed, found.id), effects_shown(outcomes), controls_shown(outcomes)]
    if not brief:
        by_attack = cases_shown(outcomes, ("attack", *fixed), found.id)
        tables[1:1] = [by_attack] if outcomes.cells["attack"].nunique() > 1 else []
        tables += [
            groups_shown(outcomes, "attack", fixed),
            groups_shown(outcomes, "surrogate", fixed),
            groups_shown(outcomes, "victim", fixed),
            sources_shown(outcomes, fixed),
            sets_shown(outcomes),
            *surrogate_tables(store, run, outcomes, split=split),
            *defense_tables(store, run, outcomes, split=split),
            models_shown(store, run),
        ]
        beside = beside_shown(store, found.id, tables[0])
        tables += [beside] if beside is not None else []
    failures = list_failures(store, run)
    if len(failures):
        tables.append(
            Shown(
                name="failures",
                title=f"{int(failures['cells'].sum())} cells have no outcome",
                frame=failures,
                forms={"reason": "text", "cells": "count"},
                notes=["Run the scenario again to try these once more."],
            )
        )
    return [t for t in tables if len(t.frame)]


def _axes_that_vary(outcomes: Outcomes) -> tuple[str, ...]:
    """Columns that a table of cases must not mix: budgets, goals, whose answers were read, pairs of further levels."""
    cells = outcomes.cells
    attacked = cells[~cells["control"]]
    met = attacked[attacked["case"] != 0]  # on its own model a surrogate matches in everything
    kinds = [column for column in ("targeted", "reads") if attacked[column].nunique() > 1]
    further = [f"{axis}_{side}" for axis in FURTHER_AXES for side in "sv"]
    return ("norm", "eps", *kinds, *(column for column in further if met[column].nunique() > 1))


def _rates(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that people read, beside the raw ones."""
    shown = with_intervals(table)
    shown["clean accuracy"] = shown["clean_accuracy"]
    shown["robust accuracy"] = shown["robust_accuracy"]
    shown["relative"] = shown["relative_transfer"]
    return shown


def _source_forms(outcomes: Outcomes) -> dict[str, Form]:
    return {f"asr:{source}": "percent" for source in outcomes.image_sources}


def interval_notes(table: pd.DataFrame) -> list[str]:
    """What the intervals of a table range over, and what they speak of; nothing of an empty one."""
    if not len(table):
        return []
    ranges, claims = ("; ".join(dict.fromkeys(table[c].dropna().astype(str))) for c in ("ranges_over", "claim"))
    return [f"95% intervals range over: {ranges}. What they speak of: {claims}."]


def cases_shown(outcomes: Outcomes, by: Sequence[str], run: str) -> Shown:
    """C0 to C8 and the controls."""
    table = _rates(case_table(outcomes, by=tuple(by))).rename(columns={"case": "case_number", "name": "case"})
    forms: dict[str, Form] = {column: "text" for column in by}
    forms |= {"case": "text", "mismatch": "text", **RATE_FORMS, **_source_forms(outcomes)}
    per_attack = "attack" in by
    return Shown(
        name="cases-by-attack" if per_attack else "cases",
        title=f"{run}: attack success by case" + ("" if per_attack else ", all attacks"),
        frame=table,
        forms=forms,
        notes=[
            "mismatch of the trainings of surrogate and victim: D source of the images, B balance, M architecture.",
            "ASR: victim wrong on the adversarial image, among the n it got right clean (n summed over cells).",
            "lift: points above surrogate-free noise of at least the same L2; relative: ASR / white-box ASR of the "
            "same sets; asr:SOURCE: on the images of that source.",
            *interval_notes(table),
        ],
    )


def effects_shown(outcomes: Outcomes) -> Shown:
    """What a mismatch of source, balance or architecture costs the attacker."""
    table = marginal_effects(outcomes)
    if len(table):
        table["mismatch in"] = table["axis"]
        table["cells"] = table["match_cells"] + table["mismatch_cells"]
        table["ASR match"], table["ASR mismatch"] = table["match_asr"], table["mismatch_asr"]
        table["95% interval"] = _points(table["low"], table["high"])
        table["p (Holm)"], table["within ±2"] = table["p_holm"], ["yes" if e else "no" for e in table["equivalent"]]
    return Shown(
        name="effects",
        title="Effect of a mismatch on ASR, in points (C0 and controls excluded)",
        frame=table,
        forms={
            "mismatch in": "text",
            "cells": "count",
            "ASR match": "percent",
            "ASR mismatch": "percent",
            "effect": "points",
            "95% interval": "text",
            "p (Holm)": "number",
            "within ±2": "text",
            "power": "percent",
            "placebo": "points",
            **{f"effect:{source}": "points" for source in outcomes.image_sources},
        },
        notes=[
            "effect: mismatch minus match, like compared with like (same attack, budget and other conditions); "
            "placebo: the same for sign noise of full size, which knows no surrogate; effect:SOURCE: on the images of "
            "that source.",
            "within ±2: two one-sided tests, after Holm, place the effect within 2 points of none; power: how often "
            "they would if nothing were there, so a no says nothing where power is low.",
            *_confounded(table),
            f"95% intervals range over: {'; '.join(dict.fromkeys(str(v) for v in table['ranges_over']))}.",
        ]
        if len(table)
        else [],
    )


def _confounded(table: pd.DataFrame) -> list[str]:
    """Which effects also hold what the levels are like as such."""
    axes = ", ".join(dict.fromkeys(table.loc[table["confounded"], "axis"]))
    return [f"confounded with what the levels are like as surrogates or as victims: {axes}."] if axes else []


def _points(low: "pd.Series[float]", high: "pd.Series[float]") -> list[str]:
    """Intervals of differences, in points."""
    return ["–" if pd.isna(a) else f"{100 * a:+.1f} to {100 * b:+.1f}" for a, b in zip(low, high, strict=True)]


def controls_shown(outcomes: Outcomes) -> Shown:
    """Whether the run can be trusted."""
    checks = controls(outcomes)
    frame = pd.DataFrame(
        [{"control": c.name, "status": c.status, "expected": c.expected, "came": c.came} for c in checks]
    )
    return Shown(
        name="controls",
        title="Controls",
        frame=frame,
        forms={"control": "text", "status": "text", "expected": "text", "came": "text"},
    )


def groups_shown(outcomes: Outcomes, column: str, fixed: Sequence[str]) -> Shown:
    """Transfer averages by attack, surrogate or victim."""
    table = _rates(group_table(outcomes, by=(column, *fixed)))
    forms: dict[str, Form] = {c: "text" for c in (column, *fixed)}
    return Shown(
        name=f"by-{column}",
        title=f"Transfer by {column} (C0 excluded)",
        frame=table,
        forms={**forms, **RATE_FORMS},
        notes=interval_notes(table) if len(table) else [],
    )


def sources_shown(outcomes: Outcomes, fixed: Sequence[str]) -> Shown:
    """Transfer by whose samples the surrogate was trained on."""
    by = tuple(c for c in fixed if not c.startswith("samples"))
    table = _rates(source_levels(outcomes, by=by))
    return Shown(
        name="by-samples",
        title="Transfer by whose samples the surrogate had (C0 excluded)",
        frame=table,
        forms={**{c: "text" for c in by}, "source_level": "text", **RATE_FORMS},
        notes=interval_notes(table) if len(table) else [],
    )


def sets_shown(outcomes: Outcomes) -> Shown:
    """Strength, visibility and cost of the adversarial sets, over surrogates."""
    assert outcomes.sets is not None
    sets = outcomes.sets.assign(passes=outcomes.sets["forward"] + outcomes.sets["backward"])
    columns = ["mean_l2", "mean_linf", "mean_size_over_eps", "mean_ssim", "zero_gradient_fraction", "passes"]
    table = sets.groupby(["attack", "norm", "eps"], sort=False)[columns].mean().reset_index()
    table.insert(3, "sets", sets.groupby(["attack", "norm", "eps"], sort=False).size().to_numpy())
    table["passes"] = table["passes"] / len(outcomes.labels)
    noted = {"mean_queries": "queries", "median_radius": "radius"}  # of query and of smallest-perturbation attacks
    for column, name in noted.items():
        if column in sets and sets[column].notna().any():
            of = sets.groupby(["attack", "norm", "eps"], sort=False)[column].mean().reset_index(name=name)
            table = table.merge(of, on=["attack", "norm", "eps"])
    table = table.rename(
        columns={
            "mean_l2": "L2",
            "mean_linf": "Linf",
            "mean_size_over_eps": "size/eps",
            "mean_ssim": "SSIM",
            "zero_gradient_fraction": "zero gradients",
            "passes": "passes per image",
        }
    )
    return Shown(
        name="sets",
        title="Strength, visibility and cost of the adversarial sets (means)",
        frame=table,
        forms={
            "attack": "text",
            "norm": "text",
            "eps": "text",
            "sets": "count",
            "L2": "number",
            "Linf": "number",
            "size/eps": "number",
            "SSIM": "number",
            "zero gradients": "percent",
            "passes per image": "number",
            **{name: "number" for name in noted.values() if name in table},
        },
        notes=[
            "L2 and Linf in pixel units of [0, 1]; passes: forward and backward passes of a network; queries: answers "
            "asked for, mean over images; radius: distance of the smallest change that was found, median over images."
        ],
    )


COST_FORMS: Mapping[str, Form] = {
    "trainings": "number",
    "training passes": "count",
    "seconds": "number",
    "parameters": "count",
    "passes per image": "number",
}
GEOMETRY: Mapping[str, str] = {
    "hessian_top": "top eigenvalue",
    "hessian_trace": "trace",
    "ray_loss_100": "loss along rays",
    "gradient_norm": "gradient norm",
    "alignment": "alignment",
    "loss_variance": "loss variance",
    "weight_dimension": "weight dimensions",
    "loss": "loss",
    "accuracy": "accuracy",
}


def surrogate_tables(store: Store, run: str, outcomes: Outcomes, *, split: str = "test") -> list[Shown]:
    """What each surrogate cost, what it transferred, how many networks it is worth, and what its loss looks like.

    Costs only of runs that compare ways of building them.
    """
    known = list_surrogates(store, run)
    if not len(known):
        return []
    known = known[known["asked"] == ""]  # a surrogate of each victim's answers has a cost for each
    tables = [geometry_shown(known)]
    if known["builder"].nunique() > 1:
        built = known[known["forward"].notna()]
        rows: list[dict[str, Any]] = records(built)
        costs = [
            SurrogateCost(
                surrogate=row["surrogate"],
                passes=int(row["forward"] + row["backward"]),
                seconds=float(row["seconds"]),
                parameters=int(row["parameters"]),
            )
            for row in rows
        ]
        tables.insert(0, _costs_shown(outcomes, costs, built))
        if split == "test":  # on validation what was chosen there would be reported there
            tables += _equal_cost_shown(store, run, outcomes, costs, built)
    names = short_names(known)
    return [replace(t, frame=t.frame.assign(surrogate=t.frame["surrogate"].map(names))) for t in tables if len(t.frame)]


def short_names(known: pd.DataFrame) -> dict[str, str]:
    """For each configuration of `list_surrogates` its builder, and what else not all of them share."""
    bases = [str(base).split("/") for base in known["base"]]
    shared = {part for part in bases[0] if all(part in base for base in bases)}
    names = {}
    for config, builder, base in zip(known["surrogate_config"], known["builder"], bases, strict=True):
        own = "/".join(part for part in base if part not in shared)
        names[str(config)] = f"{builder} on {own}" if own else str(builder)
    return names


def _costs_shown(outcomes: Outcomes, costs: Sequence[SurrogateCost], built: pd.DataFrame) -> Shown:
    found = cost_against_transfer(outcomes, costs, mismatching=False)
    table = with_intervals(found.frame)
    base = dict(zip(built["surrogate_config"], built["base"], strict=True))
    passes = dict(zip(table["surrogate_config"], table["training_passes"], strict=True))
    singles = built[built["networks"] == 1]
    unit = {of: passes.get(config) for config, of in zip(singles["surrogate_config"], singles["base"], strict=True)}
    bases = [base.get(config) for config in table["surrogate_config"]]
    table["trainings"] = table["training_passes"] / pd.Series([unit.get(of) for of in bases], dtype=float)
    notes = [
        "ASR on all victims but the surrogate's own models, C1 included; training passes: forward and backward, of all "
        "that it rests on; trainings: those over a single network's on the same base; seconds as they came, on a "
        "machine that did other work too; parameters: numbers to store; passes per image: of the attack.",
    ]
    of_base, ladder = _ladder(built, outcomes)
    if ladder:
        worth = tdee(outcomes, ladder).rename(columns={"shown": "T-DEE"})
        worth = worth[worth["surrogate_config"].map(base) == of_base]
        worth["T-DEE interval"] = [
            "–" if pd.isna(low) else f"{'<' if lo else ''}{low:.1f}–{high:.1f}{'+' if ho else ''}"
            for low, high, lo, ho in zip(
                worth["low"], worth["high"], worth["low_open"], worth["high_open"], strict=True
            )
        ]
        keys = ["attack", "norm", "eps", "surrogate_config"]
        table = table.merge(worth[[*keys, "T-DEE", "T-DEE interval"]], on=keys, how="left")
        rungs = {config: f"{size}" for size, config in ladder.items()}
        of = table["surrogate_config"].map(rungs)
        table["T-DEE"] = of.where(of.notna(), table["T-DEE"].astype(object)).fillna("–")
        table["T-DEE interval"] = table["T-DEE interval"].astype(object).fillna("–")
        notes.append(
            "T-DEE: how many networks trained apart transfer as well; the ladder is "
            f"{', '.join(str(size) for size in ladder)} networks of one base."
        )
    if found.left_out:
        notes.append(
            f"left out, as their cost is not known or differs from victim to victim: {', '.join(found.left_out)}"
        )
    return Shown(
        name="surrogates",
        title="Surrogates: what they cost and what they transfer",
        frame=table.rename(
            columns={
                "surrogate_config": "surrogate",
                "training_passes": "training passes",
                "passes_per_image": "passes per image",
                "surrogate_seeds": "seeds",
            }
        ),
        forms={
            "surrogate": "text",
            "attack": "text",
            "norm": "text",
            "eps": "text",
            **COST_FORMS,
            "seeds": "count",
            "cells": "count",
            "n": "count",
            "ASR": "percent",
            "95% interval": "text",
            **({"T-DEE": "text", "T-DEE interval": "text"} if ladder else {}),
        },
        notes=[*notes, *(interval_notes(table) if len(table) else [])],
    )


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Rates beside their intervals, as people read them."""
    shown = table.copy()
    shown["ASR"] = shown["asr"]
    shown["95% interval"] = interval_words(shown["low"], shown["high"])
    return shown


def interval_words(low: "pd.Series[float]", high: "pd.Series[float]") -> list[str]:
    """Limits from 0 to 1 as people read them, such as "12.5–15.0%"; "–" where there are none."""
    return [
        "–" if pd.isna(one) else f"{100 * one:.1f}–{100 * other:.1f}%" for one, other in zip(low, high, strict=True)
    ]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows, by the names of their columns."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict(orient="records")]


def _ladder(built: pd.DataFrame, outcomes: Outcomes) -> tuple[str, dict[int, str]]:
    """Ensembles of one base by size, read in turn where there are some, as light surrogates are; else all at once.

    The base with the most sizes that have an outcome; empty where none has two.
    """
    cells = outcomes.cells[outcomes.transfer]
    met = set(cells.loc[cells["reads"] == "surrogate", "surrogate_config"])
    ladders: list[tuple[str, dict[int, str]]] = []
    trained_apart = built[built["networks"].notna() & built["surrogate_config"].isin(met)]
    for base, rows in trained_apart.groupby("base", sort=False):
        for schedule in ("light", "full"):
            used = rows[(rows["networks"] == 1) | (rows["schedule"] == schedule)]
            rungs: dict[int, str] = {}
            for size, config in zip(used["networks"], used["surrogate_config"], strict=True):
                rungs.setdefault(int(size), str(config))
            ladders.append((str(base), dict(sorted(rungs.items()))))
    base, best = max(ladders, key=lambda found: len(found[1]), default=("", {}))
    return (base, best) if len(best) > 1 and 1 in best else ("", {})


def geometry_shown(known: pd.DataFrame) -> Shown:
    """The quantities that papers explain transfer with, mean over seeds."""
    measured: list[tuple[str, dict[str, float]]] = list(zip(known["surrogate_config"], known["measures"], strict=True))
    rows = [{"surrogate": config, **{k: of[k] for k in GEOMETRY if k in of}} for config, of in measured if of]
    table = pd.DataFrame(rows)
    if len(rows):
        groups = table.groupby("surrogate", sort=False)
        table = groups.mean().rename(columns=GEOMETRY).assign(seeds=groups.size()).reset_index()
    forms: dict[str, Form] = {"surrogate": "text", "seeds": "count"}
    forms |= {name: "percent" if name == "accuracy" else "number" for name in GEOMETRY.values()}
    return Shown(
        name="geometry",
        title="Geometry of the surrogates' loss, on their own training images",
        frame=table,
        forms=forms,
        notes=[
            "top eigenvalue and trace of the loss's Hessian in the weights, batch norm in eval mode, mean over a few "
            "weight sets, the last among them; loss along rays: at the end of random directions in the weights; "
            "gradient norm: in the image; alignment: mean cosine of the weight sets' gradients in the image; loss "
            "variance: over weight sets, mean over images; weight dimensions: in which the weight sets differ.",
        ],
    )


def _equal_cost_shown(
    store: Store, run: str, test: Outcomes, costs: Sequence[SurrogateCost], built: pd.DataFrame
) -> list[Shown]:
    """The best at equal training and at equal attack cost, chosen on validation victims; none where there are none."""
    try:
        validation = read_outcomes(store, run, split="validation")
    except InputError:  # nothing was judged there, so nothing can be chosen
        return []
    found = []
    met = [set(o.cells.loc[o.transfer, "surrogate_config"]) for o in (test, validation)]
    singles = built.loc[built["networks"] == 1, "surrogate_config"]
    single = next((config for config in singles if all(config in some for some in met)), None)
    if single is not None:
        found.append(("training", equal_training_cost(test, validation, costs, single, slack=0.15).frame))
    found.append(("attack", equal_attack_cost(test, validation).frame))

    units = {
        "training": "trainings of a single network (and 15% more)",
        "attack": "forward and backward passes per image",
    }
    return [
        Shown(
            name=f"equal-{kind}-cost",
            title=f"The best at equal {kind} cost",
            frame=with_intervals(table).rename(
                columns={"surrogate_config": "surrogate", "validation_asr": "validation ASR"}
            ),
            forms={
                "norm": "text",
                "eps": "text",
                "budget": "number",
                "candidates": "count",
                "surrogate": "text",
                "attack": "text",
                "validation ASR": "percent",
                "n": "count",
                "ASR": "percent",
                "95% interval": "text",
            },
            notes=[
                f"budget: at most so many {units[kind]}; of the candidates that fit, the one of the highest ASR on "
                "validation victims and validation images; ASR: on test victims and images.",
                *(interval_notes(table) if len(table) else []),
            ],
        )
        for kind, table in found
    ]


def models_shown(store: Store, run: str) -> Shown:
    """How the models of a run were trained."""
    table = list_models(store, run)
    return Shown(
        name="models",
        title="Models",
        frame=table,
        forms={"role": "text", "model": "text", "n": "text", "passes": "count", "seconds": "number"},
    )


def cells_shown(outcomes: Outcomes) -> Shown:
    """Every cell, for exports."""
    return Shown(name="cells", title="Cells", frame=cell_rates(outcomes), forms={})


def compare_runs(store: Store, first: str, second: str) -> list[Shown]:
    """What differs between two runs, on the cells and images that they share.

    Raises:
        InputError: A run without outcomes, or two that share no cell.
    """
    a, b = read_outcomes(store, first), read_outcomes(store, second)
    cells = compare(a, b)
    forms: dict[str, Form] = {
        "cells": "count",
        "robust_a": "percent",
        "robust_b": "percent",
        "robust_difference": "points",
        "robust interval": "text",
        "robust_p_holm": "number",
        "both_right": "count",
        "asr_a": "percent",
        "asr_b": "percent",
        "asr_difference": "points",
        "ASR interval": "text",
        "asr_p_holm": "number",
    }
    notes = [
        f"a: {first}; b: {second}; differences b - a in points, on the cells and images that both have.",
        "robust accuracy is over all images, ASR over the images that both victims get right clean.",
    ]
    shown = []
    for by in (("attack",), ("victim",)):
        table = _differences(compare_pooled(a, b, by=by))
        shown.append(
            Shown(
                name=f"compare-by-{by[0]}",
                title=f"By {by[0]}",
                frame=table,
                forms={by[0]: "text", **forms},
                notes=[*notes, f"95% intervals range over: {'; '.join(dict.fromkeys(table['ranges_over']))}."],
            )
        )
    worst = _differences(cells).sort_values("robust_p_holm", kind="stable").head(10)
    names: dict[str, Form] = {"surrogate": "text", "attack": "text", "eps": "text", "victim": "text"}
    title = f"The ten cells that differ most, of {len(cells)}"
    paired = "Exact McNemar tests on the images of a cell, Holm over all cells."
    shown.append(
        Shown(name="compare-cells", title=title, frame=worst, forms={**names, **forms}, notes=[*notes, paired])
    )
    return shown


def _differences(table: pd.DataFrame) -> pd.DataFrame:
    """Intervals beside the numbers."""
    return table.assign(
        **{
            "robust interval": _points(table["robust_low"], table["robust_high"]),
            "ASR interval": _points(table["asr_low"], table["asr_high"]),
        }
    )
