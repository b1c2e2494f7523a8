"""Profiles have the distance they are asked for, subsets are nested, and the attacked images are the same for all."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carom.errors import InputError
from carom.identity import content_key
from carom.zoo.tasks.attacked import attacked_images
from carom.zoo.tasks.balance import NAMED, Balance, distance, draw, largest_n, parse_balance
from carom.zoo.tasks.images import SPLITS, ImageSet, Split
from carom.zoo.tasks.splits import apportion

Profiles = st.builds(
    lambda tv, orientation: Balance(total_variation=tv, orientation=orientation if tv else "forward"),
    st.fractions(0, Fraction(45, 100), max_denominator=1000),
    st.sampled_from(["forward", "reversed"]) | st.integers(0, 9),
)


def from_uniform(shares: tuple[float, ...]) -> float:
    return sum(abs(share - 1 / len(shares)) for share in shares) / 2


def images_of(counts: tuple[int, ...], *, first: int = 0) -> ImageSet:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    ids = first + torch.arange(len(labels))
    return ImageSet((ids % 256).to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 3), labels, ids)


@settings(deadline=None)
@given(profile=Profiles, classes=st.integers(2, 120))
def test_proportions_are_as_far_from_uniform_as_asked(profile: Balance, classes: int) -> None:
    shares = profile.proportions(classes)
    assert sum(shares) == pytest.approx(1, abs=1e-12)
    assert from_uniform(shares) == pytest.approx(float(profile.total_variation), abs=1e-12)
    assert min(shares) == profile.min_share(classes)
    assert 0 < profile.entropy(classes) <= 1 + 1e-12


@settings(max_examples=40, deadline=None)
@given(tv=st.fractions(Fraction(1, 100), Fraction(45, 100), max_denominator=100), classes=st.integers(2, 50))
def test_orientations_move_the_same_shares_about(tv: Fraction, classes: int) -> None:
    forward, reversed_, shuffled = (
        Balance(total_variation=tv, orientation=turn).proportions(classes) for turn in ("forward", "reversed", 5)
    )
    assert forward == reversed_[::-1] == tuple(sorted(shuffled, reverse=True))
    assert forward[0] == max(forward)


@settings(deadline=None)
@given(profile=Profiles, classes=st.integers(2, 30), extra=st.integers(0, 5000))
def test_counts_sum_to_n_and_round_each_share(profile: Balance, classes: int, extra: int) -> None:
    n = int(1 / profile.min_share(classes)) + 1 + extra
    counts = profile.counts(n, classes)
    assert sum(counts) == n
    assert all(abs(got - n * share) < 1 for got, share in zip(counts, profile.proportions(classes), strict=True))


@pytest.mark.parametrize(
    ("tv", "classes", "rho"),
    [
        ("0.1", 2, 1.5), ("0.1", 10, 2.07), ("0.1", 100, 2.22),
        ("0.2", 2, 2.33), ("0.2", 10, 4.49), ("0.2", 100, 5.17),
        ("0.3", 2, 4.0), ("0.3", 10, 10.5), ("0.3", 100, 13.3),
    ],
)  # fmt: skip
def test_equal_distance_is_not_equal_ratio(tv: str, classes: int, rho: float) -> None:
    assert parse_balance(f"tv{tv}").rho(classes) == pytest.approx(rho, rel=5e-3)


def test_two_classes_give_the_balances_of_dumb() -> None:
    names = ("uniform", "tv0.1-reversed", "tv0.2-reversed", "tv0.3-reversed")
    counts = [parse_balance(name).counts(1000, 2) for name in names]
    assert counts == [(500, 500), (400, 600), (300, 700), (200, 800)]


def test_distance_between_profiles() -> None:
    forward, reversed_ = parse_balance("tv0.2"), parse_balance("tv0.2-reversed")
    assert distance(forward, forward, 7) == 0
    assert distance(forward, reversed_, 2) == pytest.approx(0.4)
    assert distance(forward, Balance(), 7) == pytest.approx(0.2)
    assert distance(forward, reversed_, 7) == pytest.approx(distance(reversed_, forward, 7))


@pytest.mark.parametrize("name", [*NAMED, "tv1/3", "tv0.25-seed7"])
def test_names_are_read_and_written_back(name: str) -> None:
    assert parse_balance(name).name == name


def test_keys_tell_profiles_apart() -> None:
    names = [*NAMED, "tv0.1-seed1", "tv0.1-seed2"]
    assert len({content_key(parse_balance(name)) for name in names}) == len(names)
    assert content_key(parse_balance("tv.2")) == content_key(parse_balance("tv1/5"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tv0.2-reverse", "did you mean 'tv0.2-reversed'"),
        ("unifrom", "did you mean 'uniform'"),
        ("20/80", "unknown balance '20/80'"),
        ("tv1.5", "total variation 3/2; expected 0"),
        ("tv0-reversed", "uniform has no orientation"),
        ("tv1/0", "unknown balance"),
    ],
)
def test_wrong_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"scenario: .*{message}".replace("(", r"\(")):
        parse_balance(name, where="scenario")


def test_too_far_from_uniform_and_too_few_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"balance tv0.5: 2 classes are always less than 0.5 from uniform"):
        parse_balance("tv0.5").proportions(2)
    with pytest.raises(InputError, match=r"balance tv0.3: 20 images leave class 9 of 10 without any; take 43 or more"):
        parse_balance("tv0.3").counts(20, 10)
    assert min(parse_balance("tv0.3").counts(43, 10)) == 1


def test_far_profiles_of_many_classes_stay_finite() -> None:
    profile = parse_balance("tv0.99")
    assert from_uniform(profile.proportions(1000)) == pytest.approx(0.99)
    assert profile.rho(1000) == float("inf")


@settings(max_examples=40, deadline=None)
@given(
    available=st.lists(st.lists(st.integers(20, 90), min_size=4, max_size=4), min_size=1, max_size=3),
    profiles=st.lists(Profiles, min_size=1, max_size=3),
)
def test_largest_n_fits_everywhere_and_one_more_does_not(available: list[list[int]], profiles: list[Balance]) -> None:
    shares = [profile.proportions(4) for profile in profiles]

    def fits(n: int) -> bool:
        counts = [apportion(n, profile) for profile in shares]
        return all(got <= have for c in counts for s in available for got, have in zip(c, s, strict=True))

    n = largest_n(available, profiles)
    assert fits(n)
    assert not any(fits(more) for more in range(n + 1, n + 40))


def test_largest_n_is_that_of_the_harshest_profile() -> None:
    named = [parse_balance(name) for name in NAMED]
    assert largest_n([[3500, 3500]], named) == 4375
    assert largest_n([[3500, 3500], [3500, 1750]], named) == 2188
    with pytest.raises(InputError, match="no images of class 1"):
        largest_n([[5, 0]], named)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 5), small=st.lists(st.integers(0, 12), min_size=3, max_size=3), more=st.integers(0, 4))
def test_smaller_draws_are_part_of_larger_ones(seed: int, small: list[int], more: int) -> None:
    images = images_of((20, 16, 18))
    few, many = draw(images, small, seed), draw(images, [count + more for count in small], seed)
    assert torch.bincount(few.labels, minlength=3).tolist() == small
    assert set(few.ids.tolist()) <= set(many.ids.tolist())


def test_a_draw_rests_on_seed_and_ids_not_on_the_order() -> None:
    images = images_of((20, 16, 18))
    chosen = draw(images, (9, 5, 7), seed=1)
    turned = draw(images.select(torch.arange(53, -1, -1)), (9, 5, 7), seed=1)
    assert sorted(chosen.ids.tolist()) == sorted(turned.ids.tolist())
    assert chosen.ids.tolist() != draw(images, (9, 5, 7), seed=2).ids.tolist()
    assert torch.equal(images.images[chosen.ids], chosen.images)


def test_a_draw_says_how_many_images_would_fit() -> None:
    with pytest.raises(InputError, match=r"class 1 has 16 images, 30 of 60 are wanted; take 32 or fewer"):
        draw(images_of((20, 16, 18)), (15, 30, 15), seed=0)
    with pytest.raises(InputError, match="counts for 2 classes, images of 3"):
        draw(images_of((20, 16, 18)), (5, 5), seed=0)


@dataclass(frozen=True, kw_only=True)
class TwoSources:
    """Three classes; the second source has few images of the last."""

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "none"
    embedded: ClassVar[bool] = True
    splits: ClassVar[tuple[Split, ...]] = SPLITS

    @property
    def classes(self) -> tuple[str, ...]:
        return ("ant", "bee", "cat")

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1, 2, 3)

    @property
    def sources(self) -> tuple[str, ...]:
        return ("near", "far")

    @property
    def samples(self) -> tuple[str, ...]:
        return ("all",)

    def load(self, source: str, split: Split, samples: str = "all") -> ImageSet:
        return images_of((12, 12, 12)) if source == "near" else images_of((12, 12, 7), first=1000)


def test_attacked_images_come_equally_from_each_source_and_class() -> None:
    images, sources = attacked_images(TwoSources(), "test", 11, seed=0)
    assert sources.tolist() == [0] * 11 + [1] * 11
    assert [(images.ids[i] >= 1000).item() for i in range(22)] == [False] * 11 + [True] * 11
    assert [torch.bincount(images.labels[sources == s]).tolist() for s in (0, 1)] == [[4, 4, 3]] * 2
    assert images.digest == attacked_images(TwoSources(), "test", 11, seed=0)[0].digest
    assert images.digest != attacked_images(TwoSources(), "test", 11, seed=1)[0].digest
    fewer, _ = attacked_images(TwoSources(), "test", 5, seed=0)
    assert set(fewer.ids.tolist()) < set(images.ids.tolist())


def test_attacked_images_says_how_many_there_are() -> None:
    with pytest.raises(
        InputError, match=r"source 'far' has 7 test images of class 'cat', 8 are wanted; take at most 21"
    ):
        attacked_images(TwoSources(), "test", 24, seed=0)
    with pytest.raises(InputError, match="2 per source for 3 classes"):
        attacked_images(TwoSources(), "test", 2, seed=0)
