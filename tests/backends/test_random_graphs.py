"""What back ends write computes what the interpreter says, for graphs drawn at random."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ir_nets import pixels
from random_graphs import STEPS, float_graphs

from edgegolf.backends import onnx, tflite
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph, QuantParams
from edgegolf.ir.interpreter import run
from edgegolf.passes.fusion import fuse_activations
from edgegolf.quantize.calibration import Scheme, calibrate, ranges, weight_scales
from edgegolf.quantize.quantization import Quantization, quantized, with_decoded_weights
from edgegolf.runtimes import open_session

SCHEMES = st.builds(
    Scheme,
    st.sampled_from(["leaky", "requantize"]),
    st.sampled_from(["own", "shared", "one"]),
    st.sampled_from(["channel", "tensor", "one"]),
)
checked = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def in_integers(graph: Graph, scheme: Scheme, coarser: float = 1.0) -> Graph:
    fused = fuse_activations(graph)
    found = calibrate(fused, ranges(fused, [pixels(graph, 20)]), scheme)
    weights = {
        weight: QuantParams(tuple(s * coarser for s in p.scale), p.zero_point, p.axis)
        for weight, p in found.weights.items()
    }
    return quantized(fused, Quantization(found.activations, weights))


def integers(graph: Graph, count: int = 6) -> np.ndarray:
    """Random inputs, among them the extreme ones."""
    shape = (count, *graph.inputs[0].shape[1:])
    array = np.random.default_rng(3).integers(-128, 128, shape).astype(np.int8)
    array[0], array[-1] = -128, 127
    return array


def in_runtime(data: bytes, suffix: str, images: np.ndarray, runtime: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"graph{suffix}"
        path.write_bytes(data)
        with open_session(path, runtime) as session:
            shape = session.inputs[0].shape
            return np.concatenate([session.run([each.reshape(shape)])[0] for each in images])


def read_back(data: bytes) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.tflite"
        path.write_bytes(data)
        return read_graph(path)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale)


@checked
@given(float_graphs(), SCHEMES)
def test_int8_tflite_is_bit_identical_to_the_graph(graph: Graph, scheme: Scheme) -> None:
    whole = in_integers(graph, scheme)
    images = integers(whole)
    (expected,) = run(whole, [images])
    data = tflite.write(whole)
    (found,) = run(read_back(data), [images])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(in_runtime(data, ".tflite", images, "litert-reference"), expected)


@checked
@given(float_graphs(), st.booleans(), st.booleans(), st.sampled_from(["channel", "one"]))
def test_float_tflite_computes_what_the_graph_does(
    graph: Graph, decodes: bool, fuses: bool, weights: Any
) -> None:
    each = fuse_activations(graph) if fuses else graph
    if decodes:
        scales = weight_scales(each, Scheme("leaky", "own", weights))
        each = with_decoded_weights(each, Quantization({}, scales))
    images = pixels(graph, 6)
    (expected,) = run(each, [images])
    data = tflite.write(each)
    assert_close(run(read_back(data), [images])[0], expected)
    assert_close(in_runtime(data, ".tflite", images, "litert"), expected)


def channels_first(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def checked_onnx(graph: Graph) -> bytes:
    checker = pytest.importorskip("onnx")
    data = onnx.write(graph)
    checker.checker.check_model(checker.load_from_string(data), full_check=True)
    return data


@checked
@given(float_graphs(), st.booleans(), st.booleans(), st.sampled_from(["channel", "one"]))
def test_float_onnx_computes_what_the_graph_does(
    graph: Graph, decodes: bool, fuses: bool, weights: Any
) -> None:
    each = fuse_activations(graph) if fuses else graph
    if decodes:
        scales = weight_scales(each, Scheme("leaky", "own", weights))
        each = with_decoded_weights(each, Quantization({}, scales))
    if onnx.unsupported(each):
        assume(False)
    images = pixels(graph, 6)
    found = in_runtime(checked_onnx(each), ".onnx", channels_first(images), "onnxruntime")
    assert_close(found, run(each, [images])[0])


@checked
@given(
    float_graphs(tuple(s for s in STEPS if s not in ("relu6", "residual")), most=2, classify=False),
    st.sampled_from(["channel", "tensor"]),
)
def test_onnx_in_integers_is_within_few_steps_of_the_graph(graph: Graph, weights: Any) -> None:
    # Weights of 7 bits, because without VNNI two products saturate in 16 bits.
    whole = in_integers(graph, Scheme("requantize", "shared", weights), 127 / 63)
    if onnx.unsupported(whole):
        assume(False)
    shown = np.rint(pixels(graph, 6) * 255) / np.float32(255)
    stored = (np.rint(shown * 255) - 128).astype(np.int8)
    (expected,) = run(whole, [stored])
    data = checked_onnx(whole)
    found = in_runtime(data, ".onnx", channels_first(shown.astype(np.float32)), "onnxruntime")
    output = whole.outputs[0]
    steps = found / output.scale - (expected.astype(np.int64) - output.zero_point)
    # A step of one layer may become several behind the next.
    assert np.abs(steps).max() <= 4.01
    assert np.abs(steps).mean() <= 1
