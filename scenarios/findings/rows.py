"""Which rows of the tables a sentence is about: one budget, and one level of all that rows must not mix."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from carom.scenarios.statistics.outcomes import eps_value
from carom.scenarios.tables.table import INTERVAL, Table, records

NAMES = ("case", "mismatch", "norm", "eps", "targeted", "reads", "attack", "surrogate", "victim", INTERVAL)
NONE = ("", "none")  # no defence


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What sentences are about.

    Attributes:
        norm: Of the budget.
        eps: Of the budget.
        targeted: Whether attacks aim at a class.
        levels: Of the further axes that rows must not mix, such as `recipe_s`; empty where there are none.
    """

    norm: str
    eps: str
    targeted: bool
    levels: Mapping[str, str]

    @property
    def budget(self) -> str:
        return f"{self.norm} {self.eps}"

    def at(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows at the budget."""
        rows = frame[(frame["norm"] == self.norm) & (frame["eps"] == self.eps)]
        return rows[rows["targeted"].astype(bool) == self.targeted] if "targeted" in rows else rows

    def within(self, frame: pd.DataFrame, sides: str = "sv") -> pd.DataFrame:
        """The rows at the budget, of sets that were made on surrogates alone, and at the levels of these sides.

        Args:
            frame: Rows of a table.
            sides: "s" for the surrogate's levels, "v" for the victim's, or both.
        """
        rows = self.at(frame)
        if "reads" in rows:
            rows = rows[rows["reads"] == "surrogate"]
        for axis, level in self.levels.items():
            if axis in rows and axis[-1] in sides:
                rows = rows[rows[axis] == level]
        return rows

    def said(self) -> str:
        """The levels in words, behind a comma; "" where there are none."""
        told = []
        for axis in dict.fromkeys(column[:-2] for column in self.levels):
            s, v = (self.levels.get(f"{axis}_{side}", "") for side in "sv")
            word = "defence" if axis == "defense" else axis
            if s in NONE and v in NONE:
                told.append(f"without {word}s")
            elif s == v or not (s and v):
                told.append(f"{word} {s or v}")
            else:
                told.append(f"{word} {s} against {v}")
        return f", {', '.join(told)}," if told else ""


def scope_of(cases: Table, budget: str | None = None) -> Scope | None:
    """What the sentences of a run are about; None where no surrogate met a victim.

    Args:
        cases: The table of cases.
        budget: As in the column `budget` of cells, such as "linf 8/255 targeted"; None for the largest radius of the
            first norm. Of the further levels undefended models come first, then what has most cells.
    """
    frame = cases.frame
    met = frame[(frame["case_number"] >= 0) & frame["asr"].notna()]
    if "reads" in met and (met["reads"] == "surrogate").any():
        met = met[met["reads"] == "surrogate"]
    if (met["case_number"] != 0).any():
        met = met[met["case_number"] != 0]
    if met.empty:
        return None
    aimed = met["targeted"].astype(bool) if "targeted" in met else pd.Series(False, index=met.index)
    if budget is None:
        usual = met[~aimed] if (~aimed).any() else met
        norm = str(usual["norm"].iloc[0])
        eps = max((str(e) for e in usual.loc[usual["norm"] == norm, "eps"]), key=eps_value)
        targeted = bool(aimed.all())
    else:
        norm, eps, *more = budget.split(" ")
        targeted = bool(more)
    here = met[(met["norm"] == norm) & (met["eps"] == eps)]
    if "targeted" in met:
        here = here[here["targeted"].astype(bool) == targeted]
    axes = [c for c in cases.forms if c in frame and cases.is_text(c) and c not in NAMES]
    if here.empty:
        return None
    if not axes:
        return Scope(norm=norm, eps=eps, targeted=targeted, levels={})
    groups = here.groupby(axes, sort=False, dropna=False)["cells"].sum().reset_index()
    plain = sum((~groups[c].isin(NONE)).astype(int) for c in axes if c.startswith("defense")) + pd.Series(
        0, index=groups.index
    )
    first = groups.assign(_plain=plain).sort_values(["_plain", "cells"], ascending=[True, False], kind="stable")
    levels = {c: str(first[c].iloc[0]) for c in axes}
    return Scope(norm=norm, eps=eps, targeted=targeted, levels=levels)


def row_of(frame: pd.DataFrame, place: int = 0) -> dict[str, Any]:
    """One row, from the top, or from the end where the place is below 0."""
    return records(frame.iloc[[place]])[0]
