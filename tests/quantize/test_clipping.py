"""Ranges that clip, against the optima known in closed form, and the search among them."""

from __future__ import annotations

from math import exp, log, pi, sqrt

import numpy as np
import pytest
from ir_nets import Builder, constant

from edgegolf.ir import Graph
from edgegolf.ir.interpreter import run
from edgegolf.ir.ops import HardSwish
from edgegolf.quantize.calibration import Scheme, alternatives, calibrate, ranges
from edgegolf.quantize.clipping import (
    BINS,
    METHODS,
    Histogram,
    entropy,
    histograms,
    mean_square,
    min_max,
    percentile,
)
from edgegolf.quantize.quantization import Quantization, quantized
from edgegolf.quantize.scale_search import search_scales
from edgegolf.sqnr import sqnr

OWN = Scheme("requantize", "own", "channel")
random = np.random.default_rng(0)


def of_density(density, width: float = 1 / 64) -> Histogram:
    """A histogram without the chance of samples."""
    centres = (np.arange(-BINS, BINS) + 0.5) * width
    counts = np.rint([1e12 * density(x) * width for x in centres]).astype(np.int64)
    seen = centres[counts > 0]
    return Histogram(width, counts, float(seen.min()), float(seen.max()))


def laplace(x: float) -> float:
    return exp(-abs(x)) / 2


def gauss(x: float) -> float:
    return exp(-x * x / 2) / sqrt(2 * pi)


# Banner et al. 2019, section 4 and their code: the end in units of the distribution, for 2^bits
# steps. Our 2^bits levels include both ends and so make a step less, which is 2 % at 4 bits.
@pytest.mark.parametrize(
    ("density", "bits", "published"),
    [(laplace, 4, 5.03), (laplace, 8, 9.89), (gauss, 4, 2.55), (gauss, 8, 3.92)],
)
def test_mean_square_is_the_published_optimum(density, bits, published) -> None:
    low, high = mean_square(of_density(density), levels=2**bits)
    assert high == pytest.approx(published, rel=0.045)
    assert low == pytest.approx(-high, rel=0.045)


def test_mean_square_of_laplace_solves_its_equation() -> None:
    """The derivative of 2 exp(-x) + x² / (3 (levels - 1)²), clipping and rounding, is 0."""
    for levels in (8, 16, 64, 256):
        _, high = mean_square(of_density(laplace), levels)
        exact = 5.0
        for _ in range(60):
            exact = log(3 * (levels - 1) ** 2 / exact)
        assert high == pytest.approx(exact, rel=0.045)


def test_a_histogram_is_the_same_in_whatever_parts_it_is_collected() -> None:
    values = (random.laplace(size=30_000) * np.repeat([0.01, 1, 100], 10_000)).astype(np.float32)
    whole = Histogram().adding(values)
    for order in (values, values[::-1]):
        found = Histogram()
        for part in np.array_split(order, 7):
            found = found.adding(part)
        assert (found.width, found.low, found.high) == (whole.width, whole.low, whole.high)
        np.testing.assert_array_equal(found.counts, whole.counts)
    expected, _ = np.histogram(values, (np.arange(-BINS, BINS + 1)) * whole.width)
    np.testing.assert_array_equal(whole.counts, expected)


def test_a_histogram_leaves_out_zeros_and_what_is_not_finite() -> None:
    found = Histogram().adding(np.array([0, 0, 1, np.nan, np.inf, -np.inf], np.float32))
    assert found.counts.sum() == 1
    assert min_max(found) == (0.0, 1.0)


@pytest.mark.parametrize("name", METHODS)
def test_every_range_holds_zero_and_is_within_the_values(name) -> None:
    for values in ([], [0.0], [2.0], [-3.0], [1e-30, 1e30], np.maximum(random.normal(size=999), 0)):
        histogram = Histogram().adding(np.array(values, np.float32))
        low, high = METHODS[name](histogram)
        assert histogram.low <= low <= 0 <= high <= histogram.high


