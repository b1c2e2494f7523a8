"""A suite: the adversarial sets of a scenario in one portable file, with all that a gate needs to ask a model.

The file is a zip archive of numpy arrays (`np.load` opens it) and one JSON text. Adversarial images are stored as what
they differ by from the clean ones, which compresses; every array has its digest in the JSON, and the JSON has its own.
"""

import hashlib
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carom.errors import InputError, MissingData, StoreError, one_line
from carom.files import write_whole

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

FORMAT = 1
SUFFIX = ".suite"
SHIPPED = Path(__file__).parent / "suites"
_ABOUT = "suite.json"
_LARGEST = 1 << 31  # bytes that an archive may unpack to: what claims more is no suite
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the archive's least date: the same suite is the same bytes


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How an adversarial set fared on the victims of its scenario when it was frozen.

    Attributes:
        victims: How many, of other weights than the surrogate.
        asr: Mean of their attack success rates.
        robust_accuracy: Mean of the share of all images that they get right.
    """

    victims: int
    asr: float
    robust_accuracy: float


@dataclass(frozen=True, kw_only=True)
class AdversarialSet:
    """What is known of one adversarial set of a suite.

    Attributes:
        name: Unique within the suite.
        surrogate: Label of the surrogate.
        axes: Its source, balance, architecture and what else the scenario said of it.
        fingerprints: Digests of the weights that were read.
        attack: As tables name it.
        norm: "linf" or "l2".
        eps: Exact, in pixel units, such as "48/255".
        seed: Of the attack's draws.
        targeted: It aims at the classes in `Suite.targets`.
        strength: On the victims of the scenario; None where it had none.
    """

    name: str
    surrogate: str
    axes: Mapping[str, str]
    fingerprints: tuple[str, ...]
    attack: str
    norm: str
    eps: str
    seed: int
    targeted: bool = False
    strength: Strength | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Suite:
    """Clean images, and adversarial sets of the same images.

    Attributes:
        name: For messages and baselines.
        description: One line.
        task: Name of the task, such as "digits".
        classes: Their names.
        sources: Names of the image sources.
        scenario: The text of the scenario that it was made from.
        made_by: Version of carom and of its libraries.
        clean: 8-bit images, `n c h w`.
        labels: `n`.
        image_source: Index into `sources` of each image, `n`.
        ids: `n`, as the task numbers its images.
        targets: Target class of each image, `n`; None without a targeted set.
        sets: What is known of each adversarial set.
        adversarial: 8-bit images of each set, `n c h w`, in the order of `sets`.
    """

    name: str
    description: str
    task: str
    classes: tuple[str, ...]
    sources: tuple[str, ...]
    scenario: str
    clean: Bytes
    labels: Ints
    image_source: Ints
    ids: Ints
    sets: tuple[AdversarialSet, ...]
    adversarial: tuple[Bytes, ...]
    targets: Ints | None = None
    made_by: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many images."""
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns."""
        channels, rows, columns = self.clean.shape[1:]
        return (channels, rows, columns)

    @cached_property
    def digest(self) -> str:
        """sha256 of images, labels and adversarial images: suites of one digest ask the same of a model."""
        total = hashlib.sha256()
        for name, array in sorted(_arrays(self).items()):
            total.update(f"{name}={_digest(array)};".encode())
        return total.hexdigest()


def write_suite(suite: Suite, path: Path) -> None:
    """Write a suite; the same suite is the same bytes.

    Raises:
        StoreError: The file cannot be written.
    """
    arrays = _arrays(suite)
    about = {
        "format": FORMAT,
        "name": suite.name,
        "description": suite.description,
        "task": suite.task,
        "classes": suite.classes,
        "sources": suite.sources,
        "scenario": suite.scenario,
        "made_by": dict(suite.made_by),
        "sets": [asdict(made) for made in suite.sets],
        "arrays": {name: _digest(array) for name, array in arrays.items()},
    }
    text = json.dumps(about, sort_keys=True, indent=1)
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            file = BytesIO()
            np.lib.format.write_array(file, array, allow_pickle=False)
            _add(archive, f"{name}.npy", file.getvalue())
        _add(archive, _ABOUT, json.dumps({"sha256": _text_digest(text), "about": about}, sort_keys=True).encode())
    try:
        write_whole(path, out.getvalue())
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None


def read_suite(path: Path) -> Suite:
    """Read a suite, every array checked against its digest; nothing in it is ever unpickled.

    Raises:
        MissingData: No such file.
        InputError: It is no suite, is cut short, was changed, or is of a newer version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingData(f"{path}: the suite cannot be read: {error.strerror}") from None
    again = "get it again, or build it anew: carom suite build"
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > _LARGEST:
                raise InputError(f"{path}: claims to unpack to more than {_LARGEST >> 20:,} MiB; expected a suite")
            text = json.loads(archive.read(_ABOUT))
            about = text["about"]
            if (found := about["format"]) != FORMAT:
                raise InputError(
                    f"{path}: a suite of format {found}, this carom reads {FORMAT}; install a matching version"
                )
            if text["sha256"] != _text_digest(json.dumps(about, sort_keys=True, indent=1)):
                raise InputError(f"{path}: the suite was changed after it was made (its description); {again}")
            _check_types(about)
            arrays = {name: _read_array(archive, name) for name in about["arrays"]}
    except InputError:
        raise
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: no suite, or one that was cut short or changed ({error}); {again}") from None
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        KeyError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        zlib.error,
    ) as error:  # RuntimeError: also what is nested too deeply, or packed in an unknown way
        raise InputError(f"{path}: no suite, or a damaged one ({one_line(error)}); {again}") from None
    for name, array in arrays.items():
        if _digest(array) != about["arrays"][name]:
            raise InputError(f"{path}: the suite was changed after it was made ({name}); {again}")
    try:
        return _suite(about, arrays)
    except (AttributeError, KeyError, MemoryError, TypeError, ValueError) as error:
        why = one_line(error)
        raise InputError(f"{path}: the suite's description does not fit its images ({why}); {again}") from None


