"""The table of effects: what a mismatch of source, balance or architecture costs the attacker."""

import pandas as pd

from carom.scenarios.statistics import Outcomes, marginal_effects

from .table import INTERVAL, Table, points_words, ranges_note


def show_effects(outcomes: Outcomes) -> Table:
    """What a mismatch of source, balance or architecture costs the attacker."""
    table = marginal_effects(outcomes)
    if len(table):
        table["mismatch in"] = table["axis"]
        table["cells"] = table["match_cells"] + table["mismatch_cells"]
        table["ASR match"], table["ASR mismatch"] = table["match_asr"], table["mismatch_asr"]
        table[INTERVAL] = points_words(table["low"], table["high"])
        table["p (Holm)"], table["within ±2"] = table["p_holm"], ["yes" if e else "no" for e in table["equivalent"]]
    return Table(
        name="effects",
        title="Effect of a mismatch on ASR, in points (C0 and controls excluded)",
        frame=table,
        forms={
            "mismatch in": "text",
            "cells": "count",
            "ASR match": "percent",
            "ASR mismatch": "percent",
            "effect": "points",
            INTERVAL: "text",
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
            f"{ranges_note(table)}.",
        ]
        if len(table)
        else [],
    )


def _confounded(table: pd.DataFrame) -> list[str]:
    """Which effects also hold what the levels are like as such."""
    axes = ", ".join(dict.fromkeys(table.loc[table["confounded"], "axis"]))
    return [f"confounded with what the levels are like as surrogates or as victims: {axes}."] if axes else []
