"""Every error that carom raises on purpose.

Each message says where, what came, what was expected and what to do, on one line. The command line prints it
without a traceback.
"""


def one_line(error: BaseException) -> str:
    """An exception of somebody else's code: its type and message, on one line of at most 300 characters."""
    message = " ".join(str(error).split())[:300] or "no message"
    return f"{type(error).__name__}: {message}"


_PASSING = (
    "out of memory",
    "its process was killed",
    "run it again",
    "cannot be reached",
    "no answer in ",
    "rate-limited (HTTP ",
    "failed (HTTP ",
    "asks to wait",
)


def may_pass(reason: str) -> bool:
    """Whether what failed may succeed when it is tried again as it is: memory, a lost process, a service that was down.

    Other failures come again until what they name is changed.
    """
    return any(words in reason for words in _PASSING)


class CaromError(Exception):
    """Base of all errors below."""


class InputError(CaromError, ValueError):
    """What the user gave is wrong: a scenario, a name, a model, a file. The command line exits with 2."""


class ModelError(InputError):
    """A model breaks the classifier contract: range, shape, classes, finite logits, determinism."""


class MissingData(InputError):
    """A data set is not on this machine; the message says how to get it."""


class ContractError(CaromError, ValueError):
    """A component broke its promise: an attack left the ball, a transformation changed a shape."""


class StoreError(CaromError):
    """The store cannot be read or written: read-only, full, in use, newer, damaged."""


class GradientWarning(UserWarning):
    """An attack had gradients of exactly zero to follow: that it changed nothing says nothing of the model."""
