"""How each operator of ONNX becomes operators of the graph: one entry of a table each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.frontends.onnx.integers import signed
from edgegolf.frontends.onnx.layout import Builder, Operand, Value
from edgegolf.ir import Op, Tensor, ops
from edgegolf.ir.tensor import Array, Shape

if TYPE_CHECKING:
    from onnx import NodeProto

_FUSED_BOUNDS = ((0.0, inf), (0.0, 6.0), (-1.0, 1.0))  # of ReLUs that TFLite has
_BRANCHES = 64  # of a Gather that becomes slices

Results: TypeAlias = "Operand | Sequence[Operand]"


class UnsupportedOperatorError(EdgegolfError):
    """The file has an operator that no `Op` expresses; stock converters may."""


class NotCoveredError(Exception):
    """An operator does something that `ops` cannot say."""


@dataclass(frozen=True)
class Call:
    """A node of the file."""

    node: NodeProto  # as the file has it
    inputs: tuple[Operand | None, ...]  # what it reads, None for what is left out
    attributes: dict[str, Any]  # their values by name
    opset: int  # the version of ONNX's operators
    build: Builder  # where nodes are added

    def operand(self, index: int = 0) -> Operand:
        """An input that must be there."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise EdgegolfError(f"it lacks its input {index}")
        return found

    def value(self, index: int = 0) -> Value:
        """An input as a tensor, even if it is a constant."""
        found = self.operand(index)
        if isinstance(found, Value):
            return found
        return Value(self.build.constant(found), tuple(range(found.ndim)))

    def constant(self, index: int) -> Array:
        """An input that must be a constant."""
        found = self.operand(index)
        if isinstance(found, Value):
            raise NotCoveredError(f"an input {index} that is computed")
        return found

    def optional(self, index: int) -> Array | None:
        """A constant input, None if it is left out."""
        there = index < len(self.inputs) and self.inputs[index] is not None
        return self.constant(index) if there else None

    def weight(
        self, index: int, arrange: Callable[[Array], Array], axes: tuple[int, int]
    ) -> Tensor:
        """A constant in the graph's layout; if it was decoded from integers, so it is there.

        Args:
            index: Of the input.
            arrange: From the file's layout to the graph's.
            axes: The one of the outputs in the file and in the graph: integers whose scales go
                along another one are decoded here.
        """
        array = self.constant(index)
        found = self.build.decoded.get(id(array))
        if found is None or (found.quant.is_per_channel and found.quant.axis != axes[0]):
            return self.build.constant(arrange(array))
        quant = replace(found.quant, axis=axes[1] if found.quant.is_per_channel else 0)
        encoded = self.build.constant(arrange(found.integers), quant, found.dtype)
        return self.build.moved(ops.Dequantize(), encoded, encoded.shape, "float32")

    def bias(self, index: int) -> list[Tensor]:
        """A constant vector, if it is there."""
        return [] if self.optional(index) is None else [self.weight(index, np.ravel, (0, 0))]

    def get(self, name: str, default: Any) -> Any:
        """An attribute, or what it is if it is left out."""
        found = self.attributes.get(name, default)
        return found.decode() if isinstance(found, bytes) else found

    def integers(self, name: str, index: int | None = None) -> tuple[int, ...] | None:
        """What is an attribute in some versions and an input in others."""
        found = self.attributes.get(name)
        if found is None and index is not None:
            found = self.optional(index)
        return None if found is None else tuple(int(n) for n in np.ravel(found))

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from 0."""
        if not -rank <= axis < rank:
            raise EdgegolfError(f"it has an axis {axis} of {rank}")
        return axis % rank


# --------------------------------------------------------------------------------- elementwise


def _unary(op: Op) -> Callable[[Call], Results]:
    return lambda call: call.build.same(op, call.value())


def _binary(op: Op, dtype: str = "") -> Callable[[Call], Results]:
    """All inputs, as `Sum` and `Max` may have any number."""

    def read(call: Call) -> Results:
        total = call.operand()
        for index in range(1, len(call.inputs)):
            pair = (total, call.operand(index))
            if not any(isinstance(each, Value) for each in pair):
                pair = (call.value(), pair[1])
            total = call.build.together(op, *pair, dtype=dtype)
        return total

    return read


def _divide(call: Call) -> Results:
    by = call.operand(1)
    kind = by.tensor.dtype if isinstance(by, Value) else by.dtype.name
    if kind != "float32":
        raise NotCoveredError("integers")
    if isinstance(by, Value):
        return call.build.together(ops.Div(), call.operand(), by)
    with np.errstate(all="ignore"):
        return call.build.together(ops.Mul(), call.value(), (1 / by).astype(np.float32))


def _negative(call: Call) -> Results:
    return call.build.together(ops.Mul(), call.value(), np.float32(-1))


def _absolute(call: Call) -> Results:
    return call.build.together(ops.Maximum(), call.value(), _negative(call))  # type: ignore[arg-type]


def _reciprocal(call: Call) -> Results:
    return call.build.together(ops.Div(), np.float32(1), call.value())


def _power(call: Call) -> Results:
    exponent = call.operand(1)
    if not isinstance(exponent, Value) and exponent.size == 1:
        match exponent.item():
            case 2:
                return call.build.together(ops.Mul(), call.value(), call.value())
            case 0.5:
                return call.build.same(ops.Sqrt(), call.value())
    return call.build.together(ops.Pow(), call.operand(), exponent)


def _select(call: Call) -> Results:
    """The second where the first is true, else the third; a constant may tell it."""
    kinds = [
        each.tensor.dtype if isinstance(each, Value) else each.dtype.name
        for each in map(call.operand, (1, 2))
    ]
    operands = [call.operand(index) for index in range(3)]
    return call.build.together(ops.Select(), *operands, dtype=kinds[0])


def _elu(call: Call) -> Results:
    """Where alpha is not 1, as alpha · min(eˣ − 1, 0) + max(x, 0)."""
    value, alpha = call.value(), call.get("alpha", 1.0)
    found = call.build.same(ops.ELU(), value)
    if alpha == 1:
        return found
    low = call.build.together(ops.Minimum(), found, np.float32(0))
    below = call.build.together(ops.Mul(), low, np.float32(alpha))
    return call.build.together(ops.Add(), call.build.same(ops.ReLU(), value), below)


def _selu(call: Call) -> Results:
    alpha, gamma = call.get("alpha", 1.67326319217681884765625), call.get("gamma", 1.05070102214813)
    whole = replace(call, attributes={"alpha": alpha})
    return call.build.together(ops.Mul(), _elu(whole), np.float32(gamma))  # type: ignore[arg-type]


def _gelu(call: Call) -> Results:
    return call.build.same(ops.GELU(call.get("approximate", "none") == "tanh"), call.value())


def _erf(call: Call) -> Results:
    """A stand-in, because graphs have only the GELU that it is a part of."""
    value = call.value()
    op = ops.Unsupported("Erf")
    return Value(call.build.add(op, value.tensor, shape=value.tensor.shape), value.order)


def _clip(call: Call) -> Results:
    low, high = (
        call.attributes.get(name, None if (bound := call.optional(i)) is None else bound.item())
        for i, name in enumerate(("min", "max"), 1)
    )
    return _bounded(call, call.value(), -inf if low is None else low, inf if high is None else high)


def _bounded(call: Call, value: Value, low: float, high: float) -> Value:
    if (low, high) in _FUSED_BOUNDS and value.tensor.dtype == "float32":
        return call.build.same(ops.ReLU(low, high), value)
    if low > -inf:
        value = call.build.together(ops.Maximum(), value, np.array(low))
    if high < inf:
        value = call.build.together(ops.Minimum(), value, np.array(high))
    return value


def _leaky(call: Call) -> Results:
    return call.build.same(ops.LeakyReLU(call.get("alpha", 0.01)), call.value())


def _parametric(call: Call) -> Results:
    slope = call.constant(1)
    if slope.size == 1:
        return call.build.same(ops.LeakyReLU(slope.item()), call.value())
    low = call.build.together(ops.Minimum(), call.value(), np.float32(0))
    below = call.build.together(ops.Mul(), low, slope)
    return call.build.together(ops.Add(), call.build.same(ops.ReLU(), call.value()), below)


def _hard_sigmoid(call: Call) -> Results:
    """A ReLU6, because that is what integer kernels have."""
    six = 6 * call.get("alpha", 0.2), 6 * call.get("beta", 0.5)
    return _sixth(call, *(np.float32(n) for n in six))


def _sixth(call: Call, factor: Any, term: Any) -> Value:
    value = call.value()
    if not np.isclose(factor, 1, rtol=1e-6):
        value = call.build.together(ops.Mul(), value, factor)
    value = call.build.together(ops.Add(), value, term)
    value = call.build.same(ops.ReLU(0.0, 6.0), value)
    return call.build.together(ops.Mul(), value, np.float32(1 / 6))


def _softmax(call: Call, op: Op | None = None) -> Results:
    op = op or ops.Softmax()
    value = call.value()
    axis = call.axis(call.get("axis", 1 if call.opset < 13 else -1), value.rank)
    if call.opset < 13:  # over all axes from that one on
        shape = value.shape
        flat = (prod(shape[:axis]), prod(shape[axis:]))
        if flat[1] != shape[-1]:
            merged = call.build.last(call.build.reshaped(value, flat), 1)
            return call.build.reshaped(call.build.same(op, merged), shape)
        axis = value.rank - 1
    return call.build.same(op, call.build.last(value, axis))


def _cast(call: Call) -> Results:
    import onnx

    value, kind = call.value(), np.dtype(onnx.helper.tensor_dtype_to_np_dtype(call.get("to", 0)))
    name = "float32" if kind.kind == "f" else kind.name
    return value if value.tensor.dtype == name else _casted(call, value, name)


def _cast_like(call: Call) -> Results:
    like = call.operand(1)
    name = like.tensor.dtype if isinstance(like, Value) else like.dtype.name
    value = call.value()
    return value if value.tensor.dtype == name else _casted(call, value, name)


def _casted(call: Call, value: Value, name: str) -> Value:
    return Value(call.build.add(ops.Cast(), value.tensor, dtype=name), value.order)


def _identity(call: Call) -> Results:
    if len(call.node.output) > 1 and call.node.output[1]:
        raise NotCoveredError("a mask")
    if len(call.inputs) > 2 and call.node.op_type == "Dropout" and np.any(call.optional(2)):
        raise NotCoveredError("training")
    return call.operand()


# ----------------------------------------------------------------------------- windows, products


def sides(numbers: Sequence[int] | None, default: int, count: int = 2) -> tuple[int, ...]:
    """An attribute with a number for each dimension, for rows and columns."""
    found = (default,) * count if numbers is None else tuple(int(n) for n in numbers)
    if len(found) == count // 2:
        found = tuple(n for pair in zip((default,) * len(found), found, strict=True) for n in pair)
    if len(found) != count:
        raise EdgegolfError("it has a window of another rank than its images")
    return found


def _window(call: Call, image: Tensor, size: ops.Pair) -> tuple[ops.Pair, ops.Padding, ops.Pair]:
    """Strides, padding and dilation of a window."""
    _, height, width, _ = image.shape
    rows, columns = sides(call.integers("strides"), 1)
    strides = (rows, columns)
    down, right = sides(call.integers("dilations"), 1)
    dilation = (down, right)
    if min(*strides, *dilation, *size) < 1:
        raise EdgegolfError("it has an impossible window")
    automatic = call.get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        padding = ops.same_padding((height, width), size, strides, dilation)
        if automatic == "SAME_LOWER":
            (top, bottom), (left, end) = padding
            padding = (bottom, top), (end, left)
        return strides, padding, dilation
    top, left, bottom, end = sides(call.integers("pads") if automatic == "NOTSET" else None, 0, 4)
    if min(top, left, bottom, end) < 0:
        raise NotCoveredError("negative padding")
    return strides, ((top, bottom), (left, end)), dilation


def _convolution(call: Call) -> Results:
    value, shape = call.value(), call.constant(1).shape
    image = call.build.image(value)
    op, arrange, axis = convolution(call, image, shape)
    constants = [call.weight(1, arrange, (0, axis)), *call.bias(2)]
    return call.build.from_image(call.build.add(op, image, *constants), value)


def convolution(
    call: Call, image: Tensor, shape: Shape
) -> tuple[Op, Callable[[Array], Array], int]:
    """The operator of a convolution, how its filters lie in the graph, and the axis of outputs."""
    shape = (*shape[:2], 1, *shape[2:]) if len(shape) == 3 else shape
    if len(shape) != 4:
        raise EdgegolfError(f"it has filters of shape {list(shape)}")
    outputs, channels, height, width = shape
    window = _window(call, image, (height, width))
    group = call.get("group", 1)
    if image.shape[3] != group * channels or outputs % group:
        raise EdgegolfError(f"it has filters of shape {list(shape)} in {group} groups")
    if group > 1 and channels == 1:
        return ops.DepthwiseConv2D(*window), lambda a: a.reshape(shape).transpose(1, 2, 3, 0), 3
    return ops.Conv2D(*window), lambda a: a.reshape(shape).transpose(0, 2, 3, 1), 0


def _pool(kind: type[ops.MaxPool2D | ops.AveragePool2D]) -> Callable[[Call], Results]:
    def read(call: Call) -> Results:
        if len(call.node.output) > 1 and call.node.output[1]:
            raise NotCoveredError("the positions of the largest elements")
        if call.get("storage_order", 0):
            raise NotCoveredError("another order of storage")
        value = call.value()
        image = call.build.image(value)
        height, width = sides(call.integers("kernel_shape"), 1)
        strides, padding, dilation = _window(call, image, (height, width))
        if dilation != (1, 1):
            raise NotCoveredError("dilation")
        ends = [n + pair[0] for n, pair in zip(image.shape[1:3], padding, strict=True)]
        if call.get("count_include_pad", 0) and padding != ops.NO_PADDING:
            image = call.build.add(ops.Pad(((0, 0), *padding, (0, 0))), image)
            padding = ops.NO_PADDING
        if call.get("ceil_mode", 0):
            padding = _rounded_up(image, (height, width), strides, padding, ends)
        return call.build.from_image(
            call.build.add(kind(strides, padding, (height, width)), image), value
        )

    return read


def _rounded_up(
    image: Tensor, size: ops.Pair, strides: ops.Pair, padding: ops.Padding, ends: list[int]
) -> ops.Padding:
    """Padding behind, so that windows that reach outside are there, too.

    Those that would start behind the ends are left out, as all runtimes do.
    """
    found = []
    for length, window, stride, (before, after), end in zip(
        image.shape[1:3], size, strides, padding, ends, strict=True
    ):
        count = -(-(length + before + after - window) // stride) + 1
        if (count - 1) * stride >= end:
            count -= 1
        needed = (count - 1) * stride + window - length - before
        found.append((before, max(after, needed)))
    return found[0], found[1]


def _pool_all(kind: type[ops.MaxPool2D | ops.AveragePool2D]) -> Callable[[Call], Results]:
    def read(call: Call) -> Results:
        image = call.build.image(call.value())
        size = (image.shape[1], image.shape[2])
        return call.build.from_image(call.build.add(kind(size=size), image), call.value())

    return read


def _normalization(call: Call) -> Results:
    if call.get("training_mode", 0) or any(call.node.output[1:]):
        raise NotCoveredError("training")
    scale, shift, mean, variance = (call.constant(i).astype(np.float64) for i in range(1, 5))
    scale = scale / np.sqrt(variance + call.get("epsilon", 1e-5))
    factor, term = scale.astype(np.float32), (shift - mean * scale).astype(np.float32)
    value = call.value()
    if value.rank in (3, 4):
        image = call.build.image(value)
        constants = (call.build.constant(a) for a in (factor.reshape(1, 1, 1, -1), term))
        scaled = call.build.add(ops.DepthwiseConv2D(), image, *constants)
        return call.build.from_image(scaled, value)
    if value.rank != 2:
        raise NotCoveredError(f"{value.rank} axes")
    return call.build.together(ops.Add(), call.build.together(ops.Mul(), value, factor), term)


def _dense(call: Call, value: Value, *constants: Tensor) -> Value:
    """A product with a matrix [units, inputs], and a bias, along the value's last axis."""
    value = call.build.last(value, value.rank - 1)
    op = ops.FullyConnected(keep_dims=value.rank > 2)
    return Value(call.build.add(op, value.tensor, *constants), value.order)


