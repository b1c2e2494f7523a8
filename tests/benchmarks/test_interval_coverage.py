"""The simulation of intervals: its truths are true, and a small run fills the page and goes on where it was."""

from pathlib import Path

import interval_coverage
import numpy as np
import pytest
from interval_coverage import PAGE, Trained, World, both, edged, grid, rows_of


@pytest.mark.parametrize(
    "world",
    [
        both("abc", 3, images=60, cost=-0.8, slope=0.5, adds=(("b", 0.5),)),
        both("ab", 4, images=60, cost=-0.8, slope=0.5, each_other=True),
        World(
            surrogates=grid("aab", (1, 3, 2)), victims=grid("ab", 3), images=60, base=0.6, cost=0.4, configuration=0.5
        ),
    ],
)
def test_rates_over_many_worlds_are_the_true_ones(world: World) -> None:
    rng = np.random.default_rng(1)
    drawn = [world.draw(rng) for _ in range(60)]
    cells = drawn[0].cells
    rates = np.mean([(~one.wrong).mean(1) for one in drawn], axis=0)  # class 0 is right, so a hit is an answer of 1
    for s, v in set(zip(cells["architecture_s"], cells["architecture_v"], strict=True)):
        mine = ((cells["architecture_s"] == s) & (cells["architecture_v"] == v)).to_numpy()
        assert 1 - rates[mine].mean() == pytest.approx(world.rate(s, v), abs=0.03)
    assert np.mean([one.cells["truth"] for one in drawn]) == pytest.approx(1 - rates.mean(), abs=0.01)


@pytest.mark.parametrize(
    "design",
    [
        Trained(surrogates=((-0.5, 3), (0.8, 2)), surrogate=0.4, victims=((0.0, 2), (0.3, 1)), victim=0.5, pair=0.3),
        Trained(surrogates=((0.4, 2), (0.4, 2)), surrogate=0.7, shared=True),
    ],
)
def test_rates_over_many_trainings_are_the_true_ones(design: Trained) -> None:
    outcomes = design.draw([np.random.default_rng([2, i]) for i in range(400)])
    hits = outcomes.wrong.mean(1)
    for _, cells in outcomes.cells.groupby(["surrogate_config", "victim_config"]):
        assert hits[cells.index].mean() == pytest.approx(cells["truth"].iloc[0], abs=0.03)
        assert cells["truth"].nunique() == 1


def test_what_all_sources_leave_is_the_true_share() -> None:
    design = Trained(surrogates=((0.0, 1),) * 4, victims=((0.0, 2),), victim=0.5)
    outcomes = design.draw([np.random.default_rng([3, i]) for i in range(400)])
    kept = ~outcomes.wrong
    left = [kept[cells.index].all(0).mean() for _, cells in outcomes.cells.groupby("victim", sort=False)]
    assert np.mean(left) == pytest.approx(design.kept(4), abs=0.02)


def test_a_sample_is_the_same_whatever_it_is_drawn_with() -> None:
    design = Trained(surrogates=((-0.5, 3), (0.8, 2)), surrogate=0.4)
    alone, together = (design.draw([np.random.default_rng(i) for i in seeds]) for seeds in ([5], [4, 5, 6]))
    mine = (together.cells["sample"] == 1).to_numpy()
    assert (together.adversarial[mine] == alone.adversarial).all()
    assert (together.right[together.victim_index[mine]] == alone.right[alone.victim_index]).all()


def test_the_edge_is_where_the_effect_is_the_margin() -> None:
    assert edged(both("ab", 1, slope=0.3, adds=(("b", 1.0),))).effect() == pytest.approx(0.02)


def test_a_small_run_fills_the_page_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies = [s for s in interval_coverage.STUDIES if s.name in ("cell, or class of a cell", "counted rows")]
    monkeypatch.setattr(interval_coverage, "STUDIES", studies)
    page, folder = tmp_path / "statistics.md", tmp_path / "samples"
    page.write_text(PAGE.read_text())
    small = ["--workers", "0", "--folder", str(folder), "--page", str(page)]
    interval_coverage.main(["--most", "2", *small])
    assert page.read_text().count("| counted rows |") == len(studies[0].designs)
    before = interval_coverage.run(folder, most=2, only="", workers=0)
    after = interval_coverage.run(folder, most=4, only="", workers=0)
    for key, answers in before.items():
        assert after[key][:2] == answers
        assert len(after[key]) == (4 if key.startswith("counted") else 1)
    assert set(rows_of(after)["samples"]) == {0, 4}
    fresh = interval_coverage.run(tmp_path / "fresh", most=4, only="", workers=0)
    assert fresh == after


@pytest.mark.parametrize(
    ("column", "share", "said"),
    [
        ("95% interval", 0.95, ""),
        ("95% interval", 0.90, "low"),
        ("95% interval", 0.99, "high"),
        ("p", 0.03, ""),
        ("p", 0.08, "too small"),
        ("yes within ±2", 0.9, ""),
    ],
)
def test_a_verdict_is_beyond_the_error_of_the_simulation(column: str, share: float, said: str) -> None:
    assert interval_coverage.verdict(column, share, 0.005) == said
    assert interval_coverage.verdict(column, share, 0.1) == ""
