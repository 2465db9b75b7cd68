"""Statistics against closed formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golf_models import (
    TfliteBuilder,
    chain,
    initializer,
    loop,
    naive,
    node,
    onnx_chain,
    onnx_model,
    value_info,
)

from edgegolf.golf.flatbuffer import read_flatbuffer, table, write_flatbuffer
from edgegolf.golf.golf import golf_file
from edgegolf.golf.graph import graph_statistics
from edgegolf.golf.protobuf import message

PIXELS, CHANNELS = 6 * 6, 4
CONVOLUTION = 3 * 3 * CHANNELS * CHANNELS
DEPTHWISE = 3 * 3 * CHANNELS


def statistics(folder: Path, data: bytes, suffix: str, golfed: bool = False):
    path = folder / f"model{suffix}"
    path.write_bytes(data)
    if golfed:
        golf_file(path, path)
    return graph_statistics(path)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("golfed", [False, True])
def test_shared_weights_count_once_and_their_uses_each_time(
    tmp_path: Path, suffix: str, golfed: bool
) -> None:
    names = ["conv", "relu", "depthwise", "relu", "conv", "conv"]
    data = chain(names, 1) if suffix == ".tflite" else onnx_chain(names, 1)
    found = statistics(tmp_path, data, suffix, golfed)
    # Biases are zeros, as of layers without, and do not count.
    assert found.parameters == CONVOLUTION + DEPTHWISE
    assert found.parameter_uses == 3 * CONVOLUTION + DEPTHWISE
    assert found.macs == PIXELS * (3 * CONVOLUTION + DEPTHWISE)
    assert found.activation_peak_bytes == 2 * 4 * PIXELS * CHANNELS
    convolutions = found.operators.get("CONV_2D", 0) + found.operators.get("Conv", 0)
    assert convolutions == (3 if suffix == ".tflite" else 4)


def test_weights_bytes_count_equal_data_once(tmp_path: Path) -> None:
    found = statistics(tmp_path, chain(["conv", "conv"], shared=False), ".tflite")
    # Two kernels; the two biases of zeros are equal.
    assert found.weights_bytes == 4 * (2 * CONVOLUTION + CHANNELS)


def test_int8_activations_are_a_quarter(tmp_path: Path) -> None:
    found = statistics(tmp_path, chain(["conv", "relu"], 1, int8=True), ".tflite")
    assert found.activation_peak_bytes == 2 * PIXELS * CHANNELS
    assert found.parameters == CONVOLUTION + CHANNELS


@pytest.mark.parametrize(
    ("trips", "step", "doubling"),
    [(0, 1, False), (1, 1, False), (5, 1, False), (4, 3, False), (0, 1, True), (8, 1, True)],
)
def test_work_in_a_loop_counts_each_time(
    tmp_path: Path, trips: int, step: int, doubling: bool
) -> None:
    found = statistics(tmp_path, loop(trips, step, doubling), ".tflite")
    # The body's bias is ones; the loop's counters are no parameters.
    assert found.parameters == CONVOLUTION + CHANNELS
    assert found.macs == trips * PIXELS * CONVOLUTION
    assert found.parameter_uses == trips * (CONVOLUTION + CHANNELS)
    assert found.operators == {"ADD": 1, "CONV_2D": 1, "LESS": 1, "WHILE": 1}


def test_a_loop_without_evident_end_is_unknown(tmp_path: Path) -> None:
    root = read_flatbuffer(loop(5)).root
    main, condition, body = root.subgraphs
    limit = condition.operators[0].inputs[1]
    tensors = list(condition.tensors)
    tensors[limit] = tensors[limit].replace(buffer=0)
    changed = root.replace(subgraphs=[main, condition.replace(tensors=tensors), body])
    found = statistics(tmp_path, write_flatbuffer(changed), ".tflite")
    assert found.macs is None
    assert found.parameter_uses is None
    assert found.parameters == CONVOLUTION + CHANNELS


def test_fully_connected_and_unknown_operators(tmp_path: Path) -> None:
    builder = TfliteBuilder()
    image, middle, out = (builder.tensor(shape) for shape in ((1, 7), (1, 3), (1, 3)))
    weights = builder.tensor((3, 7), data=np.ones((3, 7), np.float32))
    builder.operator(
        "FULLY_CONNECTED", [image, weights, -1], [middle], table("FullyConnectedOptions")
    )
    graph = builder.subgraph([image], [middle])
    assert statistics(tmp_path, naive(builder.model([graph])), ".tflite").macs == 21
    builder.operator("CUSTOM:Mine", [middle], [out])
    graph = builder.subgraph([image], [out])
    found = statistics(tmp_path, naive(builder.model([graph])), ".tflite")
    assert found.macs is None
    assert found.operators == {"CUSTOM:Mine": 1, "FULLY_CONNECTED": 1}


def onnx_of(nodes, initializers, shape, out_shape) -> bytes:
    return onnx_model(nodes, initializers, [value_info("x", shape)], [value_info("y", out_shape)])


def test_onnx_weights_that_are_decoded_count_once(tmp_path: Path) -> None:
    weights = np.arange(48, dtype=np.int8).reshape(4, 3, 2, 2) + 1
    nodes = [
        node("Cast", ["w"], ["c"], to=1),
        node("Mul", ["c", "s"], ["d"]),
        node("Conv", ["x", "d"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("DequantizeLinear", ["v", "s"], ["e"]),
        node("Flatten", ["b"], ["f"]),
        node("MatMul", ["f", "e"], ["y"]),
    ]
    constants = [
        initializer("w", weights),
        initializer("s", np.array(0.1, np.float32)),
        initializer("v", np.ones((64, 5), np.int8)),
    ]
    found = statistics(tmp_path, onnx_of(nodes, constants, (1, 3, 5, 5), (1, 5)), ".onnx")
    assert found.parameters == found.parameter_uses == 48 + 64 * 5
    assert found.macs == 4 * 4 * 48 + 64 * 5
    assert found.weights_bytes == 48 + 4 + 64 * 5


def test_onnx_loops_multiply(tmp_path: Path) -> None:
    body = message(
        "GraphProto",
        name="body",
        node=[node("Identity", ["go"], ["going"]), node("MatMul", ["h", "w"], ["next"])],
        input=[value_info("i", (), 7), value_info("go", (), 9), value_info("h", (1, 8))],
        output=[value_info("going", (), 9), value_info("next", (1, 8))],
    )
    constants = [
        initializer("trips", np.array(6, np.int64)),
        initializer("w", np.ones((8, 8), np.float32)),
    ]
    nodes = [node("Loop", ["trips", "", "x"], ["y"], body=body)]
    found = statistics(tmp_path, onnx_of(nodes, constants, (1, 8), (1, 8)), ".onnx")
    assert found.macs == 6 * 64
    assert found.parameters == 64
    assert found.parameter_uses == 6 * 64


def test_onnx_shapes_agree_with_the_onnx_package(tmp_path: Path) -> None:
    """Sizes of all intermediate values, through a chain of operators with odd attributes."""
    onnx = pytest.importorskip("onnx")
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(6, 2, 3, 2)).astype(np.float32)
    up = generator.normal(size=(6, 4, 3, 3)).astype(np.float32)
    nodes = [
        node(
            "Conv", ["x", "k"], ["a"], group=2, strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]
        ),
        node(
            "ConvTranspose",
            ["a", "u"],
            ["b"],
            strides=[2, 2],
            pads=[1, 1, 0, 0],
            output_padding=[1, 0],
        ),
        node("MaxPool", ["b"], ["c"], kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
        node(
            "AveragePool", ["c"], ["d"], kernel_shape=[2, 2], auto_pad=b"SAME_UPPER", strides=[1, 1]
        ),
        node("Transpose", ["d"], ["e"], perm=[0, 2, 3, 1]),
        node("Shape", ["e"], ["f"]),
        node("Gather", ["f", "one"], ["g"]),
        node("Concat", ["g", "minus"], ["h"], axis=0),
        node("Reshape", ["e", "h"], ["i"]),
        node("Unsqueeze", ["i", "one"], ["j"]),
        node("Pad", ["j", "pads"], ["k2"]),
        node("Slice", ["k2", "one", "minus", "one"], ["l"]),
        node("ReduceMean", ["l"], ["m"], axes=[-1], keepdims=0),
        node("Softmax", ["m"], ["y"], axis=-1),
    ]
    constants = [
        initializer("k", kernel),
        initializer("u", up),
        initializer("one", np.array([1], np.int64)),
        initializer("minus", np.array([-1], np.int64)),
        initializer("pads", np.array([0, 1, 2, 0, 3, 1], np.int64)),
    ]
    graph = message(
        "GraphProto",
        name="g",
        node=nodes,
        initializer=constants,
        input=[value_info("x", (1, 4, 11, 10))],
        output=[message("ValueInfoProto", name="y")],
    )
    from edgegolf.golf.onnx_graph import read_onnx_graph
    from edgegolf.golf.protobuf import write_protobuf

    data = write_protobuf(
        message(
            "ModelProto",
            ir_version=8,
            graph=graph,
            opset_import=[message("OperatorSetIdProto", version=17)],
        )
    )
    path = tmp_path / "shapes.onnx"
    path.write_bytes(data)
    inferred = onnx.shape_inference.infer_shapes(
        onnx.load_from_string(data), strict_mode=True, data_prop=True
    )
    expected = {
        info.name: tuple(size.dim_value for size in info.type.tensor_type.shape.dim)
        for info in (*inferred.graph.value_info, *inferred.graph.output)
    }
    found = read_onnx_graph(path).values
    assert len(expected) == len(nodes)
    assert {name: found[name].shape for name in expected} == expected
