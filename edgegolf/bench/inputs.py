"""Inputs to measure with, where only the model file is known."""

from __future__ import annotations

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import Array, TensorInfo

MAXIMUM_ELEMENTS = 1 << 28


def example_inputs(infos: tuple[TensorInfo, ...], seed: int = 0) -> list[Array]:
    """Arrays that the inputs accept; open dimensions become 1.

    Real inputs are uniform in 0…1, quantized ones uniform over all their numbers, other
    integers zero (an index or a length is valid then), truth values false.

    Raises:
        EdgegolfError: An input holds text or another type that numpy lacks, or is too large.
    """
    generator = np.random.default_rng(seed)
    return [_example(info, generator) for info in infos]


def _example(info: TensorInfo, generator: np.random.Generator) -> Array:
    shape = info.example_shape
    if np.prod(shape, dtype=float) > MAXIMUM_ELEMENTS:
        raise EdgegolfError(f"the input {info} is larger than {MAXIMUM_ELEMENTS:,} elements")
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
