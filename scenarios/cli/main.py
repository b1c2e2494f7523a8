"""The command line: thin over the library, results on stdout, progress on stderr.

Heavy imports stand inside commands, so that `carom --help` answers at once. Exit 0: done; 1: a job failed; 2: the input
was wrong, with one line that says where, what came, what was expected and what to do.
"""

import os
import sys
from typing import Annotated

import typer

from carom.errors import CaromError

from . import audit, look, run, suites, upkeep
from .options import fail

app = typer.Typer(
    name="carom",
    help="Who fools whom, under which mismatch, at what cost, and with what confidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


for command, name in (  # in the order in which `carom --help` lists them
    (run.demo, "demo"),
    (run.run, "run"),
    (audit.audit, "audit"),
    (run.plan, "plan"),
    (run.train, "train"),
    (run.students, "students"),
    (look.show, "show"),
    (look.compare, "compare"),
    (look.export, "export"),
    (look.list_, "list"),
    (look.describe, "describe"),
    (look.app_, "app"),
    (upkeep.doctor, "doctor"),
    (upkeep.gc, "gc"),
):
    app.command(name=name)(command)
app.add_typer(upkeep.import_, name="import")
app.add_typer(suites.suite, name="suite")


def main() -> None:
    """Run the command line; every error that carom raises on purpose is one line and exit code 2."""
    try:
        app()
    except CaromError as error:
        fail(str(error), 2)
    except BrokenPipeError:  # such as `carom list attacks | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


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
