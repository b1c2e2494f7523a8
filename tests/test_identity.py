import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from carom.identity import KEY_LENGTH, canonical, content_key, file_digest, tensor_digest


@dataclass(frozen=True)
class Part:
    size: int = 3
    rate: float = 0.1
    radius: Fraction = Fraction(8, 255)
    name: str | None = None

    version: ClassVar[int] = 1


@dataclass(frozen=True)
class Other:
    size: int = 3
    rate: float = 0.1
    radius: Fraction = Fraction(8, 255)
    name: str | None = None


def test_a_key_never_changes_for_the_same_question() -> None:
    assert content_key(Part(), {"b": 1, "a": (True, None)}, "x") == "a43898de4f133514ec5b6232e5579faa"


def test_every_field_type_version_and_place_matters() -> None:
    class Newer(Part):
        version: ClassVar[int] = 2

    Newer.__name__ = "Part"
    values: list[Any] = [
        Part(), Part(size=4), Part(rate=0.1 + 1e-17 + 1e-16), Part(radius=Fraction(1, 3)), Part(name=""), Other(),
        Newer(), 1, 1.0, "1", True, None, Fraction(1), (1,), (), {"a": 1}, {"a": 1.0}, (1, (2, 3)), ((1, 2), 3),
        {"fraction": "1/1"}, {"float": (1.0).hex()},
    ]  # fmt: skip
    keys = [content_key(value) for value in values]
    assert len(set(keys)) == len(keys)
    assert content_key(1, 2) != content_key((1, 2)) != content_key(12)
    assert all(len(key) == KEY_LENGTH and int(key, 16) >= 0 for key in keys)


def test_spelling_does_not_matter() -> None:
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    assert content_key([1, 2]) == content_key((1, 2))
    assert content_key(Fraction(16, 510)) == content_key(Fraction(8, 255))
    assert content_key(dataclasses.replace(Part(size=9), size=3)) == content_key(Part())


@pytest.mark.parametrize("value", [Path("x"), torch.zeros(1), len, {1, 2}, b"x", {1: 2}, Part, object()])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        content_key(value)


def test_floats_are_exact() -> None:
    assert canonical(0.1) != canonical(0.1 + 2**-56)
    assert content_key(0.0) != content_key(-0.0)


def test_digests_see_name_type_shape_and_bytes_but_not_memory_order() -> None:
    a = torch.arange(12, dtype=torch.float32).reshape(1, 3, 2, 2)
    digest = tensor_digest({"a": a})
    assert tensor_digest({"a": a.contiguous(memory_format=torch.channels_last)}) == digest
    assert tensor_digest({"a": a.clone().requires_grad_()}) == digest
    others = [{"b": a}, {"a": a.double()}, {"a": a.reshape(3, 4)}, {"a": a + 1e-6}, {"a": -a}, {"a": a, "b": a}, {}]
    assert len({digest, *(tensor_digest(other) for other in others)}) == 8
    assert tensor_digest({"a": a, "b": -a}) == tensor_digest({"b": -a, "a": a})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.float16, torch.bfloat16])
def test_digests_take_every_type(dtype: torch.dtype) -> None:
    assert len(tensor_digest({"a": torch.ones(2, 3).to(dtype), "empty": torch.ones(0).to(dtype)})) == 64
    assert len(tensor_digest({"scalar": torch.ones(()).to(dtype)})) == 64


def test_file_digests(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert file_digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
