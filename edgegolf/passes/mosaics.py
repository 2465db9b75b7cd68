"""Pools a canvas of copies once, where the copies were pooled one by one and added up.

A net may look at an image at several offsets: it pads it, pools it, pads the result to its place
on a canvas, and adds all of these. Padded before the pooling, the copies do not overlap, so one
pooling of the canvas gives the same bits, and the canvas is the padded image some times over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.ops import NO_PADDING, Add, AveragePool2D, Concatenate, Op, Pad, Pair, Slice
from edgegolf.ir.tensor import Tensor


def pool_copies_once(graph: Graph) -> Graph:
    """Replace the first sum of pooled copies; graphs without one come back as they are."""
    makers = {tensor: node for node in graph.nodes for tensor in node.outputs}
    for node in reversed(graph.nodes):
        found = _Copies(graph, makers)
        if isinstance(node.op, Add) and found.all_in(node):
            instead = found.as_one(node.output)
            if instead:
                nodes = [
                    new
                    for each in graph.nodes
                    if each is node or each not in found.replaced
                    for new in (instead if each is node else [each])
                ]
                return Graph(graph.inputs, graph.outputs, tuple(nodes))
    return graph


@dataclass
class _Copies:
    """What a sum adds up."""

    graph: Graph  # where
    makers: dict[Tensor, Node]  # the nodes that compute each tensor
    # First row and column of each copy, before the pooling.
    corners: list[Pair] = field(default_factory=list)
    # What all copies are of, and how they are pooled.
    pooled: set[tuple[Tensor, AveragePool2D]] = field(default_factory=set)
    replaced: list[Node] = field(default_factory=list)  # the nodes that only serve the sum

    def all_in(self, node: Node) -> bool:
        """Whether a sum adds up nothing but pooled copies, which are noted."""
        self.replaced.append(node)
        if node.op != Add() or len(node.computed) != 2:
            return False
        return all(self._is_copy(tensor) for tensor in node.computed)

    def _is_copy(self, tensor: Tensor) -> bool:
        maker = self._maker(tensor)
        if maker is not None and isinstance(maker.op, Add):
            return self.all_in(maker)
        (top, left), pool = self._unpadded(tensor)
        maker = self._maker(pool)
        if maker is None or not isinstance(maker.op, AveragePool2D):
            return False
        op, window = maker.op, maker.op.size
        sides = zip(maker.source.shape[1:3], window, strict=True)
        if op != AveragePool2D(window, NO_PADDING, window) or any(a % b for a, b in sides):
            return False
        self.replaced.append(maker)
        (inner_top, inner_left), source = self._unpadded(maker.source)
        self.corners.append((top * window[0] + inner_top, left * window[1] + inner_left))
        self.pooled.add((source, op))
        return len(self.pooled) == 1

    def _unpadded(self, tensor: Tensor) -> tuple[Pair, Tensor]:
        """What a padding puts before the rows and columns, and what of."""
        maker = self._maker(tensor)
        if maker is None or not isinstance(maker.op, Pad) or maker.op.value:
            return (0, 0), tensor
        if len(maker.op.margins) != 4 or maker.op.margins[::3] != ((0, 0), (0, 0)):
            return (0, 0), tensor
        self.replaced.append(maker)
        return (maker.op.margins[1][0], maker.op.margins[2][0]), maker.source

    def _maker(self, tensor: Tensor) -> Node | None:
        """The node that computes a tensor which nothing else reads."""
        is_private = len(self.graph.readers[tensor]) == 1 and tensor not in self.graph.outputs
        return self.makers.get(tensor) if is_private else None

    def as_one(self, result: Tensor) -> list[Node]:
        """The nodes that compute the sum at once, none if the copies are no regular pattern."""
        ((source, pool),) = self.pooled
        rows, columns = ({corner[axis] for corner in self.corners} for axis in (0, 1))
        if sorted(self.corners) != sorted(product(rows, columns)):
            return []
        margins, spare, repeats = [], [], []
        sides = zip(source.shape[1:3], result.shape[1:3], pool.size, strict=True)
        for starts, (size, length, window) in zip((rows, columns), sides, strict=True):
            canvas, count = length * window, len(starts)
            pitch = max(starts) // (count - 1) if count > 1 else canvas
            if pitch < size or starts != set(range(0, count * pitch, pitch)):
                return []
            if count * pitch < canvas:
                return []
            margins.append((0, pitch - size))
            spare.append((0, count * pitch - canvas))
            repeats.append(count)
        nodes: list[Node] = []

        def add(op: Op, *inputs: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
            nodes.append(Node(op, inputs, (Tensor(shape or op.shape(inputs) or ()),)))
            return nodes[-1].output

        canvas_tensor = add(Pad(((0, 0), margins[0], margins[1], (0, 0))), source)
        for axis, count in enumerate(repeats, 1):
            if count > 1:
                canvas_tensor = add(Concatenate(axis), *[canvas_tensor] * count)
        if any(map(any, spare)):
            crop = Slice.crop((spare[0], spare[1]), canvas_tensor.shape)
            canvas_tensor = add(crop, canvas_tensor, shape=crop.sizes)
        nodes.append(Node(pool, (canvas_tensor,), (result,)))
        return nodes