def matrix_operands(call: Call, other: Array) -> tuple[Value, bool]:
    """The left matrix of a Gemm, and whether the right one is [units, inputs]."""
    value = call.value()
    if call.get("transA", 0):
        value = call.build.transposed(value, (1, 0))
    if other.ndim != 2 or value.rank != 2:
        raise EdgegolfError("it has operands that are no matrices")
    return value, bool(call.get("transB", 0))


def _gemm(call: Call) -> Results:
    value, turned = matrix_operands(call, call.constant(1))
    alpha, beta = (np.float32(call.get(name, 1.0)) for name in ("alpha", "beta"))
    arrange, axes = (np.asarray, (0, 0)) if turned else (np.transpose, (1, 0))
    if alpha == 1:
        matrix = call.weight(1, arrange, axes)
    else:
        matrix = call.build.constant(arrange(call.constant(1)) * alpha)
    term = call.inputs[2] if len(call.inputs) > 2 else None
    units = matrix.shape[0]
    if term is None:
        return _dense(call, value, matrix)
    if isinstance(term, Value):
        if beta != 1:
            term = call.build.together(ops.Mul(), term, beta)
        return call.build.together(ops.Add(), _dense(call, value, matrix), term)
    if beta == 1 and term.shape == (units,):
        return _dense(call, value, matrix, *call.bias(2))
    term = term * beta
    if term.size in (1, units) and term.shape[-1:] in ((), (1,), (units,)):
        bias = call.build.constant(np.broadcast_to(term.reshape(-1), units))
        return _dense(call, value, matrix, bias)
    return call.build.together(ops.Add(), _dense(call, value, matrix), term)


