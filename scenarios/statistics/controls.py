"""Controls: what must come out of any sound run, whatever the models and attacks are."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special

from carom.scenarios.cases import case_of

from .class_order import misfit
from .effects import match_flags
from .intervals import LEVEL, draw_variance, normal_reach, resampled_ratios
from .outcomes import CELL, Bools, Ints, Outcomes, eps_value, ratio

Status = Literal["passed", "warned", "failed", "not run"]
WHITE_BOX = 0.9
ZERO_GRADIENTS = 0.1
ROUNDING = 1e-6  # of a mean of floats, relative
PIXEL = 2**-23  # by how much the difference of two float32 pixels may be off: sizes were once means of such
MISFITS = 3  # models whose answers do not fit the labels that are named
_PART = 1e-6  # of an image, that a share times the images may lack of a whole number


@dataclass(frozen=True, kw_only=True)
class ControlCheck:
    """One control.

    Attributes:
        name: Short.
        expected: What a sound run gives.
        came: What this run gave, or why the check could not run.
        status: "failed" where the run cannot be right, "warned" where a person should look.
        numbers: What `came` rests on.
    """

    name: str
    expected: str
    came: str
    status: Status
    numbers: Mapping[str, int | float] = field(default_factory=dict)


def controls(
    outcomes: Outcomes,
    *,
    headline_eps: str | None = None,
    white_box_at_least: float = WHITE_BOX,
) -> list[ControlCheck]:
    """Every control, in a fixed order.

    Args:
        outcomes: The run.
        headline_eps: The eps at which a white box must succeed; by default the largest of each norm.
        white_box_at_least: The ASR that the strongest attack must reach on the surrogate's own model.
    """
    return [
        no_budget_no_effect(outcomes),
        white_box_succeeds(outcomes, headline_eps=headline_eps, at_least=white_box_at_least),
        *(surrogate_free_is_flat(outcomes, axis) for axis in ("balance", "architecture")),
        grows_with_eps(outcomes),
        gradients_are_there(outcomes.sets, len(outcomes.labels)),
        stays_in_the_ball(outcomes.sets),
        labels_fit(outcomes),
    ]


def no_budget_no_effect(outcomes: Outcomes) -> ControlCheck:
    """At eps = 0 the images are the clean ones, so what the victim gets right stays right: ASR is 0 exactly."""
    check = _check("eps = 0", "ASR 0 exactly")
    zero = (outcomes.cells["eps"].map(eps_value) == 0).to_numpy(dtype=bool) & ~outcomes.targeted
    if not zero.any():
        return check("no cell at eps 0", "not run")
    k, n = int(outcomes.success[zero].sum()), int(outcomes.n[zero].sum())
    numbers = {"cells": int(zero.sum()), "n": n, "k": k}
    return check(f"{k} of {n} clean answers changed, {zero.sum()} cells", "failed" if k else "passed", numbers)


def white_box_succeeds(
    outcomes: Outcomes,
    *,
    headline_eps: str | None = None,
    at_least: float = WHITE_BOX,
) -> ControlCheck:
    """On each undefended model itself the strongest attack must nearly always succeed, or attack and model do not fit.

    The strongest attack of each model and norm is judged, since single-step and regularised attacks have no duty to
    succeed and an iterative one is then among the rest. Attacks that only ask have no such duty either. Warns: a
    small eps may be the reason.
    """
    check = _check("white box", f"strongest attack reaches ASR {at_least:g} on every undefended model itself")
    chosen = (outcomes.cells["case"] == 0).to_numpy(dtype=bool) & ~outcomes.targeted & (outcomes.n > 0)
    chosen &= ~_without_gradients(outcomes)
    if "defense_v" in outcomes.cells:
        chosen &= outcomes.cells["defense_v"].isin(["", "none"]).to_numpy(dtype=bool)
    eps = outcomes.cells["eps"].map(eps_value)
    if headline_eps is not None:
        chosen &= (eps == eps_value(headline_eps)).to_numpy(dtype=bool)
    cells = outcomes.cells[chosen].assign(asr=outcomes.asr[chosen], size=eps[chosen])
    cells = cells[cells["size"] == cells.groupby("norm")["size"].transform("max")]
    cells = cells[cells["size"] > 0]
    if cells.empty:
        return check("no C0 cell at the headline eps", "not run")
    best = cells.groupby(["victim", "norm"], sort=False)["asr"].max()
    victim, norm = best.index[int(best.to_numpy().argmin())]
    low = int((best < at_least).sum())
    came = f"lowest {best.min():.3f} ({victim}, {norm}); {low} of {len(best)} below"
    numbers = {"lowest": float(best.min()), "below": low, "models": len(best)}
    return check(came, "warned" if low else "passed", numbers)


def _without_gradients(outcomes: Outcomes) -> Bools:
    """Cells of sets that were made by asking alone."""
    sets = outcomes.sets
    if sets is None or "backward" not in sets:
        return np.zeros(len(outcomes.cells), dtype=bool)
    keys = ["surrogate", "attack", "norm", "eps", "attack_seed"]
    backward = outcomes.cells[keys].merge(sets.drop_duplicates(keys)[[*keys, "backward"]], on=keys, how="left")[
        "backward"
    ]
    return (backward == 0).to_numpy(dtype=bool)


def surrogate_free_is_flat(outcomes: Outcomes, axis: str) -> ControlCheck:
    """No surrogate made a control, so within a victim it cannot tell a matching surrogate from another.

    Each control is laid beside every surrogate that met the victim (or the one it names), and the contrast of the axis
    is taken within each victim, control, eps and seed. Anything but 0 means that rates which should be one differ:
    images, denominators or predictions got mixed up.
    """
    check = _check(f"controls, {axis}", "contrast 0 exactly within every victim")
    cells = outcomes.cells
    sides = [f"{axis}_s", f"{axis}_v"]
    columns = ["victim", "attack", "norm", "eps", "attack_seed"]
    mine = cells.loc[outcomes.control, ["surrogate", *columns, *sides]].assign(asr=outcomes.asr[outcomes.control])
    met = cells.loc[outcomes.transfer, ["surrogate", "victim", *sides]].drop_duplicates(["surrogate", "victim"])
    expanded = [
        mine[mine["surrogate"] != ""],
        mine.loc[mine["surrogate"] == "", [*columns, "asr"]].merge(met, on="victim"),
    ]
    laid = pd.concat([frame for frame in expanded if len(frame)] or expanded[:1], ignore_index=True)
    laid = laid[laid["asr"].notna()]
    laid = laid.assign(flag=match_flags(laid)[axis] if len(laid) else "")
    # Centred on the first rate of its group, equal rates are exact zeros, and so is their contrast.
    group = laid.groupby(columns, sort=False)["asr"]
    laid = laid.assign(asr=laid["asr"] - group.transform("first"))
    means = laid[laid["flag"] != ""].groupby([*columns, "flag"], sort=False)["asr"].mean().unstack("flag")
    if not {"same", "differs"} <= set(means.columns):
        return check("no control meets matching and differing surrogates", "not run")
    contrasts = (means["differs"] - means["same"]).dropna()
    if contrasts.empty:
        return check("no victim meets both matching and differing surrogates", "not run")
    worst = float(contrasts.abs().max())
    off = int((contrasts != 0).sum())
    numbers = {"largest": worst, "contrasts": len(contrasts), "not zero": off}
    came = f"{off} of {len(contrasts)} contrasts are not 0, the largest {worst:.4f}"
    return check(came, "failed" if off else "passed", numbers)


def grows_with_eps(outcomes: Outcomes) -> ControlCheck:
    """More budget should not lower the ASR: a fall beyond its paired interval means an attack that lost its way.

    Within each attack, norm and case, neighbouring eps are compared on the cells that have both, images drawn with all
    of their cells. The interval is at the level 1 - 0.05 / steps, one-sided, since a fall anywhere is looked for.
    """
    check = _check("ASR over eps", "no fall beyond its paired interval")
    steps = _eps_steps(outcomes)
    if not steps:
        return check("no attack has two eps", "not run")
    gain, n = (np.stack([step[part] for step in steps]).astype(np.float64) for part in (1, 2))
    draws = resampled_ratios(gain, n, outcomes.image_source)
    change = np.nan_to_num(ratio(gain.sum(1), n.sum(1)))
    reach = normal_reach(1 - 2 * (1 - LEVEL) / len(steps)) * np.sqrt(draw_variance(draws))
    falls = [(float(change[i]), steps[int(i)][0]) for i in np.flatnonzero((change < 0) & (change + reach < 0))]
    lowest = float(change.min())
    numbers = {"steps": len(steps), "falls": len(falls), "lowest change": lowest}
    if not falls:
        return check(f"lowest change {lowest:+.4f} over {len(steps)} steps", "passed", numbers)
    fall, name = min(falls)
    return check(f"{len(falls)} of {len(steps)} steps fall, most {name}: {fall:+.4f}", "warned", numbers)


def gradients_are_there(sets: pd.DataFrame | None, images: int) -> ControlCheck:
    """A gradient of exactly 0 gives an attack nothing to follow: masked or saturated, the victim only looks robust.

    A share of the images attacked may be larger than that of all images by chance. So a set warns only if the exact
    binomial test finds more, at 5% over all sets. Gradients of one image are taken to be zero together, parts of an
    image rounded down.
    """
    check = _check("zero gradients", f"at most {ZERO_GRADIENTS:.0%} of the gradients of any set are exactly 0")
    if sets is None or "zero_gradient_fraction" not in sets or sets["zero_gradient_fraction"].isna().all():
        return check("not recorded", "not run")
    worst = sets.sort_values("zero_gradient_fraction", ascending=False, na_position="last").iloc[0]
    value = float(worst["zero_gradient_fraction"])
    came = f"highest {value:.3f} ({worst['attack']} on {worst['surrogate']}, eps {worst['eps']})"
    p = float(special.bdtrc(math.floor(value * images + _PART) - 1, images, ZERO_GRADIENTS))
    surely = value > ZERO_GRADIENTS and p <= (1 - LEVEL) / int(sets["zero_gradient_fraction"].notna().sum())
    return check(came, "warned" if surely else "passed", {"highest": value, "images": images})


def stays_in_the_ball(sets: pd.DataFrame | None) -> ControlCheck:
    """Mean size over eps is at most 1; far below it, an attack leaves budget unused, which is shown, not judged.

    Sizes are counted in whole grey levels. Those that earlier versions recorded are means of differences of float32
    pixels, which may be off by 2^-23 of the range of a pixel, so a set may be above eps by that much.
    """
    check = _check("size / eps", "mean size of every set at most eps")
    if sets is None or "mean_size_over_eps" not in sets or sets["mean_size_over_eps"].isna().all():
        return check("not recorded", "not run")
    recorded = sets[sets["mean_size_over_eps"].notna()]
    sizes = recorded["mean_size_over_eps"].astype(float)
    low, high = float(sizes.min()), float(sizes.max())
    slack = ROUNDING + recorded["eps"].map(lambda eps: PIXEL / (eps_value(eps) or 1))
    status: Status = "failed" if (sizes > 1 + slack).any() else "passed"
    return check(f"{low:.3f} to {high:.3f}", status, {"lowest": low, "highest": high})


def labels_fit(outcomes: Outcomes) -> ControlCheck:
    """A victim that is right no more often than guessing, or would be in another order of its classes, was misread.

    Every model that answered clean images is looked at, victims and the surrogates' own; see `misfit`.
    """
    check = _check("labels", "clean answers above guessing, and in no other order of the classes far better")
    names = dict(zip(outcomes.victim_index.tolist(), outcomes.cells["victim"], strict=True))
    found = {
        name: wrong
        for row, name in sorted(names.items())
        if (wrong := misfit(outcomes.clean_predictions[row], outcomes.labels, len(outcomes.classes))) is not None
    }
    numbers = {"models": len(names), "misfits": len(found)}
    if not found:
        return check(f"{len(names)} models fit", "passed", numbers)
    told = [f"{name} {wrong.words(outcomes.classes)}" for name, wrong in found.items()]
    more = f"; and {len(told) - MISFITS} more models" if len(told) > MISFITS else ""
    return check("; ".join(told[:MISFITS]) + more, "warned", numbers)


def _check(name: str, expected: str) -> Callable[..., ControlCheck]:
    def made(came: str, status: Status, numbers: Mapping[str, int | float] | None = None) -> ControlCheck:
        return ControlCheck(name=name, expected=expected, came=came, status=status, numbers=dict(numbers or {}))

    return made


def _eps_steps(outcomes: Outcomes) -> Sequence[tuple[str, Ints, Ints]]:
    """Neighbouring eps of each attack, norm and case: name, gained successes and n of each image."""
    cells = outcomes.cells.assign(_row=np.arange(len(outcomes.cells)))[~outcomes.control]
    if cells.empty:
        return []
    following: dict[tuple[object, ...], str] = {}
    for (attack, norm), group in cells.groupby(["attack", "norm"], sort=False):
        for small, large in itertools.pairwise(sorted(group["eps"].unique(), key=eps_value)):
            following[attack, norm, small] = large
    names = zip(cells["attack"], cells["norm"], cells["eps"], strict=True)
    lower = cells.assign(_next=[following.get(name, "") for name in names])
    upper = cells[[*CELL, "_row"]].rename(columns={"eps": "_next", "_row": "_upper"})
    pairs = lower.merge(upper, on=["_next", *(c for c in CELL if c != "eps")])
    steps = []
    step = ["attack", "norm", "case", "eps", "_next"]
    for (attack, norm, _, small, large), pair in pairs.groupby(step, sort=False):
        i, j = pair["_row"].to_numpy(), pair["_upper"].to_numpy()
        gain = outcomes.success[j].sum(0, dtype=np.int64) - outcomes.success[i].sum(0, dtype=np.int64)
        n = outcomes.right[outcomes.victim_index[i]].sum(0, dtype=np.int64)
        steps.append((f"{attack} ({norm}, {case_of(int(pair['case'].iloc[0])).name}) from {small} to {large}", gain, n))
    return steps
