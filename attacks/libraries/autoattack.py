"""AutoAttack, and the attacks that it is made of."""

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from carom.budget import NORMS, Budget, Norm
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Attack, Passes, Reader
from carom.registry import build, lookup
from carom.typing import Images, Labels

from .contained import THEIR_NORM, Answers, contained, library

_SILENT = logging.Logger("autoattack", level=logging.CRITICAL + 1)

_PARTS = ("apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square")
_SUITES: Mapping[str, tuple[str, ...]] = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
_CLASSES = {"apgd-dlr": 3, "apgd-t": 4}  # that its loss needs
_CLIMBING = ("apgd-ce", "apgd-dlr", "square")  # their last image means something where it does not fool
_TARGETS = 9  # at most, of apgd-t and fab-t
_AVERAGED = 20  # gradients a step of "rand"


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoAttack:
    """A suite of parameter-free attacks, each on what those before did not break (Croce and Hein, arXiv:2003.01690).

    "standard" is APGD on cross-entropy, targeted APGD, targeted FAB and Square; "rand", for randomised models, APGD on
    both losses with 20 gradients a step. Targeted attacks aim at the nine likeliest other classes, or as many as there
    are. In these two suites an attack whose loss needs more classes than the model has is left out: apgd-dlr needs 3,
    apgd-t 4.

    The attacks are pyautoattack's, which returns the clean image where it breaks nothing. Here such an image is the
    iterate of highest loss of the first APGD (or else Square) of the suite, and images that were misclassified before
    are attacked by that one too: what does not fool this target may fool another.

    Attributes:
        suite: "standard", "rand", or names of attacks: apgd-ce, apgd-dlr, apgd-t, fab-t, square.
        steps: Of APGD and FAB, at least 1.
        queries: Of Square, at least 1.

    Raises:
        InputError: Unknown names, numbers out of range, or pyautoattack is not installed.
    """

    suite: str | tuple[str, ...] = "standard"
    steps: int = 100
    queries: int = 5000

    norms: ClassVar[tuple[Norm, ...]] = NORMS
    targeted: ClassVar[bool] = False
    version: ClassVar[int] = 1
    batch_independent: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.suite, str):
            lookup(self.suite, _SUITES, where="autoattack", what="suite")
        elif not self.suite or len(set(self.suite)) < len(self.suite):
            raise InputError(f"autoattack: expected attacks, each once, got {self.suite!r}")
        for name in self._parts():
            lookup(name, dict.fromkeys(_PARTS), where="autoattack", what="attack")
        for name, count in (("steps", self.steps), ("queries", self.queries)):
            if count < 1:
                raise InputError(f"autoattack: {name} must be at least 1, got {count}")
        _autoattack("autopgd_base")

    def passes(self, members: int = 1) -> Passes:
        forward, backward = 1, 0
        for name in self._parts():
            if name == "square":
                forward += self.queries + 2
            elif name == "fab-t":
                forward, backward = forward + 2 + _TARGETS * (3 + 2 * self.steps), backward + _TARGETS * self.steps
            elif name == "apgd-t":
                read = _TARGETS * (self.steps + 1)
                forward, backward = forward + 2 + _TARGETS + read, backward + read
            else:
                read = self._averaged() * (self.steps + 1)
                forward, backward = forward + read, backward + read
        return Passes(members * forward, members * backward)

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        x, y = reader.x, reader.y
        if budget.eps == 0 or not len(x):
            return x.clone()
        with contained(reader, draws, "autoattack") as seed:
            logits = reader.logits(x)
            correct, broken = logits.argmax(1) == y, torch.zeros_like(y, dtype=torch.bool)
            x_adv, begun = x.clone(), False
            for name in self._parts():
                if logits.shape[1] < (needed := _CLASSES.get(name, 2)):
                    if isinstance(self.suite, str) and logits.shape[1] > 1:
                        continue
                    raise InputError(f"autoattack: {name} needs {needed} classes, the model has {logits.shape[1]}")
                attack = self._made(name, reader, budget, seed, logits.shape[1])
                climbs = name in _CLIMBING
                rows = (~broken if climbs and not begun else ~broken & correct).nonzero().flatten()
                if not len(rows):
                    continue
                best, found, fooled = _run(name, attack, x[rows], y[rows], reader)
                hit = fooled & correct[rows]
                if climbs and not begun:
                    x_adv[rows], begun = best.to(x), True
                x_adv[rows[hit]] = found[hit].to(x)
                broken[rows[hit]] = True
        return budget.project(x_adv, x)

    def _parts(self) -> tuple[str, ...]:
        return _SUITES[self.suite] if isinstance(self.suite, str) else self.suite

    def _averaged(self) -> int:
        return _AVERAGED if self.suite == "rand" else 1

    def _made(self, name: str, reader: Reader, budget: Budget, seed: int, classes: int) -> Any:
        common: dict[str, Any] = {
            "norm": THEIR_NORM[budget.norm],
            "eps": float(budget.eps),
            "seed": seed,
            "device": reader.x.device,
        }
        model, targets = Answers(reader), min(_TARGETS, classes - 1)
        if name == "square":
            made = _autoattack("square").SquareAttack(model, n_queries=self.queries, resc_schedule=False, **common)
        elif name == "fab-t":
            made = _autoattack("fab_pt").FABAttack_PT(
                model, n_iter=self.steps, targeted=True, n_target_classes=targets, **common
            )
        elif name == "apgd-t":
            made = _autoattack("autopgd_base").APGDAttack_targeted(
                model, n_iter=self.steps, n_target_classes=targets, logger=_SILENT, **common
            )
        else:
            made = _autoattack("autopgd_base").APGDAttack(
                model, n_iter=self.steps, loss=name[5:], eot_iter=self._averaged(), logger=_SILENT, **common
            )
        return made


def _run(name: str, attack: Any, x: Images, y: Labels, reader: Reader) -> tuple[Tensor, Tensor, Tensor]:
    """What it ends at, what it found, and which of that fools."""
    x, y = x.clone(), y.clone()
    if name not in _CLIMBING:
        best = found = attack.perturb(x, y).detach()
    else:
        # below `perturb`, which returns the clean image where nothing fooled
        torch.manual_seed(attack.seed)
        attack.init_hyperparam(x)
        if name != "square":
            best, standing, _, found = attack.attack_single_run(x, y)
            return best.detach(), found.detach(), standing == 0
        best = found = attack.attack_single_run(x, y)[1]
    return best, found, reader.logits(found.to(reader.x)).argmax(1) != y


def _autoattack(module: str) -> Any:
    library("pyautoattack", "pip install pyautoattack")
    return importlib.import_module(f"pyautoattack.{module}")


def autoattack(name: str, settings: tuple[tuple[str, object], ...] = ()) -> Attack:
    """AutoAttack (Croce and Hein 2020, arXiv:2003.01690), alone its standard suite: autoattack:apgd-ce+square."""
    suite = tuple(name.split("+")) if name.split("+")[0] in _PARTS else name or "standard"
    return build(AutoAttack, {**dict(settings), "suite": suite}, where=f"autoattack:{name}")
