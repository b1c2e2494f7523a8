"""Commands of suites: build, run, calibrate."""

from pathlib import Path
from typing import Annotated

import typer

from .options import STORE, DeviceOption, JsonOption, StoreOption, WorkersOption, fail

suite = typer.Typer(help="Frozen adversarial sets, for gates: build, run, calibrate.", no_args_is_help=True)


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
    from carom.scenarios.gates.suite import check_output, write_suite
    from carom.scenarios.gates.tables import show_suite
    from carom.scenarios.spec.read import load_scenario

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
