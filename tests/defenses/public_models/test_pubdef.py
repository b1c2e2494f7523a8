"""PubDef: what is crafted, what is learnt from it, and what a build gives."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from tests.defenses.conftest import ground, images, plain
from torch import Tensor, nn

from carom.attacks import craft
from carom.budget import Budget
from carom.defenses import build as defended
from carom.defenses import parse_defense
from carom.defenses.defense import PublicModel, Stage
from carom.defenses.public_models import adversarial_copies
from carom.defenses.public_models.adversarial_copies import adversarial_copy, augmented, predicted
from carom.defenses.public_models.against_copies import AgainstCopies, Copies, LossName, weighted_accuracy
from carom.defenses.public_models.pubdef import PRESETS, PubDef
from carom.draws import stream
from carom.errors import InputError
from carom.identity import content_key, tensor_digest
from carom.registry import build
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, create, weights
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training import checkpoint
from carom.zoo.training.augment import draw, warp
from carom.zoo.training.ground import Ground
from carom.zoo.training.loop import train
from carom.zoo.training.recipes import adapted
from carom.zoo.training.state import Batch, State

MLP = architecture({"name": "mlp", "width": 8, "depth": 1})
RESNET = architecture({"name": "resnet-small", "width": 4, "stages": 1, "depth": 1})
EPS = Fraction(24, 255)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pool() -> list[PublicModel]:
    """Three small models, trained a little, so that they are partly right."""
    made = []
    for seed, (label, group) in enumerate((("a", "normal"), ("b", "linf"), ("c", "linf"))):
        data = images(60, seed=seed + 3)
        trained = train(plain(epochs=4), MLP, train=data, validation=data, classes=3, seed=seed + 10)
        made.append(PublicModel(label=label, group=group, classifier=trained.classifier()))
    return made


def here(n: int = 24, name: Any = MLP, **changes: Any) -> Ground:
    whole = replace(ground(n=n), architecture=name, validation=images(18, seed=1, first_id=10_000))
    return replace(whole, **changes)


def defense(**changes: Any) -> PubDef:
    values: dict[str, Any] = {"eps": EPS, "steps": 2, "step": Fraction(1, 2), "copies": 2}
    return PubDef(**{**values, **changes})


def copies(n: int = 10, sources: int = 3, many: int = 2, judged: int = 6) -> Copies:
    generator = torch.Generator().manual_seed(3)

    def pixels(*shape: int) -> Tensor:
        return torch.randint(0, 256, (*shape, 1, 8, 8), generator=generator).to(torch.uint8)

    return Copies(adversarial=pixels(sources, many, n), judged=pixels(sources, judged))


def state(classifier: Classifier, data: ImageSet, seed: int = 5) -> State:
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(seed)
    return State(classifier, optimizer, data, data, 1, 1, 1, generator)


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that classifiers in training mode get."""
    sizes: list[int] = []
    plain_forward = Classifier.forward

    def counted(self: Classifier, x: Tensor) -> Tensor:
        if self.training:
            sizes.append(len(x))
        return plain_forward(self, x)

    monkeypatch.setattr(Classifier, "forward", counted)
    return sizes


# ------------------------------------------------------------------------------------------------------------ copies


def test_augmented_copies_are_the_recipes_rounded_and_each_drawn_anew() -> None:
    data, recipe = images(12), plain(shift=1.0, rotation=15.0)
    one, again, two = (augmented(data, recipe, seed=4, copy=copy) for copy in (0, 0, 1))
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, two.images)
    assert not torch.equal(one.images, data.images)
    generator = torch.Generator().manual_seed(stream(4, "pubdef", 0, 1))
    seen = warp(data.pixels, draw(recipe, 12, (8, 8), generator))
    assert float((two.images.float() / 255 - seen).abs().max()) <= 0.5 / 255 + 1e-5
    assert torch.equal(two.labels, data.labels)
    assert torch.equal(two.ids, data.ids)
    assert torch.equal(augmented(data, plain(), seed=4, copy=0).images, data.images)


