"""ONNX nodes and tensors as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from edgegolf.formats.onnx.protobuf import Message, message
from edgegolf.ir.tensor import Array, Shape, packed

AttributeValue: TypeAlias = int | float | str | tuple[int, ...] | Message

# AttributeProto.AttributeType and TensorProto.DataType:
# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_FLOAT, _INT, _STRING, _GRAPH, _INTS = 1, 2, 3, 5, 7
DATA_TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "int16": 5, "int32": 6, "int64": 7, "bool": 9,
    "float16": 10, "int4": 22, "int2": 26,
}  # fmt: skip

# Since which version what was an attribute is the last input: https://onnx.ai/onnx/operators/
_SINCE_INPUTS = {
    "Split": ("split", 13), "ReduceSum": ("axes", 13), "ReduceMean": ("axes", 18),
    "ReduceMax": ("axes", 18), "ReduceMin": ("axes", 18), "ReduceL2": ("axes", 18),
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One node."""

    operator: str  # its name
    inputs: tuple[str, ...]  # names of tensors
    outputs: tuple[str, ...]  # names of tensors
    attributes: tuple[tuple[str, AttributeValue], ...] = ()  # names and values
    domain: str = ""  # where the operator comes from, empty for ONNX itself

    def renamed(self, names: Mapping[str, str]) -> Call:
        """The same node, some of its tensors under other names."""
        return replace(
            self,
            inputs=tuple(names.get(name, name) for name in self.inputs),
            outputs=tuple(names.get(name, name) for name in self.outputs),
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


@dataclass(frozen=True, eq=False)
class Constants:
    """Arrays by the name of their tensor, equal ones once."""

    arrays: dict[str, Array] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    names: dict[tuple[str, Shape, bytes], str] = field(default_factory=dict)

    def name(self, array: Array | np.generic, dtype: str = "") -> str:
        """The name of an array, which is added where there is none.

        Args:
            array: Its elements.
            dtype: Their type in the file if it is no type of numpy: int4 or int2, given as int8.
        """
        dtype = dtype or array.dtype.name
        key = (dtype, array.shape, array.tobytes())
        if key not in self.names:
            name = self.names[key] = f"constant {len(self.names)}"
            self.arrays[name] = np.asarray(array)
            self.types[name] = dtype
        return self.names[key]

    def integers(self, *numbers: int) -> str:
        """The name of an int64 vector."""
        return self.name(np.array(numbers, np.int64))

    def to_messages(self) -> list[Message]:
        """All of them as `TensorProto`."""
        return [
            constant(name, array, self.types.get(name, "")) for name, array in self.arrays.items()
        ]


def imports(versions: Mapping[str, int]) -> list[Message]:
    """The versions of domains as `OperatorSetIdProto`."""
    return [
        message("OperatorSetIdProto", domain=domain or None, version=version)
        for domain, version in versions.items()
    ]


def value_info(name: str, dtype: str, shape: Shape | None = None) -> Message:
    """The description of a tensor, of any shape if none is given."""
    fields: dict[str, Any] = {"elem_type": DATA_TYPES[dtype]}
    if shape is not None:
        dimensions = [message("Dimension", dim_value=size) for size in shape]
        fields["shape"] = message("TensorShapeProto", dim=dimensions)
    tensor_type = message("TensorType", **fields)
    return message("ValueInfoProto", name=name, type=message("TypeProto", tensor_type=tensor_type))


def unknown_types(calls: Sequence[Call]) -> list[Message]:
    """What the standard's inference cannot know, and needs for what reads it.

    These are results of onnxruntime's operators that others read.
    """
    read = {name for call in calls if not call.domain for name in call.inputs}
    return [
        # QGemm gives real numbers where it is told no scale for what it gives.
        value_info(
            name, "float32" if call.operator == "QGemm" and len(call.inputs) < 8 else "uint8"
        )
        for call in calls
        if call.domain
        for name in call.outputs
        if name in read
    ]


def in_opset(call: Call, opset: int, constants: Constants) -> Call:
    """A node as a version of the operators has it: attributes that became inputs are these."""
    attribute, since = _SINCE_INPUTS.get(call.operator, ("", 0))
    numbers = dict(call.attributes).get(attribute)
    if opset < since or not isinstance(numbers, tuple):
        return call
    others = tuple(pair for pair in call.attributes if pair[0] != attribute)
    return replace(call, inputs=(*call.inputs, constants.integers(*numbers)), attributes=others)


def constant(name: str, array: Array, dtype: str = "") -> Message:
    """An array as a `TensorProto`; of int4 and int2, several elements are in one byte."""
    dtype = dtype or array.dtype.name
    if dtype == "int64":  # shapes: small numbers, which take one byte each
        values: dict[str, Any] = {"int64_data": array.ravel().tolist()}
    else:
        values = {"raw_data": packed(array, dtype)}
    return message(
        "TensorProto", name=name, dims=array.shape, data_type=DATA_TYPES[dtype], **values
    )


def _attribute(name: str, value: AttributeValue) -> Message:
    if isinstance(value, Message):
        return message("AttributeProto", name=name, g=value, type=_GRAPH)
    if isinstance(value, tuple):
        return message("AttributeProto", name=name, ints=value, type=_INTS)
    if isinstance(value, str):
        return message("AttributeProto", name=name, s=value.encode(), type=_STRING)
    if isinstance(value, float):
        return message("AttributeProto", name=name, f=value, type=_FLOAT)
    return message("AttributeProto", name=name, i=value, type=_INT)
