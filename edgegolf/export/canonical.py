"""One order and one set of names for what tf2onnx writes; its own depend on memory addresses."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgegolf.errors import require

if TYPE_CHECKING:
    import onnx

NUMBERED = re.compile(r"__\d+")  # what tf2onnx appends to the names that it makes up


@contextmanager
def deterministic_tf2onnx() -> Iterator[Any]:
    """The package tf2onnx, so that one process after the other makes the same of one model.

    Its optimizer goes through sets of nodes, which have the order of their memory addresses: it
    took a transposition for a reshaping, or did not, in one of fifteen runs. By names, which it
    numbers, nodes have the same order in every run.
    """
    tf2onnx: Any = require("tf2onnx", extra="train")
    node: Any = require("tf2onnx.graph", extra="train").Node
    utilities: Any = require("tf2onnx.utils", extra="train")
    by_address, number = node.__hash__, utilities.INTERNAL_NAME
    node.__hash__ = lambda self: zlib.crc32(self.name.encode())
    utilities.INTERNAL_NAME = 1
    try:
        yield tf2onnx
    finally:
        node.__hash__ = by_address
        utilities.INTERNAL_NAME = number


def canonical(model: onnx.ModelProto) -> None:
    """Bring nodes, constants and made-up names of a model into an order of its own, in place.

    Nodes come in the order in which the outputs need them, constants in that in which nodes read
    them; numbers in names count along. Models with subgraphs are left as they are.

    Args:
        model: With all names in one graph.
    """
    graph = model.graph
    if any(attribute.HasField("g") or attribute.graphs for attribute in _attributes(graph)):
        return
    nodes = _in_order(graph)
    names: dict[str, str] = {value.name: value.name for value in (*graph.input, *graph.output)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    counts: dict[str, int] = {}

    def unnumbered(name: str) -> str:
        """A name whose number says which of its kind it is."""
        if not NUMBERED.search(name):
            return name
        bare = NUMBERED.sub("__", name)
        counts[bare] = counts.get(bare, 0) + 1
        return NUMBERED.sub(f"__{counts[bare]}", name, count=1)

    used: dict[str, onnx.TensorProto] = {}
    for node in nodes:
        node.name = unnumbered(node.name)
        for name in node.input:
            if name in constants and name not in names:
                # One may stand for several equal ones, under the name of any of them.
                names[name] = unnumbered("constant__0")
                used[name] = constants[name]
        for name in node.output:
            if name and name not in names:
                names[name] = unnumbered(name)
    if len(set(names.values())) < len(names):
        return
    used |= {name: tensor for name, tensor in sorted(constants.items()) if name not in used}
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for name, tensor in used.items():
        tensor.name = names.get(name, name)
    for value in graph.value_info:
        value.name = names.get(value.name, value.name)
    _replace(graph.node, nodes)
    _replace(graph.initializer, list(used.values()))
    _replace(graph.value_info, sorted(graph.value_info, key=lambda value: value.name))
    _replace(model.opset_import, sorted(model.opset_import, key=lambda each: each.domain))


def _attributes(graph: onnx.GraphProto) -> list[onnx.AttributeProto]:
    return [attribute for node in graph.node for attribute in node.attribute]


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes, each after those whose outputs it reads; none of them calls itself."""
    producers = {name: node for node in graph.node for name in node.output}
    found: list[onnx.NodeProto] = []
    seen: set[str] = set()
    pending = [(output.name, False) for output in reversed(graph.output)]
    while pending:
        name, is_ready = pending.pop()
        node = producers.get(name)
        if node is None or node.output[0] in seen:
            continue
        if is_ready:
            seen.add(node.output[0])
            found.append(node)
        else:
            pending.append((name, True))
            pending += [(each, False) for each in reversed(node.input)]
    return found


def _replace(field: Any, values: Sequence[Any]) -> None:
    """Give a repeated field these messages, some of which it holds."""
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)
