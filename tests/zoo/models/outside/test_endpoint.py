"""A service that answers images over HTTP, and everything that services do wrong."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image
from typing_extensions import override

from carom.errors import InputError, ModelError
from carom.typing import Pixels
from carom.zoo.models.classifier import Shape
from carom.zoo.models.outside.endpoint import png
from carom.zoo.models.references import load_reference, reference
from carom.zoo.models.victims import CallableVictim, check_victim

SHAPE: Shape = (3, 8, 7)
CLASSES = 4
NAMES = ["ant", "bee", "cat", "dog"]

Answer = tuple[int, Mapping[str, str], bytes]
Answerer = Callable[["Service"], Answer]


def scores(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of images n c h w in [0, 1]: something that depends on each image alone."""
    return np.stack(
        [images[:, 0].mean((1, 2)), images[:, 1].mean((1, 2)), images[:, 2].mean((1, 2)), images[:, 0, 0, 0]], 1
    )


class Service:
    """What it was sent, and how it answers: a function, or a list of them, one a request."""

    def __init__(self) -> None:
        self.answer: Answerer | list[Answerer] = lambda s: fine({"predictions": 0})
        self.url = ""
        self.requests: list[tuple[Mapping[str, str], bytes]] = []
        self.times: list[float] = []

    @property
    def images(self) -> np.ndarray[Any, Any]:
        """The images of the last request, n c h w in [0, 1]."""
        headers, body = self.requests[-1]
        if headers["Content-Type"] == "image/png":
            return np.asarray(Image.open(io.BytesIO(body))).transpose(2, 0, 1)[None] / 255
        return np.asarray(json.loads(body)["images"])


def fine(content: object) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


def refused(code: int, **headers: str) -> Answerer:
    return lambda s: (code, {k.replace("_", "-"): v for k, v in headers.items()}, b"no")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.requests.append((dict(self.headers.items()), body))
            state.times.append(time.monotonic())
            answer = state.answer.pop(0) if isinstance(state.answer, list) else state.answer
            code, headers, content = answer(state)
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/classify"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def images() -> Pixels:
    return torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def load(service: Service, **table: object) -> CallableVictim:
    named = reference({"model": service.url, "backoff": 0.01, **table}, where="s.toml: victims[0]")
    found = load_reference(named, shape=SHAPE, classes=CLASSES, where="victims[0]")
    assert isinstance(found, CallableVictim)
    return found


def test_a_png_is_the_image() -> None:
    for channels in (1, 3):
        pixels = np.random.default_rng(0).integers(0, 256, (channels, 8, 7))
        read = np.asarray(Image.open(io.BytesIO(png((pixels / 255).astype(np.float32)))))
        assert np.array_equal(read.reshape(8, 7, channels), pixels.transpose(1, 2, 0))
    with pytest.raises(ModelError, match=r'images of 2 channels are no PNG; expected 1 or 3, or send = "json"'):
        png(np.zeros((2, 8, 7), np.float32))


@pytest.mark.parametrize("send", ["png", "json"])
@pytest.mark.parametrize("answers", ["labels", "logits"])
@pytest.mark.parametrize("nested", [False, True])
def test_answers_are_those_of_the_service(
    send: str, answers: str, nested: bool, service: Service, images: Pixels
) -> None:
    def answer(s: Service) -> Answer:
        found = scores(s.images) * 9
        rows: Any = (found.argmax(1) if answers == "labels" else found).tolist()
        return fine({"out": [{"p": rows[0] if send == "png" and not nested else rows}]})

    service.answer = answer
    victim = load(service, send=send, answers=answers, field="out.0.p", batch=2)
    expected = torch.from_numpy(scores(images.numpy() / 255) * 9)
    given = victim(images.float() / 255)
    assert torch.equal(given, expected.argmax(1)) if answers == "labels" else torch.allclose(given.double(), expected)
    assert len(service.requests) == (5 if send == "png" else 3)
    check = check_victim(victim, name="v", shape=SHAPE, classes=CLASSES, images=images)
    assert (check.answers, check.differentiable, check.deterministic) == (answers, False, True)


