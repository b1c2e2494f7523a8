"""The tables of a run that compares surrogates: what each costs, what it transfers, how flat its loss is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from carom.errors import InputError
from carom.scenarios.statistics import (
    Outcomes,
    SurrogateCost,
    cost_against_transfer,
    equal_attack_cost,
    equal_training_cost,
    tdee,
)
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_surrogates
from carom.scenarios.store.outcomes import read_outcomes

from .table import INTERVAL, Form, Table, interval_notes, records, with_intervals

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


def surrogate_tables(store: Store, run: str, outcomes: Outcomes, *, split: str = "test") -> list[Table]:
    """What each surrogate cost, what it transferred, how many networks it is worth, and what its loss looks like.

    Costs only of runs that compare ways of building them.
    """
    known = list_surrogates(store, run)
    if not len(known):
        return []
    known = known[known["asked"] == ""]  # a surrogate of each victim's answers has a cost for each
    tables = [show_geometry(known)]
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
        tables.insert(0, _costs(outcomes, costs, built))
        if split == "test":  # on validation what was chosen there would be reported there
            tables += _equal_cost(store, run, outcomes, costs, built)
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


def _costs(outcomes: Outcomes, costs: Sequence[SurrogateCost], built: pd.DataFrame) -> Table:
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
    return Table(
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
            INTERVAL: "text",
            **({"T-DEE": "text", "T-DEE interval": "text"} if ladder else {}),
        },
        notes=[*notes, *(interval_notes(table) if len(table) else [])],
    )


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


def show_geometry(known: pd.DataFrame) -> Table:
    """The quantities that papers explain transfer with, mean over seeds."""
    measured: list[tuple[str, dict[str, float]]] = list(zip(known["surrogate_config"], known["measures"], strict=True))
    rows = [{"surrogate": config, **{k: of[k] for k in GEOMETRY if k in of}} for config, of in measured if of]
    table = pd.DataFrame(rows)
    if len(rows):
        groups = table.groupby("surrogate", sort=False)
        table = groups.mean().rename(columns=GEOMETRY).assign(seeds=groups.size()).reset_index()
    forms: dict[str, Form] = {"surrogate": "text", "seeds": "count"}
    forms |= {name: "percent" if name == "accuracy" else "number" for name in GEOMETRY.values()}
    return Table(
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


def _equal_cost(
    store: Store, run: str, test: Outcomes, costs: Sequence[SurrogateCost], built: pd.DataFrame
) -> list[Table]:
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
        Table(
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
                INTERVAL: "text",
            },
            notes=[
                f"budget: at most so many {units[kind]}; of the candidates that fit, the one of the highest ASR on "
                "validation victims and validation images; ASR: on test victims and images.",
                *(interval_notes(table) if len(table) else []),
            ],
        )
        for kind, table in found
    ]
