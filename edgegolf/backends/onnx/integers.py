"""From a quantized `Graph` to ONNX nodes that compute on integers.

Activations are uint8, because onnxruntime's x86 kernels for int8 ones are slower; weights are
int8, biases int32. Several operators are onnxruntime's own:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import Any

import numpy as np

from edgegolf.backends.onnx.calls import AttributeValue, Call
from edgegolf.backends.onnx.lowering import (
    FloatLowering,
    NotInOnnxError,
    arranged_filter,
    convolution_attributes,
    pooling_attributes,
)
from edgegolf.ir import Graph, Node, Op, Tensor, ops
from edgegolf.ir.tensor import Array

RUNTIME_DOMAIN, RUNTIME_VERSION = "com.microsoft", 1
_OFFSET = 128  # of uint8 from int8

_MOVING = (
    ops.BroadcastTo, ops.Concatenate, ops.DepthToSpace, ops.Gather, ops.MirrorPad, ops.Reshape,
    ops.ResizeNearest, ops.Reverse, ops.Slice, ops.SpaceToDepth, ops.Split, ops.Stack, ops.Tile,
    ops.Transpose, ops.Unstack,
)  # fmt: skip


@dataclass
class IntegerLowering(FloatLowering):
    """Collects nodes that compute on uint8 tensors."""

    # Tensors that are there in float32: what a softmax reads and gives.
    real: set[Tensor] = field(default_factory=set)

    def enter(self, source: Tensor, name: str) -> None:
        """Quantize an input of the graph."""
        if source.is_quantized:
            name = self.call("QuantizeLinear", name, *self.quant(source))
        self.names[source] = name

    def leave(self, result: Tensor) -> str:
        """The tensor with an output of the graph in float32."""
        return self.in_real(result) if result.is_quantized else self.name(result)

    def in_real(self, tensor: Tensor) -> str:
        """The name of a tensor in float32."""
        name = self.name(tensor)
        if tensor in self.real:
            return name
        return self.call("DequantizeLinear", name, *self.quant(tensor))

    def constant(self, tensor: Tensor, arrange: Any, form: object) -> str:
        """The name of a constant; integers that stand for real numbers in uint8."""
        if tensor.dtype == "int8" and tensor.quant is not None:
            stored = (tensor.values.astype(np.int16) + _OFFSET).astype(np.uint8)
            return self.constants.name(np.asarray(arrange(stored), order="C"))
        return super().constant(tensor, arrange, form)

    def quant(self, tensor: Tensor) -> tuple[str, str]:
        """The names of a tensor's scale and zero point."""
        zero_point = np.uint8(tensor.zero_point + _OFFSET)
        return self.constants.name(tensor.scale), self.constants.name(zero_point)

    def runtime_call(self, operator: str, *inputs: str, **attributes: AttributeValue) -> str:
        """Add a node that only onnxruntime has."""
        output = self.fresh()
        pairs = tuple(attributes.items())
        self.calls.append(Call(operator, inputs, (output,), pairs, RUNTIME_DOMAIN))
        return output

    def add_nodes(self, graph: Graph) -> None:
        """Add the nodes of a graph whose inputs have names."""
        for node in graph.nodes:
            readers = graph.readers[node.outputs[0]]
            if isinstance(node.op, ops.FullyConnected) and [type(r.op) for r in readers] == [
                ops.Softmax
            ]:
                self.real.add(node.output)
        super().add_nodes(graph)

    def add_loop(self, loop: ops.Loop, node: Node) -> None:
        """Refuse it: unrolled, it takes hardly more bytes and less time."""
        raise NotInOnnxError("a loop that computes in integers")

    def activated(self, node: Node, tensor: str) -> str:
        """Saturation does what a ReLU does whose zero is the smallest integer; else add one."""
        activation = getattr(node.op, "activation", None)
        if activation is None or node.output in self.real:
            return tensor
        if not node.output.is_quantized:
            return super().activated(node, tensor)
        if activation != ops.ReLU():
            raise NotInOnnxError("integers between two bounds")
        if node.output.zero_point == -_OFFSET:
            return tensor
        quant = self.quant(node.output)
        return self.runtime_call("QLinearLeakyRelu", tensor, *quant, *quant, alpha=0.0)

    def computed(self, node: Node) -> str | list[str]:
        """The results of a node, which may compute on other numbers, too."""
        tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
        if not any(tensor.is_quantized for tensor in tensors):
            return self.activated_reals(node)
        follows = not self.real.isdisjoint(node.computed)
        if follows and not isinstance(node.op, ops.Softmax | ops.Dequantize):
            raise NotInOnnxError("something else than the output follows a softmax")
        return super().computed(node)

    def activated_reals(self, node: Node) -> str | list[str]:
        """The results of a node on float32 tensors, or on integers that are just numbers."""
        results = super().lower(node.op, node)
        return self.activated(node, results) if isinstance(results, str) else results

    @singledispatchmethod
    def lower(self, op: Op, node: Node) -> str | list[str]:
        """Add the nodes of one operation; returns the name of its result, or a list of names."""
        if not isinstance(op, _MOVING):
            raise NotInOnnxError(f"{type(op).__name__} of integers")
        tensors = [t for t in (*node.inputs, *node.outputs) if t is not None and t.is_quantized]
        if len({tensor.quant for tensor in tensors}) > 1:
            raise NotInOnnxError(f"{type(op).__name__} of integers with several scales")
        return super().lower(op, node)

    @lower.register(ops.Conv2D)
    @lower.register(ops.DepthwiseConv2D)
    def _(self, op: ops.Conv2D | ops.DepthwiseConv2D, node: Node) -> str:
        return self.call(
            "QLinearConv",
            *self.factors(node, arranged_filter(op, node.filter.values)),
            *self.quant(node.output),
            *self.bias(node),
            **convolution_attributes(op, node),
        )

    @lower.register
    def _(self, op: ops.FullyConnected, node: Node) -> str:
        is_image = not self.channels_last
        if op.keep_dims and not is_image and len(node.source.shape) != 2:
            raise NotInOnnxError("a dense layer along the rows of a matrix")
        arrange, _ = self.arranged_matrix(node)
        source, *others = self.factors(node, arrange(node.filter.values))
        rows = (node.output.elements // node.filter.shape[0], node.filter.shape[1])
        if not is_image and node.source.shape != rows:
            source = self.reshape(source, rows)
        factors = (source, *others)
        bias = self.bias(node)
        if is_image:
            return self.call("QLinearConv", *factors, *self.quant(node.output), *bias)
        if node.output in self.real:
            if op.activation is not None:
                raise NotInOnnxError("a softmax of a rectified value")
            return self.runtime_call("QGemm", *factors, *bias)
        return self.runtime_call("QGemm", *factors, *(bias or [""]), *self.quant(node.output))

    def factors(self, node: Node, integers: Array) -> tuple[str, ...]:
        """A layer's input and weight, each with its scale and zero point."""
        if node.filter.quant is None or node.filter.data is None:
            raise NotInOnnxError("the model has weights that are computed")
        scales = node.filter.quant.scales
        scale = scales if len(scales) > 1 else scales[0]
        return (
            self.name(node.source),
            *self.quant(node.source),
            self.constants.name(np.ascontiguousarray(integers)),
            self.constants.name(scale),
            self.constants.name(np.zeros(scale.shape, np.int8)),
        )

    def bias(self, node: Node) -> list[str]:
        """The name of its bias, if it is not zero."""
        if node.bias is None or not node.bias.values.any():
            return []
        return [self.constants.name(node.bias.values)]

    @lower.register
    def _(self, op: ops.Dequantize, node: Node) -> str:
        return self.in_real(node.source)

    @lower.register(ops.Quantize)
    @lower.register(ops.LeakyReLU)
    @lower.register(ops.ReLU)
    def _(self, op: ops.Quantize | ops.LeakyReLU | ops.ReLU, node: Node) -> str:
        """Where zero is the smallest integer of the result, storing it there is a ReLU."""
        if node.source.dtype == "float32":
            return self.call("QuantizeLinear", *self.tensors(node), *self.quant(node.output))
        if isinstance(op, ops.Quantize) and node.output.zero_point != -_OFFSET:
            raise NotInOnnxError("integers of one quantization in another")
        if isinstance(op, ops.ReLU) and op != ops.ReLU():
            raise NotInOnnxError("integers between two bounds")
        return self.runtime_call(
            "QLinearLeakyRelu",
            *self.tensors(node),
            *self.quant(node.source),
            *self.quant(node.output),
            alpha=float(op.slope) if isinstance(op, ops.LeakyReLU) else 0.0,
        )

    @lower.register
    def _(self, op: ops.Softmax, node: Node) -> str:
        self.real.add(node.output)
        if len(node.output.shape) != 2:
            raise NotInOnnxError("a softmax of something else than a vector")
        return self.call("Softmax", self.in_real(node.source))

    @lower.register(ops.Add)
    @lower.register(ops.Sub)
    def _(self, op: ops.Add | ops.Sub, node: Node) -> str:
        first, second = (tensor for tensor in node.inputs if tensor is not None)
        one, other = self.tensors(node)
        scale, zero_point = self.quant(second)
        if isinstance(op, ops.Sub):  # with a negative scale, integers mean −value
            scale = self.constants.name(-second.scale)
        terms = (one, *self.quant(first), other, scale, zero_point)
        return self.runtime_call("QLinearAdd", *terms, *self.quant(node.output))

    @lower.register
    def _(self, op: ops.MaxPool2D, node: Node) -> str:
        return self.call("MaxPool", *self.tensors(node), **pooling_attributes(op))

    @lower.register
    def _(self, op: ops.AveragePool2D, node: Node) -> str:
        return self.runtime_call(
            "QLinearAveragePool",
            *self.tensors(node),
            *self.quant(node.source),
            *self.quant(node.output),
            **pooling_attributes(op),
        )

    @lower.register
    def _(self, op: ops.Mean, node: Node) -> str:
        if len(node.source.shape) != 4 or sorted(op.axes) != [1, 2]:
            raise NotInOnnxError("a mean of integers that are no image")
        size = (node.source.shape[1], node.source.shape[2])
        quants = (*self.quant(node.source), *self.quant(node.output))
        found = self.runtime_call(
            "QLinearAveragePool", *self.tensors(node), *quants, kernel_shape=size
        )
        return found if op.keep_dims else self.reshape(found, node.output.shape)

    @lower.register
    def _(self, op: ops.Pad, node: Node) -> str:
        if node.output in self.not_merged:
            raise NotInOnnxError("zero padding before pooling, which onnxruntime merges wrongly")
        _, zero_point = self.quant(node.source)
        if op.value is not None:
            zero_point = self.constants.name(np.uint8(op.value + _OFFSET))
        pads = self.constants.integers(*self.pads(op.margins))
        return self.call("Pad", *self.tensors(node), pads, zero_point)
