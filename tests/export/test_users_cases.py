"""What users brought that once failed, each in a way of its own."""

# ruff: noqa: N812 -- L are the layers, as in Keras's own guides

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
import keras
from keras import layers as L

from edgegolf.errors import EdgegolfError
from edgegolf.export import ExportOptions, export_model
from edgegolf.export.export import Exported
from edgegolf.runtimes import open_session

pytestmark = pytest.mark.usefixtures("hasty")

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(60, 8)).astype(np.float32)


def net(*layers: Any, shape: tuple[int, ...] = (8,), name: str | None = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape, name=name), *layers])


def export(folder: Path, model: keras.Model, way: str, **arrays: np.ndarray) -> Exported:
    """A quick export in one way, `int8.tflite`, into `folder/out`."""
    model.save(folder / "model.keras")
    np.savez(folder / "samples.npz", **arrays)
    dtype, _, file_format = way.partition(".")
    options = ExportOptions((file_format,), (dtype,), quick=True)
    return export_model(folder / "model.keras", folder / "out", folder / "samples.npz", options)


def names(made: Exported) -> list[str]:
    assert not made.failures
    return [file.name for file in made.files]


def test_a_lambda_as_loss_is_no_layer(tmp_path: Path) -> None:
    model = net(L.Dense(4, activation="relu"), L.Dense(2))
    model.compile("adam", loss=lambda true, found: keras.ops.mean((true - found) ** 2))
    assert names(export(tmp_path, model, "float32.tflite", x=TABLE)) == ["float32.tflite"]


@pytest.mark.long
def test_what_crashes_a_converter_is_made_by_the_compiler_or_one_line(tmp_path: Path) -> None:
    model = net(L.LSTM(4), L.Dense(3, activation="softmax"), shape=(12, 5))
    series = RANDOM.random((30, 12, 5), np.float32)
    try:
        said = names(export(tmp_path, model, "int8.tflite", x=series))
    except EdgegolfError as error:
        said = error.message.splitlines()
    assert "int8.tflite" in said or len(said) == 1


def test_names_that_tensorflow_does_not_take(tmp_path: Path) -> None:
    source = keras.Input((6, 6, 1), name="my 画像")
    hidden = L.Conv2D(2, 3, activation="softplus", name="first conv")(source)
    scores = L.Dense(3, name="b c")(L.Flatten(name="平ら")(hidden))
    model = keras.Model(source, scores, name="模型")  # which only the converter can read
    images = RANDOM.random((40, 6, 6, 1), np.float32)
    for way in ("int8.tflite", "float32.onnx"):
        assert way in names(export(tmp_path, model, way, image=images))


def test_an_adapted_normalization_in_onnx(tmp_path: Path) -> None:
    normalization = L.Normalization()
    normalization.adapt(3 * TABLE + 5)
    made = export(tmp_path, net(normalization, L.Dense(4)), "float32.onnx", x=3 * TABLE + 5)
    assert names(made) == ["float32.onnx"]


def test_a_lost_output_is_refused_and_leaves_no_older_file(tmp_path: Path) -> None:
    model = net(L.Dense(2))
    weights = RANDOM.normal(size=(8, 2)) * (40, 0.2)
    model.layers[0].set_weights([weights, np.array([300, 0.5])])
    (tmp_path / "out").mkdir()
    older = tmp_path / "out" / "int8.tflite"
    older.write_bytes(b"of another net")
    try:
        error = export(tmp_path, model, "int8.tflite", x=TABLE).failures["int8.tflite"]
    except EdgegolfError as raised:
        error = raised
    assert "column 1 of output 0" in error.message
    assert not older.exists()


def test_a_net_that_scales_its_pixels_is_calibrated_on_pixels(tmp_path: Path) -> None:
    labels = np.arange(60) % 2
    images = RANDOM.integers(0, 60, (60, 6, 6, 1))
    images[labels == 1, :, :3] += 150
    images[labels == 0, :, 3:] += 150
    model = net(
        L.Rescaling(1 / 255), L.Flatten(), L.Dense(2, activation="softmax"), shape=(6, 6, 1)
    )
    sides = np.tile(np.repeat([-0.3, 0.3], 3), 6)
    model.layers[-1].set_weights([np.column_stack([sides, -sides]), np.zeros(2)])
    made = export(tmp_path, model, "int8.tflite", image=images.astype(np.uint8), labels=labels)
    (file,) = (each for each in made.files if each.name == "int8.tflite")
    assert file.validation_accuracy == file.model_accuracy == 1
    with open_session(tmp_path / "out" / "int8.tflite") as session:
        assert 255 * session.inputs[0].scale[0] == pytest.approx(255, rel=0.2)


def test_dict_outputs_and_eleven_outputs(tmp_path: Path) -> None:
    source = keras.Input((8,))
    heads = {f"head {index}": L.Dense(1 + index % 2)(source) for index in range(11)}
    made = export(tmp_path, keras.Model(source, heads), "int8.tflite", x=TABLE)
    assert "int8.tflite" in names(made)
