"""Layers that treat every element by itself, alone or with one of another tensor."""

from __future__ import annotations

import numpy as np

from edgegolf.backends.c.layer import Layer, Map, NotInCError, clamped, evaluate, finish, plus
from edgegolf.ir import Node, Tensor
from edgegolf.ir.lowering import ADDITION_BITS, lower
from edgegolf.ir.ops import Add, Maximum, Minimum, Mul
from edgegolf.ir.tensor import Array

# Pairs of values on which a formula is tried before it is on all.
_TRIED = 600


def mapped(layer: Layer, after: Map, channels: int, source: str, target: str) -> None:
    """A pixel of what becomes of each element."""
    value = after.expression(layer, f"{source}[o]")
    layer.add(f"for (unsigned o = 0; o < {channels}; o++) "
              f"{target}[o] = ({after.output.dtype}_t){value};")  # fmt: skip


def binary(
    layer: Layer, node: Node, channels: int, current: tuple[Tensor, str], target: str,
    after: Map | None,
) -> tuple[int, int]:  # fmt: skip
    """An element of a node with two operands, and what becomes of it, in `target`.

    Args:
        layer: Where to.
        node: What.
        channels: Of a pixel.
        current: A tensor, and the expression of its element of channel `o`.
        target: What points to the result.
        after: What becomes of it.

    Returns:
        The smallest and the largest result that there may be.

    Raises:
        NotInCError: The operands broadcast in a way that is not covered.
    """
    output = node.output if after is None else after.output
    tensors = [t for t in node.inputs if t is not None]
    left, right = (_operand(layer, t, node.output, channels, current) for t in tensors)
    arithmetic = lower(node) if not isinstance(node.op, Maximum | Minimum) else None
    limits = node.output.limits if arithmetic is None else (arithmetic.low, arithmetic.high)
    bounds = limits if after is None else after.within(limits)
    if arithmetic is None:
        sign = ">" if isinstance(node.op, Maximum) else "<"
        layer.add(f"const int32_t b = {right};", f"int32_t a = {left};",
                  f"if (b {sign} a) a = b;")  # fmt: skip
        result = "a"
    elif isinstance(node.op, Mul):
        centres = [t.zero_point for t in tensors]
        layer.add(
            f"int32_t a = (int32_t)({left}{plus(-centres[0])}) * ({right}{plus(-centres[1])});"
        )
        ends = [[n - zero for n in t.limits] for t, zero in zip(tensors, centres, strict=True)]
        products = [a * b for a in ends[0] for b in ends[1]]
        result = finish(
            layer, arithmetic.requants[0], node.output.zero_point, limits,
            [(min(*products, 0), max(*products, 1))], after, "Mul",
        )  # fmt: skip
        after = None
    else:
        result, after = _sum(layer, node, tensors, (left, right), limits, after)
    if after is not None:
        layer.add(f"a = {result};")
        result = after.expression(layer, "a")
    layer.add(f"{target}[o] = ({output.dtype}_t){result};")
    return bounds


def _operand(
    layer: Layer, tensor: Tensor, output: Tensor, channels: int, current: tuple[Tensor, str]
) -> str:
    """C for the element of an operand that belongs to channel `o` of pixel `n`."""
    if tensor is current[0]:
        return current[1]
    whole = tensor.elements == output.elements
    if not whole and tensor.elements not in (1, *tensor.shape[-1:]):
        raise NotInCError(f"operands of shapes {list(tensor.shape)} and {list(output.shape)}")
    if tensor.data is not None and tensor.elements == 1:
        return str(int(tensor.data.item()))
    index = "o" if not whole or channels == output.elements else f"{layer.pixel} * {channels} + o"
    if tensor.elements == 1:
        index = "0"
    if tensor.data is not None:
        return layer.element(tensor.data.astype(np.int64), "k", f"({index})")
    return f"{layer.read(tensor)}[{index}]"


