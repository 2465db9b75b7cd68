"""Whether an exported file still is the model, measured in its runtime."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import Array, Session, TensorInfo, open_session
from edgegolf.runtimes.classify import dequantize
from edgegolf.sqnr import sqnr

if TYPE_CHECKING:
    from edgegolf.export.samples import Samples

BATCH_WHERE_OPEN = 32
CHANCE_SAMPLES = 2  # so few may be lost in any case: small sets cannot tell them from chance
# Converters reorder float additions and fold constants; more than this is another function.
FLOAT_TOLERANCE = 1e-3  # of the largest absolute output
# Outputs that are no class scores have no accuracy; int8 has to keep at least this much of them.
INT8_TOLERANCE = 0.1  # root mean square error, of the standard deviation of the outputs


@dataclass(frozen=True)
class Comparison:
    """A file against its model on the same samples.

    Attributes:
        accuracy: Of the file, a fraction: against the labels or, where these are not known,
            against the classes that the model gives. None where the outputs are no scores
            of classes.
        model_accuracy: Of the model.
        max_difference: The largest difference of any output.
        sqnr: Of the worst output, dB.
    """

    accuracy: float | None
    model_accuracy: float | None
    max_difference: float
    sqnr: float


def run_file(path: Path, names: Sequence[str] | None, samples: Samples) -> list[Array]:
    """A file's outputs in the model's order, dequantized, float32 [n, …] each.

    Args:
        path: The `.tflite` or `.onnx` file.
        names: What the samples' arrays are called, to find the file's inputs by; None: they are in
            the file's order.
        samples: Real numbers.

    Raises:
        EdgegolfError: The runtime is missing or refuses the file.
    """
    with open_session(path) as session:
        batch = session.inputs[0].shape[0] or BATCH_WHERE_OPEN
        batches = [
            [
                dequantize(values, info)
                for values, info in zip(
                    session.run(feed(session, names, arrays)), session.outputs, strict=True
                )
            ]
            for arrays in samples.batches(batch)
        ]
        positions = output_positions(session.outputs)
    return [np.concatenate([b[index] for b in batches])[: len(samples)] for index in positions]


def feed(session: Session, names: Sequence[str] | None, arrays: Sequence[Array]) -> list[Array]:
    """Real numbers as a session takes them: its order, its layout, its numbers.

    Args:
        session: With a file of the model.
        names: What the arrays are called; None: they are in the session's order.
        arrays: A batch of samples for each input.

    Raises:
        EdgegolfError: An input of the session has none of the names.
    """
    count = len(session.inputs)
    order = range(count) if names is None else [find_input(i.name, names) for i in session.inputs]
    if sorted(order) != list(range(count)):  # without names, as they are written
        order = range(count)
    return [
        _quantize(_laid_out(arrays[index], info), info)
        for index, info in zip(order, session.inputs, strict=True)
    ]


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
    noise = min(map(sqnr, expected, found))
    if len(expected) > 1 or expected[0].ndim != 2 or expected[0].shape[1] < 2:
        return Comparison(None, None, difference, noise)
    truth = expected[0].argmax(axis=1) if samples.labels is None else samples.labels
    return Comparison(_accuracy(found[0], truth), _accuracy(expected[0], truth), difference, noise)


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
    if result.accuracy is not None and result.model_accuracy is not None:
        lost = result.model_accuracy - result.accuracy
        allowed = max(max_drop, CHANCE_SAMPLES / len(samples))
        if lost > allowed + 1e-9:  # not for the rounding of the subtraction
            raise EdgegolfError(
                f"{name} loses {lost * 100:.2f} points of accuracy, more than the allowed "
                f"{allowed * 100:.2f}: {result.accuracy:.2%} against {result.model_accuracy:.2%}",
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
            f"{name} gives other outputs than the model: they differ by up to "
            f"{result.max_difference:.3g}",
            hint="leave this file out with --formats and --dtype, and report it as a bug",
        )
    return result


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


def find_input(tensor_name: str, input_names: Sequence[str]) -> int:
    """Which of the model's inputs a tensor is; TFLite sorts them by name."""
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


def output_positions(outputs: Sequence[TensorInfo]) -> list[int]:
    """Where each of the model's outputs is; TFLite keeps its number in its name only.

    Its numbers count the names `output_0`, `output_1`, `output_10`, `output_2`, … in that order.
    """
    numbers = [re.fullmatch(r"StatefulPartitionedCall.*:(\d+)", info.name) for info in outputs]
    if not all(numbers):
        return list(range(len(outputs)))
    found = [int(number[1]) for number in numbers if number]
    sorted_names = sorted(range(len(outputs)), key=lambda index: f"output_{index}")
    return [found.index(sorted_names.index(index)) for index in range(len(outputs))]


def _accuracy(scores: Array, truth: Array) -> float:
    return float(np.mean((scores.argmax(axis=1) == truth) & np.isfinite(scores).all(axis=1)))


def _noise(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest root mean square error of an output, in its standard deviations."""
    return max(
        float(np.sqrt(np.mean((a - b) ** 2)) / max(float(b.std()), 1e-6))
        for a, b in zip(found, expected, strict=True)
    )
