"""The same bits each time: threads, and torch's own generators."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from carom.draws import stream


@contextmanager
def reproducible(threads: int, device: torch.device) -> Iterator[None]:
    """Global generators and the number of threads are put back afterwards."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def seed_dropout(seed: int, epoch: int, device: torch.device) -> None:
    """What is drawn from torch's own generators in an epoch rests on seed and epoch alone."""
    # not torch.manual_seed, which would also seed devices that are not forked here
    torch.default_generator.manual_seed(stream(seed, "dropout", epoch))
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(stream(seed, "dropout", epoch))
