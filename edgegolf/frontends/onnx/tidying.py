"""What ONNX says in several nodes and the graph in one, or in none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from edgegolf.frontends.onnx.layout import Builder
from edgegolf.ir import Node, Tensor, ops
from edgegolf.ir.graph import needed
from edgegolf.ir.tensor import Array

_Replacement: TypeAlias = tuple[Node, ...] | None

_LAYERS = (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)


def tidied(build: Builder, nodes: Sequence[Node], outputs: tuple[Tensor, ...]) -> tuple[Node, ...]:
    """The nodes that the outputs need, as few as the operators allow.

    A constant that is added to a layer becomes its bias, one that a dense layer is multiplied by
    part of its matrix; where an image is flattened with its channels first, the columns of the
    matrix are put in the other order; a HardSwish and a GELU are found again.
    """
    tidying = _Tidying(build, needed(nodes, outputs), outputs)
    return needed([new for node in tidying.nodes for new in tidying.replaced(node)], outputs)


class _Tidying:
    def __init__(
        self, build: Builder, nodes: tuple[Node, ...], outputs: tuple[Tensor, ...]
    ) -> None:
        self.build = build
        self.nodes = nodes
        self.origins = {tensor: node for node in self.nodes for tensor in node.outputs}
        read = [tensor for node in self.nodes for tensor in node.inputs if tensor is not None]
        self.readers = Counter([*read, *outputs])

    def replaced(self, node: Node) -> tuple[Node, ...]:
        """What a node becomes; what only it read is left behind."""
        for rule in (self.merged, self.hard_swish, self.gelu, self.unflattened):
            found = rule(node)
            if found is not None:
                self.origins.update((new.output, new) for new in found)
                return found
        return (node,)

    def merged(self, node: Node) -> _Replacement:
        """A layer that does what the constant after it did."""
        source, constant = _with_constant(node)
        layer = None if source is None else self.origins.get(source)
        if layer is None or constant is None or not self.can_take(layer, node, constant):
            return None
        width = layer.output.shape[-1]
        vector = np.broadcast_to(constant.values.reshape(-1), width)
        weights, bias = layer.filter, layer.bias
        present = np.zeros(width, np.float32) if bias is None else bias.values
        match node.op:
            case ops.Add():
                total = present + vector
            case ops.Sub():
                total = present - vector
            case _:
                weights = self.build.constant(weights.values * vector[:, None])
                total = present * vector
        if bias is None and isinstance(node.op, ops.Mul):
            return (Node(layer.op, (layer.source, weights), node.outputs),)
        constants = (weights, self.build.constant(total))
        return (Node(layer.op, (layer.source, *constants), node.outputs),)

    def can_take(self, layer: Node, node: Node, constant: Tensor) -> bool:
        """Whether a layer's constants can take what is done to its result."""
        width = layer.output.shape[-1:]
        if isinstance(node.op, ops.Mul) and not (
            isinstance(layer.op, ops.FullyConnected)
            and layer.constant(1) is not None
            and self.readers[layer.filter] == 1
        ):
            return False
        return (
            isinstance(layer.op, _LAYERS)
            and layer.output.dtype == "float32"
            and (len(layer.inputs) < 3 or layer.bias is not None)
            and layer.op.activation is None
            and self.readers[layer.output] == 1
            and node.output.shape == layer.output.shape
            and constant.shape in ((), (1,), width)
        )

    def hard_swish(self, node: Node) -> _Replacement:
        """x · min(6, max(0, x + 3)) / 6, where only x + 3 was an operator."""
        if not isinstance(node.op, ops.Mul):
            return None
        whole = self.sixth(node.output)
        product = node if whole is None else self.origins.get(whole)
        if product is None or not isinstance(product.op, ops.Mul):
            return None
        first, second = product.inputs
        pairs = [(first, second), (second, first)]
        if whole is None:
            pairs = [(first, self.sixth(second)), (second, self.sixth(first))]
        for source, share in pairs:
            if source is not None and share is not None and self.is_share(share, source):
                return (Node(ops.HardSwish(), (source,), node.outputs),)
        return None

    def sixth(self, tensor: Tensor | None) -> Tensor | None:
        """What a tensor is a sixth of."""
        node = self.origins.get(tensor) if tensor is not None else None
        if node is None or not isinstance(node.op, ops.Mul):
            return None
        source, constant = _with_constant(node)
        return source if constant is not None and _is(constant.values, 1 / 6) else None

    def is_share(self, tensor: Tensor, source: Tensor) -> bool:
        """Whether it is min(6, max(0, x + 3))."""
        node = self.origins.get(tensor)
        before = self.origins.get(node.source) if node is not None else None
        if node is None or node.op != ops.ReLU(0.0, 6.0) or before is None:
            return False
        found, constant = _with_constant(before)
        is_sum = isinstance(before.op, ops.Add) and found is source
        return is_sum and constant is not None and _is(constant.values, 3)

    def gelu(self, node: Node) -> _Replacement:
        """x · (1 + erf(x / √2)) / 2, its factors in any order."""
        if node.op != ops.Mul():
            return None
        parts = [self.origins.get(tensor) for tensor in node.inputs if tensor is not None]
        shares = {
            t for part in (node, *parts) if part and part.op == ops.Mul() for t in part.inputs
        }
        for share in shares:
            source = self.within_erf(share)
            if share is not None and source is not None:
                number, rest = self.factors(node.output, (source, share))
                if rest == {source, share} and np.isclose(number, 0.5, rtol=1e-6):
                    return (Node(ops.GELU(), (source,), node.outputs),)
        return None

    def within_erf(self, tensor: Tensor | None) -> Tensor | None:
        """The x of 1 + erf(x / √2)."""
        node = self.origins.get(tensor) if tensor is not None else None
        if node is None or not isinstance(node.op, ops.Add):
            return None
        before, one = _with_constant(node)
        curve = self.origins.get(before) if before is not None else None
        if one is None or not _is(one.values, 1) or curve is None:
            return None
        inner = self.origins.get(curve.source) if curve.op == ops.Unsupported("Erf") else None
        source, factor = _with_constant(inner) if inner and inner.op == ops.Mul() else (None, None)
        return source if factor is not None and _is(factor.values, 0.5**0.5) else None

    def factors(
        self, tensor: Tensor | None, known: tuple[Tensor, Tensor]
    ) -> tuple[float, set[Tensor | None]]:
        """A number and the tensors that a product is of, those that are known not taken apart."""
        node = self.origins.get(tensor) if tensor is not None and tensor not in known else None
        if tensor is not None and tensor.data is not None and tensor.elements == 1:
            return float(tensor.values.item()), set()
        if node is None or node.op != ops.Mul():
            return 1.0, {tensor}
        (first, left), (second, right) = (self.factors(each, known) for each in node.inputs)
        return first * second, left | right

    def unflattened(self, node: Node) -> _Replacement:
        """A dense layer that reads an image as it lies."""
        if not isinstance(node.op, ops.FullyConnected):
            return None
        decodes = self.origins.get(node.filter)
        stored = node.constant(1) if decodes is None else decodes.constant(0)
        if stored is None:
            return None
        flat = self.origins.get(node.source)
        moved = self.origins.get(flat.source) if flat is not None else None
        if flat is None or moved is None or not isinstance(flat.op, ops.Reshape):
            return None
        axes = moved.op.axes if isinstance(moved.op, ops.Transpose) else ()
        shape = moved.output.shape
        if axes[:1] != (0,) or len(flat.output.shape) != 2 or flat.output.shape[0] != shape[0]:
            return None
        units = len(stored.values)
        inverse = [axes.index(axis) for axis in range(len(axes))]
        columns = stored.values.reshape(units, *shape[1:]).transpose(inverse)
        matrix = self.build.constant(columns.reshape(units, -1), stored.quant, stored.dtype)
        source = replace(flat.output)
        nodes = [Node(ops.Reshape(), (moved.source,), (source,))]
        if decodes is not None:
            nodes.append(Node(decodes.op, (matrix,), (replace(decodes.output),)))
            matrix = nodes[-1].output
        return (*nodes, Node(node.op, (source, matrix, *node.inputs[2:]), node.outputs))


def _with_constant(node: Node) -> tuple[Tensor | None, Tensor | None]:
    """The computed and the constant operand of a sum, difference or product, if there are such."""
    if isinstance(node.op, ops.Add | ops.Sub | ops.Mul) and node.op.activation is None:
        first, second = node.inputs
        if node.constant(1) is not None and node.constant(0) is None:
            return first, second
        if node.constant(0) is not None and not isinstance(node.op, ops.Sub):
            return second, first
    return None, None


def _is(values: Array, number: float) -> bool:
    return values.size == 1 and bool(np.isclose(values.item(), number, rtol=1e-6))
