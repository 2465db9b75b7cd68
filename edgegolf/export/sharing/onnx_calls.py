"""ONNX nodes as values."""

from __future__ import annotations

from dataclasses import dataclass

from edgegolf.golf.protobuf import Message, message

AttributeValue = int | float | tuple[int, ...]

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


def _attribute(name: str, value: AttributeValue) -> Message:
    if isinstance(value, tuple):
        return message("AttributeProto", name=name, ints=value, type=_INTS)
    if isinstance(value, float):
        return message("AttributeProto", name=name, f=value, type=_FLOAT)
    return message("AttributeProto", name=name, i=value, type=_INT)
