"""Nodes in execution order, and what one run of them takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from edgegolf.ir.opaque import Opaque
from edgegolf.ir.ops import Dequantize, Loop, Op, While
from edgegolf.ir.tensor import BITS, Tensor


@dataclass(frozen=True, eq=False)
class Node:
    """One application of an operator."""

    op: Op  # what it computes
    inputs: tuple[Tensor | None, ...]  # what with; None for an optional input that is left out
    outputs: tuple[Tensor, ...]  # its results

    @property
    def output(self) -> Tensor:
        """The only output."""
        (tensor,) = self.outputs
        return tensor

    @property
    def source(self) -> Tensor:
        """The first input."""
        tensor = self.inputs[0]
        assert tensor is not None
        return tensor

    @property
    def computed(self) -> tuple[Tensor, ...]:
        """The inputs that are no constants."""
        return tuple(t for t in self.inputs if t is not None and t.data is None)

    def constant(self, position: int) -> Tensor | None:
        """A constant input, None where there is none."""
        tensor = self.inputs[position] if position < len(self.inputs) else None
        return tensor if tensor is not None and tensor.data is not None else None

    @property
    def filter(self) -> Tensor:
        """The weights of a layer that has some; decoded ones are no constant."""
        tensor = self.inputs[1]
        assert tensor is not None
        return tensor

    @property
    def bias(self) -> Tensor | None:
        """The bias of a layer, if it has one."""
        return self.constant(2)

    @property
    def layer(self) -> tuple[Op, tuple[Tensor | None, ...]]:
        """The operator and its constants: equal for two nodes exactly if they apply one layer."""
        return self.op, tuple(self.constant(position) for position in range(len(self.inputs)))

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Its constant weights and biases, among them those that it decodes."""
        decodes = isinstance(self.op, Dequantize)
        positions = (0,) if decodes else self.op.PARAMETERS
        if isinstance(self.op, Opaque):
            positions = self.op.weights
        found = (self.inputs[i] for i in positions if i < len(self.inputs))
        return tuple(tensor for tensor in found if tensor is not None and tensor.data is not None)

    @property
    def runs(self) -> tuple[tuple[Graph, int | None], ...]:
        """The graphs that it runs, and how often each; None if unknown."""
        match self.op:
            case Loop(body, iterations):
                return ((body, iterations),)
            case While(condition, body):
                return ((condition, None), (body, None))
            case Opaque():
                return self.op.runs
        return ()

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graphs that it runs."""
        return tuple(graph for graph, _ in self.runs)


@dataclass(frozen=True, eq=False)
class Graph:
    """What a model computes. A constant used in two places is one tensor."""

    inputs: tuple[Tensor, ...]  # what it takes
    outputs: tuple[Tensor, ...]  # what it gives
    nodes: tuple[Node, ...]  # each after those that compute its inputs

    def walk(self) -> Iterator[Node]:
        """All nodes, those of graphs inside after the node that runs them."""
        for node in self.nodes:
            yield node
            for graph in node.graphs:
                yield from graph.walk()

    @cached_property
    def distinct(self) -> tuple[Graph, ...]:
        """It and the graphs inside, each once, however often it is run."""
        found = {self: None}
        for node in self.nodes:
            found.update(dict.fromkeys(inner for each in node.graphs for inner in each.distinct))
        return tuple(found)

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Its loops, in execution order."""
        return tuple(node.op for node in self.walk() if isinstance(node.op, Loop))

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Every constant weight and bias once, in order of first use."""
        return tuple(dict.fromkeys(tensor for node in self.walk() for tensor in node.parameters))

    @cached_property
    def readers(self) -> dict[Tensor, list[Node]]:
        """The nodes that read each computed tensor, those of graphs inside not counted."""
        found: dict[Tensor, list[Node]] = {tensor: [] for tensor in self.inputs}
        for node in self.nodes:
            for tensor in node.computed:
                found[tensor].append(node)
            for tensor in node.outputs:
                found[tensor] = []
        return found

    @cached_property
    def producers(self) -> dict[Tensor, Node | None]:
        """The node that computes each tensor; None for several."""
        found: dict[Tensor, Node | None] = {}
        for node in self.nodes:
            found.update((tensor, None if tensor in found else node) for tensor in node.outputs)
        return found

    @cached_property
    def parameters(self) -> tuple[Tensor, ...]:
        """Every array of weights or biases once, in order of first use.

        Tensors that read the same integers with other scales are one.
        """
        found = {id(t.data): t for t in self.weights}
        return tuple(found.values())

    @cached_property
    def macs(self) -> int | None:
        """Multiply-accumulates of one run; None if an operator or a loop's length is unknown."""
        total: int | None = 0
        for node in self.nodes:
            total = plus(total, node.op.macs(node.inputs, node.outputs))
            for graph, times in node.runs:
                total = plus(total, product(graph.macs, times))
        return total

    @cached_property
    def last_uses(self) -> dict[Tensor, int]:
        """The position of the last node that needs each computed tensor; of outputs, the end.

        A tensor that nothing reads is needed where it is computed.
        """
        found = dict.fromkeys(self.inputs, -1)
        for position, node in enumerate(self.nodes):
            for tensor in (*node.inputs, *node.outputs):
                if tensor is not None and tensor.data is None:
                    found[tensor] = position
        found.update((t, len(self.nodes)) for t in self.outputs if t.data is None)
        return found

    @cached_property
    def peak_bytes(self) -> int | None:
        """Largest total size of the tensors alive at one time, those of graphs inside too.

        Without constants and state; None if a size is unknown.
        """
        dying: dict[int, list[Tensor]] = {}
        for tensor, position in self.last_uses.items():
            dying.setdefault(position, []).append(tensor)
        live: set[Tensor] = set()
        peak = total = 0
        steps = [(self.inputs, ()), *((node.outputs, node.graphs) for node in self.nodes)]
        for position, (made, graphs) in enumerate(steps, start=-1):
            fresh = {t for t in made if t.data is None and not t.is_state} - live
            inside = [graph.peak_bytes for graph in graphs]
            if None in inside or not all(tensor.dtype in BITS for tensor in fresh):
                return None
            live |= fresh
            total += sum(tensor.size_bytes for tensor in fresh)
            peak = max(peak, total + max(filter(None, inside), default=0))
            # An input that nothing reads stays: the caller holds it.
            gone = live.intersection(dying.get(position, ())) if position >= 0 else set()
            live -= gone
            total -= sum(tensor.size_bytes for tensor in gone)
        return peak


def plus(first: int | None, second: int | None) -> int | None:
    """A sum, unknown if a term is."""
    return None if first is None or second is None else first + second


def product(first: int | None, second: int | None) -> int | None:
    """A product, unknown if a factor is, except where the other one is zero."""
    if first == 0 or second == 0:
        return 0
    return None if first is None or second is None else first * second


def replace_constants(graph: Graph, changed: Mapping[Tensor, Tensor]) -> Graph:
    """The graph with some constants in the place of others, in loops too."""

    def replaced(node: Node) -> Node:
        op = node.op
        if isinstance(op, Loop):
            op = Loop(replace_constants(op.body, changed), op.iterations)
        inputs = tuple(changed.get(t, t) if t is not None else None for t in node.inputs)
        return Node(op, inputs, node.outputs)

    return Graph(graph.inputs, graph.outputs, tuple(map(replaced, graph.nodes)))


def needed(nodes: Sequence[Node], outputs: Iterable[Tensor]) -> tuple[Node, ...]:
    """Those of some nodes whose results are used."""
    used = set(outputs)
    kept = []
    for node in reversed(nodes):
        if not used.isdisjoint(node.outputs):
            used.update(node.computed)
            kept.append(node)
    return tuple(reversed(kept))