def _matmul(call: Call) -> Results:
    left, right = call.operand(0), call.operand(1)
    if min(len(left.shape), len(right.shape)) < 2:
        raise NotCoveredError("a vector")
    pair = left if isinstance(right, Value) else right
    if isinstance(pair, Value) or pair.ndim != 2:
        return _products(call)
    if isinstance(right, Value):  # (A·B)ᵀ = Bᵀ·Aᵀ
        swapped = (*range(right.rank - 2), right.rank - 1, right.rank - 2)
        matrix = call.weight(0, np.asarray, (0, 0))
        product = _dense(call, call.build.transposed(right, swapped), matrix)
        return call.build.transposed(product, swapped)
    return _dense(call, call.value(), call.weight(1, np.transpose, (1, 0)))


def _products(call: Call) -> Value:
    """Products of matrices that may all be computed, each as it lies where it can."""
    tensors, turned = [], []
    for value in (call.value(0), call.value(1)):
        plain = tuple(range(value.rank))
        swapped = (*plain[:-2], plain[-1], plain[-2])
        turned.append(value.order == swapped)
        tensors.append(call.build.ordered(value, swapped if turned[-1] else plain))
    found = call.build.add(ops.BatchMatMul(*turned), *tensors)
    return Value(found, tuple(range(len(found.shape))))


