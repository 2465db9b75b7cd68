"""From an `.onnx` file to a `Graph`."""

from edgegolf.frontends.onnx.operators import UnsupportedOperatorError
from edgegolf.frontends.onnx.reader import Read, read_graph

__all__ = ["Read", "UnsupportedOperatorError", "read_graph"]
