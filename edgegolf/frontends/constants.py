"""Sharing is found again: equal constants of a file are one tensor of the graph."""

from __future__ import annotations

from collections.abc import Callable

from edgegolf.ir import QuantParams, Tensor
from edgegolf.ir.tensor import Array, Shape


class Constants:
    """The constants of a graph in the making, each once.

    What is told apart: content, shape and type make the array; with its quantization, it is the
    tensor. The first name stays.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[bytes, Shape, str], Array] = {}
        self._tensors: dict[tuple[int, QuantParams | None], Tensor] = {}

    def tensor(
        self,
        content: bytes,
        shape: Shape,
        dtype: str,
        decode: Callable[[], Array],
        quant: QuantParams | None = None,
        name: str = "",
    ) -> Tensor:
        """The one tensor of such a constant; its elements are decoded the first time."""
        stored = (content, shape, dtype)
        if stored not in self._arrays:
            self._arrays[stored] = decode()
        key = (id(self._arrays[stored]), quant)
        if key not in self._tensors:
            self._tensors[key] = Tensor(shape, dtype, quant, self._arrays[stored], name)
        return self._tensors[key]
