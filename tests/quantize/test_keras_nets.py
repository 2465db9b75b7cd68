"""Nets as people build them in Keras, through the whole compiler, against LiteRT."""

from __future__ import annotations

from pathlib import Path

import keras_nets
import numpy as np
import pytest

from edgegolf.backends import tflite
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph
from edgegolf.ir.interpreter import run
from edgegolf.ir.lowering import quantize
from edgegolf.passes.fusion import fuse_activations
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.quantization import quantized
from edgegolf.runtimes import open_session

pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

pytestmark = pytest.mark.long

SCHEME = Scheme("requantize", "own", "channel")


def litert(path: Path, arrays: list[np.ndarray]) -> list[np.ndarray]:
    with open_session(path, "litert-reference") as session:
        runs = [session.run([a[i : i + 1] for a in arrays]) for i in range(len(arrays[0]))]
    return [np.concatenate(outputs) for outputs in zip(*runs, strict=True)]


def stored(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Inputs as a quantized graph takes them."""
    return [
        array if tensor.quant is None else quantize(array, tensor)
        for tensor, array in zip(graph.inputs, arrays, strict=True)
    ]


def decibels(graph: Graph, expected: list[np.ndarray], found: list[np.ndarray]) -> float:
    """Of the signal over the error, of the worst output that is real."""
    ratios = []
    for tensor, reals, numbers in zip(graph.outputs, expected, found, strict=True):
        if tensor.quant is not None:
            again = (numbers.astype(np.float64) - tensor.zero_point) * float(tensor.scale)
            ratios.append(np.square(reals).sum() / np.square(reals - again).sum())
    return float(10 * np.log10(min(ratios)))


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("attention", 20), ("efficientnet", 30), ("embedding", 30), ("lstm", 20),
        ("lstm_return_sequences", 20), ("masked_sequences", 20), ("numeric", 12), ("prelu", 15),
        ("siamese", 20), ("transposed1d", 25), ("unet", 30),
    ],
)  # fmt: skip
def test_float_net_is_read_written_and_quantized(tmp_path: Path, name: str, least: float) -> None:
    model = keras_nets.build(name)
    path = tmp_path / "net.tflite"
    path.write_bytes(keras_nets.float_tflite(model))
    graph = read_graph(path)
    assert tflite.unsupported(graph) == ()
    arrays = keras_nets.samples(model, 6, seed=2)
    expected = litert(path, arrays)
    path.write_bytes(tflite.write(graph))
    for ours, written, theirs in zip(
        run(graph, arrays), litert(path, arrays), expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(written, theirs, rtol=1e-4, atol=1e-5)

    fused = fuse_activations(graph)
    whole = quantized(fused, calibrate(fused, ranges(fused, keras_nets.samples(model, 48)), SCHEME))
    path.write_bytes(tflite.write(whole))
    inputs = stored(whole, arrays)
    integers = litert(path, inputs)
    for ours, again, theirs in zip(
        run(whole, inputs), run(read_graph(path), inputs), integers, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(again, theirs)
    assert decibels(whole, expected, integers) > least


@pytest.mark.parametrize("name", ["attention", "embedding", "lstm_unroll", "merging", "resizing"])
def test_int8_file_of_the_converter_is_computed_bit_for_bit(tmp_path: Path, name: str) -> None:
    model = keras_nets.build(name)
    path = tmp_path / "net.tflite"
    path.write_bytes(keras_nets.int8_tflite(model, keras_nets.samples(model)))
    graph = read_graph(path)
    inputs = stored(graph, keras_nets.samples(model, 6, seed=2))
    for ours, theirs in zip(run(graph, inputs), litert(path, inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)
