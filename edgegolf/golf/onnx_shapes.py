"""Shapes that ONNX operators produce, and the multiply-accumulates that they take.

Source: the operator specification, https://onnx.ai/onnx/operators/. Operators that are not listed
give unknown shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, prod
from typing import Any

from edgegolf.golf.computation import Constant, multiply, product

Shape = tuple[int, ...]
MAXIMUM_KNOWN_NUMBERS = 64


@dataclass(frozen=True)
class Known:
    """What is known of a value.

    Attributes:
        shape: Its dimensions, dynamic ones as 1; ``None`` if unknown.
        type: Its element type in ``TensorProto.DataType``; 0 if unknown.
        constant: Its content, where that is part of the file.
        numbers: Its elements, where they are few, integers and known, as those of shapes are.
        decoded: Whether it is computed from constants alone.
    """

    shape: Shape | None
    type: int
    constant: Constant | None = None
    numbers: tuple[int, ...] | None = None
    decoded: bool = False


_UNARY = frozenset(
    [
        "Relu",
        "LeakyRelu",
        "Sigmoid",
        "Tanh",
        "Softmax",
        "LogSoftmax",
        "Identity",
        "Abs",
        "Neg",
        "Exp",
        "Log",
        "Sqrt",
        "Reciprocal",
        "Ceil",
        "Floor",
        "Round",
        "Erf",
        "Sign",
        "Sin",
        "Cos",
        "Tan",
        "Elu",
        "Selu",
        "Celu",
        "Softplus",
        "Softsign",
        "HardSigmoid",
        "HardSwish",
        "HardMax",
        "ThresholdedRelu",
        "Mish",
        "Gelu",
        "Clip",
        "Dropout",
        "LRN",
        "InstanceNormalization",
        "BatchNormalization",
        "LayerNormalization",
        "GroupNormalization",
        "LpNormalization",
        "MeanVarianceNormalization",
        "CumSum",
        "Not",
        "BitwiseNot",
        "Trilu",
        "Shrink",
        "com.microsoft.QLinearSigmoid",
        "com.microsoft.QLinearLeakyRelu",
        "com.microsoft.QLinearSoftmax",
        "com.microsoft.QuickGelu",
        "com.microsoft.Gelu",
    ]
)
_BINARY = frozenset(
    [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Mod",
        "PRelu",
        "Min",
        "Max",
        "Sum",
        "Mean",
        "Where",
        "Equal",
        "Less",
        "Greater",
        "LessOrEqual",
        "GreaterOrEqual",
        "And",
        "Or",
        "Xor",
        "BitShift",
        "BitwiseAnd",
        "BitwiseOr",
        "BitwiseXor",
    ]
)
_COMPARISONS = frozenset(
    ["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Xor", "Not"]
)
_REDUCTIONS = frozenset(
    [
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceSumSquare",
    ]
)


def infer_outputs(
    name: str,
    attributes: Mapping[str, Any],
    inputs: Sequence[Known | None],
    outputs: int,
    opset: int,
) -> list[Known | None]:
    """What is known of an operator's outputs.

    Args:
        name: The operator, such as ``Conv`` or ``com.microsoft.QLinearAdd``.
        attributes: Its attribute values by name.
        inputs: What is known of its inputs, ``None`` for omitted ones.
        outputs: How many outputs it has.
        opset: Version of the standard operators.
    """
    try:
        found = _infer(name, _Attributes(attributes), list(inputs), outputs, opset)
    except (IndexError, TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError):
        # The operator is used in a way the specification does not allow.
        found = []
    bounded = [known if known and _is_sane(known.shape) else None for known in found]
    return (bounded + [None] * outputs)[:outputs]


def _is_sane(shape: Shape | None) -> bool:
    return shape is not None and len(shape) <= 64 and all(0 <= size < 2**63 for size in shape)


class _Attributes:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def integer(self, name: str, default: int) -> int:
        value = self.values.get(name)
        return value if isinstance(value, int) else default

    def integers(self, name: str) -> tuple[int, ...] | None:
        value = self.values.get(name)
        if isinstance(value, tuple) and all(isinstance(item, int) for item in value):
            return value
        return None

    def text(self, name: str) -> bytes:
        value = self.values.get(name)
        return value if isinstance(value, bytes) else b""


def _infer(
    name: str, attributes: _Attributes, inputs: list[Known | None], outputs: int, opset: int
) -> list[Known | None]:
    inputs += [None] * 10
    first = inputs[0]

    def result(shape: Shape | None, kind: int | None = None) -> list[Known | None]:
        return [Known(shape, kind if kind is not None else first.type if first else 0)]

    def numbers_of(position: int, attribute: str) -> tuple[int, ...] | None:
        given = attributes.integers(attribute)
        value = inputs[position]
        return given if given is not None else value.numbers if value else None

    if name in _UNARY:
        if first is None:
            return []
        kept = first.numbers if name == "Identity" else None
        return [Known(first.shape, 9 if name == "Not" else first.type, None, kept)]
    if name in _BINARY:
        operands = [known for known in inputs if known]
        shape = _broadcast([known.shape for known in operands])
        kind = 9 if name in _COMPARISONS else operands[-1 if name == "Where" else 0].type
        numbers = _arithmetic(name, operands)
        return [Known(shape, kind, None, numbers)]
    if name in _REDUCTIONS:
        axes = numbers_of(1, "axes")
        return result(_reduced(first, axes, attributes.integer("keepdims", 1)))
    if name in ("ArgMax", "ArgMin"):
        axis = attributes.integer("axis", 0)
        return result(_reduced(first, (axis,), attributes.integer("keepdims", 1)), 7)
    if name in _SHAPES:
        return _SHAPES[name](attributes, inputs, outputs, opset)
    return []


def _shape(known: Known | None) -> Shape:
    if known is None or known.shape is None:
        raise TypeError("the shape is unknown")
    return known.shape


def _type(known: Known | None) -> int:
    return known.type if known else 0


def _numbers(known: Known | None) -> tuple[int, ...]:
    if known is None or known.numbers is None:
        raise TypeError("the numbers are unknown")
    return known.numbers


def _broadcast(shapes: Sequence[Shape | None]) -> Shape | None:
    if any(shape is None for shape in shapes):
        return None
    known = [shape for shape in shapes if shape is not None]
    rank = max(map(len, known))
    padded = [(1,) * (rank - len(shape)) + shape for shape in known]
    return tuple(
        next((size for size in sizes if size != 1), 1) for sizes in zip(*padded, strict=True)
    )


def _arithmetic(name: str, operands: Sequence[Known]) -> tuple[int, ...] | None:
    if name not in ("Add", "Sub", "Mul", "Div") or len(operands) != 2:
        return None
    left, right = operands[0].numbers, operands[1].numbers
    if not left or not right or max(len(left), len(right)) > MAXIMUM_KNOWN_NUMBERS:
        return None
    if len(left) != len(right):
        if min(len(left), len(right)) != 1:
            return None
        left, right = left * len(right), right * len(left)
    operate: Callable[[int, int], int] = {
        "Add": lambda a, b: a + b,
        "Sub": lambda a, b: a - b,
        "Mul": lambda a, b: a * b,
        "Div": lambda a, b: int(a / b),
    }[name]
    found = tuple(operate(a, b) for a, b in zip(left, right, strict=False))
    return found if all(abs(item) < 2**63 for item in found) else None


def _reduced(known: Known | None, axes: tuple[int, ...] | None, keep: int) -> Shape | None:
    shape = _shape(known)
    gone = {axis % len(shape) for axis in axes} if axes else set(range(len(shape)))
    if keep:
        return tuple(1 if axis in gone else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in gone)


def _windows(
    spatial: Shape, kernel: Shape, attributes: _Attributes, outputs_ceiling: bool
) -> Shape:
    """Spatial output sizes of a convolution or pooling."""
    rank = len(spatial)
    strides = attributes.integers("strides") or (1,) * rank
    dilations = attributes.integers("dilations") or (1,) * rank
    pads = attributes.integers("pads") or (0,) * (2 * rank)
    sizes = []
    for axis in range(rank):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        automatic = attributes.text("auto_pad")
        if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
            sizes.append(ceil(spatial[axis] / strides[axis]))
            continue
        pad = 0 if automatic == b"VALID" else pads[axis] + pads[axis + rank]
        steps = (spatial[axis] + pad - reach) / strides[axis]
        sizes.append((ceil(steps) if outputs_ceiling else floor(steps)) + 1)
    return tuple(sizes)


def _convolution(attributes: _Attributes, data: Known | None, weight: Known | None) -> Shape:
    shape, kernel = _shape(data), _shape(weight)
    spatial = _windows(shape[2:], kernel[2:], attributes, False)
    return (shape[0], kernel[0], *spatial)


Inputs = list[Known | None]
Outputs = list[Known | None]


def _conv(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_convolution(attributes, inputs[0], inputs[1]), _type(inputs[0]))]


def _conv_integer(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_convolution(attributes, inputs[0], inputs[1]), 6)]


def _qlinear_conv(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_convolution(attributes, inputs[0], inputs[3]), _type(inputs[0]))]


def _conv_transpose(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape, kernel = _shape(inputs[0]), _shape(inputs[1])
    rank = len(shape) - 2
    strides = attributes.integers("strides") or (1,) * rank
    dilations = attributes.integers("dilations") or (1,) * rank
    pads = attributes.integers("pads") or (0,) * (2 * rank)
    extra = attributes.integers("output_padding") or (0,) * rank
    sizes = attributes.integers("output_shape")
    if sizes is None and attributes.text("auto_pad") in (b"SAME_UPPER", b"SAME_LOWER"):
        sizes = tuple(shape[axis + 2] * strides[axis] for axis in range(rank))
    if sizes is None:
        sizes = tuple(
            strides[axis] * (shape[axis + 2] - 1)
            + extra[axis]
            + (kernel[axis + 2] - 1) * dilations[axis]
            + 1
            - pads[axis]
            - pads[axis + rank]
            for axis in range(rank)
        )
    channels = kernel[1] * attributes.integer("group", 1)
    return [Known((shape[0], channels, *sizes[-rank:]), _type(inputs[0]))]


def _pool(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = _shape(inputs[0])
    kernel = attributes.integers("kernel_shape") or ()
    rounded_up = bool(attributes.integer("ceil_mode", 0))
    sizes = _windows(shape[2:], kernel, attributes, rounded_up)
    known = Known((*shape[:2], *sizes), _type(inputs[0]))
    return [known, replace(known, type=7)]


def _global_pool(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = _shape(inputs[0])
    return [Known((*shape[:2], *(1,) * (len(shape) - 2)), _type(inputs[0]))]


def _matmul_shape(left: Shape, right: Shape) -> Shape:
    rows = left[-2:-1] if len(left) > 1 else ()
    columns = right[-1:] if len(right) > 1 else ()
    batch = _broadcast([left[:-2], right[:-2]]) or ()
    return (*batch, *rows, *columns)


def _matmul(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_matmul_shape(_shape(inputs[0]), _shape(inputs[1])), _type(inputs[0]))]


def _matmul_integer(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_matmul_shape(_shape(inputs[0]), _shape(inputs[1])), 6)]


def _qlinear_matmul(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_matmul_shape(_shape(inputs[0]), _shape(inputs[3])), _type(inputs[0]))]


def _gemm_shape(attributes: _Attributes, left: Known | None, right: Known | None) -> Shape:
    rows = _shape(left)[1 if attributes.integer("transA", 0) else 0]
    return rows, _shape(right)[0 if attributes.integer("transB", 0) else 1]


def _gemm(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_gemm_shape(attributes, inputs[0], inputs[1]), _type(inputs[0]))]


def _qgemm(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    # Without an output scale the result stays floating point.
    kind = _type(inputs[0]) if inputs[7] else 1
    return [Known(_gemm_shape(attributes, inputs[0], inputs[3]), kind)]


def _qlinear_binary(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_broadcast([_shape(inputs[0]), _shape(inputs[3])]), _type(inputs[0]))]


def _recurrent(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    length, batch, _ = _shape(inputs[0])
    directions, _, hidden = _shape(inputs[2])
    kind = _type(inputs[0])
    state = Known((directions, batch, hidden), kind)
    return [Known((length, directions, batch, hidden), kind), state, state]


def _quantize(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_shape(inputs[0]), _type(inputs[2]) or 2)]


def _dequantize(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_shape(inputs[0]), _type(inputs[1]) or 1)]


def _dynamic_quantize(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_shape(inputs[0]), 2), Known((), 1), Known((), 2)]


def _cast(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    kind = attributes.integer("to", 0)
    numbers = inputs[0].numbers if inputs[0] and kind in (6, 7) else None
    return [Known(_shape(inputs[0]), kind, None, numbers)]


def _reshape(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = _shape(inputs[0])
    wanted = attributes.integers("shape") or _numbers(inputs[1])
    keep_zeros = attributes.integer("allowzero", 0)
    sizes = [
        shape[axis] if size == 0 and not keep_zeros else size for axis, size in enumerate(wanted)
    ]
    if -1 in sizes:
        rest = prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = prod(shape) // rest
    numbers = inputs[0].numbers if inputs[0] else None
    return [Known(tuple(sizes), _type(inputs[0]), None, numbers)]


def _flatten(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = _shape(inputs[0])
    axis = attributes.integer("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return [Known((prod(shape[:axis]), prod(shape[axis:])), _type(inputs[0]))]


def _transpose(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = _shape(inputs[0])
    order = attributes.integers("perm") or tuple(reversed(range(len(shape))))
    return [Known(tuple(shape[axis] for axis in order), _type(inputs[0]))]


def _squeeze(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = _shape(inputs[0])
    axes = attributes.integers("axes")
    if axes is None and inputs[1] is not None:
        axes = _numbers(inputs[1])
    gone = (
        {axis for axis, size in enumerate(shape) if size == 1}
        if axes is None
        else {axis % len(shape) for axis in axes}
    )
    kept = tuple(size for axis, size in enumerate(shape) if axis not in gone)
    return [Known(kept, _type(inputs[0]), None, inputs[0].numbers if inputs[0] else None)]


def _unsqueeze(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = list(_shape(inputs[0]))
    axes = attributes.integers("axes") or _numbers(inputs[1])
    rank = len(shape) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        shape.insert(axis, 1)
    numbers = inputs[0].numbers if inputs[0] else None
    return [Known(tuple(shape), _type(inputs[0]), None, numbers)]


def _concat(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    present = [known for known in inputs if known is not None]
    shapes = [_shape(known) for known in present]
    axis = attributes.integer("axis", 1) % len(shapes[0])
    total = sum(shape[axis] for shape in shapes)
    numbers: tuple[int, ...] | None = None
    if len(shapes[0]) == 1 and all(known.numbers is not None for known in present):
        numbers = tuple(number for known in present for number in _numbers(known))
        numbers = numbers if len(numbers) <= MAXIMUM_KNOWN_NUMBERS else None
    shape = (*shapes[0][:axis], total, *shapes[0][axis + 1 :])
    return [Known(shape, _type(inputs[0]), None, numbers)]


def _slice(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = list(_shape(inputs[0]))
    starts = attributes.integers("starts") or _numbers(inputs[1])
    ends = attributes.integers("ends") or _numbers(inputs[2])
    axes = attributes.integers("axes") or (_numbers(inputs[3]) if inputs[3] else None)
    steps = _numbers(inputs[4]) if inputs[4] else (1,) * len(starts)
    numbers = inputs[0].numbers if inputs[0] else None
    for index, axis in enumerate(axes or range(len(starts))):
        window = slice(starts[index], ends[index], steps[index])
        numbers = numbers[window] if numbers is not None and len(shape) == 1 else None
        shape[axis] = len(range(*window.indices(shape[axis])))
    return [Known(tuple(shape), _type(inputs[0]), None, numbers)]


def _pad(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = _shape(inputs[0])
    pads = attributes.integers("pads") or attributes.integers("paddings") or _numbers(inputs[1])
    rank = len(shape)
    sizes = list(shape)
    axes = _numbers(inputs[3]) if inputs[3] else range(rank)
    for index, axis in enumerate(axes):
        sizes[axis] += pads[index] + pads[index + len(pads) // 2]
    return [Known(tuple(sizes), _type(inputs[0]))]


def _gather(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape, indices = _shape(inputs[0]), _shape(inputs[1])
    axis = attributes.integer("axis", 0) % len(shape)
    numbers: tuple[int, ...] | None = None
    if len(shape) == 1 and inputs[0] and inputs[1] and inputs[0].numbers and inputs[1].numbers:
        numbers = tuple(inputs[0].numbers[index] for index in inputs[1].numbers)
    return [Known((*shape[:axis], *indices, *shape[axis + 1 :]), _type(inputs[0]), None, numbers)]


def _shape_of(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = _shape(inputs[0])
    end = attributes.integer("end", len(shape))
    part = shape[attributes.integer("start", 0) : end]
    return [Known((len(part),), 7, None, part)]


def _size_of(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known((), 7, None, (prod(_shape(inputs[0])),))]


def _split(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape = _shape(inputs[0])
    axis = attributes.integer("axis", 0) % len(shape)
    sizes = attributes.integers("split") or (_numbers(inputs[1]) if inputs[1] else None)
    part = ceil(shape[axis] / max(1, outputs))
    sizes = sizes or tuple(
        min(part, shape[axis] - part * index) for index in range(min(outputs, shape[axis]))
    )
    return [
        Known((*shape[:axis], size, *shape[axis + 1 :]), _type(inputs[0]))
        for size in sizes[:outputs]
    ]


def _expand(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_broadcast([_shape(inputs[0]), _numbers(inputs[1])]), _type(inputs[0]))]


def _tile(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    shape, repeats = _shape(inputs[0]), _numbers(inputs[1])
    return [Known(tuple(a * b for a, b in zip(shape, repeats, strict=True)), _type(inputs[0]))]


def _constant_of_shape(
    attributes: _Attributes, inputs: Inputs, outputs: int, opset: int
) -> Outputs:
    value = attributes.values.get("value")
    return [Known(_numbers(inputs[0]), value.data_type if value is not None else 1)]


def _resize(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    return [Known(_numbers(inputs[3]), _type(inputs[0]))]


def _depth_to_space(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    batch, channels, height, width = _shape(inputs[0])
    block = attributes.integer("blocksize", 1)
    shape = (batch, channels // block**2, height * block, width * block)
    return [Known(shape, _type(inputs[0]))]


def _space_to_depth(attributes: _Attributes, inputs: Inputs, outputs: int, opset: int) -> Outputs:
    batch, channels, height, width = _shape(inputs[0])
    block = attributes.integer("blocksize", 1)
    shape = (batch, channels * block**2, height // block, width // block)
    return [Known(shape, _type(inputs[0]))]


_SHAPES: dict[str, Callable[[_Attributes, Inputs, int, int], Outputs]] = {
    "Conv": _conv,
    "com.microsoft.FusedConv": _conv,
    "ConvInteger": _conv_integer,
    "QLinearConv": _qlinear_conv,
    "ConvTranspose": _conv_transpose,
    "AveragePool": _pool,
    "MaxPool": _pool,
    "LpPool": _pool,
    "com.microsoft.QLinearAveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "com.microsoft.QLinearGlobalAveragePool": _global_pool,
    "MatMul": _matmul,
    "MatMulInteger": _matmul_integer,
    "QLinearMatMul": _qlinear_matmul,
    "Gemm": _gemm,
    "com.microsoft.QGemm": _qgemm,
    "com.microsoft.QLinearAdd": _qlinear_binary,
    "com.microsoft.QLinearMul": _qlinear_binary,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "Cast": _cast,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Slice": _slice,
    "Pad": _pad,
    "Gather": _gather,
    "Shape": _shape_of,
    "Size": _size_of,
    "Split": _split,
    "Expand": _expand,
    "Tile": _tile,
    "ConstantOfShape": _constant_of_shape,
    "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}


def macs_of(
    name: str,
    attributes: Mapping[str, Any],
    inputs: Sequence[Known | None],
    outputs: Sequence[Known | None],
) -> int | None:
    """Multiply-accumulates of one run of an operator, without graphs it runs; ``None`` if unknown.

    Those of convolutions and matrix products count, elementwise ones do not.
    """

    def shape(position: int) -> Shape | None:
        known = inputs[position] if position < len(inputs) else None
        return known.shape if known else None

    output = product(outputs[0].shape) if outputs and outputs[0] else None
    if name in ("Conv", "ConvInteger", "com.microsoft.FusedConv", "QLinearConv"):
        kernel = shape(3 if name == "QLinearConv" else 1)
        return multiply(output, product(kernel[1:] if kernel is not None else None))
    if name == "ConvTranspose":
        kernel = shape(1)
        return multiply(product(shape(0)), product(kernel[1:] if kernel is not None else None))
    if name in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        left = shape(0)
        return multiply(output, left[-1] if left else None)
    if name in ("Gemm", "com.microsoft.QGemm"):
        left = shape(0)
        if left is None or len(left) != 2:
            return None
        return multiply(output, left[0 if attributes.get("transA") else 1])
    if name in ("LSTM", "GRU", "RNN"):
        data, weights, recurrence = shape(0), product(shape(1)), product(shape(2))
        if data is None or weights is None or recurrence is None:
            return None
        return prod(data[:2]) * (weights + recurrence)
    if name in ("Einsum", "Attention", "DeformConv") or ("." in name and name not in _SHAPES):
        return 0 if name in _UNARY else None
    return 0
