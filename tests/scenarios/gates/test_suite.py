"""The file of a suite: whole, or refused in one line."""

import contextlib
import dataclasses
import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from carom.errors import InputError, MissingData
from carom.scenarios.gates.suite import AdversarialSet, Strength, Suite, find_suite, read_suite, write_suite


def made(n: int = 5) -> Suite:
    """Two adversarial sets of five images of three classes."""
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (n, 3, 8, 7), dtype=np.uint8)
    sets = tuple(
        AdversarialSet(
            name=f"{attack} linf 8/255 from lenet/s1",
            surrogate="lenet/s1",
            axes={"architecture": "lenet"},
            fingerprints=("ab" * 32,),
            attack=attack,
            norm="linf",
            eps="8/255",
            seed=0,
            strength=Strength(victims=2, asr=0.25, robust_accuracy=0.5) if attack == "mi" else None,
        )
        for attack in ("fgsm", "mi")
    )
    return Suite(
        name="small",
        description="A suite for tests.",
        task="digits",
        classes=("a", "b", "c"),
        sources=("here", "there"),
        scenario='name = "small"\n',
        made_by={"carom": "0.1.0"},
        clean=clean,
        labels=np.arange(n) % 3,
        image_source=np.arange(n) % 2,
        ids=np.arange(n) + 7,
        sets=sets,
        adversarial=tuple(clean + rng.integers(0, 9, clean.shape, dtype=np.uint8) for _ in sets),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A suite in a file."""
    written = tmp_path / "small.suite"
    write_suite(made(), written)
    return written


def test_what_is_read_is_what_was_written(path: Path) -> None:
    suite, found = made(), read_suite(path)
    for field in dataclasses.fields(Suite):
        one, other = getattr(suite, field.name), getattr(found, field.name)
        if field.name == "adversarial":
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
        elif isinstance(one, np.ndarray):
            assert np.array_equal(one, other)
            assert one.dtype == other.dtype
        else:
            assert one == other, field.name
    assert found.digest == suite.digest
    assert found.shape == (3, 8, 7)


def test_the_same_suite_is_the_same_bytes(path: Path, tmp_path: Path) -> None:
    write_suite(read_suite(path), tmp_path / "again.suite")
    assert (tmp_path / "again.suite").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("field", ["clean", "labels", "adversarial"])
def test_the_digest_says_which_questions_are_asked(field: str) -> None:
    suite = made()
    if field == "adversarial":
        other = tuple(images.copy() for images in suite.adversarial)
        other[1][4, 2, 7, 6] += 1
        assert dataclasses.replace(suite, adversarial=other).digest != suite.digest
    else:
        array = getattr(suite, field).copy()
        array.flat[-1] = (array.flat[-1] + 1) % 3
        assert dataclasses.replace(suite, **{field: array}).digest != suite.digest
    assert dataclasses.replace(suite, name="other").digest == suite.digest


def test_every_changed_byte_is_noticed_or_means_nothing(path: Path) -> None:
    whole, suite = path.read_bytes(), made()
    noticed = 0
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(bytes(changed))
        found = None
        with contextlib.suppress(InputError):
            found = read_suite(path)
        if found is None:
            noticed += 1
        else:  # such as a date in the archive's directory
            assert found.digest == suite.digest
            assert found.sets == suite.sets
    assert noticed > 0.8 * len(whole) / 7


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_cut_short_is_refused(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"small.suite: no suite, or one that was cut short .* carom suite build"):
        read_suite(path)


def _rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


class _Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle was opened",))


def test_a_pickle_is_never_opened(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(InputError, match="no suite"):
        read_suite(path)


def test_a_pickle_inside_is_never_opened(path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        out = io.BytesIO()
        np.lib.format.write_array(out, np.array([_Bomb()], dtype=object), allow_pickle=True)
        files["clean.npy"] = out.getvalue()

    _rewritten(path, change)
    with pytest.raises(InputError, match=r"small.suite: .*Object arrays cannot be loaded"):
        read_suite(path)


def test_an_edited_description_is_refused(path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files["suite.json"] = files["suite.json"].replace(b'"eps": "8/255"', b'"eps": "4/255"')

    _rewritten(path, change)
    with pytest.raises(InputError, match=r"changed after it was made \(its description\)"):
        read_suite(path)


def test_other_images_are_refused(path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files["change001.npy"] = files["change000.npy"]

    _rewritten(path, change)
    with pytest.raises(InputError, match=r"changed after it was made \(change001\)"):
        read_suite(path)


def _described(change: Callable[[dict[str, object]], None]) -> Callable[[dict[str, bytes]], None]:
    """A change of the description that has its digest right."""

    def changed(files: dict[str, bytes]) -> None:
        text = json.loads(files["suite.json"])
        change(text["about"])
        text["sha256"] = hashlib.sha256(json.dumps(text["about"], sort_keys=True, indent=1).encode()).hexdigest()
        files["suite.json"] = json.dumps(text).encode()

    return changed


def _huge(files: dict[str, bytes]) -> None:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": (1 << 50,)})
    files["clean.npy"] = out.getvalue()


def _nested(files: dict[str, bytes]) -> None:
    files["suite.json"] = b"[" * 200_000


@pytest.mark.parametrize(
    "change",
    [
        _huge,
        _nested,
        _described(lambda about: about.update(arrays=list(about["arrays"]))),  # type: ignore[call-overload]
        _described(lambda about: about.update(arrays={**about["arrays"], "clean": 1})),  # type: ignore[dict-item]
        _described(lambda about: about.update(name=5)),
        _described(lambda about: about.update(classes=[1, 2, 3])),
        _described(lambda about: about["sets"][0].update(axes=["lenet"])),  # type: ignore[index]
        _described(lambda about: about["sets"][0].update(name=3)),  # type: ignore[index]
        _described(lambda about: about.update(sets=["mi"])),
        _described(lambda about: about.update(sets={})),
    ],
)
def test_what_was_crafted_is_refused_in_one_line(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    _rewritten(path, change)
    with pytest.raises(InputError, match=r"small.suite: ") as told:
        read_suite(path)
    assert "\n" not in str(told.value)


def test_arrays_of_another_shape_than_the_images_are_refused(path: Path) -> None:
    for name in ("labels", "ids", "image_source"):
        suite = made()
        write_suite(dataclasses.replace(suite, **{name: getattr(suite, name)[:, None]}), path)
        with pytest.raises(InputError, match=r"small.suite: the suite's description does not fit its images"):
            read_suite(path)


def test_what_claims_to_be_too_large_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carom.scenarios.gates.suite._LARGEST", 1000)
    with pytest.raises(InputError, match="claims to unpack to more than"):
        read_suite(path)


def test_a_newer_format_is_told(path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        text = json.loads(files["suite.json"])
        text["about"]["format"] = 9
        files["suite.json"] = json.dumps(text).encode()

    _rewritten(path, change)
    with pytest.raises(InputError, match=r"a suite of format 9, this carom reads 1; install a matching version"):
        read_suite(path)


def test_unknown_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"suite 'digits-standart': .*did you mean 'digits-standard'"):
        find_suite("digits-standart")
    with pytest.raises(MissingData, match=r"no such file; build it: carom suite build SCENARIO -o gone.suite"):
        find_suite(tmp_path / "gone.suite")
    with pytest.raises(MissingData, match="cannot be read"):
        read_suite(tmp_path / "gone.suite")
