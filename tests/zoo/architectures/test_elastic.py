"""Networks that hold many: choices, parts of weights, plain networks taken out of them."""

from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from carom.errors import InputError
from carom.zoo.architectures import architecture, table
from carom.zoo.architectures.elastic.family import Elastic
from carom.zoo.architectures.elastic.layers import ElasticNetwork, convolve, normalise, still
from carom.zoo.architectures.elastic.mobile import ElasticMobile
from carom.zoo.architectures.elastic.resnet import ElasticResNet
from carom.zoo.architectures.elastic.space import Choice, Space
from carom.zoo.models.classifier import Classifier, create, load_weights, restore, weights
from carom.zoo.models.prepare import prepare

SHAPE = (3, 9, 8)
FAMILIES: list[Elastic] = [ElasticResNet(width=8), ElasticMobile(width=4, depth=3)]
both = pytest.mark.parametrize("family", FAMILIES, ids=["residual", "mobile"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classifier_of(family: Elastic) -> Classifier:
    """Statistics, norms and kernel matrices that are no identity."""
    made = create(family, shape=SHAPE, classes=5).eval()
    draws = generator(7)
    with torch.no_grad():
        for name, tensor in made.network.state_dict().items():
            if tensor.is_floating_point() and (".norm" in name or "shrink" in name or tensor.ndim == 1):
                noise = torch.rand(tensor.shape, generator=draws)
                tensor.add_(noise - (0.0 if name.endswith("var") else 0.5), alpha=0.3 if "shrink" in name else 1.0)
    return made


def network_of(made: Classifier) -> ElasticNetwork:
    assert isinstance(made.network, ElasticNetwork)
    return made.network


def images(n: int = 4, seed: int = 1) -> Tensor:
    return torch.rand(n, *SHAPE, generator=generator(seed))


# ------------------------------------------------------------------------------------------------------------ choices


@both
def test_the_name_and_the_genome_of_a_choice_read_back(family: Elastic) -> None:
    space, draws = family.space, generator()
    choices = [space.random(draws) for _ in range(50)]
    assert len(set(choices)) > 45
    for choice in [*choices, space.largest, space.smallest]:
        assert space.parse(str(choice)) == choice
        assert space.choice(space.genome(choice)) == choice
    assert space.parse("largest") == space.largest
    assert space.parse("smallest") == space.smallest


def test_names_are_short_and_say_what_is_kept() -> None:
    assert str(ElasticResNet(depth=2).space.smallest) == "w0.5-0.5-0.5-0.5 d1-1-1 e0.25-0.25-0.25"
    assert str(ElasticMobile(stages=2, depth=2).space.largest) == "d2-2 e6-6-6-6 k7-7-7-7"


@both
def test_random_choices_are_of_every_level_and_belong_to_the_generator(family: Elastic) -> None:
    space = family.space
    genomes = torch.tensor([space.genome(space.random(g)) for g in [generator(3)] for _ in range(200)])
    assert [int(n) for n in genomes.amax(0) + 1] == list(space.levels)
    assert space.random(generator(5)) == space.random(generator(5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "says nothing of depths"),
        ("d1-1-1", "says nothing of expansions"),
        ("w1-1-1-1 d1-1-1 x3", "cannot read 'x3'"),
        ("w1-1-1-1 d1-1-1 d1-1-1 e0.5-0.5-0.5", "cannot read 'd1-1-1'"),
        ("w1-1-1-1 d1-1-one e0.5-0.5-0.5", "cannot read 'd1-1-one'"),
        ("w1-1-1 d1-1-1 e0.5-0.5-0.5", "has 3 widths, not 4"),
        ("w1-1-1-1 d1-1 e0.5-0.5", "has 2 depths, not 3"),
        ("w1-1-1-1 d1-1-2 e0.5-0.5-0.5", "has 3 expansions, not 4"),
        ("w1-1-1-1 d1-1-4 e0.5-0.5-0.5-0.5-0.5-0.5", "depths are of 1, 2, 3, not 4"),
        ("w1-1-1-0.6 d1-1-1 e0.5-0.5-0.5", "widths are of 0.5, 0.75, 1, not 0.6"),
        ("w1-1-1-1 d1-1-1 e0.5-0.5-0.5 k3-3-3", "has 3 kernels, not 0"),
    ],
)
def test_a_wrong_choice_gets_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        ElasticResNet().space.parse(text, where="victims[0].choice")
    assert str(error.value).startswith("victims[0].choice: ")
    assert "expected such as" in str(error.value) or " are of " in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"elastic-resnet: choice"):
        ElasticResNet(choice=text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width must be at least 1"),
        ({"widths": (1.0, 0.5)}, "rising order"),
        ({"widths": (0.5, 0.75)}, "last of widths must be 1"),
        ({"expansions": (0.0, 0.5)}, r"in \(0, 4\]"),
        ({"expansions": ()}, "rising order"),
    ],
)
def test_levels_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ElasticResNet(**settings)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must be odd, got 4"):
        ElasticMobile(kernels=(3, 4))


