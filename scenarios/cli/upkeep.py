"""Commands that look after a store: what comes into it from others, whether it is whole, what can go."""

from pathlib import Path
from typing import Annotated

import typer

from .options import STORE, JsonOption, StoreOption, store_option

import_ = typer.Typer(help="Published results, to stand beside one's own.", no_args_is_help=True)


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
    console.say(f"its tables: carom show {found.run}{store_option(store)}")


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
