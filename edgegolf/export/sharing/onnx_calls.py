"""ONNX nodes and model-local functions as values, and the bytes that they take in a file."""

from __future__ import annotations

import string
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from edgegolf.golf.protobuf import Message, message, write_protobuf

AttributeValue = int | float | tuple[int, ...]

FUNCTION_DOMAIN = "f"
DOMAIN_VERSION = 1
# AttributeProto.AttributeType: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_FLOAT, _INT, _INTS = 1, 2, 7


@dataclass(frozen=True)
class Call:
    """One node.

    Attributes:
        operator: Its name.
        inputs: Names of tensors.
        outputs: Names of tensors.
        attributes: Names and values.
        domain: Where the operator comes from, empty for ONNX itself.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, AttributeValue], ...] = ()
    domain: str = ""

    def renamed(self, names: dict[str, str]) -> Call:
        """The same node on tensors with other names."""
        return replace(
            self,
            inputs=tuple(names[name] for name in self.inputs),
            outputs=tuple(names[name] for name in self.outputs),
        )

    def to_message(self) -> Message:
        """As a `NodeProto`."""
        return message(
            "NodeProto",
            input=self.inputs,
            output=self.outputs,
            op_type=self.operator,
            attribute=[_attribute(name, value) for name, value in self.attributes],
            domain=self.domain or None,
        )


@dataclass(frozen=True)
class Function:
    """A model-local function, which runtimes put in place of its calls when they load a file.

    Attributes:
        name: What calls of `FUNCTION_DOMAIN` know it by.
        inputs: Names of its parameters.
        outputs: Names of its results.
        calls: Its nodes.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    calls: tuple[Call, ...]

    def shortened(self) -> Function:
        """The same function with the shortest names of tensors."""
        names = _assign_short_names((*self.inputs, *_names(self.calls)), {})
        return Function(
            self.name,
            tuple(names[name] for name in self.inputs),
            tuple(names[name] for name in self.outputs),
            tuple(call.renamed(names) for call in self.calls),
        )

    def to_message(self, imports: dict[str, int]) -> Message:
        """As a `FunctionProto`, given the version of each domain."""
        used = {call.domain for call in self.calls}
        return message(
            "FunctionProto",
            name=self.name,
            input=self.inputs,
            output=self.outputs,
            node=[call.to_message() for call in self.calls],
            opset_import=import_messages({d: v for d, v in imports.items() if d in used}),
            domain=FUNCTION_DOMAIN,
        )


def import_messages(imports: dict[str, int]) -> list[Message]:
    """The versions of domains as `OperatorSetIdProto`."""
    return [
        message("OperatorSetIdProto", domain=domain or None, version=version)
        for domain, version in imports.items()
    ]


def shorten(
    calls: Sequence[Call], keep: Collection[str]
) -> tuple[tuple[Call, ...], dict[str, str]]:
    """The same nodes with the shortest names of tensors, the most frequent first.

    Args:
        calls: The nodes of a graph.
        keep: Names that stay.

    Returns:
        The nodes, and the new name of each tensor.
    """
    names = _assign_short_names(_names(calls), {name: name for name in keep})
    return tuple(call.renamed(names) for call in calls), names


def encoded_bytes(part: Message) -> int:
    """What a part of a file takes, with its tag and length."""
    length = len(write_protobuf(part))
    return 1 + (1 if length < 128 else 2) + length


def short_names() -> Iterator[str]:
    """All identifiers, shortest first."""
    following = string.ascii_letters + string.digits + "_"
    for length in range(4):
        for first, *rest in product(string.ascii_letters, *[following] * length):
            yield first + "".join(rest)


def _names(calls: Sequence[Call]) -> list[str]:
    return [name for call in calls for name in (*call.inputs, *call.outputs)]


def _assign_short_names(occurrences: Sequence[str], known: dict[str, str]) -> dict[str, str]:
    counts: dict[str, int] = {}
    for name in occurrences:
        counts[name] = counts.get(name, 0) + 1
    free = (name for name in short_names() if name not in known.values())
    names = {"": "", **known}  # an empty name leaves an optional input out
    for name in sorted(counts, key=lambda name: -counts[name]):
        if name not in names:
            names[name] = next(free)
    return names


def _attribute(name: str, value: AttributeValue) -> Message:
    if isinstance(value, tuple):
        return message("AttributeProto", name=name, ints=value, type=_INTS)
    if isinstance(value, float):
        return message("AttributeProto", name=name, f=value, type=_FLOAT)
    return message("AttributeProto", name=name, i=value, type=_INT)