def test_one_hot_shows_depths_as_zeros() -> None:
    space = Space(stages=1, widths=(0.5, 1.0), depths=(1, 2), expansions=(0.25, 0.5))
    choice = Choice(widths=(1.0, 0.5), depths=(1,), expansions=(0.5,))
    assert space.one_hot(choice).tolist() == [0, 1, 1, 0, 0, 1, 0, 0]
    assert space.one_hot(space.largest).tolist() == [0, 1, 0, 1, 0, 1, 0, 1]


@both
def test_one_hots_tell_choices_apart(family: Elastic) -> None:
    choices = {family.space.random(g) for g in [generator()] for _ in range(60)}
    codes = {tuple(family.space.one_hot(choice).tolist()) for choice in choices}
    assert len(codes) == len(choices)


@both
def test_a_space_of_one_kind_fixes_the_others_at_the_largest(family: Elastic) -> None:
    part = family.space.only({"depths"})
    found = [part.random(g) for g in [generator()] for _ in range(20)]
    assert len({choice.depths for choice in found}) > 3
    for choice in found:
        family.space.check(choice)
        assert set(choice.expansions) == {family.space.expansions[-1]}
        assert set(choice.widths) <= {1.0}
    assert part.largest == family.space.largest
    assert family.space.only(set()).random(generator()) == family.space.largest


# ------------------------------------------------------------------------------------------------- parts of a network


@both
def test_what_is_taken_out_is_the_chosen_part(family: Elastic) -> None:
    made, x, draws = classifier_of(family), images(), generator()
    network, whole = network_of(made), weights(made)
    space = family.space
    for choice in [space.largest, space.smallest, *(space.random(draws) for _ in range(20))]:
        network.choose(choice)
        taken = family.extracted(whole, choice)
        student = restore(family.of(choice), taken, shape=SHAPE, classes=5)
        torch.testing.assert_close(student(x), made(x), atol=1e-5, rtol=1e-5)
        assert all(type(m).__name__ in PLAIN or list(m.children()) for m in student.network.modules())
        assert not isinstance(student.network, ElasticNetwork)
    network.choose(None)
    network.choose(space.largest)
    chosen = made(x)
    network.choose(None)
    torch.testing.assert_close(made(x), chosen, atol=1e-5, rtol=1e-5)


PLAIN = {"Conv2d", "BatchNorm2d", "ReLU", "ReLU6", "MaxPool2d", "AdaptiveAvgPool2d", "Flatten", "Linear", "Identity"}


@both
def test_weights_alone_say_what_was_taken_out(family: Elastic) -> None:
    whole, draws = weights(classifier_of(family)), generator(2)
    for _ in range(10):
        choice = family.space.random(draws)
        taken = family.extracted(whole, choice)
        student = family.student(taken)
        load_weights(create(student, shape=SHAPE, classes=5), taken)
        assert family.macs(family.space.parse(student.choice or ""), SHAPE, 5) == family.macs(choice, SHAPE, 5)
        assert architecture(table(student)) == student


def test_weights_of_another_family_are_refused() -> None:
    taken = FAMILIES[0].extracted(weights(classifier_of(FAMILIES[0])), FAMILIES[0].space.smallest)
    with pytest.raises(InputError, match="these are weights of another one"):
        ElasticResNet(width=40).student(taken)


