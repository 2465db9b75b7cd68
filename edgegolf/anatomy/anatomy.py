"""Where every byte of a model file goes, and which weights are shared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgegolf.anatomy.onnx import dissect_onnx
from edgegolf.anatomy.parts import Content, Dissection
from edgegolf.anatomy.tflite import dissect_tflite
from edgegolf.files import read_bounded
from edgegolf.formats.model_format import model_format


@dataclass(frozen=True)
class Part:
    """The bytes of a file that serve one purpose."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Weight:
    """Weights or biases of one tensor."""

    name: str  # the tensor's name, or its number where it has none
    role: str  # ``weights`` or ``biases``
    bytes: int  # size of its data
    operators: int  # how many operators use it


@dataclass(frozen=True)
class Duplicate:
    """Equal data that the file stores more than once."""

    names: tuple[str, ...]  # the tensors that hold it
    copies: int  # how often it is stored
    bytes: int  # size of one copy


@dataclass(frozen=True)
class Anatomy:
    """What a file consists of."""

    SCHEMA: ClassVar[str] = "edgegolf.anatomy/1"

    file: str  # its path
    format: str  # ``tflite`` or ``onnx``
    bytes: int  # its size
    parts: tuple[Part, ...]  # what its bytes are for, largest first; they add up to the size
    weights: tuple[Weight, ...]  # its weights and biases, the most shared first
    duplicates: tuple[Duplicate, ...]  # equal data stored more than once, the most wasteful first
    sharing_would_save: int  # bytes of data to be saved by storing equal data once


@dataclass(frozen=True)
class Change:
    """What became of the bytes that serve one purpose."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class AnatomyChange:
    """Where a file differs from an earlier one."""

    SCHEMA: ClassVar[str] = "edgegolf.anatomy_change/1"

    old: str  # the earlier file's path
    new: str  # the path of the other
    before: int  # size of the earlier file
    after: int  # size of the other
    changes: tuple[Change, ...]  # the largest first; they add up to the sizes


def anatomy_change(old: Path, new: Path) -> AnatomyChange:
    """Tell which parts of a file grew and which shrank; the two may be of different formats.

    Raises:
        EdgegolfError: As `anatomy`.
    """
    first, second = anatomy(old), anatomy(new)
    before, after = ({part.name: part.bytes for part in each.parts} for each in (first, second))
    changes = (Change(name, before.get(name, 0), after.get(name, 0)) for name in before | after)
    ordered = sorted(changes, key=lambda each: -abs(each.after - each.before))
    return AnatomyChange(str(old), str(new), first.bytes, second.bytes, tuple(ordered))


def anatomy(path: Path) -> Anatomy:
    """Take a ``.tflite`` or ``.onnx`` file apart.

    Raises:
        EdgegolfError: The file cannot be read or is damaged, or is neither.
    """
    kind = model_format(path)
    data = read_bounded(path)
    dissect = dissect_tflite if kind == "tflite" else dissect_onnx
    dissection: Dissection = dissect(data, str(path))
    duplicates = tuple(_duplicates(dissection.contents))
    return Anatomy(
        str(path),
        kind,
        len(data),
        tuple(
            Part(name, size)
            for name, size in sorted(dissection.parts.items(), key=lambda part: -part[1])
            if size
        ),
        tuple(_weights(dissection.contents)),
        duplicates,
        sum((item.copies - 1) * item.bytes for item in duplicates),
    )


def _weights(contents: Iterable[Content]) -> list[Weight]:
    found = [
        Weight(content.names[0], content.role, len(content.data), content.operators)
        for content in contents
        if content.role in ("weights", "biases") and content.names
    ]
    return sorted(found, key=lambda weight: (-weight.operators, -weight.bytes))


def _duplicates(contents: Iterable[Content]) -> list[Duplicate]:
    groups: dict[bytes, list[Content]] = {}
    for content in contents:
        if content.data:
            groups.setdefault(content.data, []).append(content)
    found = [
        Duplicate(tuple(name for item in group for name in item.names), len(group), len(data))
        for data, group in groups.items()
        if len(group) > 1
    ]
    return sorted(found, key=lambda duplicate: -(duplicate.copies - 1) * duplicate.bytes)
