"""What a user waits for: the command line, the demo, the DUMB grid, and doing things again.

    python benchmarks/scenario.py [--scenario digits-dumb] [--rounds 3]

Wall time and the largest resident memory of the process and its workers, each command in a process of its own over a
store in a temporary folder. Machines are shared, so one number here is a size, not a measurement: ratios stand in the
other benchmarks.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CAROM = [sys.executable, "-c", "from carom.scenarios.cli.main import main; main()"]


def resident(root: int) -> int:
    """Bytes that a process and all below it hold; a page that several share is counted once in all."""
    parents, sizes = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            rollup = (entry / "smaps_rollup").read_text()
            sizes[int(entry.name)] = 1024 * int(rollup.partition("Pss:")[2].split()[0])
        except (OSError, IndexError):
            continue  # it ended meanwhile
    family, grown = {root}, True
    while grown:
        more = {p for p, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sum(sizes.get(p, 0) for p in family)


def timed(*arguments: str) -> tuple[float, int, str]:
    """Seconds, peak bytes, and what it said last."""
    began = time.perf_counter()
    with subprocess.Popen([*CAROM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        peak, done = 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.5):
                peak = max(peak, resident(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, err = process.communicate()
        took = time.perf_counter() - began
        done.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"carom {' '.join(arguments)} ended with {process.returncode}: {err}")
    said = [line for line in err.splitlines() if "cells" in line or "inside" in line]
    return took, peak, " | ".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="digits-dumb")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    helps = [timed("--help")[0] for _ in range(options.rounds)]
    print(f"carom --help: median {statistics.median(helps):.2f} s of {options.rounds}")
    with tempfile.TemporaryDirectory() as folder:
        store = ("--store", f"{folder}/store")
        took, peak, said = timed("demo", "--store", f"{folder}/demo")
        print(f"carom demo: {took:.0f} s, {peak / 1e9:.2f} GB\n  {said}")
        took, peak, said = timed("run", options.scenario, *store, "--profile")
        print(f"carom run {options.scenario}: {took:.0f} s, {peak / 1e9:.2f} GB\n  {said}")
        agains = [timed("run", options.scenario, *store) for _ in range(options.rounds)]
        print(f"the same again: median {statistics.median(a[0] for a in agains):.1f} s\n  {agains[-1][2]}")
        shows = [timed("show", *store)[0] for _ in range(options.rounds)]
        print(f"carom show: median {statistics.median(shows):.1f} s")


if __name__ == "__main__":
    main()
