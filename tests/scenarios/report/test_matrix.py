"""The matrix of a report: fields open the images behind them, and a large one stays a small file that opens at once."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.scenarios.made_outcomes import first, made

from carom.errors import StoreError
from carom.scenarios.report import matrix
from carom.scenarios.report.pictured import Pictured
from carom.scenarios.statistics import Outcomes
from carom.scenarios.store.database import Store

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")


def outcomes(rates: np.ndarray) -> Outcomes:
    """One set a surrogate, which fools this share of 100 images of each victim."""
    pairs = [(s, v) for s in range(rates.shape[0]) for v in range(rates.shape[1])]
    hits = {(f"s{s}", 1, f"v{v}", 1): first(int(100 * rates[s, v])) for s, v in pairs}
    return made(hits, rows=[{"reads": "surrogate", "targeted": False, "set_id": s} for s, _ in pairs])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty one."""
    with Store(tmp_path / "store", write=True) as opened:
        yield opened


@pytest.fixture
def photographs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Photographs of noise, which no file makes smaller, stand in for those of a store; counts who asked."""
    asked: list[int] = []
    noise = np.random.default_rng(0).random((3, 224, 224), dtype=np.float32)

    def turned(store: object, outcomes: Outcomes, cell: int, image_set: int, most: int) -> list[Pictured]:
        asked.append(cell)
        assert most == matrix.PAIRS
        return [Pictured(clean=noise, adversarial=noise, before="no", after="yes")] * most

    monkeypatch.setattr(matrix, "turned", turned)
    sets = pd.DataFrame({"set_id": range(100), "image_set": 7})
    monkeypatch.setattr(matrix, "list_sets", lambda store, run: sets)
    return asked


def test_the_fields_that_tell_something_open_images(store: Store, photographs: list[int]) -> None:
    rates = np.array([[0.1, 0.2, 0.3], [0.9, 0.0, 0.4], [0.5, 0.6, 0.0]])
    page = matrix.matrices(store, "x", outcomes(rates))
    # of each victim the highest: (1, 0), (2, 1), (1, 2); of each surrogate besides: (0, 2)
    framed = re.findall(r'class="told" href="#(field-1-\d+)" title="([^"]*): [^"]*"', page)
    assert {where for _, where in framed} == {"s0 on v2", "s1 on v0", "s1 on v2", "s2 on v1"}
    for name, _ in framed:
        assert f'id="{name}"' in page
    assert page.count('href="#matrix-1-how"') == 9 - 4
    assert len(photographs) == 4
    shown = [int(n) for n in re.findall(r">(\d+)</a></td>", page)]
    assert shown == [round(100 * rate) for rate in rates.ravel()]


def test_a_field_whose_images_are_gone_says_how_to_open_the_run(
    store: Store, photographs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> list[Pictured]:
        raise StoreError("gone")

    monkeypatch.setattr(matrix, "turned", gone)
    page = matrix.matrices(store, "x", outcomes(np.array([[0.5]])))
    assert "told" not in page
    assert "carom app" in page


def test_names_are_words_only(store: Store, photographs: list[int]) -> None:
    hits = {("<b>&", 1, '"<i>', 1): first(50)}
    page = matrix.matrices(store, "<x>", made(hits, rows=[{"reads": "surrogate", "targeted": False, "set_id": 0}]))
    assert not re.search(r"<b>&|<i>|<x>", page)


@pytest.fixture
def hundred(store: Store, photographs: list[int]) -> str:
    """A matrix of 100 surrogates and 100 victims, with photographs."""
    return matrix.matrices(store, "x", outcomes(np.random.default_rng(1).random((100, 100))))


@pytest.mark.thorough
def test_a_large_matrix_of_photographs_stays_small(hundred: str, photographs: list[int]) -> None:
    assert len(hundred) < 15e6
    assert 0 < hundred.count('<aside class="field" id="field-') <= matrix.FIELDS
    assert hundred.count("<img") <= 2 * matrix.PAIRS * matrix.FIELDS
    assert len(re.findall(r'<td class="p\d+">', hundred)) == 10_000


@pytest.mark.thorough
@pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason="no chromium")
def test_a_large_matrix_opens_in_a_second_and_shows_images_by_a_click(hundred: str, tmp_path: Path) -> None:
    from importlib import resources

    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By

    style = resources.files("carom.scenarios.report").joinpath("report.css").read_text(encoding="utf-8")
    page = tmp_path / "report.html"
    page.write_text(f"<!doctype html><title>x</title><style>{style}{matrix.colours()}</style><body>{hundred}")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        driver.get("about:blank")
        waited = []
        for _ in range(3):
            driver.get(page.as_uri())
            waited.append(driver.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd"))
        assert min(waited) < 1000, waited
        link = driver.find_element(By.CSS_SELECTOR, ".matrix a.told")
        panel = driver.find_element(By.ID, str(link.get_attribute("href")).partition("#")[2])
        assert not panel.is_displayed()
        link.click()
        time.sleep(0.5)
        assert panel.is_displayed()
        first_picture = panel.find_element(By.TAG_NAME, "img")
        assert driver.execute_script("return arguments[0].naturalWidth", first_picture) > 0
    finally:
        driver.quit()
