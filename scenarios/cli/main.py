"""The command line: thin over the library, results on stdout, progress on stderr.

Heavy imports stand inside commands, so that `carom --help` answers at once. Exit 0: done; 1: a job failed; 2: the input
was wrong, with one line that says where, what came, what was expected and what to do.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from carom.errors import CaromError

if TYPE_CHECKING:
    from .console import Console

app = typer.Typer(
    name="carom",
    help="Who fools whom, under which mismatch, at what cost, and with what confidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StoreOption = Annotated[Path, typer.Option("--store", envvar="CAROM_STORE", help="Folder of results.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=0, help="Processes; default one a core or GPU; 0 works in this process.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or names such as cuda:0,cuda:1.")]
STORE = Path(".carom")


def main() -> None:
    """Run the command line; every error that carom raises on purpose is one line and exit code 2."""
    try:
        app()
    except CaromError as error:
        fail(str(error), 2)
    except BrokenPipeError:  # such as `carom list attacks | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def fail(message: str, code: int) -> NoReturn:
    """One line on stderr, and the end."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)


# ----------------------------------------------------------------------------------------------------------- running


@app.command()
def demo(store: StoreOption = STORE, workers: WorkersOption = None, device: DeviceOption = "auto") -> None:
    """The embedded default, end to end, without a download.

    Example: carom demo
    """
    _run(["digits-quick"], store, workers, device, profile=False, as_json=False, demo=True)


