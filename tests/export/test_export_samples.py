from __future__ import annotations

import dataclasses
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegolf.errors import EdgegolfError
from edgegolf.export.samples import HELD_OUT, ModelInput, Samples, read_data

DIGITS = (ModelInput("image", (None, 28, 28, 1), "float32"),)
COLOURS = (ModelInput("input_1", (None, 12, 12, 3), "float32"),)
TWO = (ModelInput("zeta", (None, 8), "float32"), ModelInput("alpha", (None, 4), "float32"))


@given(count=st.integers(1, 40), size=st.integers(1, 17))
def test_batches_hold_every_sample_once_and_are_full(count, size):
    batches = [batch for (batch,) in Samples((np.arange(count),)).batches(size)]
    assert {len(batch) for batch in batches} == {size}
    assert list(np.concatenate(batches)[:count]) == list(range(count))


@given(count=st.integers(1, 300), wanted=st.integers(1, 300))
def test_taking_spreads_evenly_and_keeps_labels_together(count, wanted):
    taken = Samples((np.arange(count),), np.arange(count)).take(wanted)
    assert len(taken) == min(count, wanted)
    assert np.array_equal(taken.inputs[0], taken.labels)
    assert len(set(taken.labels)) == len(taken)
    assert len(np.unique(np.diff(taken.labels))) <= 2


def test_a_data_set_calibrates_on_train_and_verifies_on_validation(digits):
    data = read_data(digits, DIGITS, 100)
    assert len(data.calibration) == 100
    train, validation = digits.split("train"), digits.split("validation")
    assert data.validation.inputs[0].dtype == np.float32
    np.testing.assert_array_equal(data.validation.labels, validation.labels)
    np.testing.assert_allclose(data.validation.inputs[0] * 255, validation.images, atol=1e-4)
    pixels = {image.tobytes() for image in train.images}
    used = np.round(data.calibration.inputs[0] * 255).astype(np.uint8)
    assert all(image.tobytes() in pixels for image in used)


def test_a_data_set_that_does_not_fit_is_refused(digits):
    with pytest.raises(EdgegolfError, match=r"data set digits has shape \(28, 28, 1\)"):
        read_data(digits, COLOURS, 10)
    with pytest.raises(EdgegolfError, match="the model has 2 inputs"):
        read_data(digits, TWO, 10)


def test_arrays_are_matched_by_name(tmp_path):
    np.savez(tmp_path / "x.npz", alpha=np.ones((5, 4)), zeta=np.zeros((5, 8)), labels=[1] * 5)
    samples = read_data(tmp_path / "x.npz", TWO, 3).validation
    assert [values.shape for values in samples.inputs] == [(5, 8), (5, 4)]
    assert samples.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("arrays", "inputs", "labels"),
    [
        ({"x": (5, 4), "y": np.int64}, ["input"], True),  # as PyTorch's users call them
        ({"x": (5, 4), "y": np.float32}, ["input"], False),  # numbers to be learned
        ({"y": (5, 4)}, ["input"], False),  # the only array is the input
        ({"x": (5, 4), "y": (5, 4)}, ["x", "y"], False),  # both are inputs
    ],
)
def test_what_is_called_y_may_be_labels(tmp_path, arrays, inputs, labels):
    made = {
        name: np.ones(shape) if isinstance(shape, tuple) else np.full(5, 2, shape)
        for name, shape in arrays.items()
    }
    np.savez(tmp_path / "x.npz", **made)
    wanted = [ModelInput(name, (None, 4), "float32") for name in inputs]
    samples = read_data(tmp_path / "x.npz", wanted, 3).validation
    assert len(samples.inputs) == len(inputs)
    assert (samples.labels is not None) == labels


def test_pixels_are_scaled_and_numbers_are_not(tmp_path):
    pixels = np.full((2, 12, 12, 3), 255, np.uint8)
    for values, expected in ((pixels, 1), (pixels.astype(np.float64), 255)):
        np.savez(tmp_path / "x.npz", x=values)
        samples = read_data(tmp_path / "x.npz", COLOURS, 1).validation
        assert samples.inputs[0].dtype == np.float32
        assert samples.inputs[0].max() == expected


