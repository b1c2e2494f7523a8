"""What docs/architecture.md, "How to add ...", promises: one file and one line each, in a copy of the house.

A scenario of the copy names an attack of parts that exist, an attack with a part of its own, a surrogate builder and a
defence; its run also does a job, shows a table and draws a figure of kinds that were added.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Addition:
    """One file, and one line of one list, with the import that the line needs.

    Attributes:
        file: Where, and what is in it; None where the parts exist.
        into: The file with the list.
        before: The line of it that the new one is written above.
        line: The new one; an entry of `ATTACKS` is written over several.
        bring: The import of the list's file, as it was and as it is; None where the line needs none.
    """

    file: tuple[str, str] | None = None
    into: str
    before: str
    line: str
    bring: tuple[str, str] | None = None

    def add(self, house: Path) -> None:
        """Write them."""
        if self.file is not None:
            path = house / self.file[0]
            assert not path.exists()
            path.write_text(self.file[1])
        path = house / self.into
        text = path.read_text()
        for old, new in ((self.before, self.line + self.before), *([self.bring] if self.bring else ())):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path.write_text(text)


def code_of(page: str, heading: str) -> list[str]:
    """The pieces of Python below a heading."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text().split(f"## {heading}")[1], re.DOTALL)


RULE, RULE_ENTRY = code_of("CONTRIBUTING.md", "An attack of the literature, added")
BUILDER, BUILDER_LINE = code_of("docs/surrogates.md", "One more, added")

PARTS_ENTRY = """        "mdi": Part(
            summary="Momentum, and diverse inputs.",
            paper="Xie et al. 2019, arXiv:1803.06978",
            family="gradient",
            slots={"momentum": Momentum(), "transformations": (DI(),)},
        ),
"""
MIRROR = '''"""Each image mirrored before a classifier."""

from dataclasses import dataclass
from typing import ClassVar

from carom.draws import Draws
from carom.stages import Entry
from carom.typing import Images
from carom.zoo.models.classifier import Classifier

from .wrapped import wrapped


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """The image from right to left."""

    version: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    differentiable: ClassVar[bool] = True

    def wrap(self, classifier: Classifier) -> Classifier:
        """The classifier behind it."""
        return wrapped(classifier, self)

    def __call__(self, x: Images, draws: Draws, /) -> Images:
        """Mirrored images."""
        del draws
        return x.flip(-1)


ENTRY = Entry(summary="The image is mirrored first.", paper="none", stages=(Mirror(),))
'''
WEIGH = '''"""How large the weights of a trained model are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carom.identity import content_key
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.plan import Plan
from carom.scenarios.store.artifacts import read_artifact

from .job import Make, Worker, Result, finish


@dataclass(frozen=True, kw_only=True)
class WeighJob:
    """Add up the squares of a model's weights."""

    key: str
    label: str
    model: str
    inputs: Mapping[str, str]

    kind = "weigh"
    units = 1
    lost = ()

    def work(self, worker: Worker, result: Result) -> None:
        """Do it."""
        weights = read_artifact(worker.folder, "weights", self.model, self.inputs["model"])
        total = sum(tensor.double().square().sum() for tensor in weights.values())
        finish(worker, result, "measures", self.key, {"total": total}, self.inputs, {"total": float(total)})


def rounds(plan: Plan) -> Sequence[Make]:
    """All at once."""
    return [_lacking_jobs]


def _lacking_jobs(lacking: Lacking) -> list[WeighJob]:
    trained = {key: digest for key, digest in lacking.model_digests.items() if lacking.plan.models[key].inputs}
    keys = {key: content_key("weigh", key) for key in trained}
    there = lacking.recorded("measures", list(keys.values()))
    return [
        WeighJob(key=keys[key], label=lacking.plan.models[key].label, model=key, inputs={"model": digest})
        for key, digest in trained.items()
        if not lacking.intact("measures", there.get(keys[key]), {"model": digest}, "what a model weighs")
    ]
'''
TABLE = '''"""How many jobs each kind took."""

from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_attempts

from .table import Table


def show_kinds(store: Store, run: str) -> Table:
    """One row a kind."""
    frame = list_attempts(store, run)["job"].value_counts().rename_axis("kind").reset_index(name="jobs")
    return Table(name="kinds", title="Kinds", frame=frame, forms={"kind": "text", "jobs": "count"})
'''
CHART = '''"""How many jobs each kind took, as bars."""

import altair as alt
import pandas as pd


def bars(table: pd.DataFrame) -> alt.LayerChart:
    """A bar a kind."""
    return alt.layer(alt.Chart(table).mark_bar().encode(x="jobs:Q", y="kind:N"))
'''
FIGURE = """        Figure(title="Kinds", chart=bars(tables["kinds"].frame), said="", caption="", data=tables["kinds"]),
"""

