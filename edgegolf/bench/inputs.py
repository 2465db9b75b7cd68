"""Inputs to measure with, where only the model file is known."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import Array, Session, TensorInfo
from edgegolf.runtimes.session import OPEN_SIZES

T = TypeVar("T")

MAXIMUM_ELEMENTS = 1 << 28
COARSENESS = 5  # of smooth inputs: how many independent numbers an axis has


def example_inputs(infos: tuple[TensorInfo, ...], seed: int = 0) -> list[Array]:
    """Arrays that the inputs accept; open dimensions become 1.

    Real inputs are uniform in 0…1, quantized ones uniform over all their numbers, other
    integers zero (an index or a length is valid then), truth values false.

    Raises:
        EdgegolfError: An input holds text or another type that numpy lacks, or is too large.
    """
    generator = np.random.default_rng(seed)
    return [_example(info, generator) for info in infos]


def run_closed(session: Session, run: Callable[[tuple[TensorInfo, ...]], T]) -> tuple[int, T]:
    """Run a model with its open dimensions set to what it takes of `OPEN_SIZES`.

    Args:
        session: The model.
        run: Runs it with inputs like these.

    Returns:
        The size that was taken, and what `run` returned.

    Raises:
        EdgegolfError: The first that `run` raised, if it did with all of the sizes.
    """
    refusal: EdgegolfError | None = None
    for size in OPEN_SIZES:
        try:
            return size, run(tuple(each.closed(size) for each in session.inputs))
        except EdgegolfError as error:
            refusal = refusal or error
            if not any(None in each.shape for each in session.inputs):
                break
    assert refusal is not None
    raise refusal


def smooth_inputs(infos: tuple[TensorInfo, ...], seed: int = 0) -> list[Array]:
    """As `example_inputs`, but neighbours are alike, as in images: a net answers more distinctly.

    Raises:
        EdgegolfError: As `example_inputs`.
    """
    shapes = [_shape(info) for info in infos]
    coarse = tuple(
        replace(info, shape=tuple(min(size, COARSENESS) for size in shape))
        for info, shape in zip(infos, shapes, strict=True)
    )
    return [
        _stretched(array, shape)
        for array, shape in zip(example_inputs(coarse, seed), shapes, strict=True)
    ]


def _stretched(array: Array, shape: tuple[int, ...]) -> Array:
    """An array interpolated linearly along all axes to another shape."""
    stretched = array.astype(np.float64)
    for axis, (before, after) in enumerate(zip(array.shape, shape, strict=True)):
        if before != after:
            where = np.linspace(0, before - 1, after)
            interpolate = functools.partial(np.interp, where, np.arange(before))
            stretched = np.apply_along_axis(interpolate, axis, stretched)
    return (stretched if array.dtype.kind == "f" else np.rint(stretched)).astype(array.dtype)


def _shape(info: TensorInfo) -> tuple[int, ...]:
    if np.prod(info.example_shape, dtype=float) > MAXIMUM_ELEMENTS:
        raise EdgegolfError(f"the input {info} is larger than {MAXIMUM_ELEMENTS:,} elements")
    return info.example_shape


def _example(info: TensorInfo, generator: np.random.Generator) -> Array:
    shape = _shape(info)
    try:
        dtype = np.dtype(info.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind == "f":
        return generator.random(shape, np.float32).astype(dtype)
    if dtype.kind in "iu" and (info.scale or dtype.itemsize == 1):
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    if dtype.kind in "iub":
        return np.zeros(shape, dtype)
    raise EdgegolfError(f"the input {info} has a type that bench cannot make up")
