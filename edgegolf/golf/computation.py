"""The computation in a model, whatever its file format."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod


@dataclass(frozen=True)
class Constant:
    """Data that is part of the file.

    Attributes:
        identity: Equal for constants with equal content.
        elements: Number of elements stored.
        bytes: Size of the data in the file.
        is_zero: Whether all of it is zero.
    """

    identity: object
    elements: int
    bytes: int
    is_zero: bool


@dataclass(frozen=True)
class Value:
    """A tensor. Dynamic dimensions count as 1; an unknown shape or size is ``None``.

    Attributes:
        shape: Its dimensions.
        bytes: Its size.
        constant: Its content, where that is part of the file.
        state: Whether it keeps its content from one inference to the next.
    """

    shape: tuple[int, ...] | None
    bytes: int | None
    constant: Constant | None = None
    state: bool = False


@dataclass(frozen=True)
class Operation:
    """One operator of a graph.

    Attributes:
        name: The operator's name in its format, such as ``CONV_2D`` or ``Conv``.
        inputs: Names of the values it reads.
        outputs: Names of the values it writes.
        parameters: Those inputs that are weights or biases.
        macs: Multiply-accumulates of one run, without called graphs; ``None`` if unknown.
        calls: The graphs it runs and how often each, ``None`` if unknown.
        decodes: Whether it computes from constants alone, as in ``int8 * scale``.
        state: The size in bytes of what it keeps by name from one inference to the next, as
            resource variables; ``None`` for a size if it is unknown.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    macs: int | None = 0
    calls: tuple[tuple[Graph, int | None], ...] = ()
    decodes: bool = False
    state: tuple[tuple[object, int | None], ...] = ()


@dataclass(frozen=True)
class Graph:
    """Operators in execution order, and the values that they exchange by name."""

    operations: tuple[Operation, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, Value] = field(repr=False)


def parameter_inputs(
    constants: Mapping[str, Constant],
    inputs: Sequence[str],
    listed: tuple[int, ...] | None,
    weight_like: Collection[str],
    decodes: bool,
) -> tuple[str, ...]:
    """The inputs of an operator that are weights or biases.

    Operators with weights list the inputs that hold them. Elsewhere any constant of several
    elements of a type that weights have counts. Where a graph decodes weights from constants, as
    in ``int8 * scale``, the largest constant counts.

    Args:
        constants: The constants among the inputs, by name.
        inputs: Names of the inputs in order.
        listed: Positions of weights and biases, ``None`` for an operator without.
        weight_like: Names of the inputs whose type is one that weights have.
        decodes: Whether all inputs are constants or decoded from constants.
    """
    if listed is not None:
        chosen = [inputs[i] for i in listed if i < len(inputs) and inputs[i] in constants]
    else:
        chosen = [name for name in constants if name in weight_like]
        chosen = [name for name in chosen if constants[name].elements > 1]
    if decodes:
        only_constants = all(name in constants for name in inputs if name)
        chosen.sort(key=lambda name: constants[name].elements)
        chosen = chosen[-1:] if only_constants else []
    return tuple(dict.fromkeys(chosen))


def product(shape: tuple[int, ...] | None) -> int | None:
    """Number of elements, ``None`` for an unknown shape."""
    return None if shape is None else prod(shape)


def multiply(first: int | None, second: int | None) -> int | None:
    """A product that is unknown if a factor is, except where the other one is zero."""
    if first == 0 or second == 0:
        return 0
    return None if first is None or second is None else first * second
