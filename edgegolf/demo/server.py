"""The page, and the endpoint behind it: `GET /`, `GET /models`, `POST /classify`.

Python's own HTTP server, so that a Raspberry Pi needs nothing more. What that server does not
limit is limited here: a connection is for one request, which is read, decoded and answered in time
or refused; so many connections, and of one client; so many bytes.
"""

from __future__ import annotations

import base64
import io
import ipaddress
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edgegolf.demo.decoding import BusyError, Decoder
from edgegolf.demo.guessing import DRAWINGS, PHOTOS, Answer, OpenModel, for_subject, guess
from edgegolf.errors import EdgegolfError
from edgegolf.images import ImageError, ImageTooLargeError

TIMEOUT = 10.0  # seconds
CONNECTIONS = 24
CONNECTIONS_OF_ONE_CLIENT = 8  # a browser opens up to six
REFUSED_OF_ONE_CLIENT = 4  # more that are read and told why; others are closed at once
MAXIMUM_BYTES = 8 << 20  # a camera's JPEG
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b'Connection: close\r\nRetry-After: 1\r\n\r\n{"error": "too many connections"}\n'
)

PAGE = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
# Web pages of others can send an image type only after asking, which is never answered.
CONTENT_TYPES = ("image/png", "image/jpeg", "image/bmp")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _RefusedError(Exception):
    """A request that gets an error as its answer."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class DemoServer(ThreadingHTTPServer):
    """Serves the page and the guesses of models.

    Args:
        models: What to ask, one at least.
        decoder: What decodes images.
        host: The address to listen on.
        port: 0 takes one that is free.
        timeout: Seconds for all of a request, however slowly it comes, and for the answer.

    Raises:
        EdgegolfError: The address cannot be listened on.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self,
        models: Sequence[OpenModel],
        decoder: Decoder,
        host: str,
        port: int,
        timeout: float = TIMEOUT,
    ) -> None:
        self.models = tuple(models)
        self.decoder = decoder
        self.patience = timeout
        self._connections: Counter[str] = Counter()  # by the client's address
        self._counting = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EdgegolfError(
                f"{host} port {port} cannot be listened on: {reason}", hint="try another --port"
            ) from None

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self.server_address[:2]
        name = str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/"

    def is_of_too_many(self, client: str) -> bool:
        """Whether a client has more connections than are answered."""
        return self._connections[client] > CONNECTIONS_OF_ONE_CLIENT

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, or at once that all of them are taken."""
        client = client_address[0]
        with self._counting:
            is_free = (
                self._connections.total() < CONNECTIONS
                and self._connections[client] < CONNECTIONS_OF_ONE_CLIENT + REFUSED_OF_ONE_CLIENT
            )
            self._connections[client] += is_free
        if is_free:
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no more threads
                self._forget(client)
                raise
        else:
            request.setblocking(False)
            with suppress(OSError):
                request.send(BUSY)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Give the place back when the answer is sent."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(client_address[0])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line; nothing of a client that went away."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"a request failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    def _forget(self, client: str) -> None:
        with self._counting:
            self._connections[client] -= 1
            if not self._connections[client]:
                del self._connections[client]


class _Handler(BaseHTTPRequestHandler):
    """One connection, which is for one request."""

    server: DemoServer
    server_version = "edgegolf"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    requestline, request_version, command = "", "HTTP/1.1", ""  # before a request is read

    def setup(self) -> None:
        """Read through a deadline."""
        super().setup()
        self.deadline = time.monotonic() + self.server.patience
        self.rfile = io.BufferedReader(_UntilDeadline(self.connection, self.deadline))

    def handle_one_request(self) -> None:
        """Answer; that a client goes away is no error, at whatever moment it does."""
        self.close_connection = True
        with suppress(OSError):
            try:
                super().handle_one_request()
            except _RefusedError as refused:
                self.send_error(refused.status, str(refused))

    def do_GET(self) -> None:
        """The page, or the models."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """What the models say of an image."""
        self._answer(self._post)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """An error as JSON."""
        text = message or HTTPStatus(code).phrase
        self._send(HTTPStatus(code), *_json({"error": text}))
        self._drain()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a drawing makes many requests a second."""

    def _answer(self, make: Callable[[], tuple[bytes, str]]) -> None:
        try:
            self._check_sender()
            answer = make()
        except ImageTooLargeError as error:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error.message)
        except ImageError as error:
            self.send_error(HTTPStatus.BAD_REQUEST, error.message)
        except BusyError as error:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, error.message)
        except EdgegolfError as error:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, error.message)
        except (_RefusedError, ConnectionError):
            raise
        except Exception:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "the server has failed")
            raise
        else:
            self._send(HTTPStatus.OK, *answer)

    def _check_sender(self) -> None:
        if self.server.is_of_too_many(self.client_address[0]):
            raise _RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"more than {CONNECTIONS_OF_ONE_CLIENT} connections of one client",
            )
        hosts = self.headers.get_all("Host", [])
        if not is_own_name(hosts):
            raise _RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "this is another host")
        if not is_own_page(self.headers.get_all("Origin", []), hosts[0]):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "pages of other hosts get no answer")

    def _get(self) -> tuple[bytes, str]:
        path = self.path.partition("?")[0]
        if path == "/models":
            return _json({"models": [_description(model) for model in self.server.models]})
        if path not in PAGE:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "there is only /, /models and /classify")
        name, kind = PAGE[path]
        return (resources.files("edgegolf.demo") / "page" / name).read_bytes(), kind

    def _post(self) -> tuple[bytes, str]:
        path, _, query = self.path.partition("?")
        if path != "/classify":
            raise _RefusedError(HTTPStatus.NOT_FOUND, "images are posted to /classify")
        models = self._asked(query)
        data = self._body()
        seconds = max(self.deadline - time.monotonic(), 0)
        return _json(_content(guess(models, self.server.decoder, data, seconds=seconds)))

    def _asked(self, query: str) -> tuple[OpenModel, ...]:
        try:
            subjects = parse_qs(query, keep_blank_values=True, max_num_fields=1).pop("of", [None])
        except ValueError:
            subjects = [""]
        if subjects[0] not in (None, DRAWINGS, PHOTOS):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, f"of is {DRAWINGS} or {PHOTOS}")
        models = for_subject(self.server.models, subjects[0])
        if not models:
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"there are no models of {subjects[0]}")
        return models

    def _body(self) -> bytes:
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind not in CONTENT_TYPES:
            raise _RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type is none of {CONTENT_TYPES}"
            )
        lengths = self.headers.get_all("Content-Length", [])
        if not lengths or "Transfer-Encoding" in self.headers:
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length is no number")
        if len(lengths[0]) > 18 or int(lengths[0]) > MAXIMUM_BYTES:
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MAXIMUM_BYTES:,} bytes"
            )
        length = int(lengths[0])
        data = self.rfile.read(length)
        if len(data) < length:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the image ends too early")
        return data

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.connection.settimeout(self.server.patience)
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drain(self) -> None:
        """Read on: closing while bytes arrive would take the answer away from the client."""
        with suppress(OSError, _RefusedError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read(1 << 16):
                pass


class _UntilDeadline(io.RawIOBase):
    """What a socket receives until so many seconds have passed, however slowly it comes."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left > 0:
            self._connection.settimeout(left)
            with suppress(TimeoutError):
                return self._connection.recv_into(buffer)
        raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the request was not all there in time")


def is_own_name(hosts: Sequence[str]) -> bool:
    """Whether a request's Host header names this machine by address or by its own name.

    A web page of somebody else that has its name resolve to this machine (DNS rebinding) would
    else read the answers: its requests carry its own name here.
    """
    if len(hosts) != 1:
        return False
    try:
        name = urlsplit(f"//{hosts[0]}").hostname or ""
    except ValueError:
        return False
    own = socket.gethostname().lower()
    if name in ("localhost", own, f"{own}.local"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_own_page(origins: Sequence[str], host: str) -> bool:
    """Whether a request comes from no web page, or from this server's own.

    Args:
        origins: The request's Origin headers, which browsers send and pages cannot change.
        host: Its Host header.
    """
    return not origins or [origin.lower() for origin in origins] in (
        [f"http://{host.lower()}"],
        [f"https://{host.lower()}"],  # behind a proxy that encrypts
    )


def _description(model: OpenModel) -> dict[str, Any]:
    return {
        **model.to_dict(),
        "net": model.net,
        "file": model.file,
        "runtime": model.runtime,
        "of": model.subject,
        "classes": model.class_names,
    }


def _content(answer: Answer) -> dict[str, Any]:
    seen = [
        {"shape": shape, "pixels": base64.b64encode(pixels).decode()}
        for shape, pixels in answer.seen.items()
    ]
    return {"guesses": [each.to_dict() for each in answer.guesses], "seen": seen}


def _json(value: object) -> tuple[bytes, str]:
    return json.dumps(value).encode() + b"\n", "application/json"
