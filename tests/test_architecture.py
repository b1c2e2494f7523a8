"""The shape of the house, kept by reading the source: who imports whom, and what every registry entry owes."""

import ast
import dataclasses
import graphlib
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

import carom
from carom.attacks import ATTACKS, CONTROLS
from carom.defenses import DEFENSES
from carom.identity import content_key
from carom.registry import summary
from carom.scenarios.catalogue import KINDS, catalogue
from carom.surrogates import SURROGATES
from carom.zoo.architectures import ARCHITECTURES, LIBRARIES
from carom.zoo.tasks import TASKS
from carom.zoo.training.recipes import RECIPES

ROOT = Path(__file__).parents[1]
ROOMS = ("attacks", "zoo", "surrogates", "defenses", "scenarios", "app")
MAY_IMPORT = {
    "core": set(),
    "attacks": {"core"},
    "zoo": {"core"},
    "surrogates": {"core", "attacks", "zoo"},
    "defenses": {"core", "attacks", "zoo"},
    "scenarios": {"core", "attacks", "zoo", "surrogates", "defenses"},
    "app": {"core", "attacks", "zoo", "surrogates", "defenses", "scenarios"},
}


def sources() -> Iterator[tuple[str, Path, ast.Module]]:
    """Room, path and syntax tree of every module."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield room, path, ast.parse(path.read_text(), str(path))
    for path in sorted((ROOT / "src" / "carom").glob("*.py")):
        yield "core", path, ast.parse(path.read_text(), str(path))


SOURCES = list(sources())


def imported(tree: ast.AST) -> Iterator[str]:
    """Absolute names of the modules that a module imports, wherever it does so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str | None:
    """The room that a module of carom stands in; None for other libraries and for carom itself."""
    parts = name.split(".")
    if parts[0] != "carom" or len(parts) == 1:
        return None
    return parts[1] if parts[1] in ROOMS else "core"


# ------------------------------------------------------------------------------------------------------------ imports


def test_every_room_is_read() -> None:
    counts = {room: sum(r == room for r, _, _ in SOURCES) for room in MAY_IMPORT}
    assert all(counts.values()), counts
    assert counts["scenarios"] > 20


def test_imports_point_one_way() -> None:
    wrong = []
    for room, path, tree in SOURCES:
        if path == ROOT / "src" / "carom" / "__init__.py":
            continue  # its two functions are imported when first asked for
        for name in imported(tree):
            other = room_of(name)
            if other is not None and other != room and other not in MAY_IMPORT[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


# Of the attacks: each line may import those above it, and a folder itself. All but `slots` see the core too.
ATTACKS_FROM_BELOW = (
    ("slots",),
    ("reading",),
    ("momentum",),  # member rules and objectives have one of their own
    ("starts", "objectives", "transformations", "rules", "members", "paths", "steps", "controls"),
    ("iterative",),
    ("composition", "smallest", "queries", "libraries"),
    ("crafting",),
    ("paths/search",),  # judges a path by what it crafts
    ("names",),
    ("__init__",),
)
ATTACKS_RANK = {place: rank for rank, places in enumerate(ATTACKS_FROM_BELOW) for place in places}


def place_in_attacks(module: str) -> str:
    """The line of the list above that a module of the attacks stands in, from its path without "attacks/"."""
    return module if module in ATTACKS_RANK else module.split("/")[0]


def attacks_imported(path: Path, tree: ast.Module) -> Iterator[str]:
    """Paths in the attacks, without ".py", of what a module of theirs imports, `from .x import y` too."""
    files = {str(p.relative_to(ROOT / "attacks").with_suffix("")) for p in (ROOT / "attacks").rglob("*.py")}
    folder = path.parent.relative_to(ROOT / "attacks")
    names = [name.removeprefix("carom.attacks.") for name in imported(tree) if name.startswith("carom.attacks.")]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            beside = [*folder.parts, *(node.module or "").split(".")]
            names += [".".join([*filter(None, beside), alias.name]) for alias in node.names]
    for name in names:
        parts = name.split(".")
        ways = ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]
        yield next(file for way in ways for file in (way, f"{way}/__init__") if file in files)