# ------------------------------------------------------------------------------- reduction


def _reduce(call: Call) -> tuple[Value, tuple[int, ...], bool]:
    """What is reduced, over which axes, and whether they stay."""
    value = call.value()
    axes = call.integers("axes", 1)
    if not axes and call.get("noop_with_empty_axes", 0):
        return value, (), True
    chosen = range(value.rank) if not axes else (call.axis(a, value.rank) for a in axes)
    return value, tuple(sorted(set(chosen))), bool(call.get("keepdims", 1))


_POOLS: dict[type[Op], type[ops.MaxPool2D | ops.AveragePool2D]] = {
    ops.Mean: ops.AveragePool2D,
    ops.ReduceMax: ops.MaxPool2D,
}


def _mean(call: Call) -> Value:
    return _reduced(call, ops.Mean)


def _reduced(call: Call, kind: type[Any], given: Value | None = None) -> Value:
    """One number for all elements along the axes, of another value if one is given."""
    value, axes, keeps = _reduce(call)
    value = given or value
    if not axes:
        return value
    pool = _POOLS.get(kind)
    if pool is not None and value.rank == 4 and axes == (2, 3):
        return _reduced_image(call, pool, value, keeps)
    stored = tuple(sorted(value.order.index(axis) for axis in axes))
    tensor = call.build.add(kind(stored, keeps), value.tensor)
    if keeps:
        return Value(tensor, value.order)
    kept = [axis for axis in range(value.rank) if axis not in axes]
    return Value(tensor, tuple(kept.index(axis) for axis in value.order if axis in kept))


