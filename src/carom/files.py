"""Files that are whole or not there: a kill while one is written leaves the one before."""

import os
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carom.errors import MissingData

_VARIABLE = re.compile(r"\$(\w+|\{\w+\})(?=/|\\|$)")


def located(path: str) -> Path:
    """Where a path that a user wrote leads: "~" is the home folder, and "$NAME" in front an environment variable.

    What rests on such a path is kept under what was written, so it is the same on another machine.

    Raises:
        MissingData: The variable is not set.
    """
    found = _VARIABLE.match(path)
    if found is None:
        return Path(path).expanduser()
    name = found[1].strip("{}")
    folder = os.environ.get(name, "")
    if not folder:
        raise MissingData(f"{path}: the environment variable {name} is not set; set it to a folder, or write the path")
    return Path(folder).expanduser() / path[found.end() :].lstrip("/\\")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; at the end of the `with` block the file gets its own name.

    What fails leaves no trace.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, and have it on the disk before it gets its name."""
    with replacing(path) as part, part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def stray(path: Path) -> str | None:
    """What a file holds where a download or a checkout went wrong, and what to do; None where it may be what it should.

    An empty file, a web page, a pointer of Git LFS, or an answer in JSON or XML instead of the file.
    """
    with path.open("rb") as file:
        begin = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not path.stat().st_size:
        return "it is empty; download or copy it again"
    if begin.startswith(b"version https://git-lfs.github.com"):
        return "a pointer of Git LFS, not the file itself; fetch that with: git lfs pull"
    if re.match(rb"<(!doctype|html|head|body|title|meta|script)\b", begin, re.IGNORECASE):
        return "a web page, not the file that its address promised; open it to see what was said, and download again"
    if begin.startswith((b"<?xml", b"<Error", b'{"error', b'{"message', b'{"detail')):
        return "a server's answer, not the file that its address promised; open it to see what was said"
    return None


def write_state(path: Path, same: str, content: Mapping[str, Any]) -> None:
    """Write what an interrupted work goes on from, in a folder that is made if need be.

    Args:
        path: Where.
        same: Says of which work it is.
        content: As `torch.load` reads it with `weights_only`.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        torch.save({"same": same, **content}, part)


def read_state(path: Path, same: str) -> dict[str, Any] | None:
    """What `write_state` wrote; None where there is nothing, it is damaged, or it is of another work."""
    import torch

    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None
    return found if found.get("same") == same else None
