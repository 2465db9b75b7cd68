"""The endpoint: what it answers, and that nothing brings it down."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from demo_models import LINEAR, LOOP_RESNET, ROOT, TIGHT_RESNET
from hostile import many_scans
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from rich.console import Console
from test_preparing import SEVEN, drawing, encoded, png

from edgegolf.demo.decoding import Decoder
from edgegolf.demo.guessing import PHOTOS, guess, guess_pixels, open_model, open_models
from edgegolf.demo.preparing import prepare
from edgegolf.demo.server import (
    CONNECTIONS,
    CONNECTIONS_OF_ONE_CLIENT,
    MAXIMUM_BYTES,
    REFUSED_OF_ONE_CLIENT,
    DemoServer,
    is_own_name,
    is_own_page,
)
from edgegolf.errors import EdgegolfError
from edgegolf.images import MAXIMUM_PIXELS, read_image
from edgegolf.report.guesses_table import guesses_tables

PNG = {"Content-Type": "image/png"}
MEBIBYTE = 1 << 20
STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM")
PIECES = (
    b"GET", b"POST", b" ", b"/", b"/classify", b"HTTP/1.1", b"HTTP/0.9", b"\r\n", b"\n",
    b"Host: localhost", b"Content-Length: 5", b"Content-Length: -5", b"\0", b":", b"Host:",
    b"Content-Type: image/png", b"Transfer-Encoding: chunked", b"Expect: 100-continue",
    b"\xff" * 40,
)  # fmt: skip


@pytest.fixture(scope="module")
def image() -> bytes:
    """A drawing of a 7."""
    return encoded(drawing(SEVEN, 280, pen=20))


@pytest.fixture(scope="module")
def impatient() -> Iterator[str]:
    """A server of this process that waits for a second only."""
    with (
        Decoder() as decoder,
        DemoServer([open_model(LINEAR)], decoder, "127.0.0.1", 0, timeout=1.0) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


def ask(
    url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, http.client.HTTPMessage]:
    """Status, JSON (or bytes) and headers of an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = answer.headers["Content-Type"] == "application/json"
    return answer.status, json.loads(content) if is_json else content, answer.headers


def connect(url: str, client: str = "127.0.0.1") -> socket.socket:
    parts = urlsplit(url)
    address = (str(parts.hostname), int(parts.port or 0))
    return socket.create_connection(address, timeout=60, source_address=(client, 0))


def exchange(url: str, request: bytes, client: str = "127.0.0.1") -> bytes:
    """All that comes back for raw bytes."""
    with connect(url, client) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while block := connection.recv(1 << 16):
            received += block
    return received


def is_up(url: str, image: bytes) -> bool:
    status, answer, _ = ask(url, "POST", "/classify", image, PNG)
    return status == 200 and answer["guesses"][0]["class"] == "7"


def process_of(url: str) -> psutil.Process:
    """The server: a child of this process that listens there."""
    port = urlsplit(url).port
    for process in psutil.Process().children(recursive=True):
        if any(each.laddr.port == port for each in process.net_connections("tcp")):
            return process
    raise AssertionError("no server")


def test_models_guess_a_drawing(url: str, image: bytes) -> None:
    status, answer, _ = ask(url, "POST", "/classify", image, PNG)
    assert status == 200
    tight_resnet, linear = answer["guesses"]
    assert tight_resnet["schema"] == "edgegolf.guess/1"
    assert tight_resnet["model"] == "tight_resnet int8.tflite"
    assert tight_resnet["bytes"] == TIGHT_RESNET.stat().st_size
    assert tight_resnet["parameters"] == 1930
    assert tight_resnet["group"] == "MNIST's handwritten digits"
    assert tight_resnet["accuracy"] > linear["accuracy"] > 0.9  # the best comes first
    assert tight_resnet["class"] == "7"
    assert tight_resnet["probability"] == max(tight_resnet["probabilities"]) > 0.5
    assert len(linear["probabilities"]) == 10
    assert 0 < tight_resnet["microseconds"] < 1e6
    status, listed, _ = ask(url, "GET", "/models")
    assert [model["model"] for model in listed["models"]] == [
        "tight_resnet int8.tflite",
        "linear int8.tflite",
        "loop_resnet:144 int8.tflite",
    ]


