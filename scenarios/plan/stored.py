"""What a plan asks a store: which artefacts and outcomes are there. It needs no database to ask."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from carom.scenarios.store.artifacts import Kind


@runtime_checkable
class Recorded(Protocol):
    """An artefact as a store records it."""

    @property
    def id(self) -> int: ...

    @property
    def key(self) -> str: ...

    @property
    def digest(self) -> str | None:
        """Of its tensors; None where the store has none of it now."""

    @property
    def inputs(self) -> str:
        """Digests of what it was made from, by what they are of, as JSON."""


@runtime_checkable
class Stored(Protocol):
    """What is there; `carom.scenarios.store.database.Store` answers so."""

    def path(self, kind: Kind, key: str) -> Path:
        """Where the tensors of an artefact lie."""

    def recorded(self, kind: Kind, keys: Sequence[str]) -> Mapping[str, Recorded]:
        """What is recorded of these artefacts, by key, of those that the store knows."""

    def why_unusable(self, kind: Kind, row: Recorded) -> str | None:
        """Why the file of an artefact cannot be used; None where it can."""

    def evaluated(self, sets: Sequence[int]) -> set[tuple[int, int]]:
        """Ids of adversarial set and victim, of all outcomes on these sets."""

    def answered(self, image_sets: Sequence[int]) -> set[tuple[int, int]]:
        """Ids of victim and image set, of all answers to these clean images."""
