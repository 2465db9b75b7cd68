"""The samples that a model is calibrated on, and those that its files are verified with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegolf.data import Dataset, Split
from edgegolf.errors import EdgegolfError
from edgegolf.export.image_folder import read_folder
from edgegolf.export.layouts import find_layout
from edgegolf.export.sources import (
    ModelInput,
    Source,
    class_row,
    in_order,
    inputs_of,
    read_arrays,
)
from edgegolf.export.user_function import call_function

__all__ = ["ExportData", "ModelInput", "Samples", "inputs_of", "read_data"]

PIXEL_SCALE = np.float32(255)  # nets take pixels in 0...1, unless they scale them themselves
HELD_OUT = 200  # samples from which on calibration and verification share none


@dataclass(frozen=True)
class Samples:
    """What a model is fed with."""

    inputs: tuple[NDArray, ...]  # one array [n, ...] for each input of the model, in its order
    labels: NDArray[np.int64] | None = None  # int64 [n], or None where they are not known

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.inputs[0])

    def take(self, count: int) -> Samples:
        """At most `count` samples, evenly spread, because files are often sorted by class."""
        if count >= len(self):
            return self
        return self.at(_spread(len(self), count))

    def at(self, chosen: NDArray[np.int64]) -> Samples:
        """Those at some positions."""
        labels = None if self.labels is None else self.labels[chosen]
        return Samples(tuple(values[chosen] for values in self.inputs), labels)

    def __add__(self, others: Samples) -> Samples:
        """These and others."""
        inputs = tuple(map(np.concatenate, zip(self.inputs, others.inputs, strict=True)))
        if self.labels is None or others.labels is None:
            return Samples(inputs)
        return Samples(inputs, np.concatenate([self.labels, others.labels]))

    def batches(self, size: int) -> Iterator[tuple[NDArray, ...]]:
        """All samples in batches of exactly `size`; the last is filled up with its last sample."""
        for start in range(0, len(self), size):
            missing = max(0, start + size - len(self))
            parts = [values[start : start + size] for values in self.inputs]
            yield tuple(
                np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
                for part in parts
            )


@dataclass(frozen=True)
class ExportData:
    """Calibration never sees what verification uses, where there is enough of it."""

    training: Samples  # what rounded weights may be adapted to; the training images of a data set
    calibration: Samples  # of these, what the int8 scales are chosen on
    validation: Samples  # what accuracies and differences are measured on
    notes: tuple[str, ...] = ()  # what was read and what was done with it, sentences for people


def read_data(
    source: Dataset | Path | str,
    inputs: Sequence[ModelInput],
    calibration_samples: int,
    labels: Path | None = None,
) -> ExportData:
    """The samples for one model.

    uint8 values for a float input are pixels. They are divided by 255, unless the model scales
    them itself. Samples whose axes are in another order, or are there or not for being 1, are
    brought to the model's shape. Both is told.

    Args:
        source: A data set of images, or a path: an `.npz` file with one array for each input,
            named like it (any name where there is one input only), and `labels` or `y` if they are
            known; an `.npy` file; a folder of images; or `my.py:samples`, a user's function.
        inputs: What the model takes.
        calibration_samples: How many of the training samples to calibrate on.
        labels: A CSV file of rows `file,label`, for a folder of images.

    Raises:
        EdgegolfError: They do not fit the model, are not finite, or the file is damaged.
    """
    if calibration_samples < 1:
        raise EdgegolfError(f"{calibration_samples} calibration images are not enough")
    if labels is not None and (isinstance(source, Dataset) or not Path(source).is_dir()):
        name = f"data set {source.name}" if isinstance(source, Dataset) else source
        raise EdgegolfError(
            f"{labels} has labels of images, but {name} is no folder of images",
            hint="--labels goes with --calibration-data FOLDER",
        )
    if isinstance(source, Dataset):
        return _of_dataset(source, inputs, calibration_samples)
    found = _read(source, inputs, 2 * calibration_samples, labels)
    samples, notes = _fit_all(found, inputs, str(source))
    calibration, validation = _divided(samples, calibration_samples)
    used = (
        f"{len(calibration):,} samples calibrate, {len(validation):,} others verify"
        if len(samples) >= HELD_OUT
        else f"{len(validation):,} samples verify, {len(calibration):,} of them also calibrate"
    )
    labelled = "with labels" if samples.labels is not None else "without labels"
    return ExportData(
        calibration,
        calibration,
        validation,
        (*found.notes, *notes, f"{source}: {used}, {labelled}"),
    )


def _of_dataset(dataset: Dataset, inputs: Sequence[ModelInput], count: int) -> ExportData:
    if len(inputs) != 1:
        raise EdgegolfError(
            f"the model has {len(inputs)} inputs, data set {dataset.name} has images only",
            hint="give --calibration-data samples.npz with one array for each input",
        )
    where = f"data set {dataset.name}"
    notes: list[str] = []

    def fit(split: Split) -> Samples:
        values, notes[:] = _fit(split.images, inputs[0], where)
        return Samples((values,), split.labels)

    training = fit(dataset.split("train"))
    calibration = training.take(count)
    validation = fit(dataset.split("validation"))
    used = f"{len(calibration):,} training images calibrate, {len(validation):,} others verify"
    return ExportData(training, calibration, validation, (*notes, f"{where}: {used}, with labels"))


def _read(
    source: Path | str, inputs: Sequence[ModelInput], count: int, labels: Path | None
) -> Source:
    path = Path(source)
    if ".py:" in str(source):
        return call_function(str(source), inputs, count)
    if not path.is_dir():
        return read_arrays(path, inputs)
    if len(inputs) != 1:
        raise EdgegolfError(
            f"the model has {len(inputs)} inputs, the folder {path} has images only",
            hint="give an .npz file with one array for each input",
        )
    return read_folder(path, inputs[0], labels)


def _fit_all(
    found: Source, inputs: Sequence[ModelInput], where: str
) -> tuple[Samples, tuple[str, ...]]:
    """The samples in the shapes and types of the inputs, and what was done to them."""
    arrays = in_order(found.arrays, inputs, where)
    named = [where if len(inputs) == 1 else f"array {each.name!r} of {where}" for each in inputs]
    fitted = [_fit(*each) for each in zip(arrays, inputs, named, strict=True)]
    labels = None if found.labels is None else _label_row(found.labels, where)
    counts = {len(values) for values, _ in fitted}
    counts |= set() if labels is None else {len(labels)}
    if len(counts) != 1:
        raise EdgegolfError(f"{where} has arrays with {sorted(counts)} samples, not all the same")
    if counts == {0}:
        raise EdgegolfError(f"{where} has no samples")
    samples = Samples(tuple(values for values, _ in fitted), labels)
    return samples, tuple(note for _, notes in fitted for note in notes)


def _label_row(labels: NDArray, where: str) -> NDArray[np.int64]:
    row = class_row(labels)
    if row is None:
        raise EdgegolfError(
            f"{where} has labels that are not a row of integers",
            hint="a label is the number of a class, from 0, or a row with a 1 in its place; what a "
            "regression is trained on judges nothing: leave it away",
        )
    return row


def _fit(values: NDArray, wanted: ModelInput, what: str) -> tuple[NDArray, list[str]]:
    """The values in the shape and type of a model's input, and what was done to them."""
    if values.ndim == 0 or values.dtype.kind not in "biuf":
        raise EdgegolfError(f"{what} is not an array of numbers")
    layout = find_layout(values.shape[1:], wanted.shape[1:])
    if layout is None:
        raise EdgegolfError(
            f"{what} has shape {values.shape[1:]}, the model's input {wanted.name!r} takes "
            f"{wanted.shape[1:]}",
            hint="choose the data set the model was trained on",
        )
    notes = []
    if layout.told:
        notes.append(f"{what} has samples of shape {values.shape[1:]}: {layout.told}")
    values = layout.apply(values)
    is_real = "float" in wanted.dtype
    if is_real and values.dtype == np.uint8:
        if wanted.scales_itself:
            notes.append(f"{what}: uint8 pixels stay 0…255, since the model scales them itself")
            return values.astype(np.float32), notes
        notes.append(f"{what}: uint8 pixels were divided by 255")
        return values / PIXEL_SCALE, notes
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        at = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise EdgegolfError(f"{what} has NaN or infinite numbers, first in sample {at}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(np.float32 if wanted.dtype == "bfloat16" else _numpy_type(wanted))
    if not (np.isfinite(cast).all() if is_real else np.array_equal(cast, values)):
        raise EdgegolfError(
            f"{what} has numbers that the model's input {wanted.name!r} of {wanted.dtype} cannot "
            "hold"
        )
    return cast, notes


def _numpy_type(wanted: ModelInput) -> np.dtype:
    try:
        return np.dtype(wanted.dtype)
    except TypeError:
        raise EdgegolfError(
            f"the model's input {wanted.name!r} takes {wanted.dtype}, no numbers"
        ) from None


def _divided(samples: Samples, count: int) -> tuple[Samples, Samples]:
    """Up to half of the samples to calibrate, the others to verify; of few, all verify."""
    if len(samples) < HELD_OUT:
        return samples.take(count), samples
    chosen = _spread(len(samples), min(count, len(samples) // 2))
    return samples.at(chosen), samples.at(np.setdiff1d(np.arange(len(samples)), chosen))


def _spread(total: int, count: int) -> NDArray[np.int64]:
    return np.linspace(0, total - 1, count).astype(np.int64)
