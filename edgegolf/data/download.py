"""A file from one of several mirrors, resumed where it was cut, verified before use."""

from __future__ import annotations

import http.client
import queue
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from edgegolf.errors import EdgegolfError
from edgegolf.progress import track

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 1 << 16  # bytes between two updates of the progress bar
ANSWER_SECONDS = 5.0  # a mirror that takes longer counts as down; offline machines wait this long
STALL_SECONDS = 20.0  # silence after which a connection counts as cut
ATTEMPTS = 5  # per mirror, each resuming the one before
RANGE_NOT_SATISFIABLE = 416


class MirrorError(Exception):
    """A mirror is down, refuses, or cut the connection; another one may do better."""


def download(
    urls: Sequence[str], destination: Path, check: Callable[[Path], object], maximum: int
) -> None:
    """Download a file from the first mirror that delivers it intact.

    What arrived before an interruption stays beside the destination, as `….part`, and the next
    call goes on from there.

    Args:
        urls: The same file on several mirrors, tried in this order.
        destination: Where to put it.
        check: Raises EdgegolfError if the file at a path is not the one wanted.
        maximum: How many bytes it may have.

    Raises:
        EdgegolfError: No mirror delivered it, or it cannot be written.
    """
    part = destination.with_name(destination.name + ".part")
    mirrors_by_problem: dict[str, list[str]] = {}
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        for url in urls:
            try:
                _download_from(url, part, check, maximum)
            except (MirrorError, EdgegolfError) as error:
                mirrors_by_problem.setdefault(str(error), []).append(urlsplit(url).netloc)
                continue
            # Another process that downloads the same file may have renamed it already.
            if part.exists() or not destination.exists():
                part.replace(destination)
            return
    except OSError as error:
        raise EdgegolfError(
            f"{destination} cannot be written: {error.strerror or error}",
            hint="check the folder's permissions and free space",
        ) from None
    problems = (f"{', '.join(hosts)}: {why}" for why, hosts in mirrors_by_problem.items())
    raise EdgegolfError(f"{destination.name} cannot be downloaded ({'; '.join(problems)})")


def _download_from(url: str, part: Path, check: Callable[[Path], object], maximum: int) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        already = part.stat().st_size if part.exists() else 0
        try:
            _append(url, part, already, maximum)
        except MirrorError:
            grew = part.exists() and part.stat().st_size > already
            if not grew or attempt == ATTEMPTS:
                raise
            continue
        try:
            check(part)
            return
        except EdgegolfError:
            part.unlink(missing_ok=True)
            # The part kept from before may be what was wrong: once more, from the start.
            if not already or attempt == ATTEMPTS:
                raise


def _append(url: str, part: Path, already: int, maximum: int) -> None:
    """Write what the mirror has beyond the `already` bytes that `part` holds."""
    headers = {"User-Agent": "edgegolf"} | ({"Range": f"bytes={already}-"} if already else {})
    try:
        response = _open(urllib.request.Request(url, headers=headers))
    except HTTPError as error:
        if error.code == RANGE_NOT_SATISFIABLE and already:
            return  # the part was whole; the check decides
        raise MirrorError(f"answers {error.code} {error.reason}") from None
    with closing(response):
        resumes = (response.headers.get("Content-Range") or "").startswith(f"bytes {already}-")
        start = already if response.status == http.client.PARTIAL_CONTENT and resumes else 0
        if response.status == http.client.PARTIAL_CONTENT and not resumes:
            raise MirrorError("answers another range than the one asked for")
        part.touch()
        # Each block goes where it belongs, not to the end: a second process that downloads the
        # same file then writes the same bytes to the same places.
        with part.open("r+b") as file:
            file.seek(start)
            for block in _blocks(response, f"downloading {part.stem}"):
                if file.tell() + len(block) > maximum:
                    raise MirrorError(f"sends more than the {maximum:,} bytes expected")
                file.write(block)
            file.truncate()


def _blocks(response: http.client.HTTPResponse, description: str) -> Iterator[bytes]:
    """The body in blocks, with progress; a body that ends too early is an error."""
    expected = response.length
    received = 0

    def read() -> Iterator[bytes]:
        nonlocal received
        while block := response.read(BLOCK):
            received += len(block)
            yield block

    total = None if expected is None else -(-expected // BLOCK)
    blocks = track(read(), f"{description}, blocks of 64 KiB", total)
    while True:
        try:
            block = next(blocks, None)
        except (OSError, http.client.HTTPException) as error:
            raise MirrorError(f"the connection was cut: {error}") from None
        if block is None:
            break
        yield block
    if expected is not None and received < expected:
        raise MirrorError(f"the connection was cut after {received:,} of {expected:,} bytes")


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Open a URL, or give up soon.

    In a thread of its own, because the time-out of a request leaves out the name look-up, which
    takes many seconds on a machine whose name server does not answer.
    """
    answers: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

    def connect() -> None:
        try:
            answers.put(urllib.request.build_opener().open(request, timeout=STALL_SECONDS))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise MirrorError(f"no answer within {ANSWER_SECONDS:.0f} s") from None
    if isinstance(answer, HTTPError):
        raise answer
    if isinstance(answer, Exception):
        reason = answer.reason if isinstance(answer, URLError) else answer
        raise MirrorError(f"cannot be reached: {getattr(reason, 'strerror', None) or reason}")
    return answer
