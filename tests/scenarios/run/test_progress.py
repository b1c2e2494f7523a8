"""The time that is left, and jobs that are small enough to tell it and to be killed."""

from pathlib import Path

import pytest
from tests.scenarios.conftest import TINY

from carom.scenarios.jobs import craft
from carom.scenarios.run.progress import TimeLeft
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.store.database import Store
from carom.scenarios.store.schema import artifacts, attempts


def test_models_of_unlike_sizes_are_told_apart_before_any_is_done() -> None:
    seconds = {"small": 0.01, "large": 0.09}
    left = TimeLeft({}, 2, lambda kind, label: seconds[label])
    left.work = {"craft": left.worth("craft", "small", 1000) + left.worth("craft", "large", 1000)}
    assert left.expected() == pytest.approx((10 + 90) / 2)
    left.learn("craft", 15.0, left.worth("craft", "small", 1000))  # half as fast again as it was measured
    left.done("craft", left.worth("craft", "small", 1000))
    assert left.expected() == pytest.approx(90 * 1.5 / 2)


def test_a_job_without_passes_asks_no_price() -> None:
    """To time a model takes seconds, and controls read none."""

    def price(kind: str, label: str) -> float:
        raise AssertionError(label)

    assert TimeLeft({}, 1, price).worth("craft", "controls (test)", 0) == 0


def test_without_prices_passes_cost_what_they_have_cost_so_far() -> None:
    left = TimeLeft({"craft": 3000}, 1)
    left.learn("craft", 2.0, left.worth("craft", "any", 1000))
    left.done("craft", 1000)
    assert left.expected() == pytest.approx(4)


@pytest.mark.thorough
def test_much_work_is_several_jobs_and_the_same_sets(
    tiny_npz: Path, tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(craft, "NUMBERS_PER_JOB", 1)
    scenario = parse_scenario(TINY.replace("NPZ", str(tiny_npz)), where="tiny.toml")
    assert not run_scenario(scenario, tmp_path / "cut", workers=0).failures

    def made(folder: Path) -> tuple[int, dict[str, str]]:
        with Store(folder) as store, store.reading() as connection:
            jobs = connection.execute(attempts.select().where(attempts.c.job == "craft")).all()
            sets = connection.execute(artifacts.select().where(artifacts.c.kind == "sets")).all()
        return len([job for job in jobs if job.passes]), {row.key: row.digest for row in sets}

    (whole, before), (cut, after) = made(tiny_store), made(tmp_path / "cut")
    assert whole == 8  # surrogates
    assert cut == 2 * whole  # and attacks
    assert before == after
