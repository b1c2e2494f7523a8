from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import config
from torch import Tensor

from carom.attacks import (
    ATTACKS,
    CONTROLS,
    Gradients,
    Iterative,
    Oracle,
    Partners,
    Passes,
    craft,
    craft_control,
    craft_images,
    parse_attack,
    parse_control,
)
from carom.attacks.crafting.chunks import chunk_size
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import ContractError, InputError

LINF = Budget.parse("linf", "16/255")
JOBS = [(parse_attack(name), budget) for name in ("fgsm", "mi+di") for budget in (LINF, Budget.parse("l2", "1"))]


def test_several_attacks_together_equal_each_alone(source: Any, batch: Any) -> None:
    together = craft(JOBS, source, batch.pixels, batch.y, seed=1, ids=batch.ids)
    assert len(together) == len(JOBS)
    for job, one in zip(JOBS, together, strict=True):
        (alone,) = craft([job], source, batch.pixels, batch.y, seed=1, ids=batch.ids)
        assert torch.equal(one.images, alone.images)
        assert one.passes == alone.passes == Passes(5 * job[0].passes().forward, 5 * job[0].passes().backward)
        assert one.images.dtype == torch.uint8


def test_progress_counts_images_over_all_sets(source: Any, batch: Any) -> None:
    seen: list[tuple[int, int]] = []
    craft(JOBS[:2], source, batch.pixels, batch.y, seed=1, ids=batch.ids, chunk=2, progress=lambda *a: seen.append(a))
    assert seen == [(2, 10), (4, 10), (6, 10), (8, 10), (9, 10), (10, 10)]


def test_no_images_give_an_empty_set(source: Any, batch: Any) -> None:
    (empty,) = craft(JOBS[:1], source, batch.pixels[:0], batch.y[:0], seed=1, ids=batch.ids[:0])
    assert empty.images.shape == (0, 3, 8, 7)
    assert empty.passes == Passes()
    assert empty.zero_gradients == 0
    (none,) = craft_images(JOBS[:1], source, batch.pixels[:0].float(), batch.y[:0], seed=1)
    assert none.images.shape == (0, 3, 8, 7)


def test_a_chunk_has_at_least_one_image(source: Any, batch: Any) -> None:
    with pytest.raises(InputError, match="chunk must be at least 1, got 0"):
        craft(JOBS, source, batch.pixels, batch.y, seed=1, ids=batch.ids, chunk=0)


def test_chunks_shrink_with_the_side_of_the_images() -> None:
    cpu = torch.device("cpu")
    sizes = [
        chunk_size(shape, cpu) for shape in ((1, 16, 16), (3, 32, 32), (3, 64, 64), (3, 224, 224), (3, 4000, 4000))
    ]
    assert sizes == [128, 64, 32, 9, 1]


def test_an_attack_that_leaves_its_ball_is_refused(source: Any, batch: Any) -> None:
    class Cheat(Iterative):
        def __call__(self, reader: Any, budget: Any, draws: Any) -> Any:
            return (reader.x + 0.5).clamp(0, 1)

    with pytest.raises(ContractError, match=r"linf distance 0\.5"):
        craft_images([(Cheat(), LINF)], source, batch.pixels.float() / 255, batch.y, seed=1)


def test_what_is_not_a_number_is_refused(source: Any, batch: Any) -> None:
    class Broken(Iterative):
        def __call__(self, reader: Any, budget: Any, draws: Any) -> Any:
            return reader.x * float("nan")

    with pytest.raises(ContractError, match="nan"):
        craft_images([(Broken(), LINF)], source, batch.pixels.float() / 255, batch.y, seed=1)
    with pytest.raises(ContractError, match="not finite"):
        craft([(Broken(), LINF)], source, batch.pixels, batch.y, seed=1, ids=batch.ids)


