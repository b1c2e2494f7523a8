"""The tables of a run with defended victims: what each keeps, against whom, at what price, and what is doubtful."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from carom.errors import InputError
from carom.scenarios.statistics import (
    NOT_RUN,
    Outcomes,
    defended,
    defended_by_attacker,
    defended_by_threat,
    equilibrium,
    payoffs,
    transfer_below_white_box,
    white_box_accuracy,
)
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_victims
from carom.scenarios.store.outcomes import read_outcomes

from .masking import count_alarms, find_alarms, show_alarms
from .table import Form, Table, interval_notes, interval_words, records

WRITTEN: Mapping[str, str] = {
    "victim_config": "configuration",
    "victim_seeds": "seeds",
    "white_box": "white box",
    "white_box_attack": "white-box attack",
    "white_box_worst": "white-box worst",
    "best_pair": "best pair",
    "asr": "ASR",
    "asr_average": "ASR, all pairs",
    "corrected_average": "corrected, all pairs",
    "attacker_has": "attacker has",
    "strongest_pair": "strongest pair",
}
COST_FORMS: Mapping[str, Form] = {
    "training passes": "count",
    "seconds": "number",
    "parameters": "count",
    "MACs": "count",
}
PLAYED = 1e-6  # a strategy of less probability is the solver's rounding


def defense_tables(store: Store, run: str, outcomes: Outcomes, *, split: str = "test") -> list[Table]:
    """All of them; none where no victim of the run has a defence.

    Args:
        store: Where the run is.
        run: Its id.
        outcomes: Of the split; decoys, which are no attacks and are missing here, are read beside them.
        split: On "validation" no best pair is reported, as it would be chosen on the same images.
    """
    if "defense_v" not in outcomes.cells or outcomes.cells["defense_v"].isin(["", "none"]).all():
        return []
    outcomes = read_outcomes(store, run, split=split, decoys=True)
    chosen = None
    if split == "test":
        try:
            chosen = read_outcomes(store, run, split="validation", role="victim")
        except InputError:  # no victim met a set on validation images, so no pair can be chosen
            chosen = None
    known = list_victims(store, run)
    below = transfer_below_white_box(outcomes, chosen)
    by_victim = defended(outcomes, chosen, by="victim")
    alarms = find_alarms(by_victim, known, below)
    rows = defended(outcomes, chosen)
    main = _main(rows, known, alarms, by_victim)
    tables = [main, _behind(main)]
    if (rows["victims"] > 1).any():
        tables.append(_each_victim(by_victim))
    tables.append(_by_threat(defended_by_threat(outcomes, chosen)))
    apart = defended_by_attacker(outcomes, chosen)
    if apart["attackers"].nunique() > 1:
        tables.append(_by_attacker(apart))
    tables += [_white_boxes(outcomes), _leaking(rows), _sources(known), show_alarms(alarms), _game(outcomes)]
    return [table for table in tables if len(table.frame)]


def _main(rows: pd.DataFrame, known: pd.DataFrame, alarms: pd.DataFrame, by_victim: pd.DataFrame) -> Table:
    costs = _costs(known)
    found = (
        rows.join(costs, on=["defense", "victim_config"]) if len(costs) else rows.assign(**dict.fromkeys(COST_FORMS))
    )
    found["alarms"] = [count_alarms(row, alarms, by_victim) for row in records(rows)]
    table = _written(found)
    return Table(
        name="defenses",
        title="Defences: what they keep and what they cost",
        frame=table,
        forms={
            **_names(table),
            "seeds": "count",
            "images": "count",
            "clean": "percent",
            "pairs": "count",
            "average": "percent",
            "best": "percent",
            "worst": "percent",
            "white box": "percent",
            "white-box worst": "percent",
            "alarms": "count",
            **COST_FORMS,
        },
        notes=[
            "Accuracies over all images, clean errors included; no answer is wrong. Pairs: a source and an attack; "
            "targeted sets and decoys are none. average: over pairs; best: under the one pair that is lowest on "
            "validation images, each victim's own; worst: right under every pair, image by image.",
            *_not_run(rows),
            "white box: under that attack on the victim itself that leaves least here; white-box worst: right under "
            "all of them. alarms: signs of masked gradients, in a table of their own; with one, trust neither.",
            "training passes: forward and backward, of all trainings that a victim rests on, public models not "
            "counted; seconds as they came, beside other work; MACs: of one image. Means over seeds.",
            *interval_notes(rows),
        ],
    )


def _behind(main: Table) -> Table:
    """What stands behind the accuracies of the main table, which would be too wide with it."""
    return Table(
        name="defenses-intervals",
        title="Defences: intervals, and the attacks that are strongest",
        frame=main.frame,
        forms={
            **_names(main.frame),
            **dict.fromkeys(("clean 95%", "best 95%", "white box 95%"), "text"),
            "best pair": "text",
            "white-box attack": "text",
        },
        notes=[note for note in main.notes if "interval" in note],
    )


def _each_victim(by_victim: pd.DataFrame) -> Table:
    table = _written(by_victim)
    return Table(
        name="defenses-by-victim",
        title="Defences: each victim",
        frame=table,
        forms={
            "victim": "text",
            "norm": "text",
            "eps": "text",
            "clean": "percent",
            "average": "percent",
            "best": "percent",
            "best 95%": "text",
            "worst": "percent",
            "white box": "percent",
            "white-box worst": "percent",
            "best pair": "text",
            "white-box attack": "text",
        },
        notes=["Columns as in the table of defences.", *_not_run(by_victim), *interval_notes(by_victim)],
    )


def _by_threat(rows: pd.DataFrame) -> Table:
    table = _written(rows)
    table["attacker has"] = table["attacker has"].astype(str)
    return Table(
        name="defenses-by-threat",
        title="Defences: by what the attacker has",
        frame=table,
        forms={
            **_names(table),
            "attacker has": "text",
            "pairs": "count",
            "average": "percent",
            "average 95%": "text",
            "strongest": "percent",
            "strongest 95%": "text",
            "strongest pair": "text",
        },
        notes=[
            "Accuracy over all images. public models: of the public pool, of another source of images, or of a "
            "training that nobody declared; data like mine: models trained on images of the victim's source; my "
            "answers: attacks that ask the victim; my weights: attacks that read its gradients.",
            "strongest: under the one pair that is lowest on validation images, each victim's own; of attacks on the "
            "victim itself under the one that leaves least on these very images, so it looks stronger than on others.",
            *interval_notes(rows),
        ],
    )


def _by_attacker(rows: pd.DataFrame) -> Table:
    table = _written(rows)
    return Table(
        name="defenses-by-attacker",
        title="Defences: whose attacks they withstand",
        frame=table,
        forms={
            **_names(table),
            "attackers": "text",
            "pairs": "count",
            "average": "percent",
            "average 95%": "text",
            "best": "percent",
            "best 95%": "text",
            "worst": "percent",
            "best pair": "text",
        },
        notes=[
            "seen: models of the public pool that a defence may learn from; held out: others of their groups; unseen "
            "group: of a group without a seen one; strangers: in no pool. More pairs make a lower best and worst.",
            *_not_run(rows),
            *interval_notes(rows),
        ],
    )


def _white_boxes(outcomes: Outcomes) -> Table:
    rows = white_box_accuracy(outcomes)
    table = _written(rows)
    return Table(
        name="white-box-attacks",
        title="Defences: each attack on the victim itself",
        frame=table,
        forms={**_names(table), "attack": "text", "sets": "count", "white box": "percent", "white box 95%": "text"},
        notes=["Accuracy over all images; sets: on each victim.", *interval_notes(rows)],
    )


def _leaking(rows: pd.DataFrame) -> Table:
    table = _written(rows)
    table["gain"] = table["best"] - table["clean"]
    return Table(
        name="label-leaking",
        title="Defences: do they read the label from the attack?",
        frame=table[table["pairs"] > 0].reset_index(drop=True),
        forms={
            **_names(table),
            "clean": "percent",
            "gain": "points",
            "ASR": "percent",
            "ASR 95%": "text",
            "corrected": "percent",
            "corrected 95%": "text",
            "ASR, all pairs": "percent",
            "corrected, all pairs": "percent",
            "decoy": "percent",
            "decoy 95%": "text",
        },
        notes=[
            "gain: accuracy under the best pair minus clean accuracy; above 0 is suspect. ASR: of the images that are "
            "right clean, the share that the best pair turns wrong. corrected: of those wrong clean, the share that it "
            "puts right; about 0 for a network that only looks at the image.",
            "decoy: accuracy on images attacked as if another class were theirs; nearly harmless, unless a network "
            "reads labels from perturbations. Low beside clean: it does.",
            *interval_notes(rows),
        ],
    )


def _sources(known: pd.DataFrame) -> Table:
    """The public models that victims could learn from, how well their attacks transfer, and which were chosen."""
    rows = []
    for victim in records(known):
        for record in victim.get("records", ()):
            labels = record.get("pool", ())
            for label, accuracies in zip(labels, record.get("transfer", ()), strict=False):
                at = labels.index(label)
                others = [a for i, a in enumerate(accuracies) if i != at]
                rows.append(
                    {
                        "victim": victim["victim"],
                        "public model": label,
                        "left to the others": np.mean(others) if others else np.nan,
                        "left to itself": accuracies[at],
                        "chosen": "yes" if label in record["sources"] else "no",
                    }
                )
    return Table(
        name="public-sources",
        title="Defences: the public models that they learned from",
        frame=pd.DataFrame(rows),
        forms={
            "victim": "text",
            "public model": "text",
            "left to the others": "percent",
            "left to itself": "percent",
            "chosen": "text",
        },
        notes=[
            "Accuracy of the other public models (mean) and of the model itself under PGD made on it, on validation "
            "images: of each group the one that leaves the others least is chosen."
        ],
    )


def _game(outcomes: Outcomes) -> Table:
    """Mixed strategies of a zero-sum game of defences against pairs; where there is a choice on both sides."""
    rows: list[dict[str, Any]] = []
    for (norm, eps), payoff in payoffs(outcomes).items():
        if min(payoff.shape) < 2:
            continue

        r = payoff.to_numpy(dtype=np.float64)
        found = equilibrium(r)
        here = {"norm": norm, "eps": eps, "value": found.value}
        rows += [
            {**here, "side": "defender", "plays": str(name), "probability": p, "against the mix": met, "worst": least}
            for name, p, met, least in zip(payoff.index, found.defender, r @ found.attacker, r.min(axis=1), strict=True)
        ]
        rows += [
            {**here, "side": "attacker", "plays": str(name), "probability": p, "against the mix": met, "worst": most}
            for name, p, met, most in zip(
                payoff.columns, found.attacker, found.defender @ r, r.max(axis=0), strict=True
            )
            if p > PLAYED
        ]
    return Table(
        name="game",
        title="Defences: the game of who trains against who transfers",
        frame=pd.DataFrame(rows),
        forms={
            "norm": "text",
            "eps": "text",
            "side": "text",
            "plays": "text",
            "probability": "percent",
            "against the mix": "percent",
            "worst": "percent",
            "value": "percent",
        },
        notes=[
            "Payoff: accuracy of a defence (mean over its seeds) under a pair, all images. value: what the best "
            "mixture of defences keeps whatever pair comes, and the best mixture of pairs concedes at most. There may "
            "be other equilibria of the same value; pairs that are not played are left out.",
            "against the mix: of the other side; worst: under the one pair, or for the one defence, that is worst for "
            "it. Made from test images for analysis; these numbers have no interval, and nothing is chosen by them.",
        ],
    )


# --------------------------------------------------------------------------------------------------------------- parts


def _costs(known: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of what each configuration and defence took and stores."""
    if not len(known):
        return pd.DataFrame()
    told = known.copy()
    told["training passes"] = known["forward"].astype(float) + known["backward"].astype(float)
    told["MACs"] = [of.get("macs", np.nan) for of in known["numbers"]]
    groups = told.groupby(["defense", "victim_config"], sort=False)[list(COST_FORMS)]
    return groups.mean().where(groups.count().eq(groups.size(), axis=0))  # a mean over some would be of others