def test_names_of_classes(service: Service, images: Pixels) -> None:
    x = images[:1].float() / 255
    service.answer = lambda s: fine({"predictions": "cat"})
    assert load(service, classes=NAMES)(x).tolist() == [2]
    with pytest.raises(ModelError, match=r'expected a label for each image, got "cat"; add classes = \[names\]'):
        load(service)(x)
    service.answer = lambda s: fine({"predictions": "cow"})
    with pytest.raises(ModelError, match='answered "cow"; expected one of ant, bee, cat, dog'):
        load(service, classes=NAMES)(x)
    service.answer = lambda s: fine({"predictions": {"dog": 0.1, "cat": 0.2, "bee": 0.3, "ant": 0.4}})
    given = load(service, classes=NAMES, answers="probabilities")(x)
    torch.testing.assert_close(given, torch.tensor([[0.4, 0.3, 0.2, 0.1]]))
    service.answer = lambda s: fine({"predictions": {"dog": 0.1}})
    with pytest.raises(ModelError, match="no score for 'ant'"):
        load(service, classes=NAMES, answers="probabilities")(x)
    with pytest.raises(InputError, match="2 names of classes, the task has 4"):
        load(service, classes=["a", "b"])


def test_it_comes_back_after_failures_as_late_as_it_is_asked(service: Service, images: Pixels) -> None:
    answers = [refused(503), refused(429, Retry_After="0.3"), refused(500), lambda s: fine({"predictions": 1})]
    service.answer = list(answers)
    assert load(service)(images[:1].float() / 255).tolist() == [1]
    assert service.times[2] - service.times[1] >= 0.3
    assert len(service.requests) == 4


HTML = (200, {"Content-Type": "text/html"}, b"<!doctype html>\n<title>Sign in</title>")
ROW = [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("answer", "table", "message"),
    [
        (lambda s: HTML, {}, r"answered text/html that begins '<!doctype html> <title>Sign in</title>'; expected JSON"),
        (refused(429), {}, r"rate-limited \(HTTP 429\), 3 tries; lower per_second"),
        (refused(429, Retry_After="900"), {}, "asks to wait 900 s"),
        (refused(503), {}, r"failed \(HTTP 503\), 3 tries; check the address"),
        (refused(403), {}, r"refused \(HTTP 403: no\); check header and secret"),
        (refused(404), {}, "refused .*; check the address"),
        (refused(302, Location="http://elsewhere/x?token=1"), {}, "redirects to http://elsewhere/x .*; name that"),
        (lambda s: fine({"label": 1}), {}, r"no 'predictions' in the answer, which has label; check field"),
        (lambda s: fine([1]), {"field": "0.a"}, "no 'a' in the answer, which is 1"),
        (lambda s: fine({"predictions": [1, 2]}), {}, "expected a label for each image, got"),
        (lambda s: fine({"predictions": [1]}), {"send": "json"}, "answered 2 images with 1 rows"),
        (lambda s: fine({"predictions": 1}), {"send": "json"}, "expected a list with one entry an image"),
        (lambda s: fine({"predictions": True}), {}, "expected a label for each image, got true"),
        (lambda s: fine({"predictions": 3.5}), {}, "expected a label for each image, got 3.5"),
        (lambda s: fine({"predictions": 7}), {}, "answered with classes from 7 to 7; the task has 0 to 3"),
        (lambda s: fine({"predictions": ROW[:3]}), {"answers": "logits"}, "answers with 3 classes, the task has 4"),
        (lambda s: fine({"predictions": ["a"]}), {"answers": "logits"}, "expected a list of logits for each image"),
        (lambda s: fine({"predictions": ROW}), {"answers": "logits"}, "probabilities, where logits are expected"),
        (lambda s: fine({"predictions": [*ROW[:3], float("nan")]}), {"answers": "logits"}, "class 3 is nan"),
    ],
)
def test_what_services_do_wrong_is_one_line(
    answer: Answerer, table: dict[str, object], message: str, service: Service, images: Pixels
) -> None:
    service.answer = answer
    victim = load(service, retries=2, **table)
    with pytest.raises(ModelError, match=message) as error:
        check_victim(victim, name=victim.name, shape=SHAPE, classes=CLASSES, images=images[:2])
    assert str(error.value).startswith(f"victims[0]: {service.url}: ")
    assert "\n" not in str(error.value)
    assert "token" not in str(error.value)


