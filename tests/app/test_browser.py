"""The pages as a browser shows them; needs Chromium and its driver."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray
from PIL import Image

from carom.app.shell import parts
from carom.scenarios.store.database import Store
from carom.scenarios.store.schema import artifacts

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
    "": ("Overview", "In brackets"),
    "overview": ("Overview", "In brackets"),
    "model": ("My model", "Gate"),
    "defences": ("Defences", "defence"),
    "surrogates": ("Surrogates", "builder"),
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
        size = {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)  # no window is as narrow as a telephone
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
        (390, "light"),
        pytest.param(390, "dark", marks=pytest.mark.slow),
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


def test_from_a_matrix_to_an_image_and_back_by_its_address(explorer: Explorer, copy: Path) -> None:
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

    with Store(copy, write=True) as store:  # by another process, so only the counters tell
        with store.reading() as connection:
            models = connection.execute(sa.select(artifacts.c.key).where(artifacts.c.kind == "weights")).scalars().all()
        store.forget([("weights", key) for key in models])
    wait(lambda: "128 of 128 cells lost their outcome" in explorer.body(), "the page did not follow the store")
    explorer.check()


BLUE = (0x00, 0x72, 0xB2)  # of the first series of every figure


def blue(picture: Path) -> tuple[float, NDArray[np.float64]]:
    """Width over height, and where blue is: left, top, right and bottom of it, as shares."""
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    y, x = np.nonzero(np.abs(pixels - BLUE).max(axis=2) < 24)
    height, width = pixels.shape[:2]
    across, down = x / width, y / height
    return width / height, np.array([across.min(), down.min(), across.max(), down.max()])


@pytest.mark.parametrize("window", [1440, 390])
def test_a_figure_comes_as_it_is_on_the_screen(explorer: Explorer, tmp_path: Path, window: int) -> None:
    got = tmp_path / "got"
    explorer.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(got)})

    def whole(name: str) -> bool:
        """Chromium reserves the name with an empty file, and writes beside it."""
        return (got / name).exists() and (got / name).stat().st_size > 0 and not [*got.glob("*.crdownload")]

    def press(words: str) -> None:
        wait(lambda: [b for b in explorer.found("button") if b.text.startswith(words)], f"no {words}")
        button = next(b for b in explorer.found("button") if b.text.startswith(words))
        explorer.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    explorer.look(window, "light")
    explorer.open("transfer", "C5")
    explorer.await_rest()
    drawn = "[class*=st-key-figure-] svg.marks"
    wait(lambda: explorer.found(drawn), "no figure")
    figure = explorer.found(drawn)[0]
    size = explorer.driver.execute_script(
        "const box = arguments[0].getBoundingClientRect(); return [box.width, box.height]", figure
    )
    assert size[0] == pytest.approx(parts.WIDE, abs=1)  # whatever the window: it can be scrolled there
    box = explorer.found("[class*=st-key-figure-]")[0]
    assert box.rect["width"] <= window
    name = next(c for c in str(box.get_attribute("class")).split() if c.startswith("st-key-figure-"))
    name = name.removeprefix("st-key-figure-")
    press("Take along")
    for kind in ("PNG", "SVG", "PDF", "CSV"):
        press(kind)
        file = f"{name}.{kind.lower()}"
        wait(lambda file=file: whole(file), f"{file} did not come", seconds=240)  # type: ignore[misc]
    assert (got / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert "asr" in (got / f"{name}.csv").read_text().splitlines()[0].lower()
    assert "carom show" in explorer.body()
    ratio, marks = blue(got / f"{name}.png")
    assert ratio == pytest.approx(size[0] / size[1], rel=0.01)
    if window > parts.WIDE:
        press("Take along")  # closes it
        explorer.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
        time.sleep(1)
        figure.screenshot(str(tmp_path / "screen.png"))
        seen, places = blue(tmp_path / "screen.png")
        assert seen == pytest.approx(ratio, rel=0.02)
        # letters of this machine may be wider than those of the file, which moves the left end of the axis
        assert places == pytest.approx(marks, abs=0.025)
    explorer.check()


STREAMLITS = {  # faults of elements that Streamlit 1.67 draws itself, by axe's rule: what tells such an element
    "duplicate-id-active": ("glide-cell-",),  # the cells of every table of a page have the same ids
    "list": ("stSidebarNavItems",),  # groups of pages are no items of their list
    "listitem": ("<li class=",),
    "image-alt": ('src="http://localhost',),  # st.image gives a picture a caption and no other name
    "svg-img-alt": ("metric_chart_",),  # the line of a metric has no title
    "color-contrast": ("token", "stIconMaterial"),  # words of code, coloured by what they are; icons in boxes of text
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_in_what_carom_draws(explorer: Explorer, scheme: str) -> None:
    rules = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    explorer.look(1440, scheme)
    explorer.driver.set_script_timeout(120)
    faults = []
    for page, (title, words) in PAGES.items():
        explorer.open(page, words)
        explorer.await_rest()
        time.sleep(2)
        explorer.driver.execute_script(rules)
        found = explorer.driver.execute_async_script(
            "const done = arguments[0]; axe.run().then((all) => done(all.violations))"
        )
        faults += [
            (title, rule["id"], node["html"][:200])
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
            if not any(mark in node["html"] for mark in STREAMLITS.get(rule["id"], ()))
        ]
    assert not faults, "\n".join(map(str, faults))


def test_names_are_text_in_a_browser(explorer: Explorer) -> None:
    explorer.open("transfer", "C5")
    assert MARKUP in explorer.found("[data-testid=stText]")[0].text
    assert not explorer.found("b b")
    assert not [e for e in explorer.found("[data-testid=stMain] b") if e.text.startswith("y")]
