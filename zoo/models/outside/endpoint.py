"""Victims behind HTTP: one image a request as PNG, or batches as JSON; answers as JSON."""

import json
import math
import os
import random
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, ClassVar, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from carom.errors import InputError, ModelError
from carom.identity import content_key
from carom.registry import build, check_keys, checked
from carom.zoo.models.victims import Answers, CallableVictim

SCHEMES = ("http://", "https://")
_AGAIN = (408, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0  # seconds that a service may ask us to wait before the next try
_LARGEST = 1 << 26  # bytes of an answer
_QUOTED = 1 << 14  # bytes of an answer that are looked at where it is quoted: a secret in it is hidden before it is cut


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A service that answers images, as a victim.

    Attributes:
        url: Where to post.
        send: "png", one image a request as its body; or "json", `{"images": n c h w}` with floats in [0, 1].
        answers: What comes back for each image.
        field: Where in the JSON that comes back: names and list positions with dots between; "" for all of it.
        classes: Names of the task's classes in its order, for a service that answers with names.
        header: Name of a header to send, such as "Authorization".
        secret: Environment variable that holds the header's value; the value is neither stored nor shown.
        batch: Images in a JSON request.
        per_second: Most requests in a second; None for no limit.
        retries: After 429, 5xx, timeouts and refused connections.
        backoff: Seconds before the first retry, doubled each time; a service's Retry-After counts where it is longer.
        timeout: Seconds without an answer.
        budget: Most images sent in all, retries included, by one process; None for no limit.
        revision: What tells this version of the service from the next. Without it, outcomes serve one run only.
        deterministic: The same images always get the same answer.

    Raises:
        InputError: A number out of its range, a header without a secret, or an address that cannot be one.
    """

    url: str
    send: Literal["png", "json"] = "png"
    answers: Answers = "labels"
    field: str = "predictions"
    classes: tuple[str, ...] | None = None
    header: str | None = None
    secret: str | None = None
    batch: int = 32
    per_second: float | None = None
    retries: int = 4
    backoff: float = 0.5
    timeout: float = 10.0
    budget: int | None = None
    revision: str | None = None
    deterministic: bool = True

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        where = "endpoint"
        checked(self, where, batch=(1, 4096), retries=(0, 100), backoff=(0, 60), timeout=(0.001, 3600))
        if self.per_second is not None and not (math.isfinite(self.per_second) and self.per_second > 0):
            raise InputError(f"{where}: per_second must be above 0, got {self.per_second:g}")
        if self.budget is not None and self.budget < 1:
            raise InputError(f"{where}: budget must be at least 1 image, got {self.budget}")
        if (self.header is None) != (self.secret is None):
            raise InputError(
                f"{where}: header and secret belong together: the header's name, and the environment "
                "variable that holds its value"
            )
        if self.header is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", self.header):
            raise InputError(f"{where}: header is a name such as Authorization, got {self.header!r}")
        try:
            parts = urlsplit(self.url)
            known = parts.hostname is not None and parts.port != 0 and re.fullmatch("[!-~]+", self.url) is not None
        except ValueError:
            parts, known = urlsplit(""), False
        if not known:
            raise InputError(
                f"{where}: {place(self.url)!r} is no address; expected https://HOST/PATH without blanks, other letters "
                "as %XX"
            )
        if parts.username is not None or parts.password is not None:
            raise InputError(f"{where}: the address holds a password; name header and secret instead")

    def key(self) -> str | None:
        """What is asked for; None without a revision."""
        if self.revision is None:
            return None
        asked = (self.url, self.send, self.answers, self.field, self.classes, self.revision, self.deterministic)
        return content_key("endpoint", self.version, *asked)


def endpoint(url: str, table: Mapping[str, Any], *, where: str) -> Endpoint:
    """From a model's table.

    Raises:
        InputError: An unknown or wrong field.
    """
    check_keys(table, [name for name in Endpoint.__dataclass_fields__ if name not in ("url", "version")], where=where)
    return build(Endpoint, {"url": url, **table}, where=where)


def load_endpoint(reference: Endpoint, *, classes: int, where: str) -> CallableVictim:
    """The service, ready to be asked; nothing is sent yet.

    Raises:
        InputError: Its secret is not in the environment, or the named classes are not as many as the task's.
    """
    where = f"{where}: {place(reference.url)}"
    if reference.classes is not None and len(reference.classes) != classes:
        raise InputError(f"{where}: {len(reference.classes)} names of classes, the task has {classes}")
    value = None
    if reference.secret is not None:
        value = os.environ.get(reference.secret)
        if not value or not (value.isprintable() and value.isascii()):
            raise InputError(
                f"{where}: the environment variable {reference.secret} holds no value for the header "
                f"{reference.header}; set it to one line of ASCII"
            )
    return CallableVictim(_Client(reference, value, where), where, reference.answers, reference.deterministic)


def place(url: str) -> str:
    """The address without its query, which may hold a token, and without a password."""
    return re.sub("//[^/]*@", "//", re.split("[?#]", url)[0])


# ------------------------------------------------------------------------------------------------------------ sending


class _Meter:
    """What one process sent to one address: a model is loaded for every job, and its limits hold over all of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.images = 0
        self.free_at = 0.0

    def enter(self, images: int, reference: Endpoint, where: str) -> None:
        with self.lock:
            if reference.budget is not None and self.images + images > reference.budget:
                raise ModelError(
                    f"{where}: its budget of {reference.budget} images is spent ({self.images} were sent); "
                    "raise budget, or ask about fewer images"
                )
            self.images += images
            now = time.monotonic()
            wait = max(0.0, self.free_at - now)
            if reference.per_second is not None:
                self.free_at = now + wait + 1 / reference.per_second
        if wait:
            time.sleep(wait)

    def give_back(self, images: int) -> None:
        """For images that never left."""
        with self.lock:
            self.images -= images


_METERS: dict[str, _Meter] = {}


class _NoRedirect(HTTPRedirectHandler):
    """A redirect is an answer like any other: a header with a secret does not follow it to another host."""

    @override
    def http_error_302(self, *args: Any, **kwargs: Any) -> None:
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Client:
    """Asks an endpoint with torch images."""

    def __init__(self, reference: Endpoint, value: str | None, where: str) -> None:
        self.reference = reference
        self.headers = {"Accept": "application/json", "User-Agent": "carom"}
        if reference.header is not None and value is not None:
            self.headers[reference.header] = value
        self.hide = _hiding(value)
        self.where = where
        self.meter = _METERS.setdefault(reference.url, _Meter())
        self.opener = build_opener(_NoRedirect)

    def __call__(self, x: Tensor) -> Tensor:
        images = x.cpu().numpy()  # not detached on purpose: images that want a gradient fail here, and are not sent
        rows: list[Any] = []
        size = 1 if self.reference.send == "png" else self.reference.batch
        try:
            for start in range(0, len(images), size):
                rows += self._rows(images[start : start + size])
        except ModelError as error:  # what the service said may be in it
            raise ModelError(self.hide(str(error))) from None
        values = np.asarray(rows, dtype=np.int64 if self.reference.answers == "labels" else np.float32)
        return torch.from_numpy(values).to(x.device)

    def _rows(self, images: NDArray[np.float32]) -> list[Any]:
        if self.reference.send == "png":
            body, kind = png(images[0], where=self.where), "image/png"
        else:
            body, kind = json.dumps({"images": images.clip(0, 1).tolist()}).encode(), "application/json"
        found = _inside(self._sent(body, kind, len(images)), self.reference.field, self.where, self.hide)
        alone = self.reference.send == "png" and not (
            isinstance(found, list) and len(found) == 1 and (self.reference.answers == "labels" or _is_row(found[0]))
        )
        rows = [found] if alone else found
        if not isinstance(rows, list):
            raise ModelError(
                f"{self.where}: expected a list with one entry an image in {_named(self.reference.field)}, got "
                f"{_short(found, self.hide)}"
            )
        if len(rows) != len(images):
            raise ModelError(f"{self.where}: answered {len(images)} images with {len(rows)} rows; expected one each")
        return [_row(row, self.reference, self.where, self.hide) for row in rows]

    def _sent(self, body: bytes, kind: str, images: int) -> Any:
        """The JSON that comes back, tried again where that may help."""
        wait, problem = self.reference.backoff, ""
        for attempt in range(self.reference.retries + 1):
            self.meter.enter(images, self.reference, self.where)
            after = 0.0
            request = Request(self.reference.url, body, {**self.headers, "Content-Type": kind}, method="POST")
            try:
                with self.opener.open(request, timeout=self.reference.timeout) as response:
                    data, form = response.read(_LARGEST + 1), response.headers.get_content_type()
                    return _json(data, form, self.where, self.hide)
            except HTTPError as error:
                with error:
                    problem, after = self._refused(error)
            except (TimeoutError, URLError, HTTPException, OSError) as error:
                problem = self._unreachable(error)
                if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
                    self.meter.give_back(images)
            if after > _LONGEST_WAIT:
                raise ModelError(
                    f"{self.where}: {problem}, and asks to wait {after:g} s; lower per_second, or go on later"
                )
            if attempt < self.reference.retries:
                # spread, so that several workers do not come back at once
                time.sleep(max(after, wait * random.uniform(0.75, 1.25)))
                wait *= 2
        tries = self.reference.retries + 1
        advice = "lower per_second" if "429" in problem else "check the address and that the service runs"
        raise ModelError(f"{self.where}: {problem}, {tries} {'try' if tries == 1 else 'tries'}; {advice}")

    def _refused(self, error: HTTPError) -> tuple[str, float]:
        """What went wrong and how long the service asks to wait; raises where trying again is of no use."""
        if error.code in _AGAIN:
            meaning = "rate-limited" if error.code == 429 else "failed"
            return f"{meaning} (HTTP {error.code})", _seconds(error.headers.get("Retry-After"))
        if 300 <= error.code < 400:
            target = place(error.headers.get("Location") or "nowhere")
            raise ModelError(f"{self.where}: redirects to {target} (HTTP {error.code}); name that address")
        hint = {401: "check header and secret", 403: "check header and secret", 404: "check the address"}
        said = " ".join(self.hide(error.read(_QUOTED).decode("utf-8", "replace"))[:200].split())
        advice = hint.get(error.code, "check send, and what the service expects")
        raise ModelError(f"{self.where}: refused (HTTP {error.code}: {said or 'no message'}); {advice}")

    def _unreachable(self, error: Exception) -> str:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            return f"no answer in {self.reference.timeout:g} s"
        said = getattr(reason, "strerror", None) or " ".join(str(reason).split()) or type(reason).__name__
        return f"cannot be reached ({said})"


def _seconds(value: str | None) -> float:
    """Of a Retry-After header; its other form, a date, counts as none."""
    try:
        seconds = float(value or 0)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


# ---------------------------------------------------------------------------------------------------------- answering


def _hiding(secret: str | None) -> Callable[[str], str]:
    """Puts *** for a secret, and for its part behind a scheme such as Bearer, in any case and however it is escaped."""
    if secret is None:
        return str
    plain = [secret, *secret.split()[-1:]]
    escaped = [form for v in plain for form in (v, quote(v), quote(v, safe=""), json.dumps(v)[1:-1], repr(v)[1:-1])]
    forms = {form for v in escaped for form in (v, v.replace("/", "\\/"))}
    any_form = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))), re.IGNORECASE)
    return lambda text: any_form.sub("***", text)


