"""A published run in the explorer."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import carom.app
from carom.app.queries import runs as run_queries
from carom.app.queries import tables as table_queries
from carom.scenarios.published.dumb import read_in

PAGES = sorted((Path(carom.app.__file__).parent / "pages").glob("*.py"))
HEADER = "source_dataset,isMath,attack,source_model,source_balancing,target_model,target_dataset,target_balancing"


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """A store whose only run is a published one of two rows, across sources and within."""
    path = tmp_path / "DUMB/results/attacks/evaluation/catDog/evaluations_PGD.csv"
    path.parent.mkdir(parents=True)
    victims = ("bing,20/80,0.3,0.3,0.3", "google,20/80,0.42,0.42,0.42")
    rows = "\n".join(f"bing,True,PGD,net,20/80,net,{victim}" for victim in victims)
    path.write_text(f"{HEADER},asr,asr_0,asr_1\n{rows}\n")
    read_in(tmp_path / "DUMB", tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_stands(imported: Path, monkeypatch: pytest.MonkeyPatch, page: Path) -> None:
    monkeypatch.setenv("CAROM_STORE", str(imported))
    at = AppTest.from_file(str(page), default_timeout=60).run()
    assert not at.exception
    assert not at.error
    if page.stem in ("transfer", "matrix", "runs"):
        assert any("Published results of others" in str(e.value) for e in at.info)
    if page.stem == "transfer":
        assert "Controls" in [s.value for s in at.subheader]


def test_its_tables_are_those_of_show(imported: Path) -> None:
    (run,) = run_queries.runs(imported)
    assert run_queries.state(run) == "published"
    view = run_queries.view(imported, run.id)
    assert view.problem is None
    assert {"cases", "effects", "controls", "published-by-attack"} <= {t.name for t in view.tables}
    for table in view.tables:
        table_queries.displayed(table)