def test_on_a_gpu_the_draws_are_the_same(source_of: Any, network: Any, batch: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    jobs = [(parse_attack("pgd+di+si"), LINF)]
    (cpu,) = craft(jobs, source_of([network(0)]), batch.pixels, batch.y, seed=1, ids=batch.ids)
    gpu_source = source_of([network(0).cuda()])
    (gpu,) = craft(jobs, gpu_source, batch.pixels, batch.y, seed=1, ids=batch.ids, device=torch.device("cuda"))
    assert gpu.images.device == batch.pixels.device
    assert float((gpu.images != cpu.images).double().mean()) < 0.01
    controls = [(parse_control("sign-noise"), LINF)]
    (here,) = craft_control(controls, batch.pixels, seed=1, ids=batch.ids)
    (there,) = craft_control(controls, batch.pixels, seed=1, ids=batch.ids, device=torch.device("cuda"))
    assert torch.equal(here.images, there.images)


def test_every_name_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "attacks.md").read_text()
    for name in (*ATTACKS, *CONTROLS):
        assert f"`{name}`" in page, name
    for part in ATTACKS.values():
        assert part.paper in page


def test_what_a_query_attack_asks_is_the_target_as_it_is_whatever_path_its_transfer_took(
    source: Any, batch: Any
) -> None:
    """A ghost network answers otherwise; found at the first query means fooled, so the real network must agree."""
    attack = parse_attack(
        {"name": "transfer-then-query", "transfer": "ghost", "query": {"name": "square", "queries": 1}}
    )
    seen: list[Tensor] = []

    class Watched:
        combination = "logits"

        def members(self, step: int, copy: int) -> list[Any]:
            return [source.networks[0]]

    gradients = Gradients(Watched(), batch.pixels.float() / 255, batch.y)  # type: ignore[arg-type]

    def answer(x: Tensor) -> Tensor:
        seen.append(gradients.logits(x) - source.networks[0](x))
        return gradients.logits(x)

    gradients.oracle = Oracle(answer, 5)
    attack(gradients, LINF, Draws(1, batch.ids))
    assert seen
    assert all(not bool(difference.any()) for difference in seen)


def test_answers_of_another_target_count_as_passes(source: Any, network: Any, batch: Any) -> None:
    attack = parse_attack({"name": "square", "queries": 7})
    (made,) = craft([(attack, LINF)], source, batch.pixels, batch.y, seed=1, ids=batch.ids, asked=network(3))
    assert made.passes == Passes(int(made.columns["queries"].sum()), 0)


def test_a_column_that_only_some_chunks_note_stays_in_line(source: Any, batch: Any) -> None:
    class Noting(Iterative):
        def __call__(self, reader: Any, budget: Any, draws: Any) -> Any:
            if 3 in draws.ids.tolist():
                reader.note("found", draws.ids)
            return reader.x

    ids = torch.tensor([7, 3, 9, 1, 8])
    (made,) = craft([(Noting(), LINF)], source, batch.pixels, batch.y, seed=1, ids=ids, chunk=1)
    assert made.columns["found"].tolist() == [0, 3, 0, 0, 0]


def test_half_precision_images_and_8_bit_partners_are_refused(source: Any, batch: Any) -> None:
    with pytest.raises(InputError, match="expected float32 or float64 images"):
        craft_images([(Iterative(), LINF)], source, (batch.pixels / 255).half(), batch.y, seed=1)
    with pytest.raises(InputError, match="divide 8-bit images by 255"):
        Partners(batch.pixels.float(), batch.y)


def test_ids_of_another_integer_type_draw_the_same() -> None:
    ids = torch.arange(4)
    assert torch.equal(Draws(0, ids.int()).uniform("di"), Draws(0, ids).uniform("di"))


def test_float_images_must_be_pixels(source: Any, batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)  # as outside tests: the type is the user's mistake
    attacks = [(parse_attack("bim"), LINF)]
    for wrong in (batch.pixels, batch.pixels.float(), batch.pixels.float() / 255 * float("nan")):
        with pytest.raises(InputError, match=r"expected .*\[0, 1\]"):
            craft_images(attacks, source, wrong, batch.y, seed=0)


def test_float_images_stay_in_the_ball_and_get_ids_from_their_bytes(source: Any, batch: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 3, 8, 7, generator=generator)
    (whole,) = craft_images([(parse_attack("pgd+di"), LINF)], source, x, batch.y, seed=0)
    assert whole.images.dtype == torch.float32
    assert float((whole.images - x).abs().max()) <= float(LINF.eps) + 1e-6
    (turned,) = craft_images([(parse_attack("pgd+di"), LINF)], source, x.flip(0), batch.y.flip(0), seed=0)
    torch.testing.assert_close(turned.images.flip(0), whole.images)
