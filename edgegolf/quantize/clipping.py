"""Ranges that clip a few values so that all others are rounded less coarsely.

Each method is a function of a histogram, which one pass over the samples collects in bounded
memory: its bins are as wide as a power of two, and twice as wide whenever a value lies outside.

Sources: mean square error, Banner et al. 2019, https://arxiv.org/abs/1810.05723 (ACIQ); entropy,
Migacz 2017, "8-bit inference with TensorRT", GPU Technology Conference S7310; percentile, Wu et al.
2020, https://arxiv.org/abs/2004.09602.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil, inf, log2
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgegolf.ir.graph import Graph
from edgegolf.ir.interpreter import run
from edgegolf.ir.tensor import Array, Tensor

Range: TypeAlias = tuple[float, float]

BINS = 2048  # on each side of 0
LEVELS = 256
PERCENTILE = 0.9999  # of the values are below the highest one, as many above the lowest

# What the ends of a range are multiplied by, to try: down to 1/256 in steps of 4.2 %.
_SHARES = 2.0 ** (-np.arange(129) / 16)


@dataclass(frozen=True)
class Histogram:
    """How often a tensor has which values."""

    width: float = 0.0  # of a bin: a power of two, 0 before there are values other than 0
    # int64 [2 · BINS], of values in [i · width, (i + 1) · width) for i from −BINS on, but for those
    # that are 0, which need no rounding.
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2 * BINS, np.int64))
    low: float = 0.0  # the smallest value, at most 0
    high: float = 0.0  # the largest value, at least 0

    def adding(self, values: Array) -> Histogram:
        """With more values; those that are not finite do not count."""
        numbers = values[np.isfinite(values) & (values != 0)].astype(np.float64)
        if not numbers.size:
            return self
        low, high = min(self.low, numbers.min()), max(self.high, numbers.max())
        # One more than the largest value needs: the upper end is outside of the last bin.
        width = max(self.width, 2.0 ** ceil(log2(max(-low, high) * (1 + 1e-9) / BINS)))
        counts = self.counts
        if self.width and width > self.width:
            counts = _merged(counts, round(min(width / self.width, 2 * BINS)))
        bins = np.floor(numbers / width).astype(np.int64) + BINS
        return Histogram(
            width, counts + np.bincount(bins, minlength=2 * BINS), float(low), float(high)
        )

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return (np.arange(-BINS, BINS) + 0.5) * self.width


def _merged(counts: NDArray[np.int64], factor: int) -> NDArray[np.int64]:
    """The counts in bins that are wider by a power of two."""
    while factor > 1:
        pairs = counts.reshape(-1, 2).sum(axis=1)
        counts = np.pad(pairs, BINS // 2)
        factor //= 2
    return counts


def histograms(graph: Graph, inputs: Sequence[Array]) -> dict[Tensor, Histogram]:
    """Of every computed tensor in float32, over samples and iterations.

    Args:
        graph: In float32.
        inputs: For each input an array [n, …].
    """
    found: dict[Tensor, Histogram] = {}

    def observe(tensor: Tensor, array: Array) -> None:
        if tensor.dtype == "float32":
            found[tensor] = found.get(tensor, Histogram()).adding(array)

    run(graph, inputs, observe)
    return found


def min_max(histogram: Histogram) -> Range:
    """Nothing is clipped."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, share: float = PERCENTILE) -> Range:
    """All values but a share at either end."""
    cumulated = np.cumsum(histogram.counts)
    outside = (1 - share) * cumulated[-1]
    first = int(np.searchsorted(cumulated, outside, side="right"))
    last = int(np.searchsorted(cumulated, cumulated[-1] - outside))
    low, high = (first - BINS) * histogram.width, (last + 1 - BINS) * histogram.width
    return max(histogram.low, min(low, 0.0)), min(histogram.high, max(high, 0.0))


def mean_square(histogram: Histogram, levels: int = LEVELS) -> Range:
    """What gives the least mean square of clipping and of rounding, step² / 12, together."""
    lows, highs = histogram.low * _SHARES, histogram.high * _SHARES
    centres, counts = histogram.centres, histogram.counts
    clipped = [
        np.array([counts @ np.square(np.maximum(side * (centres - end), 0)) for end in ends])
        for side, ends in ((-1, lows), (1, highs))
    ]
    steps = (highs[None, :] - lows[:, None]) / (levels - 1)
    noise = clipped[0][:, None] + clipped[1][None, :] + counts.sum() * np.square(steps) / 12
    row, column = np.unravel_index(np.argmin(noise), noise.shape)
    return float(lows[row]), float(highs[column])


def entropy(histogram: Histogram, levels: int = LEVELS) -> Range:
    """What keeps the distribution of the values nearest to itself, by relative entropy.

    Both ends are clipped by the same share. What is clipped counts at the ends.
    """
    best, least = min_max(histogram), inf
    for share in _SHARES if histogram.width else ():
        low, high = histogram.low * share, histogram.high * share
        first, last = int(low // histogram.width), ceil(high / histogram.width)
        if last - first < levels:
            break
        inside = histogram.counts[first + BINS : last + BINS].astype(np.float64)
        exact = inside.copy()
        exact[0] += histogram.counts[: first + BINS].sum()
        exact[-1] += histogram.counts[last + BINS :].sum()
        divergence = _divergence(exact, _rounded(inside, exact > 0, levels))
        if divergence < least:
            best, least = (low, high), divergence
    return best


def _rounded(
    counts: NDArray[np.float64], seen: NDArray[np.bool_], levels: int
) -> NDArray[np.float64]:
    """A distribution in so many levels, each spread over its bins that have values."""
    level = np.arange(len(counts)) * levels // len(counts)
    share = np.bincount(level, counts) / np.maximum(np.bincount(level, seen), 1)
    result: NDArray[np.float64] = share[level] * seen
    return result


def _divergence(exact: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Kullback and Leibler's, of what is normalised here."""
    used = exact > 0
    p, q = exact[used] / exact.sum(), found[used] / max(found.sum(), 1)
    return float(p @ np.log(p / np.maximum(q, 1e-12)))


#: By name, that which clips nothing first.
METHODS: dict[str, Callable[[Histogram], Range]] = {
    "min-max": min_max,
    "percentile 99.99": percentile,
    "percentile 99.9": partial(percentile, share=0.999),
    "mean square": mean_square,
    "entropy": entropy,
}