@app.command()
def run(
    scenarios: Annotated[list[str], typer.Argument(help="Scenario files, or names of presets.")],
    store: StoreOption = STORE,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    profile: Annotated[
        bool, typer.Option("--profile", help="Print time inside and outside forward and backward passes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Do what the store lacks; the same command resumes.

    Ctrl-C is safe: what was computed is kept. Tables go to stdout, progress to stderr.

    Example: carom run digits-dumb my-scenario.toml
    """
    _run(scenarios, store, workers, device, profile=profile, as_json=as_json)


def _run(
    names: list[str],
    folder: Path,
    workers: int | None,
    device: str,
    *,
    profile: bool,
    as_json: bool,
    demo: bool = False,
) -> None:
    import signal

    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)

    from carom.scenarios.spec.text import read_text

    from .console import Console

    console = Console()
    texts = [read_text(name) for name in names]
    if not (profile or as_json) and (found := _unchanged(texts, folder)):
        for run_id, cells in found:
            console.say(f"{run_id}: nothing to do, the store holds all {cells} cells")
            if demo:
                _show_brief(console, folder, run_id)
            else:
                console.say(f"its tables: carom show {run_id}{_store_option(folder)}")
        return

    from carom.scenarios.run.run import run_scenario
    from carom.scenarios.spec.read import parse_scenario

    scenarios = [parse_scenario(text, where=where) for text, where in texts]  # nothing runs while one is wrong
    code, reports = 0, []
    for scenario in scenarios:
        try:
            with console.progress() as progress:
                report = run_scenario(scenario, folder, workers=workers, device=device, progress=progress)
        except KeyboardInterrupt:
            fail("interrupted; what was computed is kept, so the same command goes on from here", 130)
        reports.append(report)
        if report.failures:
            console.say(f"{report.run}: {len(report.failures)} jobs failed; run again to retry them")
            code = max(code, 2 if report.input_at_fault else 1)
        if report.nothing_to_do:
            console.say(f"{report.run}: nothing to do, the store holds all {report.cells} cells")
        else:
            console.say(
                f"{report.run}: trained {report.trained}, crafted {report.crafted} sets, evaluated "
                f"{report.evaluated} of {report.cells} cells in {report.seconds:.0f} s"
            )
        if profile:
            console.profile(report)
        if not as_json:
            _show_brief(console, folder, report.run)
    if as_json:
        import dataclasses

        console.json([dataclasses.asdict(r) for r in reports])
    raise typer.Exit(code)


def _unchanged(texts: list[tuple[str, str]], folder: Path) -> list[tuple[str, int]] | None:
    """The runs of these scenarios and their numbers of cells, if all are done and nothing changed since."""
    import tomllib

    from carom.scenarios.store.unchanged import find_unchanged, stamp

    found = []
    for text, where in texts:
        try:
            name = str(tomllib.loads(text).get("name", Path(where).stem))
        except tomllib.TOMLDecodeError:
            return None
        run = find_unchanged(folder, stamp(name, text))
        if run is None:
            return None
        found.append(run)
    return found


def _show_brief(console: "Console", folder: Path, run_id: str) -> None:
    from carom.scenarios.store.database import Store
    from carom.scenarios.store.runs import find_run
    from carom.scenarios.tables.rates import show_run
    from carom.scenarios.store.outcomes import find_run
    from carom.scenarios.tables.which import show_run

    with Store(folder) as store:
        if find_run(store, run_id).done:
            console.tables(show_run(store, run_id, brief=True))
            console.say(f"all tables: carom show {run_id}{_store_option(folder)}")


@app.command()
def plan(
    scenario: Annotated[str, typer.Argument(help="Scenario file, or name of a preset.")],
    store: StoreOption = STORE,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a run would do and cost; nothing is computed.

    Jobs, what the store has already, passes, time and disk expected.

    Example: carom plan digits-dumb
    """
    from carom.scenarios.plan.cost import estimate
    from carom.scenarios.spec.read import load_scenario

    from .console import Console

    console = Console()
    expected = estimate(load_scenario(scenario), store, workers)
    console.json(expected) if as_json else console.pairs(expected)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, such as standard.")],
    task: Annotated[str, typer.Argument(help="Name of a task, such as digits.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .safetensors, .pt or .pth.")],
    architecture: Annotated[str, typer.Option(help="Name of an architecture.")] = "lenet",
    defense: Annotated[str, typer.Option(help="How it is hardened, such as pgd-at.")] = "none",
    source: Annotated[str | None, typer.Option(help="Image source; default the task's first.")] = None,
    balance: Annotated[str, typer.Option(help="Class balance.")] = "uniform",
    seed: Annotated[int, typer.Option(help="Training seed.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Epochs; default the recipe's own.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Train one model, export it as a plain state dict.

    Example: carom train standard digits --architecture resnet-small --defense pgd-at -o model.safetensors
    """
    from .console import Console
    from .train import train_one

    console = Console()
    with console.progress() as progress:
        line = train_one(
            recipe,
            task,
            output,
            architecture_name=architecture,
            defense_name=defense,
            source=source,
            balance=balance,
            seed=seed,
            epochs=epochs,
            device=device,
            progress=progress,
        )
    console.out(line)


@app.command()
def students(
    run: Annotated[str | None, typer.Argument(help="Run or scenario; default the latest run.")] = None,
    store: StoreOption = STORE,
    model: Annotated[str | None, typer.Option(help="Label of the network, where a run has several.")] = None,
    max_macs: Annotated[int | None, typer.Option(min=1, help="Multiplications for one image, at most.")] = None,
    max_parameters: Annotated[int | None, typer.Option(min=1, help="Parameters, at most.")] = None,
    min_accuracy: Annotated[float, typer.Option(min=0, max=1, help="On clean images, at least.")] = 0.0,
    min_robustness: Annotated[float, typer.Option(min=0, max=1, help="Accuracy under PGD, at least.")] = 0.0,
    samples: Annotated[int, typer.Option(help="Random students to measure, at least 10.")] = 40,
    measured: Annotated[int, typer.Option(help="Students to measure of those that the search finds.")] = 10,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the most robust: .safetensors, .pt or .pth.")
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """The best students of a run's elastic network.

    That is the sub-networks of a victim defended by proard that no other beats in accuracy, robust accuracy and size,
    on validation images, within limits; with -o also the most robust of them as a plain state dict. The first call
    measures; what was measured is kept, so that the next one lists at once.

    Example: carom students fashion-defenses --max-macs 500000 -o student.safetensors
    """
    from carom.defenses.distillation.candidates import meeting, pick

    from .console import Console
    from .students import check_output, front, record, students_of

    console = Console()
    if output is not None:
        check_output(output)
    try:
        with console.progress() as progress:
            found = students_of(
                store, run, model=model, samples=samples, measured=measured, device=device, progress=progress
            )
    except KeyboardInterrupt:
        fail("interrupted; what was measured is kept, so the same command goes on from here", 130)
    good = meeting(
        found.candidates,
        max_macs=max_macs,
        max_parameters=max_parameters,
        min_accuracy=min_accuracy,
        min_robustness=min_robustness,
    )
    told = [] if output is None else found.export(pick(good), output)
    if as_json:
        exported = None if output is None else {"file": str(output), **record(pick(good))}
        console.json({"model": found.model, "students": [record(c) for c in front(good)], "exported": exported})
        return
    console.tables([found.shown(front(good))])
    for line in told:
        console.out(line)


# ----------------------------------------------------------------------------------------------------------- reading


@app.command()
def show(
    run: Annotated[str | None, typer.Argument(help="Run or scenario; default the latest run.")] = None,
    store: StoreOption = STORE,
    split: Annotated[str, typer.Option(help="test, or validation for validation victims.")] = "test",
    as_json: JsonOption = False,
) -> None:
    """Tables of a run, with its controls.

    By case, effect, attack, surrogate, victim and samples; adversarial sets, models and failures.

    Example: carom show digits-dumb
    """
    from carom.scenarios.store.database import Store
    from carom.scenarios.store.runs import find_run
    from carom.scenarios.tables.rates import show_run
    from carom.scenarios.store.outcomes import find_run
    from carom.scenarios.tables.which import show_run

    from .console import Console

    console = Console()
    with Store(store) as opened:
        found = find_run(opened, run)
        tables = show_run(opened, found.id, split=split)
    console.json({t.name: t.records() for t in tables}) if as_json else console.tables(tables)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Run or scenario.")],
    second: Annotated[str, typer.Argument(help="Run or scenario to compare it with.")],
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Differences of two runs on the same images.

    With intervals and paired tests, by attack, by victim and for the cells that differ most.

    Example: carom compare digits-quick my-scenario
    """
    from carom.scenarios.store.database import Store
    from carom.scenarios.store.runs import find_run
    from carom.scenarios.tables.rates import compare_runs
    from carom.scenarios.store.outcomes import find_run
    from carom.scenarios.tables.compare import compare_runs

    from .console import Console

    console = Console()
    with Store(store) as opened:
        tables = compare_runs(opened, find_run(opened, first).id, find_run(opened, second).id)
    console.json({t.name: t.records() for t in tables}) if as_json else console.tables(tables)


@app.command()
def export(
    run: Annotated[str | None, typer.Argument(help="Run or scenario; default the latest run.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")] = Path("export"),
    form: Annotated[str, typer.Option("--format", help="parquet, csv, latex, markdown or html.")] = "csv",
    store: StoreOption = STORE,
) -> None:
    """Write the tables of a run into a folder, or a report.

    parquet and csv hold numbers, rates from 0 to 1, and also the cells one by one; latex and markdown what `carom show`
    prints. html is one file that needs nothing else: what matters, figures with their data, every table.

    Example: carom export digits-dumb --format html -o report
    """
    from carom.scenarios.report.files import export_run
    from carom.scenarios.store.database import Store
    from carom.scenarios.store.runs import find_run

    from .console import Console

    console = Console()
    with Store(store) as opened:
        for path in export_run(opened, find_run(opened, run).id, output, form):
            console.out(str(path))


@app.command(name="list")
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help="attacks, controls, surrogates, defenses, architectures, recipes, balances, tasks, presets, suites, "
            "or terms."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Everything of one kind, with its paper.

    What a scenario can name, suites, or the terms of tables and figures.

    Example: carom list attacks --json
    """
    from .catalogue import catalogue
    from .console import Console

    console = Console()
    entries = catalogue(kind)
    console.json(entries) if as_json else console.entries(kind, entries)


@app.command()
def describe(
    name: Annotated[str, typer.Argument(help="A name of any kind, such as mi, lenet or digits.")],
    as_json: JsonOption = False,
) -> None:
    """One name in full: what it is, its paper, its defaults.

    Example: carom describe mi+di
    """
    from .catalogue import description
    from .console import Console

    console = Console()
    entry = description(name)
    console.json(entry) if as_json else console.pairs(entry)


# ------------------------------------------------------------------------------------------------------------ others'

import_ = typer.Typer(help="Published results, to stand beside one's own.", no_args_is_help=True)
app.add_typer(import_, name="import")


@import_.command(name="dumb")
def import_dumb(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds results/, as published.")],
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Read the published files of DUMB or DUMBer into the store.

    They become a run of their own kind, which `carom show` prints and sets beside one's own runs. The same files again
    change nothing.

    Example: carom import dumb DUMB
    """
    import dataclasses

    from carom.scenarios.published.dumb import read_in

    from .console import Console

    console = Console()
    found = read_in(folder, store)
    if as_json:
        console.json(dataclasses.asdict(found))
        return
    what = f"{found.rows:,} rows of {found.attacks} attacks on {', '.join(found.tasks)}"
    console.out(f"{found.run}: {what}" + ("" if found.new else "; the store had them already"))
    console.say(f"its tables: carom show {found.run}{_store_option(store)}")


# ------------------------------------------------------------------------------------------------------------ suites

suite = typer.Typer(help="Frozen adversarial sets, for gates: build, run, calibrate.", no_args_is_help=True)
app.add_typer(suite, name="suite")


@suite.command(name="build")
def suite_build(
    scenario: Annotated[str, typer.Argument(help="Scenario file, or name of a preset.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write; default NAME.suite.")] = None,
    store: StoreOption = STORE,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Freeze the adversarial sets of a scenario into one file.

    What the store lacks is made first. The file holds images, labels, budgets, fingerprints of the surrogates and how
    strong each set is on the scenario's victims; whoever has it needs no surrogate and no training.

    Example: carom suite build digits-standard -o digits.suite
    """
    from carom.scenarios.gates.freeze import suite_of
    from carom.scenarios.gates.suite import write_suite
    from carom.scenarios.gates.tables import about, check_output
    from carom.scenarios.spec.read import load_scenario
    from carom.scenarios.gates.suite import check_output, write_suite
    from carom.scenarios.gates.tables import show_suite
    from carom.scenarios.spec.scenario import load_scenario

    from .console import Console

    console = Console()
    path = output if output is not None else Path(f"{load_scenario(scenario).name}.suite")
    check_output(path)
    try:
        with console.progress() as progress:
            frozen = suite_of(scenario, store, workers=workers, device=device, progress=progress)
    except KeyboardInterrupt:
        fail("interrupted; what was computed is kept, so the same command goes on from here", 130)
    write_suite(frozen, path)
    table = show_suite(frozen, path)
    console.json({table.name: table.records()}) if as_json else console.tables([table])


@suite.command(name="run")
def suite_run(
    name: Annotated[str, typer.Argument(help="A .suite file, or the name of one that ships.")],
    victim: Annotated[str, typer.Argument(help="A model, such as model.safetensors or package.module:function.")],
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """What a model makes of a suite: forward passes only.

    A model that needs more than a name is written as a table of TOML, as in a scenario.

    Example: carom suite run digits-standard '{model = "model.onnx", clean_accuracy = 0.95}'
    """
    from carom.scenarios.gates.ask import ask_suite
    from carom.scenarios.gates.named import load_victim
    from carom.scenarios.gates.suite import find_suite, read_suite
    from carom.scenarios.gates.tables import show_answers
    from carom.scenarios.run.executors.processes import devices_of

    from .console import Console

    console = Console()
    frozen = read_suite(find_suite(name))
    answers = ask_suite(load_victim(victim, frozen), frozen, name=victim, device=devices_of(device)[0])
    table = show_answers(frozen, victim, answers)
    console.json({table.name: table.records()}) if as_json else console.tables([table])


@suite.command(name="calibrate")
def suite_calibrate(
    name: Annotated[str, typer.Argument(help="A .suite file, or the name of one that ships.")],
    victims: Annotated[list[str], typer.Argument(help="Five or more equal trainings of one model.")],
    share: Annotated[float, typer.Option(help="Of equal trainings that may turn a gate red.")] = 0.05,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Propose an allowance for a gate from equal trainings.

    They differ by their seed alone.

    Example: carom suite calibrate digits-standard seed1.safetensors seed2.safetensors ... seed5.safetensors
    """
    from carom.scenarios.gates.ask import ask_suite
    from carom.scenarios.gates.calibrate import calibrate, check_trainings
    from carom.scenarios.gates.named import load_victim
    from carom.scenarios.gates.suite import find_suite, read_suite
    from carom.scenarios.gates.tables import show_calibration
    from carom.scenarios.run.executors.processes import devices_of

    from .console import Console

    console = Console()
    check_trainings(len(victims), share)
    frozen, place = read_suite(find_suite(name)), devices_of(device)[0]
    answers = [ask_suite(load_victim(v, frozen), frozen, name=v, device=place) for v in victims]
    table = show_calibration(frozen, victims, calibrate(answers, share))
    console.json({table.name: table.records()}) if as_json else console.tables([table])


# ------------------------------------------------------------------------------------------------------------ upkeep


@app.command(name="app")
def app_(
    stores: Annotated[
        list[Path] | None,
        typer.Option("--store", help="Folder of results; several times for several. Default: CAROM_STORE, or .carom."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to serve on; others than localhost can be reached by others.")] = (
        "localhost"
    ),
    browser: Annotated[bool, typer.Option(help="Open the page.")] = True,
) -> None:
    """The explorer, read-only, on localhost.

    Example: carom app
    """
    from importlib.util import find_spec

    if find_spec("streamlit") is None:
        fail("the explorer needs streamlit; install it with: pip install 'carom[app]'", 2)
    from carom.scenarios.store.database import Store

    folders = stores or [Path(os.environ.get("CAROM_STORE", STORE))]
    for folder in folders:
        if (folder / "carom.db").exists() or not (folder / "gates").is_dir():  # gates need no run
            Store(folder).close()  # says at once when there is nothing to show

    page = Path(__file__).resolve().parents[2] / "app" / "explorer.py"
    arguments = [
        "run",
        str(page),
        f"--server.port={port}",
        f"--server.address={host}",
        f"--server.headless={'false' if browser else 'true'}",
        "--browser.gatherUsageStats=false",
    ]
    os.environ["CAROM_STORE"] = os.pathsep.join(str(folder.resolve()) for folder in folders)
    os.environ["CAROM_HOST"] = host
    os.execv(sys.executable, [sys.executable, "-m", "carom.app.shell.serve", *arguments])


@app.command()
def doctor(store: StoreOption = STORE, as_json: JsonOption = False) -> None:
    """What this machine has, and whether the store is whole.

    Devices, optional libraries, data sets found; every file of the store against its digest.

    Example: carom doctor
    """
    from .console import Console
    from .doctor import examine

    console = Console()
    findings = examine(store)
    console.json([f.record() for f in findings]) if as_json else console.findings(findings)
    raise typer.Exit(1 if any(f.level == "bad" for f in findings) else 0)


@app.command()
def gc(
    store: StoreOption = STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be freed.")] = False,
    sets: Annotated[bool, typer.Option("--sets", help="Also free the adversarial images; outcomes stay.")] = False,
) -> None:
    """Free what no run of the store names.

    And temporary files that were left over.

    Example: carom gc --sets --dry-run
    """
    from carom.scenarios.store.free import collect

    from .console import Console

    Console().out(collect(store, dry_run=dry_run, sets=sets))


def _version(asked: bool | None) -> None:
    if asked:
        import carom

        print(f"carom {carom.__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    pass


def _store_option(folder: Path) -> str:
    return "" if folder == STORE else f" --store {folder}"
