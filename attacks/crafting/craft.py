"""Sets of adversarial images: many attacks on one source, in chunks.

The outer loop goes over chunks of images, the inner one over the attacks, so that all attacks and all radii share the
gradient at the clean images. Chunks are cut at fixed places, whatever the caller's batches: a set is the same however
often its making was interrupted, and a large set neither falls out of the cache nor pages in fresh memory at each step.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import islice
from math import prod
from time import perf_counter
from typing import ClassVar

import torch
from torch import Tensor

from carom.attacks.iterative import Iterative, Snapshot
from carom.attacks.queries.oracle import Answer, Oracle
from carom.attacks.reading.gradients import Gradients
from carom.attacks.reading.networks import Prepare, Ready
from carom.attacks.reading.partners import Partners
from carom.budget import NORMS, Budget, Norm
from carom.draws import Draws, content_ids
from carom.errors import ContractError, InputError
from carom.protocols import Attack, Classifier, Combination, Control, GradientSource, Passes
from carom.typing import Ids, Images, Labels, Logits, Pixels

Progress = Callable[[int, int], None]
"""Called with (images done, images in all), over all sets."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Crafted:
    """One adversarial set, and what it cost.

    Attributes:
        images: `n c h w`: 8-bit and verified to be in the ball, or floats in it.
        passes: Image passes over the whole set.
        zero_gradients: Share of the gradients, over images and readings, that were exactly zero; 0 if none was read.
        seconds: Time it took. A gradient at the clean images counts for the first attack that asked.
        model_seconds: Of these, in forward and backward passes.
        columns: What the attack noted of each image, by name, each `n`: "queries", "radius".
    """

    images: Pixels | Images
    passes: Passes
    zero_gradients: float
    seconds: float
    model_seconds: float
    columns: Mapping[str, Tensor] = field(default_factory=dict)


def check_fits(attack: Attack, norm: Norm, *, targeted: bool, name: str, where: str = "attack") -> None:
    """Refuse what an attack is not defined for.

    Raises:
        InputError: Another norm, or a target for an attack that cannot aim.
    """
    if norm not in attack.norms:
        raise InputError(
            f"{where}: {name} needs {' or '.join(attack.norms)} budgets, got {norm}; give it a budget of its norm, or "
            "put it into a scenario of its own"
        )
    if targeted and not attack.targeted:
        raise InputError(f"{where}: {name} cannot aim at a class; leave 'targeted' out, or use another attack")
    parts: list[str] = [part.name for part in fields(attack) if part.type is Attack] if is_dataclass(attack) else []
    for part in parts:
        check_fits(getattr(attack, part), norm, targeted=targeted, name=f"{name}, its {part}", where=where)


