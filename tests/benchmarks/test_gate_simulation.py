"""The simulation of gates: populations have exactly the drop that they should, and a small run fills the page."""

import re
from pathlib import Path

import gate_simulation
import numpy as np
import pytest
from gate_simulation import PAGE, _mcnemar, population, rate_coverage, weakened
from scipy.stats import binomtest  # type: ignore[attr-defined]

from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, create

THEN = np.random.default_rng(1).random((3, 400)) < 0.6
NOW = np.random.default_rng(2).random((3, 400)) < 0.59


def test_a_population_has_the_drop_of_its_pair() -> None:
    people = population(THEN, NOW)
    assert people.odds.sum() == pytest.approx(1)
    assert people.mean == pytest.approx(THEN.mean() - NOW.mean())


@pytest.mark.parametrize("whole", [True, False])
def test_a_weakened_population_has_exactly_the_drop_asked_for(whole: bool) -> None:
    people = weakened(THEN, NOW, 0.07, whole=whole)
    assert people.odds.sum() == pytest.approx(1)
    assert people.odds.min() >= 0
    assert people.mean == pytest.approx(0.07)


def test_answers_that_fall_together_vary_more() -> None:
    together, apart = (weakened(THEN, THEN, 0.07, whole=whole) for whole in (True, False))
    assert together.odds @ together.values**2 > 1.5 * (apart.odds @ apart.values**2)


def test_samples_are_of_the_population() -> None:
    people = population(THEN, NOW)
    sums = people.sums(np.random.default_rng(0), 1000, 3000)
    assert sums[0].mean() / 1000 == pytest.approx(people.mean, abs=0.002)
    assert sums[1].mean() / 1000 == pytest.approx(people.odds @ people.values**2, rel=0.01)


def test_mcnemar_is_the_one_sided_binomial_test() -> None:
    then, now = THEN[0], NOW[0]
    lost, won = int((then & ~now).sum()), int((now & ~then).sum())
    assert _mcnemar(then, now) == pytest.approx(binomtest(lost, lost + won, alternative="greater").pvalue)


def test_coverage_of_an_interval_that_holds_half_is_counted() -> None:
    assert rate_coverage(10, 0.5, lambda k, n: (np.zeros(n + 1), np.ones(n + 1))) == pytest.approx(1)
    assert rate_coverage(10, 0.5, lambda k, n: (np.ones(n + 1), np.ones(n + 1))) == 0


@pytest.mark.thorough
def test_a_small_run_fills_the_page_and_keeps_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, folder = tmp_path / "gates.md", tmp_path / "answers"
    page.write_text(re.sub(r"\n\|.*", "", PAGE.read_text()))
    gate_simulation.main(["--quick", "--folder", str(folder), "--page", str(page)])
    text = page.read_text()
    assert text.count("| lenet") == 6  # answers, re-trainings, and four numbers of seeds
    assert "| 2 points, image by image | 6 | 2,000 |" in text
    assert "nan" not in text
    next(folder.iterdir()).unlink()
    trained = []

    def untrained(*of: object) -> Classifier:
        trained.append(of)
        return create(architecture("mlp"), shape=(1, 16, 16), classes=10, seed=0).eval()

    monkeypatch.setattr(gate_simulation, "trained", untrained)
    found = gate_simulation.answers_of(folder, gate_simulation.QUICK)
    assert len(trained) == 1  # what was interrupted goes on where it was
    assert {len(of) for of in found.values()} == {gate_simulation.QUICK.trainings}
