"""An operator as a file has it: no semantics, but the facts that counting needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgegolf.ir.ops import Inputs, Op
from edgegolf.ir.tensor import BITS, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegolf.ir.graph import Graph

#: Types that weights have, as both formats name them in lower case.
WEIGHT_TYPES = {
    "float32", "float16", "bfloat16", "float64", "int8", "uint8", "int16", "uint16", "int4",
    "uint4", "int2", "uint2", "float8e4m3fn", "float8_e4m3fn", "float8e4m3fnuz", "float8e5m2",
    "float8_e5m2", "float8e5m2fnuz", "float6e2m3", "float6e3m2", "float4e2m1",
}  # fmt: skip


@dataclass(frozen=True)
class Opaque(Op):
    """An operator of which only facts are known. Its constants are the bytes that the file has."""

    name: str  # what its format calls it, such as `CONV_2D` or `Conv`
    # Multiply-accumulates of one run, without the graphs that it runs; None if unknown.
    work: int | None = 0
    weights: tuple[int, ...] = ()  # positions of its inputs that are constant weights or biases
    decodes: bool = False  # whether it computes from constants alone, as in `int8 * scale`
    # The graphs that it runs, and how often each; None if unknown.
    runs: tuple[tuple[Graph, int | None], ...] = ()
    # What it keeps by name from one inference to the next, such as resource variables, and the size
    # of each in bytes; None if unknown.
    state: tuple[tuple[object, int | None], ...] = ()

    def shape(self, inputs: Inputs) -> None:
        """Unknown."""

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int | None:
        """As the file's reader computed them."""
        return self.work


def parameter_inputs(
    inputs: Inputs, listed: tuple[int, ...] | None, decoded: Collection[Tensor]
) -> tuple[tuple[int, ...], bool]:
    """Which inputs of an operator are weights or biases, and whether it decodes.

    Operators with weights list the inputs that hold them. Elsewhere any constant of several
    elements of a type that weights have counts. Where a graph decodes weights from constants, as
    in `int8 * scale`, the largest constant counts.

    Args:
        inputs: Its inputs.
        listed: Positions of weights and biases, None for an operator without.
        decoded: What is computed from constants alone.
    """
    present = [tensor for tensor in inputs if tensor is not None]
    decodes = bool(present) and all(t.data is not None or t in decoded for t in present)
    constants = {t: i for i, t in enumerate(inputs) if t is not None and t.data is not None}
    chosen = [
        tensor
        for tensor, position in constants.items()
        if (tensor.dtype in WEIGHT_TYPES and stored_elements(tensor) > 1)
        if listed is None
    ] + [inputs[i] for i in listed or () if i < len(inputs)]
    found = {t: constants[t] for t in chosen if t in constants}
    if decodes:
        largest = max(found, key=stored_elements, default=None)
        only_constants = len(constants) == len({*present})
        found = {largest: constants[largest]} if largest is not None and only_constants else {}
    return tuple(found.values()), decodes


def stored_elements(tensor: Tensor) -> int:
    """How many elements of a constant its bytes hold; a sparse one stores fewer than its shape."""
    if tensor.data is None or tensor.dtype not in BITS:
        return 0
    return min(tensor.elements, tensor.data.nbytes * 8 // BITS[tensor.dtype])
