"""Synthetic outcomes with a known truth."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from carom.scenarios.cases import case
from carom.scenarios.statistics import CELL, Outcomes

LADDER = {"sign-noise 1/2": 0.5, "sign-noise 3/4": 0.75, "sign-noise 1": 1.0}
Probability = Callable[[dict[str, Any]], float]


def synthetic(
    seed: int = 0,
    *,
    images: int = 24,
    classes: int = 3,
    surrogate_seeds: Sequence[int] = (0,),
    victim_seeds: Sequence[int] = (100,),
    sources: Sequence[str] = ("ink", "print"),
    balances: Sequence[str] = ("flat", "steep"),
    architectures: Sequence[str] = ("cnn", "vit"),
    attacks: Sequence[str] = ("fgsm", "mi"),
    eps: Sequence[str] = ("0/1", "8/255"),
    itself: bool = True,
    noise: bool = True,
    drop: float = 0.0,
    probability: Probability | None = None,
) -> Outcomes:
    """A grid of surrogates x victims x attacks x eps on the same images, half of them from each source.

    Args:
        seed: Of everything random.
        images: How many.
        classes: How many.
        surrogate_seeds: Of the surrogates.
        victim_seeds: Of the victims.
        sources: Levels of that axis, and the image sources.
        balances: Levels of that axis.
        architectures: Levels of that axis.
        attacks: Names.
        eps: Budgets; at 0 the predictions are the clean ones.
        itself: Also judge every surrogate on its own model, C0.
        noise: Also the ladder of surrogate-free sign noise.
        drop: Share of the cells to leave out at random.
        probability: P(wrong on adversarial) of a cell, from its columns; random by default.
    """
    rng = np.random.default_rng(seed)
    configs = [*itertools.product(sources, balances, architectures)]

    def models(seeds: Sequence[int]) -> list[tuple[str, tuple[str, ...], int]]:
        return [("/".join((*c, f"s{s}")), c, s) for c in configs for s in seeds]

    surrogates, victims = models(surrogate_seeds), models(victim_seeds)
    judged = [*victims, *(s for s in surrogates if itself and s not in victims)]
    place = {label: i for i, (label, _, _) in enumerate(judged)}
    rows: list[dict[str, Any]] = []

    def add(s: tuple[str, tuple[str, ...], int], v: tuple[str, tuple[str, ...], int], attack: str, e: str) -> None:
        free = not s[0]
        same = [a == b for a, b in zip(s[1], v[1], strict=True)]
        row: dict[str, Any] = {
            "surrogate": s[0],
            "victim": v[0],
            "attack": attack,
            "norm": "linf",
            "eps": e,
            "attack_seed": 0,
            "victim_index": place[v[0]],
            "case": -1 if free else case(s[0] == v[0], *same),
            "control": free,
            "surrogate_config": "/".join(s[1]),
            "victim_config": "/".join(v[1]),
            "surrogate_seed": s[2],
            "victim_seed": v[2],
        }
        for side, config in (("s", s[1]), ("v", v[1])):
            source, balance, architecture = config
            row |= {f"source_{side}": source, f"balance_{side}": balance, f"architecture_{side}": architecture}
            row |= {f"samples_{side}": "" if free and side == "s" else "all"}
            row |= {f"recipe_{side}": "" if free and side == "s" else "standard"}
        rows.append(row)

    for attack, e in itertools.product(attacks, eps):
        for s in surrogates:
            for v in victims:
                if s[0] != v[0] or itself:
                    add(s, v, attack, e)
            if itself and s not in victims:
                add(s, s, attack, e)
    if noise:
        for name, e, v in itertools.product(LADDER, eps, judged):
            add(("", ("", "", ""), -1), v, name, e)

    cells = pd.DataFrame(rows)
    cells = cells[rng.random(len(cells)) >= drop].reset_index(drop=True)
    labels = rng.integers(classes, size=images)
    clean = np.where(rng.random((len(judged), images)) < 0.85, labels, (labels + 1) % classes)
    clean[rng.random(clean.shape) < 0.02] = -1
    wrong = np.empty((len(cells), images), dtype=bool)
    for i, row in enumerate(cells.to_dict("records")):
        p = rng.random() if probability is None else probability({str(k): v for k, v in row.items()})
        wrong[i] = rng.random(images) < p
    other = (labels + rng.integers(1, classes, size=wrong.shape)) % classes
    adversarial = np.where(wrong, np.where(rng.random(wrong.shape) < 0.05, -1, other), labels)
    index = cells["victim_index"].to_numpy()
    still = cells["eps"].isin(["0", "0/1"]).to_numpy()
    adversarial[still] = clean[index[still]]
    keys = cells[[c for c in CELL if c != "victim"]].drop_duplicates().reset_index(drop=True)
    return Outcomes(
        cells=cells,
        adversarial=adversarial.astype(np.int16),
        clean_predictions=clean.astype(np.int16),
        labels=labels,
        image_source=np.arange(images) % len(sources),
        image_sources=tuple(sources),
        classes=tuple(f"class {c}" for c in range(classes)),
        sets=keys.assign(
            zero_gradient_fraction=0.01,
            mean_size_over_eps=keys["attack"].map(LADDER).fillna(1.0),
            mean_l2=keys["attack"].map(LADDER).fillna(0.7),
        ),
    )


@pytest.fixture
def make_outcomes() -> Callable[..., Outcomes]:
    """`synthetic`."""
    return synthetic
