"""Layers that move elements: each a loop for each axis along which they do not lie in one piece."""

from __future__ import annotations

from math import prod

from edgegolf.backends.c.layer import Layer, NotInCError
from edgegolf.ir import Node, Tensor
from edgegolf.ir.ops import Concatenate, Pad, Slice, Stack, Transpose
from edgegolf.ir.tensor import Shape


def move(layer: Layer, node: Node) -> None:
    """The whole result."""
    output, op = node.output, node.op
    match op:
        case Pad(margins, value):
            fill = output.zero_point if value is None else int(value)
            layer.add(f"memset(y, {fill}, {output.elements});")
            shape, steps = node.source.shape, _strides(output.shape)
            start = sum(pair[0] * step for pair, step in zip(margins, steps, strict=True))
            _box(layer, node.source, shape, _strides(shape), 0, steps, start)
        case Slice(starts, steps, sizes):
            strides = _strides(node.source.shape)
            start = sum(a * b for a, b in zip(starts, strides, strict=True))
            taken = tuple(a * b for a, b in zip(steps, strides, strict=True))
            _box(layer, node.source, sizes, taken, start, _strides(sizes), 0)
            if min(steps, default=1) > 0:
                layer.lags[node.source] = 0
        case Transpose(axes):
            strides = _strides(node.source.shape)
            taken = tuple(strides[axis] for axis in axes)
            _box(layer, node.source, output.shape, taken, 0, _strides(output.shape), 0)
        case Concatenate(axis) | Stack(axis):
            start = 0
            for tensor in node.inputs:
                assert tensor is not None
                if tensor.data is not None:
                    raise NotInCError(f"{type(op).__name__} with a constant")
                shape = tensor.shape
                if isinstance(op, Stack):
                    shape = (*shape[:axis], 1, *shape[axis:])
                steps = _strides(output.shape)
                _box(layer, tensor, shape, _strides(shape), 0, steps, start)
                start += shape[axis] * steps[axis]
        case _:
            raise NotInCError(f"the operator {type(op).__name__}")


def _strides(shape: Shape) -> Shape:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _box(
    layer: Layer, tensor: Tensor, shape: Shape, taken: Shape, first: int, put: Shape, start: int
) -> None:
    """Copy a box of a tensor to one of the result.

    Args:
        layer: Where to.
        tensor: The tensor.
        shape: Of the box.
        taken: From one element to the next along each axis, in the tensor.
        first: The first element.
        put: From one element to the next along each axis, in the result.
        start: The first element there.
    """
    x = layer.read(tensor)
    axes = [axis for axis in range(len(shape)) if shape[axis] > 1]
    run = 1
    while axes and taken[axes[-1]] == put[axes[-1]] == run:
        run *= shape[axes.pop()]
    names = [f"i{axis}" for axis in axes]
    for name, axis in zip(names, axes, strict=True):
        layer.add(f"for (int {name} = 0; {name} < {shape[axis]}; {name}++) {{")

    def place(base: str, offset: int, steps: Shape) -> str:
        terms = [f"{n} * ({steps[a]})" if steps[a] < 0 else f"{n} * {steps[a]}"
                 for n, a in zip(names, axes, strict=True)]  # fmt: skip
        return " + ".join([base, *([str(offset)] if offset else []), *terms])

    target, source = place("y", start, put), place(x, first, taken)
    if run == 1:
        layer.add(f"*({target}) = *({source});")
    else:
        layer.add(f"memmove({target}, {source}, {run});")
    layer.add(*["}" for _ in axes])
