"""The stopwatch of passes."""

import torch

from carom.attacks.reading.counting import Stopwatch


def test_time_inside_time_counts_once() -> None:
    watch = Stopwatch(torch.device("cpu"))
    with watch.running():
        with watch.running():
            sum(range(100_000))
        inner = watch.seconds
    assert inner == 0  # not yet: the outer one counts
    assert watch.seconds > 0
