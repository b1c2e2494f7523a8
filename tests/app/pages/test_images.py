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


def labels(at: AppTest, read: Read) -> list[str]:
    """The lines over the images."""
    return [line for line in read(at.markdown).splitlines() if line.startswith("Label **")]


def test_images_with_the_answers_of_three_victims(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "images", attack="fgsm", budget="linf 32/255")
    assert len(labels(at, read)) == 12
    assert len(at.query_params["victims"]) == 3
    assert len(at.get("image")) == 36
    assert "linf 32/255" in labels(at, read)[0]
    captions = [image.proto.imgs[0].caption for image in at.get("image")[:3]]
    assert captions == ["clean", "perturbation × 4", "adversarial"]  # 127.5 / 32
    assert at.get("image")[0].proto.imgs[0].url.endswith(".png")  # nothing is lost
    assert "Images 1 to 12 of 26 that pass." in read(at.text)
    outcomes = [line for line in read(at.markdown).splitlines() if "-badge[" in line]
    assert len(outcomes) == 36
    assert at.dataframe[0].value["victim"].tolist() == at.query_params["victims"]


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
    assert labels(at, read)[0].startswith(f"Label **{found.images['label'][fooled[0]]}**")
    at.selectbox(key="pick-outcome").set_value("any").run()
    at.selectbox(key="pick-agree").set_value("disagree").run()
    differ = cell_queries.filtered(found, agree=False)
    assert f"of {len(differ):,} that pass" in read(at.text) or (not differ and "No image passes" in read(at.info))
    at.selectbox(key="pick-agree").set_value("any").run()
    at.selectbox(key="pick-page").set_value("3").run()
    assert "Images 25 to 26 of 26" in read(at.text)
    assert at.query_params["page"] == "3"
    at.multiselect[0].set_value(victims[:1]).run()
    assert at.query_params["victims"] == victims[0]
    assert not at.exception


def test_nothing_passes(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "images", surrogate="", attack="identity", outcome="fooled")
    assert at.query_params["attack"] == "identity"
    assert "No image passes these filters" in read(at.info)


def test_a_control_adds_nothing(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "images", surrogate="", attack="identity")
    assert "linf 0/255" in labels(at, read)[0]
    captions = [image.proto.imgs[0].caption for image in at.get("image")[:3]]
    assert captions[1] == "nothing was added"


def test_nonsense_in_the_address_is_the_default(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "images", attack="nope", budget="1", victims=["a", "b"], page="99", outcome="?", of="?")
    assert len(labels(at, read)) == 12
    assert at.query_params["page"] == "1"
    assert len(at.query_params["victims"]) == 3


def test_an_attack_of_another_surrogate_than_the_first(explore: Explore, finished: Path) -> None:
    at = explore(finished, "images", attack="identity")
    assert at.query_params["surrogate"] == ""


def test_freed_images_are_words_and_the_answers_stay(explore: Explore, read: Read, copy: Path) -> None:
    collect(copy, sets=True)
    at = explore(copy, "images", attack="fgsm")
    assert "carom gc --sets" in read(at.warning)
    assert len(labels(at, read)) == 12
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
