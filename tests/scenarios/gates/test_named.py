"""A gate's model by its name."""

from pathlib import Path

import numpy as np
import pytest

from carom.errors import InputError, ModelError
from carom.scenarios.gates.ask import ask_suite
from carom.scenarios.gates.named import named_model
from carom.scenarios.gates.suite import AdversarialSet, Suite
from carom.zoo.architectures import architecture
from carom.zoo.models.checkpoints import save_state_dict
from carom.zoo.models.classifier import create


@pytest.fixture
def suite() -> Suite:
    n = 40
    labels = np.arange(n) % 3
    clean = np.zeros((n, 1, 6, 5), np.uint8)
    clean[np.arange(n), 0, 2 * labels] = 200
    made = AdversarialSet(
        name="a", surrogate="s", axes={}, fingerprints=("0",), attack="fgsm", norm="linf", eps="1/255", seed=0
    )
    return Suite(
        name="rows",
        description="",
        task="rows",
        classes=("a", "b", "c"),
        sources=("here",),
        scenario="",
        clean=clean,
        labels=labels,
        image_source=np.zeros(n, np.int64),
        ids=np.arange(n),
        sets=(made,),
        adversarial=(clean,),
    )


def test_a_named_function_is_asked_and_held_to_what_is_stated(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_rows.py").write_text(
        "def judge(x): return x[:, 0, ::2].sum(2).argmax(1)\ndef other(x): return (judge(x) + 1) % 3\n"
    )
    monkeypatch.chdir(tmp_path)
    table = {"model": "named_rows:judge", "answers": "labels", "clean_accuracy": 0.99}
    answers = ask_suite(named_model(table, suite), suite)
    assert (answers.clean_accuracy, answers.robust_accuracy) == (1.0, 1.0)
    with pytest.raises(ModelError, match=r"^model: clean accuracy 0\.0% on 40 clean images, stated 99\.0%"):
        named_model({**table, "model": "named_rows:other"}, suite)
    with pytest.raises(InputError, match="names no model"):
        named_model("named_rows", suite)


def test_a_named_file_is_a_model_of_the_suites_images(suite: Suite, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_state_dict(create(architecture("mlp"), shape=(1, 6, 5), classes=3), path)
    assert len(ask_suite(named_model(str(path), suite), suite).clean) == 40
    save_state_dict(create(architecture("mlp"), shape=(1, 6, 6), classes=3), path)
    with pytest.raises(ModelError, match=r"a model of images \(1, 6, 6\) in 3 classes; the task has \(1, 6, 5\) in 3"):
        named_model(str(path), suite)