ADDED = {
    "attack of parts": Addition(into="attacks/names.py", before='        "ni": Part(\n', line=PARTS_ENTRY),
    "attack with a part of its own": Addition(
        file=("attacks/rules/ie.py", RULE),
        into="attacks/names.py",
        before='        "vmi": Part(\n',
        line=RULE_ENTRY,
        bring=("from .rules.gra import GRA\n", "from .rules.gra import GRA\nfrom .rules.ie import EnhancedEuler\n"),
    ),
    "builder": Addition(
        file=("surrogates/flatness/gradient_norm.py", BUILDER),
        into="surrogates/__init__.py",
        before='        "sam": sam.ENTRY,\n',
        line=BUILDER_LINE,
        bring=("from .flatness import ", "from .flatness import gradient_norm, "),
    ),
    "defence": Addition(
        file=("defenses/wrappers/mirror.py", MIRROR),
        into="defenses/__init__.py",
        before='        "jpeg": jpeg.ENTRY,\n',
        line='        "mirror": mirror.ENTRY,\n',
        bring=("from .wrappers import ", "from .wrappers import mirror, "),
    ),
    "kind of job": Addition(
        file=("scenarios/jobs/weigh.py", WEIGH),
        into="scenarios/jobs/kinds.py",
        before='        "craft": (craft, controls, bring),\n',
        line='        "weigh": (weigh,),\n',
        bring=("measure, train\n", "measure, train, weigh\n"),
    ),
    "table": Addition(
        file=("scenarios/tables/kinds.py", TABLE),
        into="scenarios/tables/which.py",
        before="            show_models(store, run),\n",
        line="            show_kinds(store, run),\n",
        bring=(
            "from .effects import show_effects\n",
            "from .effects import show_effects\nfrom .kinds import show_kinds\n",
        ),
    ),
    "chart": Addition(
        file=("scenarios/charts/bars.py", CHART),
        into="scenarios/report/figures.py",
        before="        *defenses_drawn(tables),\n",
        line=FIGURE,
        bring=(
            "from carom.scenarios.charts import theme\n",
            "from carom.scenarios.charts import theme\nfrom carom.scenarios.charts.bars import bars\n",
        ),
    ),
}

SCENARIO = """
name = "added"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = [{name = "mdi", steps = 2}, {name = "ie+ti", steps = 2}]
budgets = [{norm = "linf", eps = "32/255"}]
[images]
per_source = 6
[models]
source = "here"
architecture = {name = "mlp", width = 6}
recipe = {name = "standard", epochs = 1, shift = 0, rotation = 0, scale = 0}
[[surrogates]]
seed = 1
builder = "gradient-norm"
[[victims]]
seed = 2
defense = ["none", "mirror"]
"""
RUN = """
import json, sys
from pathlib import Path
import carom
from carom.scenarios.catalogue import description
from carom.scenarios.report.figures import measured_figures
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_attempts
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.tables.which import show_run

folder, text = Path(sys.argv[1]), sys.argv[2]
reports = [run_scenario(parse_scenario(text, where="added"), folder, workers=0) for _ in range(2)]
run = reports[0].run
with Store(folder) as store:
    tables = {table.name: table for table in show_run(store, run)}
    figures = measured_figures(read_outcomes(store, run), tables)
    print(json.dumps({
        "carom": carom.__file__,
        "described": [description(name)["kind"] for name in ("mdi", "ie", "gradient-norm", "mirror")],
        "failures": [report.failures for report in reports],
        "cells": sorted(map(list, read_outcomes(store, run).cells[["surrogate", "victim", "attack"]].to_numpy())),
        "kinds": tables["kinds"].frame.set_index("kind")["jobs"].to_dict(),
        "figures": [figure.title for figure in figures],
    }))
"""


pytestmark = pytest.mark.thorough  # a house is copied, and a scenario run in it


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house with all that is added."""
    folder = tmp_path_factory.mktemp("house")
    for room in ("src", "attacks", "zoo", "surrogates", "defenses", "scenarios", "app"):
        unread = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.suite")
        shutil.copytree(ROOT / room, folder / room, symlinks=True, ignore=unread)
    for addition in ADDED.values():
        addition.add(folder)
    return folder


@pytest.fixture(scope="module")
def came(house: Path, tiny_npz: Path) -> Mapping[str, Any]:
    """What a run of the scenario came to, twice: the second has nothing to do."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, house / "store", SCENARIO.replace("NPZ", str(tiny_npz))],
        env={"PYTHONPATH": str(house / "src"), "PATH": ""},
        cwd=house,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert Path(found["carom"]).is_relative_to(house)
    return found


def test_attacks_a_builder_and_a_defence_are_described_and_run(came: Mapping[str, Any]) -> None:
    assert came["described"] == ["attack", "attack", "surrogate", "defense"]
    assert came["failures"] == [[], []]
    cells = {tuple(cell) for cell in came["cells"] if cell[0].startswith("gradient-norm")}
    own, plain = ("gradient-norm:here/uniform/mlp(width=6)/s1", "here/uniform/mlp(width=6)/s2")
    victims = (own, plain, f"mirror:{plain}")
    assert cells == {(own, victim, attack) for victim in victims for attack in ("mdi steps=2", "ie+ti steps=2")}


def test_a_job_a_table_and_a_figure_are_done_and_shown(came: Mapping[str, Any]) -> None:
    assert came["kinds"]["weigh"] == 2  # the networks of surrogate and victim, each once in two runs
    assert "Kinds" in came["figures"]
