"""Runs that are interrupted, terminated and killed, at any moment: run again, they end as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import Once
from tests.scenarios import raw_store
from tests.scenarios.conftest import TINY

from carom.scenarios.cli.doctor import examine

SOON = 5.0  # seconds in which processes without a driver have to be gone
# as in a terminal: what a shell starts in the background inherits a Ctrl-C that is ignored, and hands it on
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from carom.scenarios.cli.main import main
sys.argv[0] = "carom"
main()
"""

# Loads what a run needs once, then forks a process for each line of arguments: a kill then costs the run that it
# kills, not the loading of libraries.
STARTER = """
import os, sys
import carom.scenarios.run.executors.preload, carom.scenarios.cli.main, carom.scenarios.run.run
import carom.scenarios.tables.which, carom.scenarios.cli.console
for line in sys.stdin:
    log, *arguments = line.rstrip("\\n").split("\\t")
    pid = os.fork()
    if pid == 0:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.argv = ["carom", *arguments]
        try:
            carom.scenarios.cli.main.main()
        except SystemExit as stop:
            sys.stdout.flush()
            os._exit(stop.code or 0)
        os._exit(70)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""

Wait = Callable[[], int]


class Starter:
    """Starts `carom ARGUMENTS` as a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, *arguments: object, log: Path) -> tuple[int, Wait]:
        """The id of the process, and what waits for its exit code (negative: the signal that ended it)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answers = self._process.stdout
        self._process.stdin.write("\t".join([str(log), *map(str, arguments)]) + "\n")
        self._process.stdin.flush()
        return int(answers.readline()), lambda: int(answers.readline())


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    arguments = [sys.executable, "-c", STARTER]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Starter(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="session")
def file(tiny_npz: Path, once: Once) -> Path:
    """8 trainings and 48 sets; cells of test and validation victims, one attack with targets."""
    text = TINY.replace("NPZ", str(tiny_npz)).replace('"uniform", "tv0.2"', '"uniform"')
    text = text.replace('["fgsm", "mi"]', '["fgsm", {name = "pgd", steps = 3}, {name = "mi", targeted = true}]')
    text += '\n[[validation_victims]]\nseed = 3\nsource = "here"\n'
    return once("resume", lambda folder: (folder / "resume.toml").write_text(text)) / "resume.toml"


@pytest.fixture(scope="session")
def uninterrupted(file: Path, starter: Starter, once: Once) -> Path:
    return once("uninterrupted", lambda folder: finish(starter, file, folder / "store")) / "store"


def finish(starter: Starter, file: Path, store: Path) -> None:
    """Run to the end."""
    log = store.parent / "finish.log"
    _, wait = starter("run", file, "--store", store, "--workers", 0, "--json", log=log)
    assert wait() == 0, log.read_text()


def progress(store: Path) -> int:
    """Files, whole or half written, and rows of outcomes, while somebody else writes them."""
    files = len(list((store / "artifacts").rglob("*"))) if store.exists() else 0
    try:
        ((rows,),) = raw_store.query(store, "select (select count(*) from cells) + (select count(*) from clean)")
    except Exception:  # no database yet, or one that is being made
        rows = 0
    return files + int(rows)


def marked(mark: str) -> list[int]:
    """Processes with this mark in their environment, zombies apart."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if (
                folder.name.isdigit()
                and f"MARK={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
                and (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
            ):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def gone(mark: str) -> bool:
    deadline = time.monotonic() + SOON
    while marked(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def command(*arguments: object, mark: str = "") -> Iterator["subprocess.Popen[str]"]:
    """`carom ARGUMENTS` as a user starts it, in a process group of its own, as a terminal does."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MARK": mark},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(store: Path, amount: int, alive: Callable[[], bool]) -> None:
    while alive() and progress(store) < amount:
        time.sleep(0.01)


def there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0]


def check_half_done(store: Path) -> None:
    """Nothing in it is bad, whatever is missing."""
    if (store / "carom.db").is_file():
        bad = [f for f in examine(store) if f.level == "bad"]
        assert not bad, bad


# ---------------------------------------------------------------------------------------------------------------- kill


def killed(starter: Starter, file: Path, store: Path, goal: int, pause: float) -> bool:
    """Run until the store holds so much, and a little longer, then kill -9; whether it was still running."""
    pid, wait = starter("run", file, "--store", store, "--workers", 0, "--json", log=store.parent / "killed.log")
    wait_for(store, goal, lambda: there(pid))
    time.sleep(pause)
    os.kill(pid, signal.SIGKILL) if there(pid) else None
    code = wait()
    assert code in (0, -signal.SIGKILL), (store.parent / "killed.log").read_text()
    return code != 0


def kill_often(starter: Starter, file: Path, store: Path, whole: int, moments: int, seed: int) -> int:
    """Kill runs at random moments between nothing and all; a store that got too far makes room for a fresh one."""
    chance = random.Random(seed)
    kills = 0
    while kills < moments:
        goal = max(progress(store), int(whole * chance.random()))
        kills += killed(starter, file, store, goal, 0.05 * chance.random())
        if progress(store) >= whole:  # every round of kills that got to the end has to have ended well
            break
    return kills


@pytest.mark.thorough
def test_ten_kills_change_nothing(starter: Starter, file: Path, uninterrupted: Path, tmp_path: Path) -> None:
    whole, expected = progress(uninterrupted), raw_store.contents(uninterrupted)
    kills = 0
    for round_ in range(20):
        store = tmp_path / str(round_) / "store"
        store.parent.mkdir()
        kills += kill_often(starter, file, store, whole, min(4, 10 - kills), seed=round_)
        if round_ == 0:
            check_half_done(store)
        finish(starter, file, store)
        assert raw_store.contents(store) == expected
        if kills >= 10:
            return
    pytest.fail(f"only {kills} kills came in time")


@pytest.mark.slow
def test_fifty_kills_change_nothing(starter: Starter, file: Path, uninterrupted: Path, tmp_path: Path) -> None:
    whole, expected = progress(uninterrupted), raw_store.contents(uninterrupted)
    kills = 0
    for round_ in range(100):
        store = tmp_path / str(round_) / "store"
        store.parent.mkdir()
        kills += kill_often(starter, file, store, whole, min(7, 50 - kills), seed=100 + round_)
        check_half_done(store)
        finish(starter, file, store)
        assert raw_store.contents(store) == expected
        if kills >= 50:
            return
    pytest.fail(f"only {kills} kills came in time")


@pytest.mark.thorough
def test_a_killed_driver_takes_its_workers_along(
    starter: Starter, file: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    """Even while nobody has waited for it, so that its process id still answers."""
    store, mark = tmp_path / "store", f"kill-{os.getpid()}-{time.monotonic_ns()}"
    with command("run", file, "--store", store, "--workers", 2, mark=mark) as process:
        wait_for(store, 12, lambda: there(process.pid))
        assert len(marked(mark)) > 3, "a driver, the process that workers are forked from, two workers"
        os.kill(process.pid, signal.SIGKILL)
        assert gone(mark), marked(mark)
    check_half_done(store)
    _, wait = starter("show", "--store", store, log=tmp_path / "log")
    code, said = wait(), (tmp_path / "log").read_text()
    assert code == 0 or (code == 2 and "has no outcome yet" in said), said
    finish(starter, file, store)
    assert raw_store.contents(store) == raw_store.contents(uninterrupted)


# ---------------------------------------------------------------------------------------------- Ctrl-C and termination


@pytest.mark.parametrize(
    ("how", "workers"),
    [
        pytest.param("Ctrl-C", 2, marks=pytest.mark.thorough),
        ("Ctrl-C", 0),
        pytest.param("SIGTERM", 2, marks=pytest.mark.thorough),
    ],
)
def test_an_interrupted_run_says_so_and_goes_on(
    how: str, workers: int, starter: Starter, file: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    store, mark = tmp_path / "store", f"stop-{os.getpid()}-{time.monotonic_ns()}"
    with command("run", file, "--store", store, "--workers", workers, mark=mark) as process:
        wait_for(store, 12, lambda: there(process.pid))
        if how == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.strip().splitlines()[-1] == (
        "error: interrupted; what was computed is kept, so the same command goes on from here"
    )
    assert "Traceback" not in err + out, err
    assert gone(mark), marked(mark)
    assert raw_store.query(store, "select status from runs") == [("interrupted",)]
    if workers == 0:  # workers are killed, and what they were writing is left to `carom gc`
        assert not [p for p in (store / "artifacts").rglob(".*")], "a half-written file, though nothing was killed"
    finish(starter, file, store)
    assert raw_store.query(store, "select status from runs") == [("done",)]
    assert raw_store.contents(store) == raw_store.contents(uninterrupted)


# ------------------------------------------------------------------------------------------------------- what is left


def test_tables_of_a_half_done_store(starter: Starter, file: Path, uninterrupted: Path, tmp_path: Path) -> None:
    """Killed among the evaluations: a part of the cells, each of them right, and the rest said to be missing."""
    expected = raw_store.cells(uninterrupted)
    whole = progress(uninterrupted)
    for attempt in range(20):
        store = tmp_path / str(attempt) / "store"
        store.parent.mkdir()
        goal = whole - len(expected) + 10 + attempt
        if killed(starter, file, store, goal, 0.0) and 0 < len(raw_store.cells(store)) < len(expected):
            break
    else:
        pytest.fail("no kill fell among the evaluations")
    some = raw_store.cells(store)
    assert all(expected[pair] == cell for pair, cell in some.items())
    _, wait = starter("show", "--json", "--store", store, log=tmp_path / "log")
    assert wait() == 0
    tables = json.loads((tmp_path / "log").read_text())
    assert 0 < sum(row["cells"] for row in tables["cases"]) <= len(some)


def test_leftovers_confuse_nobody_and_gc_removes_them(
    starter: Starter, file: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    store, log = tmp_path / "store", tmp_path / "log"
    killed(starter, file, store, 20, 0.0)
    sets = store / "artifacts" / "sets"
    names = [
        key for (key,) in raw_store.query(store, "select key from artifacts where kind = 'sets' and digest is null")
    ]
    assert names
    litter = [sets / f".{names[0]}.safetensors.4711", sets / f".{names[0]}.json.4711", sets / f"{'f' * 32}.safetensors"]
    for path in litter:
        path.write_bytes(b"half")
    (sets / f"{names[-1]}.json").write_text('{"digest": "0", "inputs": {}}')  # its tensors were never written
    _, wait = starter("gc", "--store", store, log=log)
    assert wait() == 0
    assert not [p for p in litter if p.exists()]
    check_half_done(store)
    for path in litter[:2]:
        path.write_bytes(b"half")
    finish(starter, file, store)
    came = raw_store.contents(store)
    assert came == raw_store.contents(uninterrupted)
    _, wait = starter("gc", "--store", store, log=log)
    assert wait() == 0
    assert "in 2 files" in log.read_text()
    assert raw_store.contents(store) == came
