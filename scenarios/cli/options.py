"""What commands share: options, the default store, and how one ends."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

StoreOption = Annotated[Path, typer.Option("--store", envvar="CAROM_STORE", help="Folder of results.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=0, help="Processes; default one a core or GPU; 0 works in this process.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or names such as cuda:0,cuda:1.")]
STORE = Path(".carom")


def fail(message: str, code: int) -> NoReturn:
    """One line on stderr, and the end."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)


def store_option(folder: Path) -> str:
    """How a command that is recommended names the store; "" for the default one."""
    return "" if folder == STORE else f" --store {folder}"