def test_the_pixels_that_the_nets_saw_are_told(url: str, image: bytes) -> None:
    _, answer, _ = ask(url, "POST", "/classify", image, PNG)
    (seen,) = answer["seen"]
    expected = prepare(read_image(image), (28, 28, 1))
    assert seen["shape"] == [28, 28, 1]
    assert base64.b64decode(seen["pixels"]) == expected.tobytes()


def test_only_photos_are_shown_to_nets_for_photos(url: str, impatient: str, image: bytes) -> None:
    _, answer, _ = ask(url, "POST", "/classify?of=drawings", image, PNG)
    assert {guess["group"] for guess in answer["guesses"]} == {"MNIST's handwritten digits"}
    status, answer, _ = ask(url, "POST", "/classify?of=photos", image, PNG)
    assert status == 200
    (guess,) = answer["guesses"]
    assert guess["model"] == "loop_resnet:144 int8.tflite"
    assert guess["class"] in guess["classes"]
    assert {"airplane", "truck"} < set(guess["classes"])
    assert ask(impatient, "POST", "/classify?of=photos", image, PNG)[0] == 404  # it has none


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/icon.svg", "/?x=1"])
def test_the_page_asks_nobody_else(url: str, path: str) -> None:
    status, content, headers = ask(url, "GET", path)
    assert status == 200
    assert content
    assert b"https://" not in content
    assert headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "headers"),
    [
        (404, "GET", "/nothing", None, {}),
        (404, "GET", "/../server.py", None, {}),
        (404, "GET", "/%2e%2e/server.py", None, {}),
        (404, "GET", "/page/../../cards.py", None, {}),
        (404, "GET", "//etc/passwd", None, {}),
        (404, "GET", "/classify", None, {}),
        (404, "POST", "/", b"x", PNG),
        (501, "PUT", "/classify", b"x", PNG),
        (501, "OPTIONS", "/classify", None, {"Origin": "http://evil.example"}),
        (400, "POST", "/classify", b"", PNG),
        (400, "POST", "/classify", b"no image", PNG),
        (400, "POST", "/classify", b"GIF89a" + bytes(100), PNG),
        (400, "POST", "/classify", b"x", {**PNG, "Content-Length": "-1"}),
        (400, "POST", "/classify", b"x", {**PNG, "Content-Length": "1e3"}),
        (400, "POST", "/classify", b"x", {**PNG, "Content-Length": "²"}),
        (411, "POST", "/classify", iter([b"chunk"]), PNG),
        (413, "POST", "/classify", b"", {**PNG, "Content-Length": str(MAXIMUM_BYTES + 1)}),
        (413, "POST", "/classify", b"", {**PNG, "Content-Length": "9" * 5000}),
        (413, "POST", "/classify", bytes(MAXIMUM_BYTES + 1), PNG),
        (413, "POST", "/classify", png(30_000, 30_000, b"IDAT"), PNG),
        (415, "POST", "/classify", b"x", {}),
        (415, "POST", "/classify", b"x", {"Content-Type": "text/plain"}),
        (415, "POST", "/classify", b"x", {"Content-Type": "application/x-www-form-urlencoded"}),
        (421, "GET", "/models", None, {"Host": "evil.example"}),
        (421, "GET", "/", None, {"Host": "127.0.0.1.evil.example:80"}),
        (421, "POST", "/classify", b"x", {**PNG, "Host": ""}),
        (403, "GET", "/models", None, {"Origin": "http://evil.example"}),
        (403, "GET", "/", None, {"Origin": "null"}),
        (403, "POST", "/classify", b"x", {**PNG, "Origin": "http://localhost.evil.example"}),
        (400, "POST", "/classify?of=sounds", b"x", PNG),
        (400, "POST", "/classify?of=drawings&of=photos", b"x", PNG),
        (431, "GET", "/", None, {"X": "a" * 70_000}),
        (431, "GET", "/", None, {f"X-{number}": "a" for number in range(200)}),
        (414, "GET", "/" + "a" * 70_000, None, {}),
    ],
)
def test_refusals_are_json_with_a_status(
    url: str, status: int, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    found, answer, _ = ask(url, method, path, body, headers)
    assert found == status
    assert isinstance(answer["error"], str)


def test_an_empty_drawing_is_refused(url: str) -> None:
    status, answer, _ = ask(url, "POST", "/classify", encoded(Image.new("L", (99, 99), 255)), PNG)
    assert (status, answer["error"]) == (400, "the image shows nothing: it has one even shade")


@pytest.mark.parametrize(
    ("origins", "own"),
    [
        ([], True),
        (["http://LOCALHOST:8028"], True),
        (["https://localhost:8028"], True),
        (["http://localhost"], False),
        (["http://localhost:8029"], False),
        (["http://localhost:8028.evil.example"], False),
        (["null"], False),
        ([""], False),
        (["http://localhost:8028", "http://evil.example"], False),
    ],
)
def test_own_pages(origins: list[str], own: bool) -> None:
    assert is_own_page(origins, "localhost:8028") == own


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("localhost:8028", True),
        ("127.0.0.1:8028", True),
        ("[::1]:8028", True),
        ("192.168.1.20", True),
        (socket.gethostname(), True),
        (f"{socket.gethostname()}.local:8028", True),
        ("localhost.evil.example", False),
        ("evil.example:8028", False),
        ("127.0.0.1@evil.example", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_own_names(host: str, own: bool) -> None:
    assert is_own_name([host]) == own


def test_one_host_only() -> None:
    assert not is_own_name([])
    assert not is_own_name(["localhost", "localhost"])


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["image/png", "image/jpeg", "image/bmp"]),
    st.one_of(
        st.binary(max_size=200),
        st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM"]).flatmap(
            lambda start: st.binary(max_size=200).map(start.__add__)
        ),
    ),
)
def test_no_body_brings_it_down(url: str, kind: str, body: bytes) -> None:
    status, answer, _ = ask(url, "POST", "/classify", body, {"Content-Type": kind})
    assert status in (200, 400, 413)
    assert ("guesses" if status == 200 else "error") in answer


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_no_damaged_image_brings_it_down(url: str, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["PNG", "JPEG", "BMP"]))
    body = bytearray(encoded(drawing(SEVEN, 48, pen=4), form))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    status, _, _ = ask(url, "POST", "/classify", bytes(body), PNG)
    assert status in (200, 400, 413)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join),
    )
)
def test_no_request_brings_it_down(url: str, request_bytes: bytes) -> None:
    answer = exchange(url, request_bytes)
    assert not answer or answer.startswith((b"HTTP/1.1 ", b"{")), answer  # HTTP 0.9 has no head


