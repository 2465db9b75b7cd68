"""Layers with weights: what a window sees, times weights, for each pixel of the result."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from edgegolf.backends.c import vectors
from edgegolf.backends.c.layer import Layer, Map, NotInCError, called, finish
from edgegolf.backends.c.windows import Geometry, Row, Seen
from edgegolf.ir import Node, Tensor
from edgegolf.ir.lowering import lower
from edgegolf.ir.ops import Conv2D, DepthwiseConv2D, FullyConnected
from edgegolf.ir.tensor import Array


def product(
    layer: Layer, node: Node, seen: Seen, target: str, after: Map | None,
    planes: Geometry | None = None, store: Callable[[str, str], None] | None = None,
    row: Row | None = None, fused: tuple[Node, Map | None, Tensor] | None = None,
) -> tuple[int, int]:  # fmt: skip
    """A pixel of a convolution or a fully connected layer, and what becomes of it, in `target`.

    Args:
        layer: Where to.
        node: What.
        seen: What its window sees.
        target: What points to the result.
        after: What becomes of it.
        planes: How the window moves, if it sees planes: a row of pixels is then computed.
        store: What to add in the place of storing the result of channel `o`, its argument, at
            element `o` of another; only where sums are computed together, see `in_blocks`.
        row: The loop over a row of pixels, if it is for a processor with vectors.
        fused: What `store` computes: a node, what becomes of its result, and what it sees.

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
    if max(np.abs(rows).sum(axis=1) * 3 * 128 + np.abs(constant)) >= 2**31:  # with LIFT
        raise NotInCError(f"{type(node.op).__name__} with sums of more than 32 bits")

    reaches = [(min(int(a), 0), max(int(b), 1)) for a, b in zip(least, most, strict=True)]
    output = node.output if after is None else after.output
    limits, rest = output.limits, None
    if node.output.dtype != "int32":
        arithmetic = lower(node)
        limits = arithmetic.low, arithmetic.high
        rest = (arithmetic.requants[0], node.output.zero_point, limits, reaches, after,
                type(node.op).__name__)  # fmt: skip
    if planes is not None:
        assert rest is not None
        call = called(layer, *rest)
        _planes(layer, weights, seen, constant, planes, (target, f"{output.dtype}_t"), call)
        return limits if after is None else after.within(limits)
    if in_blocks(layer, node, seen):
        call = _itself if rest is None else called(layer, *rest)
        if layer.vectors:
            assert row is not None
            sums = _sums_of_row(layer, node, rows, seen, constant, row)
            count, lines, ends = row.columns * channels, [], []
            if row.final:
                ends = [f"memcpy({row.final}, {target}, {count});"]
            if rest is not None and output.dtype == "int8":
                direct = row.final if count % vectors.BYTES == 0 else ""
                lines = vectors.results(layer, rest, sums, row, channels, direct or target, fused)
                ends = [*ends, "#endif"] if direct else ["#endif", *ends]
            if lines:
                layer.is_branched = True
                layer.add("#if defined(SIMD)", *lines, "#else")
            each = call("", "o") != call("", "")
            row.begin(layer, channels, each)
            if each and row.is_loop:
                target, sums = (f"({name} + u * {channels})" for name in (target, sums))
            if store is None:
                layer.add(f"{target}[o] = ({output.dtype}_t){call(f'{sums}[o]', 'o')};")
            else:
                store(call(f"{sums}[o]", "o"), target)
            layer.add("}", *["}"] * (each and row.is_loop))
            layer.add(*[end for end in ends if lines or end != "#endif"])
            return limits if after is None else after.within(limits)
        _blocks(layer, rows, seen, constant)
        if store is None:
            layer.add(f"{target}[o] = ({output.dtype}_t){call('sums[j]', 'o')};")
        else:
            store(call("sums[j]", "o"), target)
        layer.add("}", "}")
        return limits if after is None else after.within(limits)
    layer.add(f"for (unsigned o = 0; o < {channels}; o++) {{")
    start = "0"
    if constant.any():
        start = layer.element(constant, "b", "o")
    if isinstance(node.op, DepthwiseConv2D):
        _depthwise(layer, node, weights, seen, start)
    else:
        _dense(layer, node, weights, seen, start)
    result = "a" if rest is None else finish(layer, *rest)
    layer.add(f"{target}[o] = ({output.dtype}_t){result};", "}")
    return limits if after is None else after.within(limits)


