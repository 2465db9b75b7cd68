from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import small_models as models

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import accuracy, scores

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 2, 3, 1), np.uint8)
COLOURED = np.random.default_rng(0).integers(0, 256, (9, 2, 3, 4), np.uint8)


@pytest.fixture(autouse=True)
def packages():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")


@pytest.mark.parametrize("kind", [models.INT8, models.UINT8])
def test_quantized_scores_are_the_pixels(tmp_path, kind):
    path = models.tflite_int8_identity(tmp_path / "identity.tflite", (2, 3, 1), kind)
    with open_session(path, "litert") as session:
        found = scores(session, IMAGES)
    np.testing.assert_allclose(found, IMAGES.reshape(9, 6) / 255, atol=1.01 / 255)


def test_a_scale_of_one_asks_for_whole_pixels(tmp_path):
    path = models.tflite_int8_identity(tmp_path / "pixels.tflite", (2, 3, 1), scale=1.0)
    with open_session(path, "litert") as session:
        found = scores(session, IMAGES)
    np.testing.assert_allclose(found, IMAGES.reshape(9, 6), atol=1.01)


@pytest.mark.parametrize("batch", [1, 4, "n"])
def test_layouts_and_batches(tmp_path, batch):
    channels_last = models.onnx_pixels(tmp_path / "last.onnx", (2, 3, 4), batch=batch)
    channels_first = models.onnx_pixels(tmp_path / "first.onnx", (4, 2, 3), batch=batch)
    with open_session(channels_last) as session:
        found = scores(session, COLOURED)
        np.testing.assert_allclose(found, COLOURED.reshape(9, -1) / 255, rtol=1e-6)
    with open_session(channels_first) as session:
        found = scores(session, COLOURED)
        expected = COLOURED.transpose(0, 3, 1, 2).reshape(9, -1) / 255
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (6,)])
def test_flat_inputs(tmp_path, shape):
    path = models.onnx_pixels(tmp_path / "flat.onnx", shape)
    with open_session(path) as session:
        np.testing.assert_allclose(scores(session, IMAGES), IMAGES.reshape(9, 6) / 255, rtol=1e-6)


@pytest.mark.parametrize(("kind", "shift"), [("UINT8", 0), ("INT8", -128), ("INT32", 0)])
def test_integers_without_scale_are_pixels(tmp_path, kind, shift):
    path = models.onnx_pixels(tmp_path / "bytes.onnx", (2, 3, 1), kind)
    with open_session(path) as session:
        found = scores(session, IMAGES)
    np.testing.assert_array_equal(found, IMAGES.reshape(9, 6).astype(np.float32) + shift)


def test_accuracy_counts(tmp_path):
    path = models.onnx_pixels(tmp_path / "brightest.onnx", (2, 3, 1))
    labels = IMAGES.reshape(9, 6).argmax(axis=1)
    labels[:3] = (labels[:3] + 1) % 6
    with open_session(path) as session:
        assert accuracy(session, SimpleNamespace(images=IMAGES, labels=labels)) == 6 / 9


def test_undefined_scores_are_wrong(tmp_path):
    path = models.onnx_model(
        tmp_path / "nan.onnx",
        [("Flatten", ["x"], ["flat"]), ("Add", ["flat", "nan"], ["y"])],
        {"x": ("FLOAT", [1, 2, 3, 1])},
        {"y": ("FLOAT", [1, 6])},
        {"nan": np.float32([np.nan])},
    )
    with open_session(path) as session:
        assert accuracy(session, SimpleNamespace(images=IMAGES, labels=np.zeros(9, int))) == 0


def test_what_is_no_classifier_is_refused(tmp_path):
    other = models.onnx_pixels(tmp_path / "other.onnx", (28, 28, 1))
    with open_session(other) as session, pytest.raises(EdgegolfError, match="2 x 3 x 1"):
        scores(session, IMAGES)
    few = models.onnx_pixels(tmp_path / "few.onnx", (2, 3, 1))
    split = SimpleNamespace(images=IMAGES, labels=np.full(9, 6))
    with open_session(few) as session, pytest.raises(EdgegolfError, match="tells 6 classes"):
        accuracy(session, split)
    two = models.tflite_two_inputs(tmp_path / "two.tflite")
    with open_session(two) as session, pytest.raises(EdgegolfError, match="2 inputs"):
        scores(session, IMAGES)
