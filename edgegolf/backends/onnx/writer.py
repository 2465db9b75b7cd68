"""`.onnx` files in which every weight, of whatever layers share it, exists once.

Weights that are decoded lie one after the other in one tensor where they have one scale. The file
starts with nodes that turn them into float32 tensors of the right shapes: a runtime computes those
once, when it loads the file, and then has what it would have loaded from a float file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np

from edgegolf.backends.onnx.calls import (
    DATA_TYPES,
    AttributeValue,
    Call,
    Constants,
    imports,
    in_opset,
    unknown_types,
    value_info,
)
from edgegolf.backends.onnx.integers import RUNTIME_DOMAIN, RUNTIME_VERSION, IntegerLowering
from edgegolf.backends.onnx.lowering import (
    NCHW,
    NEWER_OPSET,
    FloatLowering,
    Lowered,
    NotInOnnxError,
    Weight,
    opset_of,
)
from edgegolf.formats.onnx.protobuf import message, write_protobuf
from edgegolf.ir import Graph
from edgegolf.ir.tensor import BITS, Array

Axes: TypeAlias = tuple[int, ...] | None

_IR_VERSION = 8
_IR_VERSIONS = {21: 10, 25: 13}
# Bytes of what decodes weights: apart each, in one tensor all, and each part of that.
_APART, _JOINED, _FLAT_PART, _SHAPED_PART = 53, 77, 5, 40
_TO_FLOAT = (("to", DATA_TYPES["float32"]),)


def unsupported(graph: Graph) -> tuple[str, ...]:
    """Why a graph cannot be written, empty if it can."""
    try:
        _lowered(graph)
    except NotInOnnxError as error:
        return (error.message,)
    return ()


def write(graph: Graph, packed: bool = True) -> bytes:
    """The bytes of a file that computes what a graph does, with float32 inputs and outputs.

    A single one is called `input` or `output`, several have their tensors' names. Those of 4 axes
    are [batch, channels, height, width] in the file, as `layouts` tells; integers that stand for
    real numbers are these.

    Args:
        graph: In float32, with decoded weights or without; or quantized to int8, which is computed
            in uint8.
        packed: Weights of 4 and 2 bits are integers of the newer versions of ONNX that have them;
            else several in one byte, which nodes of any version take apart.

    Raises:
        NotInOnnxError: ONNX has no way to compute it.
    """
    lowered = _lowered(graph, packed)
    calls = [
        in_opset(call.renamed(lowered.renamed), lowered.opset, lowered.constants)
        for call in (*_decoding(lowered), *lowered.calls)
    ]
    versions = {"": lowered.opset}
    if computes_in_integers(graph):
        versions[RUNTIME_DOMAIN] = RUNTIME_VERSION
    return write_protobuf(
        message(
            "ModelProto",
            ir_version=_IR_VERSIONS.get(lowered.opset, _IR_VERSION),
            graph=message(
                "GraphProto",
                name="g",  # the checker wants one
                node=[call.to_message() for call in calls],
                initializer=lowered.constants.to_messages(),
                input=[value_info(end.name, end.dtype, end.shape) for end in lowered.inputs],
                output=[value_info(end.name, end.dtype, end.shape) for end in lowered.outputs],
                value_info=unknown_types(calls),
            ),
            opset_import=imports(versions),
        )
    )


def layouts(graph: Graph) -> tuple[tuple[Axes, ...], tuple[Axes, ...]]:
    """Of each input and each output of the file, the graph's axes in the file's order.

    None where it is the same: a file takes `array.transpose(axes)` of what the graph takes, and
    `argsort(axes)` brings its outputs back.
    """
    inputs, outputs = (
        tuple(NCHW if len(tensor.shape) == 4 else None for tensor in tensors)
        for tensors in (graph.inputs, graph.outputs)
    )
    return inputs, outputs


def computes_in_integers(graph: Graph) -> bool:
    """Whether something in a graph is quantized but its stored weights."""
    tensors = (tensor for node in graph.walk() for tensor in node.outputs)
    return any(tensor.is_quantized for tensor in (*graph.inputs, *tensors))


def _lowered(graph: Graph, packed: bool = True) -> Lowered:
    if computes_in_integers(graph):
        return IntegerLowering(NEWER_OPSET).lower_graph(graph)
    return FloatLowering(opset_of(graph, packed)).lower_graph(graph)


def _decoding(lowered: Lowered) -> list[Call]:
    """The nodes that give the weights, from as few tensors as there are scales."""
    constants = lowered.constants
    by_scale: dict[tuple[bytes, str, str], list[str]] = defaultdict(list)
    calls: list[Call] = []
    for name, weight in lowered.weights.items():
        if weight.scale is not None:
            # Several have one scale; each of them, scales for its own axes.
            key = (weight.scale.tobytes(), weight.dtype, name if weight.scale.size > 1 else "")
            by_scale[key].append(name)
        elif weight.array.dtype == np.float16:
            calls.append(Call("Cast", (constants.name(weight.array),), (name,), _TO_FLOAT))
        else:
            constants.arrays[name] = weight.array
    for names in _groups(by_scale.values(), lowered):
        weights = [lowered.weights[name] for name in names]
        scale = weights[0].scale
        assert scale is not None
        flat = np.concatenate([weight.array.ravel() for weight in weights])
        array = weights[0].array if len(names) == 1 else flat
        decoded = names[0] if len(names) == 1 else f"flat {names[0]}"
        numbers, bits = f"numbers {names[0]}", BITS[weights[0].dtype]
        unit = constants.name(scale)
        if bits == 8 or lowered.opset > NEWER_OPSET:
            stored = constants.name(array, weights[0].dtype)
            calls.append(Call("Cast", (stored,), (numbers,), _TO_FLOAT))
        else:
            calls += _taken_apart(array, bits, numbers, constants)
        calls.append(Call("Mul", (numbers, unit), (decoded,)))
        if len(names) == 1:
            continue
        parts = [
            name if _takes_no_shape(weight) else f"flat part {name}"
            for name, weight in zip(names, weights, strict=True)
        ]
        sizes = tuple(weight.array.size for weight in weights)
        calls.append(Call("Split", (decoded,), tuple(parts), (("split", sizes),)))
        for name, weight, part in zip(names, weights, parts, strict=True):
            if part != name:
                shape = constants.integers(*weight.array.shape)
                calls.append(Call("Reshape", (part, shape), (name,)))
    return calls


def _groups(by_scale: Iterable[list[str]], lowered: Lowered) -> Iterator[list[str]]:
    """The weights of each scale in one tensor or, where that has fewer bytes, apart.

    A tensor of its own takes two nodes, a part of one tensor a name and maybe a shape.
    """
    for names in by_scale:
        flat = sum(_takes_no_shape(lowered.weights[name]) for name in names)
        joined = _JOINED + _FLAT_PART * flat + _SHAPED_PART * (len(names) - flat)
        is_packed = lowered.opset > NEWER_OPSET
        yield from (
            [names] if joined <= _APART * len(names) or not is_packed else ([n] for n in names)
        )


def _takes_no_shape(weight: Weight) -> bool:
    """Whether a part of a flat tensor is the weight."""
    return weight.array.ndim == 1 or weight.is_flat


def _taken_apart(array: Array, bits: int, result: str, constants: Constants) -> list[Call]:
    """The nodes that give integers of few bits as float32, from bytes that hold several.

    The first byte holds the first element of each of as many equal parts, the last in its highest
    bits.
    """
    parts, half = 8 // bits, 2 ** (bits - 1)
    flat = array.ravel().astype(np.int64) + half
    columns = np.pad(flat, (0, -flat.size % parts)).reshape(parts, -1)
    shifts = range(0, 8, bits)
    stored = sum(column << shift for column, shift in zip(columns, shifts, strict=True))
    rest = f"{result}: bytes"
    calls = [Call("Cast", (constants.name(np.uint8(stored)),), (rest,), _TO_FLOAT)]
    digits: list[str] = []
    for shift in reversed(shifts[1:]):
        place = constants.name(np.float32(2**shift))
        names = [f"{result}: {what} {shift}" for what in ("share", "digit", "value", "rest")]
        calls += [
            Call("Div", (rest, place), (names[0],)),
            Call("Floor", (names[0],), (names[1],)),
            Call("Mul", (names[1], place), (names[2],)),
            Call("Sub", (rest, names[2]), (names[3],)),
        ]
        digits.insert(0, names[1])
        rest = names[3]

    def then(operator: str, *inputs: str, **attributes: AttributeValue) -> str:
        name = f"{result}: {operator}"
        calls.append(Call(operator, inputs, (name,), tuple(attributes.items())))
        return name

    found = then("Concat", rest, *digits, axis=0)
    if spare := -flat.size % parts:
        used, unused = f"{result}: used", f"{result}: unused"
        calls.append(Call("Split", (found,), (used, unused), (("split", (flat.size, spare)),)))
        found = used
    if array.ndim > 1:
        found = then("Reshape", found, constants.integers(*array.shape))
    calls.append(Call("Sub", (found, constants.name(np.float32(half))), (result,)))
    return calls
