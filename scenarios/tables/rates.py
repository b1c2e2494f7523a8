"""The tables of rates: by case, attack, surrogate, victim and samples; controls, adversarial sets, single cells."""

from collections.abc import Sequence

import pandas as pd

from carom.scenarios.statistics import Outcomes, case_table, cell_rates, controls, group_table, source_levels

from .table import RATE_FORMS, Form, Table, interval_notes, with_intervals


def show_cases(outcomes: Outcomes, by: Sequence[str], run: str) -> Table:
    """C0 to C8 and the controls."""
    table = _rates(case_table(outcomes, by=tuple(by))).rename(columns={"case": "case_number", "name": "case"})
    forms: dict[str, Form] = {column: "text" for column in by}
    forms |= {"case": "text", "mismatch": "text", **RATE_FORMS, **_source_forms(outcomes)}
    per_attack = "attack" in by
    return Table(
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


def show_groups(outcomes: Outcomes, column: str, fixed: Sequence[str]) -> Table:
    """Transfer averages by attack, surrogate or victim."""
    table = _rates(group_table(outcomes, by=(column, *fixed)))
    forms: dict[str, Form] = {c: "text" for c in (column, *fixed)}
    return Table(
        name=f"by-{column}",
        title=f"Transfer by {column} (C0 excluded)",
        frame=table,
        forms={**forms, **RATE_FORMS},
        notes=interval_notes(table) if len(table) else [],
    )


def show_samples(outcomes: Outcomes, fixed: Sequence[str]) -> Table:
    """Transfer by whose samples the surrogate was trained on."""
    by = tuple(c for c in fixed if not c.startswith("samples"))
    table = _rates(source_levels(outcomes, by=by))
    return Table(
        name="by-samples",
        title="Transfer by whose samples the surrogate had (C0 excluded)",
        frame=table,
        forms={**{c: "text" for c in by}, "source_level": "text", **RATE_FORMS},
        notes=interval_notes(table) if len(table) else [],
    )


def _rates(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that people read, beside the raw ones."""
    shown = with_intervals(table)
    shown["clean accuracy"] = shown["clean_accuracy"]
    shown["robust accuracy"] = shown["robust_accuracy"]
    shown["relative"] = shown["relative_transfer"]
    return shown


def _source_forms(outcomes: Outcomes) -> dict[str, Form]:
    return {f"asr:{source}": "percent" for source in outcomes.image_sources}


def show_controls(outcomes: Outcomes) -> Table:
    """Whether the run can be trusted."""
    checks = controls(outcomes)
    frame = pd.DataFrame(
        [{"control": c.name, "status": c.status, "expected": c.expected, "came": c.came} for c in checks]
    )
    return Table(
        name="controls",
        title="Controls",
        frame=frame,
        forms={"control": "text", "status": "text", "expected": "text", "came": "text"},
    )


def show_sets(outcomes: Outcomes) -> Table:
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
    return Table(
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


def show_cells(outcomes: Outcomes) -> Table:
    """Every cell, for exports."""
    return Table(name="cells", title="Cells", frame=cell_rates(outcomes), forms={})
