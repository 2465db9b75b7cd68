"""`.onnx` files in which every weight, of whatever layers share it, exists once.

Weights that are decoded lie one after the other in one tensor where they have one scale. The file
starts with nodes that turn them into float32 tensors of the right shapes: a runtime computes those
once, when it loads the file, and then has what it would have loaded from a float file.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from edgegolf.backends.onnx import integers, lowering
from edgegolf.backends.onnx.calls import DATA_TYPES, Call, imports, unknown_types, value_info
from edgegolf.backends.onnx.integers import RUNTIME_DOMAIN, RUNTIME_VERSION, IntegerLowering
from edgegolf.backends.onnx.lowering import INPUT, OUTPUT, FloatLowering, Lowered, NotInOnnxError
from edgegolf.formats.onnx.protobuf import message, write_protobuf
from edgegolf.ir import Graph

_IR_VERSION = 8
_TO_FLOAT = (("to", DATA_TYPES["float32"]),)


def unsupported(graph: Graph) -> tuple[str, ...]:
    """Why a graph cannot be written, empty if it can."""
    try:
        _lowered(graph)
    except NotInOnnxError as error:
        return (error.message,)
    return ()


def write(graph: Graph) -> bytes:
    """The bytes of a file that computes what a graph does, with float32 inputs and outputs.

    Args:
        graph: In float32, with decoded weights or without; or quantized to int8, which is computed
            in uint8.

    Raises:
        NotInOnnxError: ONNX has no way to compute it.
    """
    lowered = _lowered(graph)
    calls = [call.renamed(lowered.renamed) for call in (*_decoding(lowered), *lowered.calls)]
    versions = {"": lowering.OPSET}
    if graph.inputs[0].is_quantized:
        versions = {"": integers.OPSET, RUNTIME_DOMAIN: RUNTIME_VERSION}
    return write_protobuf(
        message(
            "ModelProto",
            ir_version=_IR_VERSION,
            graph=message(
                "GraphProto",
                name="g",  # the checker wants one
                node=[call.to_message() for call in calls],
                initializer=lowered.constants.to_messages(),
                input=[value_info(INPUT, "float32", lowered.input_shape)],
                output=[value_info(OUTPUT, "float32", lowered.output_shape)],
                value_info=unknown_types(calls),
            ),
            opset_import=imports(versions),
        )
    )


def _lowered(graph: Graph) -> Lowered:
    kind = IntegerLowering if graph.inputs[0].is_quantized else FloatLowering
    return kind().lower_graph(graph)


def _decoding(lowered: Lowered) -> list[Call]:
    """The nodes that give the weights, from as few tensors as there are scales."""
    constants = lowered.constants
    by_scale: dict[bytes, list[str]] = defaultdict(list)
    for name, weight in lowered.weights.items():
        if weight.scale is None:
            constants.arrays[name] = weight.array
        else:
            by_scale[weight.scale.tobytes()].append(name)
    calls: list[Call] = []
    for names in by_scale.values():
        weights = [lowered.weights[name] for name in names]
        scale = weights[0].scale
        assert scale is not None
        flat = np.concatenate([weight.array.ravel() for weight in weights])
        array = weights[0].array if len(names) == 1 else flat
        decoded = names[0] if len(names) == 1 else f"flat {names[0]}"
        numbers = f"numbers {names[0]}"
        calls += [
            Call("Cast", (constants.name(array),), (numbers,), _TO_FLOAT),
            Call("Mul", (numbers, constants.name(scale)), (decoded,)),
        ]
        if len(names) == 1:
            continue
        parts = [
            name if weight.array.ndim == 1 or weight.is_flat else f"flat part {name}"
            for name, weight in zip(names, weights, strict=True)
        ]
        sizes = tuple(weight.array.size for weight in weights)
        calls.append(Call("Split", (decoded,), tuple(parts), (("split", sizes),)))
        for name, weight, part in zip(names, weights, parts, strict=True):
            if part != name:
                shape = constants.integers(*weight.array.shape)
                calls.append(Call("Reshape", (part, shape), (name,)))
    return calls
