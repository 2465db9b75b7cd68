from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ir_nets import Builder, outputs, pixels, shared_net

from edgegolf.backends import onnx
from edgegolf.backends.onnx.lowering import NotInOnnxError
from edgegolf.ir import Graph, ops
from edgegolf.ir.interpreter import run
from edgegolf.passes.fusion import fuse_activations
from edgegolf.passes.rerolling import reroll
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.quantization import Quantization, quantized, with_decoded_weights
from edgegolf.quantize.scale_search import best_common_scale, best_scales
from edgegolf.runtimes import open_session

checker = pytest.importorskip("onnx")


def every_operator() -> Graph:
    """Also what is awkward: odd paddings, a flattened image with several readers."""
    build = Builder(9, 10, 2)
    same = ops.same_padding((9, 10), (4, 3), (2, 1), (1, 2))
    filters = build.weight(6, 4, 3, 2)
    hidden = build.convolve(build.source, filters, None, (2, 1), same, dilation=(1, 2))
    hidden = build.apply(ops.LeakyReLU(0.25), hidden)
    hidden = build.apply(ops.Pad(((0, 0), (1, 2), (0, 1), (0, 0))), hidden)
    hidden = build.depthwise(hidden, build.weight(1, 2, 2, 12), build.weight(12), (1, 2))
    hidden = build.pool(ops.MaxPool2D, hidden, (2, 2), (2, 1), ((1, 0), (0, 1)))
    average = build.pool(ops.AveragePool2D, hidden, (3, 3), (1, 1), ((1, 1), (1, 1)))
    hidden = build.apply(ops.Concatenate(3), hidden, average)
    hidden = build.apply(ops.Concatenate(1), hidden, hidden)
    dense = ops.FullyConnected(keep_dims=True)
    hidden = build.apply(dense, hidden, build.weight(5, 24), build.weight(5))
    flat = build.flatten(hidden)
    scores = build.dense(flat, build.weight(6, flat.elements, size=0.1))
    flat = build.relu(flat)
    image = build.reshape(flat, 2, flat.elements // 4, 2)
    image = build.pool(ops.MaxPool2D, image, image.shape[1:3])
    scores = build.apply(ops.Concatenate(1), scores, build.reshape(image, 2))
    return build.graph(build.apply(ops.Softmax(), scores))


def dense_along_rows() -> Graph:
    build = Builder(12)
    rows = build.reshape(build.source, 3, 4)
    dense = ops.FullyConnected(keep_dims=True)
    rows = build.apply(dense, rows, build.weight(2, 4), build.weight(2))
    return build.graph(build.reshape(rows, 6))


def padded_average() -> Graph:
    build = Builder(6, 6, 1)
    hidden = build.convolve(build.source, build.weight(4, 3, 3, 1), build.weight(4))
    hidden = build.apply(ops.Pad(((0, 0), (1, 1), (0, 1), (0, 0))), hidden)
    return build.classify(build.pool(ops.AveragePool2D, hidden, (2, 2), (2, 2)))


def found(data: bytes, images: np.ndarray, path: Path) -> np.ndarray:
    """What a file gives that the checker accepts."""
    path.write_bytes(data)
    checker.checker.check_model(checker.load(path), full_check=True)
    first = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images
    with open_session(path) as session:
        return np.concatenate([session.run([each[None]])[0] for each in first])


GRAPHS: dict[str, Callable[[], Graph]] = {
    "every operator": every_operator,
    "rows": dense_along_rows,
    "padded average": padded_average,
    "shared": shared_net,
    "rolled": lambda: reroll(shared_net()),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_float_files_compute_what_the_graph_does(name: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]()
    decoded = with_decoded_weights(graph, Quantization({}, best_scales(graph.weights)))
    images = pixels(graph, 10)
    for each in (graph, fuse_activations(graph), decoded):
        result = found(onnx.write(each), images, tmp_path / "float.onnx")
        np.testing.assert_allclose(result, run(each, [images])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("name", ["every operator", "shared"])
def test_weights_of_few_bits_are_decoded(
    name: str, bits: int, packed: bool, tmp_path: Path
) -> None:
    graph = GRAPHS[name]()
    ones = {weight: np.ones(weight.shape, np.float32) for weight in graph.weights}
    one = dict.fromkeys(graph.weights, best_common_scale(ones, bits))
    own = {weight: best_common_scale({weight: ones[weight]}, bits) for weight in graph.weights}
    for scales in (one, own):
        decoded = with_decoded_weights(
            graph, Quantization({}, scales, dict.fromkeys(graph.weights, bits))
        )
        data = onnx.write(decoded, packed)
        images = pixels(graph, 10)
        result = found(data, images, tmp_path / "low.onnx")
        np.testing.assert_allclose(result, run(decoded, [images])[0], rtol=1e-4, atol=1e-5)
        model = checker.load_from_string(data)
        checker.checker.check_model(model, full_check=True)
        kind = checker.TensorProto.DataType.Value(f"INT{bits}" if packed else "UINT8")
        stored = [tensor for tensor in model.graph.initializer if tensor.data_type == kind]
        assert len(stored) == len(set(scales.values()))
        elements = sum(weight.elements for weight in graph.weights)
        size = sum(len(tensor.raw_data) for tensor in stored)
        assert elements * bits / 8 <= size < elements * bits / 8 + len(stored)
        if not packed:
            assert model.opset_import[0].version < 13


def test_weights_of_one_scale_are_one_tensor_only_where_that_is_smaller() -> None:
    graph = shared_net()
    for weights, count in (
        (graph.weights, 1),
        ([w for w in graph.weights if w.values.ndim > 1][:2], 2),
    ):
        scales = dict.fromkeys(weights, best_common_scale({weights[0]: np.float32(1)}, 4))
        rounding = Quantization({}, scales, dict.fromkeys(weights, 4))
        model = checker.load_from_string(onnx.write(with_decoded_weights(graph, rounding)))
        kinds = [tensor.data_type for tensor in model.graph.initializer]
        assert kinds.count(checker.TensorProto.INT4) == count


@pytest.mark.parametrize("name", ["every operator", "padded average", "shared"])
def test_integer_files_compute_nearly_the_same(name: str, tmp_path: Path) -> None:
    graph = fuse_activations(GRAPHS[name]())
    scales = calibrate(
        graph, ranges(graph, [pixels(graph)]), Scheme("requantize", "own", "channel")
    )
    data = onnx.write(quantized(graph, scales))
    difference = found(data, pixels(graph, 40), tmp_path / "int8.onnx") - outputs(graph, 40)
    assert np.abs(difference).max() < 0.4
    assert np.abs(difference).mean() < 0.05


def test_each_weight_is_stored_once(tmp_path: Path) -> None:
    graph = shared_net()
    decoded = with_decoded_weights(graph, Quantization({}, best_scales(graph.weights)))
    model = checker.load_from_string(onnx.write(decoded))
    int8 = [t for t in model.graph.initializer if t.data_type == checker.TensorProto.INT8]
    stored = sum(checker.numpy_helper.to_array(tensor).size for tensor in int8)
    assert stored == sum(weight.elements for weight in graph.weights)


def test_a_relu_with_an_upper_bound_is_refused_in_integers() -> None:
    build = Builder(4, 4, 2)
    hidden = build.convolve(build.source, build.weight(3, 1, 1, 2))
    graph = build.classify(build.apply(ops.ReLU(0.0, 6.0), hidden))
    scales = calibrate(graph, ranges(graph, [pixels(graph)]), Scheme("requantize", "own", "tensor"))
    assert onnx.unsupported(graph) == ()
    assert onnx.unsupported(quantized(graph, scales)) == ("integers between two bounds",)


def test_a_loop_is_refused_in_integers() -> None:
    graph = fuse_activations(reroll(shared_net()))
    scales = calibrate(graph, ranges(graph, [pixels(graph)]), Scheme("requantize", "own", "tensor"))
    assert "a loop" in onnx.unsupported(quantized(graph, scales))[0]


def test_what_cannot_be_written_is_refused() -> None:
    rows = fuse_activations(dense_along_rows())
    scales = calibrate(rows, ranges(rows, [pixels(rows)]), Scheme("requantize", "own", "channel"))
    refused = [quantized(rows, scales)]
    build = Builder(4, 4, 2)
    hidden = build.convolve(build.source, build.weight(2, 1, 1, 2))
    hidden = build.apply(ops.Pad(((0, 0), (1, 1), (1, 1), (0, 0))), hidden)
    padded = build.graph(build.flatten(build.pool(ops.MaxPool2D, hidden, (2, 2), (2, 2))))
    scheme = Scheme("requantize", "own", "channel")
    refused.append(quantized(padded, calibrate(padded, ranges(padded, [pixels(padded)]), scheme)))
    assert "zero padding" in onnx.unsupported(refused[-1])[0]
    for graph in refused:
        with pytest.raises(NotInOnnxError):
            onnx.write(graph)
