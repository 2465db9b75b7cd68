"""What a rewriter of one file format is told and what it answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keep:
    """What stays in the file although no runtime needs it to compute."""

    names: bool = False  # names of tensors, nodes and graphs
    metadata: bool = False  # descriptions, authors, tool versions
    signatures: bool = False  # names of inputs and outputs in a TFLite file's only signature
    # What other readers of ONNX files than onnxruntime need: nodes where they are used, not in
    # functions, and the `kernel_shape` that the weights tell as well.
    portable: bool = False


@dataclass(frozen=True)
class Stage:
    """The size in bytes that the file has once one cause of waste is removed."""

    cause: str
    bytes: int


@dataclass(frozen=True)
class Golfed:
    """A rewritten file, and its size after each stage of the work."""

    data: bytes  # the file
    stages: tuple[Stage, ...]  # the work
    # Whether it is wanted even where it is larger, because the original is not what was asked for.
    may_grow: bool = False
