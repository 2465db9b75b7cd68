"""`.onnx` files through tf2onnx and onnxruntime's quantizer."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegolf.errors import EdgegolfError, require
from edgegolf.export.canonical import canonical, deterministic_tf2onnx
from edgegolf.export.unsupported import conversion_error, unsupported_operation
from edgegolf.files import write_atomically
from edgegolf.quiet import import_tensorflow, silenced
from edgegolf.runtimes.session import one_line

if TYPE_CHECKING:
    import keras
    import onnx
    from numpy.typing import NDArray

    from edgegolf.export.samples import Samples

_LEAST_WEIGHTS = 32  # of a tensor that is worth its decoding

OPSET = 17  # the newest that tf2onnx 1.17 writes whole; onnxruntime reads it since 1.12


def write_float32(model: keras.Model, calibration: Samples, destination: Path) -> None:
    """Weights and arithmetic in float32. Raises EdgegolfError for an unsupported layer."""
    write_atomically(destination, _convert(model).SerializeToString())


def write_float16(model: keras.Model, calibration: Samples, destination: Path) -> None:
    """Weights and arithmetic in float16, inputs and outputs in float32."""
    write_atomically(destination, in_float16(_convert(model)))


def in_float16(model: onnx.ModelProto) -> bytes:
    """A model with its weights and arithmetic in float16. Raises EdgegolfError if it cannot be."""
    float16 = require("onnxruntime.transformers.float16", extra="train")
    try:
        with silenced():
            converted = float16.convert_float_to_float16(model, keep_io_types=True)
        return bytes(converted.SerializeToString())
    except Exception as error:  # of any type
        raise EdgegolfError(
            f"the model cannot be converted to float16: {one_line(error)}"
        ) from None


def with_stored_weights(data: bytes) -> bytes:
    """A file in float32 with its weights in int8, which runtimes decode as they load it.

    Every operator stays: it serves models that the compiler's graph has no words for.
    """
    import onnx

    model = onnx.load_from_string(data)
    taken = {info.name for info in model.graph.input}
    decoding, kept = [], []
    for tensor in model.graph.initializer:
        weights = onnx.numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.size < _LEAST_WEIGHTS or tensor.name in taken:
            kept.append(tensor)
            continue
        scale = np.float32(np.abs(weights).max() / 127 or 1)
        name = tensor.name
        kept += [
            onnx.numpy_helper.from_array(np.rint(weights / scale).astype(np.int8), f"{name} int8"),
            onnx.numpy_helper.from_array(scale, f"{name} scale"),
        ]
        real = onnx.TensorProto.FLOAT
        decoding += [
            onnx.helper.make_node("Cast", [f"{name} int8"], [f"{name} cast"], to=real),
            onnx.helper.make_node("Mul", [f"{name} cast", f"{name} scale"], [name]),
        ]
    nodes = [*decoding, *model.graph.node]
    for field, entries in (("initializer", kept), ("node", nodes)):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(entries)
    return bytes(model.SerializeToString())


def write_int8(model: keras.Model, calibration: Samples, destination: Path) -> None:
    """Weights in int8, activations in uint8, input and output in float32.

    Raises:
        EdgegolfError: An unsupported layer.
    """
    converted = _convert(model)
    quantized = quantize(converted, calibration.batches(model.inputs[0].shape[0] or 1))
    write_atomically(destination, quantized)


def quantize(model: onnx.ModelProto, batches: Iterator[Sequence[NDArray]]) -> bytes:
    """A model in int8, prepared and quantized by onnxruntime's own tools.

    The quantize-dequantize form: onnxruntime's operator form drops the ReLU before a residual
    addition and quantizes a shared bias with the first layer's scale. uint8 activations,
    because its x86 kernels for int8 ones are slower at the same accuracy. Weights use 7 of
    their 8 bits, because on x86 without VNNI the products of two neighbours are added in 16
    bits, which saturates with 8 and costs several points of accuracy.

    Args:
        model: In float32.
        batches: Arrays for the inputs, for each run.

    Raises:
        EdgegolfError: It cannot be quantized.
    """
    quantization = require("onnxruntime.quantization", extra="train")
    prepare = require("onnxruntime.quantization.shape_inference", extra="train").quant_pre_process
    known = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in known]
    samples = list(batches)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self) -> dict[str, NDArray] | None:
            arrays = next(self.left, None)
            return None if arrays is None else dict(zip(names, arrays, strict=True))

    def quantized(plain: Path, made: Path) -> None:
        quantization.quantize_static(
            plain,
            made,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )

    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        try:
            with silenced():
                try:
                    copy = type(model).FromString(model.SerializeToString())  # it is taken apart
                    prepare(copy, plain, skip_symbolic_shape=True)
                    quantized(plain, made)
                except Exception:  # of any type; some models can only be quantized as they are
                    plain.write_bytes(model.SerializeToString())
                    quantized(plain, made)
        except OSError:
            raise
        except Exception as error:  # as above: any type
            raise EdgegolfError(
                f"the model cannot be converted to int8 ONNX: {one_line(error)[:300]}"
            ) from None
        return made.read_bytes()


def _convert(model: keras.Model) -> onnx.ModelProto:
    tensorflow = import_tensorflow()
    signature = [
        tensorflow.TensorSpec(tensor.shape, tensor.dtype, name=re.sub(r"\W", "_", tensor.name))
        for tensor in model.inputs
    ]

    @tensorflow.function(input_signature=signature)
    def call(*inputs: Any) -> dict[str, Any]:
        outputs = model(list(inputs), training=False)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        width = len(str(len(outputs) - 1))  # their order is that of their names
        return {f"output_{index:0{width}}": output for index, output in enumerate(outputs)}

    try:
        with silenced(), deterministic_tf2onnx() as tf2onnx:
            converted, _ = tf2onnx.convert.from_function(
                call, input_signature=signature, opset=OPSET
            )
    except Exception as error:  # the converter raises errors of any type
        raise conversion_error("ONNX", error, model) from None
    _check_operators(converted, model)
    canonical(converted)
    return converted


def _check_operators(converted: onnx.ModelProto, model: keras.Model) -> None:
    """Tf2onnx leaves operations that it does not know in the file as they are."""
    import onnx

    for node in converted.graph.node:
        if not onnx.defs.has(node.op_type, node.domain):
            operation = node.op_type
            if operation.endswith("PartitionedCall"):  # Keras has grouped convolutions compiled
                operation += " (a compiled function, such as a grouped convolution)"
            lacking = "tf2onnx cannot write as ONNX"
            raise unsupported_operation(lacking, operation, node.name, model)
