"""The pages as a browser shows them; needs Chromium and its driver."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carom.scenarios.store.schema import cells

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1440,1200"
)

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason="no chromium"),
]


@pytest.fixture
def address(copy: Path, tmp_path: Path) -> Iterator[str]:
    """Where `carom app` serves a copy of the finished store."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = ["app", "--no-browser", "--port", str(port), "--store", str(copy)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", "from carom.scenarios.cli.main import main; main()", *command],
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


PAGES = {
    "runs": ("Runs", "Scenario file"),
    "transfer": ("Transfer", "C5"),
    "matrix": ("Matrix", "fields pool"),
    "attacks": ("Attacks", "Strength against visibility"),
    "images": ("Images", "that pass"),
    "gates": ("Gates", "robustness_history"),
}
MARKUP = "**x** <b>y :smile: :red[r] $a$"


class Explorer:
    """A browser on the explorer: opens pages, waits for them, and knows what must not be there."""

    def __init__(self, driver: Any, address: str, shots: Path) -> None:
        self.driver, self.address, self.shots = driver, address, shots

    def found(self, selector: str) -> list[Any]:
        from selenium.webdriver.common.by import By

        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def body(self) -> str:
        return str(self.driver.execute_script("return document.body.textContent"))

    def open(self, place: str, words: str) -> None:
        """A page, whole: the words stand on it and nothing is being read any more."""
        self.driver.get(f"{self.address}/{place}")
        self.await_words(words, place)

    def await_words(self, words: str, place: str = "") -> None:
        busy = "[data-testid=stSpinner], [data-testid=stSkeleton]"
        wait(lambda: words in self.body() and not self.found(busy), f"{place}: no {words!r}")
        self.check()

    def await_rest(self) -> None:
        """The script has run to its end: what is clicked before may be replaced under the click."""
        wait(lambda: self.found("[data-test-script-state=notRunning]"), "the page does not come to rest")

    def check(self) -> None:
        """No exception on the page, no error in the console."""
        assert not self.found("[data-testid=stException]")
        assert "This view cannot be shown" not in self.body()
        # Streamlit asks for its base path below the address of a page before it asks at the root
        severe = [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]
        assert not [m for m in severe if "/_stcore/" not in m], severe

    def look(self, width: int, scheme: str) -> None:
        """Size of the window, and light or dark."""
        self.driver.set_window_size(width, 1200)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def shot(self, name: str) -> None:
        path = self.shots / f"{name}.png"
        self.driver.save_screenshot(str(path))
        assert path.stat().st_size > 10_000


@pytest.fixture
def explorer(address: str, browser: Any, tmp_path: Path) -> Explorer:
    """The explorer over a copy of the finished store; CAROM_SCREENSHOTS names a folder for screenshots that stay."""
    shots = Path(os.environ.get("CAROM_SCREENSHOTS", tmp_path / "shots"))
    shots.mkdir(parents=True, exist_ok=True)
    return Explorer(browser, address, shots)


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1440, "light"),
        (1024, "dark"),
        pytest.param(1440, "dark", marks=pytest.mark.slow),
        pytest.param(1024, "light", marks=pytest.mark.slow),
    ],
)
def test_every_page_in_a_browser(explorer: Explorer, width: int, scheme: str) -> None:
    explorer.look(width, scheme)
    for place, (title, words) in PAGES.items():
        explorer.open(place, words)
        assert title in [h.text for h in explorer.found("h1")]
        dark = explorer.driver.execute_script(
            "return getComputedStyle(document.querySelector('.stApp')).backgroundColor"
        )
        assert (sum(map(int, dark[dark.index("(") + 1 : -1].split(",")[:3])) < 200) == (scheme == "dark")
        wide = explorer.driver.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, f"{place} is {wide} pixels too wide"
        explorer.shot(f"{title.lower()}-{width}-{scheme}")


def test_from_a_matrix_to_an_image_and_back_by_its_address(explorer: Explorer, changed: Callable[..., Path]) -> None:
    explorer.look(1440, "light")
    explorer.open("matrix?attack=mi&budget=linf+32%2F255", "fields pool")
    explorer.open("runs", "Scenario file")
    page = next(a for a in explorer.found("[data-testid=stSidebarNavLink]") if "Matrix" in a.text)
    page.click()  # what was chosen is carried from page to page
    explorer.await_words("fields pool")
    wait(lambda: "rows=surrogate" in explorer.driver.current_url, "the choice is not in the address")

    def option(label: str, number: int) -> None:
        box = next(b for b in explorer.found("[data-testid=stSelectbox]") if label in b.text)
        from selenium.webdriver.common.by import By

        box.find_element(By.CSS_SELECTOR, "input").click()
        wait(lambda: len(explorer.found("[role=option]")) > number, f"{label}: no options")
        explorer.found("[role=option]")[number].click()

    option("Row:", 1)
    wait(lambda: "row=&" not in explorer.driver.current_url, "no row in the address")
    option("Column:", 1)
    explorer.await_words("Accuracies are of all")
    shared = explorer.driver.current_url
    explorer.shot("cell-1440-light")
    wait(lambda: "All images of this cell" in explorer.body(), "no link to the images")
    link = next(a for a in explorer.found("a") if a.text.endswith("All images of this cell"))
    assert "images" in str(link.get_attribute("href"))
    link.click()
    explorer.await_words("that pass")
    explorer.shot("images-1440-light-drilled")

    explorer.driver.get("about:blank")
    explorer.driver.get(shared)  # whoever gets the address sees the same
    explorer.await_words("Accuracies are of all")

    changed(cells.delete())  # by another process, so only the change counter tells
    wait(lambda: "128 of 128 cells lost their outcome" in explorer.body(), "the page did not follow the store")
    explorer.check()


def test_a_figure_and_a_table_can_be_taken_along(explorer: Explorer, tmp_path: Path) -> None:
    explorer.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path / "got")}
    )
    got = tmp_path / "got"

    def whole(name: str) -> bool:
        """Chromium reserves the name with an empty file, and writes beside it."""
        return (got / name).exists() and (got / name).stat().st_size > 0 and not [*got.glob("*.crdownload")]

    explorer.open("matrix", "fields pool")
    explorer.await_rest()
    for kind in ("PNG", "SVG", "CSV"):
        wait(lambda kind=kind: [b for b in explorer.found("button") if b.text == kind], f"no {kind}")  # type: ignore[misc]
        next(b for b in explorer.found("button") if b.text == kind).click()
        name = f"matrix.{kind.lower()}"
        wait(lambda name=name: whole(name), f"{name} did not come", seconds=240)  # type: ignore[misc]
    assert (tmp_path / "got/matrix.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "got/matrix.svg").read_bytes()
    assert "ASR" in (tmp_path / "got/matrix.csv").read_text().splitlines()[0]
    explorer.check()


def test_names_are_text_in_a_browser(explorer: Explorer) -> None:
    explorer.open("transfer", "C5")
    assert MARKUP in explorer.found("[data-testid=stText]")[0].text
    assert not explorer.found("b b")
    assert not [e for e in explorer.found("[data-testid=stMain] b") if e.text.startswith("y")]
