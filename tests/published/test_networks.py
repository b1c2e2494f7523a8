"""Networks of others, rebuilt here, answer as their files do elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from published_networks import MISSING, dense_network, folder
from published_proofs import load_boxes

from carom.errors import ModelError
from carom.zoo.architectures.thin_resnet import ThinResNet

FOLDER = folder()
needs_files = pytest.mark.skipif(FOLDER is None, reason=MISSING)


@needs_files
def test_the_onnx_networks_have_the_logits_of_onnxruntime() -> None:
    """At the images, and at the lower and upper corner of each box."""
    assert FOLDER is not None
    for boxes in load_boxes(FOLDER / "proofs"):
        session: Any = onnxruntime.InferenceSession(  # type: ignore[attr-defined]
            FOLDER / "proofs" / boxes.network
        )
        name = session.get_inputs()[0].name
        for images in (boxes.clean.float() / 255, boxes.low.float(), boxes.high.float()):
            theirs = [session.run(None, {name: image.reshape(1, 784, 1).numpy()})[0][0] for image in images]
            with torch.no_grad():
                ours, exact = boxes.model(images), boxes.exact(images.double())
            np.testing.assert_allclose(ours.numpy(), np.stack(theirs), rtol=0, atol=1e-5)
            np.testing.assert_allclose(exact.numpy(), np.stack(theirs), rtol=0, atol=1e-5)


def test_another_kind_of_onnx_network_is_refused(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Tanh", ["x"], ["y"])], "tanh", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph), tmp_path / "tanh.onnx")
    with pytest.raises(ModelError, match="Tanh: expected a fully connected network"):
        dense_network(tmp_path / "tanh.onnx")


@pytest.mark.parametrize(("blocks", "millions"), [(3, 0.27), (5, 0.46), (7, 0.66), (9, 0.85)])
def test_thin_resnets_are_as_large_as_their_paper_says(blocks: int, millions: float) -> None:
    """Table 6 of arXiv:1512.03385."""
    network = ThinResNet(blocks=blocks).network((3, 32, 32), 10)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)
