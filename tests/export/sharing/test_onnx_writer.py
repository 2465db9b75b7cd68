from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sharing_nets import mirror_pairs_network

from edgegolf.data import Dataset
from edgegolf.export.model import load_model
from edgegolf.export.sharing.blocks import roll
from edgegolf.export.sharing.equalization import equalize, importances
from edgegolf.export.sharing.evaluate import compute, evaluate
from edgegolf.export.sharing.mirror_pairs import fold_mirror_pairs
from edgegolf.export.sharing.network import (
    Add,
    AveragePooling,
    Concatenate,
    Convolution,
    Crop,
    Dense,
    DepthwiseConvolution,
    MaxPooling,
    Network,
    Node,
    Operation,
    Pad,
    Rectifier,
    Reshape,
    Softmax,
    Subtract,
    Value,
    Weight,
    same_padding,
)
from edgegolf.export.sharing.onnx_writer import FORMS, write_shared_onnx
from edgegolf.export.sharing.reader import UnsupportedLayerError, read_network
from edgegolf.golf.onnx_model import is_portable
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import accuracy

onnx = pytest.importorskip("onnx")
random = np.random.default_rng(1)


class Builder:
    """Collects nodes and works out the shapes of their results."""

    def __init__(self, *shape: int) -> None:
        self.source = Value(shape)
        self.nodes: list[Node] = []

    def apply(self, operation: Operation, *values: Value) -> Value:
        zeros = [np.zeros((1, *value.shape), np.float32) for value in values]
        output = Value(compute(operation, *zeros).shape[1:])
        self.nodes.append(Node(operation, values, (output,)))
        return output

    def network(self, output: Value) -> Network:
        return Network((self.source,), (output,), tuple(self.nodes))


def weight(*shape: int, size: float = 0.5) -> Weight:
    return Weight("", (random.normal(size=shape) * size).astype(np.float32))


def shared_network(channels: int = 6, iterations: int = 5) -> Network:
    build = Builder(12, 12, 1)
    hidden = build.apply(
        Convolution(weight(3, 3, 1, channels), weight(channels), (2, 2)), build.source
    )
    depthwise = DepthwiseConvolution(
        weight(3, 3, channels, 1), None, padding=same_padding((5, 5), (3, 3), (1, 1))
    )
    pointwise = Convolution(weight(1, 1, channels, channels, size=0.2), weight(channels, size=0.1))
    for _ in range(iterations):
        residual = build.apply(Rectifier(), hidden)
        residual = build.apply(pointwise, build.apply(depthwise, residual))
        hidden = build.apply(Add(), hidden, residual)
    hidden = build.apply(Crop(((1, 0), (0, 1))), hidden)
    hidden = build.apply(AveragePooling((2, 2), (2, 2)), hidden)
    hidden = build.apply(Reshape((4 * channels,)), hidden)
    hidden = build.apply(Dense(weight(4 * channels, 4), weight(4)), hidden)
    return build.network(build.apply(Softmax(), hidden))


