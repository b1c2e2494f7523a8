"""The explorer's pages as pictures, for the README and docs/explorer.md; needs Chromium and its driver.

    carom demo --store demo
    python benchmarks/screenshots.py NAME=ADDRESS... --store demo [--store MORE] [--width 1440] [--dark]

Each NAME becomes docs/figures/explorer-NAME.png, of the page at ADDRESS, such as matrix=matrix?attack=mi. A height may
follow the name: matrix:1200=matrix.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
OPTIONS = "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-sync --hide-scrollbars"


def main() -> None:
    parser = argparse.ArgumentParser(description="The explorer's pages as pictures.")
    parser.add_argument("pages", nargs="+", metavar="NAME[:HEIGHT]=ADDRESS")
    parser.add_argument("--store", action="append", required=True, type=Path)
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--output", type=Path, default=FIGURES)
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    stores = [word for store in given.store for word in ("--store", str(store))]
    start = ["-c", "from carom.scenarios.cli.main import main; main()", "app", "--no-browser", "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, *start, *stores], env={**os.environ, "HOME": folder}, stdout=log, stderr=log
        )
        try:
            driver = chromium(Path(folder))
            scheme = {"name": "prefers-color-scheme", "value": "dark" if given.dark else "light"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            for page in given.pages:
                name, address = page.split("=", 1)
                name, _, height = name.partition(":")
                driver.set_window_size(given.width, int(height or 1200))
                shoot(driver, f"http://localhost:{port}/{address}", given.output / f"explorer-{name}.png")
            driver.quit()
        finally:
            server.terminate()
            server.wait(20)


def chromium(profile: Path) -> Any:
    """A browser with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for option in (*OPTIONS.split(), f"--user-data-dir={profile / 'profile'}"):
        options.add_argument(option)
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def shoot(driver: Any, address: str, path: Path) -> None:
    """One page, once nothing on it is being read any more; in 128 colours, as a page has few."""
    from PIL import Image
    from selenium.webdriver.common.by import By

    for _ in range(60):  # the server needs a while to start
        try:
            driver.get(address)
            break
        except Exception:
            time.sleep(1)
    end, before = time.monotonic() + 90, ""
    while time.monotonic() < end:
        time.sleep(2)
        body = str(driver.execute_script("return document.body.innerHTML"))
        busy = driver.find_elements(By.CSS_SELECTOR, "[data-testid=stSpinner], [data-testid=stSkeleton]")
        if body == before and len(body) > 20_000 and not busy:
            break
        before = body
    driver.save_screenshot(str(path))
    Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