def test_a_service_that_changes_its_mind(service: Service, images: Pixels) -> None:
    service.answer = lambda s: fine({"predictions": len(s.requests) % 2})
    with pytest.raises(ModelError, match="another answer the second time"):
        check_victim(load(service), name="v", shape=SHAPE, classes=CLASSES, images=images)
    check_victim(load(service, deterministic=False), name="v", shape=SHAPE, classes=CLASSES, images=images)


def test_a_service_that_is_slow_or_down(service: Service, images: Pixels) -> None:
    def slow(s: Service) -> Answer:
        time.sleep(0.3)
        return fine({"predictions": 0})

    service.answer = slow
    with pytest.raises(ModelError, match=r"no answer in 0\.05 s, 2 tries; check the address and that the service runs"):
        load(service, timeout=0.05, retries=1)(images[:1].float() / 255)
    service.url = "http://127.0.0.1:9/classify"  # the port discard: nobody listens
    with pytest.raises(ModelError, match=r"cannot be reached \(Connection refused\), 1 try;"):
        load(service, retries=0)(images[:1].float() / 255)


def test_a_budget_holds_over_all_loads_and_counts_retries(service: Service, images: Pixels) -> None:
    x = images.float() / 255
    service.answer = [refused(500), *[lambda s: fine({"predictions": 0})] * 9]
    load(service, budget=7)(x[:2])
    assert len(service.requests) == 3
    load(service, budget=7)(x[:4])
    with pytest.raises(ModelError, match=r"its budget of 7 images is spent \(7 were sent\); raise budget"):
        load(service, budget=7)(x[:1])
    assert len(service.requests) == 7


def test_no_more_requests_in_a_second_than_allowed(service: Service, images: Pixels) -> None:
    load(service, per_second=20.0)(images.float() / 255)
    assert np.diff(service.times).min() > 0.03
    assert service.times[-1] - service.times[0] > 0.18


