"""What a job is: work that crosses to a worker, and comes back as a result. Knows no kind of them.

A job reads what it needs from files, writes files or returns outcome bytes, and never touches the database, so the same
functions serve this process, a pool of processes, or a cluster.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch

from carom.errors import CaromError, ContractError, InputError, StoreError, one_line
from carom.identity import tensor_digest
from carom.scenarios.environment import code_digest, environment
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.plan import Plan
from carom.scenarios.store.artifacts import Artifact, Kind, adopt, write_artifact


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Where a job runs, and with which code.

    Attributes:
        folder: The store.
        device: As torch names it.
        threads: Of this process.
        code: Digest of carom's files in the process that planned the run.
    """

    folder: Path
    device: str
    threads: int
    code: str

    def checkpoint(self, key: str) -> Path:
        """Where a training writes how far it is."""
        return self.folder / "checkpoints" / f"{key}.pt"


@dataclass(kw_only=True)
class Result:
    """What a job did, or why it failed."""

    label: str
    kind: str
    written: list[Artifact] = field(default_factory=list)
    victim: str | None = None  # key of the model whose answers these are
    outcomes: dict[str, bytes] = field(default_factory=dict)  # packed predictions by key of the set or clean images
    seconds: float = 0.0
    inside: float = 0.0  # seconds in forward and backward passes
    passes: int = 0
    failures: dict[str, str] = field(default_factory=dict)  # why a set could not be made, by its key
    environment: Mapping[str, Any] = field(default_factory=dict)  # where it was done, and with what
    failure: str | None = None
    fault: Literal["input", "store", "job"] | None = (
        None  # "input": the user's model or file; "store": the disk; "job": anything else
    )


@runtime_checkable
class Job(Protocol):
    """A piece of work, frozen and small: it is pickled to a worker, which loads what the job names."""

    @property
    def label(self) -> str:
        """What it is about, for the user."""
        ...

    @property
    def kind(self) -> str:
        """The phase of a run that it belongs to; its time is counted under that."""
        ...

    @property
    def units(self) -> int:
        """Work, for the time left: image passes as far as they can be told."""
        ...

    @property
    def lost(self) -> tuple[str, ...]:
        """Keys of models and sets that are not to be had when it fails, apart from those that it wrote."""
        ...

    def work(self, worker: Worker, result: Result) -> None:
        """Do it, in a worker: write files, and say in the result what was done."""
        ...


Make = Callable[[Lacking], Sequence[Job]]


@runtime_checkable
class JobKind(Protocol):
    """A file of this folder, as the driver sees it."""

    def rounds(self, plan: Plan) -> Sequence[Make]:
        """What makes jobs of what is lacking; each is asked when the jobs of the one before are done."""
        ...


def perform(job: Job, worker: Worker) -> Result:
    """Do a job; failures come back as values, so that the rest of a run goes on."""
    start = time.perf_counter()
    threads = torch.get_num_threads()
    torch.set_num_threads(worker.threads)
    result = Result(label=job.label, kind=job.kind, environment=environment(worker.device))
    try:
        if worker.code != code_digest():  # keys of the plan would name what other code made
            raise ContractError(
                "carom's own files changed after the run began, or differ between machines; run it again"
            )
        job.work(worker, result)
    except StoreError as error:
        result.failure, result.fault = str(error), "store"
    except InputError as error:
        result.failure, result.fault = str(error), "input"
    except CaromError as error:
        result.failure, result.fault = str(error), "job"
    except torch.OutOfMemoryError:
        result.failure, result.fault = "out of memory on the device; free some or use a smaller model", "job"
    except Exception as error:  # a job must not take the run with it, whatever a model or library raises
        result.failure, result.fault = one_line(error), "job"
    finally:
        torch.set_num_threads(threads)
    result.seconds = time.perf_counter() - start
    return result


def finish(
    worker: Worker,
    result: Result,
    kind: Kind,
    key: str,
    tensors: Mapping[str, torch.Tensor],
    inputs: Mapping[str, str],
    record: Mapping[str, Any],
) -> None:
    """Write an artefact, and tell the driver."""
    where = environment(worker.device)  # now: a recipe has its own number of threads
    written = Artifact(
        kind=kind,
        key=key,
        digest=tensor_digest(tensors),
        inputs=dict(inputs),
        record={**record, "environment": where},
    )
    write_artifact(worker.folder, written, tensors)
    result.written.append(written)


def adopted(kind: Kind, key: str, inputs: Mapping[str, str], worker: Worker, result: Result) -> bool:
    """Whether an artefact is there already, written by a run that was stopped before it could say so."""
    found = adopt(worker.folder, kind, key, inputs)
    if found is not None:
        result.written.append(found)
    return found is not None
