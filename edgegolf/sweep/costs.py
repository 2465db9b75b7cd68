"""What a net costs as a file, whatever its weights are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class FileCosts:
    """One file of a net.

    Attributes:
        net: The net's full name in the zoo.
        dataset: The data set that decides over its input and output.
        file: The file's name, such as `int8.tflite`.
        size_bytes: Of the file, golfed.
        latency_us: Median of single inferences on one thread.
        runtime: What it was timed in.
        host: The machine it was timed on.
    """

    net: str
    dataset: str
    file: str
    size_bytes: int
    latency_us: float
    runtime: str
    host: str


def smallest(files: Iterable[FileCosts], kind: str) -> FileCosts | None:
    """Of the files whose names begin with a number type, `float32` or `int8`, the smallest."""
    return min(
        (file for file in files if file.file.startswith(kind)),
        key=lambda file: file.size_bytes,
        default=None,
    )