def _json(data: bytes, kind: str, where: str, hide: Callable[[str], str]) -> Any:
    if len(data) > _LARGEST:
        raise ModelError(f"{where}: an answer of more than {_LARGEST >> 20} MiB; expected labels or scores")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        start = " ".join(hide(data[:_QUOTED].decode("utf-8", "replace"))[:60].split())
        raise ModelError(
            f"{where}: answered {kind} that begins {start!r}; expected JSON: check that the address is the service's"
        ) from None


def _inside(found: Any, field: str, where: str, hide: Callable[[str], str]) -> Any:
    for part in field.split(".") if field else ():
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            has = f"has {', '.join(map(str, found))}" if isinstance(found, dict) else f"is {_short(found, hide)}"
            has = " ".join(hide(has)[:200].split())
            raise ModelError(f"{where}: no {part!r} in the answer, which {has}; check field = {field!r}")
    return found


def _row(row: Any, reference: Endpoint, where: str, hide: Callable[[str], str]) -> Any:
    """A label, or a list of scores in the task's order."""
    names = reference.classes
    if reference.answers == "labels":
        if isinstance(row, str) and names is not None:
            if row not in names:
                raise ModelError(f"{where}: answered {_short(row, hide)}; expected one of {', '.join(names)}")
            return names.index(row)
        if isinstance(row, bool) or not isinstance(row, int) or not -(1 << 62) < row < 1 << 62:
            more = "; add classes = [names]" if isinstance(row, str) else ""
            raise ModelError(f"{where}: expected a label for each image, got {_short(row, hide)}{more}")
        return row
    if isinstance(row, dict) and names is not None:
        if missing := [name for name in names if name not in row]:
            raise ModelError(f"{where}: no score for {missing[0]!r} in the answer; expected one for each of classes")
        row = [row[name] for name in names]
    if not _is_row(row) or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in row):
        raise ModelError(f"{where}: expected a list of {reference.answers} for each image, got {_short(row, hide)}")
    if reference.classes is not None and len(row) != len(reference.classes):
        raise ModelError(f"{where}: answers with {len(row)} scores for {len(reference.classes)} named classes")
    return row


def _is_row(value: Any) -> bool:
    return isinstance(value, list | dict)


def _named(field: str) -> str:
    return f"the field {field!r}" if field else "the answer"


def _short(value: Any, hide: Callable[[str], str]) -> str:
    text = " ".join(hide(json.dumps(value)).split())
    return text if len(text) <= 60 else text[:57] + "..."


def png(image: NDArray[np.float32], *, where: str = "png") -> bytes:
    """A PNG of one image `c h w` in [0, 1], grey or RGB, 8 bits a channel.

    Raises:
        ModelError: It has neither one channel nor three.
    """
    channels, rows, columns = image.shape
    if channels not in (1, 3):
        raise ModelError(f'{where}: images of {channels} channels are no PNG; expected 1 or 3, or send = "json"')
    pixels = np.clip(np.rint(image.transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8).reshape(rows, -1)
    lines = np.hstack([np.zeros((rows, 1), np.uint8), pixels]).tobytes()  # each row begins with its filter: none

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
