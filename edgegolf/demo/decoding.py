"""Each image is decoded in a process of its own, which is killed when its time is up.

A template process has imported all that decoding needs. It forks a child for each image, which
takes milliseconds and gives the memory back, and no image sees anything of another. What a child
answers is pixels of a known size or a text, never a pickle.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgegolf.demo.preparing import prepare
from edgegolf.errors import EdgegolfError
from edgegolf.images import ImageError, ImageTooLargeError, check_pillow, read_image

if TYPE_CHECKING:
    from edgegolf.runtimes.session import Array

Shape: TypeAlias = tuple[int, int, int]

SECONDS = 10.0
AT_ONCE = 2  # a board with 512 MB holds two of the largest images
TURN = 0.25  # seconds before an image makes way for others; it begins anew, with twice as many
MAXIMUM_MEMORY = 1 << 28  # of a child's data, its Python included; the largest images take 170 MB
MAXIMUM_TEXT = 1 << 16
PIXELS, TEXT = b"\0", b"\1"
_TEMPLATE = ("-c", "from edgegolf.demo.decoding import main; main()")
_PID = struct.Struct("!q")


class BusyError(EdgegolfError):
    """Others' images take all the time there is."""


@dataclass(eq=False)
class _Job:
    """An image: the connection to its child, how often it made way, since when it is decoded."""

    connection: socket.socket
    level: int
    started: float = 0.0
    makes_way: bool = False

    def make_way(self) -> None:
        """Wake the thread that waits for the child, which then kills it."""
        self.makes_way = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class Decoder(AbstractContextManager["Decoder"]):
    """Makes of image files what nets take, in children; any number of threads may use it.

    Raises:
        EdgegolfError: Pillow is not installed.
    """

    def __init__(self) -> None:
        check_pillow()
        self._changed = threading.Condition()
        self._waiting: list[_Job] = []
        self._running: list[_Job] = []  # the oldest first
        self._start()

    def prepare(
        self,
        data: bytes,
        shapes: Iterable[Shape],
        name: str = "the image",
        seconds: float = SECONDS,
    ) -> dict[Shape, Array]:
        """What nets take for an image file, as `read_image` and `prepare` make it.

        Args:
            data: The file's content.
            shapes: Height, width and channels of the nets' inputs.
            name: What to call the image in errors.
            seconds: After which the child is killed.

        Returns:
            For each shape, uint8 of it.

        Raises:
            BusyError: Other images take all the time.
            ImageTooLargeError: It takes more time, memory or pixels than there are.
            ImageError: As `read_image` and `prepare`, or the decoder crashed.
        """
        wanted = tuple(dict.fromkeys(shapes))
        deadline = time.monotonic() + seconds
        for level in itertools.count():
            request = {"shapes": wanted, "name": name, "bytes": len(data)}
            try:
                answer = self._attempt(request, data, level, deadline)
            except TimeoutError:
                raise ImageTooLargeError(
                    f"{name} takes more than {seconds:.3g} seconds to decode"
                ) from None
            if answer is not None:
                return _unpack(answer, wanted, name)
        raise AssertionError("unreachable: an attempt ends by the deadline")

    def close(self) -> None:
        """End the template and every child."""
        with suppress(ProcessLookupError):
            os.killpg(self._template.pid, signal.SIGKILL)
        self._template.wait()
        self._control.close()

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._template = subprocess.Popen(
                (sys.executable, *_TEMPLATE),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    "OPENBLAS_NUM_THREADS": "1",  # threads do not survive a fork
                },
                start_new_session=True,  # Ctrl-C is for the server, which ends the whole group
            )

    def _attempt(
        self, request: dict[str, Any], data: bytes, level: int, deadline: float
    ) -> bytes | None:
        """What a child answers; None if it had to make way."""
        ours, theirs = socket.socketpair()
        job = _Job(ours, level)
        with ours:
            try:
                with theirs:
                    self._wait_for_a_place(job, deadline)
                    self._fork(theirs)
                answer = _exchange(job, request, data, deadline)
            finally:
                with self._changed:
                    if job in self._running:
                        self._running.remove(job)
                    self._changed.notify_all()
        return None if job.makes_way else answer

    def _wait_for_a_place(self, job: _Job, deadline: float) -> None:
        """In the order of coming, after those that made way less often.

        Who has waited for a turn makes another make way: one that did so more often, or has had
        all of its turn.
        """
        since = time.monotonic()
        with self._changed:
            self._waiting.append(job)
            try:
                while len(self._running) >= AT_ONCE or job is not self._next():
                    now = time.monotonic()
                    if now >= deadline:
                        raise BusyError("too many images at a time")
                    until = deadline
                    if (other := self._least_urgent()) is not None:
                        turn = 0 if other.level > job.level else TURN * 2**other.level
                        until = min(deadline, max(since + TURN, other.started + turn))
                        if now >= until:
                            other.make_way()
                            since = now
                            until = now + TURN
                    self._changed.wait(until - now)
                job.started = time.monotonic()
                self._running.append(job)
            finally:
                self._waiting.remove(job)
                self._changed.notify_all()

    def _next(self) -> _Job:
        return min(self._waiting, key=lambda job: job.level)  # the first of those

    def _least_urgent(self) -> _Job | None:
        running = (job for job in self._running if not job.makes_way)
        return max(running, key=lambda job: (job.level, -job.started), default=None)

    def _fork(self, connection: socket.socket) -> None:
        with self._changed:
            if self._control.fileno() < 0:
                raise BusyError("nothing is decoded any more")
            try:
                socket.send_fds(self._control, [b"\0"], [connection.fileno()])
            except OSError:  # the system killed the template
                self.close()
                self._start()
                socket.send_fds(self._control, [b"\0"], [connection.fileno()])


