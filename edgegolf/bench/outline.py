"""The operators of a model file in execution order: what each gives, takes and shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from string import ascii_uppercase
from typing import ClassVar

from edgegolf.bench.graph_statistics import read_census
from edgegolf.ir import Graph, Tensor
from edgegolf.ir.graph import Node
from edgegolf.ir.opaque import Opaque, stored_elements
from edgegolf.ir.tensor import UNKNOWN
from edgegolf.runtimes.child import patience
from edgegolf.runtimes.registry import check_file
from edgegolf.runtimes.worker import run_in_fork

MAXIMUM_LINES = 20_000


@dataclass(frozen=True)
class Line:
    """One operator."""

    number: str  # its position; `3.2` is the second of those that the third runs
    operator: str  # as the file's format calls it
    reads: tuple[str, ...]  # the operators that compute its inputs; weights and constants apart
    output: str  # shape and type of its first result; empty where unknown
    parameters: int  # weights and biases that it reads
    macs: int | None  # multiply-accumulates of one run, without what it runs; None if unknown
    shared: str  # letters of those of its weights that others read, too
    times: int | None  # of what it runs, how often; None if unknown, and of others


@dataclass(frozen=True)
class Outline:
    """A model file's operators."""

    SCHEMA: ClassVar[str] = "edgegolf.outline/1"

    file: str  # its path
    inputs: tuple[str, ...]  # shape and type of each
    lines: tuple[Line, ...]  # in execution order, what an operator runs after it
    left_out: int  # operators behind these, of a very long file


def outline(path: Path) -> Outline:
    """Read the operators of a `.tflite` or `.onnx` file, in a process of its own.

    Raises:
        EdgegolfError: It cannot be read or is damaged, or reading it takes too long.
    """
    check_file(path)
    return run_in_fork(_outline, path, busy=patience(path))


def _outline(path: Path) -> Outline:
    graph = read_census(path)
    # Computed from constants alone: weights that a file keeps in another form.
    decoded = {t for node in graph.walk() if _decodes(node) for t in node.outputs}
    weights = {node: _weights(node, decoded) for node in graph.walk()}
    uses = Counter(key for keys in weights.values() for key in keys)
    shared = [key for key, count in uses.items() if count > 1]
    letters = {key: _letter(index) for index, key in enumerate(shared)}
    told = {
        n: "".join(dict.fromkeys(letters.get(k, "") for k in keys)) for n, keys in weights.items()
    }
    lines = tuple(_lines(graph, "", told, {t: "" for t in decoded}))
    shown = lines[:MAXIMUM_LINES]
    inputs = tuple(map(_described, graph.inputs))
    return Outline(str(path), inputs, shown, len(lines) - len(shown))


def _lines(
    graph: Graph, prefix: str, shared: Mapping[Node, str], numbers: dict[Tensor, str]
) -> Iterator[Line]:
    for position, node in enumerate(graph.nodes, start=1):
        number = f"{prefix}{position}"
        read = (numbers.get(t, "") for t in node.inputs if t is not None)
        yield Line(
            number=number,
            operator=getattr(node.op, "name", type(node.op).__name__),
            reads=tuple(dict.fromkeys(filter(None, read))),
            output=_described(node.outputs[0]) if node.outputs else "",
            parameters=sum(map(stored_elements, node.parameters)),
            macs=node.op.macs(node.inputs, node.outputs),
            shared=shared[node],
            times=node.runs[-1][1] if node.runs else None,  # of loops, the body comes last
        )
        for index, inner in enumerate(node.graphs):
            inside = f"{number}.{index + 1}." if len(node.graphs) > 1 else f"{number}."
            yield from _lines(inner, inside, shared, dict(numbers))
        numbers.update((t, number) for t in node.outputs if numbers.get(t) != "")


def _decodes(node: Node) -> bool:
    return isinstance(node.op, Opaque) and node.op.decodes


def _weights(node: Node, decoded: Collection[Tensor]) -> list[object]:
    """What tells the weights that an operator reads from others; of one that decodes, nothing."""
    if _decodes(node):
        return []
    found: list[object] = [id(t.data) for t in node.parameters if stored_elements(t) > 1]
    return found + [t for t in node.inputs if t in decoded and t is not None and prod(t.shape) > 1]


def _letter(index: int) -> str:
    more, last = divmod(index, len(ascii_uppercase))
    return ascii_uppercase[last] + (str(more) if more else "")


def _described(tensor: Tensor) -> str:
    """Its shape and type, such as `1×28×28×1 int8`; nothing where they are unknown."""
    if tensor.dtype == UNKNOWN:
        return ""
    return f"{'×'.join(map(str, tensor.shape)) or 'scalar'} {tensor.dtype}"