@pytest.mark.parametrize("budget", [Budget(norm="linf", eps=Fraction(7, 500)), Budget(norm="l2", eps=Fraction(1, 2))])
def test_copies_stay_in_the_ball_after_rounding(budget: Budget, pool: list[PublicModel]) -> None:
    data = augmented(images(20), plain(shift=1.0), seed=4, copy=0)
    attack = defense(steps=4).attack
    made = adversarial_copy(pool[0], data, attack=attack, budget=budget, seed=4, device=CPU)
    assert made.images.dtype == torch.uint8
    delta = (made.images.double() - data.images.double()) / 255
    size = delta.abs().amax() if budget.norm == "linf" else delta.flatten(1).norm(dim=1).amax()
    assert 0 < float(size) <= float(budget.eps)


def test_predicted_labels_are_attacked_where_the_source_errs(pool: list[PublicModel]) -> None:
    data = images(40, seed=8)
    data.labels[::4] = (data.labels[::4] + 1) % 3
    wrong = predicted(pool[0].classifier, data.images, CPU) != data.labels
    assert 0 < int(wrong.sum()) < 40

    def made(labels: Any) -> adversarial_copies.AdversarialCopy:
        return adversarial_copy(
            pool[0], data, attack=defense().attack, budget=defense().budget, labels=labels, seed=4, device=CPU
        )

    true, guessed = made("true"), made("predicted")
    differs = (true.images != guessed.images).flatten(1).any(1)
    assert torch.equal(differs, wrong)
    assert (guessed.passes.forward, guessed.passes.backward) == (true.passes.forward + 40, true.passes.backward)