def _reduced_image(
    call: Call, kind: type[ops.MaxPool2D | ops.AveragePool2D], value: Value, keeps: bool
) -> Value:
    """Over rows and columns, as pooling says it."""
    image = call.build.image(value)
    pooled = call.build.add(kind(size=(image.shape[1], image.shape[2])), image)
    found = call.build.from_image(pooled, value)
    return found if keeps else call.build.reshaped(found, value.shape[:2])


def _sum(call: Call) -> Results:
    value, axes, _ = _reduce(call)
    count = prod(value.shape[axis] for axis in axes)
    return call.build.together(ops.Mul(), _mean(call), np.float32(count))


def _extreme(kind: type[Op]) -> Callable[[Call], Results]:
    return lambda call: _reduced(call, kind)


def _norm(call: Call) -> Results:
    squares = call.build.together(ops.Mul(), call.value(), call.value())
    total = _reduced(call, ops.Sum, squares)
    return total if call.node.op_type == "ReduceSumSquare" else call.build.same(ops.Sqrt(), total)


def _absolute_sum(call: Call) -> Results:
    return _reduced(call, ops.Sum, _absolute(call))  # type: ignore[arg-type]


def _running_sum(call: Call) -> Results:
    value = call.value()
    axis = call.axis(int(call.constant(1).item()), value.rank)
    op = ops.CumSum(
        value.order.index(axis), bool(call.get("exclusive", 0)), bool(call.get("reverse", 0))
    )
    return call.build.same(op, value)


def _place(kind: type[ops.ArgMax]) -> Callable[[Call], Results]:
    def read(call: Call) -> Results:
        value = call.value()
        if call.get("select_last_index", 0):
            raise NotCoveredError("the last of equal ones")
        axis = call.axis(call.get("axis", 0), value.rank)
        tensor = call.build.add(kind(axis), call.build.as_in_file(value), dtype="int64")
        found = Value(tensor, tuple(range(value.rank - 1)))
        if not call.get("keepdims", 1):
            return found
        shape = value.shape
        return call.build.reshaped(found, (*shape[:axis], 1, *shape[axis + 1 :]))

    return read


