"""The page Images: choices, filters, pages, what is missing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from carom.app.queries import cells as cell_queries
from carom.app.queries import images as image_queries
from carom.app.queries import runs as run_queries
from carom.scenarios.store.free import collect
from carom.scenarios.store.schema import artifacts, cells

Explore = Callable[..., AppTest]
Read = Callable[[object], str]


def captions(at: AppTest, group: int = 0) -> list[str]:
    """What stands below the images of one group."""
    return [image.caption.replace("\\", "") for image in at.get("image")[group].proto.imgs]


def test_a_contact_sheet_comes_first(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "images", attack="fgsm", budget="linf 32/255")
    assert len(at.query_params["victims"]) == 3
    (sheet,) = at.get("image")
    assert len(sheet.proto.imgs) == 26
    assert sheet.proto.imgs[0].url.endswith(".png")  # nothing is lost
    assert "fgsm, linf 32/255: images 1 to 26 of 26 that pass." in read(at.text)
    run = run_queries.runs(finished)[0].id
    sets = image_queries.adversarial_sets(finished, run)
    one = sets[(sets["attack"] == "fgsm") & (sets["budget"] == "linf 32/255") & (sets["surrogate"] != "")].iloc[0]
    victim = cell_queries.answering(finished, run, int(one["set_id"]))["victim_id"].iloc[0]
    found = cell_queries.answered(finished, run, int(one["set_id"]), [int(victim)])
    for place, said in enumerate(captions(at)):
        assert said.startswith(f"{found.images['id'][place]}: {found.clean[0, place]} → {found.adversarial[0, place]}")
        assert ("fooled" in said) == (found.outcome[0, place] == "fooled")
    assert at.dataframe[0].value["victim"].tolist() == at.query_params["victims"]


def test_one_image_has_an_address_and_every_victims_answer(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "images", attack="fgsm", budget="linf 32/255")
    image = captions(at)[4].split(":")[0]
    at.selectbox[[s.label for s in at.selectbox].index("Open an image")].set_value(image).run()
    assert at.query_params["image"] in (image, [image])
    at = explore(finished, "images", attack="fgsm", budget="linf 32/255", image=image)
    assert f"image {image}" in read(at.markdown)
    assert "linf 32/255" in read(at.markdown)
    assert captions(at)[:3] == ["clean", "perturbation × 4", "adversarial"]  # 127.5 / 32
    assert [said.split(":")[0] for said in captions(at, 1)] == [
        "clean", "fgsm · linf 32/255", "fgsm · l2 0.5", "mi · linf 32/255", "mi · l2 0.5",
    ]  # fmt: skip
    answers = at.dataframe[0].value
    assert len(answers) == 5  # four victims and the surrogate's own model
    wrong = [said.split(": ")[1] for said in captions(at, 1)[1:]]
    label = read(at.markdown).split("Label **")[1].split("**")[0]
    counted = [int((answers[column] != label).sum()) for column in answers.columns[2:]]
    assert wrong == [f"{k} of 5 wrong" for k in counted]
    assert "which is not in this run" in read(explore(finished, "images", attack="fgsm", image="77777").warning)


@pytest.mark.parametrize("show", ["clean", "added", "three"])
def test_a_sheet_shows_other_sides_of_the_images(explore: Explore, finished: Path, show: str) -> None:
    at = explore(finished, "images", attack="fgsm", show=show)
    assert len(at.get("image")[0].proto.imgs) == 26


def test_filters_and_pages_stand_in_the_address(explore: Explore, read: Read, finished: Path) -> None:
    run = run_queries.runs(finished)[0].id
    sets = image_queries.adversarial_sets(finished, run)
    one = sets[(sets["attack"] == "mi") & (sets["budget"] == "linf 32/255") & (sets["surrogate"] != "")].iloc[0]
    known = cell_queries.answering(finished, run, int(one["set_id"]))
    victims = known["victim"].tolist()[:2]
    found = cell_queries.answered(finished, run, int(one["set_id"]), [int(v) for v in known["victim_id"][:2]])
    address = {"surrogate": one["surrogate"], "attack": "mi", "budget": "linf 32/255", "victims": victims}
    at = explore(finished, "images", **address, outcome="fooled", of=victims[1])
    fooled = cell_queries.filtered(found, outcome="fooled", victim=1)
    assert f"of {len(fooled):,} that pass" in read(at.text)
    assert captions(at)[0].startswith(f"{found.images['id'][fooled[0]]}:")
    at.selectbox(key="pick-outcome").set_value("any").run()
    at.selectbox(key="pick-agree").set_value("disagree").run()
    differ = cell_queries.filtered(found, agree=False)
    assert f"of {len(differ):,} that pass" in read(at.text) or (not differ and "No image passes" in read(at.info))
    at.selectbox(key="pick-agree").set_value("any").run()
    at.multiselect[0].set_value(victims[:1]).run()
    assert at.query_params["victims"] == victims[0]
    assert not at.exception


def test_nothing_passes(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "images", surrogate="", attack="identity", outcome="fooled")
    assert at.query_params["attack"] == "identity"
    assert "No image passes these filters" in read(at.info)


def test_a_control_adds_nothing(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "images", surrogate="", attack="identity")
    image = captions(at)[0].split(":")[0]
    at = explore(finished, "images", surrogate="", attack="identity", image=image)
    assert "linf 0/255" in read(at.markdown)
    assert captions(at)[1] == "nothing was added"


def test_nonsense_in_the_address_is_said_and_the_default_shown(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "images", attack="nope", budget="1", victims=["a", "b"], page="99", outcome="?", of="?")
    assert len(captions(at)) == 26
    assert len(at.query_params["victims"]) == 3
    said = read(at.warning)
    for asked in ("attack nope", "budget 1", "outcome ?", "outcome on ?", "left out: a, b"):
        assert asked in said
    at.multiselect[0].set_value(at.multiselect[0].options[:1]).run()
    assert "left out" not in read(at.warning)


def test_an_attack_of_another_surrogate_than_the_first(explore: Explore, finished: Path) -> None:
    at = explore(finished, "images", attack="identity")
    assert at.query_params["surrogate"] == ""


def test_freed_images_are_words_and_the_answers_stay(explore: Explore, read: Read, copy: Path) -> None:
    collect(copy, sets=True)
    at = explore(copy, "images", attack="fgsm")
    assert "carom gc --sets" in read(at.warning)
    assert len([line for line in read(at.markdown).splitlines() if line.startswith("Label **")]) == 26
    assert not at.get("image")


def test_nobody_has_answered(explore: Explore, read: Read, changed: Callable[..., Path]) -> None:
    assert "No victim has answered" in read(explore(changed(cells.delete()), "images").info)


def test_nothing_is_crafted(explore: Explore, read: Read, changed: Callable[..., Path]) -> None:
    folder = changed(cells.delete(), artifacts.update().where(artifacts.c.kind == "sets").values(digest=None))
    assert "No adversarial set has been crafted yet" in read(explore(folder, "images").info)


@pytest.mark.parametrize("page", ["images", "matrix", "transfer"])
def test_names_with_markup_are_text(explore: Explore, read: Read, finished: Path, page: str) -> None:
    at = explore(finished, page)
    markdown = [at.caption, at.subheader, at.info, at.warning, at.markdown]
    for element in (e for kind in markdown for e in kind):
        assert "<b>y" not in element.value