def test_it_is_still_up_and_whole(url: str, image: bytes) -> None:
    """Runs after the fuzzing above."""
    assert is_up(url, image)
    assert process_of(url).num_threads() < CONNECTIONS + 20


def test_bombs_and_huge_images_take_bounded_memory(url: str, image: bytes) -> None:
    """And let others be answered: bombs are refused, good images are not."""
    server = process_of(url)
    assert is_up(url, image)
    before = server.memory_info().rss
    side = int(MAXIMUM_PIXELS**0.5)
    largest = Image.new("RGBA", (side, side), "white")
    ImageDraw.Draw(largest).line([(800, 800), (3000, 800), (1500, 3300)], fill="black", width=300)
    huge = encoded(largest)
    bomb = encoded(Image.new("L", (side * 2, side * 2)))  # 64 megapixels in 60 kB
    answers: dict[bytes, list[int]] = {huge: [], bomb: []}

    def post(body: bytes) -> None:
        answers[body].append(ask(url, "POST", "/classify", body, PNG)[0])

    threads = [threading.Thread(target=post, args=(body,)) for body in [huge, bomb] * 3]
    for thread in threads:
        thread.start()
    most, answered = before, 0
    while any(thread.is_alive() for thread in threads):
        assert is_up(url, image)
        answered += any(thread.is_alive() for thread in threads)
        most = max(most, server.memory_info().rss)
    assert answered > 0
    assert answers[bomb] == [413] * 3
    assert set(answers[huge]) <= {200, 413, 503}  # on a busy machine they take too long, too
    assert any(ask(url, "POST", "/classify", huge, PNG)[0] == 200 for _ in range(5))  # alone
    assert most - before < 20 * MEBIBYTE  # the bodies; children decode


