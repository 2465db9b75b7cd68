"""Finds blocks of layers that repeat with the same weights, and rolls them into loops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from edgegolf.errors import EdgegolfError
from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.ops import Loop
from edgegolf.ir.tensor import Tensor

MAXIMUM_NODES = 100_000  # that a loop may be written out to


def reroll(graph: Graph) -> Graph:
    """Replace every run of repeated blocks by a `Loop`.

    A block is the shortest sequence of nodes that follows itself with the same layers wired alike,
    and whose results have the shapes of what it starts from. Graphs without one come back as they
    are. The tensors outside the loops stay the same objects.
    """
    nodes: list[Node] = []
    position = 0
    while position < len(graph.nodes):
        found = _longest_run(graph, position)
        if found is None:
            nodes.append(graph.nodes[position])
            position += 1
        else:
            nodes.append(_rolled(graph, found))
            position = found.stop
    if len(nodes) == len(graph.nodes):
        return graph
    return Graph(graph.inputs, graph.outputs, tuple(nodes))


@dataclass(frozen=True)
class _Run:
    """Repeated blocks."""

    start: int  # position of the first node
    period: int  # nodes in a block
    iterations: int  # how often the block occurs
    # The tensors that the first block starts from, and those that take their place in the second
    # block. For a tensor that every block reads, both are the same.
    entries: tuple[tuple[Tensor, Tensor], ...]

    @property
    def stop(self) -> int:
        return self.start + self.period * self.iterations


def _longest_run(graph: Graph, start: int) -> _Run | None:
    """The shortest block that repeats from a position on, as often as it does."""
    layers = [node.layer for node in graph.nodes]
    for period in range(1, (len(layers) - start) // 2 + 1):
        first = layers[start : start + period]
        if layers[start + period : start + 2 * period] != first:
            continue
        if not any(node.parameters for node in graph.nodes[start : start + period]):
            continue
        repeats = 1
        while layers[start + repeats * period :][:period] == first:
            repeats += 1
        for iterations in range(repeats, 1, -1):
            run = _wired(graph, start, period, iterations)
            if run is not None:
                return run
    return None


def _wired(graph: Graph, start: int, period: int, iterations: int) -> _Run | None:
    """The run, if its blocks are connected alike and nothing reads into them from outside."""
    blocks = [graph.nodes[start + period * i : start + period * (i + 1)] for i in range(iterations)]
    produced = [[tensor for node in block for tensor in node.outputs] for block in blocks]
    consumed = [[tensor for node in block for tensor in node.computed] for block in blocks]
    following = {
        tensor: successor
        for earlier, later in pairwise(produced)
        for tensor, successor in zip(earlier, later, strict=True)
    }
    entries: dict[Tensor, Tensor] = {}
    for earlier, later in zip(consumed[0], consumed[1], strict=True):
        if earlier in following:
            if following[earlier] is not later:
                return None
        elif later is earlier or (later in produced[0] and later.shape == earlier.shape):
            if entries.setdefault(earlier, later) is not later:
                return None
        else:
            return None
    for before, after in pairwise(consumed[1:]):
        for earlier, later in zip(before, after, strict=True):
            if following.get(earlier, earlier) is not later:
                return None
    carried = [tensor for tensor in entries.values() if tensor in produced[0]]
    if not carried:
        return None
    hidden = {tensor for tensors in produced for tensor in tensors}
    hidden -= {produced[-1][produced[0].index(tensor)] for tensor in carried}
    outside = (*graph.nodes[:start], *graph.nodes[start + period * iterations :])
    read_outside = {tensor for node in outside for tensor in node.computed} | set(graph.outputs)
    if hidden & read_outside:
        return None
    return _Run(start, period, iterations, tuple(entries.items()))


def _rolled(graph: Graph, run: _Run) -> Node:
    """The node with the loop that does what a run of blocks does."""
    first = graph.nodes[run.start : run.start + run.period]
    last = graph.nodes[run.stop - run.period : run.stop]
    final = {
        tensor: end
        for node, node_at_end in zip(first, last, strict=True)
        for tensor, end in zip(node.outputs, node_at_end.outputs, strict=True)
    }
    inputs = tuple(before for before, _ in run.entries)
    outputs = tuple(after for _, after in run.entries)
    body = Graph(inputs, outputs, first)
    # An unchanged tensor leaves the loop as a new one, because a tensor has one origin.
    after = tuple(final.get(tensor) or Tensor(tensor.shape) for tensor in outputs)
    return Node(Loop(body, run.iterations), inputs, after)


@dataclass(frozen=True)
class Unrolled:
    """A graph with longer loop bodies, or none."""

    graph: Graph  # with the same outputs
    # For each new tensor the one in the former body that it is a copy of.
    origins: dict[Tensor, Tensor]


def unroll(graph: Graph, factor: int | None = None) -> Unrolled:
    """Put several copies of its block into the body of each loop.

    Args:
        graph: With loops.
        factor: Blocks in a body. Loops whose iterations it does not divide stay as they are. None
            leaves no loop.

    Raises:
        EdgegolfError: One is too long for that.
    """
    nodes: list[Node] = []
    origins: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        loop = node.op
        if not isinstance(loop, Loop):
            nodes.append(node)
        elif factor is None:
            nodes += _inlined(node, loop, origins)
        elif loop.iterations % factor:
            nodes.append(node)
        else:
            copies, outputs = _copies(loop.body, loop.body.inputs, factor, origins)
            body = Graph(loop.body.inputs, outputs, tuple(copies))
            nodes.append(Node(Loop(body, loop.iterations // factor), node.inputs, node.outputs))
    return Unrolled(Graph(graph.inputs, graph.outputs, tuple(nodes)), origins)


def _inlined(node: Node, loop: Loop, origins: dict[Tensor, Tensor]) -> list[Node]:
    if loop.iterations * len(loop.body.nodes) > MAXIMUM_NODES:
        raise EdgegolfError(f"a loop of {loop.iterations:,} turns is too long to be written out")
    entries = tuple(tensor for tensor in node.inputs if tensor is not None)
    copies, last = _copies(loop.body, entries, loop.iterations, origins)
    renamed = dict(zip(last, node.outputs, strict=True))
    return [
        Node(
            copy.op,
            tuple(None if t is None else renamed.get(t, t) for t in copy.inputs),
            tuple(renamed.get(t, t) for t in copy.outputs),
        )
        for copy in copies
    ]


def _copies(
    body: Graph, inputs: tuple[Tensor, ...], times: int, origins: dict[Tensor, Tensor]
) -> tuple[list[Node], tuple[Tensor, ...]]:
    """A body several times in a row, and the tensors that it ends with."""
    nodes: list[Node] = []
    current = inputs
    for _ in range(times):
        known = dict(zip(body.inputs, current, strict=True))
        for node in body.nodes:
            outputs = tuple(replace(tensor) for tensor in node.outputs)
            arguments = tuple(None if t is None else known.get(t, t) for t in node.inputs)
            nodes.append(Node(node.op, arguments, outputs))
            known.update(zip(node.outputs, outputs, strict=True))
            origins.update(zip(outputs, node.outputs, strict=True))
        current = tuple(known[tensor] for tensor in body.outputs)
    return nodes, current
