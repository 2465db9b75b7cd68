"""Whether an exported file still is the Keras model, measured in its runtime."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export.bounds import largest_result
from edgegolf.runtimes import Array, Session, TensorInfo, open_session
from edgegolf.runtimes.classify import dequantize

if TYPE_CHECKING:
    import keras

    from edgegolf.export.samples import Samples

BATCH_WHERE_OPEN = 32
BATCH_NUMBERS = 2**26  # in the largest result of a layer, for one batch
CHANCE_SAMPLES = 2  # so few may be lost in any case: small sets cannot tell them from chance
# Converters reorder float additions and fold constants; more than this is another function.
FLOAT_TOLERANCE = 1e-3  # of the largest absolute output
# Outputs that are no class scores have no accuracy; int8 has to keep at least this much of them.
INT8_TOLERANCE = 0.1  # root mean square error, of the standard deviation of the outputs


@dataclass(frozen=True)
class Comparison:
    """A file against its Keras model on the same samples.

    Attributes:
        accuracy: Of the file, a fraction: against the labels or, where these are not known,
            against the classes that the Keras model gives. None where the outputs are no scores
            of classes.
        keras_accuracy: Of the Keras model.
        max_difference: The largest difference of any output.
    """

    accuracy: float | None
    keras_accuracy: float | None
    max_difference: float


def predict(model: keras.Model, samples: Samples) -> list[Array]:
    """The Keras model's outputs, float32 [n, ...] each."""
    import keras

    with_lists = keras.Model(list(model.inputs), list(model.outputs))
    batch = max(1, min(256, BATCH_NUMBERS // max(1, largest_result(model))))
    outputs = with_lists.predict(list(samples.inputs), batch_size=batch, verbose=0)
    return [np.asarray(output, np.float32) for output in _as_list(outputs)]


def run_file(path: Path, input_names: Sequence[str], samples: Samples) -> list[Array]:
    """A file's outputs in the Keras model's order, dequantized, float32 [n, ...] each.

    Args:
        path: The `.tflite` or `.onnx` file.
        input_names: What the Keras model calls its inputs.
        samples: Their arrays, in that order.

    Raises:
        EdgegolfError: The runtime is missing or refuses the file.
    """
    with open_session(path) as session:
        order = [_find(info.name, input_names) for info in session.inputs]
        batch = session.inputs[0].shape[0] or BATCH_WHERE_OPEN
        batches = [
            _run_batch(session, [arrays[index] for index in order])
            for arrays in samples.batches(batch)
        ]
        positions = _output_positions(session.outputs)
    return [np.concatenate([b[index] for b in batches])[: len(samples)] for index in positions]


def compare(found: Sequence[Array], expected: Sequence[Array], samples: Samples) -> Comparison:
    """Accuracy and largest difference of a file's outputs.

    Args:
        found: What `run_file` returns.
        expected: What `predict` returns for the same samples.
        samples: Whose labels say what is right.
    """
    difference = max(
        float(np.max(np.abs(a - b.reshape(a.shape)))) for a, b in zip(found, expected, strict=True)
    )
    if len(expected) > 1 or expected[0].ndim != 2 or expected[0].shape[1] < 2:
        return Comparison(None, None, difference)
    truth = expected[0].argmax(axis=1) if samples.labels is None else samples.labels
    return Comparison(_accuracy(found[0], truth), _accuracy(expected[0], truth), difference)


def check(
    name: str,
    is_exact: bool,
    found: Sequence[Array],
    expected: Sequence[Array],
    samples: Samples,
    max_drop: float,
) -> Comparison:
    """Compare, and refuse what is no longer the same model.

    Args:
        name: The file, for the error.
        is_exact: It is not quantized: its outputs may differ by rounding only.
        found: What `run_file` returns.
        expected: What `predict` returns for the same samples.
        samples: Whose labels say what is right.
        max_drop: The accuracy that may be lost, a fraction; never less than two samples.

    Raises:
        EdgegolfError: More accuracy is lost, or the outputs differ too much.
    """
    result = compare(found, expected, samples)
    if result.accuracy is not None and result.keras_accuracy is not None:
        lost = result.keras_accuracy - result.accuracy
        allowed = max(max_drop, CHANCE_SAMPLES / len(samples))
        if lost > allowed + 1e-9:  # not for the rounding of the subtraction
            raise EdgegolfError(
                f"{name} loses {lost * 100:.2f} points of accuracy, more than the allowed "
                f"{allowed * 100:.2f}: {result.accuracy:.2%} against {result.keras_accuracy:.2%}",
                hint="calibrate on more, and typical, images, or allow more with --max-drop",
            )
    if is_exact:
        largest = max(float(np.abs(output).max()) for output in expected)
        wrong = not result.max_difference <= FLOAT_TOLERANCE * max(largest, 1)  # also for NaN
    else:
        wrong = not np.isfinite(result.max_difference) or (
            result.accuracy is None and _noise(found, expected) > INT8_TOLERANCE
        )
    if wrong:
        raise EdgegolfError(
            f"{name} gives other outputs than the Keras model: they differ by up to "
            f"{result.max_difference:.3g}",
            hint="leave this file out with --formats and --dtype, and report it as a bug",
        )
    return result


def _run_batch(session: Session, arrays: Sequence[Array]) -> list[Array]:
    inputs = [
        _quantize(_laid_out(values, info), info)
        for values, info in zip(arrays, session.inputs, strict=True)
    ]
    outputs = session.run(inputs)
    return [dequantize(values, info) for values, info in zip(outputs, session.outputs, strict=True)]


def _laid_out(values: Array, info: TensorInfo) -> Array:
    """Images with their channels first, where the file takes them so."""
    expected, found = info.example_shape[1:], values.shape[1:]
    if len(found) == 3 and expected != found and expected == (found[2], *found[:2]):
        return values.transpose(0, 3, 1, 2)
    return values


def _quantize(values: Array, info: TensorInfo) -> Array:
    """Real numbers in the type that an input takes."""
    dtype = np.dtype(info.dtype)
    if not info.scale:
        return values.astype(dtype)
    numbers = np.round(values / np.float32(info.scale[0])) + info.zero_point[0]
    limits = np.iinfo(dtype)
    return np.clip(numbers, limits.min, limits.max).astype(dtype)


def _find(tensor_name: str, input_names: Sequence[str]) -> int:
    """Which of the Keras model's inputs a tensor is; TFLite sorts them by name."""
    if len(input_names) == 1:
        return 0
    bare = tensor_name.removeprefix("serving_default_").removesuffix(":0")
    for index, name in enumerate(input_names):
        if re.sub(r"\W", "_", name) == re.sub(r"\W", "_", bare):
            return index
    raise EdgegolfError(
        f"the file's input {tensor_name!r} is none of the model's: {', '.join(input_names)}",
        hint="give the model's inputs plain names: keras.Input(…, name='left')",
    )


def _output_positions(outputs: Sequence[TensorInfo]) -> list[int]:
    """Where each of the Keras model's outputs is; TFLite keeps its number in its name only."""
    numbers = [re.search(r":(\d+)$", info.name) for info in outputs]
    order = [int(number[1]) if number else index for index, number in enumerate(numbers)]
    return sorted(range(len(order)), key=order.__getitem__)


def _accuracy(scores: Array, truth: Array) -> float:
    return float(np.mean((scores.argmax(axis=1) == truth) & np.isfinite(scores).all(axis=1)))


def _noise(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest root mean square error of an output, in its standard deviations."""
    return max(
        float(np.sqrt(np.mean((a - b) ** 2)) / max(float(b.std()), 1e-6))
        for a, b in zip(found, expected, strict=True)
    )


def _as_list(outputs: object) -> list[Array]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]  # type: ignore[list-item]