def test_imports_inside_the_attacks_point_one_way() -> None:
    wrong, read = [], 0
    for path in sorted((ROOT / "attacks").rglob("*.py")):
        own = str(path.relative_to(ROOT / "attacks").with_suffix(""))
        for other in attacks_imported(path, ast.parse(path.read_text())):
            read += 1
            mine, theirs = place_in_attacks(own), place_in_attacks(other)
            if own == "paths/__init__" and other == "paths/search":
                continue  # a folder's face shows what is in it
            if mine != theirs and not ATTACKS_RANK[theirs] < ATTACKS_RANK[mine]:
                wrong.append(f"attacks/{own}.py imports attacks/{other}.py")
    assert not wrong, "\n".join(wrong)
    assert read > 100


def test_no_two_files_of_the_attacks_import_each_other() -> None:
    """No cycle inside a folder either."""
    graph = {}
    for path in (ROOT / "attacks").rglob("*.py"):
        own = str(path.relative_to(ROOT / "attacks").with_suffix(""))
        graph[own] = set(attacks_imported(path, ast.parse(path.read_text()))) - {own}
    TopologicalSorter(graph).prepare()  # raises where there is a cycle, and names it


def test_rooms_are_imported_as_carom_and_never_by_a_parent() -> None:
    wrong = []
    for room, path, tree in SOURCES:
        wrong += [f"{path} imports {name}" for name in imported(tree) if name.split(".")[0] in ROOMS]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.level > 1 or (node.level == 1 and room == "core")):
                wrong.append(f"{path}:{node.lineno} has a relative import of a parent")
    assert not wrong, "\n".join(wrong)


# Inside scenarios: what the files of a folder may import of it, and in which order each imports those before it.
GROUND = {"axes", "cases", "traces"}
FOLDERS = {
    "spec": GROUND,
    "plan": GROUND | {"spec", "store"},
    "store": GROUND | {"environment", "statistics"},
    "jobs": GROUND | {"environment", "spec", "plan", "store"},
    "run": GROUND | {"environment", "spec", "plan", "store", "jobs"},
}
ORDER = {
    "spec": (("text", "fields"), ("scenario",), ("models", "attacks", "labels", "refuse"), ("sets",), ("read",)),
    "plan": (
        ("images", "stored"),
        ("models",),
        ("surrogates",),
        ("brought",),
        ("sets",),
        ("outside",),
        ("plan",),
        ("measures", "prices"),
        ("lacking",),
        ("cost",),
    ),
    "store": (
        ("schema", "artifacts", "predictions", "order", "called", "migrations", "connections"),
        ("database",),
        ("runs", "outcomes", "stamps", "free"),
        ("lists",),
    ),
    "jobs": (
        ("job", "answers", "visibility"),
        ("inputs",),
        ("train", "build", "measure", "examine", "craft", "controls", "bring", "evaluate"),
        ("kinds",),
    ),
    "run": (("progress", "given", "rows"), ("take",), ("run",)),
}
READS_THE_STORE = {"stored.py", "lacking.py", "cost.py"}  # of a plan, which itself needs no store
FILES = {"artifacts", "predictions"}  # of the store: what a job writes and packs; it knows no database


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_scenarios_imports_what_stands_before_it(folder: str) -> None:
    wrong = []
    for path in sorted((ROOT / "scenarios" / folder).rglob("*.py")):
        for name in imported(ast.parse(path.read_text())):
            parts = name.split(".")
            if parts[:2] != ["carom", "scenarios"]:
                continue
            of_store = parts[2] == "store"
            if (
                parts[2] not in FOLDERS[folder] | {folder}
                or (of_store and folder == "plan" and path.name not in READS_THE_STORE)
                or (of_store and folder == "jobs" and parts[3] not in FILES)
            ):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", ORDER)
def test_files_of_a_folder_import_those_before_them(folder: str) -> None:
    place = {name: i for i, names in enumerate(ORDER[folder]) for name in names}
    paths = [p for p in sorted((ROOT / "scenarios" / folder).glob("*.py")) if p.stem != "__init__"]
    assert {p.stem for p in paths} == set(place)
    wrong = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                others = [node.module] if node.module else [alias.name for alias in node.names]
                others = [o for o in others if o.partition(".")[0] in place]  # others are folders
                wrong += [f"{path.relative_to(ROOT)} imports {o}" for o in others if place[o] >= place[path.stem]]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", ["axes.py", "cases.py", "traces.py"])
