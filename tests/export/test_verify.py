"""Judged are the outputs of nets quantized here by the formula; no converter is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ir_nets import pixels, plain_net

from edgegolf.backends import tflite
from edgegolf.errors import EdgegolfError
from edgegolf.export import ExportedFile, ExportOptions, export_model
from edgegolf.export.samples import Samples
from edgegolf.export.verify import check, compare, is_distribution, labelled_output
from edgegolf.export.warnings import reference_warnings
from edgegolf.ir import Graph, Node, Tensor, ops
from edgegolf.ir.interpreter import run

RANDOM = np.random.default_rng(0)


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (exponentials / exponentials.sum(axis=-1, keepdims=True)).astype(np.float32)


def in_int8(output):
    """One scale for the tensor, as runtimes store it."""
    low, high = min(output.min(), 0), max(output.max(), 0)
    scale = (high - low) / 255
    return (np.round(output / scale) * scale).astype(np.float32)


def samples(count, labels=None):
    return Samples((np.zeros((count, 1), np.float32),), labels)


def regression():
    """`cases/keras/regression_scales.py`: a centre in pixels and a confidence of 0…1."""
    weights = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)
    weights[:, 0] *= 40
    weights[:, 1] *= 0.2
    inputs = RANDOM.normal(size=(500, 8)).astype(np.float32)
    return inputs @ weights + np.array([300, 0.5], np.float32)


def test_a_regression_is_no_classifier_and_its_lost_column_is_refused():
    expected = regression()
    found = in_int8(expected)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()  # "100.00 %", once
    result = compare([found], [expected], samples(500))
    assert result.accuracy is None
    (output,) = result.outputs
    assert output.kind == "values"
    assert output.sqnr > 30
    assert output.worst_column == 1
    assert output.worst_sqnr < 0
    with pytest.raises(EdgegolfError, match=r"int8.onnx loses column 1 of output 0: .* 10 dB"):
        check("int8.onnx", False, [found], [expected], samples(500), 1)


def test_columns_of_like_ranges_pass_and_weak_ones_are_told():
    expected = RANDOM.normal(size=(500, 4)).astype(np.float32)
    assert not check("f", False, [in_int8(expected)], [expected], samples(500), 0).doubts
    expected[:, 2] /= 25
    (doubt,) = check("f", False, [in_int8(expected)], [expected], samples(500), 0).doubts
    assert doubt.startswith("column 2 of output 0 keeps only 1")


def test_samples_that_tell_nothing_refuse_nothing_but_are_told():
    expected = (300 + RANDOM.normal(size=(500, 2))).astype(np.float32)
    stuck = np.full_like(expected, 300)
    (doubt,) = check("f", False, [stuck], [expected], samples(500), 0).doubts
    assert "of output 0 keeps only 0.0 dB" in doubt or "of output 0 keeps only -0.0 dB" in doubt


def test_an_autoencoder_loses_no_accuracy_and_no_dark_pixels():
    expected = RANDOM.random((200, 400)).astype(np.float32)
    expected[:, :40] *= 1e-3  # a border that hardly varies
    found = in_int8(expected)
    assert np.mean(found.argmax(axis=1) != expected.argmax(axis=1)) > 0.1  # "loses points", once
    result = check("int8.tflite", False, [found], [expected], samples(200), 0)
    assert result.accuracy is None
    assert result.outputs[0].worst_column is None
    assert result.outputs[0].sqnr == pytest.approx(6.02 * 8, abs=0.5)


def test_probabilities_choose_classes():
    expected = softmax(3 * RANDOM.normal(size=(400, 5)))
    for output in (expected, np.log(expected)):
        result = compare([output], [output], samples(400))
        assert result.outputs[0].kind == "classes"
        assert result.accuracy == result.reference_accuracy == 1
    labels = RANDOM.integers(0, 5, 400)
    result = compare([expected], [expected], samples(400, labels))
    assert result.accuracy == np.mean(expected.argmax(axis=1) == labels)


def test_classes_of_every_pixel():
    expected = softmax(3 * RANDOM.normal(size=(4, 8, 8, 3)))
    found = expected.copy()
    found[0, 0, 0] = np.roll(found[0, 0, 0], 1)
    assert compare([found], [expected], samples(4)).accuracy == pytest.approx(255 / 256)


@pytest.mark.parametrize("is_probability", [True, False])
def test_one_column_tells_two_classes_apart(is_probability):
    logits = RANDOM.normal(size=(100, 1)).astype(np.float32)
    expected = 1 / (1 + np.exp(-logits)) if is_probability else logits
    labels = (logits[:, 0] > 0).astype(np.int64)
    labels[:10] ^= 1
    assert compare([expected], [expected], samples(100, labels)).accuracy == 0.9


def test_labels_find_the_output_that_they_judge():
    labels = RANDOM.integers(0, 4, 300)
    box = RANDOM.normal(size=(300, 4))
    logits = RANDOM.normal(size=(300, 4)) + 9 * np.eye(4)[labels]
    assert labelled_output([box, logits], labels) == 1
    assert labelled_output([box[:, :3]], labels) is None
    assert labelled_output([box], None) is None
    result = compare([box, logits], [box, logits], samples(300, labels))
    assert [output.kind for output in result.outputs] == ["values", "classes"]
    assert result.accuracy > 0.99


def test_lost_accuracy_is_refused_above_what_may_be_lost():
    labels = np.arange(1000) % 10
    expected = np.eye(10, dtype=np.float32)[labels]
    found = expected.copy()
    found[:20] = np.roll(expected[:20], 1, axis=1)
    with pytest.raises(EdgegolfError, match=r"loses 2\.00 points .* 98\.00% against 100\.00%"):
        check("x", False, [found], [expected], samples(1000, labels), 0.019)
    assert check("x", False, [found], [expected], samples(1000, labels), 0.02).accuracy == 0.98


def test_without_labels_classes_may_change_where_the_signal_is_kept():
    expected = softmax(0.4 * RANDOM.normal(size=(500, 10)))  # rather alike
    noise = expected.std() * RANDOM.normal(size=expected.shape)
    slightly, badly = (np.float32(expected + size * noise) for size in (0.1, 0.6))
    result = check("x", False, [slightly], [expected], samples(500), 0.005)
    assert result.accuracy < 0.99
    with pytest.raises(EdgegolfError, match="points of accuracy"):
        check("x", False, [badly], [expected], samples(500), 0.005)


def test_a_float_file_differs_by_rounding_only():
    expected = regression()
    rounded = expected * np.float32(1 + 1e-6)
    assert check("x", True, [rounded], [expected], samples(500), 0).outputs[0].sqnr > 90
    other = expected.copy()
    other[:, 1] += 0.05  # far below a thousandth of 300
    for wrong in (expected + 1, other, -expected):
        with pytest.raises(EdgegolfError, match="gives other outputs than the model"):
            check("x", True, [wrong], [expected], samples(500), 1)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(number):
    expected = regression()
    found = expected.copy()
    found[7, 0] = number
    with pytest.raises(EdgegolfError, match="NaN or infinite numbers in output 1"):
        check("x", False, [expected, found], [expected, expected], samples(500), 1)


def test_what_a_distribution_is():
    assert is_distribution(softmax(RANDOM.normal(size=(9, 3))))
    assert not is_distribution(RANDOM.normal(size=(9, 3)))
    assert not is_distribution(np.ones((9, 1)))
    assert not is_distribution(np.ones(9))


def test_integers_are_classes_and_judged_by_equality():
    """An `ArgMax` at the end: the distance of two classes' numbers says nothing."""
    expected = RANDOM.integers(0, 10, 500)
    found = expected.copy()
    found[:10] = 9 - found[:10]
    result = check("f", False, [found.astype(np.int32)], [expected], samples(500), 0)
    (output,) = result.outputs
    assert (output.kind, result.accuracy, result.reference_accuracy) == ("classes", 0.98, 1)
    assert output.sqnr == pytest.approx(-10 * np.log10(0.02))
    with pytest.raises(EdgegolfError, match=r"f loses 2\.00 points"):
        check("f", True, [found], [expected], samples(500), 0)
    found[:60] = expected[:60] + 1
    with pytest.raises(EdgegolfError, match=r"f loses 12\.00 points"):
        check("f", False, [found], [expected], samples(500), 0)


