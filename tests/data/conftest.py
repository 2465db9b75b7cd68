from __future__ import annotations

import os
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DATA = os.environ.get("EDGEGOLF_DATA")


@dataclass
class Mirror:
    """A real HTTP server on loopback whose faults a test chooses."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)  # one entry per answer to cut short
    ranges: bool = True
    requests: list[tuple[str, int | None]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def mirror():
    state = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted else None
            state.requests.append((name, start))
            if name not in state.files:
                self.send_error(404)
                return
            content = state.files[name]
            if start is None or not state.ranges:
                start = 0
                self.send_response(200)
            elif start >= len(content):
                self.send_error(416)
                return
            else:
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            body = content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.cut_after.pop(0)] if state.cut_after else body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def down():
    """The URL of a port where nothing listens."""
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{occupied.getsockname()[1]}/"


@pytest.fixture
def nowhere(monkeypatch, tmp_path, down) -> Path:
    """A machine without data and without a network; returns MNIST's folder in its empty cache."""
    monkeypatch.delenv("EDGEGOLF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", down)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    from edgegolf.data.places import cache_folder

    return cache_folder("mnist")


@pytest.fixture
def real_mnist() -> Path:
    """The folder of the real files; these tests run wherever EDGEGOLF_DATA is set."""
    if not DATA:
        pytest.skip("EDGEGOLF_DATA is not set: no MNIST to test with")
    return Path(DATA, "mnist").resolve()
