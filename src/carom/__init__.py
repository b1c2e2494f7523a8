"""carom: who fools whom, under which mismatch, at what cost, and with what confidence."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carom.scenarios.api import attack as attack
    from carom.scenarios.api import evaluate as evaluate

try:
    __version__ = version("carom")
except PackageNotFoundError:  # imported from a folder that was never installed
    __version__ = "0+unknown"

_here = Path(__file__).parent
if not (_here / "attacks").is_dir():  # a checkout without symlinks
    __path__.append(str(_here.parents[1]))

__all__ = ["__version__", "attack", "evaluate"]


def __getattr__(name: str) -> Any:
    """`carom.attack` and `carom.evaluate` load torch, so they are imported when first asked for."""
    if name in {"attack", "evaluate"}:
        from carom.scenarios import api

        return getattr(api, name)
    raise AttributeError(f"module 'carom' has no attribute {name!r}")
