from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

pytest.importorskip("tensorflow")
from export_nets import normalized, tight_resnet, two_in_two_out
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegolf.errors import EdgegolfError
from edgegolf.export.samples import ModelInput, Samples, read_data


def inputs_of(model):
    return [ModelInput(each.name, tuple(each.shape), each.dtype) for each in model.inputs]


MODEL = inputs_of(normalized())


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
    data = read_data(digits, inputs_of(tight_resnet()), 100)
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
        read_data(digits, MODEL, 10)
    with pytest.raises(EdgegolfError, match="the model has 2 inputs"):
        read_data(digits, inputs_of(two_in_two_out()), 10)


def test_arrays_are_matched_by_name(tmp_path):
    np.savez(tmp_path / "x.npz", alpha=np.ones((5, 4)), zeta=np.zeros((5, 8)), labels=[1] * 5)
    samples = read_data(tmp_path / "x.npz", inputs_of(two_in_two_out()), 3).validation
    assert [values.shape for values in samples.inputs] == [(5, 8), (5, 4)]
    assert samples.labels.dtype == np.int64


def test_pixels_are_scaled_and_numbers_are_not(tmp_path):
    pixels = np.full((2, 12, 12, 3), 255, np.uint8)
    for values, expected in ((pixels, 1), (pixels.astype(np.float64), 255)):
        np.savez(tmp_path / "x.npz", x=values)
        samples = read_data(tmp_path / "x.npz", MODEL, 1).validation
        assert samples.inputs[0].dtype == np.float32
        assert samples.inputs[0].max() == expected


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
            {"zeta": np.zeros((5, 8)), "alpha": np.zeros((5, 4)), "labels": np.zeros(5)},
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
        read_data(tmp_path / "x.npz", inputs_of(two_in_two_out()), 5)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        read_data(tmp_path / "x.npz", MODEL, 2)
