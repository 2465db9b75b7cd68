from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegolf.errors import EdgegolfError
from edgegolf.export.samples import ModelInput, Samples
from edgegolf.export.warnings import (
    cut_off_warning,
    noise_warnings,
    reference_warnings,
    sample_warnings,
)

RANDOM = np.random.default_rng(0)
IMAGE = ModelInput("image", (None, 4, 4, 1), "float32")
SCALING = ModelInput("image", (None, 4, 4, 1), "float32", scales_itself=True)


def images(count=20):
    return RANDOM.random((count, 4, 4, 1)).astype(np.float32)


def judged(outputs, labels=None):
    return reference_warnings(Samples((images(len(outputs)),), labels), [outputs])


def uint8_rescaling(x):
    """`cases/keras/uint8_rescaling.py`: bright on the left or on the right, scaled by the net."""
    left, right = x[:, :, :2].mean(axis=(1, 2, 3)) / 255, x[:, :, 2:].mean(axis=(1, 2, 3)) / 255
    scores = np.stack([8 * (right - left) + 1, 8 * (left - right)], axis=1)
    exponentials = np.exp(scores)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_a_net_that_divides_what_was_divided_is_noticed():
    labels = RANDOM.integers(0, 2, 200)
    x = RANDOM.integers(0, 60, (200, 4, 4, 1)).astype(np.float32)
    x[labels == 1, :, :2] += 150
    x[labels == 0, :, 2:] += 150
    assert reference_warnings(Samples((x,), labels), [uint8_rescaling(x)]) == ()
    for given in (labels, None):
        black = Samples((x / 255,), given)
        (warning,) = reference_warnings(black, [uint8_rescaling(x / 255)])
        assert warning.startswith("the model gives class 0 for all samples")
    (warning,) = sample_warnings([SCALING], black)
    assert "0…1, but the model scales pixels of 0…255 itself" in warning
    assert sample_warnings([SCALING], Samples((x,))) == ()
    assert sample_warnings([IMAGE], black) == ()


def test_constant_samples_are_told():
    (warning,) = sample_warnings([IMAGE], Samples((np.full((5, 4, 4, 1), 0.5, np.float32),)))
    assert warning == "all numbers of input 'image' are 0.5"
    (warning,) = sample_warnings([IMAGE], Samples((np.repeat(images(1), 5, axis=0),)))
    assert warning == "all samples of input 'image' are the same"
    assert sample_warnings([IMAGE], Samples((images(1),))) == ()


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_model_whose_outputs_are_no_numbers_is_refused(number):
    outputs = RANDOM.normal(size=(20, 3))
    outputs[4, 2] = number
    with pytest.raises(EdgegolfError, match="output 0, first for sample 4"):
        judged(outputs)


def test_a_constant_output_is_told():
    assert judged(np.ones((20, 3))) == ("output 0 of the model is the same for all samples",)
    assert judged(RANDOM.normal(size=(20, 3))) == ()


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([1, 2, 3, 4, 5] * 4, r"labels are 1 to 5, the model's 5 classes are 0 to 4"),
        ([0, 7] * 10, "labels are 0 to 7"),
        ([-1, 1] * 10, "labels are -1 to 1"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, says):
    with pytest.raises(EdgegolfError, match=says) as raised:
        judged(RANDOM.normal(size=(20, 5)), np.array(labels))
    assert ("subtract 1" in raised.value.hint) == (min(labels) == 1)


def test_chance_is_told_and_skill_is_not():
    labels = RANDOM.integers(0, 10, 1000)
    guesses = RANDOM.normal(size=(1000, 10))
    (warning,) = judged(guesses, labels)
    assert "the model itself is right for" in warning
    assert judged(guesses + 0.5 * np.eye(10)[labels], labels) == ()
    assert judged(guesses[:5], labels[:5]) == ()  # too few to tell


def test_chance_of_unbalanced_classes_is_no_skill():
    labels = (RANDOM.random(1000) < 0.1).astype(np.int64)
    rarely = RANDOM.normal(size=(1000, 1)) - 1.3  # right for 80 %, as whoever says 0 often
    assert np.mean((rarely[:, 0] > 0) == labels) > 0.75
    (warning,) = judged(rarely, labels)
    assert "chance for" in warning


def test_classes_of_one_kind_are_no_warning():
    scores = RANDOM.normal(size=(50, 3)) + np.array([9, 0, 0])
    assert judged(scores, np.zeros(50, np.int64)) == ()


@pytest.mark.parametrize(
    ("scale", "zero_point", "dtype", "lost"),
    [
        (1 / 255, -128, "int8", None),
        (1 / 255, 0, "uint8", None),
        (0.5 / 255, 0, "uint8", "holds 0 to 0.5, which cuts off 50%"),
        (1 / 255, 0, "int8", "holds -0.502 to 0.498, which cuts off 50%"),
    ],
)
def test_what_an_integer_input_cuts_off_is_told(scale, zero_point, dtype, lost):
    values = np.linspace(0, 1, 10_000, dtype=np.float32)
    warning = cut_off_warning("image", values, scale, zero_point, dtype)
    assert warning is None if lost is None else lost in warning
    black_and_white = np.round(values)  # at the limits, but held
    assert cut_off_warning("image", black_and_white, 1 / 255, -128, "int8") is None


def test_a_noisy_machine_is_told():
    assert noise_warnings("onnx", [0.0, 0.03], Path("kept")) == ()
    (warning,) = noise_warnings("onnx", [0.0, 0.25, 0.11], Path("kept"))
    assert "onnx files against each other may be off by 25%" in warning