@both
def test_what_is_taken_out_shares_nothing(family: Elastic) -> None:
    whole = weights(classifier_of(family))
    taken = family.extracted(whole, family.space.largest)
    assert not {t.data_ptr() for t in taken.values()} & {t.data_ptr() for t in whole.values()}


@both
def test_macs_and_parameters_are_those_of_the_plain_network(family: Elastic) -> None:
    draws = generator(4)
    for choice in [family.space.largest, *(family.space.random(draws) for _ in range(4))]:
        network = family.of(choice).network(SHAPE, 5).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(images(1))
        assert 2 * family.macs(choice, SHAPE, 5) == counter.get_total_flops()
        assert family.parameters(choice, SHAPE, 5) == sum(p.numel() for p in network.parameters())


def test_the_default_sizes() -> None:
    for family, macs, parameters in ((ElasticResNet(), 4_148_160, 124_978), (ElasticMobile(), 5_072_816, 119_378)):
        assert family.macs(family.space.largest, (1, 28, 28), 10) == macs
        assert family.parameters(family.space.largest, (1, 28, 28), 10) == parameters


def test_parts_are_views(monkeypatch: pytest.MonkeyPatch) -> None:
    made = classifier_of(FAMILIES[0])
    network, seen = network_of(made), []
    network.choose(FAMILIES[0].space.smallest)
    before = {name: p.data_ptr() for name, p in network.named_parameters()}
    plain = nn.functional.conv2d

    def watched(x: Tensor, weight: Tensor, *rest: Any, **named: Any) -> Tensor:
        seen.append(weight.data_ptr())
        y: Tensor = plain(x, weight, *rest, **named)
        return y

    monkeypatch.setattr(nn.functional, "conv2d", watched)
    made(images())
    assert len(seen) == 1 + 3 * 4
    assert set(seen) <= set(before.values())
    assert {name: p.data_ptr() for name, p in network.named_parameters()} == before


def inside(family: Elastic, whole: dict[str, Tensor], choice: Choice) -> dict[str, Tensor]:
    """Which entries of each tensor a choice uses: numbers that are their own places, taken out."""
    counter = count(1)
    places = {
        name: torch.tensor([next(counter) for _ in range(tensor.numel())], dtype=torch.float64).reshape(tensor.shape)
        for name, tensor in whole.items()
    }
    taken = family.extracted(places, choice)
    return {
        name: torch.isin(place, taken[name]) if name in taken else torch.zeros_like(place, dtype=torch.bool)
        for name, place in places.items()
    }


def test_the_gradient_of_a_part_lands_in_the_part() -> None:
    family = FAMILIES[0]
    made = classifier_of(family)
    network, draws = network_of(made), generator(3)
    for choice in (family.space.smallest, *(family.space.random(draws) for _ in range(4))):
        network.choose(choice)
        network.zero_grad()
        made(images()).square().sum().backward()
        used = inside(family, weights(made), choice)
        reached = 0
        for name, parameter in network.named_parameters():
            outside = torch.zeros(()) if parameter.grad is None else parameter.grad[~used[name]]
            assert not bool(outside.any()), name
            reached += parameter.grad is not None and bool(parameter.grad[used[name]].any())
        assert reached >= 10


def test_smaller_kernels_train_the_matrices_that_make_them() -> None:
    family = ElasticMobile(width=4, stages=1, depth=2)
    made = create(family, shape=SHAPE, classes=5)
    network = network_of(made)
    matrices = dict(network.named_parameters())
    for name, matrix in matrices.items():
        if "shrink" in name:
            assert torch.equal(matrix[0], torch.eye(matrix.shape[1]))
    network.choose(family.space.parse("d1 e3 k5"))
    made(images()).sum().backward()
    assert matrices["stage1.0.shrink.5"].grad is not None
    assert matrices["stage1.0.shrink.3"].grad is None
    made(images())
    # with identities, a smaller kernel is the middle of the larger one
    taken = family.extracted(weights(made), family.space.smallest)["stage1.0.conv2.weight"]
    assert torch.equal(taken, matrices["stage1.0.conv2.weight"][:12, :, 2:5, 2:5])


