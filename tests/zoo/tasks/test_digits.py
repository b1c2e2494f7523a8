"""The embedded digits: what is shipped, that the renderer makes it, and that both sources are one task."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import label  # type: ignore[attr-defined]
from sklearn.svm import SVC

from carom.errors import InputError
from carom.zoo.tasks import Task
from carom.zoo.tasks import render_digits as renderer
from carom.zoo.tasks.digits import FONTS_FILE, PER_CLASS, Digits, double
from carom.zoo.tasks.images import SPLITS, Split, concatenate

TASK = Digits()
BOTH = ("uci", "fonts")

# When one of these changes, `Digits.version` must.
DIGESTS = {
    ("uci", "train"): "73923f739f644460b296e57250cbc320ec777457db90df1826bb0a36a580215f",
    ("uci", "validation"): "388d3e2bbcf798e62ac5c6406921a7bcbe7eb835c151441be9eb9eacc7b42e8e",
    ("uci", "test"): "4c0ac92020b35fc92142a80536df5495038011b60f9a890c1cb73ad55fc5ae87",
    ("fonts", "train"): "8197b43368c5ff21a268f68654f9b62ffa5da64d5ad2dc5939229770e4596513",
    ("fonts", "validation"): "c9bd9e3d5d1b19673877b49b5465d0622371b7a3822d6bf2417eb8b6a2ee5c9b",
    ("fonts", "test"): "1e1d4471094971952c15b916e103a86caabe14fa9fde4c924424e5a5e11cccb7",
}


def test_is_a_task_of_two_sources() -> None:
    assert isinstance(TASK, Task)
    assert TASK.sources == BOTH
    assert TASK.classes == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


@pytest.mark.parametrize("source", BOTH)
@pytest.mark.parametrize("split", SPLITS)
def test_splits_are_balanced_8_bit_and_pinned(source: str, split: Split) -> None:
    images = TASK.load(source, split)
    assert torch.bincount(images.labels).tolist() == [PER_CLASS[source, split]] * 10
    assert images.images.shape[1:] == TASK.shape
    assert (images.images.dtype, images.labels.dtype, images.ids.dtype) == (torch.uint8, torch.int64, torch.int64)
    assert images.digest == DIGESTS[source, split]


def test_a_quarter_thousand_balanced_images_of_each_source_can_be_attacked() -> None:
    for source in BOTH:
        assert PER_CLASS[source, "test"] >= 28
        assert PER_CLASS[source, "validation"] >= 20
    assert PER_CLASS["uci", "train"] == PER_CLASS["fonts", "train"]


def test_no_id_and_no_picture_is_twice_in_the_task() -> None:
    everything = concatenate([TASK.load(source, split) for source in BOTH for split in SPLITS])
    assert len(set(everything.ids.tolist())) == len(everything)
    assert len({image.numpy().tobytes() for image in everything.images}) == len(everything)


@pytest.mark.parametrize("source", BOTH)
def test_samples_are_disjoint_halves_with_equal_classes(source: str) -> None:
    a, b = (TASK.load(source, "train", samples) for samples in ("a", "b"))
    assert torch.bincount(a.labels).tolist() == torch.bincount(b.labels).tolist() == [60] * 10
    together = torch.cat([a.ids, b.ids]).sort().values
    assert together.equal(TASK.load(source, "train").ids.sort().values)
    a, b = (TASK.load(source, "validation", samples) for samples in ("a", "b"))
    assert abs(len(a) - len(b)) <= 1
    together = torch.cat([a.ids, b.ids]).sort().values
    assert together.equal(TASK.load(source, "validation").ids.sort().values)
    assert TASK.load(source, "test", "a").ids.equal(TASK.load(source, "test", "b").ids)


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(InputError, match=r"digits: unknown source 'font'; did you mean 'fonts'\?"):
        TASK.load("font", "train")
    with pytest.raises(InputError, match="digits: unknown samples 'c'"):
        TASK.load("uci", "train", "c")


def test_doubling_is_bilinear_interpolation() -> None:
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 17, (5, 8, 8)))
    expected = torch.nn.functional.interpolate(levels[:, None].double() / 16 * 255, scale_factor=2.0, mode="bilinear")
    found = torch.from_numpy(double(levels.numpy())).double()
    assert (found - expected[:, 0]).abs().max() <= 0.5


def test_thinning_keeps_pieces_and_holes() -> None:
    picture = np.zeros((30, 40), bool)
    picture[3:27, 4:18] = True
    picture[9:20, 8:13] = False  # a ring
    picture[5:25, 25:31] = True  # a bar
    line = renderer.thin(picture)
    eight_neighbours = np.ones((3, 3))
    assert label(line, eight_neighbours)[1] == 2
    assert label(~line)[1] == 2
    assert (line & ~picture).sum() == 0
    assert not (line[1:, 1:] & line[:-1, 1:] & line[1:, :-1] & line[:-1, :-1]).any()


def test_shipped_images_are_what_the_renderer_makes() -> None:
    pytest.importorskip("matplotlib")
    with np.load(FONTS_FILE) as shipped:
        for split in SPLITS:
            rendered = np.stack([renderer.render(split, digit, number) for number in range(4) for digit in range(10)])
            difference = abs(rendered.astype(int) - shipped[f"{split}_images"][:40])
            # 0 with one FreeType; another may move the edge of a glyph: 1.2 grey levels for a threshold 7/255 lower.
            # Another seed differs by 33.
            assert difference.mean() <= 3


def test_families_and_glyphs_are_in_one_split_only() -> None:
    pytest.importorskip("matplotlib")
    families = [family for split in SPLITS for family in renderer.FAMILIES[split]]
    assert len(set(families)) == len(families)
    faces = {split: {face for faces in renderer.FAMILIES[split].values() for face in faces} for split in SPLITS}
    used = {split: {renderer.face_of(split, n) for n in range(PER_CLASS["fonts", split])} for split in SPLITS}
    assert used == faces
    for one, other in combinations(SPLITS, 2):
        for digit in range(10):
            glyphs = [{renderer.bitmap(face, digit).tobytes() for face in faces[split]} for split in (one, other)]
            assert not glyphs[0] & glyphs[1]


@pytest.mark.thorough
def test_the_command_compares_and_draws_a_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["render_digits", "--compare", "--contact-sheet", str(tmp_path / "sheet.png")])
    before = FONTS_FILE.stat().st_mtime_ns
    renderer.main()
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 + len(renderer.MEASURES)
    detail = next(row for row in rows if row.startswith("| detail"))
    uci, fonts = (float(cell.split("±")[0]) for cell in detail.split("|")[2:4])
    assert uci < 0.002 < 0.02 < fonts  # doubled 8x8 images hold no more than rounding beyond 8x8
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"
    assert FONTS_FILE.stat().st_mtime_ns == before


@pytest.mark.parametrize(("trained", "other"), [("uci", "fonts"), ("fonts", "uci")])
def test_what_is_learned_from_one_source_holds_in_the_other(trained: str, other: str) -> None:
    train, own, cross = TASK.load(trained, "train"), TASK.load(trained, "validation"), TASK.load(other, "validation")
    learned: Any = SVC(C=10)  # type: ignore[no-untyped-call]
    learned.fit(train.pixels.flatten(1).numpy(), train.labels.numpy())
    own_accuracy, cross_accuracy = (
        float((learned.predict(s.pixels.flatten(1).numpy()) == s.labels.numpy()).mean()) for s in (own, cross)
    )
    assert own_accuracy >= 0.95  # 0.98 and 0.98
    assert 0.70 <= cross_accuracy <= 0.92  # 0.82 and 0.76: one task, yet two sources