def test_copies_are_stored_and_a_damaged_file_is_made_again(
    tmp_path: Path, pool: list[PublicModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return craft(*args, **kwargs)

    monkeypatch.setattr(adversarial_copies, "craft", counted)

    def made(**changes: Any) -> adversarial_copies.AdversarialCopy:
        values: dict[str, Any] = {"attack": defense().attack, "budget": defense().budget, "seed": 4, "copy": 0}
        values |= {"labels": "true", "stored": tmp_path / "kept"}
        return adversarial_copy(pool[0], images(9), device=CPU, **{**values, **changes})

    first, again = made(), made()
    assert len(calls) == 1
    assert torch.equal(first.images, again.images)
    assert (first.passes, first.seconds) == (again.passes, again.seconds)
    (file,) = (tmp_path / "kept").iterdir()  # nothing half-written beside it
    whole = file.read_bytes()
    for damaged in (whole[:-5], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(damaged)
        assert torch.equal(made().images, first.images)
        assert file.read_bytes()[-64:] == whole[-64:]
    assert len(calls) == 4
    for other in ({"copy": 1}, {"seed": 5}, {"labels": "predicted"}, {"budget": Budget(norm="l2", eps=EPS)}):
        made(**other)
    made(attack=defense(steps=3).attack)
    assert len(calls) == 9


# ------------------------------------------------------------------------------------------------------------ losses


def plain_loss(name: LossName, by: AgainstCopies, here: State, data: ImageSet, stored: Copies, means: Any) -> Any:
    """One batch's loss, image by image; also the smoothed means after it."""
    n = len(data)
    generator = torch.Generator().manual_seed(5)
    copy = torch.randint(2, (n,), generator=generator).tolist()
    source = torch.randint(len(stored.adversarial), (n,), generator=generator).tolist()
    streams = [list(data.images)]
    if name == "random":
        streams += [[stored.adversarial[s, c, i] for i, (s, c) in enumerate(zip(source, copy, strict=True))]]
    else:
        streams += [[kept[c, i] for i, c in enumerate(copy)] for kept in stored.adversarial]
    logits = [[here.classifier(x[None].float() / 255)[0] for x in stream] for stream in streams]
    values = [[-z.log_softmax(0)[y] for z, y in zip(row, data.labels, strict=True)] for row in logits]
    clean, adversarial = values[0], values[1:]
    total: Any = 0.0
    if name == "random":
        for i in range(n):
            total = total + 0.5 * clean[i] / n + 0.5 * adversarial[0][i] / n
    elif name == "all":
        for row in values:
            total = total + sum(row) / n / len(values)
    elif name == "top-k":
        for i in range(n):
            largest = sorted((row[i] for row in adversarial), key=Tensor.item)[-by.k :]
            total = total + (clean[i] + sum(largest)) / (1 + by.k) / n
    else:
        if name == "dynamic-loss":
            now = [float(sum(row).detach()) / n for row in adversarial]
        else:
            now = [
                sum(int(z.argmax()) != int(y) for z, y in zip(row, data.labels, strict=True)) / n for row in logits[1:]
            ]
        means = now if means is None else [(1 - by.alpha) * m + by.alpha * v for m, v in zip(means, now, strict=True)]
        total = 0.5 * sum(clean) / n
        for mean, row in zip(means, adversarial, strict=True):
            total = total + 0.5 * mean / sum(means) * sum(row) / n
    return total, means


@pytest.mark.parametrize("name", get_args(LossName))
def test_losses_by_plain_loops(name: LossName) -> None:
    stored, data = copies(), images(10)
    by = AgainstCopies(copies=stored, loss=name, k=2, alpha=0.3)
    recipe = adapted(plain(), by)
    slots = recipe.slots()
    there = state(create(MLP, shape=(1, 8, 8), classes=3, seed=2).train(), data)
    means = None
    for _ in range(3):  # dynamic means go on
        there.generator.manual_seed(5)
        index = torch.arange(10)
        there.batch = Batch(data.pixels, data.labels, data.ids, index)
        there.classifier.zero_grad()
        found, logits = slots.loss(there, data.pixels, data.labels)
        torch.autograd.backward(found)
        gradients = [p.grad.clone() for p in there.classifier.parameters() if p.grad is not None]
        there.classifier.zero_grad()
        expected, means = plain_loss(name, by, there, data, stored, means)
        torch.autograd.backward(expected)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
        for one, parameter in zip(gradients, there.classifier.parameters(), strict=True):
            assert parameter.grad is not None
            assert torch.allclose(one, parameter.grad, rtol=1e-4, atol=1e-6)
        assert len(logits) == 10
        with torch.no_grad():  # other losses next time
            for parameter in there.classifier.parameters():
                parameter.mul_(1.3)
    streams = 1 if name == "random" else 3
    assert (there.passes.forward, there.passes.backward) == (3 * 10 * streams, 3 * 10 * streams)  # the loop adds 10
    if means is not None:
        assert there.memory["pubdef means"].tolist() == pytest.approx(means, rel=1e-5)


class Fixed(nn.Module):
    """Sure of class 0 where the first pixel is white, and of class 1 elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.size = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        white = x[:, 0, 0, 0] > 0  # the classifier's own preprocessing is to [-1, 1]
        return self.size * torch.stack([white, ~white, torch.zeros_like(white)], 1).float()


def fixed(error_rates: list[float], n: int = 4) -> tuple[State, Copies]:
    """All images are of class 0; so many of each source's are taken for class 1."""
    adversarial = torch.full((len(error_rates), 1, n, 1, 8, 8), 255, dtype=torch.uint8)
    for s, rate in enumerate(error_rates):
        adversarial[s, 0, : round(rate * n)] = 0
    stored = Copies(adversarial=adversarial, judged=adversarial[:, 0])
    pixels = torch.full((n, 1, 8, 8), 255, dtype=torch.uint8)
    data = ImageSet(pixels, torch.zeros(n, dtype=torch.int64), torch.arange(n))
    classifier = create(MLP, shape=(1, 8, 8), classes=3)
    classifier.network = Fixed()
    there = state(classifier, data)
    there.batch = Batch(data.pixels, data.labels, data.ids, torch.arange(n))
    return there, stored


def test_dynamic_weights_by_hand() -> None:
    low, high = (-torch.tensor([1.0, 0.0, 0.0]).log_softmax(0)[i].item() for i in (0, 1))
    there, stored = fixed([0.25, 0.75])
    slots = adapted(plain(), AgainstCopies(copies=stored, loss="dynamic-accuracy", k=1, alpha=0.5)).slots()
    assert there.batch is not None
    found, _ = slots.loss(there, there.batch.images, there.batch.labels)
    of_sources = (0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high)
    assert found.item() == pytest.approx(0.5 * low + 0.5 * (0.25 * of_sources[0] + 0.75 * of_sources[1]))
    there.memory["pubdef means"] = torch.tensor([0.75, 0.25])
    found, _ = slots.loss(there, there.batch.images, there.batch.labels)
    assert there.memory["pubdef means"].tolist() == [0.5, 0.5]
    assert found.item() == pytest.approx(0.5 * low + 0.25 * sum(of_sources))


def test_dynamic_weights_are_equal_where_no_source_fools() -> None:
    there, stored = fixed([0.0, 0.0])
    slots = adapted(plain(), AgainstCopies(copies=stored, loss="dynamic-accuracy", k=1, alpha=0.5)).slots()
    assert there.batch is not None
    found, _ = slots.loss(there, there.batch.images, there.batch.labels)
    assert found.item() == pytest.approx(-torch.tensor([1.0, 0.0, 0.0]).log_softmax(0)[0].item())


def test_label_smoothing_is_the_recipes() -> None:
    stored, data = copies(), images(10)
    by = AgainstCopies(copies=stored, loss="all", k=1, alpha=0.5)
    there = state(create(MLP, shape=(1, 8, 8), classes=3, seed=2).train(), data)
    there.batch = Batch(data.pixels, data.labels, data.ids, torch.arange(10))
    values = []
    for smoothing in (0.0, 0.3):
        there.generator.manual_seed(5)
        loss, _ = adapted(plain(label_smoothing=smoothing), by).slots().loss(there, data.pixels, data.labels)
        values.append(loss.item())
    assert values[0] != values[1]


def test_clean_and_adversarial_images_share_one_forward_and_its_batch_statistics(forwards: list[int]) -> None:
    stored, data = copies(), images(10)
    there = state(create(RESNET, shape=(1, 8, 8), classes=3, seed=2).train(), data)
    twin = create(RESNET, shape=(1, 8, 8), classes=3, seed=2).train()
    index = torch.tensor([3, 1, 8, 0])
    some = data.select(index)
    there.batch = Batch(some.pixels, some.labels, some.ids, index)
    slots = adapted(plain(), AgainstCopies(copies=stored, loss="all", k=1, alpha=0.5)).slots()
    slots.loss(there, some.pixels, some.labels)
    assert forwards == [16]
    copy = torch.randint(2, (4,), generator=torch.Generator().manual_seed(5))
    rows = [data.images[index], *(kept[copy, index] for kept in stored.adversarial)]
    twin(torch.cat(rows).float() / 255)
    for (name, one), two in zip(weights(there.classifier).items(), weights(twin).values(), strict=True):
        assert torch.allclose(one, two, atol=1e-6), name


def test_epochs_are_judged_by_half_clean_half_adversarial_accuracy() -> None:
    there, stored = fixed([0.25, 0.75])
    assert weighted_accuracy(there, stored) == pytest.approx(0.5 * 1 + 0.5 * (0.75 + 0.25) / 2)


def test_the_copies_are_part_of_the_key() -> None:
    one, same, other = copies(), copies(), copies(judged=5)
    keys = [content_key(AgainstCopies(copies=c, loss="all", k=1, alpha=0.5)) for c in (one, same, other)]
    assert keys[0] == keys[1] != keys[2]


# ------------------------------------------------------------------------------------------------------------ builds


@pytest.mark.parametrize("loss", get_args(LossName))
def test_a_build_counts_its_passes_and_notes_its_sources(loss: LossName, pool: list[PublicModel]) -> None:
    built = defense(loss=loss).build(here(), (), pool)
    crafting, matrix = 2 * 2 * 2 * 24, 3 * 2 * 18
    streams = 2 if loss == "random" else 3
    assert built.record["training_forward"] == built.record["training_backward"] == 3 * 24 * streams
    assert built.record["crafting_forward"] == built.record["crafting_backward"] == crafting
    assert (built.record["selection_forward"], built.record["selection_backward"]) == (matrix + 9 * 18, matrix)
    assert (built.passes.forward, built.passes.backward) == (3 * 24 * streams + crafting,) * 2
    transfer = built.record["transfer"]
    assert isinstance(transfer, list)
    reach = [(sum(row) - row[s]) / 2 for s, row in enumerate(transfer)]
    assert built.record["groups"] == ["linf", "normal"]
    assert built.record["sources"] == ["b" if (reach[1], -transfer[1][1]) <= (reach[2], -transfer[2][2]) else "c", "a"]
    assert built.record["pool"] == ["a", "b", "c"]
    assert built.record["copies"] == 2
    json.dumps(dict(built.record))
    (member,) = built.members
    here().classifier(member)


def test_a_build_is_the_same_bit_for_bit_from_what_is_stored(
    tmp_path: Path, pool: list[PublicModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    augmenting = here(recipe=plain(shift=1.0, rotation=10.0), stored=tmp_path)
    first = defense().build(augmenting, (), pool)
    monkeypatch.setattr(adversarial_copies, "craft", None)  # what is crafted again would fail
    again = defense().build(augmenting, (), pool)
    assert tensor_digest(first.members[0]) == tensor_digest(again.members[0])
    assert first.record == again.record
    assert first.passes == again.passes
    for other in (defense(loss="all"), defense(copies=1), defense(groups=("linf",))):  # like jobs use them again
        other.build(augmenting, (), pool)
    monkeypatch.undo()
    fresh = defense().build(replace(augmenting, stored=None), (), pool)
    assert tensor_digest(first.members[0]) == tensor_digest(fresh.members[0])


@pytest.mark.parametrize("loss", ["random", "dynamic-loss"])
def test_a_resumed_training_equals_an_uninterrupted_one(
    loss: LossName, tmp_path: Path, pool: list[PublicModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = defense(loss=loss).build(here(name=RESNET), (), pool)
    told: list[tuple[int, int]] = []

    def interrupt(done: int, total: int, numbers: dict[str, float]) -> None:
        told.append((done, total))
        if "loss" in numbers and done == total - 1:
            raise KeyboardInterrupt

    broken = here(name=RESNET, checkpoint=tmp_path / "at", stored=tmp_path / "kept", progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        defense(loss=loss).build(broken, (), pool)
    assert (tmp_path / "at").exists()
    assert told == [(i, 10) for i in range(1, 10)]  # 3 for the matrix, 4 copies, 2 of 3 epochs
    resumed = defense(loss=loss).build(replace(broken, progress=None), (), pool)
    assert tensor_digest(whole.members[0]) == tensor_digest(resumed.members[0])
    assert whole.passes == resumed.passes


def test_only_training_images_are_learnt_from_and_only_validation_images_choose(
    pool: list[PublicModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = here()
    seen: list[set[int]] = []

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.append(set(kwargs["ids"].tolist()))
        return craft(*args, **kwargs)

    monkeypatch.setattr(adversarial_copies, "craft", watched)
    learnt: list[Copies] = []
    monkeypatch.setattr("carom.defenses.public_models.pubdef.AgainstCopies", noting(learnt))
    defense().build(whole, (), pool)
    training_ids, validation_ids = (set(part.ids.tolist()) for part in (whole.train, whole.validation))
    assert seen == [validation_ids] * 3 + [training_ids] * 4
    (used,) = learnt
    monkeypatch.undo()
    assert used.adversarial.shape == (2, 2, 24, 1, 8, 8)
    away = (used.adversarial.short() - whole.train.images.short()).abs().amax()
    assert 0 < int(away) <= 24
    built = learnt_from_sources(whole, pool)
    assert torch.equal(used.judged, built)


def learnt_from_sources(whole: Ground, pool: list[PublicModel]) -> Tensor:
    """The validation images crafted from the sources that a build chooses."""
    sources = defense().build(whole, (), pool).record["sources"]
    assert isinstance(sources, list)
    return torch.stack(
        [
            adversarial_copy(
                next(model for model in pool if model.label == label),
                whole.validation,
                attack=defense().attack,
                budget=defense().budget,
                seed=whole.seed,
                device=CPU,
            ).images
            for label in sources
        ]
    )


def noting(kept: list[Copies]) -> Callable[..., AgainstCopies]:
    def made(copies: Copies, **settings: Any) -> AgainstCopies:
        kept.append(copies)
        return AgainstCopies(copies=copies, **settings)

    return made


@pytest.mark.parametrize("loss", ["random", "all"])
def test_clean_images_are_those_of_plain_training_drawn_anew_at_each_epoch(
    loss: LossName, pool: list[PublicModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first images of a batch are those that a plain training of the same seed sees; the copies stay as crafted."""
    batches: list[Tensor] = []
    forward = Classifier.forward

    def noted(self: Classifier, x: Tensor) -> Tensor:
        if self.training:
            batches.append(x.detach().clone())
        return forward(self, x)

    ours = here(recipe=plain(shift=1.0, rotation=5.0, scale=0.1, flip=True))
    learnt: list[Copies] = []
    monkeypatch.setattr("carom.defenses.public_models.pubdef.AgainstCopies", noting(learnt))
    monkeypatch.setattr(Classifier, "forward", noted)
    defense(copies=1, loss=loss).build(ours, (), pool)
    seen = list(batches)
    batches.clear()
    ours.trained(ours.recipe)
    assert len(seen) == len(batches) == 6
    kept = {image.numpy().tobytes() for image in learnt[0].adversarial.flatten(0, 2)}
    for together, clean in zip(seen, batches, strict=True):
        assert torch.equal(together[: len(clean)], clean)
        copies = (together[len(clean) :] * 255).round().to(torch.uint8)
        assert len(copies) == len(clean) * (1 if loss == "random" else 2)
        assert {image.contiguous().numpy().tobytes() for image in copies} <= kept


def test_the_best_epoch_is_that_of_the_highest_weighted_accuracy(
    pool: list[PublicModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = defense().build(here(recipe=plain(epochs=1)), (), pool)
    monkeypatch.setattr(
        "carom.defenses.public_models.against_copies.weighted_accuracy", lambda state, copies: 0.9 - 0.1 * state.epoch
    )
    kept = defense().build(here(recipe=plain(select="best")), (), pool)
    assert tensor_digest(kept.members[0]) == tensor_digest(first.members[0])
    clean = kept.record["validation_clean"]
    assert clean == first.record["validation_clean"]
    assert kept.record["validation_adversarial"] == pytest.approx(2 * 0.9 - clean)  # type: ignore[operator]
    last = defense().build(here(recipe=plain(select="last")), (), pool)
    assert tensor_digest(last.members[0]) != tensor_digest(first.members[0])


def test_it_may_go_on_from_what_came_before(pool: list[PublicModel]) -> None:
    ours = here(recipe=plain(learning_rate=0.0))
    start = weights(create(MLP, shape=(1, 8, 8), classes=3, seed=77))
    (member,) = defense().build(ours, (start,), pool).members
    assert tensor_digest(member) == tensor_digest(start)
    (member,) = defense().build(ours, (), pool).members
    assert tensor_digest(member) == tensor_digest(weights(create(MLP, shape=(1, 8, 8), classes=3, seed=ours.seed)))


def test_it_goes_on_from_plain_training(pool: list[PublicModel]) -> None:
    """As in the authors' scripts: train plainly, then load the weights into the training on copies."""
    ours = here(recipe=plain(epochs=2))
    _, chain = parse_defense(
        {"name": "plain -> pubdef", "pubdef": {"eps": "24/255", "steps": 2, "step": "1/2", "copies": 1}}
    )
    found = defended(chain, ours, pool)
    first = train(ours.recipe, MLP, train=ours.train, validation=ours.validation, classes=3, seed=ours.seed)
    by_hand = defense(copies=1).build(ours, (first.last,), pool)
    assert tensor_digest(found.weights) == tensor_digest(by_hand.members[0])
    assert found.passes == first.passes + by_hand.passes
    _, alone = parse_defense("plain")
    assert tensor_digest(defended(alone, ours).weights) == tensor_digest(first.last)


@pytest.mark.parametrize("settings", [{"sources": "drawn"}, {"labels": "predicted"}])
def test_ablations_look_at_validation_images_of_their_own(settings: dict[str, Any], pool: list[PublicModel]) -> None:
    told: list[tuple[int, int]] = []
    built = defense(**settings).build(here(progress=lambda done, total, _: told.append((done, total))), (), pool)
    sets = 4 + 2 + (3 if settings.get("sources") != "drawn" else 0)
    assert told == [(i, sets + 3) for i in range(1, sets + 4)]
    assert ("transfer" in built.record) == ("labels" in settings)
    assert built.record["sources"][1] == "a"  # type: ignore[index]


def test_groups_that_are_named_are_all_that_is_learnt_from(pool: list[PublicModel]) -> None:
    built = defense(groups=("linf",)).build(here(), (), pool)
    assert built.record["groups"] == ["linf"]
    assert built.record["crafting_forward"] == 2 * 2 * 24


def test_it_withstands_transfer_from_its_sources_where_plain_training_does_not(pool: list[PublicModel]) -> None:
    ours = here(n=96, recipe=plain(epochs=12))
    hard = defense(eps=Fraction(56, 255), steps=4)
    plainly = ours.trained(ours.recipe).classifier()
    built = hard.build(ours, (), pool)
    sources = [model for model in pool if model.label in built.record["sources"]]  # type: ignore[operator]
    held_out = images(90, seed=21, first_id=50_000)
    made = [
        adversarial_copy(source, held_out, attack=hard.attack, budget=hard.budget, seed=9, device=CPU).images
        for source in sources
    ]
    right = [
        [float((predicted(model, x, CPU) == held_out.labels).float().mean()) for x in made]
        for model in (plainly, ours.classifier(built.members[0]))
    ]
    assert len(made) == 2
    assert min(right[1]) > max(right[0]) + 0.3


# ---------------------------------------------------------------------------------------------------------- settings


def test_it_is_a_stage() -> None:
    stage = defense()
    assert isinstance(stage, Stage)
    assert stage.pool
    assert stage.takes == "either"
    assert stage.architecture(MLP, {}) is MLP
    assert PubDef(groups=("b", "a")) == PubDef(groups=("a", "b"))


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    found = build(PubDef, PRESETS[name], where="defense")
    assert found.copies == 4
    assert found.eps in (Fraction(8, 255), Fraction(4, 255))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps": Fraction(0)}, r"pubdef: eps is 0, less than one grey level: .*; give at least \"1/255\", or leave"),
        ({"eps": Fraction(1, 256)}, r"pubdef: eps is 1/256, less than one grey level"),
        ({"eps": Fraction(-1, 255)}, r"pubdef: eps must not be negative, got -1/255"),
        ({"eps": Fraction(2)}, r"pubdef: eps=2 covers every image"),
        ({"steps": 0}, r"pubdef: steps must be in \[1, 10000\], got 0"),
        ({"step": Fraction(0)}, r"pubdef: step must be above 0 \(in units of eps\), got 0"),
        ({"copies": 0}, r"pubdef: copies must be in \[1, 1000\], got 0"),
        ({"k": 0}, r"pubdef: k must be in \[1, 1000\], got 0"),
        ({"alpha": 0.0}, r"pubdef: alpha must be in \[1e-09, 1\], got 0"),
        ({"alpha": 1.5}, r"pubdef: alpha must be in \[1e-09, 1\], got 1.5"),
        ({"groups": ("a", "b", "a")}, r"pubdef: groups a, b, a: name each once"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}") as caught:
        PubDef(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["norm", "loss", "labels", "sources"])
def test_names_that_nobody_knows(name: str) -> None:
    with pytest.raises(InputError, match=rf"^defense.{name}: input should be '.*got 'other'$"):
        build(PubDef, {name: "other"}, where="defense")


def test_what_a_pool_does_not_have(pool: list[PublicModel]) -> None:
    for settings, models, message in (
        ({}, [], "^pubdef: the public pool is empty"),
        ({"groups": ("l2",)}, pool, "^pubdef: no public model is of group 'l2'"),
        ({}, [*pool, pool[0]], "^pubdef: the label 'a' stands twice"),
        ({"loss": "top-k", "k": 3}, pool, "^pubdef: k=3 of 2 sources; expected at most one for each group$"),
    ):
        with pytest.raises(InputError, match=message):
            defense(**settings).build(here(), (), models)
    with pytest.raises(InputError, match=r"^pubdef: public model 'c' has the weights"):
        defense().build(here(), (weights(pool[2].classifier),), pool)
