"""Calls of a file's own functions replaced by what they do, as runtimes do it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgegolf.errors import EdgegolfError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

MAXIMUM_NODES = 500_000  # that calls of functions may unfold to
MAXIMUM_NESTING = 32


def inlined(data: bytes, name: str) -> ModelProto:
    """A model without calls of functions, from the bytes of its file.

    Raises:
        EdgegolfError: It cannot be read, its functions unfold to an absurd number of nodes, or
            they cannot be inlined.
    """
    import onnx
    import onnx.inliner
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_from_string(data)
    except (DecodeError, ValueError) as error:
        raise EdgegolfError(f"{name} is not a valid ONNX file: {error}") from None
    if not model.functions:
        return model
    _check_unfolding(model, name, (1 << 25) + 20 * len(data))
    try:
        return onnx.inliner.inline_local_functions(model, convert_version=True)
    except Exception as error:  # of C++, with types of their own
        raise EdgegolfError(f"{name} has functions that cannot be inlined: {error}") from None


def _check_unfolding(model: ModelProto, name: str, maximum_bytes: int) -> None:
    """Bound what inlining would make, before it is made."""
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    known: dict[tuple[str, str, str], tuple[int, int]] = {}

    def of_nodes(nodes: Any, depth: int) -> tuple[int, int]:
        if depth > MAXIMUM_NESTING:
            raise EdgegolfError(f"{name} has functions nested too deeply")
        count = size = 0
        for node in nodes:
            key = node.domain, node.op_type, node.overload
            parts = [(1 + len(node.input) + len(node.output), 0)]
            parts += [of_nodes(graph.node, depth + 1) for graph in nested_graphs(node)]
            if key in functions:
                if key not in known:
                    inner, inside = of_nodes(functions[key].node, depth + 1)
                    known[key] = inner, inside + functions[key].ByteSize()
                parts.append(known[key])
            count += sum(part[0] for part in parts)
            size += sum(part[1] for part in parts)
        return count, size

    count, size = of_nodes(model.graph.node, 0)
    if count > MAXIMUM_NODES or size > maximum_bytes:
        raise EdgegolfError(f"{name} unfolds to an absurd number of nodes")


def nested_graphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
