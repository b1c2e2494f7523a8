"""State dicts as training scripts wrap and name them: which tensors of a file are those of a network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from carom.errors import InputError, ModelError

_COUNTERS = ("total_ops", "total_params", "n_averaged")  # of profilers and of averages; no network computes with them
_UNUSED = "num_batches_tracked"  # which old files lack, and inference does not read


@dataclass(frozen=True)
class Found:
    """The tensors in a file.

    Attributes:
        tensors: By name; where tables are nested, their names stand before it, with dots between.
        tables: Of each name, the table that it lies in: "" is the outermost.
    """

    tensors: Mapping[str, Tensor]
    tables: Mapping[str, str]


def named(loaded: object) -> Found:
    """All tensors of a table, and of the tables in it.

    What is not by name, such as the state of an optimizer, is left out.
    """
    tensors: dict[str, Tensor] = {}
    tables: dict[str, str] = {}

    def walk(table: object, place: str) -> None:
        for name, value in table.items() if isinstance(table, Mapping) else ():
            if isinstance(value, Tensor) and isinstance(name, str):
                tensors[place + name] = value
                tables[place + name] = place
            elif isinstance(name, str):
                walk(value, f"{place}{name}.")

    walk(loaded, "")
    return Found(tensors, tables)


def tensors_of(network: Mapping[str, Tensor], found: Found, *, where: str, key: str | None = None) -> dict[str, Tensor]:
    """The tensors of a file that are a network's, under the network's names.

    What stands before all of them is taken off: tables they lie in ("state_dict", "model", "net"), and what wrappers
    put before names ("module.", "_orig_mod.", "model."). Counters that no network computes with may be there or not.

    Args:
        network: The network's own state dict.
        found: What is in the file.
        where: For errors.
        key: Where the weights lie in the file, such as "model_ema"; None where it has one set of them.

    Raises:
        InputError: The file has no such key.
        ModelError: No set of weights fits, several do, or names are left over.
    """
    tensors = {name: tensor for name, tensor in found.tensors.items() if name.rpartition(".")[2] not in _COUNTERS}
    own = [name for name in network if name.rpartition(".")[2] not in (_UNUSED, *_COUNTERS)]
    before = sorted({name.removesuffix(own[0]) for name in tensors if _ends(name, own[0])} | {""})
    have = {prefix: sum(prefix + name in tensors for name in own) for prefix in before}
    whole = [prefix for prefix in before if have[prefix] == len(own)]
    if key is not None:
        whole = _under(key, whole, tensors, where)
    fitting = [p for p in whole if all(tensors[p + name].shape == network[name].shape for name in own)] or whole
    if not fitting:
        raise ModelError(f"{where}: {_lacking(own, tensors, max(before, key=lambda p: have[p]))}")
    if len(fitting) > 1 and not all(_equal(own, tensors, fitting[0], other) for other in fitting[1:]):
        keys = [_key(prefix) or "(no key)" for prefix in fitting]
        raise ModelError(
            f"{where}: {len(fitting)} sets of weights fit, {', '.join(keys)}; say which with weights_key, such as "
            f'weights_key = "{next(k for k in reversed(keys) if k != "(no key)")}"'
        )
    prefix = fitting[0]
    used = {other + name for other in fitting for name in own}
    left = [name for name in tensors if name not in used and not name.endswith(_UNUSED)]
    inside = [name.removeprefix(prefix) for name in left if name.startswith(prefix)]
    if inside:
        raise ModelError(
            f"{where}: {len(inside)} tensors too many, such as {_some(inside)}; expected weights of the declared "
            "architecture"
        )
    table = {found.tables[prefix + name] for name in own}
    beside = [name for name in left if found.tables[name] in table and not name.startswith(prefix)]
    if beside and key is None:
        raise ModelError(
            f"{where}: the weights stand under {_key(prefix)!r}, beside {len(beside)} other tensors, such as "
            f'{_some(beside)}; where the model needs none of them, add weights_key = "{_key(prefix)}"'
        )
    return {name: tensors.get(prefix + name, network[name]) for name in network}


def _ends(name: str, own: str) -> bool:
    return name == own or name.endswith(f".{own}")


def _key(prefix: str) -> str:
    return prefix.removesuffix(".")


def _under(key: str, whole: Sequence[str], tensors: Iterable[str], where: str) -> list[str]:
    """The sets of weights that lie under this key."""
    fitting = [prefix for prefix in whole if prefix.startswith(f"{key}.")]
    if len(exact := [prefix for prefix in fitting if _key(prefix) == key]) == 1:
        return exact
    if fitting:
        return fitting
    known = ", ".join(_key(prefix) for prefix in whole if prefix)
    has = f"such weights at {known}" if known else f"tensors such as {_some(tensors)}"
    raise InputError(f"{where}: weights_key {key!r}: no weights of this architecture there; the file has {has}")


def _equal(own: Sequence[str], tensors: Mapping[str, Tensor], one: str, other: str) -> bool:
    return all(torch.equal(tensors[one + name], tensors[other + name]) for name in own)


def _lacking(own: Sequence[str], tensors: Mapping[str, Tensor], prefix: str) -> str:
    """What is said of a file without the network's weights: which names it has, and which the network wants."""
    missing = [name for name in own if prefix + name not in tensors]
    mine = {prefix + name for name in own}
    others = [name for name in tensors if name not in mine and not name.endswith(_UNUSED)]
    has = f"; the file has {len(others)} others, such as {_some(others)}" if others else ""
    return (
        f"{len(missing)} of {len(own)} tensors are missing, such as {_some(missing)}{has}; expected weights of the "
        "declared architecture"
    )


def _some(names: Iterable[str]) -> str:
    """The first two and the last one."""
    listed = [repr(name) for name in names]
    return ", ".join(listed if len(listed) <= 3 else [listed[0], listed[1], listed[-1]])
