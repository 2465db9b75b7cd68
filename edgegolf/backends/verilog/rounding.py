"""Exact arithmetic without wide multipliers: what a kernel computes, in the fewest bits.

A kernel's way from an accumulator to an int8 is a staircase of at most 255 steps. A line with
short coefficients is exact if it passes between every step's two sides, which is checked for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.fixed_point import Requant
from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.interpreter import run
from edgegolf.ir.ops import Op, Sub
from edgegolf.ir.tensor import Array, QuantParams, Tensor

LONGEST_SHIFT = 44
#: Bits by which a multiplier may be longer where that spares the second rounding.
WORTH = 3


@dataclass(frozen=True)
class Scaling:
    """An accumulator a becomes (a · multiplier + (negative if a < 0 else positive)) >> shift."""

    multiplier: int
    positive: int
    negative: int
    shift: int

    def __call__(self, numbers: Array) -> Array:
        """What it makes of accumulators, not yet limited to a range."""
        rounding = np.where(numbers < 0, self.negative, self.positive)
        result: Array = (numbers * self.multiplier + rounding) >> self.shift
        return result

    def shifted(self, shift: int) -> Scaling:
        """The same function with a larger shift."""
        more = shift - self.shift
        return Scaling(self.multiplier << more, self.positive << more, self.negative << more, shift)


@dataclass(frozen=True)
class Addition:
    """Integers x and y become (u + (negative if u < 0 else positive)) >> shift.

    The sum is u = first · x + second · y + constant.
    """

    first: int
    second: int
    constant: int
    positive: int
    negative: int
    shift: int

    @property
    def saturates(self) -> bool:
        """Whether it is the plain sum."""
        return self == Addition(1, 1, 0, 0, 0, 0)


IDENTITY = Scaling(1, 0, 0, 0)


@lru_cache(maxsize=4096)
def requantization(requant: Requant, zero_point: int, low: int, high: int, reach: int) -> Scaling:
    """The scaling that equals a requantization for all accumulators up to ±`reach`."""
    return scaling(requant, zero_point, low, high, reach)


def scaling(
    function: Callable[[Array], Array], zero_point: int, low: int, high: int, reach: int
) -> Scaling:
    """The shortest scaling that equals a monotone function where its result is in a range.

    Args:
        function: From accumulators to integers less the zero point.
        zero_point: Added to the result.
        low: The smallest result that is told from smaller ones.
        high: The largest one.
        reach: The largest absolute accumulator.

    Raises:
        EdgegolfError: There is none with a shift of up to `LONGEST_SHIFT`.
    """
    ends = function(np.array([-reach, reach])) + zero_point
    levels = np.arange(max(low, int(ends[0])) + 1, min(high, int(ends[1])) + 1)
    if not levels.size:
        return Scaling(0, *(int(np.clip(ends[0], low, high)),) * 2, 0)
    above = _thresholds(lambda numbers: function(numbers) + zero_point, levels, reach)
    stairs = [_Stairs(levels, above, reach, split) for split in (False, True)]
    found: Scaling | None = None
    for shift in range(LONGEST_SHIFT + 1):
        if found is not None and shift > found.shift + WORTH:
            break
        for each in stairs if found is None else stairs[:1]:
            line = each.line(shift)
            if line is not None and line.positive == line.negative:
                return line
            found = found or line
    if found is None:
        raise EdgegolfError("a rounding of it has no exact short form")
    return found


def _thresholds(function: Callable[[Array], Array], levels: Array, reach: int) -> Array:
    """The smallest accumulator that reaches each level."""
    low, high = np.full(len(levels), -reach), np.full(len(levels), reach)
    while (low < high).any():
        middle = (low + high) >> 1
        reached = function(middle) >= levels
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
    return low


class _Stairs:
    """The steps of a function, between which a line must pass.

    Args:
        levels: What the steps lead to, each one more than that before.
        above: The first accumulator of each.
        reach: The largest absolute accumulator.
        split: Whether negative accumulators have a rounding of their own.
    """

    def __init__(self, levels: Array, above: Array, reach: int, split: bool) -> None:
        self.levels, self.above, self.below = levels, above, above - 1
        self.reach = reach
        everywhere = np.ones(len(levels), bool)
        self.parts = [(everywhere, everywhere)]
        if split:
            self.parts = [(above >= 0, above >= 1), (above < 0, above < 1)]
        self.pairs = []
        for upper, lower in self.parts:
            distance = self.above[upper][:, None] - self.below[lower][None, :]
            rise = levels[upper][:, None] - levels[lower][None, :]
            self.pairs += [
                (sign, rise[chosen], distance[chosen])
                for sign, chosen in ((1, distance > 0), (-1, distance < 0))
                if chosen.any()
            ]
        # The multiplier over 2^shift lies between these slopes.
        slopes = [(sign, rise / distance) for sign, rise, distance in self.pairs]
        self.least = max((float(each.max()) for sign, each in slopes if sign > 0), default=0.0)
        self.most = min((float(each.min()) for sign, each in slopes if sign < 0), default=1e9)

    def line(self, shift: int) -> Scaling | None:
        """A scaling with that shift, proved at both sides of every step."""
        unit = 1 << shift
        if math.floor(self.most * unit * (1 + 1e-12)) < self.least * unit * (1 - 1e-12):
            return None
        least, most = 1, 1 << 48
        for sign, rise, distance in self.pairs:
            needed = (rise.astype(np.int64) << shift) + 1
            if sign > 0:
                least = max(least, int((-(-needed // distance)).max()))
            else:
                most = min(most, int((-needed // -distance).min()))
        if least > most:
            return None
        multiplier, goal = _roundest(least, most), self.levels.astype(np.int64) << shift
        roundings = []
        for upper, lower in self.parts:
            at_least = (goal - multiplier * self.above)[upper]
            at_most = (goal - 1 - multiplier * self.below)[lower]
            if at_least.size or at_most.size:
                low = int(at_least.max() if at_least.size else at_most.min())
                roundings.append(_roundest(low, int(at_most.min() if at_most.size else low)))
        found = Scaling(multiplier, roundings[0], roundings[-1], shift)
        # Between these points it is monotone.
        points = np.concatenate([self.above, self.below, [-self.reach, -1, 0, self.reach]])
        lowest = self.levels[0] - 1
        wanted = np.searchsorted(self.above, points, "right") + lowest
        given = np.clip(found(points), lowest, self.levels[-1])
        return found if (given == wanted).all() else None


def _roundest(low: int, high: int) -> int:
    """The number between two bounds that ends in the most zero bits."""
    for bits in range(62, 0, -1):
        rounded = -(-low >> bits) << bits
        if rounded <= high:
            return rounded
    return low


def table(node: Node) -> tuple[int, ...]:
    """What a node makes of each int8 from -128 on, where that is all that it computes with."""
    (source,) = set(node.computed)
    shape = (256, *(1,) * (len(source.shape) - 1))
    numbers, result = (Tensor(shape, t.dtype, t.quant) for t in (source, node.output))
    inputs = tuple(numbers if each is source else each for each in node.inputs)
    return tuple(_for_all(Node(node.op, inputs, (result,)), (numbers,)).ravel().tolist())


def addition(node: Node) -> Addition:
    """The sum (or difference) of two int8 tensors, proved on all 65,536 pairs.

    Raises:
        EdgegolfError: It has no exact short form.
    """
    first, second = (tensor.quant for tensor in node.inputs if tensor is not None)
    if first is None or second is None or node.output.quant is None:
        raise EdgegolfError(f"{type(node.op).__name__} of tensors without scales")
    return _addition(node.op, first, second, node.output.quant)


@lru_cache(maxsize=1024)
def _addition(op: Op, one: QuantParams, other: QuantParams, result: QuantParams) -> Addition:
    first, second = Tensor((256, 1), "int8", one), Tensor((1, 256), "int8", other)
    node = Node(op, (first, second), (Tensor((256, 256), "int8", result),))
    wanted = _for_all(node, (first, second)).astype(np.int64)
    limits = int(wanted.min()), int(wanted.max())
    numbers = np.arange(-128, 128)
    sign = -1 if isinstance(op, Sub) else 1
    for shift in range(26):
        near = [int(quant.scale[0] / result.scale[0] * 2**shift) for quant in (one, other)]
        for more, as_well in product((0, 1), (0, 1)):
            factors = near[0] + more, sign * (near[1] + as_well)
            constant = -factors[0] * one.zero_point[0] - factors[1] * other.zero_point[0]
            sums = factors[0] * numbers[:, None] + factors[1] * numbers + constant
            # Most are refused by few pairs.
            few = _roundings(sums[::8, ::8], wanted[::8, ::8], shift, limits)
            found = _roundings(sums, wanted, shift, limits) if few else None
            if found and found[0] == found[1]:  # the constant is part of it
                return Addition(*factors, constant + found[0], 0, 0, shift)
            if found:
                return Addition(*factors, constant, *found, shift)
    raise EdgegolfError("an addition of it has no exact short form")


def _roundings(
    sums: Array, wanted: Array, shift: int, limits: tuple[int, int]
) -> tuple[int, int] | None:
    """What sums from 0 on and below are rounded by; None where no numbers do."""
    least = np.where(wanted == limits[0], -(1 << 40), (wanted << shift) - sums)
    most = np.where(wanted == limits[1], 1 << 40, (wanted << shift) - sums + (1 << shift) - 1)
    low, high = int(least.max()), int(most.min())
    if low <= high:
        return (_roundest(low, high),) * 2
    found = []
    for part in (sums >= 0, sums < 0):
        low = int(least[part].max(initial=-(1 << 40)))
        high = int(most[part].min(initial=1 << 40))
        if low > high:
            return None
        found.append(_roundest(low, high))
    return found[0], found[1]


def _for_all(node: Node, inputs: tuple[Tensor, ...]) -> Array:
    """What a node makes of all int8 numbers, by the interpreter."""
    numbers = np.arange(-128, 128, dtype=np.int8)
    images = [numbers.reshape(tensor.shape) for tensor in inputs]
    return run(Graph(inputs, node.outputs, (node,)), images)[0]
