"""What is sent to a device, known by its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from edgegolf.deploy.connection import Connection, RefusedError
from edgegolf.errors import EdgegolfError
from edgegolf.files import sha256
from edgegolf.progress import track

BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class Content:
    """A file, or what would be in one."""

    name: str  # what to call it in messages, and wheels on the device
    sha256: str  # of all its bytes
    size: int  # in bytes
    source: Path | bytes = field(repr=False)  # where the bytes are, or the bytes

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


def send(connection: Connection, contents: Iterable[Content]) -> int:
    """Send what the device lacks; what is there is not sent again, what is there in part goes on.

    Returns:
        How many bytes were sent.

    Raises:
        EdgegolfError: The device's disk is full, a copy is damaged, or the connection broke.
    """
    different = list({content.sha256: content for content in contents}.values())
    try:
        return _send_missing(connection, different)
    except RefusedError as error:
        if error.kind != "damaged":
            raise
        return _send_missing(connection, different)  # the part that was there was the damaged one


def _send_missing(connection: Connection, contents: Sequence[Content]) -> int:
    pairs = [(content.sha256, content.size) for content in contents]
    present = connection.ask("stage", contents=pairs).get("present")
    if not _are_offsets(present, contents):
        raise EdgegolfError(f"{connection.host} does not say what it has")
    missing = [
        (content, offset)
        for content, offset in zip(contents, present, strict=True)
        if offset < content.size
    ]
    if missing:
        connection.ask(
            "receive",
            payload=track(
                (block for content, offset in missing for block in content.blocks(offset)),
                f"copying {', '.join(content.name for content, _ in missing[:3])}"
                + (f" and {len(missing) - 3} more" if len(missing) > 3 else ""),
                total=sum(-((offset - content.size) // BLOCK_BYTES) for content, offset in missing),
            ),
            contents=[(content.sha256, content.size, offset) for content, offset in missing],
        )
    return sum(content.size - offset for content, offset in missing)


def _are_offsets(values: object, contents: Sequence[Content]) -> TypeGuard[list[int]]:
    return (
        isinstance(values, list)
        and len(values) == len(contents)
        and all(
            type(value) is int and 0 <= value <= content.size
            for value, content in zip(values, contents, strict=True)
        )
    )
