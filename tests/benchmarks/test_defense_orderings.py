"""Every expectation of defences has its row, and each number is what plain loops count."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import defense_orderings
import marked
import numpy as np
import pandas as pd
import pytest
from defense_orderings import ABLATIONS, EXPECTED, PAGE, RUN, Expected, Found, MissingError, Rate, break_even, rows

from carom.errors import InputError
from carom.scenarios.statistics import Difference, Outcomes
from carom.scenarios.store.database import Store

SOURCES: Mapping[str, Mapping[str, str]] = {
    "here/s1": {"surrogate_config": "here", "pool": ""},
    "lgv:here/s1": {"surrogate_config": "lgv:here", "pool": ""},
    "p/s11": {"surrogate_config": "p", "pool": "seen"},
    "p/s12": {"surrogate_config": "p", "pool": "held out"},
    "p/s13": {"surrogate_config": "p", "pool": "unseen group"},
}
NAMES = sorted({side.defense for one in EXPECTED for side in (one.first, one.second)})


def made(draw: int, names: Iterable[str] = NAMES, seeds: Iterable[int] = (101,), *, images: int = 40) -> Outcomes:
    """Random answers of one victim for each defence and seed: two attacks of each source, two on itself."""
    rng = np.random.default_rng(draw)
    axes = {f"{a}_{s}": "" for a in ("source", "samples", "balance", "architecture", "recipe") for s in "sv"}
    common = {**axes, "norm": "linf", "eps": "16/255", "attack_seed": 0, "control": False, "decoy": False, "group": ""}
    cells: list[dict[str, Any]] = []
    victims = [(name, seed) for seed in seeds for name in names]
    for place, (name, seed) in enumerate(victims):
        label = f"{name}:there/s{seed}"
        of = {"victim": label, "victim_index": place, "victim_config": f"there/{name}", "victim_seed": seed}
        for source, told in SOURCES.items():
            for attack in ("bim steps=50", "mi+di steps=50"):
                row = {"surrogate": source, "surrogate_seed": 1, "attack": attack, "case": 3, "reads": "surrogate"}
                cells.append({**common, **of, **told, **row, "defense_v": name})
        for attack in ("pgd-20 on victims", "square on victims"):
            row = {"surrogate": label, "surrogate_seed": seed, "attack": attack, "case": 0, "reads": "victim"}
            cells.append({**common, **of, **row, "surrogate_config": "there", "pool": "", "defense_v": name})
    return Outcomes(
        cells=pd.DataFrame(cells),
        adversarial=(rng.random((len(cells), images)) < 0.5).astype(np.int16),
        clean_predictions=(rng.random((len(victims), images)) < 0.3).astype(np.int16),
        labels=np.zeros(images, dtype=np.int64),
        image_source=np.arange(images) % 2,
        image_sources=("a", "b"),
        classes=("x", "y"),
    )


@pytest.fixture(scope="module")
def found() -> Found:
    return Found(made(1), made(2))


def shares(outcomes: Outcomes, name: str, source: str, attack: str) -> list[bool]:
    """Which images one victim gets right in one cell."""
    for i, cell in enumerate(outcomes.cells.to_dict(orient="records")):
        if (cell["defense_v"], cell["surrogate"], cell["attack"]) == (name, source, attack):
            return [int(answer) == 0 for answer in outcomes.adversarial[i]]
    raise AssertionError(source)


def test_every_expectation_has_a_row_with_numbers(found: Found) -> None:
    told = list(rows({RUN: found, ABLATIONS: found}, pd.DataFrame()))
    named = [row for row in told if row.expected in {str(one) for one in EXPECTED}]
    assert len(named) == len(EXPECTED)
    assert len(told) == len(EXPECTED) + 5
    assert all(row.verdict in ("holds", "does not hold", "undecided") for row in told[:-1])
    assert len({(row.name, row.expected) for row in told}) == len(told)
    assert all(str(row).count("|") == 5 for row in told)


def test_without_runs_every_row_says_so() -> None:
    told = list(rows({}, pd.DataFrame()))
    assert len(told) == len(EXPECTED) + 5
    assert all(row.came.startswith("not run") and row.verdict == "–" for row in told)


def test_a_missing_victim_takes_its_rows_along_and_no_others() -> None:
    outcomes = made(1)
    whole = Found(outcomes, made(2), frozenset({"trades:there/s101"}))
    for one in EXPECTED:
        row = defense_orderings.row(one, {one.run: whole})
        missing = "trades" in (one.first.defense, one.second.defense)
        assert row.came.startswith("not run: trades") == missing


def test_differences_are_what_loops_count(found: Found) -> None:
    test, validation = made(1), made(2)

    def best(name: str, sources: Iterable[str]) -> list[bool]:
        pairs = [(s, a) for s in sources for a in ("bim steps=50", "mi+di steps=50")]
        lowest = min(pairs, key=lambda pair: sum(shares(validation, name, *pair)))
        return shares(test, name, *lowest)

    came = found.difference(Rate("pubdef", "best"), Rate("none", "best"))
    sides = [np.mean(best(name, SOURCES)) for name in ("pubdef", "none")]
    assert (came.first, came.second) == pytest.approx(tuple(sides))
    assert came.value == pytest.approx(sides[0] - sides[1])
    assert came.low < came.value < came.high
    came = found.difference(Rate("pubdef", "best", "seen"), Rate("pubdef", "best", "unseen group"))
    assert came.first == pytest.approx(np.mean(best("pubdef", ["p/s11"])))
    assert came.second == pytest.approx(np.mean(best("pubdef", ["p/s13"])))
    came = found.difference(Rate("jpeg", "weak"), Rate("none", "pgd-20"))
    assert came.first == pytest.approx(np.mean(shares(test, "jpeg", "here/s1", "bim steps=50")))
    assert came.second == pytest.approx(np.mean(shares(test, "none", "none:there/s101", "pgd-20 on victims")))
    clean = test.right[test.cells.loc[test.cells["defense_v"] == "pubdef", "victim_index"].iloc[0]]
    corrected = [one for one, right in zip(best("pubdef", SOURCES), clean, strict=True) if not right]
    came = found.difference(Rate("pubdef", "corrected"), Rate("pubdef", "corrected"))
    assert came.first == pytest.approx(np.mean(corrected))
    assert came.value == 0
    assert came.low < 0 < came.high  # two that never differ on these images may on others


def test_a_fall_is_told_beside_that_of_a_network_that_learned_from_nobody(found: Found) -> None:
    """A difference of differences, on the same images: what groups of other strength take from all is no defence's."""

    def average(name: str, source: str) -> float:
        return float(np.mean([shares(made(1), name, source, a) for a in ("bim steps=50", "mi+di steps=50")]))

    rates = Rate("pubdef", "average", "seen"), Rate("pubdef", "average", "unseen group")
    came = found.difference(*rates, "none")
    falls = [average(name, "p/s11") - average(name, "p/s13") for name in ("pubdef", "none")]
    assert (came.first, came.second) == pytest.approx(tuple(falls))
    assert came.value == pytest.approx(falls[0] - falls[1])
    assert came.low < came.value < came.high
    wider = found.difference(*rates)
    assert came.high - came.low > wider.high - wider.low  # two networks' noise
    assert found.difference(*rates, "pubdef").value == 0
    claimed = [one for one in EXPECTED if one.first.attackers]
    assert claimed
    assert all(one.than == "none" for one in claimed)


