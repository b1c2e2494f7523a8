"""Who fools whom, as a table whose fields open the images behind them: by links alone, without a script."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from carom.errors import StoreError
from carom.scenarios.charts.names import short
from carom.scenarios.statistics import Outcomes, group_table
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_sets
from carom.scenarios.tables.table import INTERVAL, with_intervals

from .groups import headline
from .pictured import Pictured, pairs_of_images, turned

FIELDS = 60  # with images, over all matrices of a report
PAIRS = 12  # images of a field
BYTES = 11_000_000  # of images; with what else is there a report stays below 15 MB
SIDE = 120  # surrogates and victims, at most
WRITTEN = 24  # up to so many victims each field says its number
VIRIDIS = "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725"  # tenths, as its authors published it


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field with images.

    Attributes:
        name: Of its place on the page.
        heading: Whose attack on whom.
        said: Its rate in words.
        images: HTML.
    """

    name: str
    heading: str
    said: str
    images: str


def matrices(store: Store, run: str, outcomes: Outcomes) -> str:
    """A matrix for the largest eps of each norm, over all untargeted attacks that were made on surrogates.

    Args:
        store: Where the images are.
        run: Its id.
        outcomes: Of the run.

    Returns:
        HTML; "" where no surrogate attacked.
    """
    plain = outcomes.transfer & ~outcomes.targeted & (outcomes.cells["reads"] == "surrogate").to_numpy(dtype=bool)
    if not plain.any():
        return ""
    rates = group_table(outcomes.where(plain), by=("surrogate", "victim", "norm", "eps"))
    rates = with_intervals(rates[rates["n"] > 0])
    budgets = list(headline(rates)[["norm", "eps"]].drop_duplicates().itertuples(index=False, name=None))
    sets = list_sets(store, run)
    image_sets: dict[int, int] = dict(zip(sets["set_id"].tolist(), sets["image_set"].tolist(), strict=True))
    parts, left = [], BYTES
    for number, (norm, eps) in enumerate(budgets, start=1):
        here = plain & (outcomes.cells["norm"] == norm).to_numpy() & (outcomes.cells["eps"] == eps).to_numpy()
        table = _largest(rates[(rates["norm"] == norm) & (rates["eps"] == eps)])
        found: dict[tuple[str, str], Field] = {}
        for surrogate, victim in _telling(table, FIELDS // len(budgets)):
            field = _field(
                store, outcomes, here, image_sets, table, (surrogate, victim), f"field-{number}-{len(found)}"
            )
            if field is None or len(field.images) > left:
                continue
            left -= len(field.images)
            found[surrogate, victim] = field
        parts.append(_matrix(table, found, f"{norm} {eps}", number, run))
    return "\n".join(["<h2>Who fools whom</h2>", *parts])


def _largest(table: pd.DataFrame) -> pd.DataFrame:
    """At most `SIDE` surrogates and victims, those of the highest mean ASR."""
    for side in ("surrogate", "victim"):
        strength = table.groupby(side, sort=False)["asr"].mean().sort_values(ascending=False, kind="stable")
        table = table[table[side].isin(strength.index[:SIDE])]
    return table


def _telling(table: pd.DataFrame, most: int) -> list[tuple[str, str]]:
    """The fields that carry a finding: who fools each victim most, whom a surrogate fools most; the highest first."""
    ranked = table.sort_values("asr", ascending=False, kind="stable")
    top = pd.concat([ranked.drop_duplicates("victim"), ranked.drop_duplicates("surrogate")]).drop_duplicates(
        ["surrogate", "victim"]
    )
    top = top[top["k"] > 0].sort_values("asr", ascending=False, kind="stable")
    return [(str(s), str(v)) for s, v in top[["surrogate", "victim"]].head(most).itertuples(index=False, name=None)]


def _field(
    store: Store,
    outcomes: Outcomes,
    here: np.ndarray,
    image_sets: Mapping[int, int],
    table: pd.DataFrame,
    pair: tuple[str, str],
    name: str,
) -> Field | None:
    """The images that the strongest attack of a field turned; None where they are not in the store any more."""
    cells = outcomes.cells
    mine = here & (cells["surrogate"] == pair[0]).to_numpy() & (cells["victim"] == pair[1]).to_numpy()
    rows = np.flatnonzero(mine)
    cell = int(rows[outcomes.success[rows].sum(1).argmax()])
    made: dict[Any, Any] = cells.iloc[cell].to_dict()
    try:
        images: list[Pictured] = turned(store, outcomes, cell, image_sets[int(made["set_id"])], PAIRS)
    except StoreError:
        return None
    row = table[(table["surrogate"] == pair[0]) & (table["victim"] == pair[1])].iloc[0]
    count = int(outcomes.success[cell].sum())
    return Field(
        name=name,
        heading=f"{pair[0]} on {pair[1]}",
        said=f"{100 * row['asr']:.1f}% ({row[INTERVAL]}, n {int(row['n']):,}) over all attacks. Shown: {len(images)} "
        f"of the {count:,} images that {made['attack']} turns, the strongest of them here; clean, adversarial, and the "
        "victim's answers.",
        images=pairs_of_images(images),
    )


def _matrix(table: pd.DataFrame, found: Mapping[tuple[str, str], Field], budget: str, number: int, run: str) -> str:
    """One matrix, and behind it the panels that its fields open."""
    rows, columns = (list(dict.fromkeys(table[side])) for side in ("surrogate", "victim"))
    said = {side: short(names, 30) for side, names in (("surrogate", rows), ("victim", columns))}
    fields = {(s, v): (a, n) for s, v, a, n in table[["surrogate", "victim", "asr", "n"]].itertuples(index=False)}
    home = f"matrix-{number}"
    lines = []
    for s in rows:
        cells = []
        for v in columns:
            if (s, v) not in fields:
                cells.append("<td></td>")
                continue
            asr, n = fields[s, v]
            field = found.get((s, v))
            to = f"{home}-how" if field is None else field.name
            told = escape(f"{said['surrogate'][s]} on {said['victim'][v]}: {100 * asr:.1f}%, n {int(n):,}")
            frame = ' class="told"' if field is not None else ""
            cells.append(
                f'<td class="p{round(100 * asr)}"><a{frame} href="#{to}" title="{told}">{100 * asr:.0f}</a></td>'
            )
        lines.append(f'<tr><th scope="row">{escape(said["surrogate"][s])}</th>{"".join(cells)}</tr>')
    head = "".join(f'<th scope="col"><span>{escape(said["victim"][v])}</span></th>' for v in columns)
    small = " small" if len(columns) > WRITTEN else ""
    panels = "".join(_panel(field, home) for field in found.values())
    return (
        f'<section class="matrix{small}" id="{home}"><h3>{escape(budget)}</h3><div class="wide"><table>'
        f'<thead><tr><td class="corner">surrogate \\ victim</td>{head}</tr></thead><tbody>\n'
        + "\n".join(lines)
        + '</tbody></table></div><p class="note">ASR in percent over all untargeted attacks; a surrogate on itself '
        "(C0) is left out, and parts of names that all share. A field with a frame opens images: the surrogate that "
        f"fools a victim most, and the victim that a surrogate fools most; {len(found)} of {len(fields):,} fields."
        f"</p>{_how(run, home)}{panels}</section>"
    )


def _panel(field: Field, home: str) -> str:
    return (
        f'<aside class="field" id="{field.name}" tabindex="-1"><a class="close" href="#{home}">close</a>'
        f"<h4>{escape(field.heading)}</h4><p>{escape(field.said)}</p>{field.images}</aside>"
    )


def _how(run: str, home: str) -> str:
    """How a field without images is opened."""
    return (
        f'<aside class="field" id="{home}-how" tabindex="-1"><a class="close" href="#{home}">close</a>'
        "<h4>A field without images here</h4><p>The report holds the images of the fields with a frame. For any other, "
        f"open the run where its store is: <code>carom app</code>, run {escape(run)}, page Matrix, and choose the "
        "field. It shows classes, answers and all images.</p></aside>"
    )


def colours() -> str:
    """The style of each percent: viridis, and ink that is read on it."""
    anchors = [[int(colour[i : i + 2], 16) for i in (0, 2, 4)] for colour in VIRIDIS.split()]
    rules = []
    for percent in range(101):
        at = percent / 100 * (len(anchors) - 1)
        low = min(int(at), len(anchors) - 2)
        mixed = (round(a + (at - low) * (b - a)) for a, b in zip(anchors[low], anchors[low + 1], strict=True))
        ink = "#000" if percent > 55 else "#fff"
        rules.append(f".p{percent}{{background:#{''.join(f'{c:02x}' for c in mixed)};color:{ink}}}")
    return "\n".join(rules)
