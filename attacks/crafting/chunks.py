"""Many attacks on one source, chunk by chunk.

The outer loop goes over chunks of images, the inner one over the attacks, so that all attacks and all radii share the
gradient at the clean images. Chunks are cut at fixed places, whatever the caller's batches: a set is the same however
often its making was interrupted, and a large set neither falls out of the cache nor pages in fresh memory at each step.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from time import perf_counter

import torch
from torch import Tensor

from carom.attacks.iterative import Iterative, Snapshot
from carom.attacks.queries.oracle import Answer, Oracle
from carom.attacks.reading.gradients import Gradients
from carom.attacks.reading.networks import Ready
from carom.attacks.reading.partners import Partners
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Attack, GradientSource, Passes
from carom.typing import Ids, Images, Labels, Logits, Pixels

from .crafted import Crafted, Tally

Progress = Callable[[int, int], None]
"""Called with (images done, images in all), over all sets."""


def chunk_size(shape: Sequence[int], device: torch.device) -> int:
    """How many images of this shape (channels, rows, columns) to attack at once.

    On a CPU 64 at 32 x 32 x 3, and more or fewer in proportion to the side: 128 up to 28 x 28, 32 at 64 x 64, 9 at
    224 x 224. At 16 x 16 chunks of 128 took 0.8 times as long an image as chunks of 64 (Xeon, MI on vgg-small and
    resnet-small); larger ones took longer where the allocator was not tuned, from page faults. On a GPU, where nothing
    was measured, four times as many.
    """
    most = int(128 * (28 * 28 / max(1, prod(shape))) ** 0.5)
    return max(1, min(most, 128)) * (1 if device.type == "cpu" else 4)


@dataclass
class Chunks:
    """What to attack, and in which pieces."""

    images: Pixels | Images
    y: Labels
    target: Labels | None
    ids: Ids
    seed: int
    partners: Partners | None
    asked: Answer | None
    ready: Ready
    chunk: int | None
    device: torch.device
    progress: Progress | None

    def __post_init__(self) -> None:
        for name, values in (("labels", self.y), ("targets", self.target), ("ids", self.ids)):
            if values is not None and len(values) != len(self.images):
                raise InputError(f"attack: {len(self.images)} images but {len(values)} {name}; give one for each image")
        if self.chunk is not None and self.chunk < 1:
            raise InputError(f"attack: chunk must be at least 1, got {self.chunk}")

    def cuts(self) -> Iterator[slice]:
        most = self.chunk or chunk_size(self.images.shape[1:], self.device)
        pieces = max(1, -(-len(self.images) // most))
        step = max(1, -(-len(self.images) // pieces))  # of nearly equal size: a last piece of few images is slow
        for begin in range(0, len(self.images), step):
            yield slice(begin, min(begin + step, len(self.images)))

    def gradients(self, source: GradientSource, at: slice) -> Gradients:
        x = self.images[at].to(self.device)
        x = x.float() / 255 if x.dtype == torch.uint8 else x.detach().clone()
        target = None if self.target is None else self.target[at].to(self.device)
        partners = None if self.partners is None else self.partners.to(x)
        return Gradients(source, x, self.y[at].to(self.device), target, ready=self.ready, partners=partners)

    def run(
        self,
        attacks: Sequence[tuple[Attack, Budget]],
        source: GradientSource,
        keep: Callable[[Images, Budget, slice], Tensor],
        view: Callable[[Images, Budget, Pixels], Images] | None,
    ) -> list[Crafted]:
        tallies = [Tally() for _ in attacks]
        groups = _groups(attacks)
        done, total = 0, len(self.images) * len(attacks)
        with torch.inference_mode(False):
            for at in self.cuts():
                shared = self.gradients(source, at)
                draws = Draws(self.seed, self.ids[at].to(self.device))
                for (attack, budget), places in groups.items():
                    began = perf_counter()
                    own = shared.fresh()
                    own.oracle = self.oracle(own, budget, at, view)
                    for after, x_adv in _stages(attack, own, budget, draws, places):
                        own.check()
                        if own.oracle is not None and bool(own.oracle.queries.any()):
                            own.note("queries", own.oracle.queries)
                        kept = keep(x_adv, budget, at).to(self.images.device)
                        for place in places[after]:
                            tallies[place].add(kept, own, perf_counter() - began)
                            done += len(own.x)
                            if self.progress is not None:
                                self.progress(done, total)
        return [tally.crafted(self.images[:0]) for tally in tallies]

    def oracle(
        self, own: Gradients, budget: Budget, at: slice, view: Callable[[Images, Budget, Pixels], Images] | None
    ) -> Oracle:
        clean = self.images[at].to(self.device)

        def other(x: Images) -> Logits | Labels:
            assert self.asked is not None
            own.passes += Passes(len(x), 0)  # the source counts for itself
            return self.asked(x)

        return Oracle(
            own.logits if self.asked is None else other,
            len(own.x),
            view=None if view is None else lambda x, rows: view(x, budget, clean[rows]),
            device=self.device,
        )


def _groups(attacks: Sequence[tuple[Attack, Budget]]) -> dict[tuple[Attack, Budget], dict[int | None, list[int]]]:
    """Places in `attacks` of each attack that has to run, by the step whose images are wanted; None is the last.

    Snapshots of one attack are stages of one run.
    """
    groups: dict[tuple[Attack, Budget], dict[int | None, list[int]]] = {}
    for place, (attack, budget) in enumerate(attacks):
        whole, after = (attack.attack, attack.after) if isinstance(attack, Snapshot) else (attack, None)
        groups.setdefault((whole, budget), {}).setdefault(after, []).append(place)
    return groups


def _stages(
    attack: Attack, own: Gradients, budget: Budget, draws: Draws, wanted: Collection[int | None]
) -> Iterator[tuple[int | None, Images]]:
    """The wanted stages of one attack, in the order in which it comes to them."""
    if not isinstance(attack, Iterative) or set(wanted) == {None}:
        yield None, attack(own, budget, draws)
        return
    last = attack.steps if None in wanted else max(after for after in wanted if after is not None)
    for step, x_adv in enumerate(islice(attack.trace(own, budget, draws), last), start=1):
        if step in wanted:
            yield step, x_adv
        if step == attack.steps and None in wanted:
            yield None, x_adv
