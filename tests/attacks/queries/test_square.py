"""Square against torchattacks, and piece by piece against its definition."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torchattacks as untyped
from scipy import stats as untyped_stats
from torch import Tensor, nn

from carom.attacks import Gradients, Oracle, Square, craft, craft_images
from carom.attacks.queries.square import _bump, _loss
from carom.budget import Budget, l2
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Classifier, Combination

torchattacks: Any = untyped
stats: Any = untyped_stats
IDS = torch.arange(400)


class NoGradients:
    """A source that must not be read."""

    combination: Combination = "logits"

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        raise AssertionError("a query attack read the source")


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """A network that tells ten blurred random colour patterns apart, and 400 8-bit images that it gets right."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        patterns = nn.functional.interpolate(torch.rand(10, 3, 4, 4), size=(16, 16), mode="bilinear")
        y = torch.arange(1200) % 10
        x = (0.3 * patterns[y] + 0.35 + 0.15 * torch.randn(1200, 3, 16, 16)).clamp(0, 1)
        pixels = (x * 255).round().to(torch.uint8)
        net = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(144, 10),
        )  # fmt: skip
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            loss: Any = nn.functional.cross_entropy(net(pixels[:800].float() / 255), y[:800])
            loss.backward()
            optimizer.step()
    net = net.eval().requires_grad_(False)
    right = (net(pixels.float() / 255).argmax(1) == y).nonzero()[:, 0][:400]
    assert len(right) == 400
    return net, pixels[right], y[right]


def success(net: nn.Module, images: Tensor, y: Tensor) -> Tensor:
    predicted: Tensor = net(images.float() / 255 if images.dtype == torch.uint8 else images).argmax(1)
    return (predicted != y).double()


@pytest.mark.thorough
@pytest.mark.parametrize(("norm", "eps"), [("linf", "12/255"), ("l2", "1.2")])
def test_as_successful_as_torchattacks_at_equal_queries(norm: str, eps: str, trained: Any, source_of: Any) -> None:
    """The peer draws one square for all images of a call, so groups of 20 are what varies, not images."""
    net, pixels, y = trained
    budget = Budget.parse(norm, eps)
    x = pixels.float() / 255
    (made,) = craft_images([(Square(queries=100), budget)], source_of([net]), x, y, seed=0, ids=IDS)
    theirs = []
    for group, rows in enumerate(torch.arange(400).reshape(20, 20)):
        peer = torchattacks.Square(
            net, norm={"linf": "Linf", "l2": "L2"}[norm], eps=float(budget.eps), n_queries=99, p_init=0.8, seed=group,
            loss="margin", resc_schedule=True,
        )  # fmt: skip
        with torch.random.fork_rng():
            theirs.append(success(net, peer(x[rows], y[rows]), y[rows]).mean())
    ours = success(net, made.images, y)
    assert 0.1 < float(ours.mean()) < 0.9  # where a difference would show
    difference = ours.reshape(20, 20).mean(1) - torch.stack(theirs)
    assert abs(float(difference.mean())) <= float(stats.t.ppf(0.975, 19)) * float(difference.std()) / 20**0.5


@pytest.mark.parametrize("side", [*range(2, 12)])
def test_a_bump_is_that_of_torchattacks(side: int) -> None:
    peer = torchattacks.Square(nn.Identity())
    peer.device = torch.device("cpu")
    theirs = peer.eta(side)
    ours = _bump(side).float()
    assert torch.allclose(ours, theirs, atol=1e-6) or torch.allclose(ours, theirs.T, atol=1e-6)
    assert float(ours.norm()) == pytest.approx(1, abs=1e-6)


def test_squares_shrink_as_the_schedule_says() -> None:
    """Of 10,000 queries, the share of pixels halves after 10, 50, 200, 500, 1,000, 2,000, 4,000, 6,000 and 8,000."""
    whole = Square(queries=10_000, fraction=1.0)
    squares = [whole.side(query, 64, 64, "linf") ** 2 for query in (11, 12, 51, 52, 201, 202, 8001, 8002, 9999)]
    halved = [0, 1, 1, 2, 2, 3, 8, 9, 9]
    assert squares == [round((4096 / 2**halvings) ** 0.5) ** 2 for halvings in halved]
    scaled = Square(queries=200, fraction=1.0)
    assert [scaled.side(query, 64, 64, "linf") for query in (1, 2, 3, 199)] == [64, 45, 32, 3]
    unscaled = Square(queries=200, fraction=whole.fraction, schedule=whole.queries)
    assert [unscaled.side(query, 64, 64, "linf") for query in range(1, 200)] == [
        whole.side(query, 64, 64, "linf") for query in range(1, 200)
    ]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (8, 7), (16, 16)])
def test_squares_fit_the_image_and_bumps_have_a_middle(height: int, width: int) -> None:
    for query in range(1, 50):
        assert 1 <= Square(queries=50).side(query, height, width, "linf") <= min(height, width)
        side = Square(queries=50).side(query, height, width, "l2")
        assert side % 2 == 1
        assert 1 <= side <= min(height, width)