@pytest.mark.thorough
def test_several_seeds_are_paired_by_seed_and_widen_the_interval() -> None:
    names = ("none", "pubdef")
    one, three = (Found(made(5, names, seeds), made(6, names, seeds)) for seeds in ((101,), (101, 102, 103)))
    rates = Rate("pubdef", "clean"), Rate("none", "clean")
    came = three.difference(*rates)
    assert (one.difference(*rates).victim_seeds, came.victim_seeds) == (1, 3)
    assert came.ranges_over == "images and victim seeds"
    alone = [
        Found(made(5, names, (101, 102, 103)).where(where), None).difference(*rates).value
        for where in ((three.outcomes.cells["victim_seed"] == seed).to_numpy() for seed in (101, 102, 103))
    ]
    assert came.value == pytest.approx(np.mean(alone))


def test_without_validation_images_no_best_pair_is_made_up() -> None:
    names = ("none", "pubdef")
    blind = Found(made(1, names), None)
    with pytest.raises(MissingError):
        blind.difference(Rate("pubdef", "best"), Rate("none", "best"))
    blind.difference(Rate("pubdef", "average"), Rate("none", "average"))


def test_one_name_for_two_victims_is_refused() -> None:
    outcomes = made(1, ("none", "pubdef"))
    with pytest.raises(InputError, match="both called so"):
        Found(dataclasses.replace(outcomes, cells=outcomes.cells.assign(defense_v="none")), None)