def _standardized(call: Call, value: Value, axes: tuple[int, ...]) -> Value:
    """Less the mean along some axes, divided by the standard deviation."""
    stored = ops.Mean(tuple(sorted(value.order.index(axis) for axis in axes)), True)
    epsilon = np.float32(call.get("epsilon", 1e-5))
    centred = call.build.together(ops.Sub(), value, call.build.same(stored, value))
    squares = call.build.together(ops.Mul(), centred, centred)
    variance = call.build.together(ops.Add(), call.build.same(stored, squares), epsilon)
    return call.build.together(ops.Mul(), centred, call.build.same(ops.Rsqrt(), variance))


def _instance_normalization(call: Call) -> Results:
    value = call.value()
    if value.rank in (3, 4):
        value = call.build.last(value, 1)
    found = _standardized(call, value, tuple(range(2, value.rank)))
    shape = (-1, *(1,) * (value.rank - 2))
    scaled = call.build.together(ops.Mul(), found, call.constant(1).reshape(shape))
    return call.build.together(ops.Add(), scaled, call.constant(2).reshape(shape))


def _layer_normalization(call: Call) -> Results:
    value = call.value()
    if any(call.node.output[1:]):
        raise NotCoveredError("the mean and the deviation as results")
    axis = call.axis(call.get("axis", -1), value.rank)
    found = call.build.together(
        ops.Mul(), _standardized(call, value, tuple(range(axis, value.rank))), call.operand(1)
    )
    shifts = len(call.inputs) > 2 and call.inputs[2] is not None
    return call.build.together(ops.Add(), found, call.operand(2)) if shifts else found


# ---------------------------------------------------------------------------------- movement


def _reshape(call: Call) -> Results:
    value, wanted = call.value(), call.integers("shape", 1)
    if wanted is None:
        raise EdgegolfError("it has no shape")
    copies = not call.get("allowzero", 0)
    sizes = [
        value.shape[axis] if size == 0 and copies and axis < value.rank else size
        for axis, size in enumerate(wanted)
    ]
    if sizes.count(-1) == 1:
        rest = prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = prod(value.shape) // max(rest, 1)
    return call.build.reshaped(value, tuple(sizes))


def _flatten(call: Call) -> Results:
    value = call.value()
    axis = call.get("axis", 1)
    axis = axis + value.rank if axis < 0 else axis
    return call.build.reshaped(value, (prod(value.shape[:axis]), prod(value.shape[axis:])))


def _squeeze(call: Call) -> Results:
    value = call.value()
    axes = call.integers("axes", 1)
    gone = {axis for axis, size in enumerate(value.shape) if size == 1}
    if axes is not None:
        gone = {call.axis(axis, value.rank) for axis in axes}
    shape = tuple(size for axis, size in enumerate(value.shape) if axis not in gone)
    return call.build.reshaped(value, shape)


def _unsqueeze(call: Call) -> Results:
    value, axes = call.value(), call.integers("axes", 1) or ()
    rank = value.rank + len(axes)
    new = {call.axis(axis, rank) for axis in axes}
    sizes = iter(value.shape)
    return call.build.reshaped(
        value, tuple(1 if axis in new else next(sizes) for axis in range(rank))
    )


def _transpose(call: Call) -> Results:
    value = call.value()
    axes = call.integers("perm") or tuple(reversed(range(value.rank)))
    return call.build.transposed(value, axes)


def _concatenate(call: Call) -> Results:
    values = [call.value(index) for index in range(len(call.inputs))]
    axis = call.axis(call.get("axis", 1), values[0].rank)
    computed = [each for each in call.inputs if isinstance(each, Value)]
    order = (computed or values)[0].order
    if any(each.rank != len(order) for each in values):
        raise EdgegolfError("it has inputs of unequal ranks")
    tensors = [
        call.build.ordered(each, order)
        if isinstance(given, Value)
        else call.build.constant(given.transpose(order))
        for each, given in zip(values, map(call.operand, range(len(values))), strict=True)
    ]
    if len(tensors) == 1:
        return Value(tensors[0], order)
    return Value(call.build.add(ops.Concatenate(order.index(axis)), *tensors), order)


def _cut(call: Call, value: Value, chosen: dict[int, range]) -> Value:
    """Some elements of some axes."""
    ranges = [chosen.get(axis, range(value.shape[axis])) for axis in value.order]
    if any(not each for each in ranges):
        raise NotCoveredError("a result without elements")
    if all(r == range(n) for r, n in zip(ranges, value.tensor.shape, strict=True)):
        return value
    sizes = tuple(map(len, ranges))
    op = ops.Slice(tuple(r.start for r in ranges), tuple(r.step for r in ranges), sizes)
    op.shape([value.tensor])
    return Value(call.build.add(op, value.tensor, shape=sizes), value.order)


