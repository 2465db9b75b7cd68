from __future__ import annotations

import numpy as np
import pytest

from edgegolf.sqnr import sqnr, sqnr_by_column


def quantized(values, bits):
    """Uniform, mid-rise, over −1…1."""
    steps = 2.0 ** (bits - 1)
    return (np.floor(values * steps).clip(-steps, steps - 1) + 0.5) / steps


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_a_full_scale_sine_has_six_decibels_a_bit(bits):
    sine = np.sin(np.arange(100_000) * 0.1234567)
    assert sqnr(sine, quantized(sine, bits)) == pytest.approx(6.02 * bits + 1.76, abs=0.15)


def test_uniform_noise_has_six_decibels_a_bit():
    values = np.random.default_rng(0).uniform(-1, 1, (100_000, 3))
    assert sqnr_by_column(values, quantized(values, 8)) == pytest.approx(8 * 6.0206, abs=0.05)


def test_it_tells_the_coefficient_of_determination():
    random = np.random.default_rng(0)
    truth = random.normal(300, 40, 1000)
    found = truth + random.normal(0, 4, 1000)
    unexplained = np.sum((truth - found) ** 2) / np.sum((truth - truth.mean()) ** 2)
    assert sqnr(truth, found) == pytest.approx(-10 * np.log10(unexplained))


def test_a_result_stuck_at_its_mean_has_nothing_left():
    values = np.random.default_rng(0).normal(300, 1, (500, 2))
    stuck = np.broadcast_to(values.mean(axis=0), values.shape)
    assert sqnr(values, stuck) == pytest.approx(0)
    assert sqnr_by_column(values, stuck) == pytest.approx(0)


def test_scale_and_offset_of_both_change_nothing():
    random = np.random.default_rng(0)
    values = random.normal(size=(50, 4, 3))
    found = values + random.normal(0, 0.1, values.shape)
    assert sqnr(values * 7 + 5, found * 7 + 5) == pytest.approx(sqnr(values, found))


def test_a_column_of_small_numbers_is_seen():
    random = np.random.default_rng(0)
    values = random.normal(size=(500, 2)) * [40, 0.2] + [300, 0.5]
    step = np.ptp(values) / 255
    found = np.round(values / step) * step
    assert sqnr(values, found) > 30
    first, second = sqnr_by_column(values, found)
    assert first > 30
    assert second < 0


def test_constant_columns_tell_nothing():
    values = np.random.default_rng(0).normal(size=(100, 3))
    values[:, 1] = 0.5
    values[:, 2] *= 1e-9  # rounding of a float32 beside numbers about 1
    by_column = sqnr_by_column(values, values + 0.01)
    assert by_column[0] == pytest.approx(40, abs=1)
    assert np.isnan(by_column[1:]).all()


@pytest.mark.parametrize(
    ("reference", "found", "expected"),
    [
        ([[5.0, 5]] * 4, [[4.5, 4.5]] * 4, 20),
        ([[0.0]] * 4, [[0.0]] * 4, np.inf),
        ([[0.0]] * 4, [[0.1]] * 4, -np.inf),
        ([[1.0], [2]], [[1.0], [2]], np.inf),
        ([[1.0], [2]], [[1.0], [np.nan]], -np.inf),
        ([[1.0], [2]], [[1.0], [np.inf]], -np.inf),
        ([[1.0], [np.nan]], [[1.0], [2]], -np.inf),
        ([[1.0, 2, 3]], [[1.1, 2.1, 3.1]], 10 * np.log10(2 / 3 / 0.01)),  # one sample is a column
    ],
)
def test_extremes(reference, found, expected):
    assert sqnr(np.array(reference), np.array(found)) == pytest.approx(expected)