def _exchange(job: _Job, request: dict[str, Any], data: bytes, deadline: float) -> bytes:
    """What a child answers; it is gone afterwards. Raises TimeoutError after the deadline."""
    connection = job.connection
    most = _PID.size + 1 + max(MAXIMUM_TEXT, sum(map(math.prod, request["shapes"])))
    received = bytearray()
    has_ended = False
    try:
        seconds = max(deadline - time.monotonic(), 0.001)
        connection.settimeout(seconds)
        with suppress(ConnectionError):
            connection.sendall(json.dumps({**request, "seconds": seconds}).encode() + b"\n")
            connection.sendall(data)
        while not has_ended and len(received) <= most:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            block = b""
            with suppress(ConnectionError):
                block = connection.recv(1 << 16)
            received += block
            has_ended = not block
    finally:
        if (job.makes_way or not has_ended) and len(received) >= _PID.size:
            with suppress(ProcessLookupError):
                os.kill(_PID.unpack_from(received)[0], signal.SIGKILL)
    return bytes(received[_PID.size :])


def _unpack(answer: bytes, shapes: tuple[Shape, ...], name: str) -> dict[Shape, Array]:
    kind, content = answer[:1], answer[1:]
    if kind == TEXT:
        is_too_large, message, hint = json.loads(content)
        raise (ImageTooLargeError if is_too_large else ImageError)(message, hint=hint)
    if kind != PIXELS or len(content) != sum(math.prod(shape) for shape in shapes):
        raise ImageTooLargeError(f"{name} takes more memory or time to decode than there is")
    pixels = {}
    for shape in shapes:
        pixels[shape] = np.frombuffer(content, np.uint8, math.prod(shape)).reshape(shape)
        content = content[math.prod(shape) :]
    return pixels


def main() -> None:
    """The template: forks a child for each connection that comes, until no more can come."""
    from PIL import BmpImagePlugin, ImageFilter, ImageOps, JpegImagePlugin, PngImagePlugin  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no child is waited for
    with suppress(OSError):  # where memory ends, Linux takes it from here, not from the server
        Path("/proc/self/oom_score_adj").write_text("1000")
    control = socket.socket(fileno=0)
    while descriptors := socket.recv_fds(control, 1, 1)[1]:
        with socket.socket(fileno=descriptors[0]) as connection, suppress(OSError):
            if os.fork() == 0:
                try:
                    _decode(connection)
                finally:
                    os._exit(0)


def _decode(connection: socket.socket) -> None:
    """The child: one image."""
    connection.sendall(_PID.pack(os.getpid()))
    with connection.makefile("rb") as file:
        request = json.loads(file.readline())
        signal.setitimer(signal.ITIMER_REAL, request["seconds"] + 1)  # if nobody else ends it
        with suppress(OSError, ValueError):  # the unit for systemd forbids it, and has its own
            resource.setrlimit(resource.RLIMIT_DATA, (MAXIMUM_MEMORY, MAXIMUM_MEMORY))
        data = file.read(request["bytes"])
    try:
        image = read_image(data, request["name"])
        answer = PIXELS + b"".join(
            np.ascontiguousarray(prepare(image, tuple(shape))).tobytes()
            for shape in request["shapes"]
        )
    except EdgegolfError as error:
        too_large = isinstance(error, ImageTooLargeError)
        answer = TEXT + json.dumps([too_large, error.message, error.hint]).encode()
    connection.sendall(answer)