def test_percentile_is_that_of_all_values() -> None:
    values = random.normal(size=100_000).astype(np.float32)
    histogram = Histogram().adding(values)
    low, high = percentile(histogram, 0.999)
    expected = np.quantile(values, [0.001, 0.999])
    np.testing.assert_allclose((low, high), expected, atol=1.5 * histogram.width)


def test_entropy_clips_outliers_and_nothing_else() -> None:
    even = np.linspace(-1, 1, 400_000, dtype=np.float32)
    assert entropy(Histogram().adding(even)) == pytest.approx((-1, 1))
    tailed = np.concatenate([np.maximum(random.normal(size=400_000), 0), [40.0]])
    _, high = entropy(Histogram().adding(tailed.astype(np.float32)))
    assert 3.5 < high < 9


# ------------------------------------------------------------------------------- the search


def net_with_outliers() -> tuple[Graph, np.ndarray]:
    """Two outputs of a hard-swish, and images of which the first is far larger than the others."""
    build = Builder(16)
    hidden = build.apply(HardSwish(), build.dense(build.source, build.weight(24, 16)))
    first = build.dense(hidden, build.weight(3, 24))
    second = build.dense(hidden, build.weight(2, 24), constant(np.ones(2)))
    images = random.random((300, 16)).astype(np.float32)
    images[0] *= 30
    return Graph((build.source,), (first, second), tuple(build.nodes)), images


def judge_on(images: np.ndarray):
    def judge(graph: Graph, quantization: Quantization) -> list[np.ndarray]:
        outputs = run(quantized(graph, quantization), [quantize(images, graph, quantization)])
        return [
            dequantize(array, quantization.activations[tensor])
            for array, tensor in zip(outputs, graph.outputs, strict=True)
        ]

    return judge


def quantize(images, graph, quantization) -> np.ndarray:
    params = quantization.activations[graph.inputs[0]]
    integers = np.rint(images / np.float32(params.scale[0])) + params.zero_point[0]
    return np.clip(integers, -128, 127).astype(np.int8)


def dequantize(array, params) -> np.ndarray:
    return (array.astype(np.float32) - params.zero_point[0]) * np.float32(params.scale[0])


def test_the_search_clips_where_it_helps_on_samples_that_it_has_not_seen() -> None:
    graph, seen = net_with_outliers()
    typical = random.random((300, 16)).astype(np.float32)
    found, counts = ranges(graph, [seen]), histograms(graph, [seen])

    def noise(alternatives_of) -> list[float]:
        searched = search_scales(
            graph,
            run(graph, [typical[:150]]),
            lambda each: calibrate(each, found, OWN),
            judge_on(typical[:150]),
            alternatives=alternatives_of,
        )
        pairs = zip(run(graph, [typical[150:]]), judge_on(typical[150:])(*searched), strict=True)
        return [sqnr(*pair) for pair in pairs]

    plain = noise(lambda graph: [])
    clipped = noise(lambda graph: alternatives(graph, counts, OWN))
    assert min(np.subtract(clipped, plain)) > 2


def test_a_scale_that_helps_only_the_samples_it_is_chosen_on_is_not_taken() -> None:
    graph, seen = net_with_outliers()
    first = calibrate(graph, ranges(graph, [seen]), OWN)
    options = alternatives(graph, histograms(graph, [seen]), OWN)
    others = {p for group in options for each in group for p in each.values()}
    others -= set(first.activations.values())
    exact, plain = run(graph, [seen]), judge_on(seen)(graph, first)

    def judge(graph: Graph, quantization: Quantization) -> list[np.ndarray]:
        """Any other scale is perfect for every other sample, and wrong for those between."""
        if not others & set(quantization.activations.values()):
            return plain
        return [np.where(np.arange(len(a))[:, None] % 2, 2 * a + 1, a) for a in exact]

    _, chosen = search_scales(
        graph, exact, lambda each: first, judge, alternatives=lambda graph: options
    )
    assert others
    assert chosen.activations == first.activations
