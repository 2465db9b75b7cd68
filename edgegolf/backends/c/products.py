"""Layers with weights: what a window sees, times weights, for each pixel of the result."""

from __future__ import annotations

import numpy as np

from edgegolf.backends.c.layer import Layer, Map, NotInCError, finish
from edgegolf.backends.c.windows import Seen
from edgegolf.ir import Node
from edgegolf.ir.lowering import lower
from edgegolf.ir.ops import Conv2D, DepthwiseConv2D, FullyConnected
from edgegolf.ir.tensor import Array


def product(
    layer: Layer, node: Node, seen: Seen, target: str, after: Map | None
) -> tuple[int, int]:
    """A pixel of a convolution or a fully connected layer, and what becomes of it, in `target`.

    Returns:
        The smallest and the largest result that there may be.

    Raises:
        NotInCError: Its weights are computed, or its sums need more than 32 bits.
    """
    weights, biases = _weights(node), _biases(node)
    channels = weights.shape[-1] if isinstance(node.op, DepthwiseConv2D) else len(weights)
    rows = np.moveaxis(weights, -1, 0) if isinstance(node.op, DepthwiseConv2D) else weights
    rows = rows.reshape(channels, -1)
    zero_point = node.source.zero_point
    constant = biases - zero_point * rows.sum(axis=1)
    low, high = (bound - zero_point for bound in seen.limits)
    least = np.minimum(rows * low, rows * high).sum(axis=1) + biases
    most = np.maximum(rows * low, rows * high).sum(axis=1) + biases
    if max(np.abs(rows).sum(axis=1) * 255 + np.abs(constant) + np.abs(biases)) >= 2**31:
        raise NotInCError(f"{type(node.op).__name__} with sums of more than 32 bits")

    layer.add(f"for (unsigned o = 0; o < {channels}; o++) {{")
    start = "0"
    if constant.any():
        start = layer.element(constant, "b", "o")
    if isinstance(node.op, DepthwiseConv2D):
        _depthwise(layer, node, weights, seen, start)
    else:
        _dense(layer, node, weights, seen, start)
    arithmetic = lower(node)
    (requant,) = arithmetic.requants
    reaches = [(min(int(a), 0), max(int(b), 1)) for a, b in zip(least, most, strict=True)]
    limits = arithmetic.low, arithmetic.high
    result = finish(
        layer, requant, node.output.zero_point, limits, reaches, after, type(node.op).__name__
    )
    output = node.output if after is None else after.output
    layer.add(f"{target}[o] = ({output.dtype}_t){result};", "}")
    return limits if after is None else after.within(limits)


def _weights(node: Node) -> Array:
    """The weights less their zero points, int64; int8 kernels heed those of FULLY_CONNECTED."""
    tensor = node.filter
    if tensor.data is None or tensor.dtype not in ("int8", "uint8"):
        raise NotInCError(f"{type(node.op).__name__} with weights that are no 8-bit constant")
    weights = tensor.data.astype(np.int64)
    heeded = tensor.dtype == "uint8" or isinstance(node.op, FullyConnected)
    if not heeded or (tensor.quant is not None and tensor.quant.is_per_channel):
        return weights
    return weights - tensor.zero_point


def _biases(node: Node) -> Array:
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is None:
        count = node.output.shape[-1]
        return np.zeros(count, np.int64)
    if given.data is None or given.dtype != "int32":
        raise NotInCError(f"{type(node.op).__name__} with biases that are no int32 constant")
    return given.data.reshape(-1).astype(np.int64)


def _dense(layer: Layer, node: Node, weights: Array, seen: Seen, start: str) -> None:
    """Each output has weights of its own for all that is seen, or for its group's channels."""
    name, macro = layer.constant(weights, "w")
    size = weights[0].size
    groups = 1
    if isinstance(node.op, Conv2D):
        groups = node.source.shape[3] // weights.shape[3]
    runs, length, step = seen.runs(weights.shape[-1] if groups > 1 else None)
    begin = seen.pointer
    if groups > 1:
        begin = f"{seen.pointer} + o / {len(weights) // groups} * {weights.shape[3]}"
    fast = macro == "I8" and seen.dtype == "int8"

    def sum_of(x: str, w: str) -> str:
        return f"dot({x}, {w}, {length})"

    if runs == 1 and fast:
        total = sum_of(begin, f"{name} + o * {size}")
        layer.add(f"int32_t a = {total}{_plus(start)};")
        return
    layer.add(f"int32_t a = {start};", f"const {seen.dtype}_t *q = {begin};",
              f"const {_pointer(macro)} *w = {name} + o * {size};")  # fmt: skip
    advance = f"q += {step}, w += {length}"
    layer.add(f"for (unsigned i = 0; i < {runs}; i++, {advance}) {{")
    if fast:
        layer.add(f"a += {sum_of('q', 'w')};", "}")
    else:
        layer.add(
            f"for (unsigned k = 0; k < {length}; k++) a += (int32_t)q[k] * {macro}(w + k);", "}"
        )


def _depthwise(layer: Layer, node: Node, weights: Array, seen: Seen, start: str) -> None:
    """Each output sees one channel."""
    name, macro = layer.constant(weights, "w")
    _, height, width, channels = weights.shape
    multiplier = channels // node.source.shape[3]
    channel = "o" if multiplier == 1 else f"o / {multiplier}"
    layer.add(f"int32_t a = {start};", f"const {seen.dtype}_t *q = {seen.pointer} + {channel};",
              f"const {_pointer(macro)} *w = {name} + o;")  # fmt: skip
    rows, columns = (1, height * width) if seen.is_whole else (height, width)
    skip = seen.row - columns * seen.column
    if rows > 1:
        advance = f", q += {skip}" if skip else ""
        layer.add(f"for (unsigned i = 0; i < {rows}; i++{advance}) {{")
    layer.add(
        f"for (unsigned j = 0; j < {columns}; j++, q += {seen.column}, w += {channels}) "
        f"a += (int32_t)*q * {macro}(w);"
    )
    if rows > 1:
        layer.add("}")


def _pointer(macro: str) -> str:
    return {"I8": "int8_t", "U8": "uint8_t", "I16": "int16_t", "I32": "int32_t"}[macro]


def _plus(start: str) -> str:
    return "" if start == "0" else f" + {start}"
