"""Whether an exported file still is the model, measured in its runtime.

What is judged is what the model does. Scores of classes are judged by the classes that they
choose, integers by whether they are the same; all other outputs by their
signal-to-quantization-noise ratio, the whole output's and, where its columns are few enough to mean
something each, every column's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export.samples import Samples
from edgegolf.export.sources import plain_name
from edgegolf.runtimes import Array, Session, TensorInfo, open_session
from edgegolf.runtimes.classify import dequantize
from edgegolf.sqnr import sqnr, sqnr_by_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgegolf.export.samples import Samples

BATCH_WHERE_OPEN = 32
CHANCE_SAMPLES = 2  # so few may be lost in any case: small sets cannot tell them from chance
# Converters reorder float additions and fold constants, which leaves more than 100 dB. More than
# this is another function.
FLOAT_TOLERANCE = 1e-3  # of the largest absolute number of the output
FLOAT_SQNR = 40.0  # dB
# Eight bits leave some 30 to 45 dB of an output; a third of the standard deviation as error, R² of
# 0.9, is no use to anybody.
INT8_SQNR = 10.0  # dB
GOOD_SQNR = 20.0  # dB; a tenth as error, which is told
# An output that varies by less than this part of its size over the samples is not refused but
# told: nets answer so where random numbers stand for samples, and these judge nothing.
STEADY = 0.2
# So few columns are quantities of their own: coordinates, sensors. More are a field of one kind,
# such as the pixels of an autoencoder, where those that hardly vary do not count.
OWN_COLUMNS = 32
DISTRIBUTION_TOLERANCE = 1e-3  # of the sum of probabilities


@dataclass(frozen=True)
class OutputComparison:
    """One output of a file against the model's."""

    kind: Literal["classes", "values"]  # `classes` if it scores classes, else `values`
    # Of the file's classes, a fraction: against the labels or, where there are none for this
    # output, against the classes that the model gives. None for values.
    accuracy: float | None
    reference_accuracy: float | None  # of the model; 1 without labels
    sqnr: float  # signal-to-quantization-noise ratio of the output, dB
    # Which element of the last axis has the lowest ratio, counted from 0; None for classes and
    # where the columns have no meanings of their own.
    worst_column: int | None = None
    worst_sqnr: float | None = None  # its ratio, dB
    # The output, or a column that means something, keeps less than `INT8_SQNR`, and varies enough
    # over the samples to tell.
    is_lost: bool = False

    @property
    def least_sqnr(self) -> float:
        """The lower one of the output's ratio and its worst column's, dB."""
        return self.sqnr if self.worst_sqnr is None else min(self.sqnr, self.worst_sqnr)


