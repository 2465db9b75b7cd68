"""The signal-to-quantization-noise ratio: how much of a result is left, in decibels.

The signal is what varies: `SQNR = 10 · log10(variance of the reference / mean square error)`, as
Gray and Neuhoff define it (Quantization, IEEE Transactions on Information Theory 44(6), 1998). A
result that is stuck at its mean has 0 dB, however far from zero that mean is. The ratio is also
−10 · log10(1 − R²), where R² is the coefficient of determination.

A column is an element of the last axis: a class, a coordinate, a channel. Each has a mean of its
own, over the samples and all other axes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

# A column that varies by less is constant: floating-point rounding makes as much.
CONSTANT_COLUMN = 1e-4  # standard deviation, of the column's largest absolute number
CONSTANT_BESIDE = 1e-6  # of the largest absolute number of all columns


def sqnr(reference: Array, found: Array) -> float:
    """The ratio of a whole array, dB: the variances of its columns against all errors.

    Args:
        reference: What is right, [samples, …, columns].
        found: What is judged, with as many elements in the same order.

    Returns:
        inf without any error, −inf where a number is not finite. Of a reference that is constant,
        the power is taken for the variance, which it lacks. Of one in integers or booleans, such as
        classes, the noise is the share that differs: 20 dB are one in a hundred.
    """
    if reference.dtype.kind in "iub":
        differs = np.mean(found.reshape(reference.shape) != reference)
        return float(_decibels(np.array(1.0), differs))
    signal, error, columns = _powers(reference, found)
    power = float(signal.sum()) if signal.any() else float(np.mean(columns**2, axis=0).sum())
    return float(_decibels(np.array(power), np.array(error.sum())))


def sqnr_by_column(reference: Array, found: Array) -> Array:
    """The ratio of each column, float64 [columns] in dB; NaN for a constant one.

    A constant column of the reference says nothing of the model. Everything else as `sqnr`.
    """
    signal, error, _ = _powers(reference, found)
    return np.where(signal > 0, _decibels(signal, error), np.nan)


def _powers(reference: Array, found: Array) -> tuple[Array, Array, Array]:
    """Of each column, the variance (0 if it is constant) and the mean square error; the columns."""
    is_row = reference.ndim < 2 or reference.size == reference.shape[-1]  # it varies along itself
    columns = reference.reshape(-1, 1 if is_row else reference.shape[-1]).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.mean((found.reshape(columns.shape) - columns) ** 2, axis=0)
        largest = np.abs(columns).max(axis=0)
        least = np.maximum(CONSTANT_COLUMN * largest, CONSTANT_BESIDE * largest.max())
        deviation = columns.std(axis=0)
        return np.where(deviation > least, deviation**2, 0), error, columns


def _decibels(signal: Array, error: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * np.log10(signal / error)
    ratio = np.where((error == 0) & np.isfinite(signal), np.inf, ratio)
    return np.where(np.isfinite(signal) & np.isfinite(error), ratio, -np.inf)
