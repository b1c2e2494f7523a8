"""Attacks of other libraries: torchattacks by name, and AutoAttack.

They draw from torch's global generator for a whole batch at once, so their sets depend on how the images are cut into
chunks. Each run seeds that generator from the attack's seed and the ids of the images at hand. All that they could
change outside themselves is put back.
"""

import contextlib
import hashlib
import importlib
import inspect
import io
import logging
import random
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from types import ModuleType
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from carom.attacks.reading.gradients import Gradients
from carom.budget import NORMS, Budget, Norm, parse_eps
from carom.draws import Draws
from carom.errors import CaromError, ContractError, InputError, one_line
from carom.protocols import Attack, Passes
from carom.registry import build, check_keys, lookup
from carom.typing import Images, Labels

_THEIR_NORM: Mapping[Norm, str] = {"linf": "Linf", "l2": "L2"}
_WRAPPERS = ("LGV", "MultiAttack")
_L2 = ("CW", "DeepFool", "EADEN", "PGDL2", "PGDRSL2")
_OTHER = ("EADL1", "GN", "JSMA", "OnePixel", "Pixle", "SparseFool", "VANILA")  # of no norm that a budget has
_RADIUS = ("eps", "max_epsilon")  # what they call the radius
_SILENT = logging.Logger("autoattack", level=logging.CRITICAL + 1)


class Answers(nn.Module):
    """A chunk's target as one torch module: the active members combined, every pass counted.

    The members are no submodules, so nobody's `train()` or `eval()` reaches them.
    """

    def __init__(self, gradients: Gradients) -> None:
        super().__init__()
        self._gradients = (gradients,)
        # what is asked for the device is a parameter
        self.anchor = nn.Parameter(torch.zeros((), device=gradients.x.device), requires_grad=False)
        self.eval()

    @override
    def forward(self, x: Tensor) -> Tensor:
        (gradients,) = self._gradients
        return gradients.answer(x.to(gradients.x.dtype)).to(x.dtype)


