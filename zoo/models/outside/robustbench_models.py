"""Models of RobustBench by name, from checkpoints that are already where the library looks.

The library (1.1.1) imports `autoattack`, which is distributed as `pyautoattack`, and `pkg_resources`, which setuptools
dropped in version 81; it pins an old timm that its models do not need. The first is mended here for the time of the
import, the others are held in carom's extra `robustbench`.
"""

import importlib
import importlib.util
import itertools
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from carom.errors import MissingData, ModelError, one_line
from carom.files import located, stray
from carom.identity import content_key
from carom.registry import build, check_keys, lookup
from carom.zoo.models.classifier import Classifier
from carom.zoo.preprocessing import Shape

from .declared import as_it_is, named_files, not_installed

PREFIX = "robustbench"
_CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
_EXPECTED: Mapping[str, Shape] = {"cifar10": (3, 32, 32), "cifar100": (3, 32, 32)}  # ImageNet's vary


@dataclass(frozen=True, kw_only=True)
class RobustBench:
    """A model of RobustBench's zoo, with the normalisation that the library puts into it.

    Attributes:
        name: As the library names it, such as "Carmon2019Unlabeled".
        sha256: Of its checkpoint when it was named.
        dataset: What it was trained on.
        threat_model: What it was hardened against.
        model_dir: Where the library's checkpoints are: `model_dir/DATASET/THREAT_MODEL/NAME.pt`.
    """

    name: str
    sha256: str
    dataset: Literal["cifar10", "cifar100", "imagenet"] = "cifar10"
    threat_model: Literal["Linf", "L2", "corruptions", "corruptions_3d"] = "Linf"
    model_dir: str = "./models"

    version: ClassVar[int] = 1

    def key(self) -> str:
        """What is asked for; changes with the checkpoint's content, not with its place."""
        return content_key("robustbench", self.version, self.name, self.dataset, self.threat_model, self.sha256)


def robustbench_model(name: str, table: Mapping[str, Any], *, where: str) -> RobustBench:
    """From a model's table.

    Raises:
        InputError: An unknown or wrong field; or, where there is no checkpoint, the library has no such model.
        MissingData: The checkpoint is not where the library looks for it.
    """
    check_keys(table, ("dataset", "threat_model", "model_dir"), where=where)
    named = build(RobustBench, {"name": name, "sha256": "", **table}, where=where)
    files = _files(named)
    if not files:
        try:
            _check_name(named, where)
        except ModelError as error:
            if "pip install" not in str(error):
                raise
        raise MissingData(
            f'{where}: {PREFIX}:{name}: no such file: {_folder(named) / name}.pt; download it: python -c "from '
            f"{__name__} import download; download('{name}', '{named.model_dir}', '{named.dataset}', "
            f"'{named.threat_model}')\""
        )
    return build(RobustBench, {"name": name, "sha256": named_files(files, where=where), **table}, where=where)


def download(name: str, model_dir: str, dataset: str, threat_model: str) -> None:
    """Fetch a checkpoint as the library does: from the addresses that it holds, to where it looks.

    The library unpickles what it fetched, as torch's default is set.

    Raises:
        InputError: The library has no such model.
        ModelError: robustbench is missing, or the model is none of a checkpoint.
    """
    fields = {"name": name, "sha256": "", "dataset": dataset, "threat_model": threat_model, "model_dir": model_dir}
    asked = build(RobustBench, fields, where="download")
    _entry(asked, "download")
    _load(asked, "download")


def load_robustbench(reference: RobustBench, *, shape: Shape, classes: int, where: str) -> Classifier:
    """The model, in eval mode on the CPU; nothing is downloaded or unpickled.

    Raises:
        ModelError: It is of another task, its checkpoint changed or does not fit, or robustbench is missing.
    """
    where = f"{where}: {PREFIX}:{reference.name}"
    expected = (_EXPECTED.get(reference.dataset, shape), _CLASSES[reference.dataset])
    if expected != (shape, classes):
        raise ModelError(
            f"{where}: a model of images {expected[0]} in {expected[1]} classes; the task has {shape} in {classes}"
        )
    files = _files(reference)
    if not files or named_files(files, where=where) != reference.sha256:
        raise ModelError(f"{where}: its checkpoint changed after it was named; start again")
    _check_name(reference, where)
    for path in files:  # the library reads them again with torch's default, which an environment variable can change
        try:
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            told = f": {came}" if (came := stray(path)) is not None else f" is no plain checkpoint: {one_line(error)}"
            raise ModelError(f"{where}: {path}{told}; download it again, what needs unpickling is not opened") from None
    return as_it_is(_load(reference, where), shape=shape, classes=classes, kind=PREFIX, content=reference.key())