def test_the_ground_of_scenarios_imports_nothing_but_itself(path: str) -> None:
    tree = ast.parse((ROOT / "scenarios" / path).read_text())
    assert not [name for name in imported(tree) if name.split(".")[0] not in sys.stdlib_module_names]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_refuses_to_be_imported_under_another_name(room: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"ImportError: import carom.{room}, not {room}" in done.stderr


# What stands on what inside a room, the ground first. A module may import what stands under its own name, and under all
# names in lines before; of several names that fit a module the longest counts. "" is the room's face.
STOREYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "zoo": (
        ("preprocessing", "tasks"),
        ("architectures",),
        ("models",),
        ("models.outside",),
        ("models.references",),
        ("training",),
        ("references", "classifier"),  # where `models` had them first
        ("",),
    ),
    "surrogates": (
        ("surrogate",),
        ("builder", "stack", "onward", "probe"),
        ("networks", "untrained"),
        ("posterior",),
        ("trajectory",),
        ("flatness",),
        ("smoothness", "queries", "geometry"),
        ("chain",),
        ("",),
    ),
    "defenses": (
        ("defense",),
        ("training", "wrappers"),
        ("distillation", "public_models", "masking"),
        ("chain",),
        ("",),
    ),
    "scenarios": (
        ("axes", "traces", "environment"),
        ("cases",),
        ("spec", "statistics"),
        ("store",),
        ("plan",),
        ("jobs",),
        ("run",),
        ("published",),
        ("tables",),
        ("charts",),
        ("findings",),
        ("report",),
        ("gates",),
        ("audit",),
        ("api", "catalogue", "students"),
        ("cli",),
        ("",),
    ),
}


def module_of(path: Path) -> str:
    """The name that a file of a room is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[1:] if parts[0] == "src" else ("carom", *parts)).removesuffix(".__init__")


def folder_of(module: str, room: str) -> str:
    """The folder of a room that a module stands in, or its own name where it stands in none; "" is the room's face."""
    within = module.split(".")[1 if room == "core" else 2 :]
    return within[0] if within else ""


def within(room: str) -> dict[str, set[str]]:
    """For each module of a room those of the room that it imports, wherever it does so, for type checkers too.

    A name that is imported from a package is the module of that name, or else in the package's face.
    """
    trees = {path: tree for r, path, tree in SOURCES if r == room and path != ROOT / "src" / "carom" / "__init__.py"}
    names = {path: module_of(path) for path in trees}
    known = set(names.values())
    found: dict[str, set[str]] = {}
    for path, tree in trees.items():
        here = set(imported(tree))
        package = names[path] if path.stem == "__init__" else names[path].rpartition(".")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                base = f"{package}.{node.module}" if node.module else package
                here |= {f"{base}.{alias.name}" for alias in node.names}
        modules = {name if name in known else name.rpartition(".")[0] for name in here}
        found[names[path]] = (modules & known) - {names[path]}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_neither_modules_nor_folders_of_a_room_import_each_other_in_a_circle(room: str) -> None:
    graph = within(room)
    assert sum(map(len, graph.values())) > len(graph) / 2
    between: dict[str, set[str]] = {}
    for module, others in graph.items():
        mine = folder_of(module, room)
        between.setdefault(mine, set()).update({folder_of(other, room) for other in others} - {mine})
    for imports in (graph, between):
        try:
            graphlib.TopologicalSorter(imports).prepare()
        except graphlib.CycleError as error:
            pytest.fail(" is imported by ".join(error.args[1]))


@pytest.mark.parametrize("room", STOREYS)
def test_imports_inside_a_room_point_down(room: str) -> None:
    storeys = {name: height for height, line in enumerate(STOREYS[room]) for name in line}

    def part(module: str) -> str:
        inside = module.removeprefix(f"carom.{room}").removeprefix(".")
        fitting = [name for name in storeys if f"{inside}.".startswith(f"{name}.")]
        assert fitting, f"{module} stands in no line of STOREYS"
        return max(fitting, key=len)

    graph = within(room)
    assert {part(module) for module in graph} == set(storeys)
    wrong = [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in others
        if part(other) != part(module) and storeys[part(other)] >= storeys[part(module)]
    ]
    assert not wrong, "\n".join(wrong)


READ_WITHOUT_TORCH = (
    "scenarios/store",
    "scenarios/statistics",
    "scenarios/tables",
    "scenarios/charts",
    "scenarios/findings",
    "scenarios/report",
    "scenarios/published",
    "app/queries",
    "app/charts",
)
WITHOUT_TORCH = (
    "carom",
    "carom.scenarios.cli.main",
    "carom.scenarios.cli.console",
    *(module_of(path) for folder in READ_WITHOUT_TORCH for path in sorted((ROOT / folder).rglob("*.py"))),
)


