"""State dicts as training scripts wrap and name them, and files that are no weights."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from carom.errors import InputError, ModelError
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, Shape, create, weights
from carom.zoo.models.references import load_reference, reference
from carom.zoo.models.wrapped_weights import named, tensors_of

SHAPE: Shape = (1, 16, 16)
Tensors = dict[str, Tensor]
STATE = weights(create(architecture("resnet-small"), shape=SHAPE, classes=10, seed=3))
OTHER = weights(create(architecture("resnet-small"), shape=SHAPE, classes=10, seed=4))


def under(prefix: str, state: Mapping[str, Tensor]) -> Tensors:
    return {prefix + name: tensor for name, tensor in state.items()}


def opened(path: Path, **table: object) -> Classifier:
    named = reference({"model": str(path), "architecture": "resnet-small", **table})
    model = load_reference(named, shape=SHAPE, classes=10, where="victims[0]")
    assert isinstance(model, Classifier)
    return model


def holds(model: Classifier, state: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in weights(model).items())


def optimizer_state() -> dict[str, Any]:
    return {"state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(5.0)}}, "param_groups": [{"lr": 0.1}]}


WRAPPED: Mapping[str, Callable[[], dict[str, Any]]] = {
    "plain": lambda: STATE,
    "compiled": lambda: under("_orig_mod.", STATE),
    "compiled, then data parallel": lambda: {"model": under("module._orig_mod.", STATE), "epoch": 3},
    "lightning": lambda: {"state_dict": under("model.", STATE), "pytorch-lightning_version": "2.0"},
    "beside its accuracy": lambda: {"net": STATE, "acc": 91.0, "epoch": 4},
    "beside tensors": lambda: {"net": STATE, "best": torch.tensor(0.9), "meters": {"loss": torch.ones(3)}},
    "nested, with optimizer": lambda: {"checkpoint": {"weights": {"ema": STATE}}, "optimizer": optimizer_state()},
    "with a profiler's counters": lambda: {
        **STATE,
        "total_ops": torch.zeros(1),
        "total_params": torch.zeros(1),
        "stem.0.total_ops": torch.zeros(1),
    },
    "an average": lambda: {"n_averaged": torch.tensor(7), **under("module.", STATE)},
    "one set twice": lambda: {"model": STATE, "model_ema": dict(STATE)},
    "an old file": lambda: {k: v for k, v in STATE.items() if not k.endswith("num_batches_tracked")},
    "in half precision": lambda: {k: v.half().float() if v.is_floating_point() else v for k, v in STATE.items()},
}


@pytest.mark.parametrize("how", WRAPPED)
def test_weights_are_found_whatever_stands_before_their_names(how: str, tmp_path: Path) -> None:
    torch.save(WRAPPED[how](), tmp_path / "c.pth")
    expected = WRAPPED[how]() if how == "in half precision" else STATE
    assert holds(opened(tmp_path / "c.pth"), expected)


def test_what_torch_itself_wraps_is_read(tmp_path: Path) -> None:
    """Names come from torch's own wrappers, not from this test."""
    network = create(architecture("resnet-small"), shape=SHAPE, classes=10, seed=3).network
    wrappers: list[Any] = [
        nn.DataParallel(network),
        torch.optim.swa_utils.AveragedModel(network),
        torch.compile(network),
    ]
    for number, wrapper in enumerate(wrappers):
        torch.save({"model": wrapper.state_dict()}, path := tmp_path / f"{number}.pth")
        assert holds(opened(path), STATE)


def test_safetensors_are_unwrapped_too(tmp_path: Path) -> None:
    save_file(under("model.", STATE), tmp_path / "c.safetensors")
    assert holds(opened(tmp_path / "c.safetensors"), STATE)


@pytest.mark.parametrize(
    ("content", "first", "second"),
    [
        ({"model": OTHER, "model_ema": STATE}, "model", "model_ema"),
        (
            {"state_dict": under("module.", OTHER), "state_dict_ema": under("module.", STATE)},
            "state_dict",
            "state_dict_ema",
        ),
        (
            {"state_dict": under("model.", OTHER) | under("ema_model.", STATE)},
            "state_dict.model",
            "state_dict.ema_model",
        ),
        ({**OTHER, **under("teacher.", STATE)}, "(no key)", "teacher"),
    ],
)
def test_of_several_sets_the_user_says_which(content: dict[str, Any], first: str, second: str, tmp_path: Path) -> None:
    torch.save(content, path := tmp_path / "c.pth")
    with pytest.raises(ModelError, match="2 sets of weights fit") as error:
        opened(path)
    assert first in str(error.value)
    assert 'weights_key = "' in str(error.value)
    assert holds(opened(path, weights_key=second), STATE)
    with pytest.raises(InputError, match=rf"weights_key 'nowhere'.*such weights at .*{second}"):
        opened(path, weights_key="nowhere")


