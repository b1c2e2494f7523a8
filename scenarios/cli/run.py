"""Commands that compute: demo, run, plan, train, students."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from carom.errors import may_pass

from .options import STORE, DeviceOption, JsonOption, StoreOption, WorkersOption, fail, store_option

if TYPE_CHECKING:
    from .console import Console


def demo(store: StoreOption = STORE, workers: WorkersOption = None, device: DeviceOption = "auto") -> None:
    """The embedded default, end to end, without a download.

    Example: carom demo
    """
    _run(["digits-quick"], store, workers, device, profile=False, as_json=False, demo=True)


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
                console.say(f"its tables: carom show {run_id}{store_option(folder)}")
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
            console.say(f"{report.run}: {_failed(report.failures)}")
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

    from carom.scenarios.store.stamps import find_unchanged, stamp

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
    from carom.scenarios.tables.which import show_run

    with Store(folder) as store:
        if find_run(store, run_id).done:
            console.tables(show_run(store, run_id, brief=True))
            console.say(f"all tables: carom show {run_id}{store_option(folder)}")


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
    from carom.scenarios.students import check_output, front, record, students_of

    from .console import Console

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


def _failed(failures: Sequence[str]) -> str:
    """How many jobs failed, and whether it may help to try again."""
    passing, n = sum(map(may_pass, failures)), len(failures)
    jobs = f"{n} jobs failed" if n > 1 else "a job failed"
    if passing == n:
        return f"{jobs}; run again to retry"
    if not passing:
        return f"{jobs}, and will again until what was named is changed"
    return f"{jobs}; run again to retry {passing}, the others fail until what was named is changed"