def test_what_reads_a_store_loads_no_torch() -> None:
    code = "import sys\nfor name in sys.argv[1:]:\n    __import__(name)\n    print(name, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *WITHOUT_TORCH], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name} False" for name in WITHOUT_TORCH]


# ------------------------------------------------------------------------------------------ what reads and what shows

APP_MAY_IMPORT = {
    "pages": {"charts", "queries", "shell"},
    "shell": {"queries"},
    "charts": set(),
    "queries": set(),
    "explorer": set(),
    "": set(),
}


def folders(room: str) -> Iterator[tuple[str, Path, ast.Module]]:
    """Folder, path and syntax tree of every module of a room."""
    for of, path, tree in SOURCES:
        if of == room:
            yield folder_of(module_of(path), room), path, tree


def test_statistics_know_no_store() -> None:
    """They see numbers, and know of the house what a case and its axes are called."""
    may = ("carom.scenarios.cases.", "carom.scenarios.axes.")
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder, path, tree in folders("scenarios")
        if folder == "statistics"
        for name in imported(tree)
        if name.startswith("carom.scenarios.") and not name.startswith(may)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_explorers_folders_point_one_way() -> None:
    wrong = []
    for folder, path, tree in folders("app"):
        for name in imported(tree):
            may = {folder, *APP_MAY_IMPORT[folder]}
            if name.startswith("carom.app.") and folder_of(name, "app") not in may:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            if folder in ("queries", "charts") and name.split(".")[0] == "streamlit":
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_nobody_imports_the_command_line() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for room, path, tree in SOURCES
        for name in imported(tree)
        if name.startswith("carom.scenarios.cli") and not module_of(path).startswith("carom.scenarios.cli")
    ]
    assert not wrong, "\n".join(wrong)


def test_jobs_import_no_database() -> None:
    """Not through others either: a worker needs files alone."""
    code = (
        "import importlib, pkgutil, sys, carom.scenarios.jobs as jobs\n"
        "names = [m.name for m in pkgutil.walk_packages(jobs.__path__, jobs.__name__ + '.')]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names), *({'sqlalchemy', 'carom.scenarios.store.database'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(list((ROOT / "scenarios" / "jobs").glob("*.py"))) - 1)]


# ------------------------------------------------------------------------------------------------------------- habits


def test_no_module_is_a_drawer() -> None:
    drawers = re.compile(r"util|helper|manager|misc|common|base_")
    assert not [path for _, path, _ in SOURCES if drawers.search(path.stem)]


def test_no_file_is_long() -> None:
    plugin = (ROOT / "src" / "pytest_carom").rglob("*.py")
    lengths = {path: len(path.read_text().splitlines()) for path in (*plugin, *(path for _, path, _ in SOURCES))}
    assert not {path: lines for path, lines in lengths.items() if lines >= 400}


def test_annotations_are_real() -> None:
    for _, path, tree in SOURCES:
        futures = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
        assert not futures, f"{path}: annotations as strings are not checked in tests"


def test_every_module_says_what_it_is() -> None:
    silent = [path for _, path, tree in SOURCES if not ast.get_docstring(tree)]
    assert not silent


# --------------------------------------------------------------------------------------------------------- registries

REGISTRIES: Mapping[str, Mapping[str, Any]] = {
    "attacks": ATTACKS,
    "controls": CONTROLS,
    "surrogates": SURROGATES,
    "defenses": DEFENSES,
    "architectures": ARCHITECTURES,
    "libraries": LIBRARIES,
    "recipes": RECIPES,
    "tasks": TASKS,
}
STAGED = ("surrogates", "defenses")
ENTRIES = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry]


def test_registries_cannot_be_changed() -> None:
    for kind, registry in REGISTRIES.items():
        with pytest.raises(TypeError):
            registry["new"] = None  # type: ignore[index]
        assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in registry), kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listed:
    """Where entries of a kind are listed, and what goes with each.

    Attributes:
        by: The file whose lines they are.
        folders: Where their files stand; each stands here because of a line, itself or through one that does.
        beside: Modules there that are no entries and serve none: others use them.
        contract: Tests that hold all of them, and the name of the registry that those are parametrised over.
    """

    by: tuple[str, ...]
    folders: tuple[str, ...]
    beside: tuple[str, ...] = ()
    contract: tuple[str, str] | None = None


