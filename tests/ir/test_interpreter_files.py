"""Whole files against LiteRT's reference kernels on 200 images, loops, and files to refuse."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from one_operator import (
    Tensor,
    assert_equal,
    constant,
    images_for,
    model,
    one_operator,
    operator,
    subgraph,
)

from edgegolf.data import DatasetUnavailableError, load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import table
from edgegolf.formats.tflite.model import read_tflite, type_name
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import interpreter
from edgegolf.ir.interpreter import run
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import quantize

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
DATA = os.environ.get("EDGEGOLF_DATA")
COMMITTED = sorted((ROOT / "models").glob("*/*/*.tflite"))
IMAGES = 200


def random_inputs(path: Path, count: int) -> list[np.ndarray]:
    main = read_tflite(path).root.subgraphs[0]
    tensors = [main.tensors[index] for index in main.inputs]
    return images_for([Tensor(t.shape, type_name(t)) for t in tensors], count, seed=0)


@pytest.mark.skipif(not DATA, reason="EDGEGOLF_DATA is not set")
@pytest.mark.parametrize("name", ["mlperf_tiny_kws_int8", "mlperf_tiny_resnet8_int8"])
def test_mlperf_tiny(name):
    pytest.importorskip("ai_edge_litert")
    path = Path(DATA or "") / "models" / f"{name}.tflite"
    assert_equal(path, random_inputs(path, IMAGES))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_committed_models_on_real_images(path):
    pytest.importorskip("ai_edge_litert")
    try:
        images = load_dataset(path.parts[-3]).split("validation").images[:IMAGES]
    except DatasetUnavailableError as error:
        pytest.skip(error.message)
    with open_session(path, "litert-reference") as session:
        info = session.inputs[0]
    prepared = quantize(images.reshape(-1, *info.example_shape[1:]), info)
    assert_equal(path, [prepared])


@pytest.fixture(scope="module")
def stock_files(tmp_path_factory):
    """A net that uses two layers repeatedly, converted by TensorFlow as float32 and int8."""
    tensorflow = pytest.importorskip("tensorflow")
    pytest.importorskip("ai_edge_litert")
    keras = tensorflow.keras
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    relu, convolution = layers.ReLU(), layers.SeparableConv2D(8, 3, padding="same")
    hidden = layers.Conv2D(8, 5, strides=2)(image)
    for _ in range(3):
        hidden = layers.Add()([hidden, convolution(relu(hidden))])
    hidden = layers.Flatten()(layers.Cropping2D(1)(layers.AveragePooling2D(3)(hidden)))
    net = keras.Model(image, layers.Dense(10, activation="softmax")(hidden))
    samples = np.random.default_rng(0).random((50, 1, 28, 28, 1), np.float32)
    folder = tmp_path_factory.mktemp("stock")
    for name in ("float32", "int8"):
        converter = tensorflow.lite.TFLiteConverter.from_keras_model(net)
        if name == "int8":
            converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([sample] for sample in samples)
            converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tensorflow.int8
            converter.inference_output_type = tensorflow.int8
        (folder / f"{name}.tflite").write_bytes(converter.convert())
    return folder


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_stock_conversion(stock_files, name):
    path = stock_files / f"{name}.tflite"
    assert_equal(path, random_inputs(path, IMAGES))


def loop(turns: int, step: int) -> bytes:
    """Adds to an int8 tensor `turns` times, counted in steps."""
    counter = Tensor((), "INT32")
    state = Tensor((1, 4), "INT8", (0.1,), (3,))
    buffers = [table("Buffer")]
    main = subgraph(
        [constant(np.array(0, np.int32)), state, counter, state],
        [1],
        [3],
        [
            operator(
                0,
                [0, 1],
                [2, 3],
                table("WhileOptions", cond_subgraph_index=1, body_subgraph_index=2),
            )
        ],
        buffers,
    )
    condition = subgraph(
        [counter, state, constant(np.array(turns, np.int32)), Tensor((), "BOOL")],
        [0, 1],
        [3],
        [operator(1, [0, 2], [3], table("LessOptions"))],
        buffers,
    )
    addend = constant(np.array([1, 2, 3, 50], np.int8), scale=(0.01,), zero_point=(0,))
    body = subgraph(
        [counter, state, constant(np.array(step, np.int32)), addend, counter, state],
        [0, 1],
        [4, 5],
        [
            operator(2, [0, 2], [4], table("AddOptions")),
            operator(2, [1, 3], [5], table("AddOptions")),
        ],
        buffers,
    )
    return model(["WHILE", "LESS", "ADD"], [main, condition, body], buffers)


@pytest.mark.parametrize("turns", [0, 1, 8])
def test_while(tmp_path, turns):
    pytest.importorskip("ai_edge_litert")
    path = tmp_path / "loop.tflite"
    path.write_bytes(loop(turns, step=1))
    assert_equal(path, random_inputs(path, IMAGES))


def test_endless_loop_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter, "MAXIMUM_STEPS", 100)
    path = tmp_path / "endless.tflite"
    path.write_bytes(loop(turns=1, step=0))
    with pytest.raises(EdgegolfError, match="not ended after"):
        run(read_graph(path), random_inputs(path, 2))


def test_int8_weights_in_a_float_layer(tmp_path):
    pytest.importorskip("ai_edge_litert")
    path = tmp_path / "decoded.tflite"
    numbers = np.random.default_rng(0).integers(-127, 128, (4, 3)).astype(np.int8)
    scales, zero_points = (0.1, 0.02, 0.5, 0.25), (0, 0, 0, 0)
    tensors = [
        Tensor((1, 3), "FLOAT32"),
        constant(numbers, scale=scales, zero_point=zero_points),
        Tensor((4, 3), "FLOAT32"),
        Tensor((1, 4), "FLOAT32"),
    ]
    operators = [
        operator(0, [1], [2], table("DequantizeOptions")),
        operator(1, [0, 2], [3], table("FullyConnectedOptions")),
    ]
    buffers = [table("Buffer")]
    graph = subgraph(tensors, [0], [3], operators, buffers)
    path.write_bytes(model(["DEQUANTIZE", "FULLY_CONNECTED"], [graph], buffers))
    assert_equal(path, random_inputs(path, IMAGES))


def test_results_do_not_depend_on_the_number_of_images(tmp_path):
    path = tmp_path / "relu.tflite"
    tensor = Tensor((1, 300, 300), "INT8", (0.1,), (3,))
    path.write_bytes(one_operator("RELU", [tensor], [tensor]))
    images = random_inputs(path, 7)[0]
    (together,) = run(read_graph(path), [images])
    apart = [run(read_graph(path), [image[None]])[0] for image in images]
    np.testing.assert_array_equal(together, np.concatenate(apart))


def test_file_with_a_batch_of_several(tmp_path):
    pytest.importorskip("ai_edge_litert")
    path = tmp_path / "batch.tflite"
    inputs = [Tensor((4, 3), "FLOAT32"), constant(np.eye(3, dtype=np.float32)[:2])]
    options = table("FullyConnectedOptions")
    path.write_bytes(one_operator("FULLY_CONNECTED", inputs, [Tensor((4, 2), "FLOAT32")], options))
    images = np.arange(24, dtype=np.float32).reshape(8, 3)
    (found,) = run(read_graph(path), [images])
    np.testing.assert_array_equal(found, images[:, :2])
    with pytest.raises(EdgegolfError, match="does not give"):
        run(read_graph(path), [images[:7]])


def test_constant_output_is_given_for_each_image(tmp_path):
    path = tmp_path / "shape.tflite"
    inputs = [Tensor((1, 5), "FLOAT32")]
    path.write_bytes(
        one_operator("SHAPE", inputs, [Tensor((2,), "INT32")], table("ShapeOptions", out_type=2))
    )
    (found,) = run(read_graph(path), [np.zeros((3, 5), np.float32)])
    np.testing.assert_array_equal(found.reshape(3, 2), [[1, 5]] * 3)


def test_unsupported_operator_is_named(tmp_path):
    path = tmp_path / "rfft.tflite"
    tensor = Tensor((1, 2), "FLOAT32")
    path.write_bytes(one_operator("RFFT2D", [tensor], [tensor]))
    with pytest.raises(EdgegolfError, match="RFFT2D"):
        run(read_graph(path), [np.zeros((1, 2), np.float32)])


def test_unsupported_types_are_named(tmp_path):
    path = tmp_path / "hybrid.tflite"
    inputs = [Tensor((1, 3), "FLOAT32"), constant(np.zeros((2, 3), np.int8), scale=(1.0,))]
    path.write_bytes(
        one_operator(
            "FULLY_CONNECTED",
            inputs,
            [Tensor((1, 2), "FLOAT32")],
            table("FullyConnectedOptions"),
        )
    )
    with pytest.raises(EdgegolfError, match="FullyConnected from float32, int8 to float32"):
        run(read_graph(path), [np.zeros((1, 3), np.float32)])


def test_images_that_do_not_fit(tmp_path):
    path = tmp_path / "relu.tflite"
    tensor = Tensor((1, 2), "FLOAT32")
    path.write_bytes(one_operator("RELU", [tensor], [tensor]))
    for images, message in (
        ([], "takes 1 inputs"),
        ([np.zeros((1, 2))], "takes float32, not float64"),
        ([np.zeros((1, 3), np.float32)], "does not give"),
    ):
        with pytest.raises(EdgegolfError, match=message):
            run(read_graph(path), images)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": (float("nan"),)}, "a scale that is no positive number"),
        ({"scale": (float("inf"),)}, "a scale that is no positive number"),
        ({"scale": (-0.5,)}, "a scale that is no positive number"),
        ({"scale": (0.0,)}, "differ by more than 32-bit integers hold"),
        ({"scale": (1e-30,)}, "differ by more than 32-bit integers hold"),
        ({"scale": (0.5,), "zero_point": (200,)}, "a zero point that no int8 holds"),
        ({"scale": (0.5,), "zero_point": (2**62,)}, "a zero point that no int8 holds"),
        ({"scale": (0.5, 0.25), "zero_point": (0, 0)}, r"shape \[1, 2\] has 2 scales"),
        ({"scale": (0.5, 0.25), "zero_point": (0, 0), "axis": 9}, r"shape \[1, 2\] has 2 scales"),
    ],
)
def test_scales_that_integers_cannot_have_are_refused(tmp_path, fields, message):
    """They overflow in some kernels, and others compute with them what nobody meant."""
    path = tmp_path / "odd.tflite"
    usual = Tensor((1, 2), "INT8", (0.5,), (0,))
    file = one_operator("ADD", [usual, usual], [Tensor((1, 2), "INT8", **fields)])
    path.write_bytes(file)
    with pytest.raises(EdgegolfError, match=message):
        run(read_graph(path), [np.zeros((1, 2), np.int8)] * 2)


def test_operators_that_wait_for_each_other_are_refused(tmp_path):
    path = tmp_path / "circle.tflite"
    tensors, buffers = [Tensor((1, 2), "FLOAT32")] * 3, [table("Buffer")]
    operators = [operator(0, [0, 2], [1], None), operator(0, [0, 1], [2], None)]
    path.write_bytes(model(["ADD"], [subgraph(tensors, [0], [2], operators, buffers)], buffers))
    with pytest.raises(EdgegolfError, match="reads what no operator before it has computed"):
        read_graph(path)


@pytest.fixture(scope="module")
def intact():
    return loop(turns=3, step=1)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_damaged_files_are_evaluated_or_refused(tmp_path, intact, changes):
    damaged = bytearray(intact)
    for position, byte in changes:
        damaged[int(position * len(damaged))] = byte
    path = tmp_path / "damaged.tflite"
    path.write_bytes(damaged)
    with suppress(EdgegolfError):
        run(read_graph(path), [np.zeros((2, 4), np.int8)])