def test_what_became_of_pixels_is_told(tmp_path, digits):
    np.save(tmp_path / "x.npy", np.full((2, 12, 12, 3), 255, np.uint8))
    divided = read_data(tmp_path / "x.npy", COLOURS, 1)
    assert divided.validation.inputs[0].max() == 1
    assert divided.notes[0].endswith("x.npy: uint8 pixels were divided by 255")
    scaling = (dataclasses.replace(COLOURS[0], scales_itself=True),)
    kept = read_data(tmp_path / "x.npy", scaling, 1)
    assert kept.validation.inputs[0].dtype == np.float32
    assert kept.validation.inputs[0].max() == 255
    assert "stay 0…255, since the model scales them itself" in kept.notes[0]
    kept = read_data(digits, (dataclasses.replace(DIGITS[0], scales_itself=True),), 10)
    assert kept.calibration.inputs[0].max() == 255
    assert kept.notes[1] == (
        "data set digits: 10 training images calibrate, 180 others verify, with labels"
    )


@pytest.mark.parametrize(
    ("found", "wanted", "told"),
    [
        ((3, 12, 12), (12, 12, 3), "moved last"),
        ((12, 12, 3), (3, 12, 12), "moved first"),
        ((3, 20, 30), (None, None, 3), "moved last"),
        ((9, 4), (4, 9), "moved"),
        ((28, 28), (28, 28, 1), "axis of 1 was added"),
        ((28, 28), (1, 28, 28), "reshaped"),
        ((28, 28, 1), (28, 28), "reshaped"),
        ((28, 28, 1), (784,), "reshaped"),
        ((784,), (28, 28, 1), "reshaped"),
        ((50,), (None, 1), "axis of 1 was added"),
    ],
)
def test_axes_in_another_order_are_taken_over_and_told(tmp_path, found, wanted, told):
    values = np.random.default_rng(0).normal(size=(2, *found)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    data = read_data(tmp_path / "x.npy", [ModelInput("x", (1, *wanted), "float32")], 2)
    (given,) = data.validation.inputs
    assert told in data.notes[0]
    assert str(found) in data.notes[0]
    if "moved" in told:
        axes = (0, 2, 3, 1) if "last" in told else (0, 3, 1, 2)
        values = values.transpose(axes if len(found) == 3 else (0, 2, 1))
    np.testing.assert_array_equal(given.ravel(), values.ravel())
    assert all(size in (None, length) for size, length in zip(wanted, given.shape[1:], strict=True))


def test_many_samples_are_divided_between_calibration_and_verification(tmp_path):
    for count, calibrating, verifying in ((HELD_OUT, 100, 100), (1000, 300, 700), (199, 199, 199)):
        np.savez(tmp_path / "x.npz", x=np.arange(count * 8).reshape(count, 8))
        data = read_data(tmp_path / "x.npz", TWO[:1], 300)
        assert (len(data.calibration), len(data.validation)) == (calibrating, verifying)
        firsts = [set(samples.inputs[0][:, 0]) for samples in (data.calibration, data.validation)]
        assert len(firsts[0] | firsts[1]) == count
        assert firsts[0].isdisjoint(firsts[1]) == (count >= HELD_OUT)
        assert data.notes[-1].endswith(", without labels")


def test_names_of_converters_and_positions_are_understood(tmp_path):
    inputs = [
        ModelInput("serving_default_my image:0", (1, 8), "float32"),
        ModelInput("画像", (1, 8), "float32"),
    ]
    arrays = {"画像": np.ones((5, 8)), "my_image": np.zeros((5, 8))}
    np.savez(tmp_path / "x.npz", **arrays)
    np.savez(tmp_path / "y.npz", np.zeros((5, 8)), np.ones((5, 8)))
    for name in ("x.npz", "y.npz"):
        found = read_data(tmp_path / name, inputs, 5).validation.inputs
        assert [values.max() for values in found] == [0, 1]


@pytest.mark.parametrize(
    "labels",
    [np.arange(5)[:, None], np.arange(5.0), np.eye(5), np.eye(5, dtype=bool)],
    ids=["column", "float", "one-hot", "bool"],
)
@pytest.mark.parametrize("name", ["labels", "y"])
def test_labels_in_any_form_are_a_row(tmp_path, name, labels):
    np.savez(tmp_path / "x.npz", x=np.zeros((5, 8)), **{name: labels})
    found = read_data(tmp_path / "x.npz", TWO[:1], 5).validation.labels
    if name == "y" and labels.dtype == float and labels.ndim == 1:  # may be any numbers
        assert found is None
    else:
        assert list(found) == [0, 1, 2, 3, 4]
        assert found.dtype == np.int64


@pytest.mark.parametrize(
    ("values", "dtype", "says"),
    [
        ([[1.0, np.nan]], "float32", "NaN or infinite numbers, first in sample 0"),
        ([[1.0, 2], [np.inf, 0]], "float32", "first in sample 1"),
        ([[1e300, 0]], "float32", "cannot hold"),
        ([[1e6, 0]], "float16", "cannot hold"),
        ([[1.5, 0]], "int32", "cannot hold"),
        ([[2**40, 0]], "int32", "cannot hold"),
        ([[300, 0]], "uint8", "cannot hold"),
        ([[1.0, 0]], "string", "takes string, no numbers"),
    ],
)
def test_numbers_that_an_input_cannot_hold_are_refused(tmp_path, values, dtype, says):
    np.save(tmp_path / "x.npy", np.array(values))
    with pytest.raises(EdgegolfError, match=says):
        read_data(tmp_path / "x.npy", [ModelInput("x", (None, 2), dtype)], 5)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "has no array 'zeta'"),
        ({"zeta": np.zeros((5, 8))}, "has no array 'alpha', but zeta"),
        ({"zeta": np.zeros((5, 8)), "alpha": np.zeros((5, 3))}, r"'alpha' .* has shape \(3,\)"),
        ({"zeta": np.zeros((5, 8)), "alpha": np.zeros((4, 4))}, "not all the same"),
        ({"zeta": np.zeros((0, 8)), "alpha": np.zeros((0, 4))}, "no samples"),
        ({"zeta": np.zeros((5, 8)), "alpha": np.array(["x"] * 5)}, "not an array of numbers"),
        ({"zeta": np.zeros((5, 8)), "alpha": np.zeros(())}, "not an array of numbers"),
        (
            {"zeta": np.zeros((5, 8)), "alpha": np.zeros((5, 4)), "labels": np.full(5, 0.5)},
            "labels that are not",
        ),
        (
            {"zeta": np.zeros((5, 8)), "alpha": np.zeros((5, 4)), "labels": np.array(3)},
            "labels that are not",
        ),
        ({"zeta": np.array([None] * 5, dtype=object)}, "damaged or not"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, arrays, says):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(EdgegolfError, match=says):
        read_data(tmp_path / "x.npz", TWO, 5)


def test_an_array_file_that_would_run_code_or_tells_of_more_is_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.array([None] * 5, dtype=object), allow_pickle=True)
    with pytest.raises(EdgegolfError, match="damaged or not"):
        read_data(path, TWO[:1], 5)
    np.save(path, np.zeros((10, 8)))
    path.write_bytes(path.read_bytes().replace(b"(10, 8)", b"(9**9,)").replace(b"9**9", b"9999"))
    with pytest.raises(EdgegolfError, match="damaged or not"):
        read_data(path, TWO[:1], 5)
    path.write_bytes(b"")
    with pytest.raises(EdgegolfError, match="is empty"):
        read_data(path, TWO[:1], 5)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_npz_files_give_one_error(tmp_path, data):
    np.savez(tmp_path / "good.npz", x=np.ones((3, 12, 12, 3), np.float32))
    content = bytearray((tmp_path / "good.npz").read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for _ in range(data.draw(st.integers(1, 6)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x.npz").write_bytes(bytes(content))
    with suppress(EdgegolfError):  # and no other error
        read_data(tmp_path / "x.npz", COLOURS, 2)