def every_operation() -> Network:
    """Also what is awkward: odd paddings, a flattened image with several readers."""
    build = Builder(9, 10, 2)
    same = same_padding((9, 10), (4, 3), (2, 1), (1, 2))
    hidden = build.apply(Convolution(weight(4, 3, 2, 6), None, (2, 1), same, (1, 2)), build.source)
    hidden = build.apply(Rectifier(0.25), hidden)
    hidden = build.apply(Pad(((1, 2), (0, 1))), hidden)
    hidden = build.apply(DepthwiseConvolution(weight(2, 2, 6, 2), weight(12), (1, 2)), hidden)
    hidden = build.apply(MaxPooling((2, 2), (2, 1), ((1, 0), (0, 1))), hidden)
    average = build.apply(AveragePooling((3, 3), (1, 1), ((1, 1), (1, 1))), hidden)
    hidden = build.apply(Concatenate(2), hidden, average)
    hidden = build.apply(Concatenate(0), hidden, hidden)
    hidden = build.apply(Dense(weight(24, 5), weight(5)), hidden)
    flat = build.apply(Reshape((int(np.prod(hidden.shape)),)), hidden)
    scores = build.apply(Dense(weight(flat.shape[0], 6, size=0.1), None), flat)
    flat = build.apply(Rectifier(), flat)
    image = build.apply(Reshape((2, flat.shape[0] // 4, 2)), flat)
    image = build.apply(MaxPooling(image.shape[:2], (1, 1)), image)
    vector = build.apply(Reshape((2,)), image)
    scores = build.apply(Concatenate(0), scores, vector)
    return build.network(build.apply(Softmax(), scores))


def dense_along_rows() -> Network:
    build = Builder(12)
    rows = build.apply(Reshape((3, 4)), build.source)
    rows = build.apply(Dense(weight(4, 2), weight(2)), rows)
    return build.network(build.apply(Reshape((6,)), rows))


def differences() -> Network:
    """Of layers, of an image and itself further on, with a ReLU behind and without."""
    build = Builder(6, 8, 2)
    hidden = build.apply(Convolution(weight(3, 3, 2, 6), weight(6)), build.source)
    sides = [build.apply(Crop(((0, 0), margin)), hidden) for margin in ((0, 2), (2, 0))]
    edges = [build.apply(Subtract(), *pair) for pair in (sides, sides[::-1])]
    hidden = build.apply(Subtract(), build.apply(Rectifier(), edges[0]), edges[1])
    hidden = build.apply(Reshape((96,)), hidden)
    scores = build.apply(Dense(weight(96, 5, size=0.1), None), hidden)
    return build.network(build.apply(Softmax(), scores))


def padded_average() -> Network:
    build = Builder(6, 6, 1)
    hidden = build.apply(Convolution(weight(3, 3, 1, 4), weight(4)), build.source)
    hidden = build.apply(Pad(((1, 1), (0, 1))), hidden)
    hidden = build.apply(AveragePooling((2, 2), (2, 2)), hidden)
    hidden = build.apply(Reshape((int(np.prod(hidden.shape)),)), hidden)
    return build.network(build.apply(Softmax(), build.apply(Dense(weight(24, 5), None), hidden)))


def samples(network: Network, count: int = 40) -> Any:
    return random.uniform(size=(count, *network.inputs[0].shape)).astype(np.float32)


def run(path: Path, images: Any) -> Any:
    with open_session(path) as session:
        outputs = []
        for image in images:
            channels_first = image.transpose(2, 0, 1) if image.ndim == 3 else image
            outputs.append(session.run([channels_first[None]])[0][0])
        return np.array(outputs)


def int8_values(path: Path) -> int:
    model = onnx.load(path)
    int8 = onnx.TensorProto.INT8
    stored = [tensor for tensor in model.graph.initializer if tensor.data_type == int8]
    return sum(onnx.numpy_helper.to_array(tensor).size for tensor in stored)


@pytest.fixture(autouse=True)
def _same_draws_in_any_order() -> None:
    random.bit_generator.state = np.random.default_rng(1).bit_generator.state


INTEGER_FORMS = ("compute", "channels")
NETWORKS: dict[str, Callable[[], Network]] = {
    "shared": shared_network,
    "rolled": lambda: roll(shared_network()),
    "every operation": every_operation,
    "padded average": padded_average,
    "differences": differences,
    "mirror pairs": lambda: fold_mirror_pairs(mirror_pairs_network()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_the_network(name: str, form: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    path = tmp_path / "int8.onnx"
    write_shared_onnx(network, samples(network), path, form)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    images = samples(network, 100)
    difference = np.abs(run(path, images) - evaluate(network, images))
    largest, mean = {"weights": (0.06, 0.01), "scales": (0.2, 0.02)}.get(form, (0.4, 0.05))
    assert difference.max() < largest
    assert difference.mean() < mean


@pytest.mark.parametrize("form", [form for form in FORMS if form not in INTEGER_FORMS])
@pytest.mark.parametrize("name", NETWORKS)
def test_others_read_the_portable_form(name: str, form: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    network, path = NETWORKS[name](), tmp_path / "int8.onnx"
    write_shared_onnx(network, samples(network), path, form, portable=True)
    assert is_portable(path)
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    compiled = openvino.Core().compile_model(path, "CPU", exact)
    for image in samples(network, 5):
        (found,) = compiled(image.transpose(2, 0, 1)[None]).values()
        np.testing.assert_allclose(found, run(path, image[None]), atol=1e-4)


def test_rows_of_a_matrix(tmp_path: Path) -> None:
    network = dense_along_rows()
    images = samples(network)
    write_shared_onnx(network, images, tmp_path / "int8.onnx")
    found = run(tmp_path / "int8.onnx", images)
    np.testing.assert_allclose(found, evaluate(network, images), atol=0.05)
    for form in INTEGER_FORMS:
        with pytest.raises(UnsupportedLayerError):
            write_shared_onnx(network, images, tmp_path / "other.onnx", form)


def test_each_weight_is_stored_once_and_blocks_are_functions(tmp_path: Path) -> None:
    network, path = shared_network(), tmp_path / "int8.onnx"
    write_shared_onnx(network, samples(network), path)
    assert int8_values(path) == sum(weight.values.size for weight in network.weights)
    model = onnx.load(path)
    operators = [node.op_type for function in model.functions for node in function.node]
    assert operators.count("Add") == 1
    assert sum(node.op_type == "Add" for node in model.graph.node) <= 1


def test_loops_make_no_difference(tmp_path: Path) -> None:
    network, images = shared_network(), samples(shared_network())
    write_shared_onnx(network, images, tmp_path / "unrolled.onnx")
    write_shared_onnx(roll(network), images, tmp_path / "rolled.onnx")
    # The order in which factors are numbered may change the last bit of one.
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("unrolled", "rolled")]
    assert sizes[0] == sizes[1]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    build = Builder(4, 4, 2)
    without_weights = build.network(build.apply(Rectifier(), build.source))
    with pytest.raises(UnsupportedLayerError):
        write_shared_onnx(without_weights, samples(without_weights), tmp_path / "int8.onnx")
    image = build.network(build.apply(Dense(weight(2, 2), None), build.source))
    with pytest.raises(UnsupportedLayerError):
        write_shared_onnx(image, samples(image), tmp_path / "int8.onnx")
    pooling: Operation
    for pooling, margin in ((MaxPooling((2, 2), (2, 2)), 1), (AveragePooling((2, 2), (2, 2)), 2)):
        build = Builder(4, 4, 2)
        hidden = build.apply(Convolution(weight(1, 1, 2, 2), None), build.source)
        hidden = build.apply(Pad(((margin, margin), (margin, margin))), hidden)
        hidden = build.apply(pooling, hidden)
        padded = build.network(build.apply(Reshape((int(np.prod(hidden.shape)),)), hidden))
        with pytest.raises(UnsupportedLayerError, match="zero padding"):
            write_shared_onnx(padded, samples(padded), tmp_path / "int8.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_equalization_keeps_the_function_and_lowers_the_noise(name: str) -> None:
    network = NETWORKS[name]()
    images = samples(network)
    equalized = equalize(network, images)
    before, after = evaluate(network, images), evaluate(equalized, images)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-5)

    def noise(network: Network) -> float:
        found = importances(network, images)
        largest = max(np.abs(weight.values).max() for weight in network.weights)
        total = sum(
            np.broadcast_to(found[weight], weight.values.shape).sum() for weight in network.weights
        )
        return float(largest * np.sqrt(total))

    assert noise(equalized) <= noise(network) * 1.001


def test_a_trained_keras_model_keeps_its_accuracy(
    trained: Path, digits: Dataset, tmp_path: Path
) -> None:
    model = load_model(trained)
    pixels = digits.split("train").images[:200] / np.float32(255)
    validation = digits.split("validation")
    network = read_network(model)
    scores = evaluate(network, validation.images / np.float32(255))
    expected = np.mean(scores.argmax(axis=1) == validation.labels)
    for form in FORMS:
        path = tmp_path / f"{form}.onnx"
        write_shared_onnx(network, pixels, path, form)
        with open_session(path) as session:
            lost = expected - accuracy(session, validation)
        assert lost <= (0.02 if form in INTEGER_FORMS else 0.01)