LISTED = {
    "attacks": Listed(
        by=("carom.attacks.names",),
        folders=tuple(f"attacks/{of}" for of in (*ATTACKS_FROM_BELOW[3][:-1], "momentum", "smallest", "queries")),
        beside=("carom.attacks.paths.search",),
        contract=("attacks/test_attack_contract.py", "ATTACKS"),
    ),
    "controls": Listed(
        by=("carom.attacks.controls",),
        folders=("attacks/controls",),
        contract=("attacks/controls/test_controls.py", "CONTROLS"),
    ),
    "libraries of attacks": Listed(by=("carom.attacks.libraries",), folders=("attacks/libraries",)),
    "surrogates": Listed(
        by=("carom.surrogates",),
        folders=tuple(
            f"surrogates/{of}" for of in ("networks", "posterior", "trajectory", "flatness", "smoothness", "queries")
        ),
        contract=("surrogates/test_chain.py", "SURROGATES"),
    ),
    "defenses": Listed(
        by=("carom.defenses",),
        folders=tuple(f"defenses/{of}" for of in ("training", "public_models", "distillation", "wrappers")),
        contract=("defenses/test_contract.py", "DEFENSES"),
    ),
    "architectures": Listed(
        by=("carom.zoo.architectures",),
        folders=("zoo/architectures",),
        contract=("zoo/architectures/test_architectures.py", "ARCHITECTURES"),
    ),
    "tasks": Listed(
        by=("carom.zoo.tasks",),
        folders=("zoo/tasks",),
        beside=("carom.zoo.tasks.attacked", "carom.zoo.tasks.balance", "carom.zoo.tasks.render_digits"),
        contract=("zoo/tasks/test_tasks.py", "TASKS"),
    ),
    "recipes": Listed(
        by=("carom.zoo.training.recipes",), folders=(), contract=("zoo/training/test_recipes.py", "RECIPES")
    ),
    "jobs": Listed(
        by=("carom.scenarios.jobs.kinds",),
        folders=("scenarios/jobs",),
        contract=("scenarios/jobs/test_kinds.py", "PHASES"),
    ),
    "tables": Listed(by=("carom.scenarios.tables.which", "carom.scenarios.cli.main"), folders=("scenarios/tables",)),
    "charts": Listed(by=("carom.scenarios.report.figures", "pages"), folders=("scenarios/charts", "app/charts")),
    "pages": Listed(by=("pages",), folders=("app",), beside=("carom.app.shell.serve",)),
    "gates": Listed(by=("carom.scenarios.cli.main", "pytest_carom"), folders=("scenarios/gates",)),
    "commands": Listed(by=("carom.scenarios.cli.main",), folders=("scenarios/cli",)),
}


@cache
def imports_of_all() -> dict[str, set[str]]:
    """For each module those of carom that it imports, wherever it does so, with the faces of the folders above."""
    trees = {module_of(path): (path, tree) for _, path, tree in SOURCES}
    for path in (ROOT / "src" / "pytest_carom").rglob("*.py"):
        trees[module_of(path)] = (path, ast.parse(path.read_text()))
    found: dict[str, set[str]] = {}
    for module, (path, tree) in trees.items():
        here = set(imported(tree))
        package = module if path.stem == "__init__" else module.rpartition(".")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                base = f"{package}.{node.module}" if node.module else package
                here |= {f"{base}.{alias.name}" for alias in node.names}
        found[module] = {name if name in trees else name.rpartition(".")[0] for name in here} & set(trees)
    found["pages"] = {module for module in trees if module.startswith("carom.app.pages.")} | {"carom.app.explorer"}
    return found


@pytest.mark.parametrize("kind", LISTED)
def test_every_file_of_a_kind_stands_on_a_line_of_its_list(kind: str) -> None:
    graph = imports_of_all()
    reached: set[str] = set()
    due = list(LISTED[kind].by)
    while due:
        module = due.pop()
        if module not in reached:
            reached.add(module)
            due += graph[module]
    files = {module_of(path) for folder in LISTED[kind].folders for path in (ROOT / folder).rglob("*.py")}
    faces = {module_of(path) for _, path, _ in SOURCES if path.stem == "__init__"}
    assert files - reached - faces == set(LISTED[kind].beside)


