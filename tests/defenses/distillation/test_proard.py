"""An elastic network whose sub-networks learn robustly from a frozen teacher."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.defenses.conftest import ground, images, plain
from torch import Tensor, nn

from carom.defenses.defense import Stage
from carom.defenses.distillation.proard import PHASES, PRESETS, ProARD, SubNetworks
from carom.defenses.distillation.robust_distillation import RobustDistillation
from carom.defenses.distillation.rslad import RSLAD
from carom.defenses.distillation.student import Student
from carom.defenses.distillation.taken_out import accuracy, recalibrate
from carom.errors import InputError
from carom.identity import content_key, tensor_digest
from carom.registry import build
from carom.zoo.architectures.elastic.family import Elastic
from carom.zoo.architectures.elastic.layers import ElasticNetwork
from carom.zoo.architectures.elastic.mobile import ElasticMobile
from carom.zoo.architectures.elastic.resnet import ElasticResNet
from carom.zoo.architectures.elastic.space import Choice
from carom.zoo.models.classifier import Classifier, weights
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training import checkpoint
from carom.zoo.training.ground import Ground, Weights
from carom.zoo.training.recipes import adapted
from carom.zoo.training.state import Batch, Passes, State

FAMILY = ElasticResNet(width=4, stages=2, depth=2, widths=(0.5, 1.0), expansions=(0.25, 0.5))
EPS = Fraction(8, 255)


def elastic_ground(family: Elastic = FAMILY, n: int = 32, **changes: Any) -> Ground:
    return replace(ground(n=n), architecture=family, **changes)


def stage(**changes: Any) -> ProARD:
    return ProARD(**{"epochs": (1, 1, 1), "steps": 2, "step": 0.6, "eps": EPS, **changes})


@pytest.fixture(scope="module")
def teacher() -> Weights:
    """A network of a few steps, with statistics that fit."""
    place = elastic_ground(n=96)
    classifier = place.classifier(place.trained(plain(epochs=4)).last)
    recalibrate(classifier, place.train, seed=0)
    return weights(classifier)


def state_of(classifier: Classifier, part: ImageSet, seed: int = 0) -> State:
    batch = Batch(part.pixels, part.labels, part.ids, torch.arange(len(part)))
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1)
    draws = torch.Generator().manual_seed(seed)
    return State(classifier.train(), optimizer, part, part, seed, 1, 1, draws, batch=batch)


def phase(place: Ground, given: Weights, by: RobustDistillation | None = None, **changes: Any) -> SubNetworks:
    settings = {"space": FAMILY.space, "subnetworks": 3, "sandwich": True, **changes}
    return SubNetworks(by=by or RSLAD(steps=2, step=0.6, eps=EPS), teacher=place.classifier(given), **settings)


def value(way: SubNetworks, state: State) -> Tensor:
    recipe = plain()
    x, y = state.images.pixels, state.images.labels
    return way.slots(recipe.slots(), recipe).loss(state, x, y)[0]


def statistics(classifier: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in classifier.state_dict().items() if "running" in name}


# -------------------------------------------------------------------------------------------------------------- a batch


@dataclass(frozen=True, kw_only=True)
class Watched(RSLAD):
    """Notes which sub-network is read, how, and what became of the statistics."""

    seen: list[tuple[str, Any]] = field(default_factory=list)

    def inner(self, student: Any, teacher: Any, *rest: Any, **named: Any) -> Tensor:
        classifier = self.seen[0][1]
        before = statistics(classifier)
        x_adv = super().inner(student, teacher, *rest, **named)
        same = all(torch.equal(before[name], found) for name, found in statistics(classifier).items())
        self.seen.append(("inner", (classifier.network.choice, classifier.training, same, x_adv)))
        return x_adv

    def outer(self, student: Any, teacher: Any, x: Any, x_adv: Tensor, *rest: Any, **named: Any) -> Any:
        classifier = self.seen[0][1]
        before = statistics(classifier)
        found = super().outer(student, teacher, x, x_adv, *rest, **named)
        same = all(torch.equal(before[name], now) for name, now in statistics(classifier).items())
        self.seen.append(("outer", (classifier.network.choice, classifier.training, same, x_adv)))
        return found


def test_each_sub_network_meets_images_attacked_for_itself(teacher: Weights) -> None:
    place = elastic_ground()
    classifier = place.classifier(teacher)
    by = Watched(steps=2, step=0.6, eps=EPS, seen=[("classifier", classifier)])
    state = state_of(classifier, images(12, seed=3))
    before = tensor_digest(weights(place.classifier(teacher)))
    way = phase(place, teacher, by)
    value(way, state)
    (_, *events) = by.seen
    assert [name for name, _ in events] == ["inner", "outer"] * 3
    inner = [what for name, what in events if name == "inner"]
    outer = [what for name, what in events if name == "outer"]
    assert [what[0] for what in inner] == [what[0] for what in outer]
    largest, smallest, other = (what[0] for what in inner)
    assert largest is None
    assert smallest == FAMILY.space.smallest
    assert other not in (None, FAMILY.space.smallest)
    assert all(what[1] for what in (*inner, *outer)), "batch norm normalises by the batch"
    assert [what[2] for what in inner] == [True] * 3, "an attack takes no statistics down"
    assert [what[2] for what in outer] == [False, True, True], "statistics are the largest's"
    assert not torch.equal(inner[0][3], inner[1][3])
    assert all(a[3] is b[3] for a, b in zip(inner, outer, strict=True))
    assert isinstance(classifier.network, ElasticNetwork)
    assert classifier.network.choice is None
    assert all(m.track_running_stats for m in classifier.modules() if isinstance(m, nn.BatchNorm2d))
    assert tensor_digest(weights(way._teacher)) == before  # type: ignore[attr-defined]
    assert not way._teacher.training  # type: ignore[attr-defined]


def test_the_gradient_is_the_mean_of_those_of_the_sub_networks(teacher: Weights) -> None:
    """With no attack steps to speak of, and a fixed draw, written out for each sub-network as a plain network."""
    place, part = elastic_ground(), images(12, seed=3)
    way = phase(place, teacher, RSLAD(steps=1, step=1e-6, eps=Fraction(1, 10**6)))
    classifier = place.classifier(teacher)
    state = state_of(classifier, part, seed=7)
    torch.autograd.backward(value(way, state))
    drawn = way.drawn(torch.Generator().manual_seed(7))
    assert len({str(choice) for choice in drawn}) == 3
    with torch.no_grad():
        target = place.classifier(teacher)(part.pixels).softmax(1)
    mean = {name: torch.zeros_like(p) for name, p in classifier.network.named_parameters()}
    for choice in drawn:
        own = replace(place, architecture=FAMILY.of(choice)).classifier(FAMILY.extracted(teacher, choice)).train()
        loss = nn.functional.kl_div(own(part.pixels).log_softmax(1), target, reduction="batchmean")
        torch.autograd.backward(loss)
        for name, parameter in own.network.named_parameters():
            assert parameter.grad is not None
            mean[name][tuple(slice(n) for n in parameter.shape)] += parameter.grad / 3
    for name, parameter in classifier.network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, mean[name], atol=2e-4, rtol=1e-2)


@pytest.mark.parametrize(
    ("loss", "forward", "backward"),
    [
        ("rslad", 1 + 3 * (2 + 2), 3 * (2 + 2)),  # the teacher once; two attack steps; attacked and clean images
        ("ard", 1 + 3 * (2 + 1), 3 * (2 + 1)),  # attacked images alone
        ("adaad", 3 * (2 * 2 + 1 + 1), 3 * (2 * 2 + 1)),  # the teacher in each attack step, and on attacked images
    ],
)
def test_passes_of_a_batch_are_counted(teacher: Weights, loss: str, forward: int, backward: int) -> None:
    place, part = elastic_ground(), images(12, seed=3)
    way = phase(place, teacher, stage(loss=loss)._by())
    state = state_of(place.classifier(teacher), part)
    value(way, state)
    # the training loop counts one forward and one backward itself
    assert (state.passes.forward, state.passes.backward) == ((forward - 1) * 12, (backward - 1) * 12)


def test_what_is_drawn(teacher: Weights) -> None:
    place, draws = elastic_ground(), torch.Generator().manual_seed(0)
    for _ in range(5):
        found = phase(place, teacher, subnetworks=5).drawn(draws)
        assert found[:2] == [FAMILY.space.largest, FAMILY.space.smallest]
        assert len(found) == 5
    alone = phase(place, teacher, subnetworks=1, sandwich=False)
    assert len({str(alone.drawn(draws)[0]) for _ in range(30)}) > 15
    narrow = phase(place, teacher, space=FAMILY.space.only(("widths", "kernels")), subnetworks=4).drawn(draws)
    assert {choice.depths for choice in narrow} == {(2, 2)}
    assert {choice.widths for choice in narrow} >= {(1.0, 1.0, 1.0), (0.5, 0.5, 0.5)}


def test_a_batch_without_the_largest_trains_too(teacher: Weights) -> None:
    """Optimizers that are fused want gradients of all weights, or momentum of none."""
    for family in (FAMILY, ElasticMobile(width=4, stages=1, depth=2)):
        place = elastic_ground(family)
        given = teacher if family is FAMILY else place.trained(plain(epochs=1)).last
        way = phase(place, given, space=family.space, subnetworks=1, sandwich=False)
        trained = place.trained(adapted(plain(epochs=2), way), given)
        assert all(bool(tensor.isfinite().all()) for tensor in trained.last.values())


# ------------------------------------------------------------------------------------------------------------ the stage


def test_progress_and_none_cost_the_same(teacher: Weights) -> None:
    place = elastic_ground()
    built = [stage(progressive=progressive).build(place, [teacher], ()) for progressive in (True, False)]
    # three epochs of three sub-networks: the teacher once, two attack steps, attacked and clean images; then statistics
    expected = (3 * 32 * (1 + 3 * 4) + 32, 3 * 32 * 3 * 4)
    for one in built:
        assert (one.passes.forward, one.passes.backward) == expected
        assert sum(one.record["forward passes"]) == expected[0] - 32  # type: ignore[call-overload]
        assert len(one.record["phase seconds"]) == 3  # type: ignore[arg-type]
    assert built[0].record["phases"] == ["width", "depth", "expansion"]
    assert built[1].record["phases"] == ["all"] * 3
    assert tensor_digest(built[0].members[0]) != tensor_digest(built[1].members[0])


def test_phases_open_one_kind_after_the_other(teacher: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, Choice]] = []
    plain_drawn = SubNetworks.drawn

    def drawn(self: SubNetworks, generator: torch.Generator) -> list[Choice]:
        found = plain_drawn(self, generator)
        seen.append((content_key(self.space), found[1]))
        return found

    monkeypatch.setattr(SubNetworks, "drawn", drawn)
    progress: list[tuple[int, int]] = []
    place = elastic_ground(progress=lambda done, total, _: progress.append((done, total)))
    stage(epochs=(1, 2, 1)).build(place, [teacher], ())
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    smallest = list(dict.fromkeys(choice for _, choice in seen))
    assert [(c.widths[0], c.depths[0], c.expansions[0]) for c in smallest] == [
        (0.5, 2, 0.5),
        (0.5, 1, 0.5),
        (0.5, 1, 0.25),
    ]
    assert [sum(choice == one for _, choice in seen) for one in smallest] == [2, 4, 2]
    seen.clear()
    stage(progressive=False).build(elastic_ground(), [teacher], ())
    assert {choice for _, choice in seen} == {FAMILY.space.smallest}


@dataclass
class Killed(Exception):
    """What stops a build."""


def test_a_resumed_build_is_the_uninterrupted_one(
    teacher: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    way = stage(epochs=(1, 3, 1))
    whole = way.build(elastic_ground(), [teacher], ())
    epochs: list[int] = []

    def kill(done: int, total: int, numbers: dict[str, float]) -> None:
        del total, numbers
        epochs.append(done)
        if done == 3 and epochs.count(3) == 1:
            raise Killed

    place = elastic_ground(checkpoint=tmp_path / "job.pt", progress=kill)
    with pytest.raises(Killed):
        way.build(place, [teacher], ())
    resumed = way.build(place, [teacher], ())
    assert epochs == [1, 2, 3, 4, 5], "the first phase and two epochs of the second are not done again"
    assert tensor_digest(resumed.members[0]) == tensor_digest(whole.members[0])
    assert resumed.passes == whole.passes
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_build_is_not_taken(teacher: Weights, tmp_path: Path) -> None:
    def kill(done: int, total: int, numbers: dict[str, float]) -> None:
        del total, numbers
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        stage().build(elastic_ground(checkpoint=tmp_path / "job.pt", progress=kill), [teacher], ())
    assert [path.name for path in tmp_path.iterdir()] == ["width-done-job.pt"]
    other = stage(loss="ard")
    resumed = other.build(elastic_ground(checkpoint=tmp_path / "job.pt"), [teacher], ())
    whole = other.build(elastic_ground(), [teacher], ())
    assert tensor_digest(resumed.members[0]) == tensor_digest(whole.members[0])


def test_the_seed_says_all(teacher: Weights) -> None:
    digests = []
    for outside, seed in ((1, 1), (2, 1), (3, 2)):
        torch.manual_seed(outside)
        place = elastic_ground(seed=seed)
        digests.append(tensor_digest(stage(steps=1).build(place, [teacher], ()).members[0]))
    assert digests[0] == digests[1] != digests[2]


def test_sub_networks_learn(teacher: Weights) -> None:
    """Small ones do better than parts of the teacher, and the largest stays what it was."""
    place = elastic_ground(n=96)
    built = stage(epochs=(1, 1, 3), rates=(1.0, 1.0, 1.0), steps=1).build(place, [teacher], ())
    (found,) = built.members
    assert isinstance(built.passes, Passes)
    largest = accuracy(place.classifier(found), place.validation)
    assert built.record["accuracy of the largest"] == pytest.approx(largest)
    assert largest > 0.9
    draws = torch.Generator().manual_seed(0)
    names = [str(FAMILY.space.random(draws)) for _ in range(6)]
    after, before = (
        torch.tensor([Student(choice=name).build(place, [some], ()).record["accuracy"] for name in names])
        for some in (found, teacher)
    )
    assert float(after.mean()) > float(before.mean()) + 0.1


def test_the_contract(teacher: Weights) -> None:
    way = ProARD()
    assert isinstance(way, Stage)
    assert way.takes == "one"
    assert way.architecture(FAMILY, teacher) == FAMILY
    assert content_key(way) != content_key(ProARD(progressive=False))
    written = build(ProARD, {"rates": [1, 1, 1], "epochs": [2, 1, 1], "eps": "8/255"}, where="defense")
    assert content_key(written) == content_key(ProARD(rates=(1.0, 1.0, 1.0), epochs=(2, 1, 1), eps=EPS))
    assert [name for name, _ in PHASES] == ["width", "depth", "expansion"]
    for preset in PRESETS.values():
        build(ProARD, preset, where="preset")
    # the release: 1,025 passes over the images, one random sub-network each; rates of 3e-2 and 7.5e-3 beside 0.1, of a
    # divergence whose mean is over 10 classes too
    released = build(ProARD, PRESETS["cifar10"], where="preset")
    assert (sum(released.epochs), released.subnetworks, released.sandwich) == (1025, 1, False)
    assert [rate * 10 * 0.1 for rate in released.rates] == pytest.approx([3e-2, 7.5e-3, 7.5e-3])
    with pytest.raises(InputError, match="proard: needs a network of sub-networks, got ResNet"):
        way.build(ground(), [teacher], ())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": (1, 0, 1)}, r"proard: epochs must be three numbers in \[1, 1e\+06\], got \(1, 0, 1\)"),
        ({"rates": (1.0, 0.0, 1.0)}, "proard: rates must be three numbers"),
        ({"subnetworks": 2}, "proard: subnetworks must be in"),
        ({"subnetworks": 0, "sandwich": False}, "proard: subnetworks must be in"),
        ({"eps": Fraction(0)}, "proard: .*eps"),
        ({"steps": 0}, "proard: .*steps"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        ProARD(**settings)
    assert "\n" not in str(error.value)
