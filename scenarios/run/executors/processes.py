"""A pool of processes, each with its share of the cores or a device, that dies with its driver."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType

import torch

from carom.errors import InputError
from carom.scenarios.jobs.job import Job, Result, Worker, perform


def devices_of(device: str) -> list[str]:
    """The torch devices that a user's word names: "auto", "cpu", "cuda", "cuda:0,cuda:1"."""
    if device == "auto":
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if device == "cuda" else device.split(",")
    for name in names or [device]:
        try:
            torch.zeros(1, device=name)
        except (RuntimeError, AssertionError) as error:
            first = str(error).splitlines()[0]
            raise InputError(f"--device {device}: {name!r} cannot be used here: {first}; try --device cpu") from None
    if not names:
        raise InputError(f"--device {device}: no such device on this machine; try --device cpu")
    return names


class Workers:
    """Performs jobs: in `count` processes, or in this one when `count` is 0.

    On CPUs single-threaded processes do more than one process with many threads (measured 1.2 times on 2 cores).
    """

    def __init__(self, folder: Path, *, count: int, devices: Sequence[str], code: str) -> None:
        self.count = count
        threads = torch.get_num_threads()  # the cores, unless OMP_NUM_THREADS or the caller says less
        self._workers = [
            Worker(folder=folder, device=devices[i % len(devices)], threads=max(1, threads // max(1, count)), code=code)
            for i in range(max(1, count))
        ]
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(now=kind is not None)

    def perform(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        """Each job with its result, as they come. A job whose process dies is reported as failed; the rest goes on."""
        if self.count == 0:
            for job in jobs:
                yield job, perform(job, self._workers[0])
            return
        waiting = list(jobs)
        while waiting:
            pool = self._start()
            futures: dict[Future[Result], int] = {}
            for i, job in enumerate(waiting):
                try:
                    futures[pool.submit(_perform_here, job)] = i
                except BrokenProcessPool:  # a process died meanwhile; what was not handed over is lost too
                    break
            lost = set(range(len(futures), len(waiting)))
            for future in as_completed(futures):
                i = futures[future]
                try:
                    result = future.result()
                except BrokenProcessPool:
                    lost.add(i)
                else:
                    yield waiting[i], result
            if not lost:
                return
            self._stop(now=True)
            # The pool does not say which job killed its process, but it hands jobs out in order: it was one of the
            # first that are lost. Each of these is tried once more, alone; the others never began.
            first = sorted(lost)[: 2 * self.count + 1]
            for i in first:
                yield waiting[i], self._alone(waiting[i])
            waiting = [waiting[i] for i in sorted(lost)[len(first) :]]

    def _alone(self, job: Job) -> Result:
        try:
            return self._start().submit(_perform_here, job).result()
        except BrokenProcessPool:
            self._stop(now=True)
            why = "its process was killed (out of memory?); free memory or use fewer --workers"
            return Result(label=job.label, kind=job.kind, failure=why, fault="job")

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("forkserver")
            # torch and what it brings are imported once, in the process that workers are forked from
            context.set_forkserver_preload(["carom.scenarios.run.executors.preload"])
            workers = context.SimpleQueue()
            for worker in self._workers:
                workers.put(worker)
            self._pool = ProcessPoolExecutor(
                self.count, mp_context=context, initializer=_begin, initargs=(workers, sys.path)
            )
        return self._pool

    def _stop(self, *, now: bool) -> None:
        if self._pool is None:
            return
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=not now, cancel_futures=True)
        if now:
            for process in processes:
                process.kill()
        self._pool = None


_worker: Worker | None = None


def _begin(workers: "multiprocessing.SimpleQueue[Worker]", path: list[str]) -> None:
    """Set a worker process up: what it is, no part in Ctrl-C, and an end when the driver is gone."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    sys.path[:] = path
    _worker = workers.get()
    if _worker.device == "cpu":
        from carom.zoo.training.allocator import tune_allocator

        tune_allocator()


def _end_with_driver() -> None:
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()  # ends when a pipe closes, so also for a driver that was killed and that nobody has waited for yet
    os._exit(1)


def _perform_here(job: Job) -> Result:
    assert _worker is not None
    return perform(job, _worker)
