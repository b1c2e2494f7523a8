"""The scenario that an audit runs, as a file that can be changed and run by `carom run`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from carom.attacks import ATTACKS as FAMILIES
from carom.attacks import TransferThenQuery, parse_attack
from carom.budget import parse_eps
from carom.errors import InputError

from .surrogates import Public

EPS = ("2/255", "4/255", "8/255")
ATTACKS = ("fgsm", "mi", "mi+di")  # one step, ten, and ten of which each sees the image resized and padded at random
WHITE_BOX = "mi"
NOISE = "sign-noise 1"  # the control of every scenario that is as large as the ball lets it be

Table = Mapping[str, Any]


def radii(text: str | None) -> tuple[str, ...]:
    """The radii that a user names, with commas between; as fractions of 255 where a number stands alone.

    Raises:
        InputError: One is none.
    """
    if text is None:
        return EPS
    found = []
    for part in text.split(","):
        eps = parse_eps(part.strip(), where="--eps")
        if eps > 1:
            raise InputError(
                f'--eps {part.strip()}: above 1 in pixel units; for grey levels write "{part.strip()}/255"'
            )
        levels = eps * 255
        found.append(f"{levels.numerator}/255" if levels.denominator == 1 else str(eps))
    return tuple(dict.fromkeys(found))


def attack_names(text: str | None) -> tuple[str, ...]:
    """The attacks that a user names, with commas between.

    Raises:
        InputError: It names none, one that is unknown, or one that has to ask the model.
    """
    if text is None:
        return ATTACKS
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise InputError(f"--attacks {text!r}: names no attack; expected such as fgsm,mi,mi+di")
    for name in found:
        attack = parse_attack(name, where="--attacks")
        if isinstance(attack, TransferThenQuery) or (name in FAMILIES and FAMILIES[name].family == "query"):
            raise InputError(
                f"--attacks {name}: it asks the audited model, which an attacker with public models alone does not; "
                'leave it out, or run it by a scenario with reads = "victim"'
            )
    return found


def scenario_text(
    *,
    name: str,
    task: Table,
    per_source: int | None,
    victim: Table,
    label: str,
    white_box: bool,
    surrogates: Sequence[Public],
    attacks: Sequence[str],
    eps: Sequence[str],
) -> str:
    """The TOML of an audit.

    Args:
        name: Of the run.
        task: The images' table.
        per_source: How many are attacked; None for all.
        victim: The audited model's table, with its preprocessing and revision.
        label: What tables call it.
        white_box: Whether it has gradients of its own to be attacked with.
        surrogates: What attacks are made on.
        attacks: Names of attacks.
        eps: Radii, linf.
    """
    entries: list[Any] = [*attacks, *([{"name": WHITE_BOX, "reads": "victim"}] if white_box else [])]
    lines = [
        "# Written by carom audit. To change what is run: edit this file, then carom run FILE, from the same folder.",
        f"name = {toml(name)}",
        f"description = {toml(f'How exposed {label} is to attacks made on public models.')}",
        f"task = {toml(task)}",
        *([f"images = {toml({'per_source': per_source})}"] if per_source is not None else []),
        f"attacks = {toml(entries)}",
        f"budgets = {toml([{'norm': 'linf', 'eps': list(eps)}])}",
    ]
    for one in surrogates:
        lines += ["", "[[surrogates]]", *_lines({**one.table, "name": one.label})]
    lines += ["", "[[victims]]", *_lines({**victim, "name": label})]
    return "\n".join(lines) + "\n"


def _lines(table: Table) -> list[str]:
    return [f"{_key(key)} = {toml(value)}" for key, value in table.items()]


def toml(value: object) -> str:
    """A value as TOML writes it, tables on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {toml(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    raise InputError(f"audit: {value!r} cannot be written as TOML")


def _key(key: str) -> str:
    plain = key.replace("-", "").replace("_", "")
    return key if plain.isascii() and plain.isalnum() else json.dumps(key)