@both
@pytest.mark.parametrize("kind", ["widths", "expansions"])
def test_sorting_channels_keeps_the_function(family: Elastic, kind: str) -> None:
    made, x = classifier_of(family), images()
    whole = weights(made)
    found = family.sorted_channels(whole, kind)  # type: ignore[arg-type]
    torch.testing.assert_close(restore(family, found, shape=SHAPE, classes=5)(x), made(x), atol=1e-5, rtol=1e-5)
    moved = {name for name in whole if not torch.equal(whole[name], found[name])}
    assert (kind == "widths" and isinstance(family, ElasticMobile)) != bool(moved)
    for made_by, read_by in family.channels(kind):  # type: ignore[arg-type]
        assert {name.rpartition(".")[2] for name in made_by} >= {"running_mean", "running_var", "bias"}
        matters = sum(found[name].abs().movedim(1, 0).flatten(1).sum(1).double() for name in read_by)
        assert isinstance(matters, Tensor)
        assert bool((matters.diff() <= 0).all())


def test_sorting_makes_narrow_parts_better() -> None:
    family = ElasticResNet(width=8, widths=(0.5, 1.0), expansions=(0.25, 0.5))
    made, x = classifier_of(family), images(64)
    with torch.no_grad():
        for name, parameter in made.network.named_parameters():
            if name.endswith(("conv2.weight", "conv3.weight")):  # half of what they read counts little, here the first
                parameter[:, : parameter.shape[1] // 2] *= 0.01
    narrow = Choice(widths=(1.0,) * 4, depths=(3,) * 3, expansions=(0.25,) * 9)
    far = []
    for whole in (weights(made), family.sorted_channels(weights(made), "expansions")):
        part = restore(family.of(narrow), family.extracted(whole, narrow), shape=SHAPE, classes=5)
        far.append(float((part(x) - made(x)).detach().norm()))
    assert far[1] < 0.2 * far[0]


def test_a_part_updates_the_first_of_the_statistics() -> None:
    norm, x = nn.BatchNorm2d(6), torch.rand(5, 4, 3, 3, generator=generator())
    own = nn.BatchNorm2d(4)
    torch.testing.assert_close(normalise(norm, x, part=True), own(x))
    assert norm.running_mean is not None
    assert own.running_mean is not None
    torch.testing.assert_close(norm.running_mean[:4], own.running_mean)
    assert not bool(norm.running_mean[4:].any())
    before = norm.running_mean.clone()
    with still(norm):
        torch.testing.assert_close(normalise(norm, x, part=True), own(x))
    assert torch.equal(norm.running_mean, before)
    assert norm.track_running_stats


def test_a_part_of_a_convolution_is_a_smaller_convolution() -> None:
    x, layer = torch.rand(2, 3, 7, 7), nn.Conv2d(5, 6, 3, stride=2, padding=1)
    small = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    small.load_state_dict({"weight": layer.weight[:4, :3], "bias": layer.bias[:4]})  # type: ignore[index]
    torch.testing.assert_close(convolve(layer, x, 4), small(x))


@both
def test_prepared_networks_can_still_choose(family: Elastic) -> None:
    made, x, draws = classifier_of(family), images(), generator(9)
    for first in (None, family.space.random(draws)):
        network_of(made).choose(first)
        prepared = prepare(made)
        torch.testing.assert_close(prepared(x), made(x), atol=1e-4, rtol=1e-4)
        for choice in (family.space.random(draws), None):
            network_of(made).choose(choice)
            prepared.network.choose(choice)  # type: ignore[operator, union-attr]
            torch.testing.assert_close(prepared(x), made(x), atol=1e-4, rtol=1e-4)
    student = restore(
        family.of(family.space.smallest),
        family.extracted(weights(made), family.space.smallest),
        shape=SHAPE,
        classes=5,
    )
    prepared = prepare(student)
    assert not [m for m in prepared.modules() if isinstance(m, nn.BatchNorm2d)]
    torch.testing.assert_close(prepared(x), student(x), atol=1e-4, rtol=1e-4)


def test_a_choice_of_another_space_is_refused_and_changes_nothing() -> None:
    network = network_of(classifier_of(FAMILIES[0]))
    network.choose(FAMILIES[0].space.smallest)
    with pytest.raises(InputError, match="widths"):
        network.choose(FAMILIES[1].space.smallest)
    assert network.choice == FAMILIES[0].space.smallest
