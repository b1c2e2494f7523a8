"""Models in files of other libraries: ONNX graphs, TorchScript archives, exported programs."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from carom.errors import InputError, MissingData, ModelError
from carom.typing import Pixels
from carom.zoo.models.classifier import Classifier, Shape
from carom.zoo.models.references import load_reference, reference
from carom.zoo.models.victims import CallableVictim, check_victim

SHAPE: Shape = (3, 8, 7)
CLASSES = 4


@pytest.fixture
def images() -> Pixels:
    return torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(120, CLASSES)
        ).eval()


def load(value: str | Mapping[str, object]) -> Classifier | CallableVictim:
    named = reference(value, where="s.toml: victims[0]")
    return load_reference(named, shape=SHAPE, classes=CLASSES, where="victims[0]")


def check(victim: Classifier | CallableVictim, images: Pixels, **more: Any) -> Any:
    return check_victim(victim, name="v", shape=SHAPE, classes=CLASSES, images=images, **more)


# --- ONNX


def graph(
    path: Path,
    *,
    batch: str | int = "n",
    last: bool = False,
    kind: int = TensorProto.FLOAT,
    outputs: int = 1,
    size: tuple[int, ...] = SHAPE,
    softmax: bool = False,
) -> Tensor:
    """Write a linear graph of flattened images; its weights.

    Eighths between -2 and 2: times whole pixels, or 256ths, every product and every partial sum is a float32, so that
    the answer is exact, in whatever order a processor adds.
    """
    weight = np.random.default_rng(0).integers(-16, 17, (int(np.prod(size)), CLASSES)).astype(np.float32) / 8
    nodes, name = [], "x"
    if kind != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [name], ["cast"], to=TensorProto.FLOAT))
        name = "cast"
    if last:
        nodes.append(helper.make_node("Transpose", [name], ["first"], perm=[0, 3, 1, 2]))
        name = "first"
    nodes.append(helper.make_node("Flatten", [name], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "w"], ["z"]))
    nodes.append(helper.make_node("Softmax", ["z"], ["p"], axis=1))
    found = ["p" if softmax else "z", "p"][:outputs]
    taken = (size[1], size[2], size[0]) if last else size
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [batch, *taken])],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, [batch, CLASSES]) for o in found],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return torch.from_numpy(weight)


@pytest.mark.parametrize("batch", ["n", 1, 2, 3])
@pytest.mark.parametrize("last", [False, True])
def test_onnx_answers_as_its_graph_says(batch: str | int, last: bool, tmp_path: Path, images: Pixels) -> None:
    path = tmp_path / "net.onnx"
    weight = graph(path, batch=batch, last=last)
    victim = load(str(path))
    assert isinstance(victim, CallableVictim)
    x = images.float() / 255
    torch.testing.assert_close(victim(x), x.flatten(1) @ weight, rtol=1e-4, atol=1e-4)
    assert not check(victim, images).differentiable
    with pytest.raises(ModelError, match="a surrogate needs gradients"):
        check(victim, images, surrogate=True)


def test_onnx_of_8_bit_images_and_of_doubles(tmp_path: Path, images: Pixels) -> None:
    weight = graph(tmp_path / "bytes.onnx", kind=TensorProto.UINT8)
    expected = images.float().flatten(1) @ weight
    assert torch.equal(load(str(tmp_path / "bytes.onnx"))(images.float() / 255), expected)
    weight = graph(tmp_path / "double.onnx", kind=TensorProto.DOUBLE)
    assert torch.equal(load(str(tmp_path / "double.onnx"))(images.float() / 256), expected / 256)


def test_onnx_behind_declared_preprocessing(tmp_path: Path, images: Pixels) -> None:
    path = tmp_path / "net.onnx"
    weight = graph(path, size=(3, 4, 4))
    declared = {"mean": [0.5] * 3, "std": [0.25] * 3, "resize": [4, 4]}
    x = images.float() / 255
    small = nn.functional.interpolate(x, (4, 4), mode="bilinear", antialias=True)
    victim = load({"model": str(path), "preprocessing": declared})
    torch.testing.assert_close(victim(x), ((small - 0.5) / 0.25).flatten(1) @ weight, rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match=r"takes \['n', 3, 4, 4\], the images are n 3 8 7; .* declare preprocessing"):
        load(str(path))


def test_onnx_of_8_bit_images_is_not_normalised_and_does_not_wrap_around(tmp_path: Path, images: Pixels) -> None:
    path = tmp_path / "bytes.onnx"
    weight = graph(path, kind=TensorProto.UINT8, size=(3, 16, 14))
    x = (images.float() / 255).round()  # black and white, so that bicubic resizing leaves [0, 1]
    larger = nn.functional.interpolate(x, (16, 14), mode="bicubic", antialias=True)
    assert larger.max() > 1.01
    assert larger.min() < -0.01
    victim = load({"model": str(path), "preprocessing": {"resize": [16, 14], "interpolation": "bicubic"}})
    expected = (larger.clamp(0, 1) * 255).round().flatten(1) @ weight
    torch.testing.assert_close(victim(x), expected, rtol=1e-4, atol=0.1)
    declared = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize": [16, 14]}
    with pytest.raises(ModelError, match=r"its input is uint8, 0 to 255; expected .* resize alone$") as error:
        load({"model": str(path), "preprocessing": declared})
    assert "\n" not in str(error.value)


def test_onnx_outputs_and_probabilities(tmp_path: Path, images: Pixels) -> None:
    path = tmp_path / "net.onnx"
    graph(path, outputs=2)
    with pytest.raises(InputError, match=r'2 outputs \(z, p\); add output = "NAME"'):
        load(str(path))
    with pytest.raises(InputError, match=r"no output 'q'.*known: z, p"):
        load({"model": str(path), "output": "q"})
    assert check(load({"model": str(path), "output": "z"}), images).answers == "logits"
    with pytest.raises(ModelError, match="probabilities, where logits are expected"):
        check(load({"model": str(path), "output": "p"}), images)
    assert check(load({"model": str(path), "output": "p", "answers": "probabilities"}), images).deterministic


def test_the_key_of_a_graph_is_its_content_and_that_of_its_weights_beside_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "n.onnx", tmp_path / "two" / "n.onnx"
    for path in (one, two):
        path.parent.mkdir()
        graph(path)
    before = reference(str(one))
    assert before.key() == reference(str(two)).key()
    assert before.key() != reference({"model": str(one), "answers": "probabilities"}).key()
    (one.parent / "n.onnx.data").write_bytes(b"weights")
    assert before.key() != reference(str(one)).key()
    with pytest.raises(ModelError, match="changed after it was named"):
        load_reference(before, shape=SHAPE, classes=CLASSES)


def test_the_key_holds_every_file_that_a_graph_names(tmp_path: Path, images: Pixels) -> None:
    path = tmp_path / "net.onnx"
    weight = graph(path)
    alone = reference(str(path)).key()
    long = "w" * 150
    for name in ("weights.bin", long):
        onnx.save(onnx.load(path), path, save_as_external_data=True, location=name, size_threshold=0)
        x = images.float() / 255
        torch.testing.assert_close(load(str(path))(x), x.flatten(1) @ weight, rtol=1e-4, atol=1e-4)
        before = reference(str(path))
        content = bytearray((tmp_path / name).read_bytes())
        content[5] ^= 1
        (tmp_path / name).write_bytes(content)
        assert reference(str(path)).key() != before.key()
        with pytest.raises(ModelError, match="changed after it was named"):
            load_reference(before, shape=SHAPE, classes=CLASSES)
        (tmp_path / name).unlink()
        with pytest.raises(ModelError, match="onnxruntime cannot open it"):
            load(str(path))
        graph(path)
    assert reference(str(path)).key() == alone


def test_what_is_no_graph_of_images(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelError, match="onnxruntime cannot open it") as error:
        load(str(path))
    assert "\n" not in str(error.value)
    graph(path, kind=TensorProto.INT64)
    with pytest.raises(ModelError, match=r"input x is tensor\(int64\); expected one of tensor\(float\)"):
        load(str(path))
    with pytest.raises(MissingData, match=r"^s.toml: victims\[0\]: gone.onnx: no such file"):
        load("gone.onnx")
    with pytest.raises(InputError, match="unknown key 'revison'"):
        load({"model": str(path), "revison": "1"})


def written(path: Path, nodes: list[Any], output: Any, *, opset: int = 17, ir: int = 9) -> None:
    """A graph of images `n c h w` that ends in these nodes, which read the scores "z" or the images "x"."""
    weight = numpy_helper.from_array(np.ones((168, CLASSES), np.float32), "w")
    fixed = numpy_helper.from_array(np.array([1, 168]), "one")
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *SHAPE])], [output], [weight, fixed]
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(made, opset_imports=domains, ir_version=ir), path)


SCORES = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["z"])]
PLAIN = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", CLASSES])


@pytest.mark.parametrize(
    ("newer", "words"),
    [
        ({"ir": 99}, r"it has IR version 99, and onnxruntime \S+ reads up to \d+; export it with an earlier onnx"),
        (
            {"opset": 99},
            r"it has opset 99, and onnxruntime \S+ reads up to \d+; export it with an earlier opset_version",
        ),
    ],
)
def test_a_graph_that_is_newer_than_onnxruntime(newer: dict[str, int], words: str, tmp_path: Path) -> None:
    written(tmp_path / "net.onnx", SCORES, PLAIN, **newer)
    with pytest.raises(ModelError, match=words):
        load(str(tmp_path / "net.onnx"))


def test_the_reason_of_onnxruntime_is_said_to_its_end(tmp_path: Path) -> None:
    """Its last words tell what is wrong, and a long path stands before them."""
    folder = tmp_path / ("long" * 50)
    folder.mkdir()
    written(folder / "net.onnx", [helper.make_node("Nobody", ["x"], ["z"], domain="my.ops")], PLAIN)
    with pytest.raises(ModelError, match=r"No opset import for domain 'my\.ops'") as error:
        load(str(folder / "net.onnx"))
    assert "onnxruntime_src" not in str(error.value)


def test_outputs_that_are_no_scores(tmp_path: Path) -> None:
    table = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    maps = helper.make_value_info("y", helper.make_sequence_type_proto(table))
    zipped = helper.make_node("ZipMap", ["z"], ["y"], domain="ai.onnx.ml", classlabels_int64s=list(range(CLASSES)))
    several = helper.make_value_info("y", helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None).type)
    text = helper.make_tensor_value_info("y", TensorProto.STRING, ["n", CLASSES])
    for node, output, words in (
        (zipped, maps, r"output y is seq\(map\(int64,tensor\(float\)\)\), not a tensor; .*zipmap=False"),
        (helper.make_node("SequenceConstruct", ["z"], ["y"]), several, r"output y is seq\(tensor\(float\)\), not a"),
        (helper.make_node("Cast", ["z"], ["y"], to=TensorProto.STRING), text, r"output y is tensor\(string\)"),
    ):
        written(tmp_path / "net.onnx", [*SCORES, node], output)
        with pytest.raises(ModelError, match=words):
            load(str(tmp_path / "net.onnx"))


def test_a_graph_with_one_image_fixed_inside_is_asked_one_by_one(tmp_path: Path, images: Pixels) -> None:
    nodes = [helper.make_node("Reshape", ["x", "one"], ["flat"]), SCORES[1]]
    written(tmp_path / "net.onnx", nodes, helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", CLASSES]))
    victim = load(str(tmp_path / "net.onnx"))
    x = images.float() / 255
    torch.testing.assert_close(victim(x), x.flatten(1).sum(1, keepdim=True).expand(-1, CLASSES))


# --- programs


def script(network: nn.Module, path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # TorchScript is announced to end
        torch.jit.trace(network, torch.rand(2, *SHAPE)).save(str(path))  # type: ignore[no-untyped-call]


def export(network: nn.Module, path: Path, *, fixed: bool = False) -> None:
    free = None if fixed else ({0: torch.export.Dim("n")},)
    torch.export.save(torch.export.export(network, (torch.rand(2, *SHAPE),), dynamic_shapes=free), path)


def test_programs_are_opened_only_where_they_are_trusted(tmp_path: Path, network: nn.Module) -> None:
    script(network, tmp_path / "net.torchscript")
    for given in ("net.torchscript", "net.pt2"):
        with pytest.raises(InputError, match=r"opening it can run code from the file; .* add trusted = true$"):
            load(str(tmp_path / given))
        with pytest.raises(InputError, match="trusted"):
            load({"model": str(tmp_path / given), "trusted": "yes"})


@pytest.mark.parametrize("name", ["net.torchscript", "net.pt2", "fixed.pt2"])
def test_programs_answer_and_have_gradients(name: str, tmp_path: Path, network: nn.Module, images: Pixels) -> None:
    path = tmp_path / name
    if name == "net.torchscript":
        script(network, path)
    else:
        export(network, path, fixed=name == "fixed.pt2")
    loaded = load({"model": str(path), "trusted": True})
    assert isinstance(loaded, Classifier)
    x = images.float() / 255
    torch.testing.assert_close(loaded(x), network(x))
    found = check(loaded, images, surrogate=True)
    assert (found.differentiable, found.was_training) == (True, False)
    copy = tmp_path / f"copy{path.suffix}"
    path.rename(copy)
    again = load({"model": str(copy), "trusted": True})
    assert isinstance(again, Classifier)
    assert again.fingerprint() == loaded.fingerprint()


def test_a_torchscript_archive_under_another_suffix_is_named_by_its_format(tmp_path: Path, network: nn.Module) -> None:
    path = tmp_path / "net.pt"
    script(network, path)
    table = {"model": str(path), "format": "torchscript", "trusted": True}
    loaded = load(table)
    assert isinstance(loaded, Classifier)
    with pytest.raises(ModelError, match="not a plain state dict"):
        load({"model": str(path), "architecture": "lenet"})
    with pytest.raises(InputError, match=r"format: input should be 'torchscript'"):
        load({**table, "format": "onnx"})
    named = reference(table)
    script(nn.Sequential(nn.Flatten(), nn.Linear(168, CLASSES)), path)
    with pytest.raises(ModelError, match="changed after it was named"):
        load_reference(named, shape=SHAPE, classes=CLASSES)
    other = load(table)
    assert isinstance(other, Classifier)
    assert other.fingerprint() != loaded.fingerprint()


@pytest.mark.parametrize("suffix", [".torchscript", ".pt2"])
def test_damaged_programs(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"no program")
    with pytest.raises(ModelError, match=r"broken.*not a file of torch\.(jit|export)\.save") as error:
        load({"model": str(path), "trusted": True})
    assert "\n" not in str(error.value)


def test_a_program_that_answers_probabilities(tmp_path: Path, network: nn.Module, images: Pixels) -> None:
    path = tmp_path / "net.torchscript"
    script(nn.Sequential(network, nn.Softmax(1)), path)
    with pytest.raises(ModelError, match="probabilities, where logits are expected"):
        check(load({"model": str(path), "trusted": True}), images)
    asked = load({"model": str(path), "trusted": True, "answers": "probabilities"})
    assert check(asked, images).answers == "probabilities"
