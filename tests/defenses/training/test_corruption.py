"""Training on corrupted images: each kind does what it says, and a network learns from it."""

import pytest
import torch
from tests.defenses.conftest import ground, images, plain
from torch import Tensor

from carom.defenses.training.corruption import KINDS, Corruption
from carom.errors import InputError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(12, 1, 8, 8), (12, 3, 7, 5)])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_grows_with_severity_and_an_image_is_corrupted_by_its_own(
    kind: str, shape: tuple[int, int, int, int]
) -> None:
    x = torch.rand(shape, generator=seeded(1))
    changes = []
    for severity in (0.1, 1.0):
        made = KINDS[kind](x, torch.full((12,), severity), seeded())
        assert made.shape == x.shape
        changes.append(float((made - x).abs().mean()))
    assert changes[1] > 1.05 * changes[0] > 0
    mixed = KINDS[kind](x, torch.tensor([0.1, 1.0] * 6), seeded())
    alone = KINDS[kind](x, torch.full((12,), 1.0), seeded())
    assert torch.allclose(mixed[1::2], alone[1::2], atol=1e-6)
    assert not torch.allclose(mixed[::2], alone[::2], atol=1e-6)


def test_kinds_by_hand() -> None:
    x = images(4).pixels
    one = torch.ones(4)
    assert torch.allclose(KINDS["contrast"](x, one, seeded()).mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-6)
    assert torch.allclose(KINDS["contrast"](x, one, seeded()).std((1, 2, 3)), 0.2 * x.std((1, 2, 3)), atol=1e-6)
    blocks = KINDS["pixelate"](x, 0 * one, seeded())
    assert torch.allclose(blocks[:, :, :2, :2], x[:, :, :2, :2].mean((2, 3), keepdim=True).expand(4, 1, 2, 2))
    assert torch.allclose((KINDS["brightness"](x, one, seeded()) - x).abs(), torch.tensor(0.4))
    flat = torch.full((4, 1, 8, 8), 0.3)
    assert torch.allclose(KINDS["blur"](flat, one, seeded()), flat)
    shift = KINDS["noise"](torch.zeros(4, 1, 100, 100), one, seeded())
    assert float(shift.std()) == pytest.approx(0.2, rel=0.02)


def test_a_sixth_stays_clean_and_all_stay_in_range() -> None:
    x = images(3000).pixels
    made = Corruption().corrupted(x, seeded())
    same = (made == x).flatten(1).all(1).float().mean()
    assert float(same) == pytest.approx(1 / 6, abs=0.03)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    assert torch.equal(made, Corruption().corrupted(x, seeded()))
    assert not torch.equal(made, Corruption().corrupted(x, seeded(1)))
    mild = Corruption(severity=0.1).corrupted(x, seeded())
    assert float((mild - x).abs().mean()) < 0.5 * float((made - x).abs().mean())


def test_a_network_learns_from_corrupted_images() -> None:
    def accuracy(last: dict[str, Tensor]) -> float:
        data = images(150, seed=7)
        dark = Corruption().corrupted(data.pixels, seeded())
        with torch.no_grad():
            return float((ground().classifier(last)(dark).argmax(1) == data.labels).float().mean())

    recipe = plain(epochs=8)
    found, without = ground().trained(Corruption().recipe(recipe)), ground().trained(recipe)
    assert (found.passes.forward, found.passes.backward) == (8 * 96, 8 * 96)
    assert accuracy(found.last) > accuracy(without.last)
    assert found.history[0].robust_accuracy is None


@pytest.mark.parametrize("severity", [0.0, 1.5, float("nan")])
def test_severity_is_held_to_its_range(severity: float) -> None:
    with pytest.raises(InputError, match="corruption: severity must be in"):
        Corruption(severity=severity)