@dataclass(frozen=True)
class Comparison:
    """A file against its model on the same samples."""

    outputs: tuple[OutputComparison, ...]  # each output, in the model's order
    labelled: int | None  # which output the labels judge, None where there is none
    max_difference: float  # the largest difference of any output

    @property
    def accuracy(self) -> float | None:
        """Of the labelled output, else of the first that scores classes; None if there is none."""
        return None if self._main is None else self._main.accuracy

    @property
    def reference_accuracy(self) -> float | None:
        """The model's for the same output."""
        return None if self._main is None else self._main.reference_accuracy

    @property
    def sqnr(self) -> float:
        """Of the worst output or column, dB."""
        return min(output.least_sqnr for output in self.outputs)

    @property
    def _main(self) -> OutputComparison | None:
        if self.labelled is not None:
            return self.outputs[self.labelled]
        return next((output for output in self.outputs if output.kind == "classes"), None)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What of a file that passes is worth a warning."""
        return tuple(
            f"{_named(output, index)} keeps only {output.least_sqnr:.1f} dB of its signal"
            for index, output in enumerate(self.outputs)
            if output.kind == "values" and output.least_sqnr < GOOD_SQNR
        )


def run_file(path: Path, names: Sequence[str] | None, samples: Samples) -> list[Array]:
    """A file's outputs in the model's order, [n, …] each: dequantized, float32, or plain integers.

    Args:
        path: The `.tflite` or `.onnx` file.
        names: What the samples' arrays are called, to find the file's inputs by; None: they are in
            the file's order.
        samples: Real numbers.

    Raises:
        EdgegolfError: The runtime is missing or refuses the file.
    """
    with open_session(path) as session:
        sizes = [info.shape[0] if info.shape else None for info in session.inputs]
        batch = next((size for size in sizes if size), BATCH_WHERE_OPEN)
        given = Samples(tuple(feed(session, names, samples.inputs)))
        results = list(zip(*map(session.run, given.batches(batch)), strict=True))
        positions = output_positions(session.outputs)
        outputs = session.outputs
    return [
        _real(np.concatenate(results[index]), outputs[index])[: len(samples)] for index in positions
    ]


def _real(numbers: Array, info: TensorInfo) -> Array:
    return numbers if is_whole(numbers) and not info.scale else dequantize(numbers, info)


def feed(session: Session, names: Sequence[str] | None, arrays: Sequence[Array]) -> list[Array]:
    """Real numbers as a session takes them: its order, its layout, its numbers.

    Args:
        session: With a file of the model.
        names: What the arrays are called; None: they are in the session's order.
        arrays: Samples for each input.

    Raises:
        EdgegolfError: An input of the session has none of the names.
    """
    count = len(session.inputs)
    order = range(count) if names is None else [find_input(i.name, names) for i in session.inputs]
    return [
        as_stored(_laid_out(arrays[index], info), info)
        for index, info in zip(order, session.inputs, strict=True)
    ]


def compare(found: Sequence[Array], expected: Sequence[Array], samples: Samples) -> Comparison:
    """Judge a file's outputs by what the model does.

    Args:
        found: What `run_file` returns.
        expected: What the model gives for the same samples, as many numbers each.
        samples: Whose labels say what is right.
    """
    found = [a.reshape(b.shape) for a, b in zip(found, expected, strict=True)]
    differences = [
        np.abs(a - b.astype(np.float64)).max() for a, b in zip(found, expected, strict=True)
    ]
    labelled = labelled_output(expected, samples.labels)
    outputs = tuple(
        _compare_output(a, b, samples.labels if index == labelled else None)
        for index, (a, b) in enumerate(zip(found, expected, strict=True))
    )
    return Comparison(outputs, labelled, float(np.max(differences)))  # NaN if one is


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
        is_exact: It computes in float32: its outputs may differ by rounding only.
        found: What `run_file` returns.
        expected: What the model gives for the same samples.
        samples: Whose labels say what is right.
        max_drop: The accuracy that may be lost, a fraction; never less than two samples.

    Raises:
        EdgegolfError: More accuracy or signal is lost, or the outputs of an exact file differ.
    """
    result = compare(found, expected, samples)
    allowed = max(max_drop, CHANCE_SAMPLES / len(samples))
    for index, (output, numbers, truth) in enumerate(
        zip(result.outputs, found, expected, strict=True)
    ):
        if not np.isfinite(numbers).all():
            raise EdgegolfError(
                f"{name} gives NaN or infinite numbers in output {index}",
                hint="leave this file out with --formats and --dtype, and report it as a bug",
            )
        if output.accuracy is not None and output.reference_accuracy is not None:
            lost = output.reference_accuracy - output.accuracy
            # Without labels, a class that changed may have been as right before as after.
            is_judged = index == result.labelled or (
                is_whole(truth) if is_exact else output.is_lost
            )
            if is_judged and lost > allowed + 1e-9:  # not for the rounding of the subtraction
                raise EdgegolfError(
                    f"{name} loses {lost * 100:.2f} points of accuracy, more than the allowed "
                    f"{allowed * 100:.2f}: {output.accuracy:.2%} against "
                    f"{output.reference_accuracy:.2%}",
                    hint="calibrate on more, and typical, samples, or allow more with --max-drop",
                )
        if is_exact and not is_whole(truth):
            difference = float(np.abs(numbers.reshape(truth.shape) - truth).max())
            largest = max(float(np.abs(truth).max()), 1)
            if difference > FLOAT_TOLERANCE * largest or output.least_sqnr < FLOAT_SQNR:
                raise EdgegolfError(
                    f"{name} gives other outputs than the model: {_named(output, index)} differs "
                    f"by up to {difference:.3g} and keeps {output.least_sqnr:.1f} dB",
                    hint="leave this file out with --formats and --dtype, and report it as a bug",
                )
        elif output.kind == "values" and output.is_lost:
            raise EdgegolfError(
                f"{name} loses {_named(output, index)}: it keeps {output.least_sqnr:.1f} dB of "
                f"its signal, less than the {INT8_SQNR:.0f} dB that it must",
                hint="scale the model's outputs to like ranges, or give them outputs of their own; "
                "calibrate on more, and typical, samples",
            )
    return result


def labelled_output(expected: Sequence[Array], labels: NDArray[np.int64] | None) -> int | None:
    """Which of a model's outputs the labels are the classes of: the one that is right most often.

    None without labels, and where no output has a column for each label (or one for two), or an
    integer in its place.
    """
    if labels is None:
        return None
    fitting = {
        index: _accuracy(output, labels, output)
        for index, output in enumerate(expected)
        if 0 <= labels.min() <= labels.max() < classes_in(output)
        and output.size == len(labels) * (1 if is_whole(output) else output.shape[-1])
    }
    return max(fitting, key=fitting.__getitem__) if fitting else None