def _itself(value: str, channel: str) -> str:
    return value


def in_blocks(layer: Layer, node: Node, seen: Seen) -> bool:
    """Whether four sums are computed together, or all for a processor with vectors."""
    if seen.is_cells:
        return True
    if not layer.fast or not isinstance(node.op, Conv2D | FullyConnected):
        return False
    weights = node.filter
    return (
        (weights.shape[0] % 4 == 0 or bool(layer.vectors)) and seen.is_whole
        and seen.dtype == weights.dtype == "int8"
        and weights.elements == weights.shape[0] * prod(seen.size) * seen.channels
        and (isinstance(node.op, Conv2D) or weights.zero_point == 0)
    )  # fmt: skip


def _blocks(layer: Layer, rows: Array, seen: Seen, constant: Array) -> None:
    """Begin the loops over four outputs and over each, `o`, whose sum is `sums[j]`."""
    if seen.is_turned:
        rows = rows.reshape(-1, *seen.size, seen.channels).swapaxes(1, 2).reshape(len(rows), -1)
    size = rows.shape[1]
    name, _ = layer.parameter(layer.source.quads(rows, "w"))
    starts = ["0"] * 4
    if constant.any():
        starts = [layer.element(constant, "b", f"g + {j}") for j in range(4)]
    layer.add(
        f"const int32_t s = CENTRE({seen.pointer}, {size});",
        f"for (unsigned g = 0; g < {len(rows)}; g += 4) {{",
        f"int32_t sums[4] = {{{', '.join(f'{start} - s' for start in starts)}}};",
        f"dot4(sums, {seen.pointer}, {name} + g * {size}, {size});",
        "UNROLL",
        "for (unsigned j = 0; j < 4; j++) {",
        "const unsigned o = g + j;",
    )


def _sums_of_row(
    layer: Layer, node: Node, rows: Array, seen: Seen, constant: Array, row: Row
) -> str:
    """Add the sums of all pixels of a row; returns the array of them."""
    size, cells = seen.size, 0
    if seen.is_turned:
        rows = rows.reshape(len(rows), *size, -1).swapaxes(1, 2)
    if seen.is_cells:
        rows = np.pad(rows[..., 0], ((0, 0), (0, 0), (vectors.CELL - size[0], 0)))
        cells = len(rows)
    name = f"sums{len(layer.arrays)}"
    layer.array("int32_t", name, row.columns * len(rows) + 4 * vectors.MOST_QUADS)
    target = name
    if row.is_loop and not seen.step:
        target = f"{name} + u * {len(rows)}"
    layer.add("{")
    vectors.sums(layer, target, rows.reshape(len(rows), -1), seen, constant, row.columns, cells)
    layer.add("}", *["}"] * (row.is_loop and not seen.step))
    return name


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
    if seen.is_turned:
        weights = weights.swapaxes(1, 2)
    name, macro = layer.constant(weights, "w")
    size = weights[0].size
    groups = 1
    if isinstance(node.op, Conv2D):
        groups = node.source.shape[3] // weights.shape[3]
    runs, length, step = seen.runs(weights.shape[-1] if groups > 1 else None)
    begin = seen.pointer
    if groups > 1:
        begin = f"{seen.pointer} + o / {len(weights) // groups} * {weights.shape[3]}"
    if macro == "I8" and seen.dtype == "int8" and runs < 256:
        total = f"dot({begin}, {name} + o * {size}, {length})"
        if runs > 1:
            total = f"dots({begin}, {name} + o * {size}, {length}, {step - length}, {runs})"
        layer.add(f"int32_t a = {total}{_plus(start)};")
        return
    layer.add(f"int32_t a = {start};", f"const {seen.dtype}_t *q = {begin};",
              f"const {_pointer(macro)} *w = {name} + o * {size};")  # fmt: skip
    advance = f"q += {step}, w += {length}"
    layer.add(f"for (unsigned i = 0; i < {runs}; i++, {advance}) {{")
    layer.add(f"for (unsigned k = 0; k < {length}; k++) a += (int32_t)q[k] * {macro}(w + k);", "}")


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