def _load(reference: RobustBench, where: str) -> Any:
    """The library's network; it downloads what is not there."""
    library = _library(where)
    place = str(located(reference.model_dir))  # which the library would not expand
    try:
        with warnings.catch_warnings(action="ignore"):
            return library.load_model(reference.name, place, reference.dataset, reference.threat_model)
    except Exception as error:
        raise ModelError(f"{where}: robustbench cannot load it: {one_line(error)}") from None


def _folder(reference: RobustBench) -> Path:
    threat_model = reference.threat_model.replace("_3d", "")  # both kinds of corruptions share their models
    return located(reference.model_dir) / reference.dataset / threat_model


def _files(reference: RobustBench) -> list[Path]:
    """The checkpoint, or those of an ensemble's members; none where they are not there."""
    whole = _folder(reference) / f"{reference.name}.pt"
    members = (_folder(reference) / f"{reference.name}.pt_m{i}.pt" for i in itertools.count())
    return [whole] if whole.is_file() else list(itertools.takewhile(Path.is_file, members))


def _check_name(reference: RobustBench, where: str) -> None:
    """Refuse a name that the library does not load from a checkpoint, and files that it would not look for."""
    ids = _entry(reference, where)["gdrive_id"]
    parts = [f"_m{i}.pt" for i in range(len(ids))] if isinstance(ids, list) else [""]
    wanted = [f"{reference.name}.pt{part}" for part in parts]
    have = [path.name for path in _files(reference)]
    if have and have != wanted:
        named = wanted[0] if len(wanted) == 1 else f"{wanted[0]} to {wanted[-1]}"
        raise MissingData(
            f"{where}: {sum(w in have for w in wanted)} of its {len(wanted)} checkpoints are in {_folder(reference)}; "
            f"expected {named} alone"
        )


def _entry(reference: RobustBench, where: str) -> Mapping[str, Any]:
    """What the library says of a model; refuses those that it does not load from a checkpoint."""
    import timm

    library = _library(where)
    zoo = library.all_models[library.BenchmarkDataset(reference.dataset)]
    models: Mapping[str, Any] = zoo.get(library.ThreatModel(reference.threat_model.replace("_3d", "")), {})
    entry: Mapping[str, Any] = lookup(
        reference.name, models, where=where, what=f"model of {reference.dataset} {reference.threat_model}"
    )
    registered = f"{reference.name}_{reference.dataset}_{reference.threat_model.replace('_3d', '')}"
    if not entry["gdrive_id"] or timm.is_model(registered.lower().replace("-", "_")):
        raise ModelError(
            f"{where}: robustbench loads {reference.name} by a download of timm or torchvision, not from a file; name "
            "it by its weights file"
        )
    return entry


def _library(where: str) -> Any:
    """`robustbench.utils`, whatever its dependencies are called."""
    try:
        with _old_names(), warnings.catch_warnings(action="ignore"):
            return importlib.import_module("robustbench.utils")
    except ImportError as error:
        raise not_installed(where, "robustbench", "robustbench", error) from None


@contextmanager
def _old_names() -> Iterator[None]:
    """`autoattack` means `pyautoattack`, until the import is over; a real `autoattack` wins."""
    if "robustbench" in sys.modules or importlib.util.find_spec("autoattack") is not None:
        yield
        return
    names = {f"autoattack{rest}": f"pyautoattack{rest}" for rest in ("", ".state")}
    try:
        for old, new in names.items():
            sys.modules[old] = importlib.import_module(new)
        yield
    finally:
        for old in names:
            sys.modules.pop(old, None)
