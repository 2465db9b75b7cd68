"""The IDX format of MNIST's files: a few big-endian sizes, then the elements.

Source: http://yann.lecun.com/exdb/mnist/, "the IDX file format".
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08  # the element type of all MNIST files
MAXIMUM_DIMENSIONS = 4  # images, rows, columns, channels
REPLACE_HINT = "replace the file with an intact copy, or remove it"


def read_content(path: Path, maximum: int) -> bytes:
    """A file's bytes, uncompressed if it is a gzip file, whatever its name says.

    Args:
        path: The file.
        maximum: How many uncompressed bytes are allowed.

    Raises:
        EdgegolfError: Missing, unreadable, empty, too large, or a damaged gzip file.
    """
    # Incompressible content grows a little under gzip, and the header may hold a file name.
    data = read_bounded(path, maximum + maximum // 100 + 1024)
    if data.startswith(GZIP_MAGIC):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(maximum + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise EdgegolfError(
                f"{path} is a damaged gzip file: {error}", hint=REPLACE_HINT
            ) from None
    if len(data) > maximum:
        raise EdgegolfError(
            f"{path} holds more than the {maximum:,} bytes expected", hint=REPLACE_HINT
        )
    return data


def parse_idx(data: bytes, source: str) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes.

    Args:
        data: The uncompressed file.
        source: What to call it in an error, such as its path.

    Returns:
        uint8, with the shape that the file's header gives.

    Raises:
        EdgegolfError: Wrong magic number, truncated, or bytes left over.
    """
    dimensions = data[3] if len(data) > 3 else 0
    if data[:3] != bytes((0, 0, UNSIGNED_BYTE)) or not 1 <= dimensions <= MAXIMUM_DIMENSIONS:
        raise EdgegolfError(
            f"{source} is not an IDX file of unsigned bytes: it starts with 0x{data[:4].hex()}",
            hint=REPLACE_HINT,
        )
    header = 4 + 4 * dimensions
    if len(data) < header:
        raise EdgegolfError(
            f"{source} is truncated: {len(data)} bytes, its header alone takes {header}",
            hint=REPLACE_HINT,
        )
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, offset=4))
    expected = header + math.prod(shape)
    if len(data) != expected:
        problem = "is truncated" if len(data) < expected else "has bytes left over"
        raise EdgegolfError(
            f"{source} {problem}: {len(data):,} bytes instead of the {expected:,} that its "
            f"{sizes(shape)} elements and header take",
            hint=REPLACE_HINT,
        )
    # Beside a zero the other sizes may be anything, more than numpy can hold.
    if 0 in shape:
        raise EdgegolfError(f"{source} holds {sizes(shape)} elements, none", hint=REPLACE_HINT)
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def sizes(shape: tuple[int, ...]) -> str:
    """A shape for people: `60000x28x28`."""
    return "x".join(map(str, shape))