def _planes(
    layer: Layer, weights: Array, seen: Seen, constant: Array, planes: Geometry,
    target: tuple[str, str], call: Callable[[str, str], str],
) -> None:  # fmt: skip
    """A row of each output of a depthwise convolution."""
    (height, width), row = planes.size, planes.columns
    channels, taps = weights.shape[-1], height * width
    pixels, stride = planes.outputs[1], planes.strides[1]
    name, macro = layer.constant(np.moveaxis(weights[0], -1, 0), "w")
    start = layer.element(constant, "b", "o") if constant.any() else "0"
    is_lifted = seen.dtype == "int8"
    kind = "lifted" if is_lifted else f"{seen.dtype}_t"
    multiplier = channels // seen.channels
    channel = "o" if multiplier == 1 else f"o / {multiplier}"
    numbers = [f"f{k} = {macro}(w + {k})" for k in range(taps)]
    begin = f"int32_t b = {start};"
    if is_lifted:
        begin = f"{begin[:-1]} - LIFT * ({' + '.join(f'f{k}' for k in range(taps))});"
    text, cast = target
    layer.add(f"for (unsigned o = 0; o < {channels}; o++) {{",
              f"const {_pointer(macro)} *w = {name} + o * {taps};",
              f"const {kind} *q = p + {channel} * {height * row};",
              f"{cast} *t = {text} + o;",
              f"const int32_t {', '.join(numbers)};", f"const {begin}")  # fmt: skip
    pairs = is_lifted and macro == "I8" and (width, stride) == (3, 1)
    if pairs:
        packed = [f"v{i} = PAIR(f{3 * i}, f{3 * i + 2})" for i in range(height)]
        packed += [f"m{i // 2} = PAIR(f{3 * i + 1}, {f'f{3 * i + 4}' if i + 1 < height else 0})"
                   for i in range(0, height, 2)]  # fmt: skip
        second = f"t[{channels}] = ({cast}){call('a[1]', 'o')};"
        if pixels % 2:
            second = f"if (u > 1) {second}"
        layer.add("#if defined(__ARM_FEATURE_DSP)", f"const int32_t {', '.join(packed)};",
                  f"for (int u = {(pixels + 1) // 2}; u; u--, q += 2, t += {2 * channels}) {{",
                  "int32_t a[2] = {b, b};",
                  *[f"taps_{'bt'[i % 2]}(a, q + {i * row}, v{i}, m{i // 2});"
                    for i in range(height)],
                  f"t[0] = ({cast}){call('a[0]', 'o')};", second, "}", "#else")  # fmt: skip
    places = [i * row + j for i in range(height) for j in range(width)]
    layer.add(f"for (int u = 0; u < {pixels}; u++, q += {stride}, t += {channels}) {{",
              "int32_t a = b;",
              *[f"a += f{k} * q[{place}];" for k, place in enumerate(places)],
              f"*t = ({cast}){call('a', 'o')};", "}", *["#endif"] * pairs, "}")  # fmt: skip


def _pointer(macro: str) -> str:
    return {"I8": "int8_t", "U8": "uint8_t", "I16": "int16_t", "I32": "int32_t"}[macro]


def _plus(start: str) -> str:
    return "" if start == "0" else f" + {start}"