@pytest.mark.parametrize(
    ("low", "high", "above", "within", "verdict"),
    [
        (0.01, 0.05, 0.0, None, "holds"),
        (-0.05, -0.01, 0.0, None, "does not hold"),
        (-0.01, 0.05, 0.0, None, "undecided"),
        (-0.02, 0.01, -3.0, None, "holds"),
        (0.01, 0.05, 20.0, None, "does not hold"),
        (-0.02, 0.02, 0.0, 3.0, "holds"),
        (0.04, 0.06, 0.0, 3.0, "does not hold"),
        (-0.06, -0.04, 0.0, 3.0, "does not hold"),
        (-0.04, 0.02, 0.0, 3.0, "undecided"),
    ],
)
def test_verdicts_follow_the_interval(
    low: float, high: float, above: float, within: float | None, verdict: str
) -> None:
    sides = Rate("a", "clean"), Rate("b", "clean")
    one = Expected(name="x", run=RUN, first=sides[0], second=sides[1], above=above, within=within)
    told: dict[str, Any] = dict(value=0.0, first=0.0, second=0.0, n=1, surrogate_seeds=1, victim_seeds=1, df=np.inf)
    came = Difference(low=low, high=high, ranges_over="", claim="", **told)
    assert one.verdict(came) == verdict


def test_where_the_supernet_pays() -> None:
    costs = {"proard, smallest": 1000, "twin, smallest": 300, "slice, smallest": 100}
    known = pd.DataFrame({"defense": list(costs), "forward": list(costs.values()), "backward": 0})
    assert "from N = 5 on, equal at 4.50" in break_even(known).came
    assert break_even(known[:2]).came == "not run: slice, smallest"


def test_an_empty_store_fills_the_page_with_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, page = tmp_path / "store", tmp_path / "defenses.md"
    Store(folder, write=True).close()
    page.write_text(PAGE.read_text())
    monkeypatch.setattr(defense_orderings, "PAGE", page)
    defense_orderings.main(["--store", str(folder)])
    text = page.read_text()
    assert text.count("| not run | – |") == len(EXPECTED) + 4
    assert text.split("## Protocol")[1].split("<!--")[0] == PAGE.read_text().split("## Protocol")[1].split("<!--")[0]


def test_a_page_is_filled_between_its_marks_alone() -> None:
    begin, end = marked.marks("a")
    page = f"before\n{begin}\nold\n{end}\nafter"
    assert marked.filled(page, {"a": "new"}, of="p.md") == f"before\n{begin}\n\nnew\n\n{end}\nafter"
    with pytest.raises(ValueError, match=r"p\.md: expected .*generated: b"):
        marked.filled(page, {"b": "new"}, of="p.md")
