"""Rows that a loop of TensorFlow writes one after the other, as the results of a recurrent layer.

TFLite cuts what is there before and behind row i, whose shapes only a run tells, and puts the new
row between. Where the turns write every row once, from the first on, the rows may as well move up
and the new one be the last.
"""

from __future__ import annotations

import numpy as np

from edgegolf.ir import Graph, Node, Tensor, ops
from edgegolf.ir.graph import needed


def with_rows(body: Graph, state: tuple[Tensor, ...], turns: int) -> Graph:
    """The body of a loop with such rows in words that the graph has.

    Args:
        body: What every turn computes.
        state: What the first turn takes.
        turns: How many there are.
    """
    origins = {tensor: node for node in body.nodes for tensor in node.outputs}
    new: dict[Node, list[Node]] = {}
    for before, after in zip(body.inputs, body.outputs, strict=True):
        node = origins.get(after)
        row = None if node is None else _row(node, before, body, origins, state, turns)
        if node is None or row is None:
            continue
        sizes = (turns - 1, *before.shape[1:])
        starts = (1, *(0,) * (len(before.shape) - 1))
        kept = Tensor(sizes, before.dtype, before.quant)
        cut = ops.Slice(starts, (1,) * len(sizes), sizes)
        joined = Node(ops.Concatenate(0), (kept, row), (after,))
        new[node] = [Node(cut, (before,), (kept,)), joined]
    if not new:
        return body
    nodes = [each for node in body.nodes for each in new.get(node, [node])]
    return Graph(body.inputs, body.outputs, needed(nodes, body.outputs))


def _row(
    node: Node,
    before: Tensor,
    body: Graph,
    origins: dict[Tensor, Node],
    state: tuple[Tensor, ...],
    turns: int,
) -> Tensor | None:
    """The row that is written in a turn, if it is the turn's own one."""
    shape = before.shape
    if not _is(node, "CONCATENATION") or len(node.inputs) != 3 or shape[:1] != (turns,):
        return None
    head, row, tail = node.inputs
    cuts = [origins.get(tensor) for tensor in (head, tail) if tensor is not None]
    if row is None or row.shape != (1, *shape[1:]) or len(cuts) != 2 or turns < 2:
        return None
    numbers = []
    for cut, position in zip(cuts, (2, 1), strict=True):
        if cut is None or not _is(cut, "SLICE") or cut.source is not before:
            return None
        numbers.append(_first(cut.inputs[position], origins))
    if {*body.readers[before]} != {*cuts}:
        return None
    for counter, start, end in zip(body.inputs, state, body.outputs, strict=True):
        if counter is numbers[0] and numbers[1] is end:
            added = origins.get(end)
            steps = [] if added is None else [t for t in added.inputs if t is not counter]
            counts = added is not None and added.op == ops.Add() and len(steps) == 1
            return row if counts and _holds(steps[0], 1) and _holds(start, 0) else None
    return None


def _is(node: Node, name: str) -> bool:
    return isinstance(node.op, ops.Unsupported) and node.op.name == name


def _first(tensor: Tensor | None, origins: dict[Tensor, Node]) -> Tensor | None:
    """The number at the start of a shape that is put together."""
    node = origins.get(tensor) if tensor is not None else None
    if node is None or not isinstance(node.op, ops.Concatenate):
        return None
    inner = origins.get(node.source)
    return inner.source if inner is not None and isinstance(inner.op, ops.Reshape) else None


def _holds(tensor: Tensor | None, number: int) -> bool:
    return tensor is not None and tensor.data is not None and bool(np.all(tensor.data == number))
