"""How many threads of the processor a run takes."""

import shutil
from pathlib import Path

import pytest
import torch

from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario


@pytest.mark.parametrize("threads", [1, 3])
def test_a_run_in_this_process_takes_the_threads_that_torch_has_and_leaves_them(
    threads: int, tiny: str, tiny_store: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(tiny_store, store)
    sorted((store / "artifacts" / "weights").glob("*.safetensors"))[0].unlink()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        report = run_scenario(parse_scenario(tiny, where="tiny.toml"), store, workers=0)
        left = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert report.trained == 1
    assert left == threads
