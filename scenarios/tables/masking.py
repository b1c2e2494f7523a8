"""The table of the signs that a victim's gradients are masked, so that attacks on the victim itself prove little."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from carom.alarms import alarms as alarms_of

from .table import Table, interval_in_points, records


def show_alarms(alarms: pd.DataFrame) -> Table:
    return Table(
        name="masking",
        title="Defences: signs of masked gradients",
        frame=alarms,
        forms={"defense": "text", "victim": "text", "sign": "text"},
        notes=[
            "Each says that attacks on the victim itself prove little, not that it is weak. What a victim's own "
            "numbers say rests on validation images. Transfer below the white box: on the images of this table's run, "
            "by the pair that is lowest on validation images, where the whole interval is below 0; without "
            "validation images by the lowest pair, its interval at 95% over all pairs."
        ],
    )


def find_alarms(by_victim: pd.DataFrame, known: pd.DataFrame, below: pd.DataFrame) -> pd.DataFrame:
    """One row an alarm: defense, victim, sign, and norm and eps where it is of one budget; or a row that says none."""
    numbers: dict[str, Mapping[str, float]] = {}
    if len(known):
        numbers = dict(zip(known["victim"], known["numbers"], strict=True))
    rows: list[dict[str, Any]] = []
    for row in records(by_victim.drop_duplicates("victim")):
        who = {"defense": row["defense"], "victim": row["victim"], "norm": "", "eps": ""}
        signs = _signs(numbers.get(row["victim"], {}))
        if signs is None:
            rows.append({**who, "sign": "not examined", "alarm": False})
        else:
            rows += [{**who, "sign": sign, "alarm": True} for sign in signs]
    for row in records(below[below["alarm"]] if len(below) else below):
        level = f"{100 * (1 - 0.05 / row['judged']):.4g}%"
        sign = (
            f"{row['norm']} {row['eps']}: {row['pair']} leaves {row['transfer']:.1%} right, {row['white_box_attack']} "
            f"{row['white_box']:.1%}: {100 * row['difference']:+.1f} points, {level} interval "
            f"{interval_in_points(row['low'], row['high'])} over {row['images']:,} images"
        )
        rows.append({**{c: row[c] for c in ("defense", "victim", "norm", "eps")}, "sign": sign, "alarm": True})
    if not rows:
        rows.append({"defense": "all", "victim": "all", "norm": "", "eps": "", "sign": "none", "alarm": False})
    return pd.DataFrame(rows)


def _signs(numbers: Mapping[str, float]) -> Sequence[str] | None:
    """What the numbers of a victim say; None where nobody looked."""
    if "pgd20" not in numbers:  # of a function there are no gradients to look at
        return None

    return alarms_of(numbers)


def count_alarms(row: Mapping[str, Any], alarms: pd.DataFrame, by_victim: pd.DataFrame) -> float:
    """Alarms of the victims of a row at its budget; NaN where there is none because nobody looked at some."""
    of = by_victim[(by_victim["defense"] == row["defense"]) & (by_victim["victim_config"] == row["victim_config"])]
    mine = alarms[alarms["victim"].isin(of["victim"])]
    here = (mine["norm"] == "") | ((mine["norm"] == row["norm"]) & (mine["eps"] == row["eps"]))
    count = int((here & mine["alarm"].astype(bool)).sum())
    return np.nan if not count and (mine["sign"] == "not examined").any() else float(count)