def test_slow_clients_are_dropped(impatient: str, image: bytes) -> None:
    head = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    slow_head = connect(impatient)
    slow_body = connect(impatient)
    slow_body.sendall(head + b"Content-Length: 1000\r\n\r\n")
    for connection, drops in ((slow_head, head * 99), (slow_body, bytes(1000))):
        answer = b""
        try:
            for index in range(len(drops)):  # each byte is in time, the request is not
                connection.sendall(drops[index : index + 1])
                time.sleep(0.05)
        except OSError:
            pass
        connection.settimeout(20)
        try:
            answer = connection.recv(1 << 16)
        except OSError:  # it was closed for good while the bytes still came
            answer = b""
        connection.close()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 "), answer
    wait_until_up(impatient, image)


def test_a_client_that_waits_is_told_why(impatient: str) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"POST /classify HTTP/1.1\r\nHost: localhost\r\n")
        answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 408 ")


def wait_until_up(url: str, image: bytes) -> None:
    deadline = time.monotonic() + 30
    while ask(url, "POST", "/classify", image, PNG)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_one_client_leaves_room_for_others(url: str, image: bytes) -> None:
    with ExitStack() as stack:
        idle = [
            stack.enter_context(connect(url, "127.0.0.2"))
            for _ in range(CONNECTIONS_OF_ONE_CLIENT + REFUSED_OF_ONE_CLIENT + 30)
        ]
        assert is_up(url, image)
        for connection in idle[-30:]:
            assert connection.recv(12) == b"HTTP/1.1 503"


def test_a_client_with_too_many_connections_is_told(url: str, image: bytes) -> None:
    request = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(CONNECTIONS_OF_ONE_CLIENT):
            stack.enter_context(connect(url, "127.0.0.3"))
        for _ in range(REFUSED_OF_ONE_CLIENT):
            answer = exchange(url, request + bytes(4_000_000), "127.0.0.3")
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b'{"error": "' in answer
    assert is_up(url, image)


def test_too_many_connections_are_turned_away_and_forgotten(impatient: str, image: bytes) -> None:
    clients = [f"127.0.1.{number}" for number in range(CONNECTIONS + 8)]
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(impatient, client)) for client in clients]
        turned_away = [connection for connection in idle if connection.recv(12) == b"HTTP/1.1 503"]
        assert len(turned_away) == 8
    wait_until_up(impatient, image)


def test_an_image_that_takes_long_is_refused_in_time(impatient: str, image: bytes) -> None:
    status, answer, _ = ask(impatient, "POST", "/classify", many_scans(), PNG)
    assert status == 413
    assert "to decode" in answer["error"]
    wait_until_up(impatient, image)


def test_others_are_answered_while_an_image_takes_long(url: str, image: bytes) -> None:
    with connect(url, "127.0.0.4") as hostile:
        head = "POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        hostile.sendall(f"{head}Content-Length: {len(many_scans())}\r\n\r\n".encode())
        hostile.sendall(many_scans())
        before = 0
        for _ in range(5):
            assert is_up(url, image)
            before += not select.select([hostile], [], [], 0)[0]
    assert before > 0  # not only after the other had its answer


@pytest.mark.parametrize("moment", ["head", "body", "answer", "reset"])
def test_clients_that_go_away_leave_nothing(url: str, image: bytes, moment: str) -> None:
    """Nor a word on standard error, as the fixture sees."""
    head = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(image) + image
    refused = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    sent = {"head": whole[:50], "body": whole[:-50], "answer": whole, "reset": refused}[moment]
    for number in range(60):
        connection = connect(url, f"127.0.2.{number % 20}")
        if number % 2 or moment == "reset":  # a reset in place of an end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(sent)
        connection.close()
    wait_until_up(url, image)


def test_it_listens_on_loopback_only(url: str) -> None:
    addresses = {each.laddr.ip for each in process_of(url).net_connections("tcp")}
    assert addresses == {"127.0.0.1"}


