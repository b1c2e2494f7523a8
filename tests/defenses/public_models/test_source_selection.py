"""Transfer between public models by plain loops, and which of them are chosen."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from tests.defenses.conftest import ground, images

from carom.attacks import Iterative, Uniform
from carom.budget import Budget
from carom.defenses.defense import PublicModel
from carom.defenses.public_models.adversarial_copies import adversarial_copy
from carom.defenses.public_models.source_selection import check_pool, drawn, groups_of, selected, transfer_matrix
from carom.errors import InputError
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create, weights

MLP = architecture({"name": "mlp", "width": 8, "depth": 1})
PGD = Iterative(start=Uniform(), steps=3, step=Fraction(1, 3))
BUDGET = Budget(norm="linf", eps=Fraction(24, 255))


def public(label: str, group: str, seed: int = 0) -> PublicModel:
    return PublicModel(label=label, group=group, classifier=create(MLP, shape=(1, 8, 8), classes=3, seed=seed).eval())


POOL = [public("a", "normal", 1), public("b", "linf", 2), public("c", "linf", 3)]


def test_transfer_by_plain_loops() -> None:
    looked_at = images(20, seed=5)
    found = transfer_matrix(POOL, looked_at, attack=PGD, budget=BUDGET, seed=7)
    for s, source in enumerate(POOL):
        made = adversarial_copy(source, looked_at, attack=PGD, budget=BUDGET, seed=7, device=torch.device("cpu"))
        assert torch.equal(made.images, found.sets[s])
        assert not torch.equal(made.images, looked_at.images)
        for t, judge in enumerate(POOL):
            right = 0
            for image, label in zip(made.images, looked_at.labels, strict=True):
                with torch.no_grad():
                    right += int(judge.classifier(image[None].float() / 255).argmax()) == int(label)
            assert float(found.accuracy[s, t]) == right / 20
    assert (found.passes.forward, found.passes.backward) == (3 * 20 * 3 + 9 * 20, 3 * 20 * 3)
    assert len({float(v) for v in found.accuracy.flatten()}) > 2


def test_each_copy_and_each_model_draws_its_own() -> None:
    looked_at = images(12)
    starts = Iterative(start=Uniform(), steps=1, step=Fraction(1, 10**6))
    made = [
        adversarial_copy(
            model, looked_at, attack=starts, budget=BUDGET, seed=7, copy=copy, device=torch.device("cpu")
        ).images
        for model in POOL[:2]
        for copy in (0, 1)
    ]
    assert all(not torch.equal(one, two) for i, one in enumerate(made) for two in made[:i])


def test_the_source_whose_examples_fool_the_others_most_is_chosen() -> None:
    # row b: (0.5 + 0.3) / 2 = 0.4; row c: (0.1 + 0.5) / 2 = 0.3, its own accuracy of 0 not counted
    accuracy = torch.tensor([[0.0, 0.9, 0.9], [0.5, 0.9, 0.3], [0.1, 0.5, 0.95]], dtype=torch.float64)
    assert selected(accuracy, POOL, ["linf", "normal"]) == (2, 0)
    accuracy[1, 0] = 0.29
    assert selected(accuracy, POOL, ["linf", "normal"]) == (1, 0)


def test_of_equals_the_more_robust_is_chosen_then_the_first() -> None:
    accuracy = torch.tensor([[0.0, 0.9, 0.9], [0.0, 0.2, 0.3], [0.1, 0.2, 0.3]], dtype=torch.float64)
    own = accuracy.diagonal()
    assert accuracy[1].sum() - own[1] < accuracy[2].sum() - own[2]  # by rounding alone
    assert selected(accuracy, POOL, ["linf"]) == (2,)
    accuracy[1, 1] = 0.31
    assert selected(accuracy, POOL, ["linf"]) == (1,)
    accuracy[1, 1] = 0.3
    assert selected(accuracy, POOL, ["linf"]) == (1,)


def test_alone_in_the_pool() -> None:
    assert selected(torch.tensor([[0.5]], dtype=torch.float64), POOL[:1], ["normal"]) == (0,)


def test_drawn_sources_are_of_their_groups_and_stay_when_groups_go() -> None:
    pool = [*POOL, public("d", "normal"), public("e", "linf")]
    draws = {drawn(pool, ["linf", "normal"], seed) for seed in range(40)}
    assert draws == {(linf, normal) for linf in (1, 2, 4) for normal in (0, 3)}
    even = [public(str(i), "ab"[i % 2]) for i in range(6)]
    assert {drawn(even, "ab", seed) for seed in range(80)} == {(a, b) for a in (0, 2, 4) for b in (1, 3, 5)}
    for seed in range(5):
        assert drawn(pool, ["linf"], seed) == drawn(pool, ["linf", "normal"], seed)[:1]


def test_groups() -> None:
    assert groups_of([model.group for model in POOL], ()) == ("linf", "normal")
    assert groups_of([model.group for model in POOL], ("normal",)) == ("normal",)
    with pytest.raises(
        InputError,
        match=r"^pubdef: no public model is of group 'lin'; did you mean 'linf'\? \(groups of the pool: linf, n",
    ):
        groups_of([model.group for model in POOL], ("normal", "lin"))


def test_pools_that_cannot_be_learnt_from() -> None:
    here = replace(ground(), architecture=MLP)
    with pytest.raises(InputError, match=r"^pubdef: the public pool is empty; name at least one public model$"):
        check_pool([], here, ())
    with pytest.raises(InputError, match=r"^pubdef: the label 'a' stands twice in the public pool"):
        check_pool([*POOL, public("a", "l2", 9)], here, ())
    other = PublicModel(label="x", group="l2", classifier=create(MLP, shape=(1, 8, 8), classes=4).eval())
    with pytest.raises(InputError, match=r"^pubdef: public model 'x' takes images \(1, 8, 8\) of 4 classes, expected"):
        check_pool([*POOL, other], here, ())
    check_pool(POOL, here, ())
    check_pool(POOL, here, (weights(public("other", "normal", 4).classifier),))
    with pytest.raises(InputError, match=r"^pubdef: public model 'b' has the weights that the defended model starts"):
        check_pool(POOL, here, (weights(public("same", "normal", 2).classifier),))


def test_a_stored_matrix_is_the_same_and_nothing_is_crafted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = images(9)
    first = transfer_matrix(POOL, looked_at, attack=PGD, budget=BUDGET, seed=7, stored=tmp_path / "new")
    monkeypatch.setattr("carom.defenses.public_models.adversarial_copies.craft", None)
    again = transfer_matrix(POOL, looked_at, attack=PGD, budget=BUDGET, seed=7, stored=tmp_path / "new")
    assert torch.equal(first.accuracy, again.accuracy)
    assert first.passes == again.passes
    assert first.seconds == again.seconds > 0
    with pytest.raises(TypeError):  # another seed is another set
        transfer_matrix(POOL, looked_at, attack=PGD, budget=BUDGET, seed=8, stored=tmp_path / "new")
