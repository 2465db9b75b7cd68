from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
import keras
import onnx
from export_nets import measure, normalized, two_in_two_out
from keras import layers

from edgegolf.data import Dataset, Split
from edgegolf.errors import EdgegolfError
from edgegolf.export import WAYS, ExportOptions, export_model
from edgegolf.runtimes import installed_runtimes, open_session
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.classify import accuracy

pytestmark = pytest.mark.usefixtures("hasty")

USUAL = [name for name, way in WAYS.items() if way.dtype in ExportOptions().dtypes]
MAX_DROP = 0.03  # the net is hardly trained


def save(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "model.keras")
    return folder / "model.keras"


def save_samples(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def with_training(digits: Dataset, change: Callable[[Split], Split]) -> Dataset:
    """The same data set with other training images."""

    def read(which):
        split = digits.split(which)
        return change(split) if which == "train" else split

    return Dataset("changed", (28, 28, 1), 10, "", "", "", read)


def black_calibration(digits: Dataset) -> Dataset:
    """The same data set, but the images to calibrate on are black."""
    return with_training(digits, lambda split: Split(np.zeros_like(split.images), split.labels))


@pytest.fixture(scope="module")
def exported(trained, digits, tmp_path_factory, hasty):
    def few(split):  # the search runs every candidate on all that there are
        return Split(split.images[:300], split.labels[:300])

    folder = tmp_path_factory.mktemp("exported")
    options = ExportOptions(calibration_images=100, max_drop=MAX_DROP)
    made = export_model(trained, folder, with_training(digits, few), options, steps=80)
    assert not made.failures
    return folder, {file.name: file for file in made.files}


def test_every_file_is_written_verified_and_described(exported, trained, digits):
    folder, files = exported
    assert {path.name for path in folder.iterdir()} == set(files)
    assert set(files) >= set(USUAL)
    model = keras.saving.load_model(trained, compile=False)
    split = digits.split("validation")
    scores = model.predict(split.images / np.float32(255), verbose=0)
    keras_accuracy = np.mean(scores.argmax(axis=1) == split.labels)
    assert keras_accuracy > 0.8
    for name, file in files.items():
        assert file.bytes == (folder / name).stat().st_size
        assert file.model_accuracy == keras_accuracy
        assert file.validation_accuracy >= keras_accuracy - MAX_DROP
        assert file.max_difference < (1e-5 if file.dtype == "float32" else 1)


@pytest.mark.parametrize("name", USUAL)
def test_the_accuracy_is_the_one_that_bench_measures(exported, digits, name):
    folder, files = exported
    with open_session(folder / name) as session:
        found = accuracy(session, digits.split("validation"))
    assert found == files[name].validation_accuracy


def test_tflite_files_run_in_every_installed_runtime(exported, digits):
    folder, files = exported
    split = digits.split("validation")
    for name in ("float32.tflite", "int8.tflite"):
        for runtime in installed_runtimes(folder / name):
            # tflite-runtime loads no file in a process that has TensorFlow
            found = run_in_child(measure, folder / name, runtime, split, timeout=60)
            assert found == pytest.approx(files[name].validation_accuracy, abs=0.02)


def test_inputs_are_static_and_int8_where_promised(exported):
    folder, _ = exported
    for name, shape, dtype in (
        ("float32.tflite", (1, 28, 28, 1), "float32"),
        ("int8.tflite", (1, 28, 28, 1), "int8"),
        ("float32.onnx", (1, 28, 28, 1), "float32"),
        ("int8.onnx", (1, 1, 28, 28), "float32"),
    ):
        with open_session(folder / name) as session:
            (image,), (scores,) = session.inputs, session.outputs
            assert (image.shape, image.dtype) == (shape, dtype)
            assert (scores.shape, scores.dtype) == ((1, 10), dtype)


def test_int8_files_hold_int8_weights(exported):
    folder, _ = exported
    model = onnx.load(folder / "int8.onnx")
    weights = [i for i in model.graph.initializer if np.prod(i.dims) > 32]
    assert weights
    assert {tensor.data_type for tensor in weights} <= {
        onnx.TensorProto.INT8,
        onnx.TensorProto.UINT8,
    }
    in_functions = {node.op_type for function in model.functions for node in function.node}
    assert any("Conv" in name for name in in_functions)  # the block, which is stored once


def test_files_that_are_up_to_date_are_left_alone(trained, digits, tmp_path):
    assert export_model(trained, tmp_path, digits, skip=set(WAYS)).files == ()
    options = ExportOptions(formats=("onnx",), calibration_images=50)
    made = export_model(trained, tmp_path, digits, options, skip={"int8.onnx"}).files
    assert [file.name for file in made] == ["float32.onnx"]
    assert [path.name for path in tmp_path.iterdir()] == ["float32.onnx"]


def test_a_file_that_lost_accuracy_is_refused_and_leaves_nothing(trained, digits, tmp_path):
    options = ExportOptions(("tflite",), ("int8",), calibration_images=50, quick=True)
    stale = tmp_path / "int8.tflite"
    stale.write_bytes(b"of an older model")
    with pytest.raises(EdgegolfError, match=r"int8\.tflite loses .* points") as raised:
        export_model(trained, tmp_path, black_calibration(digits), options)
    assert "--max-drop" in raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_int8_weights_in_float_arithmetic_need_no_calibration(trained, digits, tmp_path):
    options = ExportOptions(("onnx",), ("int8",), calibration_images=50, quick=True)
    for file in export_model(trained, tmp_path, black_calibration(digits), options).files:
        assert file.model_accuracy - file.validation_accuracy <= options.max_drop


def test_the_loss_can_be_allowed(trained, digits, tmp_path):
    options = ExportOptions(("tflite",), ("int8",), calibration_images=50, max_drop=1, quick=True)
    for file in export_model(trained, tmp_path, black_calibration(digits), options).files:
        assert file.model_accuracy - file.validation_accuracy > 0.1


def test_several_inputs_and_outputs(tmp_path):
    generator = np.random.default_rng(0)
    model = save(two_in_two_out(), tmp_path)
    samples = save_samples(
        tmp_path / "x.npz",
        zeta=generator.normal(size=(70, 8)),
        alpha=generator.normal(size=(70, 4)),
    )
    files = export_model(model, tmp_path, samples, ExportOptions(quick=True)).files
    assert {file.name for file in files} >= {"float32.tflite", "int8.tflite", "float32.onnx"}
    for file in files:
        assert file.validation_accuracy is None
        assert file.max_difference < (1e-5 if file.dtype == "float32" else 0.2)


def images(count):
    """Noise of many colours and brightnesses, because nets answer alike to noise of one."""
    generator = np.random.default_rng(0)
    return generator.random((count, 1, 1, 3)) * generator.random((count, 12, 12, 3))


def test_a_sequential_net_with_batch_normalization_in_silence(tmp_path, capfd):
    generator = np.random.default_rng(0)
    net = normalized()
    norm = net.layers[1]
    norm.set_weights([generator.uniform(0.5, 2, 4) for _ in norm.get_weights()])
    samples = save_samples(tmp_path / "x.npz", any_name=images(64))
    # Fine-tuning is shown where it takes more than three seconds.
    files = export_model(save(net, tmp_path), tmp_path, samples, steps=0).files
    assert capfd.readouterr() == ("", "")
    for file in files:
        assert file.model_accuracy is None  # logits without labels are values
    folded = onnx.load(tmp_path / "float32.onnx")
    assert "BatchNormalization" not in {node.op_type for node in folded.graph.node}


@pytest.mark.parametrize("batch", [8, None])
def test_batches_on_request(tmp_path, batch):
    samples = save_samples(tmp_path / "x.npz", x=images(50))
    options = ExportOptions(batch=batch, max_drop=0.5, quick=True)
    made = export_model(save(normalized(), tmp_path), tmp_path, samples, options)
    assert len(made.files) > 2
    for file in made.files:
        with open_session(tmp_path / file.name) as session:
            assert session.inputs[0].shape == (batch, 12, 12, 3)


@pytest.mark.parametrize("file_format", ["tflite", "onnx"])
def test_an_unsupported_operation_is_named_with_its_layer(tmp_path, file_format):
    values = keras.Input((4,))
    model = keras.Model(values, keras.ops.erfinv(layers.Dense(4)(values)))
    path = save(model, tmp_path)
    samples = save_samples(tmp_path / "x.npz", x=np.zeros((5, 4)))
    with pytest.raises(EdgegolfError, match="layer 'erfinv' uses the operation Erfinv"):
        export_model(path, tmp_path / "out", samples, ExportOptions(formats=(file_format,)))
    assert not (tmp_path / "out").exists()


def test_a_grouped_convolution_is_written_by_the_compiler_where_tf2onnx_cannot(tmp_path):
    image = keras.Input((8, 8, 4))
    model = keras.Model(image, layers.Conv2D(4, 3, groups=2)(image))
    generator = np.random.default_rng(0)
    samples = save_samples(tmp_path / "x.npz", x=generator.normal(size=(30, 8, 8, 4)))
    path, options = save(model, tmp_path), ExportOptions(formats=("onnx",), dtypes=("float32",))
    (file,) = export_model(path, tmp_path / "out", samples, options).files
    assert file.sqnr > 100


def test_a_folder_that_cannot_be_written(trained, digits, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(EdgegolfError, match="cannot be written"):
        export_model(trained, tmp_path / "out", digits, ExportOptions(formats=("onnx",)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (ExportOptions(formats=("coreml",)), "no format 'coreml'"),
        (ExportOptions(dtypes=("int3",)), "no dtype 'int3'"),
        (ExportOptions(batch=0), "batch of 0"),
        (ExportOptions(max_drop=-1), "not a fraction"),
        (ExportOptions(calibration_images=0), "0 calibration images"),
    ],
)
def test_impossible_options_are_refused(trained, digits, tmp_path, options, says):
    with pytest.raises(EdgegolfError, match=says):
        export_model(trained, tmp_path, digits, options)
