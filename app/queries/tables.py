"""Tables as pages show them: numbers that sort, what all rows share, controls that did not pass."""

from collections.abc import Sequence

import pandas as pd

from carom.scenarios.tables.table import Table

SAID_ONCE = ("norm", "eps", "targeted")


def displayed(shown: Table) -> tuple[pd.DataFrame, list[str]]:
    """What a sortable table shows: the numbers of the shown columns, and words.

    Returns:
        The table, with rates from 0 to 1 and differences in points; and what all rows share, such as "norm linf", which
        is said once below it instead of in a column.
    """
    frame = pd.DataFrame(index=range(len(shown.frame)))
    shared: list[str] = []
    for column, form in shown.forms.items():
        if column not in shown.frame:
            continue
        values = shown.frame[column].reset_index(drop=True)
        words = values.map(_words) if form == "text" else pd.to_numeric(values)
        if form == "points":
            words = 100 * words
        if column in SAID_ONCE and len(words) > 1 and words.nunique() == 1:
            shared.append(f"{column} {words.iloc[0]}")
        else:
            frame[column] = words
    if "ranges_over" in shown.frame and shown.frame["ranges_over"].nunique() > 1:
        frame["interval ranges over"] = list(shown.frame["ranges_over"])
    return frame, shared


def _words(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def troubles(tables: Sequence[Table]) -> pd.DataFrame:
    """The controls that failed, then those that warned."""
    for table in tables:
        if table.name == "controls":
            bad = table.frame[table.frame["status"].isin(["failed", "warned"])]
            return bad.sort_values("status", kind="stable").reset_index(drop=True)
    return pd.DataFrame(columns=["control", "status", "expected", "came"])
