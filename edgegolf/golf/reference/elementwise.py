"""Kernels that treat every element by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgegolf.golf.reference.call import Array, Call
from edgegolf.golf.reference.fixed_point import Multiplier, finish, quantize
from edgegolf.golf.tflite_schema import number

_ADDITION_BITS = 20  # by which ADD and SUB shift their operands to the left


def add(call: Call) -> list[Array]:
    """ADD."""
    return _sum(call, 1)


def subtract(call: Call) -> list[Array]:
    """SUB."""
    return _sum(call, -1)


def _sum(call: Call, sign: int) -> list[Array]:
    kind = call.element_type("int8", "float32", "int32", "int64", operands=2)
    first, second = call.operand(0), call.operand(1)
    output = call.outputs[0]
    activation = call.options.fused_activation_function
    if kind != "int8":
        left, right = call.aligned(first.data, second.data)
        result = left + right if sign > 0 else left - right
        return [result if result.dtype.kind == "i" else finish(result, activation, output)]
    scales = [np.float64(operand.type.only_scale) for operand in (first, second)]
    twice_larger = 2 * max(scales)
    left, right = call.aligned(
        *(
            Multiplier.of(scale / twice_larger).times(operand.centred << _ADDITION_BITS)
            for scale, operand in zip(scales, (first, second), strict=True)
        )
    )
    back = twice_larger / ((1 << _ADDITION_BITS) * np.float64(output.only_scale))
    return [finish(Multiplier.of(back).times(left + sign * right), activation, output)]


def multiply(call: Call) -> list[Array]:
    """MUL."""
    kind = call.element_type("int8", "float32", "int32", "int64", operands=2)
    first, second = call.operand(0), call.operand(1)
    output = call.outputs[0]
    activation = call.options.fused_activation_function
    if kind != "int8":
        left, right = call.aligned(first.data, second.data)
        result = left * right
        return [result if result.dtype.kind == "i" else finish(result, activation, output)]
    left, right = call.aligned(first.centred, second.centred)
    scale = first.type.only_scale * second.type.only_scale / output.only_scale  # in float32
    return [finish(Multiplier.of(scale).times(left * right), activation, output)]


def relu(call: Call) -> list[Array]:
    """RELU."""
    return _clip(call, "RELU")


def relu6(call: Call) -> list[Array]:
    """RELU6."""
    return _clip(call, "RELU6")


def _clip(call: Call, activation: str) -> list[Array]:
    kind = call.element_type("int8", "float32")
    operand, output = call.operand(0), call.outputs[0]
    numbers = operand.data
    if kind == "int8":
        scale = operand.type.only_scale / output.only_scale  # in float32
        numbers = Multiplier.of(scale).times(operand.centred)
    return [finish(numbers, number("ActivationFunctionType", activation), output)]


def leaky_relu(call: Call) -> list[Array]:
    """LEAKY_RELU."""
    kind = call.element_type("int8", "float32")
    operand, output = call.operand(0), call.outputs[0]
    alpha = np.float32(call.options.alpha)
    if kind == "float32":
        return [np.where(operand.data > 0, operand.data, operand.data * alpha)]
    numbers, input_scale = operand.centred, operand.type.only_scale
    kept = Multiplier.of(input_scale / output.only_scale).times(numbers)
    # Negative slopes are multiplied as positive ones; ties show the difference.
    slope = np.abs(input_scale * alpha / output.only_scale)
    leaked = np.sign(alpha).astype(np.int64) * Multiplier.of(slope).times(numbers)
    return [finish(np.where(numbers >= 0, kept, leaked), 0, output)]


def maximum(call: Call) -> list[Array]:
    """MAXIMUM, whose quantized operands must have one scale."""
    return _choose(call, np.maximum)


def minimum(call: Call) -> list[Array]:
    """MINIMUM, whose quantized operands must have one scale."""
    return _choose(call, np.minimum)


def _choose(call: Call, function: Callable[[Array, Array], Array]) -> list[Array]:
    call.element_type("int8", "float32", "int32", "int64", operands=2)
    return [function(*call.aligned(call.operand(0).data, call.operand(1).data))]


def less(call: Call) -> list[Array]:
    """LESS."""
    return [np.less(*_compared(call))]


def greater(call: Call) -> list[Array]:
    """GREATER."""
    return [np.greater(*_compared(call))]


def _compared(call: Call) -> tuple[Array, ...]:
    first, second = call.operand(0), call.operand(1)
    for operand in (first, second):
        if operand.type.dtype == "int8" or operand.type.dtype != first.type.dtype:
            call.element_type("bool", operands=2)  # raises: quantized or unequal types
    return call.aligned(first.data, second.data)


def quantize_operator(call: Call) -> list[Array]:
    """QUANTIZE: from float32, or from one quantization to another."""
    operand, output = call.operand(0), call.outputs[0]
    if operand.type.dtype == "float32":
        return [quantize(operand.data, output)]
    scale = np.float64(operand.type.only_scale) / np.float64(output.only_scale)
    numbers = Multiplier.of(scale).times(operand.centred) + output.only_zero_point
    limits = np.iinfo(output.dtype)
    return [np.clip(numbers, limits.min, limits.max).astype(output.dtype)]


def dequantize(call: Call) -> list[Array]:
    """DEQUANTIZE: from integers, per tensor or per channel, or from float16."""
    operand = call.operand(0)
    kind = operand.type
    if kind.dtype == "float16":
        return [operand.data.astype(np.float32)]
    shape = [1] * operand.data.ndim
    if kind.scale.size > 1:
        shape[1 + kind.channel_axis] = kind.scale.size
    centred = operand.data.astype(np.int64) - kind.zero_point.reshape(
        shape if kind.zero_point.size > 1 else -1
    )
    return [(centred * kind.scale.reshape(shape).astype(np.float64)).astype(np.float32)]