@pytest.mark.parametrize("kind", [kind for kind, listed in LISTED.items() if listed.contract])
def test_a_contract_is_tested_on_every_entry(kind: str) -> None:
    file, registry = LISTED[kind].contract or ("", "")
    tree = ast.parse((ROOT / "tests" / file).read_text())
    lists = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def over(node: ast.AST) -> bool:
        """Whether an expression names the registry, itself or by a list of the module."""
        names = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
        return registry in names or any(over(lists[name]) for name in names if name in lists)

    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert any(
        isinstance(call.func, ast.Attribute) and call.func.attr == "parametrize" and over(call.args[1])
        for call in calls
        if len(call.args) > 1
    )


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_has_a_paper_and_one_line(kind: str, name: str) -> None:
    entry = REGISTRIES[kind][name]
    line = getattr(entry, "summary", None) or summary(entry)
    assert isinstance(entry.paper, str)
    assert entry.paper.strip()
    assert 10 <= len(line) <= 120
    assert line.endswith("."), line
    assert "\n" not in line


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, n in ENTRIES if k != "attacks"])
def test_every_class_that_a_name_stands_for_is_frozen_and_has_a_version(kind: str, name: str) -> None:
    entry = REGISTRIES[kind][name]
    classes: list[Any] = [type(stage) for stage in entry.stages] if kind in STAGED else [entry]
    for cls in classes:
        assert cls.__dataclass_params__.frozen
        assert isinstance(cls.version, int)


@pytest.mark.parametrize("kind", KINDS)
def test_the_catalogue_holds_every_entry(kind: str) -> None:
    entries = {entry["name"]: entry for entry in catalogue(kind)}
    if kind in REGISTRIES:
        assert set(REGISTRIES[kind]) <= set(entries)
    for entry in entries.values():
        assert entry["summary"]
        assert entry["paper"]


def spec_classes() -> list[type]:
    """Every frozen keyword-only dataclass of the rooms that says a paper or a version, and what stands inside those."""
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(carom.__path__, "carom."):
        if module.name.startswith("carom.app"):
            continue
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if cls.__module__.startswith("carom.") and dataclasses.is_dataclass(cls):
                found[f"{cls.__module__}.{cls.__qualname__}"] = cls
    keyed = [cls for cls in found.values() if hasattr(cls, "paper") or hasattr(cls, "version")]
    return sorted(keyed, key=lambda cls: f"{cls.__module__}.{cls.__qualname__}")


def test_what_enters_keys_has_a_version() -> None:
    """A dataclass without `version` would be hashed as version 1 for ever, whatever became of its numbers."""
    for cls in spec_classes():
        assert isinstance(getattr(cls, "version", None), int), f"{cls.__module__}.{cls.__qualname__} has no version"
        assert cls.__dataclass_params__.frozen, cls  # type: ignore[attr-defined]


def parts(value: object) -> Iterator[object]:
    """Every dataclass in a value that is hashed."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from parts(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from parts(item)


def test_every_part_of_a_presets_keys_has_a_version() -> None:
    from carom.scenarios.spec.read import parse_scenario
    from carom.scenarios.spec.scenario import TrainedModel

    for entry in catalogue("presets"):
        if entry["name"] in ("imagenet-standard", "cifar10-resnets", "imagenet-lite"):  # of files of the user's
            continue
        scenario = parse_scenario(entry["text"], where=entry["name"])
        models = (
            [s.base for s in scenario.surrogates]
            + [v.model for v in scenario.victims]
            + [p.model for p in scenario.pool]
        )
        hashed: list[object] = [m.configuration for m in models if isinstance(m, TrainedModel)]
        hashed += [scenario.task, *(s.builder for s in scenario.surrogates), *(a.attack for a in scenario.attacks)]
        hashed += [v.defense for v in scenario.victims] + [p.defense for p in scenario.pool]
        hashed += scenario.budgets
        assert content_key(hashed)
        for part in parts(hashed):
            if not isinstance(part, Fraction):
                assert isinstance(getattr(part, "version", None), int), f"{type(part).__name__} has no version"


# -------------------------------------------------------------------------------------------------------------- pages

PAGES = {
    "attacks": "attacks.md",
    "controls": "attacks.md",
    "surrogates": "surrogates.md",
    "defenses": "defenses.md",
    "architectures": "zoo.md",
    "recipes": "zoo.md",
    "balances": "zoo.md",
    "tasks": "data.md",
    "presets": "cli.md",
    "suites": "gates.md",
    "terms": "glossary.md",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_is_documented(kind: str) -> None:
    page = (ROOT / "docs" / PAGES[kind]).read_text()
    missing = [e["name"] for e in catalogue(kind) if not re.search(rf"(?<![\w-]){re.escape(e['name'])}(?![\w-])", page)]
    assert not missing, f"docs/{PAGES[kind]} does not name {missing}"


def test_links_of_the_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    broken = [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert not broken, broken
