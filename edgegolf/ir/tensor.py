"""What flows through a graph: tensors, and what the integers in them stand for."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, inf, prod
from typing import Any, TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Shape: TypeAlias = tuple[int, ...]

#: Bits of one element of each type that is computed with. int4 and int2 hold one number in each
#: element of `Tensor.data`; only files pack them.
COMPUTED_BITS = {
    "float32": 32, "float16": 16, "int64": 64, "int32": 32, "int16": 16, "int8": 8, "uint8": 8,
    "int4": 4, "int2": 2, "bool": 8,
}  # fmt: skip

#: The same of each type that files of either format have.
BITS = COMPUTED_BITS | {
    "float64": 64, "bfloat16": 16, "uint64": 64, "uint32": 32, "uint16": 16, "uint4": 4, "uint2": 2,
    "complex64": 64, "complex128": 128, "float8_e4m3fn": 8, "float8e4m3fn": 8, "float8e4m3fnuz": 8,
    "float8_e5m2": 8, "float8e5m2": 8, "float8e5m2fnuz": 8, "float8e8m0": 8, "float4e2m1": 4,
    "float6e2m3": 6, "float6e3m2": 6, "resource": 32,
}  # fmt: skip


UNKNOWN = "unknown"


@dataclass(frozen=True)
class QuantParams:
    """real = scale · (integer − zero point).

    Raises:
        EdgegolfError: A scale is negative, infinite or no number.
    """

    scale: tuple[float, ...]  # float32 numbers: one for the tensor, or one for each channel
    zero_point: tuple[int, ...] = (0,)  # the integers that stand for 0: one, or as many as scales
    axis: int = 0  # of the channels, where there are several scales

    def __post_init__(self) -> None:
        """Refuse what no integers can stand for."""
        if not all(0 <= scale < inf for scale in self.scale):
            raise EdgegolfError("a tensor has a scale that is no positive number")

    @property
    def is_per_channel(self) -> bool:
        """Whether there are several scales."""
        return len(self.scale) > 1

    @property
    def scales(self) -> Array:
        """The scales, float32."""
        return np.array(self.scale, np.float32)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of a graph, told from others by identity."""

    shape: Shape  # its dimensions, the batch among them; images are NHWC
    # Name of the type of its elements, one of `COMPUTED_BITS`; where a file is only counted, any
    # name, `UNKNOWN` where the shape is unknown.
    dtype: str = "float32"
    quant: QuantParams | None = None  # what its integers stand for, if they stand for real numbers
    # The elements of a constant as they are stored, None for what is computed.
    data: Array | None = field(default=None, repr=False)
    name: str = ""  # where it comes from, for people
    # Of a trained constant, the one that it is a multiple of, each output channel by its own
    # positive factor: with a scale per channel, both are the same integers.
    base: Tensor | None = field(default=None, repr=False)
    is_state: bool = False  # whether it keeps its content from one inference to the next

    @classmethod
    def constant(cls, data: Array, name: str = "", base: Tensor | None = None) -> Tensor:
        """A constant that holds an array."""
        return cls(data.shape, data.dtype.name, None, data, name, base)

    @property
    def values(self) -> Array:
        """The elements of a constant."""
        assert self.data is not None
        return self.data

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes that its elements take when packed."""
        return ceil(self.elements * BITS[self.dtype] / 8)

    @property
    def is_quantized(self) -> bool:
        """Whether its integers stand for real numbers."""
        return self.quant is not None and self.dtype in ("int8", "uint8", "int16", "int4", "int2")

    @property
    def scale(self) -> np.float32:
        """The scale of a tensor that has a single one. Raises EdgegolfError otherwise."""
        count = len(self.quant.scale) if self.quant is not None else 0
        if self.quant is None or count != 1:
            raise EdgegolfError(f"a tensor has {count} scales where one is needed")
        return np.float32(self.quant.scale[0])

    @property
    def zero_point(self) -> int:
        """The zero point that goes with `scale`."""
        return self.quant.zero_point[0] if self.quant is not None else 0

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer that it can hold."""
        bits = BITS[self.dtype]
        return (
            (0, 2**bits - 1) if self.dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )


def packed(array: Array, dtype: str) -> bytes:
    """The bytes of a constant in a file; elements of less than a byte share one.

    Args:
        array: Its elements, in any type that holds them.
        dtype: Their type in the file.
    """
    if dtype not in ("int4", "int2"):
        return np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).tobytes()
    bits = BITS[dtype]
    numbers = array.ravel().astype(np.uint8) & (2**bits - 1)
    numbers = np.pad(numbers, (0, -len(numbers) % (8 // bits))).reshape(-1, 8 // bits)
    shared = np.bitwise_or.reduce(numbers << np.arange(0, 8, bits, dtype=np.uint8), axis=1)
    return shared.astype(np.uint8).tobytes()
