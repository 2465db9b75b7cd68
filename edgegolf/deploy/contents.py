"""What is sent to a device, known by its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgegolf.deploy.connection import Connection, RefusedError
from edgegolf.errors import EdgegolfError
from edgegolf.files import sha256
from edgegolf.progress import track

BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class Content:
    """A file, or what would be in one.

    Attributes:
        name: What to call it in messages, and wheels on the device.
        sha256: Of all its bytes.
        size: In bytes.
        source: Where the bytes are, or the bytes.
    """

    name: str
    sha256: str
    size: int
    source: Path | bytes = field(repr=False)

    def blocks(self, offset: int) -> Iterator[bytes]:
        """The bytes from an offset on."""
        if isinstance(self.source, bytes):
            for start in range(offset, self.size, BLOCK_BYTES):
                yield self.source[start : start + BLOCK_BYTES]
            return
        with self.source.open("rb") as file:
            file.seek(offset)
            while block := file.read(BLOCK_BYTES):
                yield block


def content_of_file(path: Path) -> Content:
    """A file as it is now. Raises EdgegolfError if it cannot be read."""
    try:
        return Content(path.name, sha256(path), path.stat().st_size, path)
    except OSError as error:
        raise EdgegolfError(f"{path} cannot be read: {error.strerror}") from None


def content_of_bytes(name: str, data: bytes) -> Content:
    """Bytes that are in no file."""
    return Content(name, hashlib.sha256(data).hexdigest(), len(data), data)


def send(connection: Connection, contents: Sequence[Content]) -> int:
    """Send what the device lacks; what is there is not sent again, what is there in part goes on.

    Returns:
        How many bytes were sent.

    Raises:
        EdgegolfError: The device's disk is full, the copy is damaged, or the connection broke.
    """
    different = list({content.sha256: content for content in contents}.values())
    pairs = [(content.sha256, content.size) for content in different]
    answer = connection.ask("stage", contents=pairs)["present"]
    sent = 0
    for content, present in zip(different, answer, strict=True):
        if not isinstance(present, int) or not 0 <= present <= content.size:
            raise EdgegolfError(f"{connection.host} has {present!r} bytes of {content.name}")
        if present < content.size:
            sent += _send_rest(connection, content, present)
    return sent


def _send_rest(connection: Connection, content: Content, offset: int) -> int:
    try:
        _send_once(connection, content, offset)
    except RefusedError as error:
        if error.kind != "damaged" or offset == 0:
            raise
        _send_once(connection, content, 0)  # the part that was there was the damaged one
        return content.size
    return content.size - offset


def _send_once(connection: Connection, content: Content, offset: int) -> None:
    connection.ask(
        "receive",
        payload=track(
            content.blocks(offset),
            f"copying {content.name}",
            total=-((offset - content.size) // BLOCK_BYTES),
        ),
        sha256=content.sha256,
        size=content.size,
        offset=offset,
    )