def _written(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns under the names that people read, intervals as words beside the raw limits."""
    table = rows.rename(columns=dict(WRITTEN))
    for low in [str(c) for c in rows if str(c).endswith("_low")]:
        rate = low.removesuffix("_low")
        table[f"{WRITTEN.get(rate, rate)} 95%"] = interval_words(rows[low], rows[f"{rate}_high"])
    return table


def _names(table: pd.DataFrame) -> dict[str, Form]:
    """What names a row: the configuration too where a defence stands on several."""
    further: dict[str, Form] = {"configuration": "text"} if several_configurations(table) else {}
    return {"defense": "text", **further, "norm": "text", "eps": "text"}


def several_configurations(table: pd.DataFrame) -> bool:
    """Whether a defence stands on several configurations, so that its name alone does not name a row."""
    return bool(table["configuration"].nunique() > table["defense"].nunique())


def defense_names(table: pd.DataFrame) -> "pd.Series[str]":
    """What names each row, without norm and eps."""
    name = table["defense"]
    return name + " · " + table["configuration"] if several_configurations(table) else name


def _not_run(rows: pd.DataFrame) -> list[str]:
    if not (rows["best_pair"] == NOT_RUN).any():
        return []
    return ["best: not run where no victim met the pairs on validation images; nothing is chosen on test."]