def test_the_key_of_the_weights_is_in_the_models_key(tmp_path: Path) -> None:
    torch.save({"model": OTHER, "ema": STATE}, path := tmp_path / "c.pth")
    keys = {
        reference({"model": str(path), **more}).key() for more in ({}, {"weights_key": "ema"}, {"weights_key": "model"})
    }
    assert len(keys) == 3
    for wrong in (3, "", "."):
        with pytest.raises(InputError, match=r"weights_key: expected where the weights lie"):
            reference({"model": str(path), "weights_key": wrong})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({k: v for k, v in STATE.items() if not k.startswith("head")}, ("2 of 47 tensors are missing", "'head.")),
        ({**STATE, "extra.weight": torch.ones(2)}, ("1 tensors too many, such as 'extra.weight'",)),
        (
            under("backbone.", STATE) | {"projection.weight": torch.ones(2)},
            ("stand under 'backbone'", "'projection.weight'", 'weights_key = "backbone"'),
        ),
        (
            {"fc1.weight": torch.ones(2)},
            ("47 of 47 tensors are missing, such as 'stem.0.weight'", "has 1 others, such as 'fc1.weight'"),
        ),
        ({"epoch": 3, "acc": 91.0}, ("expected tensors by name", "it holds epoch, acc")),
        ([torch.ones(2)], ("expected tensors by name", "it holds a list")),
    ],
)
def test_what_does_not_fit_says_which_names_the_file_has_and_which_are_wanted(
    content: object, words: tuple[str, ...], tmp_path: Path
) -> None:
    torch.save(content, path := tmp_path / "c.pth")
    with pytest.raises(ModelError) as error:
        opened(path)
    said = str(error.value)
    assert "\n" not in said
    assert all(word in said for word in words), said


def test_weights_beside_others_are_taken_where_the_user_says_so(tmp_path: Path) -> None:
    torch.save(under("backbone.", STATE) | {"projection.weight": torch.ones(2)}, path := tmp_path / "c.pth")
    assert holds(opened(path, weights_key="backbone"), STATE)


def test_a_set_is_not_told_by_its_names_alone() -> None:
    """Of two sets with the network's names the one with its shapes is meant."""
    own = {"w": torch.ones(2, 3)}
    found = named({"student": {"w": torch.zeros(2, 3)}, "teacher": {"w": torch.zeros(5, 3)}})
    assert torch.equal(tensors_of(own, found, where="c.pth")["w"], torch.zeros(2, 3))


# --- files that are no weights


def saved(tmp_path: Path, *, legacy: bool) -> bytes:
    torch.save(STATE, tmp_path / "whole.pth", _use_new_zipfile_serialization=not legacy)
    return (tmp_path / "whole.pth").read_bytes()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_was_cut_short_is_said_to_be_damaged(legacy: bool, tmp_path: Path) -> None:
    raw = saved(tmp_path, legacy=legacy)
    path = tmp_path / "c.pth"
    for size in (1, 100, 500, 5000, len(raw) // 2, len(raw) - 10):
        path.write_bytes(raw[:size])
        with pytest.raises(ModelError, match=r"c\.pth: damaged, cut short or no file of weights") as error:
            opened(path)
        assert "\n" not in str(error.value)


def test_bytes_changed_in_the_middle_are_no_traceback(tmp_path: Path) -> None:
    raw = bytearray(saved(tmp_path, legacy=False))
    raw[200:1200] = bytes(1000)
    (tmp_path / "c.pth").write_bytes(raw)
    with pytest.raises(ModelError, match="damaged"):
        opened(tmp_path / "c.pth")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".onnx", ".torchscript"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html><title>Virus scan warning</title></html>", "a web page"),
        (b"\n\n<html lang='en'>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a server's answer"),
        (b'{"error":"Repository not found"}', "a server's answer"),
    ],
)
def test_what_a_download_leaves_instead_of_the_file(suffix: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / f"c{suffix}"
    path.write_bytes(content)
    trusted = {"trusted": True} if suffix == ".torchscript" else {}
    table = {"architecture": "resnet-small"} if suffix in (".pth", ".pt", ".safetensors") else trusted
    with pytest.raises(ModelError) as error:
        load_reference(reference({"model": str(path), **table}), shape=SHAPE, classes=10, where="victims[0]")
    assert words in str(error.value)
    assert "run code" not in str(error.value)


def test_a_torchscript_archive_and_a_whole_module_are_told_apart_from_damage(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    with warnings.catch_warnings(action="ignore"):  # torch announces the end of TorchScript
        traced: Any = torch.jit.trace(network, torch.zeros(1, 1, 16, 16))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(tmp_path / "script.pth"))
    with pytest.raises(ModelError, match=r'a TorchScript archive.*format = "torchscript"'):
        opened(tmp_path / "script.pth")
    torch.save(network, tmp_path / "module.pth")
    with pytest.raises(ModelError, match=r"would run code from the file \(torch\.nn\.modules\.container\.Sequential\)"):
        opened(tmp_path / "module.pth")
