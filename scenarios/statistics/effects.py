"""Marginal effects: how much of the ASR a mismatch in one condition costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg

from carom.scenarios.axes import CONDITIONS

from .components import SIDES, Regression, image_noise, over_images, over_models
from .intervals import IMAGES, LEVEL, VarianceComponents, holm
from .lift import full_noise_asr
from .outcomes import Bools, Floats, Ints, Outcomes, ratio

WITHIN = ("attack", "norm", "eps")
MARGIN = 0.02
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """Mismatch minus match on one axis, as a weighting of cells: effect = sum(coefficients * values).

    Attributes:
        coefficients: Of every cell; 0 for cells that take no part. They add up to 0, over matches to -1.
        match: Cells that match and take part.
        mismatch: Cells that differ and take part.
        regressions: What the coefficients come from.
        confounded: The mismatch could not be told from the levels of the surrogates or of the victims.
    """

    coefficients: Floats
    match: Bools
    mismatch: Bools
    regressions: tuple[Regression, ...]
    confounded: bool

    def effect(self, values: Floats) -> float:
        """The contrast of one value a cell."""
        used = self.match | self.mismatch
        return float(self.coefficients[used] @ values[used])


def axes_of(cells: pd.DataFrame) -> list[str]:
    """Axes that the columns `<axis>_s` and `<axis>_v` describe: source, balance, architecture, then the others."""
    found = [c.removesuffix("_s") for c in cells.columns if c.endswith("_s") and f"{c.removesuffix('_s')}_v" in cells]
    return [*(a for a in CONDITIONS if a in found), *(a for a in found if a not in CONDITIONS)]


def match_flags(cells: pd.DataFrame) -> pd.DataFrame:
    """For each cell and axis "same", "differs", or "" where a level is unknown.

    Samples of two different sources cannot match, so that axis is "" there.
    """
    flags = {}
    for axis in axes_of(cells):
        s, v = (cells[f"{axis}_{of}"].fillna("").to_numpy(dtype=object).astype(str) for of in "sv")
        flags[axis] = np.where((s == "") | (v == ""), "", np.where(s == v, "same", "differs"))
    frame = pd.DataFrame(flags, index=cells.index)
    if "samples" in frame and "source" in frame:
        frame["samples"] = frame["samples"].where(frame["source"] == "same", "")
    return frame


def contrast(cells: pd.DataFrame, axis: str, within: Sequence[str] = WITHIN) -> Contrast | None:
    """The effect of a mismatch on one axis by two-way fixed effects: None where nothing tells it.

    In each context (the values of `within`) least squares on: one constant a surrogate, one a victim, one a stratum
    (the match flags of all other axes), and the mismatch, whose coefficient counts. Contexts weigh as many cells as
    they hold. On a balanced grid this is the plain difference of marginal means; on any other, what surrogates and
    victims are like as such drops out. Strata with one side only, and contexts that do not tell the effect, take no
    part.

    Where no context tells the mismatch from the victims' own constants, as with surrogates of one level, those (else
    the surrogates', else both) are left out: then like is compared with like by strata alone, and the contrast is
    `confounded`.

    Args:
        cells: One row a cell, with the columns `surrogate`, `victim`, `<axis>_s`, `<axis>_v` and those of `within`.
        axis: Which condition.
        within: Columns whose values are never compared across.
    """
    flags = match_flags(cells)
    flags = flags[[other for other in flags if other == axis or flags[other].nunique() > 1]]
    flag = flags.pop(axis).to_numpy()
    if axis == "source":  # whose samples is no question across sources, so it cannot be held fixed
        flags = flags.drop(columns="samples", errors="ignore")
    sides = tuple(np.asarray(pd.factorize(cells[side])[0], dtype=np.int64) for side in SIDES)
    pair = sides[0] * (sides[1].max(initial=0) + 1) + sides[1]
    again = cells.groupby([*within, *SIDES], sort=False, dropna=False).cumcount().to_numpy()  # of other attack seeds
    context = _numbered(cells[list(within)].assign(again=again))
    kind = _numbered(flags)
    stratum = _numbered(pd.DataFrame({"context": context, "kind": kind}))
    match, mismatch = np.asarray(flag == "same"), np.asarray(flag == "differs")
    sizes = np.stack([np.bincount(stratum[side], minlength=len(cells)) for side in (match, mismatch)])
    used = (match | mismatch) & (sizes.min(0) > 0)[stratum]
    alike: dict[bytes, list[Ints]] = {}
    for rows in _members(context, used):
        rows = rows[np.argsort(pair[rows], kind="stable")]
        alike.setdefault(np.stack([pair[rows], kind[rows], mismatch[rows]]).tobytes(), []).append(rows)
    for held in (SIDES, SIDES[:1], SIDES[1:], ()):
        found = []
        for contexts in alike.values():
            place = np.stack(contexts)
            constants = [*(sides[SIDES.index(side)][place[0]] for side in held), kind[place[0]]]
            told = _regressed(mismatch[place[0]], constants)
            if told is not None:
                found.append((place, mismatch[place[0]] - 0.5, *told))
        if found:
            break
    else:
        return None
    total = sum(place.size for place, *_ in found)
    regressions = tuple(
        Regression(cells=place, weights=weights * place.size / total, moved=moved, basis=basis)
        for place, moved, weights, basis in found
    )
    coefficients, part = np.zeros(len(cells)), np.zeros(len(cells), dtype=bool)
    for one in regressions:
        coefficients[one.cells] = one.weights / len(one.cells)
        part[one.cells] = True
    return Contrast(
        coefficients=coefficients,
        match=match & part,
        mismatch=mismatch & part,
        regressions=regressions,
        confounded=held != SIDES,
    )


def _numbered(frame: pd.DataFrame) -> Ints:
    """A number for each combination of values."""
    if not frame.shape[1]:
        return np.zeros(len(frame), dtype=np.int64)
    return np.asarray(frame.groupby(list(frame.columns), sort=False, dropna=False).ngroup(), dtype=np.int64)


def _members(group: Ints, chosen: Bools) -> Iterator[Ints]:
    """Rows of each group among the chosen ones."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(group[rows], kind="stable")]
    yield from (part for part in np.split(rows, np.flatnonzero(np.diff(group[rows])) + 1) if len(part))


