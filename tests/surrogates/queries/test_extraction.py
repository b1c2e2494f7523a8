"""Extraction: what the attacker asks, what he counts, and what he never sees."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.surrogates.by_hand import same
from tests.surrogates.conftest import ground, images, plain
from torch import Tensor

from carom.errors import InputError
from carom.surrogates.builder import Chain, Refinement, build
from carom.surrogates.queries.extraction import Extraction, SoftLabels
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.ground import Ground
from carom.zoo.training.recipes import Adaptation, adapted


class Box:
    """A black box that keeps what it was asked."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        self.answer = answer
        self.seen: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return self.answer(x)


def bands(x: Tensor) -> Tensor:
    """Scores of one who knows the task: the brightness of each band of rows."""
    return 20 * torch.stack([x[:, 0, rows : rows + 2].mean((1, 2)) for rows in (0, 2, 4)], 1)


def attacker(answer: Callable[[Tensor], Tensor] = bands, epochs: int = 4) -> tuple[Ground, Box]:
    box = Box(answer)
    return replace(ground("mlp", recipe=plain(epochs=epochs), n=150), asked=box), box


def test_they_are_a_refinement_and_an_adaptation() -> None:
    assert isinstance(Extraction(), Refinement)
    assert isinstance(SoftLabels(table=torch.ones(2, 2) / 2), Adaptation)
    chain = Chain(first=None, then=(Extraction(),))
    assert chain.asks
    assert chain.count == 1


@pytest.mark.parametrize("answers", ["labels", "scores"])
@pytest.mark.parametrize("augmentation", ["jacobian", "plain"])
def test_it_learns_to_answer_as_the_victim_does(answers: str, augmentation: str) -> None:
    here, box = attacker(epochs=10)
    stage = Extraction(queries=120, start=30, augmentation=augmentation, answers=answers)  # type: ignore[arg-type]
    made = stage.build(here, [])
    x = images(60, seed=9).pixels
    assert float((here.classifier(made.members[0])(x).argmax(1) == bands(x).argmax(1)).float().mean()) > 0.8
    assert made.record["queries"] == sum(map(len, box.seen)) == 120
    assert made.record["answered"] == 3


@pytest.mark.parametrize(("queries", "rounds"), [(20, 0), (21, 1), (40, 1), (75, 2), (100, 3)], ids=str)
def test_the_budget_is_spent_and_no_more(queries: int, rounds: int) -> None:
    here, box = attacker(epochs=2)
    made = Extraction(queries=queries, start=20, epochs=1).build(here, [])
    asked = torch.cat(box.seen)
    assert len(asked) == made.record["queries"] == queries
    assert made.record["rounds"] == rounds
    assert len({tuple(x) for x in asked.flatten(1).tolist()}) == queries  # none twice
    assert torch.equal((asked * 255).round() / 255, asked)  # on the grid of 8 bits
    assert float(asked.min()) >= 0
    assert float(asked.max()) <= 1


def test_new_images_are_a_step_from_known_ones() -> None:
    here, box = attacker(epochs=2)
    Extraction(queries=40, start=20, step=0.1, epochs=1).build(here, [])
    asked = torch.cat(box.seen)
    known, new = asked[:20], asked[20:]
    apart = (new[:, None] - known[None]).abs().flatten(2).amax(2).amin(1)
    assert float((apart - 0.1).abs().max()) < 0.5 / 255 + 1e-6
    own = here.train.pixels
    assert all(bool((own == x).flatten(1).all(1).any()) for x in known)


def test_passes_are_those_of_all_trainings_and_of_the_steps() -> None:
    here, _ = attacker(epochs=5)
    made = Extraction(queries=70, start=20, epochs=2).build(here, [])
    rounds = (2 + 1) * 20 + (2 + 1) * 40  # two epochs and one gradient each
    assert made.passes.forward == made.passes.backward == rounds + 5 * 70


def test_true_labels_are_never_used() -> None:
    here, _ = attacker()
    blind = replace(
        here,
        train=ImageSet(here.train.images, torch.zeros_like(here.train.labels), here.train.ids),
        validation=ImageSet(here.validation.images, torch.zeros_like(here.validation.labels), here.validation.ids),
    )
    stage = Extraction(queries=60, start=20)
    assert same(dict(stage.build(here, []).members[0]), dict(stage.build(blind, []).members[0]))


def test_plain_asks_about_own_images_and_trains_on_the_answers() -> None:
    here, box = attacker(lambda x: torch.full((len(x),), 2))  # one who always says 2
    made = Extraction(queries=60, augmentation="plain").build(here, [])
    asked, own = torch.cat(box.seen), here.train.pixels
    assert all(bool((own == x).flatten(1).all(1).any()) for x in asked)
    assert here.classifier(made.members[0])(own).argmax(1).tolist() == [2] * len(own)