def test_a_secret_is_sent_and_nowhere_else(
    service: Service, images: Pixels, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {"header": "Authorization", "secret": "MY_TOKEN", "revision": "1"}
    with pytest.raises(InputError, match="environment variable MY_TOKEN holds no value for the header Authorization"):
        load(service, **table)
    monkeypatch.setenv("MY_TOKEN", "Bearer 123secret")
    victim = load(service, **table)
    victim(images[:1].float() / 255)
    assert service.requests[-1][0]["Authorization"] == "Bearer 123secret"
    assert "123secret" not in repr(reference({"model": service.url, **table})) + repr(victim)
    service.answer = refused(401)
    with pytest.raises(ModelError, match="HTTP 401") as error:
        victim(images[:1].float() / 255)
    assert "123secret" not in str(error.value) + "".join(capsys.readouterr())


LONG = "Bearer " + "/+a1B2" * 30


@pytest.mark.parametrize(
    "answer",
    [
        lambda s, told: fine({"predictions": told}),
        lambda s, told: fine({"predictions": "x" * 40 + told}),  # would be cut within the secret
        lambda s, told: fine({"headers": {"Authorization": told}}),
        lambda s, told: fine({told: 1}),
        lambda s, told: (200, {}, ("x" * 50 + told).encode()),
        lambda s, told: (200, {"Content-Type": f"{told}/x"}, b"<html>"),
        lambda s, told: (200, {}, json.dumps({"predictions": told}).replace("/", "\\/").encode()),
        lambda s, told: (200, {}, json.dumps(["no", told]).replace("/", "\\/")[:-1].encode()),
        lambda s, told: (401, {}, ("you sent " + "x" * 170 + told).encode()),
        lambda s, told: (400, {}, told.split()[1].encode()),
        lambda s, told: (302, {"Location": f"http://h/{quote(told)}?x"}, b""),
        lambda s, told: (302, {"Location": f"http://{told}:[/"}, b""),
    ],
)
@pytest.mark.parametrize("value", ["Bearer 123secret", "123secret", LONG, 'Bearer a"\\12secret'])
def test_a_secret_that_the_service_sends_back_is_not_shown(
    answer: Callable[["Service", str], Answer], value: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", value)
    victim = load(service, header="Authorization", secret="MY_TOKEN", classes=NAMES, retries=0)
    service.answer = lambda s: answer(s, f"{s.requests[-1][0]['Authorization']} {value.split()[-1]}")
    with pytest.raises(ModelError) as error:
        victim(torch.zeros(1, *SHAPE))
    assert str(error.value).startswith(f"victims[0]: {service.url}: ")
    bare = value.split()[-1]
    for start in range(len(bare) - 7):
        assert bare[start : start + 8] not in str(error.value)


def test_a_secret_is_one_line_of_ascii(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "Bearer \u2603")
    with pytest.raises(InputError, match=r"MY_TOKEN holds no value .*; set it to one line of ASCII") as error:
        load(service, header="Authorization", secret="MY_TOKEN")
    assert "\u2603" not in str(error.value)


def test_what_was_never_sent_is_not_charged(service: Service) -> None:
    up, service.url = service.url, "http://127.0.0.1:9/budget"  # the port discard: nobody listens
    for _ in range(3):
        with pytest.raises(ModelError, match="cannot be reached"):
            load(service, budget=1, retries=1)(torch.zeros(1, *SHAPE))
    service.url = up
    load(service, budget=1)(torch.zeros(1, *SHAPE))
    with pytest.raises(ModelError, match="its budget of 1 images is spent"):
        load(service, budget=1)(torch.zeros(1, *SHAPE))


def test_an_endpoint_takes_resized_images_and_no_normalised_ones(service: Service, images: Pixels) -> None:
    service.answer = lambda s: fine({"predictions": [0] * len(s.images)})
    for declared in ({"mean": [0.5] * 3, "std": [0.5] * 3}, {"mean": [0.0] * 3, "std": [1 / 255] * 3}):
        with pytest.raises(InputError, match=r"^s.toml: .*are sent in \[0, 1\]; .* resize alone") as error:
            load(service, preprocessing=declared)
        assert "\n" not in str(error.value)
    for more in ({}, {"mean": [0.0] * 3, "std": [1.0] * 3}):
        resized = {"resize": [4, 5], "interpolation": "bicubic", **more}
        load(service, send="json", preprocessing=resized)(images.float() / 255)
        assert service.images.shape == (5, 3, 4, 5)
        assert 0 <= service.images.min() <= service.images.max() <= 1


def test_images_that_want_a_gradient_are_not_sent(service: Service, images: Pixels) -> None:
    check_victim(load(service), name="v", shape=SHAPE, classes=CLASSES, images=images[:1])
    assert len(service.requests) == 3  # once, again, alone


@pytest.mark.parametrize(
    ("url", "table", "message"),
    [
        ("http://[", {}, "is no address"),
        ("https:///x", {}, "is no address"),
        ("https://u:secret@h/x", {}, "the address holds a password"),
        ("https://u:secret@[/x?secret", {}, r"'https://\[/x' is no address"),
        ("https://h/a b?secret", {}, r"'https://h/a b' is no address; .* without blanks, other letters as %XX"),
        ("https://h/\u00e9#secret", {}, "is no address"),
        ("https://h/x\n", {}, "is no address"),
        ("https://h/x", {"header": "X"}, "header and secret belong together"),
        ("https://h/x", {"header": "X: 1\nY", "secret": "S"}, "header is a name"),
        ("https://h/x", {"per_second": 0.0}, "per_second must be above 0"),
        ("https://h/x", {"budget": 0}, "budget must be at least 1"),
        ("https://h/x", {"retries": -1}, r"retries must be in \[0, 100\]"),
        ("https://h/x", {"send": "jpeg"}, "send: input should be 'png'"),
        ("https://h/x", {"time_out": 1.0}, "did you mean 'timeout'"),
    ],
)
def test_wrong_settings(url: str, table: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        reference({"model": url, **table}, where="s.toml: victims[0]")
    assert str(error.value).startswith("s.toml: victims[0]")
    assert "secret@" not in str(error.value)
    assert "?secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_needs_a_revision_and_leaves_out_how_it_is_sent() -> None:
    table: dict[str, object] = {"model": "https://h/net.pt", "revision": "1"}
    assert reference("https://h/net.pt").key() is None
    assert reference(table).key() == reference({**table, "retries": 9, "timeout": 1.0, "budget": 5}).key()
    assert reference(table).key() != reference({**table, "revision": "2"}).key()
    assert reference(table).key() != reference({**table, "field": "x"}).key()