def _regressed(mismatch: Bools, constants: Sequence[Ints]) -> tuple[Floats, Floats] | None:
    """Weights whose sum over the values is the coefficient of the mismatch, and the basis of all columns."""
    dummies = np.concatenate([_indicator(np.unique(c, return_inverse=True)[1]).T for c in constants], axis=1)
    q, r, _ = linalg.qr(dummies, mode="economic", pivoting=True)
    size = np.abs(np.diag(r))
    basis = q[:, size > _ROUNDING * size[0]]
    own = mismatch - basis @ (basis.T @ mismatch)
    square = float(own @ own)
    if square < _ROUNDING * len(own):
        return None
    return own / square, np.column_stack([basis, own / np.sqrt(square)])


def _indicator(codes: Ints) -> Floats:
    """1 where a column has the code of a row, `codes columns`."""
    return np.asarray(np.arange(codes.max(initial=-1) + 1)[:, None] == codes, dtype=np.float64)


def marginal_effects(
    outcomes: Outcomes, by: Sequence[str] = (), *, within: Sequence[str] = WITHIN, margin: float = MARGIN
) -> pd.DataFrame:
    """Effect on the ASR of a mismatch in each axis that varies: negative if it protects. C0 and controls are out.

    One row an axis within each value of `by`; all rows are one family of tests. Columns:

    - `effect`, `low`, `high` (95%), `ranges_over`: of `contrast` over the ASR of the cells; 0.01 is one point.
    - `p`, `p_holm`: of no effect; `p_equivalence`, `equivalent`: two one-sided tests of |effect| < margin, after Holm.
    - `match_cells`, `mismatch_cells`, `left_out`: cells in strata with both sides, and transfer cells that are not.
    - `match_asr`: mean over the matching cells; `mismatch_asr`: that plus the effect, which on a balanced grid is the
      mean over the mismatching cells.
    - `placebo`: the same contrast of sign noise of full size on the same victims. No surrogate made it, so anything
      but 0 is the composition of the victims: 0 unless `confounded`. NaN if a cell has no such control.
    - `confounded`: see `contrast`. The effect then also holds what tells levels apart as surrogates or as victims.
    - `power`: the probability of `equivalent` if there is no effect at all, at the strictest step of Holm, taking the
      variance that was found for the true one.
    - `effect:<source>`: on the images of one source.

    The interval has up to four parts (`VarianceComponents`): images, clustered by image within their source; and what
    the mismatch costs from one surrogate to another, from one victim to another, and from pair to pair (`over_models`).
    Main effects of models drop out of the estimate, and so out of its variance.
    """
    by = tuple(by)
    usable = outcomes.transfer & outcomes.pooled(by) & (outcomes.n > 0)
    if "reads" in outcomes.cells:  # a victim that was asked has told what it gets wrong, whatever the surrogate is
        usable &= (outcomes.cells["reads"] == "surrogate").to_numpy(dtype=bool)
    control = full_noise_asr(outcomes)
    per_source = {}
    for place, source in enumerate(outcomes.image_sources):
        images = outcomes.image_source == place
        n = outcomes.right[:, images].sum(1)[outcomes.victim_index]
        per_source[source] = ratio(outcomes.success[:, images].sum(1), n)
    rows: list[dict[str, object]] = []
    chosen = outcomes.cells[usable]
    groups = chosen.groupby(list(by), sort=False, dropna=False).indices if by else {(): np.arange(len(chosen))}
    where = np.flatnonzero(usable)
    for key, members in groups.items():
        index = where[members]
        cells = outcomes.cells.iloc[index]
        names = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        flags = match_flags(cells)
        for axis in axes_of(cells):
            found = contrast(cells, axis, within) if {"same", "differs"} <= set(flags[axis]) else None
            if found is None:
                continue
            asr = outcomes.asr[index]
            effect = found.effect(asr)
            spread, ranges_over = _spread(outcomes, index, found, asr)
            half = spread.half_width(LEVEL)
            match_asr = float(asr[found.match].mean())
            rows.append(
                {
                    **names,
                    "axis": axis,
                    "effect": effect,
                    "low": max(effect - half, -1.0),
                    "high": min(effect + half, 1.0),
                    "ranges_over": ranges_over,
                    "p": spread.p_value(effect),
                    "p_equivalence": spread.equivalence_p(effect, margin),
                    "match_cells": int(found.match.sum()),
                    "mismatch_cells": int(found.mismatch.sum()),
                    "left_out": int((~(found.match | found.mismatch)).sum()),
                    "match_asr": match_asr,
                    "mismatch_asr": match_asr + effect,
                    "placebo": found.effect(control[index]),
                    "confounded": found.confounded,
                    "power": spread,
                    **{f"effect:{s}": found.effect(values[index]) for s, values in per_source.items()},
                }
            )
    frame = pd.DataFrame(rows)
    if len(frame):
        place = list(frame.columns).index("p") + 1
        frame.insert(place, "p_holm", holm(frame["p"].to_numpy(dtype=np.float64)))
        equivalent = holm(frame["p_equivalence"].to_numpy(dtype=np.float64)) < 1 - LEVEL
        frame.insert(place + 2, "equivalent", equivalent)
        frame["power"] = [s.equivalence_power(margin, (1 - LEVEL) / len(frame)) for s in frame["power"]]
    return frame


def _spread(outcomes: Outcomes, index: Ints, found: Contrast, asr: Floats) -> tuple[VarianceComponents, str]:
    """Variance of a contrast over images and over trained models, and what that ranges over."""
    over, least = over_models(outcomes.cells.iloc[index], found.regressions, asr, image_noise(outcomes, index, asr))
    image = over_images(outcomes, index, found.coefficients, asr)
    varied = [name for name in over if name != "pair"]
    if varied in (["model"], [*SIDES]):
        words = "images and trained models"
    elif varied:
        words = f"images and trained {varied[0]}s"
    else:
        words = "images and pairs of models" if over else IMAGES
    return VarianceComponents(parts=(image, *over.values()), least=least), words
