"""What the dataclasses and functions of a folder keep to, so that nothing is changed or mixed up by who gets it."""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

ARRAYS = ("ndarray", "DataFrame", "Tensor")  # "==" of two of them is no yes or no


def misshapen(place: ModuleType) -> Iterator[str]:
    """Dataclasses that can be changed, be made without names, or compare arrays; arguments that have no name.

    Args:
        place: A folder or a file.
    """
    inside = [f"{place.__name__}.{module.name}" for module in pkgutil.iter_modules(getattr(place, "__path__", ()))]
    for module in (place, *map(importlib.import_module, inside)):
        for name, found in vars(module).items():
            if getattr(found, "__module__", None) != module.__name__:
                continue
            if dataclasses.is_dataclass(found):
                params: Any = vars(found)["__dataclass_params__"]
                fields = dataclasses.fields(found)
                if not params.frozen or not all(field.kw_only for field in fields if field.init):
                    yield f"{module.__name__}.{name} is not frozen, or is made without the names of its fields"
                if params.eq and any(array in str(field.type) for field in fields for array in ARRAYS):
                    yield f"{module.__name__}.{name} compares arrays"
            for function in functions(found):
                if any(p.kind is p.POSITIONAL_ONLY for p in inspect.signature(function).parameters.values()):
                    yield f"{module.__name__}.{name}: {function.__qualname__} takes arguments that have no name"


def functions(found: object) -> list[Callable[..., Any]]:
    """A function itself, or those of a class."""
    if inspect.isfunction(found):
        return [found]
    members = vars(found).values() if inspect.isclass(found) else ()
    plain = [getattr(member, "__func__", member) for member in members]
    return [member for member in plain if inspect.isfunction(member) and member.__module__ == found.__module__]