def asked_about(norm: str, queries: int, x: Tensor, answer: Any, eps: str) -> list[Tensor]:
    seen: list[Tensor] = []

    def asked(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return answer(images)  # type: ignore[no-any-return]

    y = torch.zeros(len(x), dtype=torch.int64)
    gradients = Gradients(NoGradients(), x, y, oracle=Oracle(asked, len(x)))
    Square(queries=queries)(gradients, Budget.parse(norm, eps), Draws(3, torch.arange(len(x))))
    return seen


def stubborn(images: Tensor) -> Tensor:
    """Class 0, never less sure: no proposal is kept."""
    return torch.tensor([[1.0, 0.0]]).repeat(len(images), 1)


def test_linf_begins_with_stripes_and_changes_one_square_of_one_sign_a_channel() -> None:
    x = torch.full((3, 2, 12, 12), 0.5)
    first, *others = asked_about("linf", 30, x, stubborn, "1/10")
    assert torch.allclose((first - x).abs(), torch.tensor(0.1))
    assert torch.equal(first, first[:, :, :1].expand_as(first))
    for query, seen in enumerate(others, start=1):
        side = Square(queries=30).side(query, 12, 12, "linf")
        for image, before in zip(seen, first, strict=True):
            changed = (image - before).abs() > 1e-6
            where = changed.any(0).nonzero()
            assert bool(changed.any())  # no query is spent on what is known
            assert int((where.amax(0) - where.amin(0)).max()) < side
            assert torch.allclose((image - 0.5).abs(), torch.tensor(0.1))
        assert not torch.equal(seen[0] - first[0], seen[1] - first[1])  # each image its own square


def test_l2_stays_on_the_sphere_where_pixels_are_free() -> None:
    x = torch.full((3, 2, 12, 12), 0.5)
    for seen in asked_about("l2", 20, x, stubborn, "1/2"):
        assert torch.allclose(l2(seen - x), torch.tensor(0.5), atol=1e-5)


def test_only_what_lowers_the_loss_is_kept() -> None:
    x = torch.full((2, 1, 8, 8), 0.5)

    def answer(images: Tensor) -> Tensor:  # surer of class 0 the brighter the first row
        return torch.stack((5 + images[:, 0, 0].sum(1), torch.zeros(len(images))), 1)

    seen = asked_about("linf", 60, x, answer, "1/10")
    y = torch.zeros(2, dtype=torch.int64)
    gradients = Gradients(NoGradients(), x, y, oracle=Oracle(answer, 2))
    made = Square(queries=60)(gradients, Budget.parse("linf", "1/10"), Draws(3, torch.arange(2)))
    lowest = torch.stack([_loss(answer(images), y, None) for images in seen]).amin(0)
    assert torch.equal(_loss(answer(made), y, None), lowest)
    assert bool((lowest < _loss(answer(seen[0]), y, None)).all())


def test_losses_are_the_margin_and_the_targets_cross_entropy() -> None:
    scores, y, target = torch.tensor([[1.0, 4.0, 2.0], [3.0, 0.0, -1.0]]), torch.tensor([1, 2]), torch.tensor([0, 0])
    assert _loss(scores, y, None).tolist() == [2.0, -4.0]
    torch.testing.assert_close(_loss(scores, y, target), nn.functional.cross_entropy(scores, target, reduction="none"))


def test_targeted_reaches_its_class(trained: Any, source_of: Any) -> None:
    net, pixels, y = trained[0], trained[1][:40], trained[2][:40]
    target = (y + 3) % 10
    pair = [(Square(queries=150), Budget.parse("linf", "48/255"))]
    (made,) = craft(pair, source_of([net]), pixels, y, seed=0, ids=IDS[:40], target=target)
    hits = net(made.images.float() / 255).argmax(1) == target
    assert bool(hits[made.columns["queries"] < 150].all())
    assert float(hits.double().mean()) > 0.5


def test_a_start_is_asked_first_and_not_changed_in_place() -> None:
    x = torch.full((2, 1, 8, 8), 0.5)
    start = x + 0.03
    seen: list[Tensor] = []

    def answer(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return torch.stack((1 + images.flatten(1).sum(1), torch.zeros(len(images))), 1)

    y = torch.zeros(2, dtype=torch.int64)
    gradients = Gradients(NoGradients(), x, y, oracle=Oracle(answer, 2))
    Square(queries=20).from_start(gradients, Budget.parse("linf", "1/10"), Draws(3, torch.arange(2)), start)
    assert torch.equal(seen[0], x + 0.03)
    assert torch.equal(start, x + 0.03)
    assert not torch.equal(seen[-1], start)


@pytest.mark.parametrize("fields", [{"queries": 0}, {"fraction": 0.0}, {"fraction": 1.5}])
def test_fields_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^square: (queries|fraction) must be "):
        Square(**fields)
