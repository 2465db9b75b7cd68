"""What a rewriter of one file format is told and what it answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keep:
    """What stays in the file although no runtime needs it to compute.

    Attributes:
        names: Names of tensors, nodes and graphs.
        metadata: Descriptions, authors, tool versions.
        signatures: Names of inputs and outputs in a TFLite file's only signature.
    """

    names: bool = False
    metadata: bool = False
    signatures: bool = False


@dataclass(frozen=True)
class Stage:
    """The size in bytes that the file has once one cause of waste is removed."""

    cause: str
    bytes: int


@dataclass(frozen=True)
class Golfed:
    """A rewritten file, and its size after each stage of the work."""

    data: bytes
    stages: tuple[Stage, ...]