def craft(
    attacks: Sequence[tuple[Attack, Budget]],
    source: GradientSource,
    pixels: Pixels,
    y: Labels,
    *,
    seed: int,
    ids: Ids,
    target: Labels | None = None,
    partners: Partners | None = None,
    asked: Answer | None = None,
    prepare: Prepare | None = None,
    chunk: int | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> list[Crafted]:
    """The 8-bit adversarial set of each attack under its budget.

    Args:
        attacks: Attacks with budgets; one attack may stand here with a grid of radii.
        source: What the attacks read, on `device`.
        pixels: Clean images, `n c h w`, 8-bit.
        y: Their classes, `n`.
        seed: Of the attacks' draws.
        ids: `n`; draws belong to them.
        target: Classes to be taken for, `n`; None for untargeted.
        partners: A fixed pool of images for attacks that mix others in.
        asked: What query attacks ask, on `device`; None for the source itself.
        prepare: What each classifier goes through before it is read, after a model path has rebuilt it.
        chunk: Images at once; None chooses `chunk_size`. It changes no draw, only float rounding.
        device: Where to work; None for where `pixels` are. The sets come back to where `pixels` are.
        progress: Called after each attack on each chunk.

    Raises:
        InputError: Counts that differ, a target that is the image's own class, or a label without a logit.
        ModelError: The source breaks the classifier contract.
        ContractError: An attack left its ball.
    """
    device = device or pixels.device
    plan = _Plan(pixels, y, target, ids, seed, partners, asked, Ready(prepare), chunk, device, progress)

    def keep(x_adv: Images, budget: Budget, at: slice) -> Pixels:
        low, high = x_adv.aminmax()  # what is not a number passes through it, and is seen ten times as fast
        if not bool(low.isfinite() & high.isfinite()):  # eight bits would hide it
            raise ContractError("attack: adversarial images are not finite")
        clean = pixels[at].to(device)
        quantized = budget.quantize(x_adv, clean)
        budget.check(quantized, clean)
        return quantized

    def view(x: Images, budget: Budget, clean: Pixels) -> Images:
        return budget.quantize(x, clean).to(x.dtype) / 255

    return plan.run(attacks, source, keep, view)


def craft_control(
    controls: Sequence[tuple[Control, Budget]],
    pixels: Pixels,
    *,
    seed: int,
    ids: Ids,
    chunk: int | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> list[Crafted]:
    """The 8-bit set of each control under its budget; arguments and errors as in `craft`."""
    attacks = [(_WithoutModel(control), budget) for control, budget in controls]
    nobody = torch.zeros(len(pixels), dtype=torch.int64)
    return craft(
        attacks, WITHOUT_GRADIENTS, pixels, nobody, seed=seed, ids=ids, chunk=chunk, device=device, progress=progress
    )


def craft_images(
    attacks: Sequence[tuple[Attack, Budget]],
    source: GradientSource,
    x: Images,
    y: Labels,
    *,
    seed: int,
    ids: Ids | None = None,
    target: Labels | None = None,
    partners: Partners | None = None,
    asked: Answer | None = None,
    prepare: Prepare | None = None,
    chunk: int | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> list[Crafted]:
    """As `craft`, for images that need not be 8-bit and are not rounded.

    Args:
        attacks: Attacks with budgets.
        source: What the attacks read, on `device`.
        x: Clean images, `n c h w`, floats in [0, 1].
        y: Their classes, `n`.
        seed: Of the attacks' draws.
        ids: `n`; None takes them from the images' own bytes.
        target: Classes to be taken for.
        partners: A fixed pool of images for attacks that mix others in; None takes `x` and `y` themselves.
        asked: What query attacks ask; None for the source itself.
        prepare: What each classifier goes through before it is read.
        chunk: Images at once.
        device: Where to work.
        progress: Called after each attack on each chunk.

    Raises:
        InputError: Also for images that are not floats in [0, 1].
        ModelError: The source breaks the classifier contract.
        ContractError: An attack left its ball.
    """
    x = x.detach()
    if x.dtype not in (torch.float32, torch.float64):  # in half precision the ball would have no sharp border
        raise InputError(
            f"attack: expected float32 or float64 images in [0, 1], got {x.dtype}; divide 8-bit images by 255, and "
            "leave half precision to the model"
        )
    if len(x) and not (float(x.min()) >= 0 and float(x.max()) <= 1):  # written so that NaN fails
        raise InputError(
            f"attack: pixels in [{float(x.min()):.4g}, {float(x.max()):.4g}], expected [0, 1]; put the normalisation "
            "into the model"
        )
    device = device or x.device
    partners = partners or (Partners(x, y) if len(x) else None)
    ids = content_ids(x) if ids is None else ids
    plan = _Plan(x, y, target, ids, seed, partners, asked, Ready(prepare), chunk, device, progress)

    def keep(x_adv: Images, budget: Budget, at: slice) -> Images:
        size = budget.size(x_adv, x[at].to(device))
        slack = 1e-6 + 1e-5 * float(budget.eps)
        low, high = x_adv.aminmax()
        if not bool((size.amax() <= float(budget.eps) + slack) & (low >= 0) & (high <= 1)):  # NaN fails
            raise ContractError(f"attack: {budget.norm} distance {float(size.max()):.6g} or pixels outside, {budget}")
        return x_adv

    return plan.run(attacks, source, keep, None)


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
class _Tally:
    """One set in the making."""

    images: list[Tensor] = field(default_factory=list)
    passes: Passes = field(default_factory=Passes)
    zero: int = 0
    gradients: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0
    columns: dict[str, list[Tensor]] = field(default_factory=dict)

    def crafted(self, empty: Tensor) -> Crafted:
        return Crafted(
            images=torch.cat(self.images) if self.images else empty.clone(),
            passes=self.passes,
            zero_gradients=self.zero / self.gradients if self.gradients else 0.0,
            seconds=self.seconds,
            model_seconds=self.model_seconds,
            columns={name: torch.cat(values) for name, values in self.columns.items()},
        )

    def add(self, images: Tensor, own: Gradients, seconds: float) -> None:
        self.images.append(images)
        self.seconds += seconds
        self.model_seconds += own.seconds
        self.passes += own.passes
        self.zero += int(own.zero_gradients.sum())
        self.gradients += own.evaluations * len(own.x)
        for name in {*self.columns, *own.columns}:  # an attack may note something of some chunks alone: 0 elsewhere
            before = sum(map(len, self.images[:-1]))
            column = self.columns.setdefault(name, [torch.zeros(before, dtype=torch.int64, device=images.device)])
            zero = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            column.append(own.columns[name].to(images.device) if name in own.columns else zero)


@dataclass
class _Plan:
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
        tallies = [_Tally() for _ in attacks]
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


@dataclass(frozen=True)
class _WithoutModel:
    """A control in the place of an attack."""

    control: Control

    norms: ClassVar[tuple[Norm, ...]] = NORMS
    targeted: ClassVar[bool] = False

    def passes(self, members: int = 1) -> Passes:
        return Passes()

    def __call__(self, gradients: Gradients, budget: Budget, draws: Draws) -> Images:
        return self.control(gradients.x, budget, draws)


class _NoSource:
    """Nothing to read."""

    combination: Combination = "logits"

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        raise ContractError("attack: asked for a gradient where there is none")


WITHOUT_GRADIENTS: GradientSource = _NoSource()
"""For controls, and for attacks that only ask."""
