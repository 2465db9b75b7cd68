"""Reading files with a bound, writing them whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from edgegolf.errors import EdgegolfError, likeliest

MAXIMUM_BYTES = 2**31  # FlatBuffers and protobuf files end at 2 GiB anyway
FREE_BYTES = 64 * 2**20  # that any file may take, however small
MAXIMUM_NAMES = 10_000  # in a folder, of which a mistyped one may be meant
PARTIAL = ".partial-"  # what a file is called until it is whole


def check_size(path: Path, maximum: int = MAXIMUM_BYTES) -> int:
    """The bytes of a regular file, without reading it.

    Raises:
        EdgegolfError: Missing, not a file, empty, or above `maximum` bytes.
    """
    try:
        if path.is_dir():
            raise EdgegolfError(f"{path} is a folder, not a file")
        if path.exists() and not path.is_file():  # reading a pipe might wait for ever
            raise EdgegolfError(f"{path} is no regular file")
        size = path.stat().st_size
    except FileNotFoundError:
        raise no_such_file(path) from None
    except OSError as error:
        raise EdgegolfError(f"{path} cannot be read: {error.strerror}") from None
    if size > maximum:
        raise EdgegolfError(f"{path} has {size:,} bytes, more than the {maximum:,} allowed")
    if not size:
        raise EdgegolfError(f"{path} is empty")
    return size


def no_such_file(path: Path) -> EdgegolfError:
    """The error of a file or folder that is missing, with the likeliest meant, if any."""
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    name, *rest = path.relative_to(folder).parts
    names: list[str] = []
    with suppress(OSError):  # it may not be listed
        entries = islice(folder.iterdir(), MAXIMUM_NAMES)
        names = [each.name for each in entries if each.joinpath(*rest).exists()]
    meant = likeliest(name, names)
    hint = f"did you mean '{folder.joinpath(meant, *rest)}'?" if meant else "check the path"
    return EdgegolfError(f"{path} does not exist", hint)


def read_bounded(path: Path, maximum: int = MAXIMUM_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises:
        EdgegolfError: Missing, unreadable, not a file, empty, or above `maximum` bytes.
    """
    check_size(path, maximum)
    try:
        with path.open("rb") as file:
            # Of what was opened: another file may have got the name meanwhile.
            size = min(os.fstat(file.fileno()).st_size, maximum)
            data = file.read(size + 1)
    except OSError as error:
        raise EdgegolfError(f"{path} cannot be read: {error.strerror}") from None
    if not data:
        raise EdgegolfError(f"{path} is empty")
    if len(data) > size:
        raise EdgegolfError(f"{path} grew while it was read")
    return data


def worth(size: int) -> int:
    """How many bytes a file of `size` bytes may unpack to, or ask for."""
    return min(MAXIMUM_BYTES, FREE_BYTES + 20 * size)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, as lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` when the block succeeds.

    The temporary name keeps the suffix, because some writers choose the format by it. What writers
    that were killed left in the folder is removed.

    Raises:
        EdgegolfError: The folder cannot be written or the disk is full.
    """
    temporary: Path | None = None
    handle = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL, suffix=path.suffix)
        temporary = Path(name)
        _lock(handle)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise EdgegolfError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="check the folder's permissions and free space",
        ) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files of processes that were killed, not of those that still write."""
    for path in folder.glob(f"{PARTIAL}*"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR)
            try:
                _lock(handle)  # fails where a living process holds it
                path.unlink()
            finally:
                os.close(handle)


def _lock(handle: int) -> None:
    """Lock an open file until it is closed, which the kernel does for a process that is killed.

    Raises:
        OSError: Another process holds the lock.
    """
    with suppress(ImportError):  # not on Windows, where an open file cannot be removed anyway
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def check_writable(path: Path, is_folder: bool = False) -> None:
    """Look whether a file can be written, before the work that is to go into it.

    Args:
        path: The file.
        is_folder: Whether it is a folder for files instead.

    Raises:
        EdgegolfError: The path is a folder, or its folder cannot be written.
    """
    if path.is_dir() and not is_folder:
        raise EdgegolfError(f"{path} is a folder, not a file")
    file = path.absolute() / ("file" if is_folder else "")
    folder = next(parent for parent in file.parents if parent.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise EdgegolfError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="check the folder's permissions and free space",
        ) from None


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a whole file, or leave what was there.

    Raises:
        EdgegolfError: The folder cannot be written or the disk is full.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
