"""The cheapest integer arithmetic that equals a `Requant`, proved for every sum there can be.

What a kernel stores as a function of its sum rises in at most 255 steps. A `Staircase` is
`(sum · multiplier + offset) >> shift`, kept between two numbers, which never decreases either: if
both are equal on both sides of every step, and at both ends, they are equal everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edgegolf.ir.tensor import Array

#: What is stored for each sum, int64 to int64, never decreasing.
Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Stored:
    """What is stored for each sum that a channel may have."""

    function: Function  # of the sum
    reach: tuple[int, int]  # the smallest and the largest sum, at least 1 apart
    slope: float  # of the function where it rises, roughly


_MULTIPLIER_BITS = 30
_PROBES = 24  # multipliers that are looked at together
_UNBOUNDED = 2**61


@dataclass(frozen=True)
class Staircase:
    """(sum · multiplier + offset, plus `negative` if the sum is below 0) >> shift."""

    multiplier: tuple[int, ...]  # one, or one for each channel
    offset: int  # what is added before the shift; it rounds, and holds the zero point
    negative: int  # what is added to it where the sum is negative, for ties that go away from 0
    shift: int  # to the right, rounding down
    first: int  # A sum below which nothing changes
    last: int  # A sum above which nothing changes
    low: int  # the smallest result
    high: int  # the largest one
    # Whether results of sums between `first` and `last` must yet be kept between both.
    clamps: bool = True

    def __call__(self, sums: Array, channel: int = 0) -> Array:
        """What C computes, int64."""
        factor = self.multiplier[channel if len(self.multiplier) > 1 else 0]
        raw = (sums * factor + self.offset + (sums < 0) * self.negative) >> self.shift
        return np.clip(raw, self.low, self.high)


@dataclass(frozen=True)
class _Steps:
    """Where what is stored rises: to `values` at `sums`."""

    stored: Stored
    values: Array
    sums: Array

    @classmethod
    def of(cls, stored: Stored) -> _Steps:
        function, reach = stored.function, stored.reach
        ends = function(np.array(reach))
        values = np.arange(ends[0] + 1, ends[1] + 1)
        low, high = np.full(len(values), reach[0]), np.full(len(values), reach[1])
        while (high - low > 1).any():  # all steps at once; each lies in (low, high]
            middle = (low + high) // 2
            reached = function(middle) >= values
            high, low = np.where(reached, middle, high), np.where(reached, low, middle)
        return cls(stored, values, high)

    def offsets(self, multipliers: Array, shift: int, chosen: Array) -> tuple[Array, Array]:
        """For each multiplier the smallest and the largest offset that is right at some steps.

        Args:
            multipliers: Of the sum.
            shift: To the right.
            chosen: `[2, steps]`: whether the sum on a step counts, and the one before it.
        """
        least = (self.values << shift) - multipliers[:, None] * self.sums
        most = least + multipliers[:, None] - 1
        return (
            least[:, chosen[0]].max(axis=1, initial=-_UNBOUNDED),
            most[:, chosen[1]].min(axis=1, initial=_UNBOUNDED),
        )


def staircase(channels: list[Stored], limits: tuple[int, int]) -> Staircase | None:
    """The one with the smallest shift that equals what is stored for all sums that there can be.

    Args:
        channels: One for all channels, or one for each.
        limits: Between which all results lie.

    Returns:
        None if there is none: channels whose scales differ have one offset only if they are lucky.
    """
    steps = [_Steps.of(each) for each in channels]
    rising = [each for each in steps if len(each.values)]
    if not rising:
        values = {int(each.function(np.array(each.reach))[0]) for each in channels}
        return Staircase((0,), values.pop(), 0, 0, 0, 0, *limits) if len(values) == 1 else None
    # The finest, with multipliers of 31 bits, is as good as any where channels differ.
    finest = _MULTIPLIER_BITS - math.frexp(max(each.stored.slope for each in rising))[1]
    shifts = range(finest + 1) if len(steps) < 4 else [finest]
    for shift in shifts:
        for found in _with_shift(rising, shift):
            multipliers, offset, negative = found
            by_steps = iter(multipliers)
            each = tuple(next(by_steps) if len(s.values) else multipliers[0] for s in steps)
            first = min(min(int(s.sums[0]) for s in rising) - 1, -1)
            last = max(max(int(s.sums[-1]) for s in rising), 0)
            result = Staircase(each, offset, negative, shift, first, last, *limits)
            if all(_equal(result, s, channel) for channel, s in enumerate(steps)):
                return result
    return None


def rounded(channel: Stored, zero_point: int) -> tuple[float, int] | None:
    """Factor f and extra k with which f · (sum + sign(sum) · k) in 32-bit floats is as stored.

    It is rounded to the nearest integer, the zero point is added, and both ends are kept. It never
    decreases, so that it is proved at steps and ends as a `Staircase` is.
    """
    steps = _Steps.of(channel)
    low, high = (int(n) for n in channel.function(np.array(channel.reach)))
    ends = [n for n in (channel.reach[0], -1, 0, 1, channel.reach[1])]
    sums = np.concatenate([steps.sums, steps.sums - 1, ends])
    expected = channel.function(sums)
    edges = steps.values - zero_point - 0.5
    for extra in range(4):
        after, before = (n + np.sign(n) * extra for n in (steps.sums, steps.sums - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            bounds = edges / after, edges / before
        rising = np.concatenate([bounds[0][after > 0], bounds[1][before < 0]])
        falling = np.concatenate([bounds[1][before > 0], bounds[0][after < 0]])
        least, most = rising.max(initial=2.0**-30), falling.min(initial=0.99)
        factor = np.float32((least + most) / 2)
        reals = (sums + np.sign(sums) * extra).astype(np.float32) * factor
        found = np.clip(np.rint(reals).astype(np.int64) + zero_point, low, high)
        if least < most and factor < 1 and (found == expected).all():
            return float(factor), extra
    return None


def _with_shift(steps: list[_Steps], shift: int) -> Iterator[tuple[list[int], int, int]]:
    """Multipliers, the offset and what negative sums add to it: without such a difference first."""
    negative = [each.sums < 0 for each in steps]
    before_negative = [each.sums - 1 < 0 for each in steps]
    everything = [np.ones((2, len(each.values)), bool) for each in steps]
    below = [np.array(pair) for pair in zip(negative, before_negative, strict=True)]
    above = [~each for each in below]
    for parts in ([everything], [above, below]):
        multipliers: list[int] = []
        ranges = [(-_UNBOUNDED, _UNBOUNDED)] * len(parts)
        for i, each in enumerate(steps):
            chosen = [part[i] for part in parts]
            multiplier, own = _multiplier(each, shift, chosen, 0.0 if len(steps) > 3 else 0.01)
            multipliers.append(multiplier)
            ranges = [
                (max(low, least), min(high, most))
                for (low, high), (least, most) in zip(ranges, own, strict=True)
            ]
            if any(low > high for low, high in ranges):
                break
        else:
            offsets = [_roundest(*each) for each in ranges]
            yield multipliers, offsets[0], offsets[-1] - offsets[0]


def _multiplier(
    steps: _Steps, shift: int, parts: list[Array], around: float
) -> tuple[int, list[tuple[int, int]]]:
    """The multiplier that leaves offsets the most room, and their ranges for each part.

    Args:
        steps: Where what is stored rises.
        shift: To the right.
        parts: The sums for which one offset must do.
        around: How far from the slope to look for it, as a part of it.
    """
    guess = round(steps.stored.slope * 2.0**shift)
    low, high = max(1, int(guess * (1 - around)) - 2), int(guess * (1 + around)) + 3
    while True:  # the room is a concave function of the multiplier
        stride = -(-(high - low) // _PROBES)
        probes = np.arange(low, high + 1, max(1, stride))
        ranges = [steps.offsets(probes, shift, part) for part in parts]
        room = np.minimum.reduce([most - least for least, most in ranges])
        best = int(room.argmax())
        if stride <= 1:
            return int(probes[best]), [(int(a[best]), int(b[best])) for a, b in ranges]
        low, high = max(low, int(probes[best]) - stride), min(high, int(probes[best]) + stride)


def _roundest(low: int, high: int) -> int:
    """The number between two with the most zeros at its end."""
    low, high = max(low, -_UNBOUNDED // 2), min(high, _UNBOUNDED // 2)
    bits = 0
    while (high >> (bits + 1)) << (bits + 1) >= low and bits < 62:
        bits += 1
    return (high >> bits) << bits


def _equal(found: Staircase, steps: _Steps, channel: int) -> bool:
    """Whether both agree at all steps and ends: they do between, where neither changes.

    Where `negative` is not 0 the formula may fall between -1 and 0, so that is an end, too.
    """
    low, high = steps.stored.reach
    ends = [n for n in (low, -1, 0, high) if low <= n <= high]
    sums = np.concatenate([steps.sums, steps.sums - 1, ends])
    return bool((found(sums, channel) == steps.stored.function(sums)).all())
