from __future__ import annotations

import numpy as np
import pytest
from ir_nets import Builder, constant

from edgegolf.export.pixels import scales_its_input
from edgegolf.ir import Graph, QuantParams, Tensor, ops

IMAGENET_MEAN, IMAGENET_DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def net(*steps):
    """Operators with one constant each, on [8, 8, 3], and a convolution."""
    b = Builder(8, 8, 3)
    tensor = b.source
    for op, *values in steps:
        tensor = b.apply(op, tensor, *(constant(np.asarray(value)) for value in values))
    output = b.convolve(tensor, b.weight(4, 3, 3, 3))
    return Graph((b.source,), (output,), tuple(b.nodes))


SCALED = {
    "rescaling": [(ops.Mul(), 1 / 255)],
    "both signs": [(ops.Mul(), 1 / 127.5), (ops.Add(), -1.0)],
    "mean first": [(ops.Sub(), 127.5), (ops.Mul(), 1 / 127.5)],
    "ImageNet": [(ops.Mul(), 1 / 255), (ops.Sub(), IMAGENET_MEAN),
                 (ops.Mul(), 1 / IMAGENET_DEVIATION)],
    "means only": [(ops.Sub(), [103.939, 116.779, 123.68])],
    "normalization": [(ops.DepthwiseConv2D(), np.full((1, 1, 1, 3), 0.015), np.full(3, -1.8))],
    "inverted": [(ops.Mul(), -1 / 255), (ops.Add(), 1.0)],
}  # fmt: skip
UNSCALED = {
    "nothing": [],
    "both signs": [(ops.Mul(), 2.0), (ops.Sub(), 1.0)],
    "ImageNet": [(ops.Sub(), IMAGENET_MEAN), (ops.Mul(), 1 / IMAGENET_DEVIATION)],
    "normalization": [(ops.DepthwiseConv2D(), np.full((1, 1, 1, 3), 1.7), np.full(3, -0.4))],
    "to pixels": [(ops.Mul(), 255.0)],
    "zero": [(ops.Mul(), 0.0)],
    "a filter": [(ops.DepthwiseConv2D(), np.full((1, 3, 3, 3), 0.01))],
}


@pytest.mark.parametrize("steps", SCALED.values(), ids=SCALED)
def test_a_net_that_scales_is_found(steps):
    graph = net(*steps)
    assert scales_its_input(graph, graph.inputs[0])


@pytest.mark.parametrize("steps", UNSCALED.values(), ids=UNSCALED)
def test_a_net_of_small_numbers_is_none(steps):
    graph = net(*steps)
    assert not scales_its_input(graph, graph.inputs[0])


@pytest.mark.parametrize(("scale", "expected"), [(1.0, True), (1 / 255, False), (2 / 255, False)])
def test_an_integer_input_tells_by_its_scale(scale, expected):
    source = Tensor((1, 8), "int8", QuantParams((scale,), (-128,)))
    assert scales_its_input(Graph((source,), (source,), ()), source) == expected