def _sum(
    layer: Layer, node: Node, tensors: list[Tensor], operands: tuple[str, str],
    limits: tuple[int, int], after: Map | None,
) -> tuple[str, Map | None]:  # fmt: skip
    """The expression of a sum or difference, and what is yet to become of it."""
    found = linear(node, limits, after)
    if found is not None:
        (first, second, offset, shift), kept, rest = found
        total = f"{_times(operands[0], first)} + {_times(operands[1], second)}{plus(offset)}"
        layer.add(f"int32_t a = ({total}) >> {shift};" if shift else f"int32_t a = {total};")
        corners = [
            int(a) * first + int(b) * second + offset >> shift
            for a in tensors[0].limits
            for b in tensors[1].limits
        ]
        return clamped("a", *kept, min(corners), max(corners)), rest
    requants = lower(node).requants
    for name, operand, tensor, requant in zip("ab", operands, tensors, requants, strict=False):
        layer.add(
            f"int32_t {name} = rescale((int32_t)({operand}{plus(-tensor.zero_point)}) * "
            f"{1 << ADDITION_BITS}, {int(requant.multiplier[0])}, {requant.shift[0]});"
        )
    back = requants[2]
    sign = "+" if isinstance(node.op, Add) else "-"
    layer.add(
        f"a = rescale(a {sign} b, {int(back.multiplier[0])}, {back.shift[0]})"
        f"{plus(node.output.zero_point)};"
    )
    return f"clamp(a, {limits[0]}, {limits[1]})", after


def linear(
    node: Node, limits: tuple[int, int], after: Map | None
) -> tuple[tuple[int, int, int, int], tuple[int, int], Map | None] | None:
    """What `_linear` finds for a sum or difference, if anything.

    Returns:
        That, between what it is then to be kept, and what is yet to become of it.
    """
    tensors = [t for t in node.inputs if t is not None]
    values = [np.arange(t.limits[0], t.limits[1] + 1) for t in tensors]
    grid = {tensors[0]: values[0][:, None], tensors[1]: values[1][None, :]}
    result = evaluate(node, grid)
    signs = (1, 1 if isinstance(node.op, Add) else -1)
    slopes = [
        sign * float(t.scale) / float(node.output.scale)
        for sign, t in zip(signs, tensors, strict=True)
    ]
    tries = [(result, limits, after)]
    if after is not None and after.rises:
        ends = after(np.array(limits)).tolist()
        tries.insert(0, (after(result), (ends[0], ends[1]), None))
    for expected, kept, rest in tries:
        found = _linear(values, expected, kept, slopes)
        if found is not None:
            return found, kept, rest
    return None


def _times(operand: str, factor: int) -> str:
    if factor == 1:
        return operand
    return f"(int32_t){operand} * {factor}" if factor >= 0 else f"(int32_t){operand} * ({factor})"


def _linear(
    values: list[Array], expected: Array, limits: tuple[int, int], slopes: list[float]
) -> tuple[int, int, int, int] | None:
    """(first · a + second · b + offset) >> shift that gives all that is expected, if any.

    Args:
        values: All of a, and of b.
        expected: The results, `[a, b]`.
        limits: Between which results are kept.
        slopes: Real numbers near first and second, without the shift.
    """
    low, high = limits
    rises, falls = expected > low, expected < high
    some = np.random.default_rng(0).integers(0, len(values[0]), (2, _TRIED))
    tried = tuple(some)

    def offset(first: int, second: int, shift: int, chosen: tuple[Array, ...] | None) -> int | None:
        sums = values[0][:, None] * first + values[1][None, :] * second
        whole, up, down = expected, rises, falls
        if chosen is not None:
            sums = values[0][chosen[0]] * first + values[1][chosen[1]] * second
            whole, up, down = (array[chosen] for array in (expected, rises, falls))
        least = ((whole << shift) - sums)[up].max(initial=-(2**40))
        most = (((whole + 1) << shift) - 1 - sums)[down].min(initial=2**40)
        return int(least + most) >> 1 if least <= most else None

    for shift in range(20):
        near = [round(slope * 2.0**shift) for slope in slopes]
        if max(map(abs, near)) >= 2**22:
            return None
        for first in range(near[0] - 2, near[0] + 3):
            for second in range(near[1] - 2, near[1] + 3):
                if offset(first, second, shift, tried) is None:
                    continue
                found = offset(first, second, shift, None)
                if found is not None and abs(found) < 2**30:
                    return first, second, found, shift
    return None
