"""Finds blocks of layers that repeat with the same weights, and rolls them into loops."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from edgegolf.export.sharing.network import Loop, Network, Node, Value


def roll(network: Network) -> Network:
    """Replace every run of repeated blocks by a `Loop`.

    A block is the shortest sequence of nodes that follows itself with equal operations (hence the
    same weights) wired alike, and whose results have the shapes of what it starts from. Networks
    without one come back as they are. The values outside the loops stay the same objects.
    """
    nodes: list[Node] = []
    position = 0
    while position < len(network.nodes):
        found = _longest_run(network, position)
        if found is None:
            nodes.append(network.nodes[position])
            position += 1
        else:
            nodes.append(_rolled(network, found))
            position = found.stop
    if len(nodes) == len(network.nodes):
        return network
    return Network(network.inputs, network.outputs, tuple(nodes))


@dataclass(frozen=True)
class _Run:
    """Repeated blocks.

    Attributes:
        start: Position of the first node.
        period: Nodes in a block.
        iterations: How often the block occurs.
        entries: The values that the first block starts from, and the values that take their place
            in the second block. For a value that every block reads, both are the same.
    """

    start: int
    period: int
    iterations: int
    entries: tuple[tuple[Value, Value], ...]

    @property
    def stop(self) -> int:
        return self.start + self.period * self.iterations


def _longest_run(network: Network, start: int) -> _Run | None:
    """The shortest block that repeats from a position on, as often as it does."""
    operations = [node.operation for node in network.nodes]
    for period in range(1, (len(operations) - start) // 2 + 1):
        first = operations[start : start + period]
        if operations[start + period : start + 2 * period] != first:
            continue
        if not any(operation.weights for operation in first):
            continue
        repeats = 1
        while operations[start + repeats * period :][:period] == first:
            repeats += 1
        for iterations in range(repeats, 1, -1):
            run = _wired(network, start, period, iterations)
            if run is not None:
                return run
    return None


def _wired(network: Network, start: int, period: int, iterations: int) -> _Run | None:
    """The run, if its blocks are connected alike and nothing reads into them from outside."""
    blocks = [
        network.nodes[start + period * i : start + period * (i + 1)] for i in range(iterations)
    ]
    produced = [[value for node in block for value in node.outputs] for block in blocks]
    consumed = [[value for node in block for value in node.inputs] for block in blocks]
    following = {
        value: successor
        for earlier, later in pairwise(produced)
        for value, successor in zip(earlier, later, strict=True)
    }
    entries: dict[Value, Value] = {}
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
    carried_values = [value for value in entries.values() if value in produced[0]]
    if not carried_values:
        return None
    hidden = {value for values in produced for value in values}
    hidden -= {produced[-1][produced[0].index(value)] for value in carried_values}
    outside = (*network.nodes[:start], *network.nodes[start + period * iterations :])
    read_outside = {value for node in outside for value in node.inputs} | set(network.outputs)
    if hidden & read_outside:
        return None
    return _Run(start, period, iterations, tuple(entries.items()))


def _rolled(network: Network, run: _Run) -> Node:
    """The node with the loop that does what a run of blocks does."""
    first = network.nodes[run.start : run.start + run.period]
    last = network.nodes[run.stop - run.period : run.stop]
    final = {
        value: end
        for node, node_at_end in zip(first, last, strict=True)
        for value, end in zip(node.outputs, node_at_end.outputs, strict=True)
    }
    inputs = tuple(before for before, _ in run.entries)
    outputs = tuple(after for _, after in run.entries)
    body = Network(inputs, outputs, first)
    # An unchanged value leaves the loop as a new one, because a value has one origin.
    after = tuple(final.get(value) or Value(value.shape) for value in outputs)
    return Node(Loop(body, run.iterations), inputs, after)


@dataclass(frozen=True)
class Unrolled:
    """A network with longer loop bodies, or none.

    Attributes:
        network: With the same outputs.
        origins: For each new value the one in the former body that it is a copy of.
    """

    network: Network
    origins: dict[Value, Value]


def unroll(network: Network, factor: int | None = None) -> Unrolled:
    """Put several copies of its block into the body of each loop.

    Args:
        network: With loops.
        factor: Blocks in a body. Loops whose iterations it does not divide stay as they are. None
            leaves no loop.
    """
    nodes: list[Node] = []
    origins: dict[Value, Value] = {}
    for node in network.nodes:
        loop = node.operation
        if not isinstance(loop, Loop):
            nodes.append(node)
        elif factor is None:
            nodes += _inlined(node, loop, origins)
        elif loop.iterations % factor:
            nodes.append(node)
        else:
            copies, outputs = _copies(loop.body, loop.body.inputs, factor, origins)
            body = Network(loop.body.inputs, outputs, tuple(copies))
            nodes.append(Node(Loop(body, loop.iterations // factor), node.inputs, node.outputs))
    return Unrolled(Network(network.inputs, network.outputs, tuple(nodes)), origins)


def _inlined(node: Node, loop: Loop, origins: dict[Value, Value]) -> list[Node]:
    copies, last = _copies(loop.body, node.inputs, loop.iterations, origins)
    renamed = dict(zip(last, node.outputs, strict=True))
    return [
        Node(
            copy.operation,
            tuple(renamed.get(value, value) for value in copy.inputs),
            tuple(renamed.get(value, value) for value in copy.outputs),
        )
        for copy in copies
    ]


def _copies(
    body: Network, inputs: tuple[Value, ...], times: int, origins: dict[Value, Value]
) -> tuple[list[Node], tuple[Value, ...]]:
    """A body several times in a row, and the values that it ends with."""
    nodes: list[Node] = []
    current = inputs
    for _ in range(times):
        known = dict(zip(body.inputs, current, strict=True))
        for node in body.nodes:
            outputs = tuple(Value(value.shape) for value in node.outputs)
            nodes.append(Node(node.operation, tuple(known[v] for v in node.inputs), outputs))
            known.update(zip(node.outputs, outputs, strict=True))
            origins.update(zip(outputs, node.outputs, strict=True))
        current = tuple(known[value] for value in body.outputs)
    return nodes, current
