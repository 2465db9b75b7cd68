"""What taking a file of either format apart gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

WEIGHTS = "weights"
BIASES = "biases"
CONSTANTS = "other constants"
QUANTIZATION = "quantization parameters"
NAMES = "names"
SHAPES = "shapes and types"
TENSORS = "tensor records"
OPERATORS = "operators"
OPTIONS = "operator options"
STRUCTURE = "graph structure"
METADATA = "metadata and signatures"
UNUSED = "unused data"
VTABLES = "vtables"
PADDING = "padding"
DEAD_SPACE = "dead space"
PROGRAMS = "programs for accelerators"
UNEXPLAINED = "unexplained bytes"


@dataclass(frozen=True)
class Content:
    """Constant data stored at one place in a file."""

    names: tuple[str, ...]  # the tensors that use it
    role: str  # one of the constants above
    data: bytes  # the bytes
    operators: int  # how many operators use it


@dataclass(frozen=True)
class Dissection:
    """The sizes of a file's parts, which add up to the file, and its constant data."""

    parts: dict[str, int]
    contents: tuple[Content, ...]


def by_name(names: Mapping[str, str]) -> dict[str, str]:
    """The part of each name, from the names of each part."""
    return {name: part for part, text in names.items() for name in text.split()}


def sizes_by_part(ranges: Iterable[tuple[int, int, str]], data: bytes) -> dict[str, int]:
    """Give every byte of a file to exactly one part.

    Bytes that several ranges cover go to the one that begins first. What no range covers is
    padding if it is short and zero, else dead space.

    Args:
        ranges: Start, end and part.
        data: The file.
    """
    sizes: Counter[str] = Counter()
    position = 0
    for start, end, part in sorted([*ranges, (len(data), len(data), PADDING)]):
        if start > position:
            gap = data[position:start]
            is_padding = len(gap) < 64 and not gap.strip(b"\0")
            sizes[PADDING if is_padding else DEAD_SPACE] += len(gap)
            position = start
        if end > position:
            sizes[part] += end - position
            position = end
    return dict(sizes)