def find_suite(name: str | Path) -> Path:
    """The file of a suite: a path that ends in .suite, or the name of one that ships with carom.

    Raises:
        InputError: No suite ships under this name.
        MissingData: No such file.
    """
    path = Path(name).expanduser()
    if path.suffix == SUFFIX:
        if not path.is_file():
            raise MissingData(f"suite {name}: no such file; build it: carom suite build SCENARIO -o {path.name}")
        return path
    known = shipped()
    if str(name) not in known:
        from carom.registry import did_you_mean  # loads pydantic, which a gate that finds its suite can do without

        raise InputError(
            f"suite {str(name)!r}: none of this name ships with carom{did_you_mean(str(name), known)}; expected one of "
            f"{', '.join(known)}, or a file ending in {SUFFIX}"
        )
    return known[str(name)]


def shipped() -> dict[str, Path]:
    """The suites that ship with carom, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob(f"*{SUFFIX}"))}


# -------------------------------------------------------------------------------------------------------- the file


def _arrays(suite: Suite) -> dict[str, NDArray[Any]]:
    """What is stored, by name."""
    arrays: dict[str, NDArray[Any]] = {
        "clean": suite.clean,
        "labels": suite.labels.astype("<i4"),
        "image_source": suite.image_source.astype("<i4"),
        "ids": suite.ids.astype("<i8"),
    }
    if suite.targets is not None:
        arrays["targets"] = suite.targets.astype("<i4")
    for i, images in enumerate(suite.adversarial):
        arrays[f"change{i:03}"] = images - suite.clean  # modulo 256: small changes are few values, whatever the image
    return arrays


def _suite(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Suite:
    clean, labels = arrays["clean"], arrays["labels"].astype(np.int64)
    n = len(labels)
    sets = tuple(_set(made) for made in about["sets"])
    changes = [arrays[f"change{i:03}"] for i in range(len(sets))]
    if clean.dtype != np.uint8 or clean.ndim != 4 or len(clean) != n or not n or not sets:
        raise ValueError(f"{len(sets)} sets, images {clean.dtype} {clean.shape}, {n} labels")
    numbers = {name: arrays[name] for name in ("labels", "image_source", "ids", "targets") if name in arrays}
    for name, array in numbers.items():
        if array.shape != (n,) or array.dtype.kind != "i":
            raise ValueError(f"{name} {array.dtype} {array.shape} of {n} images")
    if any(change.shape != clean.shape or change.dtype != np.uint8 for change in changes):
        raise ValueError("adversarial images of another shape than the clean ones")
    if len({made.name for made in sets}) != len(sets):
        raise ValueError("two sets of one name")
    if not (labels.min() >= 0 and labels.max() < len(about["classes"])):
        raise ValueError("labels outside the classes")
    return Suite(
        name=about["name"],
        description=about["description"],
        task=about["task"],
        classes=tuple(about["classes"]),
        sources=tuple(about["sources"]),
        scenario=about["scenario"],
        made_by=about["made_by"],
        clean=clean,
        labels=labels,
        image_source=arrays["image_source"].astype(np.int64),
        ids=arrays["ids"].astype(np.int64),
        targets=arrays["targets"].astype(np.int64) if "targets" in arrays else None,
        sets=sets,
        adversarial=tuple(change + clean for change in changes),
    )


def _set(made: Mapping[str, Any]) -> AdversarialSet:
    strength = made["strength"]
    fields = {**made, "fingerprints": tuple(made["fingerprints"])}
    return AdversarialSet(**{**fields, "strength": None if strength is None else Strength(**strength)})


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    # level 9 takes a hundred times as long on changes of few values, and makes them smaller by a seventh
    archive.writestr(info, data, compresslevel=4)


def _check_types(about: Mapping[str, Any]) -> None:
    """What a message or a table is going to be made of."""
    for name in ("name", "description", "task", "scenario"):
        if not isinstance(about[name], str):
            raise TypeError(f"{name} is {type(about[name]).__name__}, not text")
    for name in ("made_by", "arrays"):
        if not isinstance(about[name], Mapping) or not all(isinstance(value, str) for value in about[name].values()):
            raise TypeError(f"{name} is no table of texts")
    for name in ("classes", "sources"):
        if not isinstance(about[name], list) or not all(isinstance(value, str) for value in about[name]):
            raise TypeError(f"{name} is no list of texts")
    texts = ("name", "surrogate", "attack", "norm", "eps")
    for made in about["sets"]:
        axes = made["axes"]
        if not all(isinstance(made[name], str) for name in texts) or not isinstance(axes, Mapping):
            raise TypeError("a set that is not described by texts")
        if not all(isinstance(value, str) for value in axes.values()):
            raise TypeError("axes are no table of texts")


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """An array whose header claims no more than there is: numpy makes room for what is claimed."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{name}: an array of format {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded")
        if math.prod(shape) * dtype.itemsize > info.file_size:
            raise ValueError(f"{name}: claims {shape} of {dtype} in {info.file_size} bytes")
    array: NDArray[Any] = np.lib.format.read_array(BytesIO(archive.read(info)), allow_pickle=False)
    return array


def _digest(array: NDArray[Any]) -> str:
    total = hashlib.sha256(f"{array.dtype.str}|{array.shape}|".encode())
    total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def check_output(path: Path) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Raises:
        InputError: Another suffix, or no such folder.
    """
    if path.suffix != SUFFIX:
        raise InputError(f"carom suite build: {path}: expected a name that ends in {SUFFIX}")
    if not path.resolve().parent.is_dir():
        raise InputError(f"carom suite build: {path.parent} is not a folder; make it first")