def test_scores_say_more_than_labels() -> None:
    here, _ = attacker()
    of_scores = Extraction(queries=60, augmentation="plain", answers="scores").build(here, [])
    of_labels = Extraction(queries=60, augmentation="plain").build(here, [])
    assert not same(dict(of_scores.members[0]), dict(of_labels.members[0]))
    unsure = replace(here, asked=lambda x: torch.full((len(x), 3), 1 / 3))
    made = Extraction(queries=60, augmentation="plain", answers="scores").build(unsure, [])
    answer = here.classifier(made.members[0])(here.train.pixels).detach().softmax(1)
    assert float((answer - 1 / 3).abs().mean()) < 0.1


def test_probabilities_and_their_logits_are_one_answer() -> None:
    here, _ = attacker()
    stage = Extraction(queries=60, augmentation="plain", answers="scores")
    probabilities = replace(here, asked=lambda x: bands(x).softmax(1))
    assert same(dict(stage.build(here, []).members[0]), dict(stage.build(probabilities, []).members[0]))


def test_soft_labels_of_certainty_are_hard_labels() -> None:
    here = ground()
    table = torch.nn.functional.one_hot(here.train.labels, 3).float()
    soft = here.trained(adapted(here.recipe, SoftLabels(table=table)))
    hard = here.trained(here.recipe)
    for name, tensor in hard.last.items():
        torch.testing.assert_close(soft.last[name], tensor, rtol=1e-3, atol=1e-4)
    assert SoftLabels(table=table) == SoftLabels(table=table.clone()) != SoftLabels(table=table.flip(1))


def test_a_whole_chain_that_is_told_how_far_it_is() -> None:
    here, _ = attacker(epochs=3)
    told: list[tuple[int, int]] = []
    telling = replace(here, progress=lambda done, total, numbers: told.append((done, total)))
    build(Chain(first=None, then=(Extraction(queries=60, start=20, epochs=2),)), telling)
    assert told == [(i, 7) for i in range(1, 8)]


def test_what_is_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carom.zoo.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == total - 2:
            raise KeyboardInterrupt

    stage = Extraction(queries=40, start=20, epochs=1)
    whole = stage.build(attacker()[0], [])
    here = replace(attacker()[0], checkpoint=tmp_path / "extraction.pt")
    with pytest.raises(KeyboardInterrupt):
        stage.build(replace(here, progress=stop), [])
    assert (tmp_path / "extraction.pt").exists()
    again = stage.build(here, [])
    assert same(dict(whole.members[0]), dict(again.members[0]))
    assert again.passes == whole.passes


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (Extraction(queries=2, start=2), "2 queries for 3 classes; expected at least one for each"),
        (Extraction(queries=151, augmentation="plain"), "queries=151 of 150 images .* augmentation=.jacobian."),
        (Extraction(queries=400, start=151), "start=151 of 150 images of the attacker; expected at most so many"),
    ],
    ids=["classes", "plain", "start"],
)
def test_questions_and_images_that_do_not_suffice(stage: Extraction, message: str) -> None:
    here, box = attacker()
    with pytest.raises(InputError, match=message):
        stage.build(here, [])
    assert not box.seen


def test_nobody_to_ask() -> None:
    with pytest.raises(InputError, match="no black box to ask"):
        Extraction(queries=60, start=20).build(ground("mlp"), [])


@pytest.mark.parametrize(
    ("answer", "answers", "message"),
    [
        (lambda x: torch.zeros(len(x), dtype=torch.int64), "scores", "classes alone; use answers=.labels."),
        (lambda x: torch.full((len(x),), 7), "labels", "answers 7 to 7; expected 0 to 2"),
        (lambda x: torch.zeros(len(x), 5), "labels", r"20 images with \(20, 5\) numbers"),
        (lambda x: torch.full((len(x), 3), float("nan")), "scores", "60 of them not finite"),
    ],
    ids=["labels", "range", "shape", "nan"],
)
def test_answers_of_another_kind(answer: Callable[[Tensor], Tensor], answers: str, message: str) -> None:
    here, _ = attacker(answer)
    with pytest.raises(InputError, match=message):
        Extraction(queries=60, start=20, answers=answers).build(here, [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"queries": 0}, r"queries must be in \[2"),
        ({"step": 0.0}, "step must be in"),
        ({"epochs": 0}, "epochs must be in"),
        ({"queries": 50}, "begins with 100 images, and may ask about 50; lower 'start'"),
    ],
    ids=str,
)
def test_settings_out_of_range(setting: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Extraction(**setting)  # type: ignore[arg-type]
