"""What a net costs as a file, whatever its weights are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class FileCosts:
    """One file of a net."""

    net: str  # the net's full name in the zoo
    dataset: str  # the data set that decides over its input and output
    file: str  # the file's name, such as `int8.tflite`
    size_bytes: int  # of the file, golfed
    latency_us: float  # median of single inferences on one thread
    runtime: str  # what it was timed in
    host: str  # the machine it was timed on


def smallest(files: Iterable[FileCosts], kind: str) -> FileCosts | None:
    """Of the files whose names begin with a number type, `float32` or `int8`, the smallest."""
    return min(
        (file for file in files if file.file.startswith(kind)),
        key=lambda file: file.size_bytes,
        default=None,
    )
