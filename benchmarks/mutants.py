"""Would the quick tests notice? Mutants of the code that numbers rest on, each against the tests of its own folder.

    python benchmarks/mutants.py [--n 240] [--seed 0] [--jobs 2]

A place in the code is drawn, then one of cosmic-ray's operators that can change it: a comparison, a sum, a number, a
condition, a constant, a loop. Annotations are left out, as no test could see a change there. A mutant is killed when a
test that `make test` runs fails, or takes five times as long as without it. What survives is listed, with the line
before and after, in docs/science/mutants.md: either no test sees it, or it is the same function written otherwise.
"""

import argparse
import ast
import difflib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from types import MappingProxyType

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from scipy.stats import binomtest  # type: ignore[attr-defined]

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".carom" / "mutants"  # what was found, so that a run that was interrupted goes on
PAGE = ROOT / "docs" / "science" / "mutants.md"
TESTS = {
    "scenarios/statistics": "tests/scenarios/statistics",
    "scenarios/store": "tests/scenarios/store",
    "attacks/composition.py": "tests/attacks/test_composition.py",
    "src/carom/budget.py": "tests/test_budget.py",
}
"""What is changed, and the tests that have to notice."""
QUICK = "not slow and not thorough"  # as in `make test`

OPERATORS = (
    *(f"ReplaceBinaryOperator_{a}" for a in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul")),
    *(f"ReplaceBinaryOperator_{a}" for a in ("Pow_Mul", "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitOr")),
    *(f"ReplaceComparisonOperator_{a}" for a in ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),
    *(f"ReplaceComparisonOperator_{a}" for a in ("Lt_Gt", "Gt_Lt", "LtE_GtE", "GtE_LtE", "Is_IsNot", "IsNot_Is")),
    "ReplaceUnaryOperator_Delete_USub",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "AddNot",
    "NumberReplacer",
    "ZeroIterationForLoop",
)

Place = tuple[int, int]  # line and column


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file."""

    file: Path  # below the root
    place: Place
    operator: str
    occurrence: int

    def code(self) -> str:
        """The whole file with the change."""
        operator = get_operator(f"core/{self.operator}")()
        changed: str | None = mutate_code((ROOT / self.file).read_text(), operator, self.occurrence)
        assert changed is not None
        return changed

    def key(self, killers: str) -> str:
        """Names the change of this code, and the tests, if some are named; a killed mutant stays dead."""
        texts = [str(self), (ROOT / self.file).read_text()]
        if killers:
            tests = ROOT / killers
            texts += [file.read_text() for file in (sorted(tests.rglob("*.py")) or [tests])]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()

    def lines(self) -> tuple[str, str]:
        """What the change takes away, and what it puts there."""
        before, after = (ROOT / self.file).read_text().splitlines(), self.code().splitlines()
        told = list(difflib.ndiff(before, after))
        return tuple(" ".join(line[2:].strip() for line in told if line.startswith(sign)) for sign in "-+")  # type: ignore[return-value]


def annotations(code: str) -> Iterator[tuple[Place, Place]]:
    """Where annotations begin and end."""
    for node in ast.walk(ast.parse(code)):
        for name in ("annotation", "returns"):
            found = getattr(node, name, None)
            if isinstance(found, ast.expr):
                assert found.end_lineno is not None and found.end_col_offset is not None  # noqa: PT018
                yield (found.lineno, found.col_offset), (found.end_lineno, found.end_col_offset)


def mutants_of(file: Path) -> Iterator[Mutant]:
    """Every change of a file that the operators know."""
    code = (ROOT / file).read_text()
    silent = list(annotations(code))
    tree = get_ast(code)
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        positions = (place for node in ast_nodes(tree) for place in operator.mutation_positions(node))
        for occurrence, (start, _) in enumerate(positions):
            if not any(first <= start < last for first, last in silent):
                yield Mutant(file=file, place=start, operator=name, occurrence=occurrence)


def drawn(n: int, seed: int) -> list[Mutant]:
    """`n` mutants at different places, of all files in proportion to their places."""
    files = [f.relative_to(ROOT) for part in TESTS for f in sorted((ROOT / part).rglob("*.py")) or [ROOT / part]]
    by_place: dict[tuple[Path, Place], list[Mutant]] = {}
    for file in files:
        for mutant in mutants_of(file):
            by_place.setdefault((file, mutant.place), []).append(mutant)
    generator = random.Random(seed)
    places = generator.sample(sorted(by_place), min(n, len(by_place)))
    print(f"{len(places)} of {len(by_place)} places in {len(files)} files", file=sys.stderr)
    return [generator.choice(by_place[place]) for place in places]


class Quickest:
    """Lets pytest run what was quick before first, file by file; keeps how long each test took.

    Attributes:
        seconds: Of each test, as it was without a change.
    """

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self.seconds = seconds
        self.took: dict[str, float] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        files: dict[str, float] = {}
        for item in items:
            files[item.location[0]] = files.get(item.location[0], 0.0) + self.seconds.get(item.nodeid, 0.0)

        def place(item: pytest.Item) -> tuple[float, str, float]:
            return files[item.location[0]], item.location[0], self.seconds.get(item.nodeid, 0.0)

        items.sort(key=place)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.took[report.nodeid] = self.took.get(report.nodeid, 0.0) + report.duration


def failed(tree: Path, tests: Sequence[str], limit: float, seconds: Mapping[str, float] = MappingProxyType({})) -> bool:
    """Whether a test fails in this copy, or takes longer than the limit, in a process that has torch already."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.chdir(tree)
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(said, descriptor)
        code = 3
        try:
            sys.path.insert(0, str(tree / "src"))
            os.environ["PYTHONPATH"] = str(tree / "src")  # of the processes that tests start
            order = Quickest(seconds)
            # what is imported already cannot be rewritten, and need not be
            known = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
            # types are not checked here: a mutant that only they would notice counts as alive
            plain = [
                "-o",
                "addopts=--strict-markers --import-mode=importlib",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:xdist",
            ]
            asked = ["-x", "-q", *plain, "-m", QUICK, *known, *tests]
            code = int(pytest.main(asked, plugins=[order]))
            Path("took.json").write_text(json.dumps(order.took))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def copied(to: Path) -> Path:
    """A copy of the files that git knows, to change."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.strip("\0").split("\0"):
        source, target = ROOT / name, to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    return to


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=240, help="mutants (240)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="copies that are tested at once (2)")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
    import hypothesis.strategies  # noqa: F401  what every child would import
    import pandas as pd  # noqa: F401
    import safetensors.numpy  # noqa: F401
    import sqlalchemy as sa  # noqa: F401
    import torch

    torch.set_num_threads(1)
    KEPT.mkdir(parents=True, exist_ok=True)
    mutants = drawn(asked.n, asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        trees: Queue[Path] = Queue()
        for job in range(asked.jobs):
            trees.put(copied(Path(folder, str(job))))
        limits, seconds = {}, {}
        for part, tests in TESTS.items():
            tree, start = trees.get(), time.monotonic()
            if failed(tree, [tests], 1800):
                sys.exit(f"the tests of {part} fail without any change:\n{(tree / 'said.txt').read_text()}")
            limits[part] = 5 * (time.monotonic() - start) + 20
            seconds[part] = json.loads((tree / "took.json").read_text())
            print(f"{part}: {(limits[part] - 20) / 5:.0f} s", file=sys.stderr)
            trees.put(tree)

        def killed(mutant: Mutant) -> bool:
            part = next(part for part in TESTS if mutant.file.is_relative_to(part))
            asked_before = KEPT / mutant.key(killers="")
            asked_now = KEPT / mutant.key(killers=TESTS[part])
            if asked_before.exists() or asked_now.exists():
                return asked_before.exists()
            tree = trees.get()
            file = tree / mutant.file
            before = file.read_text()
            try:
                file.write_text(mutant.code())
                folder_of_tests = ROOT / TESTS[part]
                named = [str(f.relative_to(ROOT)) for f in folder_of_tests.glob(f"test_*{mutant.file.stem}*.py")]
                outcome = bool(named) and failed(tree, named, limits[part], seconds[part])
                outcome = outcome or failed(tree, [TESTS[part]], limits[part], seconds[part])
                (asked_before if outcome else asked_now).touch()
                return outcome
            finally:
                file.write_text(before)
                shutil.rmtree(file.parent / "__pycache__", ignore_errors=True)
                trees.put(tree)

        outcomes = []
        start = time.monotonic()
        with ThreadPoolExecutor(asked.jobs) as pool:
            for i, outcome in enumerate(pool.map(killed, mutants), 1):
                outcomes.append(outcome)
                if not outcome:
                    before, after = mutants[i - 1].lines()
                    print(f"\n{mutants[i - 1].file}\n  - {before}\n  + {after}", file=sys.stderr)
                left = (time.monotonic() - start) / i * (len(mutants) - i)
                said = f"\r{i}/{len(mutants)}, killed {sum(outcomes)}, {left / 60:.0f} min left "
                print(said, end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    PAGE.write_text(page(mutants, outcomes, asked.seed))
    print(PAGE.read_text())


def page(mutants: Sequence[Mutant], outcomes: Sequence[bool], seed: int) -> str:
    """The counts of each part, and what survived."""
    rows = []
    for part in (*TESTS, ""):
        own = [outcome for m, outcome in zip(mutants, outcomes, strict=True) if m.file.is_relative_to(part)]
        low, high = binomtest(sum(own), len(own)).proportion_ci() if own else (0.0, 1.0)
        rows.append(f"| {f'`{part}`' if part else 'all'} | {len(own)} | {sum(own)} | {low:.0%} to {high:.0%} |")
    survivors = []
    for mutant in sorted((m for m, o in zip(mutants, outcomes, strict=True) if not o), key=lambda m: (m.file, m.place)):
        before, after = (text.replace("|", "\\|") for text in mutant.lines())
        survivors.append(f"| {mutant.file}:{mutant.place[0]} | `{before}` | `{after}` |")
    return "\n".join(
        [
            "# Mutants",
            "",
            f"`python benchmarks/mutants.py --n {len(mutants)} --seed {seed}`: changes drawn at random, each",
            "against the tests of its folder that `make test` runs. Fewer killed than 85 % would say that those",
            "tests are too few. Tests were written for what survived of seeds 0 and 1, so another seed is the fairer",
            "count. Before that seed 0 gave 149 of 204 (73 %), seed 1 163 of 204 (80 %), then the first 92 of seed 2",
            "74 (80 %): of its first 17 that survived 9 change no result, such as the order in which groups are made.",
            "",
            "| changed | mutants | killed | 95 % interval |",
            "|---|---|---|---|",
            *rows,
            "",
            "## What survived",
            "",
            "| place | before | after |",
            "|---|---|---|",
            *survivors,
            "",
        ]
    )


if __name__ == "__main__":
    main()
