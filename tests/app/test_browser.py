"""The page as a browser shows it; needs Chromium and its driver."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carom.scenarios.store import cells

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1440,1200"
)

pytestmark = pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason="no chromium")


@pytest.fixture
def address(copy: Path, tmp_path: Path) -> Iterator[str]:
    """Where `carom app` serves a copy of the finished store."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = ["app", "--no-browser", "--port", str(port), "--store", str(copy)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", "from carom.scenarios.cli import main; main()", *command],
            stdout=log,
            stderr=log,
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        try:
            wait(lambda: connects(port), f"carom app did not start: {(tmp_path / 'log').read_text()}")
            yield f"http://localhost:{port}"
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Chromium with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in (*OPTIONS.split(), f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


def connects(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), 1).close()
    except OSError:
        return False
    return True


def wait(ready: Callable[[], object], why: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, why
        time.sleep(0.2)


def test_tables_and_matrix_in_a_browser(
    address: str, browser: Any, tmp_path: Path, changed: Callable[..., Path]
) -> None:
    from selenium.webdriver.common.by import By

    def found(selector: str) -> list[Any]:
        return list(browser.find_elements(By.CSS_SELECTOR, selector))

    def body() -> str:
        return str(browser.execute_script("return document.body.textContent"))

    browser.get(address)
    # A table is drawn on a canvas; what it holds stands in the canvas for screen readers.
    wait(lambda: found("[data-testid=stDataFrame] canvas td"), "no table appeared")
    wait(lambda: "same weights" in body(), "the cases are not in a table")
    for words in ("Attack success by case, all attacks", "C5", "95% interval", "no surrogate", "Warned: white box"):
        assert words in body()
    assert "**x** <b>y :smile: :red[r] $a$" in found("[data-testid=stText]")[0].text
    assert not found("[data-testid=stException]")
    browser.save_screenshot(str(tmp_path / "cases.png"))

    next(button for button in found("button") if button.text == "Matrix").click()
    wait(lambda: found("[data-testid=stVegaLiteChart] svg, [data-testid=stVegaLiteChart] canvas"), "no heat map")
    wait(lambda: "fields pool" in body(), "no caption below the heat map")
    assert "section=matrix" in browser.current_url
    assert "rows=surrogate" in browser.current_url
    assert not found("[data-testid=stException]")
    browser.save_screenshot(str(tmp_path / "matrix.png"))
    assert (tmp_path / "matrix.png").stat().st_size > 10_000

    changed(cells.delete())  # by another process, so only the change counter tells
    wait(lambda: "128 of 128 cells lost their outcome" in body(), "the page did not follow the store")
    assert not found("[data-testid=stException]")
    errors = [entry for entry in browser.get_log("browser") if "carom" in entry["message"]]
    assert not errors
