"""Plain networks taken out of an elastic one, their statistics, and their twins."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from tests.defenses.conftest import ground, images, plain
from torch import nn

from carom.defenses.defense import Stage
from carom.defenses.distillation.student import Slice, Student, Twin
from carom.defenses.distillation.taken_out import accuracy, recalibrate, taken_out
from carom.errors import InputError
from carom.identity import tensor_digest
from carom.zoo.architectures.elastic.layers import ElasticNetwork
from carom.zoo.architectures.elastic.mobile import ElasticMobile
from carom.zoo.architectures.elastic.resnet import ElasticResNet
from carom.zoo.architectures.elastic.space import Choice
from carom.zoo.models.classifier import Classifier, weights
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.trained import DivergedError

FAMILY = ElasticResNet(width=8, stages=2, depth=2)
SMALL = Choice(widths=(0.5, 1.0, 0.75), depths=(1, 2), expansions=(0.5, 0.25, 0.35))


def elastic_ground(family: ElasticResNet | ElasticMobile = FAMILY, n: int = 96) -> Ground:
    return replace(ground(n=n), architecture=family)


@pytest.fixture(scope="module")
def trained() -> Weights:
    place = elastic_ground()
    classifier = place.classifier(place.trained(plain(epochs=3)).last)
    recalibrate(classifier, place.train, seed=0)
    return weights(classifier)


def stage_of(built: Built, stage: Stage, place: Ground) -> Classifier:
    (found,) = built.members
    return replace(place, architecture=stage.architecture(place.architecture, found)).classifier(found)


def test_a_student_is_the_chosen_part_with_statistics_of_its_own(trained: Weights) -> None:
    place, stage = elastic_ground(), Student(choice=str(SMALL))
    built = stage.build(place, [trained], ())
    student, raw = stage_of(built, stage, place), taken_out(place, trained, SMALL)
    assert student.architecture == FAMILY.of(SMALL)
    whole = place.classifier(trained)
    assert isinstance(whole.network, ElasticNetwork)
    whole.network.choose(SMALL)
    x = images(9, seed=4).pixels
    torch.testing.assert_close(raw(x), whole(x), atol=1e-5, rtol=1e-5)
    for (name, ours), (_, theirs) in zip(
        student.network.named_parameters(), raw.network.named_parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    moved = [
        float((ours - theirs).abs().max())
        for (name, ours), (_, theirs) in zip(student.network.named_buffers(), raw.network.named_buffers(), strict=True)
        if name.endswith("running_mean")
    ]
    assert len(moved) == 1 + 2 * 4 + 3
    assert sum(distance > 0.01 for distance in moved) > len(moved) / 2
    assert built.passes.forward == 96
    assert built.passes.backward == 0
    assert built.record["choice"] == str(SMALL)
    assert built.record["macs"] == FAMILY.macs(SMALL, (1, 8, 8), 3)
    assert built.record["parameters"] == sum(p.numel() for p in student.parameters())
    assert built.record["accuracy"] == pytest.approx(accuracy(student, place.validation))
    assert built.record["accuracy before recalibration"] == pytest.approx(accuracy(raw, place.validation))


def test_the_elastic_network_is_untouched_by_its_students(trained: Weights) -> None:
    before = tensor_digest(trained)
    for choice in ("smallest", "largest"):
        Student(choice=choice).build(elastic_ground(), [trained], ())
        Slice(choice=choice).build(elastic_ground(), [trained], ())
    assert tensor_digest(trained) == before


def test_statistics_are_the_mean_over_batches_of_all_images(trained: Weights) -> None:
    learn = images(300, seed=3)
    place = replace(elastic_ground(), train=learn)
    classifier = taken_out(place, trained, SMALL)
    assert recalibrate(classifier, learn, seed=5) == 300
    norm = classifier.network.get_submodule("stem.1")
    conv = classifier.network.get_submodule("stem.0")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        y = conv(classifier.preprocess(learn.pixels))
    # two batches of 150: their mean is that of all, of variances too but for what parts the batches
    torch.testing.assert_close(norm.running_mean, y.mean((0, 2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, y.var((0, 2, 3)), atol=0, rtol=0.02)
    assert norm.momentum == 0.1
    assert not any(module.training for module in classifier.modules())


def test_recalibration_looks_at_no_more_than_asked_and_belongs_to_the_seed(trained: Weights) -> None:
    learn = images(300, seed=3)
    made: list[str] = []
    for seed, most in ((1, 50), (1, 50), (2, 50)):
        classifier = taken_out(elastic_ground(), trained, SMALL)
        torch.manual_seed(len(made))
        assert recalibrate(classifier, learn, seed=seed, most=most) == 50
        made.append(tensor_digest(weights(classifier)))
    assert made[0] == made[1] != made[2]


def test_statistics_of_a_part_never_reach_the_whole(trained: Weights) -> None:
    whole = elastic_ground().classifier(trained)
    assert isinstance(whole.network, ElasticNetwork)
    whole.network.choose(SMALL)
    before = tensor_digest(weights(whole))
    with pytest.raises(InputError, match="shares its statistics with others; take it out first"):
        recalibrate(whole, images(30), seed=0)
    assert tensor_digest(weights(whole)) == before
    whole.network.choose(None)
    recalibrate(whole, images(30), seed=0)
    assert tensor_digest(weights(whole)) != before


def test_recalibration_saves_a_network_with_statistics_of_another(trained: Weights) -> None:
    place = elastic_ground()
    strange = {name: t + 3 if name.endswith("running_mean") else t for name, t in trained.items()}
    record = Student(choice="largest").build(place, [strange], ()).record
    assert record["accuracy before recalibration"] < 0.6  # type: ignore[operator]
    assert record["accuracy"] > 0.9  # type: ignore[operator]


def test_a_slice_keeps_the_channels_that_matter(trained: Weights) -> None:
    place, stage = elastic_ground(), Slice(choice="largest")
    built = stage.build(place, [trained], ())
    sliced = stage_of(built, stage, place)
    student = stage_of(Student(choice="largest").build(place, [trained], ()), Student(), place)
    x = images(9, seed=4).pixels
    torch.testing.assert_close(sliced(x), student(x), atol=1e-4, rtol=1e-4)  # sorted, which changes nothing here
    assert not torch.equal(
        sliced.network.get_parameter("stem.0.weight"), student.network.get_parameter("stem.0.weight")
    )
    read = sliced.network.get_parameter("stage2.1.conv3.weight").abs().flatten(2).sum((0, 2))
    assert bool((read.diff() <= 0).all())


@pytest.mark.parametrize("start", ["fresh", "slice"])
def test_a_twin_learns_by_itself(trained: Weights, start: str) -> None:
    place = replace(elastic_ground(), recipe=plain(learning_rate=0.02))
    stage = Twin(choice="largest", start=start, epochs=4, steps=2, step=0.6, eps=Fraction(8, 255))  # type: ignore[arg-type]
    built = stage.build(place, [trained], ())
    twin = stage_of(built, stage, place)
    assert twin.architecture == FAMILY.of(FAMILY.space.largest)
    assert accuracy(twin, place.validation) == pytest.approx(built.record["accuracy"])
    assert accuracy(twin, place.validation) > 0.6
    # the teacher once, two attack steps, attacked and clean images
    looked = 96 if start == "slice" else 0
    assert (built.passes.forward, built.passes.backward) == (4 * 96 * (1 + 2 + 2) + looked, 4 * 96 * (2 + 2))


def test_a_twin_no_better_than_guessing_is_refused(trained: Weights) -> None:
    place = replace(elastic_ground(n=48), recipe=plain(learning_rate=1e-9))
    with pytest.raises(DivergedError, match="no better than guessing"):
        Twin(choice=str(SMALL), epochs=1, steps=1).build(place, [trained], ())


@pytest.mark.parametrize("stage", [Student, Slice, Twin])
def test_what_does_not_fit_gets_one_line(stage: type[Student] | type[Slice] | type[Twin], trained: Weights) -> None:
    assert isinstance(stage(), Stage)
    with pytest.raises(InputError, match=r"choice: 'w1'.*expected such as") as error:
        stage(choice="w1").build(elastic_ground(), [trained], ())
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="needs a network of sub-networks, got ResNet; use elastic-resnet"):
        stage().build(ground(), [trained], ())
    with pytest.raises(InputError, match="needs a network of sub-networks, got the sub-network"):
        stage().build(elastic_ground(FAMILY.of(FAMILY.space.smallest)), [trained], ())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="ResNet has no sub-networks"):
        stage().architecture(ground().architecture, trained)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "twin: epochs must be at least 1, got 0"),
        ({"steps": 0}, "twin: .*steps must be in"),
        ({"step": 0.0}, "twin: .*step must be in"),
        ({"eps": Fraction(0)}, "twin: .*eps"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        Twin(**settings)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
