"""Layers that summarise what a window sees of each channel."""

from __future__ import annotations

from math import prod

import numpy as np

from edgegolf.backends.c.layer import Layer, Map, NotInCError, clamped, finish, render_staircase
from edgegolf.backends.c.requant import Stored, staircase
from edgegolf.backends.c.windows import Geometry, Seen
from edgegolf.ir import Node
from edgegolf.ir.lowering import lower
from edgegolf.ir.ops import AveragePool2D, MaxPool2D
from edgegolf.ir.tensor import Array


def summary(
    layer: Layer, node: Node, geometry: Geometry, seen: Seen, target: str, after: Map | None
) -> tuple[int, int]:
    """A pixel of a pooling layer or a mean, and what becomes of it, in `target`.

    Returns:
        The smallest and the largest result that there may be.
    """
    arithmetic = lower(node)
    limits = arithmetic.low, arithmetic.high
    output = node.output if after is None else after.output
    bounds = limits if after is None else after.within(limits)
    layer.add(
        f"for (unsigned o = 0; o < {seen.channels}; o++) {{",
        f"const {seen.dtype}_t *q = {seen.pointer} + o;",
    )
    count = prod(seen.size)
    reach = seen.limits[0] * count, seen.limits[1] * count
    if isinstance(node.op, MaxPool2D):
        layer.add(f"int32_t a = {seen.limits[0]};")
        _each(layer, seen, "if (*q > a) a = *q;")
        result = clamped("a", *limits, *node.output.limits)
    else:
        layer.add("int32_t a = 0;")
        _each(layer, seen, "a += *q;")
        if not isinstance(node.op, AveragePool2D):
            zeros = node.source.zero_point * count
            if zeros:
                layer.add(f"a -= {zeros};")
            result = finish(
                layer, arithmetic.requants[0], node.output.zero_point, limits,
                [(min(reach[0] - zeros, 0), max(reach[1] - zeros, 1))], after, "Mean",
            )  # fmt: skip
            after = None
        elif any(map(any, geometry.padding)):
            _inside(layer, geometry)
            layer.add("a = a < 0 ? -((count / 2 - a) / count) : (a + count / 2) / count;")
            result = clamped("a", *limits, *node.output.limits)
        else:
            result = _mean(layer, count, reach, limits)
    if after is not None:
        layer.add(f"a = {result};")
        result = after.expression(layer, "a")
    layer.add(f"{target}[o] = ({output.dtype}_t){result};", "}")
    return bounds


def _each(layer: Layer, seen: Seen, what: str) -> None:
    rows, columns = (1, prod(seen.size)) if seen.is_whole else seen.size
    skip = seen.row - columns * seen.column
    if rows > 1:
        advance = f", q += {skip}" if skip else ""
        layer.add(f"for (unsigned i = 0; i < {rows}; i++{advance}) {{")
    layer.add(f"for (unsigned j = 0; j < {columns}; j++, q += {seen.column}) {{", what, "}")
    if rows > 1:
        layer.add("}")


def _inside(layer: Layer, geometry: Geometry) -> None:
    """How many elements of the window lie in the image: `count`."""
    sides = []
    for axis, name in enumerate("vu"):
        size, length = geometry.size[axis], geometry.image[axis]
        first = f"{name} * {geometry.strides[axis]} - {geometry.padding[axis][0]}"
        if geometry.outputs[axis] == 1:
            first = str(-geometry.padding[axis][0])
        layer.add(f"const int {name}0 = {first};")
        start = f"({name}0 < 0 ? 0 : {name}0)"
        end = f"({name}0 > {length - size} ? {length} : {name}0 + {size})"
        sides.append(f"({end} - {start})")
    layer.add(f"const int32_t count = {' * '.join(sides)};")


def _mean(layer: Layer, count: int, reach: tuple[int, int], limits: tuple[int, int]) -> str:
    """The sum over a number, ties away from 0, without a division."""

    def function(sums: Array) -> Array:
        return np.clip(np.sign(sums) * ((np.abs(sums) + count // 2) // count), *limits)

    spans = [(min(reach[0], 0), max(reach[1], 1))]
    found = staircase([Stored(function, spans[0], 1 / count)], limits)
    if found is None:
        raise NotInCError(f"AveragePool2D of {count} elements")
    return render_staircase(layer, found, spans)
