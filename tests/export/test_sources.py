"""Models of every kind that people have: what is read of them is what they compute."""

# ruff: noqa: N812 -- L are the layers, as in Keras's own guides

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
import keras
import onnx
import tensorflow as tf
from ir_nets import pixels, plain_net
from keras import layers as L
from onnx import numpy_helper

from edgegolf.backends import tflite
from edgegolf.errors import EdgegolfError
from edgegolf.export import ExportOptions, export_model
from edgegolf.export.keras_source import KerasSource
from edgegolf.export.model_source import open_source
from edgegolf.export.samples import ModelInput, Samples
from edgegolf.export.sources import with_shapes
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir.interpreter import run

CASES = Path(__file__).parent / "cases"
IMAGES = np.random.default_rng(0).random((12, 12, 12, 3), np.float32)
SHAPES = ((1, 12, 12, 3),)


def net() -> keras.Model:
    keras.utils.set_random_seed(0)
    source = keras.Input((12, 12, 3), name="image")
    hidden = L.BatchNormalization()(L.Conv2D(4, 3, activation="gelu")(source))
    shared = L.SeparableConv2D(4, 3, padding="same")
    hidden = shared(shared(hidden))
    return keras.Model(source, L.Dense(5, activation="softmax")(L.Flatten()(hidden)))


