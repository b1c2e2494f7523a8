"""The table of each victim by what an attacker knows, from nothing to its weights."""

import pandas as pd

from carom.scenarios.cases import CASES, UNKNOWN_CASE
from carom.scenarios.statistics import Outcomes, knowledge_table
from carom.scenarios.statistics.knowledge import ANSWERS, NOTHING, WEIGHTS

from .table import INTERVAL, Table, interval_notes, with_intervals

KNOWS = {
    NOTHING: "nothing: noise of the same size",
    UNKNOWN_CASE.name: "a model of unknown training",
    **{case.name: f"a model; {case.description}" for case in CASES[1:]},
    ANSWERS: "its answers",
    WEIGHTS: "its weights",
}


def show_knowledge(outcomes: Outcomes) -> Table:
    """Each victim by what the attacker knows."""
    return knowledge_shown(knowledge_table(outcomes))


def knowledge_shown(found: pd.DataFrame) -> Table:
    """The same from a table of `statistics.knowledge`."""
    table = with_intervals(found)
    table["knows"] = table["knows"].astype(str)
    table["attacker knows"] = table["knows"].map(KNOWS)
    return Table(
        name="by-knowledge",
        title="Each victim, by what the attacker knows",
        frame=table,
        forms={
            "victim": "text",
            "norm": "text",
            "eps": "text",
            "knows": "text",
            "attacker knows": "text",
            "cells": "count",
            "n": "count",
            "ASR": "percent",
            INTERVAL: "text",
        },
        notes=[
            "Untargeted attacks, all of an attacker's models and attacks pooled; noise: signs of full size, which no "
            "model made. its answers: attacks that ask the victim; its weights: attacks that read its gradients.",
            *(interval_notes(table) if "claim" in table else []),
        ],
    )