def _slice(call: Call) -> Results:
    value = call.value()
    starts, ends = call.integers("starts", 1) or (), call.integers("ends", 2) or ()
    axes = call.integers("axes", 3) or tuple(range(len(starts)))
    steps = call.integers("steps", 4) or (1,) * len(starts)
    chosen = {
        axis: range(value.shape[axis])[start:end:step]
        for axis, start, end, step in zip(
            (call.axis(axis, value.rank) for axis in axes), starts, ends, steps, strict=True
        )
    }
    return _cut(call, value, chosen)


def _split(call: Call) -> Results:
    value = call.value()
    axis = call.axis(call.get("axis", 0), value.rank)
    sizes = call.integers("split", 1)
    if sizes is None:
        count = len(call.node.output)
        each = -(-value.shape[axis] // count)
        sizes = (*(each,) * (count - 1), value.shape[axis] - each * (count - 1))
    if sum(sizes) != value.shape[axis] or len(sizes) != len(call.node.output):
        raise EdgegolfError(f"it splits {value.shape[axis]} elements in {list(sizes)}")
    ends = np.cumsum(sizes).tolist()
    return [
        _cut(call, value, {axis: range(end - size, end)})
        for size, end in zip(sizes, ends, strict=True)
    ]


def _gather(call: Call) -> Results:
    value, places = call.value(), call.operand(1)
    axis = call.axis(call.get("axis", 0), value.rank)
    if isinstance(places, Value):
        data, where = call.build.as_in_file(value), call.build.as_in_file(places)
        tensor = call.build.add(ops.Gather(axis), data, where)
        return Value(tensor, tuple(range(len(tensor.shape))))
    indices = places
    length = value.shape[axis]
    numbers = [call.axis(int(index), length) for index in indices.ravel()]
    if not numbers or len(numbers) > _BRANCHES:
        raise NotCoveredError(f"{len(numbers)} positions")
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
    regular = range(numbers[0], numbers[-1] + (1 if step > 0 else -1), step or 1)
    if list(regular) == numbers:
        found = _cut(call, value, {axis: regular})
    else:
        parts = [_cut(call, value, {axis: range(n, n + 1)}) for n in numbers]
        place = value.order.index(axis)
        tensors = [part.tensor for part in parts]
        found = Value(call.build.add(ops.Concatenate(place), *tensors), value.order)
    shape = value.shape
    return call.build.reshaped(found, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))