@pytest.mark.parametrize("shape", [(500,), (500, 1)])
def test_integers_are_judged_by_labels(shape):
    expected = RANDOM.integers(0, 10, shape)
    labels = expected.ravel().copy()
    labels[:50] = (labels[:50] + 1) % 10
    found = expected.copy()
    found[40:55] = 0
    labelled = samples(500, labels)
    assert labelled_output([expected], labels) == 0
    result = compare([found], [expected], labelled)
    assert result.reference_accuracy == 0.9
    assert result.accuracy == np.mean(found.ravel() == labels)
    assert reference_warnings(labelled, [expected]) == ()
    assert "chance" in reference_warnings(samples(500, np.roll(labels, 7)), [expected])[0]


def exported(graph: Graph, folder: Path, **arrays: object) -> tuple[ExportedFile, ...]:
    (folder / "net.tflite").write_bytes(tflite.write(graph))
    np.savez(folder / "x.npz", **arrays)
    options = ExportOptions(quick=True)
    return export_model(folder / "net.tflite", folder / "out", folder / "x.npz", options).files


def test_a_model_that_answers_with_a_class_is_exported(tmp_path):
    net = plain_net()
    place = Tensor((1,), "int64")
    node = Node(ops.ArgMax(1), (net.outputs[0],), (place,))
    graph = Graph(net.inputs, (place,), (*net.nodes, node))
    images = pixels(net, 300)
    right = run(graph, (images,))[0]
    made = exported(graph, tmp_path, x=images, labels=right)
    assert {file.name for file in made} >= {"int8.tflite", "int8.onnx", "float32.onnx"}
    for file in made:
        assert file.model_accuracy == 1
        assert file.validation_accuracy > (0.999 if file.dtype == "float32" else 0.97)
