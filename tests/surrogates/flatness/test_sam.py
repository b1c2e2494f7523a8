"""SAM: what it computes, and what it must leave alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.surrogates.by_hand import RATE, A, W, by_hand, same, step, trained, weights
from tests.surrogates.conftest import ground, plain
from torch import Tensor, nn

from carom.errors import InputError
from carom.registry import build
from carom.surrogates.builder import Training
from carom.surrogates.flatness.sam import SAM
from carom.surrogates.probe import Probe, along, norm
from carom.zoo.training.recipes import Adaptation, Recipe, adapted


def test_it_is_a_training_that_adapts_a_recipe() -> None:
    assert isinstance(SAM(), Training)
    assert isinstance(SAM(), Adaptation)
    assert build(SAM, {"rho": 1}, where="sam") == SAM(rho=1.0)


@pytest.mark.parametrize("recipe", [plain(), Recipe(epochs=2, batch_size=16)], ids=["sgd", "adamw"])
def test_radius_zero_is_the_base_optimizer_at_its_cost(recipe: Recipe) -> None:
    here = ground(recipe=recipe)
    base, made = here.trained(recipe), trained(here, SAM(rho=0.0))
    assert same(base.last, made.last)
    assert made.passes == base.passes


def test_a_radius_too_small_to_move_a_weight_is_the_base_optimizer_at_twice_the_cost() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, SAM(rho=1e-30))
    assert same(base.last, made.last)  # batch norm's statistics and counters with them
    assert made.passes.forward == 2 * base.passes.forward


def test_a_step_costs_twice_as_many_passes() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, SAM(rho=0.1))
    assert made.passes.forward == 2 * base.passes.forward == 2 * 3 * 96
    assert made.passes.backward == 2 * base.passes.backward


def test_the_second_gradient_is_read_at_the_global_radius_and_the_step_is_taken_from_the_first_point() -> None:
    state, gradient, read = by_hand()
    step(SAM(rho=0.7), state, gradient)
    assert torch.equal(read[0], W)
    moved = W + 0.7 * A * W / (A * W).norm()
    torch.testing.assert_close(read[1], moved)
    torch.testing.assert_close(weights(state), W - RATE * A * moved)


def test_weight_decay_is_no_part_of_the_ascent() -> None:
    plainly, decayed = by_hand(), by_hand(weight_decay=0.3)
    for state, gradient, _ in (plainly, decayed):
        step(SAM(rho=0.7), state, gradient)
    assert torch.equal(plainly[2][1], decayed[2][1])
    torch.testing.assert_close(weights(plainly[0]) - weights(decayed[0]), RATE * 0.3 * W)


def test_weights_come_back_bit_for_bit() -> None:
    state, gradient, _ = by_hand()
    before = [p.detach().clone() for p in state.classifier.parameters()]
    probe = Probe(state, gradient)
    here = probe.here()
    probe.at([torch.full_like(g, 1e-9 + 1 / 3) for g in here])
    assert all(torch.equal(a, b) for a, b in zip(before, state.classifier.parameters(), strict=True))


def test_a_gradient_of_zero_moves_nothing() -> None:
    shift = along([torch.zeros(3), torch.zeros(2, 2)], 0.5)
    assert all(torch.equal(t, torch.zeros_like(t)) for t in shift)
    assert float(norm([torch.tensor([3.0]), torch.tensor([[4.0]])])) == 5.0


def test_batch_norm_takes_in_the_first_pass_alone() -> None:
    recipe = plain(epochs=1, batch_size=96)  # a single step
    here = ground(recipe=recipe)
    base, made = here.trained(recipe), trained(here, SAM(rho=2.0))
    buffers = [name for name in base.last if "running" in name or "num_batches" in name]
    assert buffers
    assert all(torch.equal(base.last[name], made.last[name]) for name in buffers)
    assert not same(base.last, made.last)


def test_both_passes_drop_the_same_units_and_draw_the_same_numbers() -> None:
    state, gradient, _ = by_hand()
    drawn: list[tuple[Tensor, Tensor]] = []

    def noisy() -> None:
        drawn.append((nn.functional.dropout(torch.ones(64)), torch.rand(8, generator=state.generator)))
        gradient()

    with torch.random.fork_rng():
        torch.manual_seed(3)
        for _ in range(2):
            step(SAM(rho=0.1), state, noisy)
    (mask, draw), (mask_again, draw_again), (next_mask, next_draw), _ = drawn
    assert torch.equal(mask, mask_again)
    assert torch.equal(draw, draw_again)
    assert not torch.equal(mask, next_mask)
    assert not torch.equal(draw, next_draw)


def test_it_finds_a_flatter_place() -> None:
    """What it is for: the loss rises less on the way to the worst weights nearby."""
    here = ground("mlp", recipe=plain(epochs=8, batch_size=32))

    def rise(of: dict[str, Tensor]) -> float:
        classifier = here.classifier(of)
        x, y = here.train.pixels, here.train.labels
        parameters = list(classifier.parameters())
        loss = nn.functional.cross_entropy(classifier(x), y)
        ascent = along(list(torch.autograd.grad(loss, parameters)), 0.5)
        with torch.no_grad():
            for parameter, move in zip(parameters, ascent, strict=True):
                parameter.add_(move)
            return float(nn.functional.cross_entropy(classifier(x), y) - loss)

    base, made = here.trained(here.recipe), trained(here, SAM(rho=0.5))
    assert rise(made.last) < 0.8 * rise(base.last)


def test_what_is_interrupted_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carom.zoo.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    whole = trained(ground(), SAM(rho=0.2))
    here = ground(checkpoint=tmp_path / "sam.pt")
    with pytest.raises(KeyboardInterrupt):
        trained(replace(here, progress=stop), SAM(rho=0.2))
    again = trained(here, SAM(rho=0.2))
    assert same(whole.last, again.last)
    assert again.passes == whole.passes


@pytest.mark.parametrize("rho", [-0.1, float("nan"), 1000.0])
def test_a_radius_out_of_range(rho: float) -> None:
    with pytest.raises(InputError, match=r"sam: rho must be in \[0, 100\], got"):
        SAM(rho=rho)


def test_two_ways_of_training_at_once() -> None:
    with pytest.raises(InputError, match="two ways of training"):
        SAM().recipe(adapted(plain(), SAM()))