def assert_answers(path: Path, expected: np.ndarray, images: np.ndarray = IMAGES) -> None:
    """Its source gives these outputs, and so does its graph."""
    source = open_source(path)
    (found,) = source.predict(Samples((images,)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    (described,) = source.describe().inputs
    assert tuple(described.shape[1:]) == images.shape[1:]
    (found,) = run(source.compile(SHAPES).graph, (images,))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_files_of_keras(suffix: str, tmp_path: Path) -> None:
    model = net()
    model.save(tmp_path / f"model{suffix}")
    assert_answers(tmp_path / f"model{suffix}", model.predict(IMAGES, verbose=0))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_files_of_keras_2_15(suffix: str) -> None:
    """Written by TensorFlow 2.15.1, with what it answers: `keras215.py` beside them."""
    with np.load(CASES / "keras215.npz") as known:
        assert_answers(CASES / f"keras215{suffix}", known["y"], known["image"])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_mixed_precision_is_exported_in_float32(policy: str, suffix: str, tmp_path: Path) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        model = net()
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / f"mixed{suffix}")
    plain = net()
    plain.set_weights(model.get_weights())
    assert_answers(tmp_path / f"mixed{suffix}", plain.predict(IMAGES, verbose=0))


@pytest.mark.parametrize("how", ["export", "tf.saved_model.save", "tf.Module"])
def test_saved_models(how: str, tmp_path: Path) -> None:
    model = net()
    expected = model.predict(IMAGES, verbose=0)
    if how == "export":
        model.export(tmp_path, verbose=False)
    elif how == "tf.saved_model.save":
        tf.saved_model.save(model, tmp_path)
    else:
        module = tf.Module()
        module.filters = tf.Variable(np.full((1, 1, 3, 5), 0.1, np.float32))
        module.call = tf.function(
            lambda image: {"y": tf.reduce_mean(tf.nn.conv2d(image, module.filters, 1, "VALID"), 3)},
            [tf.TensorSpec([None, 12, 12, 3], name="image")],
        )
        tf.saved_model.save(module, tmp_path, signatures=module.call)
        expected = 0.1 * IMAGES.sum(-1)
    assert_answers(tmp_path, expected)


def test_saved_models_that_do_more_are_refused(tmp_path: Path) -> None:
    module = tf.Module()
    module.call = tf.function(
        lambda x: tf.strings.to_number(tf.io.read_file("/etc/hostname")) + x,
        [tf.TensorSpec([None, 8], name="x")],
    )
    tf.saved_model.save(module, tmp_path / "reads", signatures=module.call)
    module.call = tf.function(
        lambda x: tf.py_function(abs, [x], tf.float32), module.call.input_signature
    )
    tf.saved_model.save(module, tmp_path / "calls", signatures=module.call)
    module = tf.Module()
    tf.saved_model.save(module, tmp_path / "empty")
    for name, says in (("reads", "ReadFile"), ("calls", "PyFunc"), ("empty", "no signature")):
        with pytest.raises(EdgegolfError, match=says) as raised:
            open_source(tmp_path / name)
        assert "model.save" in str(raised.value.hint)


def assert_float16(path: Path) -> None:
    """Its weights are float16: no larger constant is anything else."""
    if path.suffix == ".onnx":
        arrays = map(numpy_helper.to_array, onnx.load(path).graph.initializer)
        assert {a.dtype.name for a in arrays if a.size > 8 and a.dtype.kind == "f"} == {"float16"}
    else:
        constants = read_graph(path).parameters
        assert {tensor.dtype for tensor in constants if tensor.elements > 8} == {"float16"}


def test_float16_of_what_tf2onnx_cannot_write_and_of_open_shapes(tmp_path: Path) -> None:
    source = keras.Input((None, None, 3), name="image")
    hidden = L.GlobalAveragePooling2D()(L.Conv2D(64, 3, activation="gelu")(source))
    keras.Model(source, L.Dense(3)(hidden)).save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", x=IMAGES)
    wanted = ("float16", "dynamic")
    options = ExportOptions(dtypes=wanted, quick=True, input_shapes=(("", (12, 12, 3)),))
    made = export_model(tmp_path / "model.keras", tmp_path, tmp_path / "x.npz", options)
    names = ["float16.tflite", "dynamic.tflite", "float16.onnx"]
    assert [file.name for file in made.files] == names
    for file in made.files:
        assert (10 if file.dtype == "dynamic" else 30) < file.sqnr < 100
        if file.name != "dynamic.tflite":
            assert_float16(tmp_path / file.name)
    weights = read_graph(tmp_path / "dynamic.tflite").parameters
    assert "int8" in {tensor.dtype for tensor in weights if tensor.elements > 8}


def test_float16_of_a_tflite_file(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(tflite.write(plain_net()))
    np.savez(tmp_path / "x.npz", x=pixels(plain_net(), 20))
    options = ExportOptions(("tflite",), ("float16",), quick=True)
    (file,) = export_model(tmp_path / "net.tflite", tmp_path, tmp_path / "x.npz", options).files
    assert file.bytes < 0.6 * (tmp_path / "net.tflite").stat().st_size
    assert_float16(tmp_path / "float16.tflite")


def test_convolutions_of_three_dimensions_are_the_stock_converters(tmp_path: Path) -> None:
    """Our graph has none: that is told by name, and the file is golfed all the same."""
    keras.utils.set_random_seed(0)
    source = keras.Input((6, 8, 8, 2))
    hidden = L.GlobalAveragePooling3D()(L.Conv3D(4, 3, activation="relu")(source))
    keras.Model(source, L.Dense(3)(hidden)).save(tmp_path / "model.keras")
    images = np.random.default_rng(0).random((20, 6, 8, 8, 2), np.float32)
    np.savez(tmp_path / "x.npz", x=images)
    options = ExportOptions(("tflite",), max_drop=1, quick=True)
    made = export_model(tmp_path / "model.keras", tmp_path, tmp_path / "x.npz", options)
    assert "float32.tflite" in {file.name for file in made.files}
    assert any("the compiler has no CONV_3D" in note for note in made.notes)
    stock = KerasSource(tmp_path / "model.keras").convert(
        "float32.tflite", ((1, *images.shape[1:]),), Samples((images,))
    )
    assert stock is not None
    assert (tmp_path / "float32.tflite").stat().st_size < len(stock)


OPEN = (ModelInput("steps", (None, None, 4), "float32"), ModelInput("x", (None, 3), "float32"))


def test_open_shapes_are_given_by_name() -> None:
    (steps, x) = with_shapes(OPEN, {"steps": (20, 4)})
    assert (steps.shape, x) == ((None, 20, 4), OPEN[1])
    assert with_shapes(OPEN[:1], {"": (20, 4)})[0].shape == (None, 20, 4)
    assert with_shapes(OPEN, {}) == OPEN


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"": (20, 4)}, r"'x' takes \(3,\), not \(20, 4\)"),
        ({"steps": (20, 5)}, r"'steps' takes \(None, 4\), not \(20, 5\)"),
        ({"other": (20, 4)}, "no input 'other'"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(given, says: str) -> None:
    with pytest.raises(EdgegolfError, match=says):
        with_shapes(OPEN, given)
