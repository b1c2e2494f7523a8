"""The text of a scenario: from a preset or a file. Loads nothing heavy."""

from importlib import resources
from pathlib import Path

from carom.errors import InputError
from carom.registry import did_you_mean


def presets() -> dict[str, str]:
    """Names of the scenarios that ship with carom, each with its text."""
    folder = resources.files("carom.scenarios.spec") / "presets"
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".toml")
    }


def read_text(name_or_path: str) -> tuple[str, str]:
    """The text of a preset or a file, and what errors call it.

    Raises:
        InputError: No such preset or file, or not text.
    """
    known = presets()
    if name_or_path in known:
        return known[name_or_path], name_or_path
    path = Path(name_or_path)
    if not path.is_file():
        hint = did_you_mean(name_or_path, known)
        raise InputError(
            f"{name_or_path}: no such scenario file or preset{hint} (presets: {', '.join(known)}); "
            "give a path to a .toml file or the name of a preset"
        )
    try:
        return path.read_text(encoding="utf-8"), path.name
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from None
