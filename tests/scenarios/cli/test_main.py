"""Every command, once, on a tiny store; the page that documents them; and what the command line costs to start."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import typer
from tests.conftest import Once
from tests.scenarios.conftest import TINY, Carom
from typer.testing import CliRunner

from carom.scenarios.catalogue import KINDS, catalogue
from carom.scenarios.cli import main as cli
from carom.scenarios.cli import run as running
from carom.zoo.models.references import load_reference, reference

TOP: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
# a group such as `carom import` is the commands in it
COMMANDS: dict[str, Any] = {
    " ".join((name, *inner)): command
    for name, found in TOP.items()
    for inner, command in (
        [((sub,), c) for sub, c in found.commands.items()] if hasattr(found, "commands") else [((), found)]
    )
}
PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
SMALL = (
    ('balance = ["uniform", "tv0.2"]', 'balance = "uniform"'),
    ('architecture = [{name = "mlp", width = 12}, "lenet"]', 'architecture = {name = "mlp", width = 12}'),
)


@pytest.fixture(scope="session")
def filled(once: Once, tiny_npz: Path) -> Path:
    """A folder with a store of two runs, "tiny" and "longer", and their scenarios."""
    return once("filled", lambda folder: fill(folder, tiny_npz))


def fill(folder: Path, tiny_npz: Path) -> None:
    text = TINY.replace("NPZ", str(tiny_npz))
    for old, new in SMALL:
        text = text.replace(old, new)
    (folder / "tiny.toml").write_text(text)
    (folder / "longer.toml").write_text(text.replace('"tiny"', '"longer"').replace("epochs = 3", "epochs = 4"))
    for name in ("tiny", "longer"):
        arguments = ["carom", "run", f"{folder}/{name}.toml", "--store", f"{folder}/store", "--workers", "0"]
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            patch.setattr(sys, "argv", arguments)
            with pytest.raises(SystemExit) as stop:
                cli.main()
        assert not stop.value.code


@pytest.fixture
def store(filled: Path) -> Path:
    """To read only."""
    return filled / "store"


@pytest.fixture
def own(filled: Path, tmp_path: Path) -> Path:
    """To write."""
    return Path(shutil.copytree(filled / "store", tmp_path / "store"))


# ------------------------------------------------------------------------------------------------------------- running


def test_run_prints_tables_on_stdout_and_progress_on_stderr(carom: Carom, filled: Path, tmp_path: Path) -> None:
    answer = carom("run", filled / "tiny.toml", "--store", tmp_path / "s", "--workers", 0, "--profile")
    assert answer.code == 0, answer.err
    for words in ("attack success by case", "C0", "C1", "Effect of a mismatch", "Controls", "clean accuracy"):
        assert words in answer.out
    for words in (
        "train: about",
        "craft: about",
        "trained 4, crafted",
        "inside forward and backward",
        "carom show tiny",
    ):
        assert words in answer.err
    assert " left" not in answer.out


def test_run_json_is_json_alone(carom: Carom, filled: Path, tmp_path: Path) -> None:
    command = ("run", filled / "tiny.toml", filled / "longer.toml", "--store", tmp_path / "s", "--workers", 0, "--json")
    first, second = (json.loads(carom(*command).out) for _ in range(2))
    assert [r["trained"] for r in first] == [4, 4]
    assert [r["run"].split("-")[0] for r in first] == ["tiny", "longer"]
    assert all(r["evaluated"] == r["cells"] > 0 for r in first)
    assert [(r["trained"], r["crafted"], r["evaluated"]) for r in second] == [(0, 0, 0)] * 2


def test_a_second_run_has_nothing_to_do(carom: Carom, filled: Path, own: Path) -> None:
    answer = carom("run", filled / "tiny.toml", "--store", own, "--workers", 0)
    assert answer.code == 0
    assert "nothing to do" in answer.err


def test_demo_runs_the_preset(carom: Carom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(running, "_run", lambda names, *rest, **more: asked.append((names, *rest)))
    assert carom("demo", "--store", tmp_path, "--workers", 3).code == 0
    assert asked == [(["digits-quick"], tmp_path, 3, "auto")]


def test_plan_of_the_demo(carom: Carom, tmp_path: Path) -> None:
    answer = carom("plan", "digits-quick", "--store", tmp_path / "none", "--workers", 2)
    assert answer.code == 0
    assert re.search(r"trainings +24 to do of 24", answer.out)
    assert re.search(r"time expected +about .* with 2 workers", answer.out)
    assert not (tmp_path / "none").exists()


def test_plan_knows_what_is_there(carom: Carom, filled: Path, store: Path) -> None:
    told = json.loads(carom("plan", filled / "tiny.toml", "--store", store, "--json").out)
    assert told["trainings"] == "0 to do of 4"
    assert told["cells"].startswith("0 to do of ")
    assert told["time rests on"] == "what passes cost in this store"
    more = filled / "longer.toml"
    more = Path(shutil.copy(more, store.parent / "more.toml"))
    more.write_text(more.read_text().replace("seed = 2", "seed = [2, 3]"))
    assert json.loads(carom("plan", more, "--store", store, "--json").out)["trainings"] == "2 to do of 6"


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_train_exports_what_loads(suffix: str, carom: Carom, tmp_path: Path) -> None:
    file = tmp_path / f"model{suffix}"
    answer = carom("train", "standard", "digits", "--architecture", "mlp", "--epochs", 1, "--seed", 4, "-o", file)
    assert answer.code == 0, answer.err
    assert "macro accuracy" in answer.out
    table = {"model": str(file)} | ({} if suffix == ".safetensors" else {"architecture": "mlp"})
    model = load_reference(reference(table), shape=(1, 16, 16), classes=10)
    assert isinstance(model, torch.nn.Module)
    assert f"fingerprint {model.fingerprint()}" in answer.out
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("-o", "model.bin"), "expected .safetensors, .pt or .pth"),
        (("-o", "no/where/model.pt"), "is not a folder"),
        (("-o", "m.pt", "--architecture", "lenett"), "did you mean 'lenet'"),
        (("-o", "m.pt", "--source", "font"), "did you mean 'fonts'"),
        (("-o", "m.pt", "--balance", "tv2"), "balance"),
        (("-o", "m.pt", "--epochs", 0), "epochs must be in"),
    ],
)
def test_train_refuses_before_it_trains(
    change: tuple[object, ...], words: str, carom: Carom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = carom("train", "standard", "digits", *change)
    assert answer.code == 2
    assert words in answer.error
    assert answer.out == ""
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------------- reading


def test_show_by_name_id_and_part_of_it(carom: Carom, store: Path) -> None:
    by_name = carom("show", "tiny", "--store", store)
    assert by_name.code == 0
    id_ = by_name.out.split(":")[0].strip()
    assert re.fullmatch(r"tiny-[0-9a-f]{6,}", id_)
    assert carom("show", id_, "--store", store).out == by_name.out
    assert carom("show", id_[:-2], "--store", store).out == by_name.out
    latest = carom("show", "--store", store).out
    assert latest == carom("show", "longer", "--store", store).out != by_name.out
    wrong = carom("show", "tinny", "--store", store)
    assert wrong.code == 2
    assert "tiny" in wrong.error


def test_show_json_holds_the_numbers_of_the_tables(carom: Carom, store: Path) -> None:
    tables = json.loads(carom("show", "tiny", "--store", store, "--json").out)
    assert set(tables) >= {
        "cases",
        "cases-by-attack",
        "controls",
        "by-attack",
        "by-surrogate",
        "by-victim",
        "sets",
        "models",
    }
    for row in tables["cases"]:
        assert 0 <= row["asr"] <= 1
    assert {row["case"] for row in tables["cases"]} >= {"C0", "C1", "control"}


def test_tables_fit_and_keep_their_numbers_whole(carom: Carom, store: Path) -> None:
    answer = carom("show", "tiny", "--store", store)
    lines = answer.out.splitlines()
    assert max(len(line.rstrip()) for line in lines if not line.startswith("  ")) <= 200
    assert not re.search(r"\d…|nan|None", answer.out)


def test_compare(carom: Carom, store: Path) -> None:
    answer = carom("compare", "tiny", "longer", "--store", store)
    assert answer.code == 0, answer.err
    assert "robust accuracy is over all images" in answer.out
    tables = json.loads(carom("compare", "tiny", "longer", "--store", store, "--json").out)
    assert set(tables) == {"compare-by-attack", "compare-by-victim", "compare-cells"}
    same = json.loads(carom("compare", "tiny", "tiny", "--store", store, "--json").out)
    assert {row["robust_difference"] for row in same["compare-by-attack"]} == {0.0}


READERS: dict[str, tuple[str, Callable[[Path], int]]] = {
    "parquet": (".parquet", lambda path: len(pd.read_parquet(path))),
    "csv": (".csv", lambda path: len(list(csv.DictReader(path.read_text().splitlines())))),
    "latex": (".tex", lambda path: path.read_text().split(r"\midrule")[1].count(r"\\")),
    "markdown": (".md", lambda path: sum(line.startswith("| ") for line in path.read_text().splitlines()) - 2),
}


@pytest.mark.parametrize("form", READERS)
def test_export_can_be_read_back(form: str, carom: Carom, store: Path, tmp_path: Path) -> None:
    suffix, rows = READERS[form]
    answer = carom("export", "tiny", "--format", form, "-o", tmp_path / "deep" / "out", "--store", store)
    assert answer.code == 0, answer.err
    tables = json.loads(carom("show", "tiny", "--store", store, "--json").out)
    run_id = carom("show", "tiny", "--store", store).out.split(":")[0].strip()
    paths = [Path(line) for line in answer.out.splitlines()]
    assert sorted(paths) == sorted((tmp_path / "deep" / "out").iterdir())
    for name, records in tables.items():
        path = tmp_path / "deep" / "out" / f"{run_id}-{name}{suffix}"
        assert rows(path) == len(records), path
    if form in ("parquet", "csv"):
        assert rows(tmp_path / "deep" / "out" / f"{run_id}-cells{suffix}") > len(tables["cases"])
    if form == "latex":
        text = (tmp_path / "deep" / "out" / f"{run_id}-cases.tex").read_text()
        assert not re.search(r"(?<!\\)[%_#$]", text.split(r"\midrule")[1])


def test_export_refuses_what_it_cannot_do(carom: Carom, store: Path, tmp_path: Path) -> None:
    wrong = carom("export", "--format", "xlsx", "-o", tmp_path, "--store", store)
    assert wrong.code == 2
    assert "unknown format 'xlsx'" in wrong.error
    (tmp_path / "file").write_text("")
    blocked = carom("export", "-o", tmp_path / "file", "--store", store)
    assert blocked.code == 2
    assert "cannot be written" in blocked.error


@pytest.mark.parametrize("kind", KINDS)
def test_list(kind: str, carom: Carom) -> None:
    entries = json.loads(carom("list", kind, "--json").out)
    assert isinstance(entries, list)
    assert [e["name"] for e in entries] == [e["name"] for e in catalogue(kind)]
    assert all(e["paper"] and e["summary"] for e in entries)
    shown = carom("list", kind).out
    assert all(e["name"] in shown for e in entries)
    assert entries or f"no {kind} yet" in shown


def test_list_of_an_unknown_kind(carom: Carom) -> None:
    answer = carom("list", "attack")
    assert answer.code == 2
    assert "did you mean 'attacks'" in answer.error


def test_describe(carom: Carom) -> None:
    assert json.loads(carom("describe", "mi", "--json").out)["defaults"]["decay"] == 1.0
    assert re.search(r"defaults +decay = 1.0", carom("describe", "mi").out)
    together = carom("describe", "mi+di+ti")
    assert re.search(r"transformations +DI: .*; TI: ", together.out)
    for name, words in (("lenett", "did you mean 'lenet'"), ("mi+dii", "did you mean 'di'")):
        wrong = carom("describe", name)
        assert wrong.code == 2
        assert words in wrong.error


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_of_each_kind_is_described(carom: Carom, kind: str) -> None:
    entry = catalogue(kind)[0]
    answer = carom("describe", entry["name"])
    assert answer.code == 0
    assert str(entry["paper"]).split()[0] in answer.out


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_described(carom: Carom, kind: str) -> None:
    for entry in catalogue(kind):
        answer = carom("describe", entry["name"])
        assert answer.code == 0
        assert str(entry["paper"]).split()[0] in answer.out


# -------------------------------------------------------------------------------------------------------------- upkeep


def test_doctor_finds_harm(carom: Carom, own: Path) -> None:
    whole = carom("doctor", "--store", own)
    assert whole.code == 0
    assert re.search(r"ok +data digits +uci 320 test images", whole.out)
    assert "database ok" in whole.out
    weights = sorted((own / "artifacts" / "weights").glob("*.safetensors"))[0]
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    told = carom("doctor", "--store", own, "--json")
    assert told.code == 1
    bad = [finding for finding in json.loads(told.out) if finding["level"] == "bad"]
    assert [finding["name"] for finding in bad] == ["weights"]
    assert weights.name in bad[0]["text"]


def test_gc_frees_what_was_asked(carom: Carom, filled: Path, own: Path) -> None:
    def files() -> set[str]:
        return {str(p.relative_to(own)) for p in (own / "artifacts").rglob("*") if p.is_file()}

    before, shown = files(), carom("show", "tiny", "--store", own).out
    assert "freed 0.0 MB in 0 files" in carom("gc", "--store", own).out
    left_over = own / "artifacts" / "sets" / ".half.safetensors.part"
    left_over.write_bytes(b"x")
    assert "would free" in carom("gc", "--dry-run", "--store", own).out
    assert files() == before | {"artifacts/sets/.half.safetensors.part"}
    assert "in 1 files" in carom("gc", "--store", own).out
    assert files() == before
    assert "would free" in carom("gc", "--sets", "--dry-run", "--store", own).out
    assert files() == before
    assert carom("gc", "--sets", "--store", own).code == 0
    assert files() == {f for f in before if not f.startswith("artifacts/sets/")} != before
    assert carom("show", "tiny", "--store", own).out == shown, "outcomes stay"
    (report,) = json.loads(carom("run", filled / "tiny.toml", "--store", own, "--workers", 0, "--json").out)
    assert (report["trained"], report["crafted"], report["evaluated"]) == (0, 0, 0)


def test_version(carom: Carom) -> None:
    import carom as package

    assert carom("--version").out == f"carom {package.__version__}\n"


def test_mistakes_of_the_command_line_exit_with_2(carom: Carom) -> None:
    for arguments in (("shwo",), ("run",), ("gc", "--set"), ("run", "x", "--workers", "-1")):
        answer = carom(*arguments)
        assert answer.code == 2
        assert answer.out == ""
        assert "Traceback" not in answer.err


# ------------------------------------------------------------------------------------------------------------ the page


def help_of(*command: str) -> str:
    """What `carom COMMAND --help` prints on 100 columns."""
    done = CliRunner().invoke(
        cli.app, [*command, "--help"], prog_name="carom", terminal_width=100, max_content_width=100
    )
    assert done.exit_code == 0
    return "\n".join(line.rstrip() for line in done.output.strip().splitlines())


def page() -> Iterator[str]:
    """docs/cli.md, from the commands."""
    yield "# Command line\n"
    yield (
        "Results go to stdout, progress and errors to stderr. Exit 0: done; 1: a job failed or the doctor found harm;\n"
        "2: the input was wrong, and one line says where, what came, what was expected and what to do.\n"
        "`CAROM_STORE` names the folder of results where `--store` does not.\n"
    )
    yield "A scenario is a TOML file or the name of a preset:\n"
    yield "| preset | |\n|---|---|"
    for entry in catalogue("presets"):
        yield f"| `{entry['name']}` | {entry['summary']} |"
    yield f"\n```\n{help_of()}\n```"
    for name in COMMANDS:
        yield f"\n## carom {name}\n\n```\n{help_of(*name.split())}\n```"


def test_the_cli_page_is_what_the_commands_say() -> None:
    """Renewed by CAROM_WRITE_PAGES=1."""
    text = "\n".join(page()) + "\n"
    if os.environ.get("CAROM_WRITE_PAGES"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_line_and_an_example(name: str) -> None:
    text = COMMANDS[name].help
    first = text.splitlines()[0]
    assert first.endswith(".")
    assert len(first) <= 60, "longer lines are cut in `carom --help`"
    assert f"Example: carom {name}" in text
    *group, last = name.split()
    assert f"  {last} " in help_of(*group)
    assert first in help_of(*group)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom carom.scenarios.cli.main import main\nsys.argv = ['carom', '--help']\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'torch', 'numpy', 'pandas', 'sqlalchemy', 'pydantic', 'scipy', 'timm', 'altair', 'streamlit'}\n"
        "    heavy &= set(sys.modules)\n"
        "    print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert all(f"  {name} " in done.stdout for name in TOP)