def edgegolf(*arguments: object, cwd: Path = ROOT, **environment: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "edgegolf", *map(str, arguments)],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def test_ctrl_c_ends_it_and_its_children_while_an_image_is_decoded(tmp_path: Path) -> None:
    said = tmp_path / "stderr"
    with said.open("w") as stderr:
        server = subprocess.Popen(
            [sys.executable, "-m", "edgegolf", "demo", LINEAR, "--port", "0"],
            cwd=ROOT, stderr=stderr, start_new_session=True,
            # A test run in the background inherits that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    while not (found := re.search(r"http://\S+/", said.read_text())):
        assert server.poll() is None, said.read_text()
        time.sleep(0.05)
    with connect(found[0]) as hostile:
        head = "POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        hostile.sendall(f"{head}Content-Length: {len(many_scans())}\r\n\r\n".encode())
        hostile.sendall(many_scans())
        while len(children := psutil.Process(server.pid).children(recursive=True)) < 2:
            assert server.poll() is None
            time.sleep(0.05)
        os.killpg(server.pid, signal.SIGINT)  # as a terminal does
        assert server.wait(timeout=60) == 0
        hostile.settimeout(60)
        with suppress(ConnectionError):  # what was not read of the image
            assert b"takes more than" not in hostile.recv(1 << 16)  # its deadline is to come
    deadline = time.monotonic() + 60
    while any(is_running(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(said.read_text().splitlines()) == 1


def is_running(process: psutil.Process) -> bool:
    """Whether it is; one that ended may wait for whoever inherited it to take notice."""
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def test_an_address_that_is_taken_is_one_error(url: str) -> None:
    done = edgegolf("demo", LINEAR, "--port", urlsplit(url).port or 0)
    assert done.returncode == 2
    assert "cannot be listened on" in done.stderr
    assert "Traceback" not in done.stderr


def test_classify_tells_of_files(image: bytes, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(image)
    (tmp_path / "seven.jpg").write_bytes(
        encoded(Image.open(io.BytesIO(image)).resize((900, 900)), "JPEG")
    )
    command = ("classify", "seven.png", "seven.jpg", "--model", LINEAR, "--model", TIGHT_RESNET)
    table = edgegolf(*command, cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert table.stdout.count("tight_resnet") == 2
    found = json.loads(edgegolf(*command, "--json", cwd=tmp_path).stdout)
    assert [each["image"] for each in found] == ["seven.png", "seven.jpg"]
    assert {each["guesses"][0]["class"] for each in found} == {"7"}
    assert {each["guesses"][0]["model"] for each in found} == {"tight_resnet int8.tflite"}


def test_classify_asks_nets_for_digits_the_best_first(image: bytes, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(image)
    command = ("classify", tmp_path / "seven.png", "--json")
    (answer,) = json.loads(edgegolf(*command, XDG_DATA_HOME=str(tmp_path)).stdout)
    guesses = answer["guesses"]
    assert len(guesses) == len(list((ROOT / "models/mnist").glob("*/int8.tflite")))
    assert {guess["group"] for guess in guesses} == {"MNIST's handwritten digits"}
    accuracies = [guess["accuracy"] for guess in guesses]
    assert accuracies == sorted(accuracies, reverse=True)
    assert guesses[0]["class"] == "7"


def test_classify_asks_the_nets_of_a_data_set(image: bytes, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(image)
    command = ("classify", tmp_path / "seven.png", "--dataset")
    done = edgegolf(*command, "cifar10", XDG_DATA_HOME=str(tmp_path))
    assert "CIFAR-10's photos" in done.stdout
    assert "MNIST" not in done.stdout
    done = edgegolf(*command, "nothing", XDG_DATA_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "no model was trained on 'nothing'" in done.stderr
    assert "cifar10 or mnist" in done.stderr


def test_the_tables_of_classify_fit_80_columns(image: bytes) -> None:
    paths = [*ROOT.glob("models/*/*/int8.tflite")]
    with Decoder() as decoder:
        answer = guess(open_models([str(path) for path in paths], None), decoder, image)
    assert len(answer.guesses) == len(paths)
    widest = [
        replace(each, microseconds=9_876.5, probabilities=(0.0, 1.0, *[0.0] * 8))
        for each in answer.guesses
    ]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*guesses_tables({"seven.png": replace(answer, guesses=tuple(widest))}))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "automobile  100%" in text
    for each in answer.guesses:
        net, _, _ = each.model.name.partition(" ")
        assert net in text
        assert f"{each.model.bytes:,}" in text
        assert f"{each.model.parameters:,}" in text


@pytest.mark.parametrize("is_same", [True, False])
def test_a_card_tells_the_accuracy_of_its_own_file_only(tmp_path: Path, is_same: bool) -> None:
    content = TIGHT_RESNET.read_bytes()
    (tmp_path / "int8.tflite").write_bytes(content if is_same else LINEAR.read_bytes())
    (tmp_path / "card.json").write_bytes((TIGHT_RESNET.parent / "card.json").read_bytes())
    assert (open_model(tmp_path / "int8.tflite").accuracy is not None) == is_same


def test_a_file_without_a_card_is_asked_about_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "my net.tflite").write_bytes(LOOP_RESNET.read_bytes())
    model = open_model(tmp_path / "my net.tflite")
    assert (model.name, model.subject, model.parameters) == ("my net.tflite", PHOTOS, None)
    assert model.group == "images that no card names"
    guess = guess_pixels(model, np.zeros(model.shape, np.uint8))
    assert guess.class_names == tuple("0123456789")  # nobody says what they are


def test_classify_is_bounded_as_well(tmp_path: Path) -> None:
    (tmp_path / "scans.jpg").write_bytes(many_scans())
    done = edgegolf("classify", "scans.jpg", "--model", LINEAR, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: scans.jpg takes more than 10 seconds to decode\n"


def test_classify_takes_what_is_deployed(
    image: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seven.png").write_bytes(image)
    nothing = edgegolf("classify", "seven.png", cwd=tmp_path, XDG_DATA_HOME=str(tmp_path))
    assert nothing.returncode == 0, nothing.stderr
    assert "tight_resnet" in nothing.stdout  # of the package's own
    release = tmp_path / "edgegolf" / "releases" / "1" / "models" / "tight_resnet"
    release.mkdir(parents=True)
    (release / "int8.tflite").write_bytes(TIGHT_RESNET.read_bytes())
    (release / "card.json").write_bytes((TIGHT_RESNET.parent / "card.json").read_bytes())
    deployed = {"name": "tight_resnet/int8.tflite", "runtime": "litert-reference"}
    (release.parents[1] / "manifest.json").write_text(json.dumps({"models": [deployed]}))
    (tmp_path / "edgegolf" / "current").symlink_to("releases/1")
    done = edgegolf("classify", "seven.png", "--json", cwd=tmp_path, XDG_DATA_HOME=str(tmp_path))
    (guess,) = json.loads(done.stdout)[0]["guesses"]
    assert (guess["class"], guess["model"]) == ("7", "tight_resnet int8.tflite")
    for damaged in ("", "[", "[" * 100_000, "[]", '{"models": 3}', '{"models": [{"name": []}]}'):
        (release.parents[1] / "manifest.json").write_text(damaged)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        with pytest.raises(EdgegolfError, match=r"manifest\.json"):
            open_models((), None)


@pytest.mark.parametrize("command", [["classify", "seven.png", "--model"], ["demo"]])
def test_without_pillow_is_one_clear_error(
    command: list[str], image: bytes, tmp_path: Path
) -> None:
    """As on a 32-bit Pi without piwheels."""
    (tmp_path / "seven.png").write_bytes(image)
    without = "import sys; sys.modules['PIL'] = None; from edgegolf.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, *command, LINEAR],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Pillow" in done.stderr
    assert f"{sys.executable} -m pip install pillow" in done.stderr


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_classify_says_which_file_is_no_image(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "broken.png").write_bytes(content)
    done = edgegolf("classify", "broken.png", "--model", LINEAR, cwd=tmp_path)
    assert done.returncode == 2
    assert "broken.png" in done.stderr
    assert "Traceback" not in done.stderr
