"""What attacks reach: the best in order, ties, cost classes, and the distance of the smallest success."""

import numpy as np
import pandas as pd

from carom.scenarios.traces import snapshots

COSTS = (10, 50, 200)  # forward and backward passes of a network that an image may take
TIED, BELOW = "not told apart from the best", "below it"


def ranked(rows: pd.DataFrame, passes: int | None = None) -> pd.DataFrame:
    """Attacks of one budget, the strongest first, and which of them cannot be told apart from it.

    Two are told apart where their intervals do not meet, which is stricter than a test of their difference.

    Args:
        rows: Columns attack, asr, low, high and, for `passes`, "passes per image"; snapshots of a trace are left out.
        passes: Only those that take at most so many; None for all.

    Returns:
        The rows with the columns label and series: `TIED` or `BELOW`.
    """
    found = without_snapshots(rows)
    if passes is not None:
        found = found[found["passes per image"] <= passes]
    found = found.sort_values("asr", ascending=False, kind="stable", ignore_index=True)
    if found.empty:
        return found.assign(label="", series="")
    tied = found["high"] >= found["low"].iloc[0]
    return found.assign(label=found["attack"], series=np.where(tied, TIED, BELOW))


def without_snapshots(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of attacks, without earlier steps of a trace."""
    return rows[~rows["attack"].isin(snapshots(rows["attack"].astype(str)))].reset_index(drop=True)


def finding(found: pd.DataFrame) -> str:
    """Which attack reaches most, how sure that is, and with what it ties, in a sentence.

    Args:
        found: As from `ranked`.
    """
    if found.empty:
        return "No attack is that cheap"
    best = found.iloc[0]
    said = f"{best['attack']} reaches most: {best['asr']:.0%} ({100 * best['low']:.0f} to {100 * best['high']:.0f})"
    others = found.loc[found["series"] == TIED, "attack"].tolist()[1:]
    if len(found) == 1:
        return said
    if not others:
        return f"{said}, and no other comes near"
    named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return f"{said}; not told apart: {named}"


def smallest(sets: pd.DataFrame) -> pd.DataFrame:
    """Attacks that look for the smallest success: the distance that they found, the shortest first.

    Args:
        sets: The table of adversarial sets of one budget.
    """
    if "radius" not in sets:
        return sets.iloc[:0]
    found = sets[sets["radius"].notna()]
    return found.sort_values("radius", kind="stable", ignore_index=True)
