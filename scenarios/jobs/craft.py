"""Craft the adversarial sets of one surrogate on one image set."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from carom.attacks import PAS, Crafted, Partners, Snapshot, craft
from carom.attacks.crafting.chunks import chunk_size
from carom.attacks.crafting.craft import WITHOUT_GRADIENTS
from carom.attacks.paths import Searched, search
from carom.budget import Budget
from carom.defenses import Randomised
from carom.errors import StoreError, one_line
from carom.protocols import Attack, GradientSource
from carom.scenarios.plan.lacking import Lacking
from carom.scenarios.plan.plan import Plan
from carom.scenarios.plan.sets import PlannedSet
from carom.scenarios.spec.scenario import Precision, loop_of, with_loop
from carom.scenarios.store.artifacts import read_artifact
from carom.surrogates import Chain
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.prepare import prepare
from carom.zoo.tasks import Task
from carom.zoo.tasks.attacked import target_classes

from .answers import answering, with_precision
from .inputs import ModelInput, judging_images, load_judge, load_members, load_model, load_partners, model_input
from .job import Make, Result, Worker, adopted, finish
from .visibility import visibility

NUMBERS_PER_JOB = 1e8  # that passes read, a number of an image each: half a minute of work, which a kill can cost


@dataclass(frozen=True, kw_only=True)
class SetToCraft:
    """One adversarial set of a surrogate.

    Attributes:
        key: Of what comes out.
        inputs: Digests of all that it rests on.
        attack: What makes it.
        budget: The ball.
        seed: Of the draws.
        targeted: Whether it aims at target classes.
        mixes: Whether it mixes images of the pool in.
        decoy: Whether it is crafted against wrong classes.
    """

    key: str
    inputs: Mapping[str, str]
    attack: Attack
    budget: Budget
    seed: int
    targeted: bool
    mixes: bool = False
    decoy: bool = False


@dataclass(frozen=True, kw_only=True)
class CraftJob:
    """Craft the sets of one surrogate on one image set; the surrogate is prepared once for all of them.

    Attributes:
        label: The surrogate's.
        members: Its networks.
        asked: The victim that query attacks ask; None for the surrogate itself.
        judges: Validation victims, for coefficients that are searched.
        judging: Key and digest of the images of that search.
        partners: Digest of the pool of images that attacks mix in.
        task: Where the pool comes from.
        builder: How the networks make one surrogate.
        sets: What to craft.
        images_key: Of the attacked images.
        images_digest: Of the attacked images.
        n: How many images.
        classes: Of the task.
        precision: Of crafting.
    """

    label: str
    members: tuple[ModelInput, ...]
    asked: ModelInput | None
    judges: tuple[ModelInput, ...]
    judging: tuple[str, str] | None
    partners: str | None
    task: Task
    builder: Chain
    sets: tuple[SetToCraft, ...]
    images_key: str
    images_digest: str
    n: int
    classes: int
    precision: Precision

    kind = "craft"

    @property
    def units(self) -> int:
        """Work, for the time left: image passes."""
        return sum(s.attack.passes(self.builder.active).total for s in self.sets) * self.n

    @property
    def lost(self) -> tuple[str, ...]:
        """The sets."""
        return tuple(one.key for one in self.sets)

    def work(self, worker: Worker, result: Result) -> None:
        """Do it."""
        _craft(self, worker, result)


def _craft(job: CraftJob, worker: Worker, result: Result) -> None:
    todo = [wanted for wanted in job.sets if not adopted("sets", wanted.key, wanted.inputs, worker, result)]
    if not todo:
        return
    clean = read_artifact(worker.folder, "images", job.images_key, job.images_digest)
    device = torch.device(worker.device)
    networks = [network for member in job.members for network in load_members(member, worker)]
    outside = not all(isinstance(network, Classifier) for network in networks)
    # who only asks a model that draws gets its answers, not the mean over draws that he knows
    own = networks[0] if outside or isinstance(networks[0], Randomised) else None
    victim = own if job.asked is None else load_model(job.asked, worker)
    asked = None if victim is None else answering(victim, job.precision)
    partners = None
    if any(wanted.mixes for wanted in todo):
        assert job.partners is not None
        pool = load_partners(job.task, job.partners)
        partners = Partners(pool.images.float() / 255, pool.labels).to(torch.zeros((), device=device))

    def ready(model: nn.Module) -> nn.Module:
        return with_precision(prepare(model), job.precision)

    searches = _Searches(job, networks, worker)
    wrong = target_classes(clean["labels"], clean["ids"], job.classes, clean.get("targets"))
    for seed in dict.fromkeys(s.seed for s in todo):
        if outside:
            source: GradientSource = WITHOUT_GRADIENTS
        elif isinstance(networks[0], Randomised):
            source = networks[0].expectation(seed)
        else:
            source = job.builder.surrogate(networks, seed)
        for targeted, decoy in ((False, False), (True, False), (False, True)):
            some = [s for s in todo if s.seed == seed and s.targeted == targeted and s.decoy == decoy]
            if not some:
                continue
            target = wrong if targeted else None
            labels = wrong if decoy else clean["labels"]

            def made(
                wanted: Sequence[SetToCraft],
                source: GradientSource = source,
                labels: torch.Tensor = labels,
                **of: Any,
            ) -> list[_Made]:
                """The sets, all in one go, so that they share what they can."""
                found = [searches.attack(one) for one in wanted]
                crafted = craft(
                    [(attack, one.budget) for one, (attack, _) in zip(wanted, found, strict=True)],
                    source,
                    clean["images"],
                    labels,
                    ids=clean["ids"],
                    partners=partners,
                    asked=asked,
                    prepare=ready,
                    device=device,
                    **of,
                )
                return [(one, set_, told) for one, set_, (_, told) in zip(wanted, crafted, found, strict=True)]

            for wanted, crafted, told in _one_by_one(made, some, result, seed=seed, target=target):
                record = {
                    "forward": crafted.passes.forward,
                    "backward": crafted.passes.backward,
                    "zero_gradient_fraction": crafted.zero_gradients,
                    "seconds": crafted.seconds,
                    "chunk": chunk_size(clean["images"].shape[1:], device),
                    **visibility(crafted.images, clean["images"], wanted.budget),
                    **_column_means(crafted.columns),
                    **told,
                }
                tensors = {"images": crafted.images, **crafted.columns}
                if target is not None:
                    tensors["target"] = target
                finish(worker, result, "sets", wanted.key, tensors, wanted.inputs, record)
                result.passes += crafted.passes.total
                result.inside += crafted.model_seconds
    result.passes += searches.passes


_Made = tuple[SetToCraft, Crafted, dict[str, Any]]


def _one_by_one(
    make: Callable[..., list[_Made]], wanted: Sequence[SetToCraft], result: Result, **of: Any
) -> Iterator[_Made]:
    """All sets together, or where that fails each by itself: an attack that does not suit a model costs its own set."""
    try:
        yield from make(wanted, **of)
        return
    except StoreError:
        raise
    except Exception as error:
        if len(wanted) == 1:
            result.failures[wanted[0].key] = one_line(error)
            return
    for one in wanted:
        yield from _one_by_one(make, [one], result, **of)


@dataclass
class _Searches:
    """Coefficients of model paths, searched once for each path, budget and seed on validation images and victims."""

    job: CraftJob
    networks: Sequence[Any]
    worker: Worker
    passes: int = 0
    _found: dict[tuple[PAS, Budget, int], Searched] = field(default_factory=dict)

    def attack(self, wanted: SetToCraft) -> tuple[Attack, dict[str, Any]]:
        """The attack with its coefficients, and what to note of the search; as it is where there is none to make."""
        loop = loop_of(wanted.attack)
        if loop is None or not isinstance(loop.path, PAS) or loop.path.coefficients:
            return wanted.attack, {}
        asked = loop.path, wanted.budget, wanted.seed
        if asked not in self._found:
            self._found[asked] = self._search(*asked)
            self.passes += self._found[asked].passes.total
        found = self._found[asked]
        return with_loop(wanted.attack, replace(loop, path=found.path)), {
            "coefficients": list(found.path.coefficients),
            "search_score": found.score,
            "search_forward": found.passes.forward,
            "search_backward": found.passes.backward,
        }

    def _search(self, path: PAS, budget: Budget, seed: int) -> Searched:
        assert self.job.judging is not None
        held_out = read_artifact(self.worker.folder, "images", *self.job.judging)
        x, y = held_out["images"].to(self.worker.device).float() / 255, held_out["labels"].to(self.worker.device)
        judges = [load_judge(member, self.worker) for member in self.job.judges]
        return search(self.networks[0], judges, x, y, budget, pas=path, seed=seed, prepare=prepare)


def _column_means(columns: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """What the attack noted of each image, in the mean; of a radius, which may be infinite, the median.

    A radius of 0 says that the image was wrong before, so it is no radius.
    """
    means = {}
    for name, values in columns.items():
        of = values.double()[values > 0] if name == "radius" else values.double()
        if len(of):
            means[f"{'median' if name == 'radius' else 'mean'}_{name}"] = float(
                of.median() if name == "radius" else of.mean()
            )
    return means


def rounds(plan: Plan) -> Sequence[Make]:
    """All at once."""
    return [_lacking_jobs]


def _lacking_jobs(lacking: Lacking) -> list[CraftJob]:
    """One job for all sets that read the same networks and ask the same victim; several where that is much work.

    What is kept of a run that is killed is what its jobs have finished, and what is left of it is told as they come.
    """
    plan = lacking.plan
    groups: dict[tuple[Any, ...], list[PlannedSet]] = defaultdict(list)
    for planned in lacking.sets:
        if planned.attack is not None:
            groups[planned.surrogate, planned.members, planned.asked, planned.judges, planned.split].append(planned)

    def to_craft(planned: PlannedSet) -> SetToCraft:
        inputs, attack = lacking.set_inputs(planned, lacking.model_digests), planned.attack
        assert attack is not None
        assert inputs is not None  # sets of models that failed are not asked for
        return SetToCraft(
            key=planned.key,
            inputs=inputs,
            attack=attack.attack,
            budget=planned.budget,
            seed=planned.seed,
            targeted=attack.targeted,
            mixes=attack.mixes,
            decoy=attack.decoy,
        )

    jobs: list[CraftJob] = []
    for (surrogate, members, asked, judges, split), group in groups.items():
        attacked, spec = plan.images[split], group[0].spec
        assert spec is not None
        most = NUMBERS_PER_JOB / attacked.images.images.numel()  # passes of an image
        jobs += [
            CraftJob(
                label=surrogate,
                members=tuple(model_input(lacking, m) for m in members),
                asked=None if asked is None else model_input(lacking, asked),
                judges=tuple(model_input(lacking, judge) for judge in judges),
                judging=judging_images(plan, judges),
                partners=plan.pool,
                task=plan.scenario.task,
                builder=spec.builder,
                sets=tuple(to_craft(planned) for planned in some),
                images_key=attacked.key,
                images_digest=attacked.digest,
                n=len(attacked.images),
                classes=len(plan.scenario.task.classes),
                precision=plan.scenario.precision,
            )
            for some in ([group] if judges else _pieces(group, most))
        ]
    return jobs


def _pieces(group: Sequence[PlannedSet], most: float) -> list[list[PlannedSet]]:
    """The sets in pieces of so many passes of an image, and no fewer than one; stages of one attack stay together."""
    runs: dict[tuple[Any, ...], list[PlannedSet]] = defaultdict(list)
    for planned in group:
        assert planned.attack is not None
        whole = planned.attack.attack
        whole = whole.attack if isinstance(whole, Snapshot) else whole
        runs[whole, planned.budget, planned.seed, planned.attack.targeted, planned.attack.decoy].append(planned)
    pieces: list[list[PlannedSet]] = []
    filled = most
    for some in runs.values():
        passes = max(planned.passes for planned in some)
        if not pieces or filled + passes > most:
            pieces.append([])
            filled = 0
        pieces[-1] += some
        filled += passes
    return pieces
