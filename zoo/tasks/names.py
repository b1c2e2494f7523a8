"""The names of a task's classes, in the order of the labels: ImageNet's, those of a file, of a list, or numbers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

from carom.errors import InputError, MissingData
from carom.files import located
from carom.registry import did_you_mean

Names = str | int | tuple[str, ...]
IMAGENET = "imagenet"
_SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class ClassNames:
    """The classes of a task.

    Attributes:
        names: In the order of the labels; no two are equal.
        synsets: WordNet's numbers, such as "n01440764", in the same order; none where nobody says them.
    """

    names: tuple[str, ...]
    synsets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what in (self.names, self.synsets):
            if len(set(what)) != len(what):
                twin = next(name for name in what if what.count(name) > 1)
                raise InputError(f"two classes are called {twin!r}; give each a name of its own")

    @cached_property
    def _exact(self) -> dict[str, int]:
        numbers = {str(i): i for i in range(len(self.names))}
        return numbers | {s: i for i, s in enumerate(self.synsets)} | {name: i for i, name in enumerate(self.names)}

    @cached_property
    def _loose(self) -> dict[str, int | None]:
        """By names without letter case, and with one sign for a space; None for what two classes share."""
        found: dict[str, int | None] = {}
        for i, name in enumerate(self.names):
            found[_plain(name)] = None if _plain(name) in found else i
        return found

    def label(self, said: str, *, where: str) -> int:
        """The class that a name, a synset or a number from 0 stands for.

        Raises:
            InputError: None of the classes, or more than one.
        """
        exact = self._exact.get(said)
        if exact is not None:
            return exact
        last = len(self.names) - 1
        if re.fullmatch(r"[+-]?\d+", said):
            if 0 <= int(said) <= last:
                return int(said)
            counted = "; are they counted from 1?" if int(said) == last + 1 else ""
            raise InputError(f"{where}: label {said}; with {last + 1:,} classes expected 0 to {last}{counted}")
        loose = self._loose.get(_plain(said))
        if loose is not None:
            return loose
        if _plain(said) in self._loose:
            raise InputError(f"{where}: {said!r} names more than one class; write it as the classes are written")
        ways = f"a name, {'a synset, ' if self.synsets else ''}or a number from 0 to {last}"
        raise InputError(f"{where}: {said!r} is none of the {last + 1:,} classes; expected {ways}{self._near(said)}")

    def _near(self, said: str) -> str:
        return did_you_mean(said, self.names) if len(self.names) <= 2000 else ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


@cache
def imagenet() -> ClassNames:
    """The 1,000 classes of ImageNet, in the order of the networks that are trained on it."""
    text = resources.files("carom.zoo.tasks").joinpath("imagenet.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return ClassNames(names=tuple(name for _, _, name in rows), synsets=tuple(synset for _, synset, _ in rows))


def class_names(names: Names, *, where: str) -> ClassNames | None:
    """The classes that a task's `names` stand for; None where it leaves them open, as "" or ().

    Args:
        names: "imagenet"; a file with one name a line, each with or without a synset in front; a list; or how many
            classes there are, which are called by their numbers then.
        where: For errors.

    Raises:
        InputError: Fewer than two classes, two of one name, or a file that is no list of names.
        MissingData: There is no such file.
    """
    if not names and not isinstance(names, int):
        return None
    if names == IMAGENET:
        return imagenet()
    if isinstance(names, str):
        return _of_file(names, where)
    said = tuple(str(k) for k in range(names)) if isinstance(names, int) else names
    return _checked(said, (), where)


def _checked(names: tuple[str, ...], synsets: tuple[str, ...], where: str) -> ClassNames:
    if len(names) < 2:
        raise InputError(f"{where}: names: {len(names)} classes; expected two or more")
    try:
        return ClassNames(names, synsets)
    except InputError as error:
        raise InputError(f"{where}: names: {error}") from None


def _of_file(name: str, where: str) -> ClassNames:
    path = located(name)
    if not path.is_file():
        raise MissingData(
            f'{where}: names: {name}: no such file; expected "{IMAGENET}", a file with one name a line, a list of '
            "names, or how many classes there are"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: names: {name}: cannot be read as text ({error})") from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if lines and lines[0][0] in "{[<":
        raise InputError(f"{where}: names: {name}: begins with {lines[0][:20]!r}; expected text with one name a line")
    if lines and all(_SYNSET.match(line) for line in lines):
        split = [line.split(maxsplit=1) for line in lines]
        synsets = tuple(first for first, *_ in split)
        return _checked(_told_apart([rest[0] if rest else first for first, *rest in split], synsets), synsets, where)
    return _checked(tuple(lines), (), where)


def _told_apart(names: list[str], synsets: tuple[str, ...]) -> tuple[str, ...]:
    """Names that two synsets share get theirs behind them."""
    return tuple(f"{n} ({s})" if names.count(n) > 1 else n for n, s in zip(names, synsets, strict=True))


def numbers_in_use(labels: Iterable[int], *, where: str) -> tuple[str, ...]:
    """Names of the classes of labels that nobody named: "0", "1", ..., each of which has images.

    Raises:
        InputError: A label below 0, or a number below the largest that no image has.
    """
    there = set(labels)
    if there and min(there) < 0:
        raise InputError(f"{where}: label {min(there)}; expected 0 or more")
    if there != set(range(len(there))):
        missing = next(k for k in range(len(there)) if k not in there)
        raise InputError(
            f"{where}: labels go up to {max(there)}, and no image is of class {missing}; expected 0 to "
            f'{len(there) - 1} for {len(there)} classes, or `names` that say all (a list, a file, "{IMAGENET}", or how '
            "many)"
        )
    return tuple(str(k) for k in range(len(there)))
