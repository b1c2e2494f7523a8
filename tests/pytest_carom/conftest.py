"""A repository with a suite and a model whose weakness is known, and pytest runs in it."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# what a gate imports stays loaded over the runs of one process
import carom.scenarios.cases
import carom.scenarios.gates.freeze
import carom.scenarios.gates.judge
import carom.zoo.models.references  # noqa: F401
from carom.scenarios.gates.suite import AdversarialSet, Suite, write_suite

# what takes a second a run: rounds of garbage collection over all of torch, and hypothesis, loaded for its summary
QUICK = ("-p", "no:unraisableexception", "-p", "no:hypothesispytest")
PLUGIN = ("-p", "no:carom", "-p", "pytest_carom")  # also where the checkout was installed before the plugin was there

MODELS = '''
"""Models that are wrong on a known share of adversarial images; pixels say label, number and set."""
import torch


class Model(torch.nn.Module):
    def __init__(self, wrong=0.2, only_class=None, only_set=None, clean_wrong=0.0):
        super().__init__()
        self.wrong, self.only_class, self.only_set, self.clean_wrong = wrong, only_class, only_set, clean_wrong

    def forward(self, x):
        pixels = (x * 255).round().long().flatten(1)
        label, made, number = pixels[:, 0], pixels[:, 1], 256 * pixels[:, 2] + pixels[:, 3]
        chance = ((number * 389 + made * 97) % 1000) / 1000
        rate = torch.where(made > 0, self.wrong, self.clean_wrong)
        if self.only_class is not None:
            rate = torch.where((label == self.only_class) | (made == 0), rate, 0.2)
        if self.only_set is not None:
            rate = torch.where((made == self.only_set) | (made == 0), rate, 0.2)
        answer = torch.where(chance < rate, (label + 1) % 3, label)
        return 5.0 * torch.nn.functional.one_hot(answer, 3).float()
'''


def make_suite(n: int = 600, *, name: str = "tiny", sets: int = 2, seed: int = 0) -> Suite:
    """Images of 1x6x5 in three classes, whose first pixels say label, adversarial set and number."""
    pixels = np.random.default_rng(seed).integers(0, 200, (n, 1, 6, 5)).astype(np.uint8)
    flat = pixels.reshape(n, -1)
    labels = np.arange(n) % 3
    flat[:, 0], flat[:, 1], flat[:, 2], flat[:, 3] = labels, 0, np.arange(n) // 256, np.arange(n) % 256
    adversarial = []
    for made in range(1, sets + 1):
        changed = pixels.copy()
        changed.reshape(n, -1)[:, 1] = made
        adversarial.append(changed)
    return Suite(
        name=name,
        description="made by a test",
        task="digits",
        classes=("zero", "one", "two"),
        sources=("uci",),
        scenario="",
        clean=pixels,
        labels=labels.astype(np.int64),
        image_source=np.zeros(n, np.int64),
        ids=np.arange(n, dtype=np.int64),
        sets=tuple(
            AdversarialSet(
                name=f"pgd linf 48/255 from net-{made}",
                surrogate=f"net-{made}",
                axes={"source": "uci", "balance": "uniform", "architecture": f"net-{made}"},
                fingerprints=("ab",),
                attack="pgd",
                norm="linf",
                eps="48/255",
                seed=0,
            )
            for made in range(1, sets + 1)
        ),
        adversarial=tuple(adversarial),
    )


Run = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests write a file anew within a second and as long as before: a compiled one would be taken for it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


@pytest.fixture
def repository(pytester: pytest.Pytester) -> Path:
    """A folder with tiny.suite and models.py."""
    write_suite(make_suite(), pytester.path / "tiny.suite")
    pytester.makepyfile(models=MODELS)
    return pytester.path


@pytest.fixture
def run(pytester: pytest.Pytester, repository: Path) -> Run:
    """Run pytest in the repository, in this process."""

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*PLUGIN, *QUICK, "-p", "no:cacheprovider", *arguments)

    return run


@pytest.fixture
def write(pytester: pytest.Pytester) -> Callable[..., None]:
    """Write a test file: `write(test_model="...")` with the imports that it needs."""

    def write(**files: str) -> None:
        for name, body in files.items():
            pytester.path.joinpath(f"{name}.py").write_text(f"import pytest\nfrom models import Model\n\n{body}\n")

    return write
