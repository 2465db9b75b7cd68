"""Biases declare one scale where runtimes cannot tell it from the products that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ir_nets import Builder

from edgegolf.backends import tflite
from edgegolf.ir.graph import Graph
from edgegolf.ir.tensor import QuantParams
from edgegolf.quantize.quantization import Quantization, quantized
from edgegolf.runtimes import open_session

# `GetQuantizedConvolutionMultipler` of TensorFlow Lite refuses more, as a share of the output's
# scale: github.com/tensorflow/tensorflow/blob/v2.19.0/tensorflow/lite/kernels/kernel_util.cc
ALLOWED = 0.02


def three_layers(scales: tuple[float, ...]) -> Graph:
    """Layers of units 0.5 whose weights have these scales; biases of zeros."""
    net = Builder(3, 3, 2)
    last = net.source
    for _ in scales:
        last = net.convolve(last, net.weight(2, 1, 1, 2), net.weight(2, size=0.0))
    graph = Graph((net.source,), (last,), tuple(net.nodes))
    activations = {net.source: QuantParams((0.5,))}
    activations |= {node.output: QuantParams((0.5,)) for node in net.nodes}
    weights = {n.filter: QuantParams((s,)) for n, s in zip(net.nodes, scales, strict=True)}
    return quantized(graph, Quantization(activations, weights))


@pytest.mark.parametrize("scales", [(0.1, 0.104, 0.2), (0.1, 0.13, 0.16), (1e-3, 0.1, 10.0)])
def test_no_scale_is_further_from_its_product_than_runtimes_allow(
    scales: tuple[float, ...], tmp_path: Path
) -> None:
    graph = three_layers(scales)
    for node in graph.nodes:
        assert node.bias is not None
        product = node.source.scale * node.filter.scale
        assert abs(node.bias.scale - product) <= ALLOWED * node.output.scale
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.write(graph))
    with open_session(path, "litert") as session:
        session.run([np.zeros((1, 3, 3, 2), np.int8)])


def test_scales_that_make_no_difference_are_one() -> None:
    first, second, third = (node.bias for node in three_layers((0.1, 0.104, 0.2)).nodes)
    assert first is second
    assert first is not third
