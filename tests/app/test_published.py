"""A published run in the explorer."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import carom.app
from carom.app import queries
from carom.scenarios.published import read_in

PAGE = Path(carom.app.__file__).with_name("page.py")
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


def test_it_is_said_to_be_published(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROM_STORE", str(imported))
    at = AppTest.from_file(str(PAGE), default_timeout=60).run()
    for section in ("cases", "matrix", "surrogates", "tables", "run"):
        at.query_params["section"] = section
        at.run()
        assert not at.exception, section
        assert not at.error, section
        assert any("Published results of others" in str(e.value) for e in at.info), section


def test_its_tables_are_those_of_show(imported: Path) -> None:
    (run,) = queries.runs(imported)
    assert queries.state(run) == "published"
    view = queries.view(imported, run.id)
    assert view.problem is None
    assert {"cases", "effects", "controls", "by-attack"} <= {t.name for t in view.tables}
    for table in view.tables:
        queries.displayed(table)