@contextlib.contextmanager
def _contained(gradients: Gradients, draws: Draws, name: str) -> Iterator[int]:
    """Seeds every generator, silences, and puts everything back; gives the seed.

    Raises:
        ContractError: Whatever was raised inside, but carom's own errors, which pass.
    """
    digest = hashlib.sha256(f"{draws.seed}|{name}|".encode() + draws.ids.cpu().numpy().tobytes())
    seed = int.from_bytes(digest.digest()[:4], "big") >> 1
    modules = {m for member in gradients.members() if isinstance(member, nn.Module) for m in member.modules()}
    trainable = [(p, p.grad) for module in modules for p in module.parameters(recurse=False) if p.requires_grad]
    training = [(module, module.training) for module in modules]
    cudnn = torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark
    strict, lenient = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  they draw from it
    with (
        torch.random.fork_rng(devices=[gradients.x.device] if gradients.x.is_cuda else []),
        torch.enable_grad(),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            for parameter, _ in trainable:  # they call backward, which would leave gradients here
                parameter.requires_grad_(False)
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            yield seed
        except CaromError:
            raise
        except Exception as error:
            raise ContractError(f"{name} failed: {one_line(error)}") from error
        finally:
            for parameter, gradient in trainable:
                parameter.requires_grad_(True)
                parameter.grad = gradient
            for module, mode in training:
                module.training = mode
            cudnn.deterministic, cudnn.benchmark = flags
            torch.use_deterministic_algorithms(strict, warn_only=lenient)
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002


def _library(name: str, install: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{name} cannot be imported ({one_line(error)}); install it: {install}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchAttacks:
    """An attack of torchattacks, by the name of its class (Kim 2020, arXiv:2010.01950).

    It gets the radius of the budget, and the norm where it takes one; everything else is as torchattacks has it unless
    it is set here, a step of 2/255 at any radius among it. A number may be written as a fraction: alpha = "2/255". The
    number of classes is the model's, and a seed is ours. Classes that know no budget (CW, JSMA) run as they are.

    The result is brought into the ball; images that this changed have a 1 in the column "projected". Some classes (CW,
    Square, FAB, APGD) give an image that they did not break back as it was.

    Attributes:
        name: The class: "PGD", "VMIFGSM".
        settings: Arguments of the class and their values.

    Raises:
        InputError: torchattacks is not installed, has no such class, the class no such argument, or it refuses a value.
    """

    name: str
    settings: tuple[tuple[str, object], ...] = ()

    version: ClassVar[int] = 1
    batch_independent: ClassVar[bool] = False

    def __post_init__(self) -> None:
        taken = {key: p.default for key, p in inspect.signature(self._class()).parameters.items() if key != "model"}
        fixed = [key for key in (*_RADIUS, "norm") if key in taken]
        settings = dict(self.settings)
        for key in settings:
            if key in fixed or key == "model":
                raise InputError(
                    f"torchattacks:{self.name}: {key!r} comes from the budget and the surrogate; leave it out"
                )
        check_keys(settings, [key for key in taken if key not in fixed], where=f"torchattacks:{self.name}")
        checked = tuple((key, _as_default(settings[key], taken[key], f"{self}.{key}")) for key in sorted(settings))
        object.__setattr__(self, "settings", checked)
        self._made(_Constant(), Budget(norm=self.norms[0], eps=Fraction(1, 10)))

    def __str__(self) -> str:
        return f"torchattacks:{self.name}"

    @property
    def norms(self) -> tuple[Norm, ...]:
        """Those that the class is defined in; both for classes of neither, whose results are projected."""
        parameters = inspect.signature(self._class()).parameters
        if "norm" in parameters or self.name in _OTHER:
            return NORMS
        if self.name in _L2:
            return ("l2",)
        return ("linf",) if any(key in parameters for key in _RADIUS) else NORMS

    @property
    def targeted(self) -> bool:
        """Whether the class can aim at given labels."""
        made = self._made(_Constant(), Budget(norm=self.norms[0], eps=Fraction(1, 10)))
        return "targeted" in made.supported_mode

    def passes(self, members: int = 1) -> Passes:
        """Measured: on a tiny image and a linear model of ten classes that nothing fools, so that nothing stops early.

        Attacks whose cost depends on the size of the image, on the number of classes or on progress (JSMA, OnePixel,
        DeepFool, EADEN, EADL1) may cost more than that.
        """
        one = _measured(self)
        if self.name == "CW":  # it stops where its cost rises, as on that model
            steps = int(cast("int", dict(self.settings).get("steps", 50)))
            one = Passes(steps, steps)
        return Passes(members * one.forward, members * one.backward)

    def __call__(self, gradients: Gradients, budget: Budget, draws: Draws) -> Images:
        x, target = gradients.x, gradients.target
        if budget.norm not in self.norms:
            raise InputError(f"{self} needs {' or '.join(self.norms)} budgets, got {budget.norm}")
        if budget.eps == 0 or not len(x):
            return x.clone()
        with _contained(gradients, draws, str(self)) as seed:
            attack = self._made(Answers(gradients), budget, gradients, seed)
            attack.set_device(x.device)
            if target is not None:
                if "targeted" not in attack.supported_mode:
                    raise InputError(f"{self} cannot aim at a class")
                attack.set_mode_targeted_by_label(quiet=True)
            x_adv = attack(x.clone(), (gradients.y if target is None else target).clone())
        if x_adv.shape != x.shape:
            raise ContractError(f"{self} gave images {tuple(x_adv.shape)} for {tuple(x.shape)}")
        x_adv = x_adv.detach().to(x)
        inside = budget.project(x_adv, x)
        gradients.note("projected", ((inside - x_adv).abs().flatten(1).amax(1) > 1e-6).long())
        return inside

    def _class(self) -> Any:
        library = _library("torchattacks", "pip install --no-deps torchattacks (it pins an old requests)")
        known = {name: getattr(library, name) for name in library.__all__}
        if self.name in _WRAPPERS:
            raise InputError(f"torchattacks:{self.name} is made of other attacks or models; name the attack itself")
        return lookup(self.name, known, where="torchattacks", what="attack")

    def _made(
        self, model: nn.Module, budget: Budget, gradients: Gradients | None = None, seed: int | None = None
    ) -> Any:
        """An instance.

        Raises:
            InputError: The class refuses a value, or counts other classes than the model has.
        """
        cls = self._class()
        taken = inspect.signature(cls).parameters
        settings = dict(self.settings)
        settings |= {key: float(budget.eps) for key in _RADIUS if key in taken}
        if "norm" in taken:
            settings["norm"] = _THEIR_NORM[budget.norm]
        if "seed" in taken and seed is not None:
            settings.setdefault("seed", seed)
        if "n_classes" in taken and gradients is not None:
            classes = gradients.logits(gradients.x[:1]).shape[1]
            if settings.setdefault("n_classes", classes) != classes:
                raise InputError(
                    f"{self}: n_classes is {settings['n_classes']}, but the model has {classes}; leave it out"
                )
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return cls(model, **settings)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self}: {one_line(error)}") from None


class _Constant(nn.Module):
    """Class 0 of ten, whatever comes, and a gradient all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()), requires_grad=False)

    @override
    def forward(self, x: Tensor) -> Tensor:
        slopes = torch.linspace(-1e-3, 1e-3, 10 * x[0].numel(), dtype=x.dtype).reshape(10, -1)
        return x.flatten(1) @ slopes.T + 10 * nn.functional.one_hot(torch.zeros(len(x), dtype=torch.int64), 10)


class _ConstantSource:
    combination: ClassVar[Any] = "logits"

    def members(self, step: int, copy: int) -> list[nn.Module]:
        return [_Constant()]


@lru_cache(maxsize=256)
def _measured(attack: TorchAttacks) -> Passes:
    gradients = Gradients(_ConstantSource(), torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, dtype=torch.int64))
    attack(gradients, Budget(norm=attack.norms[0], eps=Fraction(8, 255)), Draws(0, torch.zeros(1, dtype=torch.int64)))
    return gradients.passes


def _as_default(value: object, default: object, where: str) -> object:
    """A setting, checked against the kind of value that the class itself has there."""
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(default, bool):
        fits = isinstance(value, bool)
    elif isinstance(default, int | float):
        if isinstance(value, str):
            value = float(parse_eps(value, where=where))
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = default is None or default is inspect.Parameter.empty or isinstance(value, type(default))
    if not fits:
        raise InputError(f"{where}: expected a value such as {default!r}, got {value!r}")
    return value


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

    def __call__(self, gradients: Gradients, budget: Budget, draws: Draws) -> Images:
        x, y = gradients.x, gradients.y
        if budget.eps == 0 or not len(x):
            return x.clone()
        with _contained(gradients, draws, "autoattack") as seed:
            logits = gradients.logits(x)
            correct, broken = logits.argmax(1) == y, torch.zeros_like(y, dtype=torch.bool)
            x_adv, begun = x.clone(), False
            for name in self._parts():
                if logits.shape[1] < (needed := _CLASSES.get(name, 2)):
                    if isinstance(self.suite, str) and logits.shape[1] > 1:
                        continue
                    raise InputError(f"autoattack: {name} needs {needed} classes, the model has {logits.shape[1]}")
                attack = self._made(name, gradients, budget, seed, logits.shape[1])
                climbs = name in _CLIMBING
                rows = (~broken if climbs and not begun else ~broken & correct).nonzero().flatten()
                if not len(rows):
                    continue
                best, found, fooled = _run(name, attack, x[rows], y[rows], gradients)
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

    def _made(self, name: str, gradients: Gradients, budget: Budget, seed: int, classes: int) -> Any:
        common: dict[str, Any] = {
            "norm": _THEIR_NORM[budget.norm],
            "eps": float(budget.eps),
            "seed": seed,
            "device": gradients.x.device,
        }
        model, targets = Answers(gradients), min(_TARGETS, classes - 1)
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


def _run(name: str, attack: Any, x: Images, y: Labels, gradients: Gradients) -> tuple[Tensor, Tensor, Tensor]:
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
    return best, found, gradients.logits(found.to(gradients.x)).argmax(1) != y


def _autoattack(module: str) -> Any:
    _library("pyautoattack", "pip install pyautoattack")
    return importlib.import_module(f"pyautoattack.{module}")


def torchattacks(name: str, settings: tuple[tuple[str, object], ...] = ()) -> Attack:
    """An attack of torchattacks (Kim 2020, arXiv:2010.01950) by the name of its class: torchattacks:PGD.

    Raises:
        InputError: No name, or one that torchattacks does not have.
    """
    if not name:
        raise InputError("torchattacks: name one of its attacks, such as torchattacks:FGSM")
    return cast("Attack", TorchAttacks(name=name, settings=settings))


def autoattack(name: str, settings: tuple[tuple[str, object], ...] = ()) -> Attack:
    """AutoAttack (Croce and Hein 2020, arXiv:2003.01690), alone its standard suite: autoattack:apgd-ce+square."""
    suite = tuple(name.split("+")) if name.split("+")[0] in _PARTS else name or "standard"
    return build(AutoAttack, {**dict(settings), "suite": suite}, where=f"autoattack:{name}")
