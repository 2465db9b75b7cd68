"""The samples that a model is calibrated on, and those that its files are verified with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgegolf.errors import EdgegolfError
from edgegolf.export.bounds import check_arrays

if TYPE_CHECKING:
    from edgegolf.data import Dataset

LABELS = "labels"
PIXEL_SCALE = np.float32(255)  # nets take pixels in 0...1


@dataclass(frozen=True)
class Samples:
    """What a model is fed with.

    Attributes:
        inputs: One array [n, ...] for each input of the model, in its order.
        labels: int64 [n], or None where they are not known.
    """

    inputs: tuple[NDArray, ...]
    labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.inputs[0])

    def take(self, count: int) -> Samples:
        """At most `count` samples, evenly spread, because files are often sorted by class."""
        if count >= len(self):
            return self
        return self.chosen(np.linspace(0, len(self) - 1, count).astype(np.int64))

    def chosen(self, numbers: NDArray[np.int64]) -> Samples:
        """Those of some numbers."""
        labels = None if self.labels is None else self.labels[numbers]
        return Samples(tuple(values[numbers] for values in self.inputs), labels)

    def __add__(self, others: Samples) -> Samples:
        """These and others."""
        inputs = tuple(map(np.concatenate, zip(self.inputs, others.inputs, strict=True)))
        if self.labels is None or others.labels is None:
            return Samples(inputs)
        return Samples(inputs, np.concatenate([self.labels, others.labels]))

    def batches(self, size: int) -> Iterator[tuple[NDArray, ...]]:
        """All samples in batches of exactly `size`; the last is filled up with its last sample."""
        for start in range(0, len(self), size):
            chosen = np.minimum(np.arange(start, start + size), len(self) - 1)
            yield tuple(values[chosen] for values in self.inputs)


@dataclass(frozen=True)
class ModelInput:
    """What a model takes.

    Attributes:
        name: Its name.
        shape: With the batch; None for what is open.
        dtype: Its numpy type.
        scales_itself: Whether the model scales pixels itself.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scales_itself: bool = False


@dataclass(frozen=True)
class ExportData:
    """Calibration never sees what verification uses, where there is more than one file of it.

    Attributes:
        training: All that weights may be adapted to.
        calibration: Of these, what scales are chosen on.
        validation: What accuracies and differences are measured on.
        notes: What was taken how, sentences for the user.
    """

    training: Samples
    calibration: Samples
    validation: Samples
    notes: tuple[str, ...] = ()


def read_data(
    source: Dataset | Path | str, inputs: Sequence[ModelInput], calibration_images: int
) -> ExportData:
    """The samples for one model.

    Args:
        source: A data set of images, or an `.npz` file with one array for each input, named
            like it (any name where there is one input only), and `labels` if they are known.
            uint8 values for a float input are pixels and are divided by 255.
        inputs: The model's, which they must fit.
        calibration_images: How many of the training images to calibrate on.

    Raises:
        EdgegolfError: They do not fit the model, or the file is damaged.
    """
    if calibration_images < 1:
        raise EdgegolfError(f"{calibration_images} calibration images are not enough")
    if isinstance(source, Path):
        samples = _read_npz(source, inputs)
        return ExportData(samples, samples.take(calibration_images), samples)
    if len(inputs) != 1:
        raise EdgegolfError(
            f"the model has {len(inputs)} inputs, data set {source.name} has images only",
            hint="give --calibration-data samples.npz with one array for each input",
        )
    train, validation = (
        Samples((_fit(split.images, inputs[0], f"data set {source.name}"),), split.labels)
        for split in (source.split("train"), source.split("validation"))
    )
    return ExportData(train, train.take(calibration_images), validation)


def _read_npz(path: Path, model_inputs: Sequence[ModelInput]) -> Samples:
    arrays = _load_arrays(path)
    labels = arrays.pop(LABELS, None)
    names = [tensor.name for tensor in model_inputs]
    if len(names) == 1 and len(arrays) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    if missing := [name for name in names if name not in arrays]:
        raise EdgegolfError(
            f"{path} has no array {missing[0]!r}, but {', '.join(arrays) or 'none'}",
            hint=f"name the arrays like the model's inputs: {', '.join(names)}",
        )
    inputs = tuple(
        _fit(arrays[tensor.name], tensor, f"array {tensor.name!r} of {path}")
        for tensor in model_inputs
    )
    _check_counts(inputs, labels, path)
    return Samples(inputs, None if labels is None else labels.astype(np.int64))


def _load_arrays(path: Path) -> dict[str, NDArray]:
    try:
        check_arrays(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except EdgegolfError:
        raise
    except Exception:  # numpy's reader of a damaged header raises errors of any type
        raise EdgegolfError(
            f"{path} is damaged or not an .npz file of plain arrays",
            hint="write it with numpy.savez(path, INPUT=array, labels=integers)",
        ) from None


def _fit(values: NDArray, tensor: ModelInput, what: str) -> NDArray:
    """The values in the type of a model's input."""
    if values.ndim == 0 or values.dtype.kind not in "biuf":
        raise EdgegolfError(f"{what} is not an array of numbers")
    expected: Sequence[int | None] = tensor.shape[1:]
    if len(expected) != values.ndim - 1 or any(
        size not in (None, found) for size, found in zip(expected, values.shape[1:], strict=True)
    ):
        raise EdgegolfError(
            f"{what} has shape {values.shape[1:]}, the model's input {tensor.name!r} takes "
            f"{tuple(expected)}",
            hint="choose the data set the model was trained on",
        )
    is_pixels = values.dtype == np.uint8 and "float" in tensor.dtype
    return values / PIXEL_SCALE if is_pixels else values.astype(tensor.dtype)


def _check_counts(inputs: tuple[NDArray, ...], labels: NDArray | None, path: Path) -> None:
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise EdgegolfError(f"{path} has labels that are not a row of integers")
    counts = {len(values) for values in (*inputs, *([] if labels is None else [labels]))}
    if len(counts) != 1:
        raise EdgegolfError(f"{path} has arrays with {sorted(counts)} samples, not all the same")
    if counts == {0}:
        raise EdgegolfError(f"{path} has no samples")
