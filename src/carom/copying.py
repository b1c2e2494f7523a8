"""Copies of modules, whatever they keep beside their weights."""

import copy
import io
import warnings
from collections.abc import Mapping
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

_ATOMS = (str, bytes, int, float, complex, bool, type, type(None))


def copied(module: Module, memo: Mapping[int, object] | None = None) -> Module:
    """A deep copy, of modules too that keep what cannot be copied.

    An answer that a module kept, with its graph, or a weight that another computes (weight norm), is copied as numbers.
    What belongs to the process, such as a lock, an open file or a client, is shared. TorchScript modules keep weights
    that can be frozen.

    Args:
        module: Any.
        memo: What stands for some objects in the copy, by their ids, as in `copy.deepcopy`.

    Raises:
        Exception: Whatever `copy.deepcopy` raises where even that does not help.
    """
    known = dict(memo or {})
    inside: set[int] = set()
    for part in module.modules():
        # torch's own copy of these has weights that are no leaves; what lies inside one is copied with it
        if isinstance(part, torch.jit.ScriptModule) and id(part) not in inside:
            inside |= {id(inner) for inner in part.modules()}
            known.setdefault(id(part), _saved_and_loaded(part))
    if id(module) in known:
        return cast("Module", known[id(module)])
    try:
        return copy.deepcopy(module, dict(known))
    except Exception:  # looked for only where it is needed: it takes time
        _note_beside(module, known, set())
        return copy.deepcopy(module, known)


def _saved_and_loaded(program: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # torch announces the end of TorchScript
        torch.jit.save(program, file)
        file.seek(0)
        loaded: torch.jit.ScriptModule = torch.jit.load(file)  # type: ignore[no-untyped-call]
    return loaded


def _note_beside(value: object, memo: dict[int, object], seen: set[int]) -> None:
    """Put into `memo` what stands in a copy for each thing in `value` that cannot be copied itself."""
    if id(value) in seen or id(value) in memo or isinstance(value, _ATOMS):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        if not value.is_leaf:
            memo[id(value)] = value.detach().clone()
    elif isinstance(value, nn.Module):
        for part in vars(value).values():
            _note_beside(part, memo, seen)
    elif isinstance(value, Mapping):
        for part in value.values():
            _note_beside(part, memo, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            _note_beside(part, memo, seen)
    elif not _can_be_copied(value, memo):
        for part in getattr(value, "__dict__", {}).values():
            _note_beside(part, memo, seen)
        if not _can_be_copied(value, memo):
            memo[id(value)] = value


def _can_be_copied(value: object, memo: Mapping[int, object]) -> bool:
    try:
        copy.deepcopy(value, dict(memo))
    except Exception:  # of any kind
        return False
    return True
