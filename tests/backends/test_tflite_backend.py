"""What only some graphs have: odd paddings, outputs that nothing computes, weights left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ir_nets import Builder, constant, pixels

from edgegolf.backends import tflite
from edgegolf.errors import EdgegolfError
from edgegolf.ir import Graph, Tensor, ops
from edgegolf.ir.interpreter import run
from edgegolf.ir.lowering import quantize
from edgegolf.passes.dead_pixels import eliminate_dead_pixels
from edgegolf.passes.fusion import fuse_activations
from edgegolf.quantize.calibration import Scheme, calibrate, ranges, weight_scales
from edgegolf.quantize.quantization import Quantization, quantized, with_decoded_weights
from edgegolf.runtimes import installed_runtimes, open_session

SCHEME = Scheme("requantize", "own", "channel")


def in_int8(graph: Graph, arrays: list[np.ndarray]) -> Graph:
    fused = fuse_activations(graph)
    return quantized(fused, calibrate(fused, ranges(fused, arrays), SCHEME))


def agree(graph: Graph, arrays: list[np.ndarray], path: Path) -> None:
    """The file gives what the graph does in every runtime that is here."""
    path.write_bytes(tflite.write(graph))
    for runtime in installed_runtimes(path):
        with open_session(path, runtime) as session:
            runs = [session.run([a[i : i + 1] for a in arrays]) for i in range(len(arrays[0]))]
        for found, expected in zip(zip(*runs, strict=True), run(graph, arrays), strict=True):
            if expected.dtype == np.float32:
                np.testing.assert_allclose(np.concatenate(found), expected, 1e-5, 1e-5)
            else:
                np.testing.assert_array_equal(np.concatenate(found), expected)


def pooled(kind: type[ops.MaxPool2D | ops.AveragePool2D]) -> Graph:
    """As torch's `MaxPool2d(3, 2, 1)`, of negative numbers only."""
    build = Builder(8, 9, 2)
    hidden = build.convolve(build.source, constant(-np.ones((3, 1, 1, 2))), constant(-np.ones(3)))
    return build.graph(build.pool(kind, hidden, (3, 3), (2, 2), ((1, 1), (1, 0))))


def test_padding_of_pools_never_counts(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    for kind in (ops.MaxPool2D, ops.AveragePool2D):
        graph = pooled(kind)
        arrays = [pixels(graph, 5)]
        assert run(graph, arrays)[0].max() < -0.5
        agree(graph, arrays, path)
    graph = in_int8(pooled(ops.MaxPool2D), arrays)
    agree(graph, [quantize(arrays[0], graph.inputs[0])], path)
    with pytest.raises(EdgegolfError, match="average over int8"):
        tflite.write(in_int8(pooled(ops.AveragePool2D), arrays))


def odd_ends() -> Graph:
    """Two inputs, one of them unused; outputs: a result twice, a constant, and an input."""
    build = Builder(4, 4, 2)
    hidden = build.relu(build.convolve(build.source, build.weight(3, 1, 1, 2)))
    inputs = (replace(build.source, name="left"), Tensor((1, 3), name="right"))
    graph = build.graph(hidden, hidden, constant(np.ones((1, 2))), build.source)
    first, *others = graph.nodes
    first = replace(first, inputs=(inputs[0], *first.inputs[1:]))
    return Graph(inputs, (*graph.outputs[:3], inputs[0]), (first, *others))


def test_outputs_may_be_constants_or_inputs(tmp_path: Path) -> None:
    graph = odd_ends()
    random = np.random.default_rng(0)
    arrays = [random.random((3, *t.shape[1:])).astype(np.float32) for t in graph.inputs]
    agree(eliminate_dead_pixels(graph).graph, arrays, tmp_path / "float.tflite")
    integers = in_int8(graph, arrays)
    stored = [quantize(a, t) for a, t in zip(arrays, integers.inputs, strict=True)]
    agree(eliminate_dead_pixels(integers).graph, stored, tmp_path / "int8.tflite")


def test_a_dense_layer_without_bias_stores_none(tmp_path: Path) -> None:
    build = Builder(12)
    graph = build.graph(build.dense(build.source, build.weight(5, 12)))
    arrays = [np.random.default_rng(0).random((4, 12)).astype(np.float32)]
    agree(graph, arrays, tmp_path / "float.tflite")
    whole = in_int8(graph, arrays)
    assert len(whole.nodes[0].inputs) == 2
    agree(whole, [quantize(arrays[0], whole.inputs[0])], tmp_path / "int8.tflite")


def tables() -> Graph:
    """A table that is looked up in, then matrices that are no layers', on both sides."""
    build = Builder(3)
    places = replace(build.source, dtype="int32")
    hidden = build.apply(ops.Gather(), build.weight(20, 6), places)
    hidden = build.apply(ops.BatchMatMul(), hidden, build.weight(6, 4))
    hidden = build.apply(ops.BatchMatMul(False, True), build.weight(2, 4), hidden)
    image = build.reshape(hidden, 2, 3, 1)
    image = build.apply(ops.TransposeConv2D((2, 2)), image, build.weight(4, 3, 3, 1), None)
    graph = build.graph(build.reshape(image, image.elements))
    return Graph((places,), graph.outputs, graph.nodes)


def test_tables_and_factors_are_stored_in_int8(tmp_path: Path) -> None:
    graph = tables()
    layer = graph.nodes[4].filter
    assert set(weight_scales(graph, SCHEME)) == {layer}
    decoded = with_decoded_weights(graph, Quantization({}, weight_scales(graph, SCHEME)))
    stored = [n.source for n in decoded.nodes if isinstance(n.op, ops.Dequantize)]
    assert sorted(t.elements for t in stored) == [8, 24, 36, 120]
    places = np.random.default_rng(0).integers(0, 20, (5, 3)).astype(np.int32)
    agree(decoded, [places], tmp_path / "net.tflite")
    np.testing.assert_allclose(run(decoded, [places])[0], run(graph, [places])[0], atol=0.05)
