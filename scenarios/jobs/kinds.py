"""Which kinds of jobs a run does, in this order: the one place that lists them.

Whoever wants one of the other files alone, such as the answers of a model, need not load all of them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from . import bring, build, controls, craft, evaluate, examine, measure, train
from .job import JobKind

PHASES: Mapping[str, tuple[JobKind, ...]] = MappingProxyType(
    {
        "train": (train,),
        "build": (build,),
        "measure": (measure, examine),
        "craft": (craft, controls, bring),
        "evaluate": (evaluate,),
    }
)
