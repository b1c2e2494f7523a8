"""Attacks of torchattacks, by name."""

import contextlib
import inspect
import io
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from carom.attacks.reading.gradients import Gradients
from carom.budget import NORMS, Budget, Norm, parse_eps
from carom.draws import Draws
from carom.errors import ContractError, InputError, one_line
from carom.protocols import Attack, Passes, Reader
from carom.registry import check_keys, lookup
from carom.typing import Images

from .contained import THEIR_NORM, Answers, contained, library

_WRAPPERS = ("LGV", "MultiAttack")
_L2 = ("CW", "DeepFool", "EADEN", "PGDL2", "PGDRSL2")
_OTHER = ("EADL1", "GN", "JSMA", "OnePixel", "Pixle", "SparseFool", "VANILA")  # of no norm that a budget has
_RADIUS = ("eps", "max_epsilon")  # what they call the radius


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

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        x, target = reader.x, reader.target
        if budget.norm not in self.norms:
            raise InputError(f"{self} needs {' or '.join(self.norms)} budgets, got {budget.norm}")
        if budget.eps == 0 or not len(x):
            return x.clone()
        with contained(reader, draws, str(self)) as seed:
            attack = self._made(Answers(reader), budget, reader, seed)
            attack.set_device(x.device)
            if target is not None:
                if "targeted" not in attack.supported_mode:
                    raise InputError(f"{self} cannot aim at a class")
                attack.set_mode_targeted_by_label(quiet=True)
            x_adv = attack(x.clone(), (reader.y if target is None else target).clone())
        if x_adv.shape != x.shape:
            raise ContractError(f"{self} gave images {tuple(x_adv.shape)} for {tuple(x.shape)}")
        x_adv = x_adv.detach().to(x)
        inside = budget.project(x_adv, x)
        reader.note("projected", ((inside - x_adv).abs().flatten(1).amax(1) > 1e-6).long())
        return inside

    def _class(self) -> Any:
        module = library("torchattacks", "pip install --no-deps torchattacks (it pins an old requests)")
        known = {name: getattr(module, name) for name in module.__all__}
        if self.name in _WRAPPERS:
            raise InputError(f"torchattacks:{self.name} is made of other attacks or models; name the attack itself")
        return lookup(self.name, known, where="torchattacks", what="attack")

    def _made(self, model: nn.Module, budget: Budget, reader: Reader | None = None, seed: int | None = None) -> Any:
        """An instance.

        Raises:
            InputError: The class refuses a value, or counts other classes than the model has.
        """
        cls = self._class()
        taken = inspect.signature(cls).parameters
        settings = dict(self.settings)
        settings |= {key: float(budget.eps) for key in _RADIUS if key in taken}
        if "norm" in taken:
            settings["norm"] = THEIR_NORM[budget.norm]
        if "seed" in taken and seed is not None:
            settings.setdefault("seed", seed)
        if "n_classes" in taken and reader is not None:
            classes = reader.logits(reader.x[:1]).shape[1]
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
    reader = Gradients(_ConstantSource(), torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, dtype=torch.int64))
    attack(reader, Budget(norm=attack.norms[0], eps=Fraction(8, 255)), Draws(0, torch.zeros(1, dtype=torch.int64)))
    return reader.passes


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


def torchattacks(name: str, settings: tuple[tuple[str, object], ...] = ()) -> Attack:
    """An attack of torchattacks (Kim 2020, arXiv:2010.01950) by the name of its class: torchattacks:PGD.

    Raises:
        InputError: No name, or one that torchattacks does not have.
    """
    if not name:
        raise InputError("torchattacks: name one of its attacks, such as torchattacks:FGSM")
    return cast("Attack", TorchAttacks(name=name, settings=settings))
