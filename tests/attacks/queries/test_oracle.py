"""What a target answers is counted, limited and judged as it would be saved; over all query attacks."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from carom.attacks import (
    Bayes,
    Gradients,
    Oracle,
    Passes,
    Square,
    SubspaceRandom,
    TransferThenQuery,
    craft,
    craft_images,
)
from carom.attacks.queries import bayes as bayes_module
from carom.attacks.queries.oracle import fooled
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import ContractError, InputError, ModelError
from carom.protocols import Attack, Classifier, Combination

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")
ATTACKS: dict[str, Attack] = {
    "square": Square(queries=12),
    "bayes": Bayes(queries=9, initial=6),
    "subspace-random": SubspaceRandom(queries=12),
}
every_attack = pytest.mark.parametrize("name", ATTACKS)
every_attack_and_budget = pytest.mark.parametrize(
    ("name", "budget"),
    [
        pytest.param(name, budget, id=f"{name}-{budget.norm}", marks=[pytest.mark.thorough] if slow else [])
        for name in ATTACKS
        for budget, slow in ((LINF, False), (L2, name == "bayes"))
    ],
)


@pytest.fixture(autouse=True, scope="module")
def no_fits() -> Iterator[None]:
    """Hyper-parameters near the modes of their priors: fitting takes its time, and belongs to test_bayes."""

    def fitted(points: Tensor) -> object:
        like, number = points.new_full(points.shape[1:], 2.0), points.new_tensor
        return bayes_module._Fit(lengthscale=like, noise=number(1e-3), mean=number(-0.9), answers=len(points))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bayes_module, "_fitted", fitted)
        yield


class NoGradients:
    """A source that must not be read."""

    combination: Combination = "logits"

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        raise AssertionError("a query attack read the source")


class Watching:
    """Answers as a network does, and keeps what it was asked about."""

    def __init__(self, network: Any, *, labels: bool = False) -> None:
        self.network, self.labels = network, labels
        self.seen: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        logits: Tensor = self.network(x)
        return logits.argmax(1) if self.labels else logits


def never(x: Tensor) -> Tensor:
    """Scores of a target that nothing fools: class 0 everywhere, a little less sure of darker images."""
    scores = torch.zeros(len(x), 6, dtype=x.dtype)
    scores[:, 0] = 1 + x.flatten(1).mean(1)
    return scores


def test_each_image_has_its_own_count_and_a_row_may_be_asked_twice() -> None:
    oracle = Oracle(lambda x: x.flatten(1)[:, :3], 4)
    x = torch.rand(3, 1, 2, 2)
    oracle.scores(x, torch.tensor([0, 2, 2]))
    oracle.labels(x[:1], torch.tensor([3]))
    assert oracle.queries.tolist() == [1, 0, 2, 1]


def test_past_the_budget_is_refused_in_one_line_and_the_target_is_not_asked() -> None:
    asked = []

    def answer(x: Tensor) -> Tensor:
        asked.append(len(x))
        return x.flatten(1)[:, :3]

    oracle = Oracle(answer, 2).limited(2)
    x, rows = torch.rand(2, 1, 2, 2), torch.arange(2)
    oracle.scores(x, rows)
    oracle.scores(x[:1], rows[:1])
    with pytest.raises(ContractError, match=r"^oracle: query 3 about image 0, but .* is 2 queries an image$"):
        oracle.scores(x, rows)
    assert asked == [2, 1]
    assert oracle.queries.tolist() == [2, 1]


def test_a_second_limit_only_lowers_the_first() -> None:
    oracle = Oracle(lambda x: x.flatten(1), 1, limit=5)
    assert oracle.limited(9).limit == 5
    assert oracle.limited(3).limit == 3
    with pytest.raises(InputError, match="at least 1"):
        Oracle(lambda x: x, 1, limit=0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: torch.full((len(x), 3), torch.nan), "NaN"),
        (lambda x: torch.zeros(len(x) + 1, 3), "shape"),
        (lambda x: torch.zeros(len(x), 3, 1), "shape"),
        (lambda x: torch.zeros(len(x), dtype=torch.int64), "labels only"),
    ],
)
def test_answers_that_cannot_be_used_are_refused(answer: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Oracle(answer, 2).scores(torch.rand(2, 1, 2, 2), torch.arange(2))


def test_scores_of_minus_infinity_are_an_answer() -> None:
    oracle = Oracle(lambda x: torch.tensor([[-torch.inf, 0.0]]), 1)
    assert oracle.labels(torch.rand(1, 1, 2, 2), torch.arange(1)).tolist() == [1]


def test_targeted_success_is_the_target_and_untargeted_any_other_class() -> None:
    """Trap 27: true labels handed to a targeted attack, or any change counted as a hit."""
    labels, y, target = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])
    assert fooled(labels, y, None).tolist() == [False, True, True]
    assert fooled(labels, y, target).tolist() == [False, True, False]


@every_attack
def test_no_target_to_ask_is_said_in_one_line(name: str, batch: Any) -> None:
    gradients = Gradients(NoGradients(), batch.pixels.float() / 255, batch.y)
    with pytest.raises(InputError, match=f"^attack: {name} asks a target, and there is none; "):
        ATTACKS[name](gradients, LINF, Draws(0, batch.ids))


@every_attack_and_budget
@pytest.mark.parametrize("targeted", [False, True])
def test_it_reads_answers_and_no_gradient(name: str, budget: Budget, targeted: bool, source: Any, batch: Any) -> None:
    target = batch.target if targeted else None
    options: dict[str, Any] = {"seed": 1, "ids": batch.ids, "target": target}
    asked = Watching(source.networks[0], labels=name != "square")
    (made,) = craft([(ATTACKS[name], budget)], NoGradients(), batch.pixels, batch.y, asked=asked, **options)
    (own,) = craft([(ATTACKS[name], budget)], source, batch.pixels, batch.y, **options)
    assert torch.equal(made.images, own.images)  # the source's own answers are those of its network
    assert made.passes == own.passes == Passes(int(own.columns["queries"].sum()), 0)
    assert own.passes.forward == sum(len(x) for x in asked.seen)


@every_attack_and_budget
@pytest.mark.parametrize("targeted", [False, True])
def test_what_fooled_the_target_is_what_is_saved(
    name: str, budget: Budget, targeted: bool, source: Any, batch: Any
) -> None:
    """Traps 14 and 15: success is that of the stored 8-bit image, linf radii of no whole level included."""
    wide = Budget(norm=budget.norm, eps=budget.eps * 5 + Fraction(1, 700))
    target = batch.target if targeted else None
    asked = Watching(source.networks[0])
    (made,) = craft(
        [(ATTACKS[name], wide)], source, batch.pixels, batch.y, seed=1, ids=batch.ids, target=target, asked=asked
    )
    wide.check(made.images, batch.pixels)
    stored = made.images.float() / 255
    hit = fooled(source.networks[0](stored).argmax(1), batch.y, target)
    stopped = made.columns["queries"] < ATTACKS[name].passes().forward
    assert bool(hit[stopped].all())  # who stopped early has a reason that was saved
    assert targeted or bool(stopped.any())
    last_asked = torch.cat(asked.seen)
    for image in stored[stopped]:
        assert bool((last_asked == image).flatten(1).all(1).any())


@every_attack
def test_images_that_are_not_rounded_are_judged_as_they_are(name: str, source: Any, batch: Any) -> None:
    asked = Watching(source.networks[0])
    x = batch.pixels.float() / 255
    wide = Budget.parse("l2", "6")
    (made,) = craft_images([(ATTACKS[name], wide)], source, x, batch.y, seed=1, ids=batch.ids, asked=asked)
    stopped = made.columns["queries"] < ATTACKS[name].passes().forward
    assert bool((source.networks[0](made.images).argmax(1) != batch.y)[stopped].all())
    assert bool(stopped.any())
    assert any(not torch.equal((seen * 255).round() / 255, seen) for seen in asked.seen)


@every_attack_and_budget
def test_an_image_stops_at_its_first_success_and_costs_nothing_after(name: str, budget: Budget, batch: Any) -> None:
    """Every image is fooled by its third query; the counter says three, whatever the budget of the others."""
    limit = ATTACKS[name].passes().forward
    asked = [0]

    def third_time(x: Tensor) -> Tensor:
        asked[0] += 1
        scores = torch.zeros(len(x), 6)
        scores[:, 1 if asked[0] == 3 else 0] = 1.0
        return scores

    (made,) = craft(
        [(ATTACKS[name], budget)],
        NoGradients(),
        batch.pixels,
        torch.zeros_like(batch.y),
        seed=1,
        ids=batch.ids,
        asked=third_time,
    )
    assert made.columns["queries"].tolist() == [3] * 5
    assert asked == [3]
    assert limit > 3


@every_attack_and_budget
def test_who_never_succeeds_spends_all_and_no_more(name: str, budget: Budget, batch: Any) -> None:
    y = torch.zeros_like(batch.y)
    (made,) = craft([(ATTACKS[name], budget)], NoGradients(), batch.pixels, y, seed=1, ids=batch.ids, asked=never)
    assert made.columns["queries"].tolist() == [ATTACKS[name].passes().forward] * 5


@every_attack_and_budget
def test_neither_the_batch_nor_answers_about_other_images_matter(
    name: str, budget: Budget, source64: Any, batch: Any
) -> None:
    """Traps 6 to 9: the same image, alone, in another order, or beside images that are fooled at once."""

    def made(rows: Tensor, y: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
        x = batch.pixels[rows].double() / 255
        (crafted,) = craft_images([(ATTACKS[name], budget)], source64, x, y, seed=1, ids=batch.ids[rows], chunk=chunk)
        return crafted.images, crafted.columns["queries"]

    images, queries = made(torch.arange(5), batch.y, 5)
    order = torch.tensor([3, 0, 4, 2, 1])
    again, again_queries = made(order, batch.y[order], 2)
    torch.testing.assert_close(again, images[order], rtol=0, atol=1e-9)
    assert torch.equal(again_queries, queries[order])
    lucky = batch.y.clone()
    lucky[0] = (lucky[0] + 1) % 6  # wrong already, so its first query is its last
    beside, beside_queries = made(torch.arange(5), lucky, 5)
    assert beside_queries[0] == 1
    torch.testing.assert_close(beside[1:], images[1:], rtol=0, atol=1e-9)
    assert torch.equal(beside_queries[1:], queries[1:])


@pytest.mark.parametrize("name", ["square", "subspace-random", pytest.param("bayes", marks=pytest.mark.thorough)])
def test_draws_follow_seed_and_id(name: str, batch: Any) -> None:
    def made(seed: int, ids: Tensor) -> Tensor:
        y = torch.zeros_like(batch.y)
        (crafted,) = craft([(ATTACKS[name], LINF)], NoGradients(), batch.pixels, y, seed=seed, ids=ids, asked=never)
        return crafted.images

    assert torch.equal(made(1, batch.ids), made(1, batch.ids))
    assert not torch.equal(made(1, batch.ids), made(2, batch.ids))
    assert not torch.equal(made(1, batch.ids)[0], made(1, batch.ids + 1)[0])


@every_attack
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_radius_asks_nothing(name: str, norm: str, source: Any, batch: Any) -> None:
    (made,) = craft([(ATTACKS[name], Budget.parse(norm, 0))], source, batch.pixels, batch.y, seed=1, ids=batch.ids)
    assert torch.equal(made.images, batch.pixels)
    assert made.passes == Passes()
    assert not made.columns


@every_attack_and_budget
def test_labels_are_enough_but_for_square(name: str, budget: Budget, source: Any, batch: Any) -> None:
    def asked(x: Tensor) -> Tensor:
        return source.networks[0](x).argmax(1)  # type: ignore[no-any-return]

    pair = [(ATTACKS[name], budget)]
    if name == "square":
        with pytest.raises(ModelError, match="hard-label"):
            craft(pair, NoGradients(), batch.pixels, batch.y, seed=1, ids=batch.ids, asked=asked)
    else:
        craft(pair, NoGradients(), batch.pixels, batch.y, seed=1, ids=batch.ids, asked=asked)


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["square", "bayes", "subspace-random", "transfer-then-query"]),
    norm=st.sampled_from(["linf", "l2"]),
    eps=st.fractions(min_value=0, max_value=1, max_denominator=2000),
    queries=st.integers(min_value=1, max_value=9),
    height=st.integers(min_value=1, max_value=11),
    width=st.integers(min_value=1, max_value=11),
    channels=st.integers(min_value=1, max_value=3),
    stubborn=st.booleans(),
    seed=st.integers(min_value=0, max_value=99),
)
def test_never_more_queries_than_the_budget(
    kind: str,
    norm: str,
    eps: Fraction,
    queries: int,
    height: int,
    width: int,
    channels: int,
    stubborn: bool,
    seed: int,
) -> None:
    """Budgets are held by the target, image by image, whatever the sizes; and the set stays in its ball."""
    attacks: dict[str, Attack] = {
        "square": Square(queries=queries),
        "bayes": Bayes(queries=queries, initial=8, size=2),
        "subspace-random": SubspaceRandom(queries=queries),
        "transfer-then-query": TransferThenQuery(query=Square(queries=queries)),
    }
    weights = torch.linspace(-3, 3, channels * height * width * 4).sin().reshape(4, -1)

    class Linear:
        combination: Combination = "logits"

        def members(self, step: int, copy: int) -> Sequence[Classifier]:
            return [lambda x: x.flatten(1) @ weights.T]

    def asked(x: Tensor) -> Tensor:
        return never(x)[:, :4] if stubborn else x.flatten(1) @ weights.T

    pixels = (torch.arange(3 * channels * height * width) * 37 % 256).to(torch.uint8)
    pixels = pixels.reshape(3, channels, height, width)
    y = torch.zeros(3, dtype=torch.int64)
    budget = Budget(norm=norm, eps=eps)  # type: ignore[arg-type]
    (made,) = craft([(attacks[kind], budget)], Linear(), pixels, y, seed=seed, ids=torch.arange(3), asked=asked)
    if eps > 0:
        assert int(made.columns["queries"].max()) <= queries
        assert int(made.columns["queries"].min()) >= 1
        assert not stubborn or made.columns["queries"].tolist() == [queries] * 3
