"""Placeholder until the branch is merged."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Read:
    graph: Any
    inputs: Any
    outputs: Any


def read_graph(data: bytes, shapes: Any) -> Read:
    from edgegolf.errors import EdgegolfError

    raise EdgegolfError("no ONNX yet")
