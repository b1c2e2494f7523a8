"""Command that audits a model: one question, from a model and a folder of images to sentences."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import STORE, DeviceOption, JsonOption, StoreOption, WorkersOption, fail

if TYPE_CHECKING:
    from carom.scenarios.audit.audit import Audited

    from .console import Console


def audit(
    model: Annotated[
        str, typer.Argument(help="A model, such as timm:resnet18, weights.pth, net.onnx or package.module:function.")
    ],
    images: Annotated[str, typer.Option("--images", help="Folder of class folders, or of images and a CSV file.")],
    labels: Annotated[str | None, typer.Option(help="CSV file of files and labels, where there are several.")] = None,
    names: Annotated[
        str | None, typer.Option(help="imagenet, or a file of class names in the model's order, one a line.")
    ] = None,
    preprocessing: Annotated[
        str | None, typer.Option(help="Such as '{mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5]}'; default: found out.")
    ] = None,
    surrogates: Annotated[
        str | None, typer.Option(help="Public models, with commas between; default those on this machine.")
    ] = None,
    attacks: Annotated[str | None, typer.Option(help="With commas between; default fgsm,mi,mi+di.")] = None,
    eps: Annotated[str | None, typer.Option(help="Radii of linf, with commas; default 2/255,4/255,8/255.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most images that are attacked.")] = 500,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for report, scenario, suite and test.")] = Path(
        "audit"
    ),
    store: StoreOption = STORE,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """How exposed a model is to attacks on public models.

    Finds out what the model wants, takes the public models that are on this machine, attacks your images on them, and
    says how many of those that your model gets right are turned. The same command resumes, and when all is done prints
    the same again.

    Example: carom audit net.onnx --images photos --names imagenet
    """
    import signal

    from carom.errors import StoreError
    from carom.scenarios.audit.audit import Asked
    from carom.scenarios.audit.audit import audit as answered

    from .console import Console

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    console = Console()
    asked = Asked(
        model=model,
        images=images,
        output=output,
        store=store,
        labels=labels,
        names=names,
        preprocessing=preprocessing,
        surrogates=surrogates,
        attacks=attacks,
        eps=eps,
        limit=limit,
    )
    try:
        with console.progress() as progress:
            found = answered(asked, workers=workers, device=device, progress=progress)
    except KeyboardInterrupt:
        fail("interrupted; what was computed is kept, so the same command goes on from here", 130)
    except StoreError as error:
        fail(str(error), 1)
    done = found.report
    if done.nothing_to_do:
        console.say("nothing to do, the store holds everything")
    else:
        console.say(f"crafted {done.crafted} sets, evaluated {done.evaluated} cells in {done.seconds:.0f} s")
    console.json(found.record()) if as_json else _show(console, found)


def _show(console: "Console", found: "Audited") -> None:
    console.out(f"Preprocessing: {found.preprocessing}")
    for line in (*found.remarks, *found.answer):
        console.out(f"{line[0].upper()}{line[1:]}")
    console.out("\nWhat this does not say:")
    for line in found.unsaid:
        console.out(f"- {line}")
    console.out("")
    for name, file in found.files.items():
        console.out(f"{name}: {file}")
