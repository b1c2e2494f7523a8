"""A transferred image first, and queries only where it failed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from carom.attacks import Gradients, Passes, Square, SubspaceRandom, TransferThenQuery, craft, parse_attack
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Attack, Reader

LINF, L2 = Budget.parse("linf", "32/255"), Budget.parse("l2", "2")
QUERY = Square(queries=30)
every_budget = pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)


def made(attack: Attack, budget: Budget, source: Any, batch: Any, asked: Any, target: Tensor | None = None) -> Any:
    (crafted,) = craft(
        [(attack, budget)], source, batch.pixels, batch.y, seed=1, ids=batch.ids, asked=asked, target=target
    )
    return crafted


@every_budget
@pytest.mark.parametrize("targeted", [False, True])
def test_who_is_fooled_by_the_transfer_costs_one_query_and_keeps_it(
    budget: Budget, targeted: bool, source: Any, network: Any, batch: Any
) -> None:
    target = batch.target if targeted else None
    victim = network(1)
    transfer = parse_attack("mi")
    transferred = made(transfer, budget, source, batch, None, target).images
    crafted = made(TransferThenQuery(transfer=transfer, query=QUERY), budget, source, batch, victim, target)
    answers = victim(transferred.float() / 255).argmax(1)
    fooled = answers != batch.y if target is None else answers == target
    assert torch.equal(crafted.columns["queries"] == 1, fooled)
    assert torch.equal(crafted.images[fooled], transferred[fooled])
    assert crafted.passes == Passes(50 + int(crafted.columns["queries"].sum()), 50)  # those of mi, and the victim's
    budget.check(crafted.images, batch.pixels)


def test_it_goes_on_from_the_transferred_image(source: Any, batch: Any) -> None:
    seen: list[Tensor] = []

    def stubborn(x: Tensor) -> Tensor:  # a little less sure of class 0 with every pixel that is darker
        seen.append(x.clone())
        return torch.stack((3 + x.flatten(1).mean(1), *[torch.zeros(len(x))] * 5), 1)

    zero = batch._replace(y=torch.zeros_like(batch.y))
    transferred = made(parse_attack("mi"), LINF, source, zero, None).images.float() / 255
    crafted = made(TransferThenQuery(query=QUERY), LINF, source, zero, stubborn)
    assert torch.equal(seen[0], transferred)
    side = QUERY.side(29, 8, 7, "linf")
    assert side < 7  # so that most of the first proposals' pixels are the start's
    assert bool((crafted.images.float() / 255).flatten(1).mean(1).lt(transferred.flatten(1).mean(1)).all())
    assert crafted.columns["queries"].tolist() == [30] * 5


def test_both_kinds_of_passes_are_counted(source: Any, batch: Any) -> None:
    attack = TransferThenQuery(query=QUERY)
    assert attack.passes() == Passes(10 + 30, 10)
    assert attack.passes(members=3) == Passes(3 * (10 + 30), 3 * 10)
    crafted = made(attack, LINF, source, batch, None)
    asked = int(crafted.columns["queries"].sum())
    assert crafted.passes == Passes(50 + asked, 50)


@every_budget
def test_no_radius_asks_nothing(budget: Budget, source: Any, batch: Any) -> None:
    crafted = made(TransferThenQuery(), Budget.parse(budget.norm, 0), source, batch, None)
    assert torch.equal(crafted.images, batch.pixels)
    assert crafted.passes == Passes()


def test_it_is_written_as_attacks_are() -> None:
    table = {"name": "transfer-then-query", "transfer": "mi+di", "query": {"name": "subspace-random", "queries": 7}}
    attack = parse_attack(table)
    assert attack == TransferThenQuery(transfer=parse_attack("mi+di"), query=SubspaceRandom(queries=7))
    assert parse_attack("transfer-then-query") == TransferThenQuery(transfer=parse_attack("mi"), query=Square())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"query": "mi"}, "Iterative cannot begin at a transferred image"),
        ({"transfer": "square"}, "Square asks the target too"),
    ],
)
def test_parts_in_the_wrong_place_are_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_attack({"name": "transfer-then-query", **fields})


class OnlyL2:
    """A transfer of one norm that cannot aim."""

    norms = ("l2",)
    targeted = False

    def passes(self, members: int = 1) -> Passes:
        return Passes()

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Tensor:
        return reader.x


def test_it_has_the_norms_and_the_aim_that_both_have(source: Any, batch: Any) -> None:
    attack = TransferThenQuery(transfer=OnlyL2(), query=QUERY)  # type: ignore[arg-type]
    made(attack, L2, source, batch, None)
    with pytest.raises(InputError, match="its transfer needs l2 budgets, got linf"):
        made(attack, LINF, source, batch, None)
    with pytest.raises(InputError, match="its transfer cannot aim at a class"):
        made(attack, L2, source, batch, None, batch.target)


def test_no_target_to_ask_is_said_before_any_work(source: Any, batch: Any) -> None:
    gradients = Gradients(source, batch.pixels.float() / 255, batch.y)
    with pytest.raises(InputError, match=r"^attack: transfer-then-query asks a target, and there is none; "):
        TransferThenQuery()(gradients, LINF, Draws(0, batch.ids))
    assert gradients.passes == Passes()