def is_whole(output: Array) -> bool:
    """Whether it has no scores but classes, or other integers."""
    return output.dtype.kind in "iub"


def classes_in(output: Array) -> float:
    """How many classes an output tells apart, infinity where it gives their numbers; 0 of none."""
    if is_whole(output):
        return inf
    return max(2, output.shape[-1]) if output.ndim > 1 else 0


def classes_of(scores: Array, reference: Array) -> Array:
    """The class that each row of the last axis chooses, int64 [rows]; integers as they are.

    A single column is the score of the second class of two, as binary classifiers have it.

    Args:
        scores: float [samples, …, classes].
        reference: The model's own, which tell whether a single column is a probability.
    """
    if is_whole(reference):
        return scores.ravel()
    rows = scores.reshape(-1, scores.shape[-1])
    if rows.shape[1] > 1:
        return rows.argmax(axis=1)
    is_probability = reference.min() >= 0 and reference.max() <= 1
    return (rows[:, 0] > (0.5 if is_probability else 0)).astype(np.int64)


def is_distribution(output: Array) -> bool:
    """Whether all rows of the last axis are probabilities of classes, or logarithms of them."""
    if output.ndim < 2 or output.shape[-1] < 2:
        return False
    with np.errstate(over="ignore"):
        return any(
            bool((rows >= 0).all() and (np.abs(rows.sum(-1) - 1) < DISTRIBUTION_TOLERANCE).all())
            for rows in (output, np.exp(output))
        )


def _compare_output(
    found: Array, expected: Array, labels: NDArray[np.int64] | None
) -> OutputComparison:
    ratio = sqnr(expected, found)
    if is_whole(expected):
        truth = expected.ravel() if labels is None else labels
        own, reference = (_accuracy(numbers, truth, expected) for numbers in (found, expected))
        return OutputComparison("classes", own, reference, ratio, is_lost=ratio < INT8_SQNR)
    rows = expected.reshape(-1, expected.shape[-1] if expected.ndim > 1 else 1)
    variances, powers = rows.var(axis=0, dtype=np.float64), np.mean(np.square(rows), axis=0)
    is_lost = ratio < INT8_SQNR and variances.sum() > STEADY**2 * powers.sum()
    if labels is not None or is_distribution(expected):
        truth = classes_of(expected, expected) if labels is None else labels
        own, reference = (_accuracy(scores, truth, expected) for scores in (found, expected))
        return OutputComparison("classes", own, reference, ratio, is_lost=is_lost)
    by_column = sqnr_by_column(expected, found)
    if not 1 < len(by_column) <= OWN_COLUMNS or np.isnan(by_column).all():
        return OutputComparison("values", None, None, ratio, is_lost=is_lost)
    worst = int(np.nanargmin(by_column))
    is_lost |= bool(np.any((by_column < INT8_SQNR) & (variances > STEADY**2 * powers)))
    return OutputComparison("values", None, None, ratio, worst, float(by_column[worst]), is_lost)


def _laid_out(values: Array, info: TensorInfo) -> Array:
    """Images with their channels first, where the file takes them so."""
    expected, found = info.example_shape[1:], values.shape[1:]
    if len(found) == 3 and expected != found and expected == (found[2], *found[:2]):
        return values.transpose(0, 3, 1, 2)
    return values


def as_stored(values: Array, info: TensorInfo) -> Array:
    """Real numbers in the type that an input takes."""
    dtype = np.dtype(info.dtype)
    if not info.scale:
        return values.astype(dtype, copy=False)
    numbers = np.round(values / np.float32(info.scale[0])) + info.zero_point[0]
    limits = np.iinfo(dtype)
    return np.clip(numbers, limits.min, limits.max).astype(dtype)


def find_input(tensor_name: str, input_names: Sequence[str]) -> int:
    """Which of the model's inputs a tensor is; TFLite sorts them by name."""
    if len(input_names) == 1:
        return 0
    plain = [plain_name(name) for name in input_names]
    if plain_name(tensor_name) in plain:
        return plain.index(plain_name(tensor_name))
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


def _accuracy(scores: Array, truth: Array, reference: Array) -> float:
    is_finite = True if is_whole(reference) else np.isfinite(scores).all(axis=-1).ravel()
    return float(np.mean((classes_of(scores, reference) == truth) & is_finite))


def _named(output: OutputComparison, index: int) -> str:
    """An output or, where it is the worse, a column of it; both counted from 0."""
    if output.worst_sqnr is None or output.worst_sqnr >= output.sqnr:
        return f"output {index}"
    return f"column {output.worst_column} of output {index}"
