"""Operators of ONNX and of onnxruntime that compute on integers.

Activations are int8 in the graph: uint8 ones are the same numbers less 128, as are their zero
points. https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edgegolf.frontends.onnx.integers import quant_params, signed
from edgegolf.frontends.onnx.layout import Value
from edgegolf.frontends.onnx.operators import (
    OPERATORS,
    Call,
    NotCoveredError,
    Results,
    convolution,
    matrix_operands,
)
from edgegolf.ir import Op, QuantParams, Tensor, ops
from edgegolf.ir.tensor import Array


def _zero_point(call: Call, index: int) -> Array:
    """A zero point, which may be left out where it is 0 of uint8."""
    found = call.optional(index)
    return np.zeros((), np.uint8) if found is None else found


def _quant(call: Call, index: int) -> QuantParams:
    """The scale and zero point at an input and the one after it, for an int8 tensor."""
    scale, zero = call.constant(index), _zero_point(call, index + 1)
    if scale.size != 1 or zero.dtype.name not in ("int8", "uint8"):
        raise NotCoveredError(f"{scale.size} scales of {zero.dtype.name} for what is computed")
    return quant_params(scale, signed(np.zeros((), zero.dtype), zero)[1])


def _integers(call: Call, index: int) -> Value:
    """A computed operand, followed by its scale and zero point, which it must have been given."""
    value = call.value(index)
    if not isinstance(call.operand(index), Value):
        quant = _quant(call, index + 1)
        data = signed(call.constant(index), np.zeros(()))[0]
        return Value(call.build.constant(data, quant), value.order)
    if value.tensor.quant != _quant(call, index + 1):
        raise NotCoveredError("integers that were given another scale before")
    return value


def _quantize(call: Call) -> Results:
    """Real numbers as integers."""
    value, quant = call.value(), _quant(call, 1)
    tensor = call.build.add(ops.Quantize(), value.tensor, dtype="int8", quant=quant)
    return Value(tensor, value.order)


def _dequantize(call: Call) -> Results:
    """The real numbers that computed integers stand for."""
    value = _integers(call, 0)
    return Value(call.build.add(ops.Dequantize(), value.tensor, dtype="float32"), value.order)


def _weights(
    call: Call, index: int, arrange: Callable[[Array], Array], axes: tuple[int, int]
) -> Tensor:
    """A constant followed by its scales and zero points."""
    scale, zero = call.constant(index + 1), _zero_point(call, index + 2)
    integers, zeros, dtype = signed(call.constant(index), zero)
    quant = quant_params(scale, zeros, axes[1])
    if quant.is_per_channel and len(quant.scale) != integers.shape[axes[0]]:
        raise NotCoveredError("scales along another axis than that of the outputs")
    return call.build.constant(arrange(integers), quant, dtype)


def _bias(call: Call, index: int, source: Tensor, weights: Tensor) -> list[Tensor]:
    bias = call.optional(index)
    if bias is None:
        return []
    assert weights.quant is not None
    scales = weights.quant.scales * source.scale
    return [call.build.constant(bias.astype(np.int32), quant_params(scales, np.zeros(())))]


def _convolution(call: Call) -> Results:
    value = _integers(call, 0)
    image = call.build.image(value)
    op, arrange, axis = convolution(call, image, call.constant(3).shape)
    weights = _weights(call, 3, arrange, (0, axis))
    assert weights.quant is not None
    if any(weights.quant.zero_point):
        raise NotCoveredError("weights whose zero is no 0")
    bias = _bias(call, 8, image, weights)
    result = call.build.add(op, image, weights, *bias, quant=_quant(call, 6))
    return call.build.from_image(result, value)


def _product(call: Call, units_first: bool, result: int, bias: int | None) -> Results:
    """A matrix product; without a scale of its result it stays real, and so do its factors."""
    arrange, axes = (np.asarray, (0, 0)) if units_first else (np.transpose, (1, 0))
    if call.constant(3).ndim != 2:
        raise NotCoveredError("a constant that is no matrix")
    weights = _weights(call, 3, arrange, axes)
    value = _integers(call, 0)
    value = call.build.last(value, value.rank - 1)
    source = value.tensor
    constants = [] if bias is None else _bias(call, bias, source, weights)
    op = ops.FullyConnected(keep_dims=value.rank > 2)
    if result < len(call.inputs) and call.inputs[result] is not None:
        quant = _quant(call, result)
        return Value(call.build.add(op, source, weights, *constants, quant=quant), value.order)
    decoded = [
        call.build.moved(ops.Dequantize(), tensor, dtype="float32")
        for tensor in (source, weights, *constants)
    ]
    return Value(call.build.add(op, *decoded), value.order)


def _matmul(call: Call) -> Results:
    return _product(call, False, 6, None)


def _gemm(call: Call) -> Results:
    value, units_first = matrix_operands(call, call.constant(3))
    if call.get("alpha", 1.0) != 1 or value.order != call.value().order:
        raise NotCoveredError("a factor or a transposition")
    return _product(call, units_first, 7, 6)


def _sum(call: Call) -> Results:
    """A difference, where the second term has a negative scale."""
    op: Op = ops.Add()
    scale = call.constant(4)
    if scale.size == 1 and scale.item() < 0:
        op, inputs = ops.Sub(), list(call.inputs)
        inputs[4] = -scale
        call = replace(call, inputs=tuple(inputs))
    return _broadcast(call, op)


def _broadcast(call: Call, op: Op) -> Results:
    return call.build.together(op, _integers(call, 0), _integers(call, 3), quant=_quant(call, 6))


def _same(op: Op) -> Callable[[Call], Results]:
    def read(call: Call) -> Results:
        value = _integers(call, 0)
        return Value(call.build.add(op, value.tensor, quant=_quant(call, 3)), value.order)

    return read


def _leaky(call: Call) -> Results:
    slope = call.get("alpha", 0.01)
    return _same(ops.LeakyReLU(slope) if slope else ops.ReLU())(call)


def _softmax(call: Call) -> Results:
    """Integer kernels give shares of 256."""
    value = _integers(call, 0)
    axis = call.axis(call.get("axis", -1), value.rank)
    if axis != value.rank - 1 and value.shape[axis + 1 :] != (1,) * (value.rank - 1 - axis):
        raise NotCoveredError("another axis than the last one")
    value = call.build.last(value, axis)
    shares = QuantParams((1 / 256,), (-128,))
    tensor = call.build.add(ops.Softmax(), value.tensor, quant=shares)
    return _requantized(call, Value(tensor, value.order), _quant(call, 3))


def _pool(call: Call) -> Results:
    """Pooling keeps its scale; where the result has another one, it is given it after."""
    if call.get("channels_last", 0):
        raise NotCoveredError("channels last")
    value, quant = _integers(call, 0), _quant(call, 3)
    pooled: Any = OPERATORS["AveragePool"](replace(call, inputs=(value,)))
    return _requantized(call, pooled, quant)


def _pool_all(call: Call) -> Results:
    """A mean, because that can give its result another scale."""
    value, quant = _integers(call, 0), _quant(call, 3)
    image = call.build.image(value)
    op: Op = ops.Mean((1, 2), keep_dims=True)
    if image.quant == quant:
        op = ops.AveragePool2D(size=(image.shape[1], image.shape[2]))
    return call.build.from_image(call.build.add(op, image, quant=quant), value)


def _requantized(call: Call, value: Value, quant: QuantParams) -> Value:
    if value.tensor.quant == quant:
        return value
    return Value(call.build.add(ops.Quantize(), value.tensor, quant=quant), value.order)


def _concatenate(call: Call) -> Results:
    quant = _quant(call, 0)
    values = [
        _requantized(call, _integers(call, index), quant) for index in range(2, len(call.inputs), 3)
    ]
    return OPERATORS["Concat"](replace(call, inputs=tuple(values)))


#: How each operator is read.
QUANTIZED: dict[str, Callable[[Call], Results]] = {
    "DequantizeLinear": _dequantize,
    "QLinearConv": _convolution,
    "QLinearMatMul": _matmul,
    "QuantizeLinear": _quantize,
    "com.microsoft.QGemm": _gemm,
    "com.microsoft.QLinearAdd": _sum,
    "com.microsoft.QLinearAveragePool": _pool,
    "com.microsoft.QLinearConcat": _concatenate,
    "com.microsoft.QLinearGlobalAveragePool": _pool_all,
    "com.microsoft.QLinearLeakyRelu": _leaky,
    "com.microsoft.QLinearMul": lambda call: _broadcast(call, ops.Mul()),
    "com.microsoft.QLinearSigmoid": _same(ops.Logistic()),
    "com.microsoft.QLinearSoftmax": _softmax,
}
