"""`.tflite` files through TensorFlow's converter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegolf.export.unsupported import conversion_error
from edgegolf.files import write_atomically
from edgegolf.quiet import import_tensorflow, silenced

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from edgegolf.export.samples import Samples


def write_float32(model: keras.Model, calibration: Samples, destination: Path) -> None:
    """Weights and arithmetic in float32. Raises EdgegolfError for an unsupported layer."""
    write_atomically(destination, _convert(model, _converter(model)))


def write_float16(model: keras.Model, calibration: Samples, destination: Path) -> None:
    """Weights in float16, arithmetic in float32. Raises EdgegolfError for an unsupported layer."""
    tensorflow = import_tensorflow()
    converter = _converter(model)
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tensorflow.float16]
    write_atomically(destination, _convert(model, converter))


def write_dynamic(model: keras.Model, calibration: Samples, destination: Path) -> None:
    """Weights in int8, activations in float32 ("dynamic range"), which need no calibration."""
    converter = _converter(model)
    converter.optimizations = [import_tensorflow().lite.Optimize.DEFAULT]
    write_atomically(destination, _convert(model, converter))


def write_int8(model: keras.Model, calibration: Samples, destination: Path) -> None:
    """Weights, arithmetic, input and output in int8; biases in int32.

    Weights have one scale for each output channel, activations one for each tensor, from
    their extremes over the calibration samples. Inputs and outputs that are integers stay.

    Raises:
        EdgegolfError: An unsupported layer.
    """
    tensorflow = import_tensorflow()
    names = [tensor.name for tensor in model.inputs]

    def representative() -> Iterator[dict[str, NDArray]]:
        for arrays in calibration.batches(model.inputs[0].shape[0] or 1):
            yield dict(zip(names, arrays, strict=True))

    converter = _converter(model)
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tensorflow.int8
    converter.inference_output_type = tensorflow.int8
    write_atomically(destination, _convert(model, converter))


def _converter(model: keras.Model) -> Any:
    # Not from_concrete_functions: with Keras 3 it leaves the weights as variables that
    # no runtime initialises, and the file answers nonsense.
    return import_tensorflow().lite.TFLiteConverter.from_keras_model(model)


def _convert(model: keras.Model, converter: Any) -> bytes:
    try:
        with silenced():
            return bytes(converter.convert())
    except Exception as error:  # the converter's phases raise errors of any type
        raise conversion_error("TFLite", error, model) from None