def _pad(call: Call) -> Results:
    value, mode = call.value(), call.get("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise NotCoveredError(f"the mode {mode}")
    numbers = call.integers("pads", 1) or ()
    axes = call.integers("axes", 3) or tuple(range(len(numbers) // 2))
    fill = call.attributes.get("value", call.optional(2))
    margins = {
        call.axis(axis, value.rank): pair
        for axis, *pair in zip(axes, numbers[: len(axes)], numbers[len(axes) :], strict=True)
    }
    kept = {
        axis: range(max(0, -before), value.shape[axis] - max(0, -after))
        for axis, (before, after) in margins.items()
    }
    value = _cut(call, value, kept)
    stored = tuple(
        (max(0, margins.get(axis, (0, 0))[0]), max(0, margins.get(axis, (0, 0))[1]))
        for axis in value.order
    )
    if not any(map(any, stored)):
        return value
    if mode == "reflect":
        return call.build.same(ops.MirrorPad(stored), value)
    if mode == "edge":
        for axis, (before, after) in zip(value.order, stored, strict=True):
            ends = (range(1), range(value.shape[axis] - 1, value.shape[axis]))
            first, last = (_cut(call, value, {axis: end}).tensor for end in ends)
            parts = [*[first] * before, value.tensor, *[last] * after]
            if len(parts) > 1:
                joined = call.build.add(ops.Concatenate(value.order.index(axis)), *parts)
                value = Value(joined, value.order)
        return value
    number = 0 if fill is None else np.asarray(fill).item()
    if value.tensor.quant is not None:
        number = signed(np.asarray(fill), np.zeros(()))[0].item()
        number = number if number != value.tensor.zero_point else 0
    return call.build.same(ops.Pad(stored, number or None), value)


def _expand(call: Call) -> Results:
    value, wanted = call.value(), call.integers("shape", 1) or ()
    shape: Shape = np.broadcast_shapes(value.shape, wanted)
    if prod(shape) == prod(value.shape):
        return call.build.reshaped(value, shape)
    if value.tensor.dtype != "float32":
        wide = call.build.reshaped(value, (1,) * (len(shape) - value.rank) + value.shape)
        tensor = call.build.add(ops.BroadcastTo(), call.build.as_in_file(wide), shape=shape)
        return Value(tensor, tuple(range(len(shape))))
    return call.build.together(ops.Mul(), value, np.ones(shape, np.float32))


def _tile(call: Call) -> Results:
    value, repeats = call.value(), call.integers("repeats", 1) or ()
    if len(repeats) != value.rank:
        raise EdgegolfError(f"it repeats {len(repeats)} of {value.rank} axes")
    return call.build.same(ops.Tile(tuple(repeats[axis] for axis in value.order)), value)


def _depth_to_space(call: Call) -> Results:
    value, block = call.value(), call.get("blocksize", 1)
    batch, channels, height, width = value.shape
    rest = channels // (block * block)
    split = (batch, block, block, rest, height, width)
    axes = (0, 3, 4, 1, 5, 2)
    if call.get("mode", "DCR") == "CRD":
        split, axes = (batch, rest, block, block, height, width), (0, 1, 4, 2, 5, 3)
    moved = call.build.transposed(call.build.reshaped(value, split), axes)
    return call.build.reshaped(moved, (batch, rest, height * block, width * block))


def _space_to_depth(call: Call) -> Results:
    value, block = call.value(), call.get("blocksize", 1)
    batch, channels, height, width = value.shape
    split = (batch, channels, height // block, block, width // block, block)
    axes = (0, 1, 3, 5, 2, 4) if call.get("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    moved = call.build.transposed(call.build.reshaped(value, split), axes)
    depth = channels * block * block
    return call.build.reshaped(moved, (batch, depth, height // block, width // block))


#: How each operator is read; domains other than the standard's are part of the name.
OPERATORS: dict[str, Callable[[Call], Results]] = {
    "Abs": _absolute,
    "Add": _binary(ops.Add()),
    "And": _binary(ops.LogicalAnd()),
    "ArgMax": _place(ops.ArgMax),
    "ArgMin": _place(ops.ArgMin),
    "AveragePool": _pool(ops.AveragePool2D),
    "BatchNormalization": _normalization,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _unary(ops.Ceil()),
    "Clip": _clip,
    "Concat": _concatenate,
    "Conv": _convolution,
    "Cos": _unary(ops.Cos()),
    "CumSum": _running_sum,
    "DepthToSpace": _depth_to_space,
    "Div": _divide,
    "Dropout": _identity,
    "Elu": _elu,
    "Equal": _binary(ops.Equal(), "bool"),
    "Erf": _erf,
    "Exp": _unary(ops.Exp()),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _unary(ops.Floor()),
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _pool_all(ops.AveragePool2D),
    "GlobalMaxPool": _pool_all(ops.MaxPool2D),
    "Greater": _binary(ops.Greater(), "bool"),
    "GreaterOrEqual": _binary(ops.GreaterEqual(), "bool"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(ops.HardSwish()),
    "Identity": _identity,
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": _leaky,
    "Less": _binary(ops.Less(), "bool"),
    "LessOrEqual": _binary(ops.LessEqual(), "bool"),
    "Log": _unary(ops.Log()),
    "LogSoftmax": lambda call: _softmax(call, ops.LogSoftmax()),
    "MatMul": _matmul,
    "Max": _binary(ops.Maximum()),
    "MaxPool": _pool(ops.MaxPool2D),
    "Min": _binary(ops.Minimum()),
    "Mul": _binary(ops.Mul()),
    "Neg": _negative,
    "Not": _unary(ops.LogicalNot()),
    "Or": _binary(ops.LogicalOr()),
    "PRelu": _parametric,
    "Pad": _pad,
    "Pow": _power,
    "Reciprocal": _reciprocal,
    "ReduceL1": _absolute_sum,
    "ReduceL2": _norm,
    "ReduceMax": _extreme(ops.ReduceMax),
    "ReduceMean": _mean,
    "ReduceMin": _extreme(ops.ReduceMin),
    "ReduceSum": _sum,
    "ReduceSumSquare": _norm,
    "Relu": _unary(ops.ReLU()),
    "Reshape": _reshape,
    "Round": _unary(ops.Round()),
    "Selu": _selu,
    "Sigmoid": _unary(ops.Logistic()),
    "Sign": _unary(ops.Sign()),
    "Sin": _unary(ops.Sin()),
    "Slice": _slice,
    "Softmax": _softmax,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Sqrt": _unary(ops.Sqrt()),
    "Squeeze": _squeeze,
    "Sub": _binary(ops.Sub()),
    "Sum": _binary(ops.Add()),
    "Tanh": _unary(ops.Tanh()),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _select,
}

#: Operators that see images with their channels first.
OF_IMAGES = frozenset({
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace",
    "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization", "MaxPool", "QLinearConv",
    "Resize", "SpaceToDepth", "Upsample",
})  # fmt: skip
