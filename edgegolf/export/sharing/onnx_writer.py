"""`.onnx` files in which every weight, of whatever layers share it, exists once and as int8.

All weights and biases lie one after the other in one tensor with one scale; or each has a scale of
its own, which takes more bytes and is more exact. The file starts with nodes that turn them into
float32 tensors of the right shapes: a runtime computes those once, when it loads the file, and then
has what it would have loaded from a float file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegolf.export.sharing import onnx_integers, onnx_lowering
from edgegolf.export.sharing.calibration import Style, calibrate, ranges
from edgegolf.export.sharing.equalization import equalize, importances
from edgegolf.export.sharing.network import Convolution, Dense, Network, Shape
from edgegolf.export.sharing.onnx_calls import Call
from edgegolf.export.sharing.onnx_integers import (
    RUNTIME_DOMAIN,
    RUNTIME_VERSION,
    IntegerLowering,
)
from edgegolf.export.sharing.onnx_lowering import INPUT, OUTPUT, Lowered, lower
from edgegolf.export.sharing.quantization import Grid, Quantization
from edgegolf.export.sharing.reader import UnsupportedLayerError
from edgegolf.export.sharing.scale_search import search_scales
from edgegolf.files import write_atomically
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx
from edgegolf.golf.protobuf import Message, message, write_protobuf

_LARGEST = 127
# Without VNNI, x86 CPUs add two products of uint8 and int8 in 16 bits, which saturates where both
# have 8 bits: the file would have another accuracy on another CPU.
_SEVEN_BITS = 127 / 63
_IR_VERSION = 8
# TensorProto.DataType: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_DATA_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}
_TO_FLOAT = (("to", _DATA_TYPES["float32"]),)


def write_shared_onnx(
    network: Network,
    calibration: NDArray[np.float32],
    destination: Path,
    form: str = "weights",
    portable: bool = False,
) -> None:
    """Write a network with int8 weights.

    Args:
        network: With one input and one output. `compute` gives all iterations of a loop the
            same grids; without loops, which costs some bytes, it is more accurate.
        calibration: Typical inputs, float32 [n, ...].
        destination: The `.onnx` file. Its input is float32, images with their channels first.
        form: `weights` computes in float32, with every weight and bias stored as int8 with one
            scale; `scales` likewise with a scale for each. `compute` computes in uint8 with int8
            weights and int32 biases; `channels` likewise with scales for each channel of weights.
            These two have operators that only onnxruntime knows.
        portable: Do without functions, which not every reader has.

    Raises:
        UnsupportedLayerError: The network has an operation that this cannot express.
        EdgegolfError: The file cannot be written.
    """
    if not network.weights:
        raise UnsupportedLayerError("the model has no weights")
    data = write_protobuf(FORMS[form](network, calibration))
    write_atomically(destination, golf_onnx(data, Keep(portable=portable)).data)


def _weights(network: Network, calibration: NDArray[np.float32]) -> Message:
    equalized = equalize(network, calibration)
    noise = importances(equalized, calibration)
    scale = _best_scale([(w.values, noise[w]) for w in equalized.weights])
    return _model(_unpacked(lower(equalized), scale), {"": onnx_lowering.OPSET})


def _scales(network: Network, calibration: NDArray[np.float32]) -> Message:
    lowered = lower(network)
    calls = []
    for name, array in lowered.weights.items():
        scale = _best_scale([(array, np.ones(array.shape))])
        integers, factor = map(lowered.constants.name, (_quantize(array, scale), scale))
        numbers = f"numbers {name}"
        calls += [
            Call("Cast", (integers,), (numbers,), _TO_FLOAT),
            Call("Mul", (numbers, factor), (name,)),
        ]
    unpacked = replace(lowered, calls=(*calls, *lowered.calls), weights={})
    return _model(unpacked, {"": onnx_lowering.OPSET})


def _compute(network: Network, calibration: NDArray[np.float32]) -> Message:
    equalized = equalize(network, calibration)
    style = Style(rectifier="requantize", activations="shared", weights="tensor")
    found = calibrate(equalized, ranges(equalized, calibration), style)
    coarser = {w: tuple(s * _SEVEN_BITS for s in scales) for w, scales in found.weights.items()}
    return _in_integers(equalized, Quantization(found.activations, coarser))


def _channels(network: Network, calibration: NDArray[np.float32]) -> Message:
    style = Style(rectifier="requantize", activations="shared", weights="channel")
    images = np.rint(calibration * 255).astype(np.uint8)

    def calibrated(network: Network) -> Quantization:
        return _unsaturated(network, calibrate(network, ranges(network, calibration), style))

    def write(network: Network, quantization: Quantization) -> bytes:
        return write_protobuf(_in_integers(network, quantization))

    return _in_integers(*search_scales(network, images, calibrated, write, suffix=".onnx"))


def _in_integers(network: Network, quantization: Quantization) -> Message:
    lowered = IntegerLowering(quantization=quantization).lower_network(network)
    return _model(lowered, {"": onnx_integers.OPSET, RUNTIME_DOMAIN: RUNTIME_VERSION})


FORMS = {"weights": _weights, "scales": _scales, "compute": _compute, "channels": _channels}


def _unsaturated(network: Network, quantization: Quantization) -> Quantization:
    """What is multiplied in pairs in 7 bits: activations, or the weights of pixels.

    Activations lose less by it than weights do, and where their ranges are clipped, what is above
    them has the eighth bit. Depthwise convolutions do not add in pairs.
    """
    grids, weights = quantization.activations, dict(quantization.weights)
    fixed = {grids[value] for value in (*network.inputs, *network.outputs)}
    halved = set()
    for node in network.walk():
        if isinstance(node.operation, Convolution | Dense):
            grid = grids[node.inputs[0]]
            weight = node.operation.weights[0]
            if grid in fixed:
                weights[weight] = tuple(scale * _SEVEN_BITS for scale in weights[weight])
            else:
                halved.add(grid)

    def in_lower_half(grid: Grid) -> Grid:  # of uint8, which begin at int8's -128
        return Grid((2 * grid.scale,), (grid.zero_point - 128) // 2)

    activations = {
        value: in_lower_half(grid) if grid in halved else grid for value, grid in grids.items()
    }
    return Quantization(activations, weights)


def _best_scale(weights: Sequence[tuple[NDArray[np.float32], NDArray[np.float64]]]) -> np.float32:
    """The scale with the least noise, given weights and their importances.

    Clipping a few large weights can cost less than rounding all others more coarsely.
    """
    values, noise = (
        np.concatenate([np.ravel(part) for part in column])
        for column in zip(*(np.broadcast_arrays(*pair) for pair in weights), strict=True)
    )
    largest = max(float(np.abs(values).max()), float(np.finfo(np.float32).tiny)) / _LARGEST
    return min(
        (np.float32(largest * share) for share in np.linspace(1, 0.4, 121)),
        key=lambda scale: float(noise @ np.square(values - _quantize(values, scale) * scale)),
    )


def _quantize(values: NDArray[np.float32], scale: np.float32) -> NDArray[np.int8]:
    return np.rint(values / scale).clip(-_LARGEST, _LARGEST).astype(np.int8)


def _unpacked(lowered: Lowered, scale: np.float32) -> Lowered:
    """The weights in one int8 tensor, and nodes that turn it into the tensors of the network."""
    weights = lowered.weights
    flat = np.concatenate([array.ravel() for array in weights.values()])
    calls = [
        Call("Cast", (lowered.constants.name(_quantize(flat, scale)),), ("numbers",), _TO_FLOAT),
        Call("Mul", ("numbers", lowered.constants.name(scale)), ("flat",)),
    ]
    parts = [name if array.ndim == 1 else f"flat {name}" for name, array in weights.items()]
    sizes = tuple(array.size for array in weights.values())
    calls.append(Call("Split", ("flat",), tuple(parts), (("split", sizes),)))
    for (name, array), part in zip(weights.items(), parts, strict=True):
        if array.ndim > 1:
            shape = lowered.constants.integers(*array.shape)
            calls.append(Call("Reshape", (part, shape), (name,)))
    return replace(lowered, calls=(*calls, *lowered.calls), weights={})


def _model(lowered: Lowered, imports: dict[str, int]) -> Message:
    return message(
        "ModelProto",
        ir_version=_IR_VERSION,
        graph=message(
            "GraphProto",
            name="g",  # the checker wants one
            node=[call.to_message() for call in lowered.calls],
            initializer=[_tensor(*pair) for pair in lowered.constants.arrays.items()],
            input=[_tensor_info(INPUT, lowered.input_shape)],
            output=[_tensor_info(OUTPUT, lowered.output_shape)],
            value_info=_types(lowered.calls),
        ),
        opset_import=[
            message("OperatorSetIdProto", domain=domain or None, version=version)
            for domain, version in imports.items()
        ],
    )


def _types(calls: Sequence[Call]) -> list[Message]:
    """What the standard's inference cannot know, and needs for what reads it.

    These are results of onnxruntime's operators that others read.
    """
    read = {name for call in calls if not call.domain for name in call.inputs}
    return [
        # QGemm gives real numbers where it is told no scale for what it gives.
        _info(name, "float32" if call.operator == "QGemm" and len(call.inputs) < 8 else "uint8")
        for call in calls
        if call.domain
        for name in call.outputs
        if name in read
    ]


def _info(name: str, dtype: str, shape: Message | None = None) -> Message:
    tensor_type = message("TensorType", elem_type=_DATA_TYPES[dtype], shape=shape)
    return message("ValueInfoProto", name=name, type=message("TypeProto", tensor_type=tensor_type))


def _tensor(name: str, array: NDArray[Any]) -> Message:
    if array.dtype == np.int64:  # shapes: small numbers, which take one byte each
        values: dict[str, Any] = {"int64_data": array.tolist()}
    else:
        values = {"raw_data": array.astype(array.dtype.newbyteorder("<")).tobytes()}
    kind = _DATA_TYPES[array.dtype.name]
    return message("TensorProto", name=name, dims=array.shape, data_type=kind, **values)


def _tensor_info(name: str, shape: Shape) -> Message:
    dimensions = [message("Dimension", dim_value=size) for size in shape]
    return _info(name, "float32", message("TensorShapeProto", dim=dimensions))
