"""Nodes in execution order, and what one run of them takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from edgegolf.ir.ops import Dequantize, Loop, Op, While
from edgegolf.ir.tensor import Tensor


@dataclass(frozen=True, eq=False)
class Node:
    """One application of an operator.

    Attributes:
        op: What it computes.
        inputs: What with; None for an optional input that is left out.
        outputs: Its results.
    """

    op: Op
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]

    @property
    def output(self) -> Tensor:
        """The only output."""
        (tensor,) = self.outputs
        return tensor

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Its constant weights and biases, among them those that it decodes."""
        decodes = isinstance(self.op, Dequantize)
        positions = (0,) if decodes else self.op.PARAMETERS
        found = (self.inputs[i] for i in positions if i < len(self.inputs))
        return tuple(tensor for tensor in found if tensor is not None and tensor.data is not None)

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graphs that it runs."""
        match self.op:
            case Loop(body):
                return (body,)
            case While(condition, body):
                return (condition, body)
        return ()


@dataclass(frozen=True, eq=False)
class Graph:
    """What a model computes. A constant used in two places is one tensor.

    Attributes:
        inputs: What it takes.
        outputs: What it gives.
        nodes: Each after those that compute its inputs.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]

    def walk(self) -> Iterator[Node]:
        """All nodes, those of graphs inside after the node that runs them."""
        for node in self.nodes:
            yield node
            for graph in node.graphs:
                yield from graph.walk()

    @cached_property
    def parameters(self) -> tuple[Tensor, ...]:
        """Every array of weights or biases once, in order of first use.

        Tensors that read the same integers with other scales are one.
        """
        found = {id(t.data): t for node in self.walk() for t in node.parameters}
        return tuple(found.values())

    @cached_property
    def macs(self) -> int | None:
        """Multiply-accumulates of one run; None if an operator or a loop's length is unknown."""
        total = 0
        for node in self.nodes:
            own = node.op.macs(node.inputs, node.outputs)
            if isinstance(node.op, Loop):
                inside = node.op.body.macs
                own = None if inside is None else inside * node.op.iterations
            elif isinstance(node.op, While):
                own = None
            if own is None:
                return None
            total += own
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
    def peak_bytes(self) -> int:
        """Largest total size of the tensors alive at one time, those of graphs inside too."""
        dying: dict[int, list[Tensor]] = {}
        for tensor, position in self.last_uses.items():
            dying.setdefault(position, []).append(tensor)
        live = set(self.inputs)
        peak = total = sum(tensor.size_bytes for tensor in live)
        for position, node in enumerate(self.nodes):
            fresh = set(node.outputs) - live
            live |= fresh
            total += sum(tensor.size_bytes for tensor in fresh)
            inside = max((graph.peak_bytes for graph in node.graphs), default=0)
            peak = max(peak, total + inside)
            gone = live.intersection(dying.get(position, ()))
            live -= gone
            total -= sum(tensor.size_bytes for tensor in gone)
        return peak
