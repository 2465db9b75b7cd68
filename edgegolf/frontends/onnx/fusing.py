"""From real operators between `Dequantize` and `Quantize` to ones that compute on integers.

That is how ONNX writes quantized nets (QDQ); runtimes do the same before they run them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgegolf.frontends.onnx.layout import MOVING, Builder
from edgegolf.ir import Node, QuantParams, Tensor, ops
from edgegolf.ir.graph import needed
from edgegolf.ir.lowering import FIXED

_LAYERS = (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)
_ELEMENTWISE = (ops.Add, ops.Sub, ops.Mul, ops.ReLU, ops.LeakyReLU, ops.HardSwish, ops.Mean)
_BIAS_TOLERANCE = 1e-3  # of a bias's scale, as a share


def fused(build: Builder, nodes: Sequence[Node], outputs: tuple[Tensor, ...]) -> tuple[Node, ...]:
    """The nodes with all those on integers that can be; what is left over stays real."""
    if not any(isinstance(node.op, ops.Dequantize) and node.computed for node in nodes):
        return tuple(nodes)
    fusing = _Fusing(build, nodes, outputs)
    for node in nodes:
        fusing.read(node)
    return needed(fusing.nodes, outputs)


class _Fusing:
    def __init__(self, build: Builder, nodes: Sequence[Node], outputs: tuple[Tensor, ...]) -> None:
        self.build = build
        self.nodes: list[Node] = []
        self.origins = {tensor: node for node in nodes for tensor in node.outputs}
        read = [tensor for node in nodes for tensor in node.inputs if tensor is not None]
        self.readers = Counter([*read, *outputs])
        self.outputs = outputs
        self.integers: dict[Tensor, Tensor] = {}  # of what was made real, and of other integers

    def add(self, op: ops.Op, inputs: Sequence[Tensor | None], output: Tensor) -> None:
        self.nodes.append(Node(op, tuple(inputs), (output,)))

    def read(self, node: Node) -> None:
        """Add a node, or what it becomes."""
        inputs = [None if t is None else self.integers.get(t, t) for t in node.inputs]
        if isinstance(node.op, ops.Dequantize) and node.computed:
            source = self.integers.get(node.source, node.source)
            self.integers[node.output] = source
            self.add(node.op, (source,), node.output)
        elif isinstance(node.op, ops.Quantize) and node.source.dtype == "float32":
            self.quantize(node)
        elif isinstance(node.op, MOVING) and self.on_integers(node.computed) and _agree(inputs):
            (first, *_), shape = inputs, node.output.shape
            assert first is not None
            moved = Tensor(shape, first.dtype, first.quant, name=node.output.name)
            self.add(node.op, inputs, moved)
            self.add(ops.Dequantize(), (moved,), node.output)
            self.integers[node.output] = moved
        elif node.source.is_quantized:  # integers before
            self.add(node.op, inputs, node.output)
        else:
            self.nodes.append(node)

    def on_integers(self, tensors: Sequence[Tensor]) -> bool:
        return bool(tensors) and all(t.dtype == "float32" and t in self.integers for t in tensors)

    def quantize(self, node: Node) -> None:
        """What gives integers of real numbers: their own, or what computes them."""
        source, target = node.source, node.output
        origin = self.origins.get(source)
        if source in self.integers:
            before = self.integers[source]
            if before.quant == target.quant and target not in self.outputs:
                self.integers[target] = before
            elif not self.mean(origin, target):
                self.add(node.op, (before,), target)
            return
        if origin is None or self.readers[source] != 1 or not self.layer(origin, target, None):
            self.nodes.append(node)

    def mean(self, node: Node | None, target: Tensor) -> bool:
        """Pool over a whole image by a mean, if that is it, which can give its own scale."""
        if node is not None and isinstance(node.op, ops.Reshape):
            inner = replace(node.source, dtype=target.dtype, quant=target.quant)
            found = self.mean(self.origins.get(node.source), inner)
            if found:
                self.add(node.op, (inner,), target)
            return found
        if node is None or not isinstance(node.op, ops.AveragePool2D):
            return False
        if node.op.size != node.source.shape[1:3]:
            return False
        self.add(ops.Mean((1, 2), keep_dims=True), (self.integers[node.source],), target)
        return True

    def layer(self, node: Node, target: Tensor, activation: ops.ReLU | None) -> bool:
        """Add the node on integers that computes a tensor, if there is one."""
        op: Any = node.op
        if isinstance(op, _LAYERS) and self.on_integers([node.source]):
            constants = self.constants(node)
            if constants is None:
                return False
            op = replace(op, activation=activation or op.activation)
            self.add(op, (self.integers[node.source], *constants), target)
            return True
        if isinstance(op, ops.ReLU) and activation is None and node.source not in self.integers:
            before = self.origins.get(node.source)
            is_own = self.readers[node.source] == 1 and before is not None
            return is_own and before is not None and self.layer(before, target, op)
        if len(node.computed) != len(node.inputs) or not self.on_integers(node.computed):
            return False
        inputs = [self.integers[tensor] for tensor in node.computed]
        if isinstance(op, ops.Add | ops.Sub | ops.Mul):
            op = replace(op, activation=activation or op.activation)
        elif activation is not None:
            return False
        if isinstance(op, ops.Concatenate):
            inputs = [self.requantized(tensor, target) for tensor in inputs]
        elif not isinstance(op, _ELEMENTWISE) and FIXED.get(type(op)) != target.quant:
            return False
        self.add(op, inputs, target)
        return True

    def requantized(self, tensor: Tensor, like: Tensor) -> Tensor:
        if tensor.quant == like.quant:
            return tensor
        found = replace(tensor, quant=like.quant)
        self.add(ops.Quantize(), (tensor,), found)
        return found

    def constants(self, node: Node) -> list[Tensor] | None:
        """The integer weights and biases of a layer, None if it has none that kernels take."""
        weights = self.stored(node.filter)
        if weights is None or weights.quant is None or any(weights.quant.zero_point):
            return None
        scales = weights.quant.scales * self.integers[node.source].scale
        given = node.inputs[2] if len(node.inputs) > 2 else None
        if given is None:
            return [weights]
        stored = self.stored(given)
        unit = QuantParams(tuple(scales.tolist()))
        if stored is not None and stored.dtype == "int32" and stored.quant is not None:
            if not np.allclose(stored.quant.scales, scales, rtol=_BIAS_TOLERANCE, atol=0):
                return None
            return [weights, self.build.constant(stored.values, unit)]
        if given.data is None:
            return None
        return [weights, self.build.constant(np.rint(given.values / scales).astype(np.int32), unit)]

    def stored(self, tensor: Tensor) -> Tensor | None:
        """The constant integers that a tensor is decoded from."""
        node = self.origins.get(tensor)
        is_decoded = node is not None and isinstance(node.op, ops.Dequantize)
        return node.constant(0) if node is not None and is_decoded else None


def _agree(tensors: Sequence[Tensor | None]) -> bool:
    return len({tensor.quant for tensor in tensors if tensor is not None}) == 1
