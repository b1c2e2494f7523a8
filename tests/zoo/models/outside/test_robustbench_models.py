"""A model of RobustBench, from a checkpoint at the place where the library looks."""

import importlib.util
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typing_extensions import override

from carom.errors import InputError, MissingData, ModelError
from carom.typing import Pixels
from carom.zoo.models.classifier import Classifier, Shape
from carom.zoo.models.outside.robustbench_models import _library
from carom.zoo.models.references import Reference, load_reference, reference
from carom.zoo.models.victims import check_victim

if importlib.util.find_spec("robustbench") is None:
    pytest.skip("robustbench is not installed", allow_module_level=True)

SHAPE: Shape = (3, 32, 32)
NAME = "Hendrycks2020AugMix_WRN"  # the smallest network of its zoo


@pytest.fixture
def images() -> Pixels:
    return torch.randint(0, 256, (3, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def network() -> Any:
    library = _library("test")
    zoo = library.all_models[library.BenchmarkDataset.cifar_10][library.ThreatModel.corruptions]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo[NAME]["model"]().eval()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = tmp_path / "cifar10" / "corruptions" / f"{NAME}.pt"
    found.parent.mkdir(parents=True)
    return found


def named(model_dir: Path, name: str = NAME, **table: object) -> Reference:
    given = {"model": f"robustbench:{name}", "threat_model": "corruptions", "model_dir": str(model_dir), **table}
    return reference(given, where="s.toml: victims[0]")


def test_it_answers_as_the_network_whose_checkpoint_it_is(place: Path, tmp_path: Path, images: Pixels) -> None:
    made = network()
    # as its authors saved it: in training on several devices, and without the normalisation
    tensors = {f"module.{k}": v for k, v in made.state_dict().items() if k not in ("mu", "sigma")}
    torch.save({"state_dict": tensors}, place)
    asked = named(tmp_path)
    loaded = load_reference(asked, shape=SHAPE, classes=10)
    assert isinstance(loaded, Classifier)
    x = images.float() / 255
    torch.testing.assert_close(loaded(x), made(x))
    check = check_victim(loaded, name="v", shape=SHAPE, classes=10, images=images, surrogate=True)
    assert (check.differentiable, check.was_training) == (True, False)
    with pytest.raises(ModelError, match=r"a model of images \(3, 32, 32\) in 10 classes; the task has \(3, 32, 32\)"):
        load_reference(asked, shape=SHAPE, classes=9)
    torch.save({"state_dict": {k: v + 1 for k, v in tensors.items()}}, place)
    assert named(tmp_path).key() != asked.key()
    with pytest.raises(ModelError, match="its checkpoint changed after it was named"):
        load_reference(asked, shape=SHAPE, classes=10)


def test_no_checkpoint_is_said_with_its_place_and_nothing_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=rf"no such file: {tmp_path}/cifar10/corruptions/{NAME}\.pt; download it: py"):
        named(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        InputError, match=r"unknown model of cifar10 corruptions .* did you mean 'Hendrycks2020AugMix_W"
    ):
        named(tmp_path, "Hendrycks2020AugMix_WR")
    with pytest.raises(ModelError, match="by a download of timm or torchvision, not from a file"):
        named(tmp_path, "Debenedetti2022Light_XCiT-S12", threat_model="Linf")
    with pytest.raises(InputError, match="dataset: input should be 'cifar10'"):
        named(tmp_path, dataset="mnist")


@pytest.mark.thorough
def test_the_command_that_downloads_runs(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="download it: python -c") as error:
        named(Path("models"))
    command = shlex.split(str(error.value).partition("download it: ")[2])
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    environment = {**os.environ, **nowhere, "no_proxy": "", "NO_PROXY": ""}
    done = subprocess.run(
        [sys.executable, *command[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert "robustbench cannot load it: ProxyError" in done.stderr  # it came as far as the download
    assert (tmp_path / "models" / "cifar10" / "corruptions").is_dir()


def test_a_folder_in_the_home_directory_is_one_for_the_library_too(
    place: Path, tmp_path: Path, images: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"state_dict": network().state_dict()}, place)
    monkeypatch.setenv("HOME", str(tmp_path))
    asked: list[tuple[str, ...]] = []
    library = _library("test")
    load_model = library.load_model

    def noted(*given: str) -> Any:
        asked.append(given)
        return load_model(*given)

    monkeypatch.setattr(library, "load_model", noted)
    load_reference(named(Path("~")), shape=SHAPE, classes=10)
    assert asked[0][1] == str(tmp_path)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ([".pt_m0.pt"], NAME),  # of one checkpoint
        ([".pt_m0.pt", ".pt_m2.pt", ".pt_max.pt"], "Diffenderfer2021Winning_LRR_CARD_Deck"),  # of six
        ([".pt"], "Diffenderfer2021Winning_LRR_CARD_Deck"),
        ([f".pt_m{i}.pt" for i in range(7)], "Diffenderfer2021Winning_LRR_CARD_Deck"),
    ],
)
def test_files_that_the_library_would_not_look_for(
    files: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_library("test"), "load_model", lambda *_: pytest.fail("it would be downloaded"))
    for suffix in files:
        path = tmp_path / "cifar10" / "corruptions" / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({}, path)
    with pytest.raises(MissingData, match=rf"\d of its \d checkpoints are in .*; expected {name}\.pt.* alone"):
        load_reference(named(tmp_path, name), shape=SHAPE, classes=10)


def test_a_model_whose_address_is_empty_is_downloaded_by_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_library("test"), "load_model", lambda *_: pytest.fail("it would be downloaded"))
    path = tmp_path / "imagenet" / "Linf" / "Standard_R50.pt"
    path.parent.mkdir(parents=True)
    torch.save({}, path)
    asked = named(tmp_path, "Standard_R50", dataset="imagenet", threat_model="Linf")
    with pytest.raises(ModelError, match="by a download of timm or torchvision, not from a file"):
        load_reference(asked, shape=(3, 224, 224), classes=1000)


def test_checkpoints_that_do_not_fit_or_need_unpickling(place: Path, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, place)
    with pytest.raises(ModelError, match="robustbench cannot load it: RuntimeError") as error:
        load_reference(named(tmp_path), shape=SHAPE, classes=10)
    assert "\n" not in str(error.value)
    ran = tmp_path / "ran"

    class Evil:
        @override
        def __reduce__(self) -> tuple[Any, ...]:
            return (ran.touch, ())

    torch.save({"state_dict": Evil()}, place)
    with pytest.raises(ModelError, match=r"is no plain checkpoint: .* what needs unpickling is not opened") as error:
        load_reference(named(tmp_path), shape=SHAPE, classes=10)
    assert "\n" not in str(error.value)
    place.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError, match="is no plain checkpoint"):
        load_reference(named(tmp_path), shape=SHAPE, classes=10)
    assert not ran.exists()


def test_the_shim_is_gone_after_the_import() -> None:
    real = importlib.util.find_spec("autoattack") is not None
    _library("test")
    assert real or not [name for name in sys.modules if name.split(".")[0] == "autoattack"]
