"""A `.keras` file into the files that devices run, each verified before it gets its name."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeGuard

from edgegolf.errors import EdgegolfError
from edgegolf.export import onnx_export, tflite
from edgegolf.export.model import for_inference, load_model
from edgegolf.export.samples import Samples, read_data
from edgegolf.export.sharing.candidates import best_files, onnx_candidates, tflite_candidates
from edgegolf.export.sharing.measuring import Candidate, Goal
from edgegolf.export.verify import Comparison, check, predict, run_file
from edgegolf.files import atomic_path
from edgegolf.progress import track
from edgegolf.runtimes import Array

if TYPE_CHECKING:
    import keras

    from edgegolf.data import Dataset


@dataclass(frozen=True)
class Way:
    """One way to export.

    Attributes:
        file_format: "tflite" or "onnx".
        dtype: "float32" or "int8".
        write: Writes the file, given the model with its batch fixed, the calibration samples and
            the destination.
    """

    file_format: str
    dtype: str
    write: Callable[[keras.Model, Samples, Path], None]


WAYS: dict[str, Way] = {
    "float32.tflite": Way("tflite", "float32", tflite.write_float32),
    "int8.tflite": Way("tflite", "int8", tflite.write_int8),
    "float32.onnx": Way("onnx", "float32", onnx_export.write_float32),
    "int8.onnx": Way("onnx", "int8", onnx_export.write_int8),
}
FORMATS = ("tflite", "onnx")
DTYPES = ("float32", "int8")


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and how.

    Attributes:
        formats: Of `FORMATS`.
        dtypes: Of `DTYPES`.
        calibration_images: How many training images the int8 scales are chosen on.
        max_drop: The accuracy that a file may lose, a fraction.
        batch: Samples in one inference; None leaves it open.
        goal: What the int8 files are chosen for: `size`, `latency` or `balanced`. None keeps the
            best for each.
    """

    formats: tuple[str, ...] = FORMATS
    dtypes: tuple[str, ...] = DTYPES
    calibration_images: int = 500
    max_drop: float = 0.005
    batch: int | None = 1
    goal: Goal | None = None


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written and verified.

    Attributes:
        name: Its name in the destination folder.
        format: "tflite" or "onnx".
        dtype: "float32" or "int8".
        bytes: Its size.
        validation_accuracy: Measured from the file in its runtime, a fraction; None where the
            outputs are no scores of classes. Where labels are not known: how often it gives the
            same class as the Keras model.
        keras_accuracy: Of the Keras model on the same samples.
        max_difference: The largest difference of any output from the Keras model's.
        seconds: What converting and verifying took.
    """

    SCHEMA: ClassVar[str] = "edgegolf.exported_file/1"

    name: str
    format: str
    dtype: str
    bytes: int
    validation_accuracy: float | None
    keras_accuracy: float | None
    max_difference: float
    seconds: float


#: Called with a format and all candidates for its int8 files.
ShowCandidates = Callable[[str, tuple[Candidate, ...]], None]


def export_model(
    model_path: Path,
    destination: Path,
    source: Dataset | Path,
    options: ExportOptions | None = None,
    skip: Collection[str] = (),
    show: ShowCandidates = lambda file_format, candidates: None,
) -> tuple[ExportedFile, ...]:
    """Export a model in every way that the options name.

    A file gets its name in the destination when it was verified on the validation samples. Where
    that fails, an older file of this name is removed too: it would pass for this model's.

    Args:
        model_path: Any `.keras` file.
        destination: The folder to write to.
        source: The data set that the model was trained on, or an `.npz` file of samples.
        options: What to export, and how.
        skip: Names of files that are up to date.
        show: Shows the candidates of a format, where there are several.

    Raises:
        EdgegolfError: The model, a layer of it or the samples cannot be used, a file loses more
            accuracy than allowed, or the folder cannot be written.
    """
    options = options or ExportOptions()
    _check_options(options)
    ways = {
        name: way
        for name, way in WAYS.items()
        if way.file_format in options.formats and way.dtype in options.dtypes and name not in skip
    }
    if not ways:
        return ()
    model = load_model(model_path)
    data = read_data(source, model, options.calibration_images)
    reference = _Reference(
        [tensor.name for tensor in model.inputs],
        data.validation,
        predict(model, data.validation),
        options.max_drop,
    )
    fixed = for_inference(model, options.batch)
    exported = []
    with tempfile.TemporaryDirectory() as stock:

        @functools.cache
        def converted(name: str) -> Path:
            """What the stock converter makes."""
            path = Path(stock) / name
            WAYS[name].write(fixed, data.calibration, path)
            return path

        for way_name, way in track(ways.items(), f"exporting {model_path}"):
            started = time.perf_counter()
            made = converted(way_name)
            files = {way_name: made.read_bytes()}
            if way.dtype == "int8" and _is_image_classifier(source, options, fixed):
                candidates = _candidates(fixed, source, converted(f"float32{made.suffix}"), made)
                show(way.file_format, candidates)
                best = best_files(candidates, made.suffix, options.goal)
                files = {name: candidate.data for name, candidate in best.items()}
            _remove_others(destination, way, files)
            for name, content in files.items():
                found = _publish(destination / name, content, way.dtype == "float32", reference)
                exported.append(
                    ExportedFile(
                        name=name,
                        format=way.file_format,
                        dtype=way.dtype,
                        bytes=len(content),
                        validation_accuracy=found.accuracy,
                        keras_accuracy=found.keras_accuracy,
                        max_difference=found.max_difference,
                        seconds=time.perf_counter() - started,
                    )
                )
                started = time.perf_counter()
    return tuple(exported)


@dataclass(frozen=True)
class _Reference:
    """What the files are compared with.

    Attributes:
        input_names: The Keras model's.
        samples: The validation samples.
        outputs: What the Keras model gives for them.
        max_drop: The accuracy that a file may lose, a fraction.
    """

    input_names: list[str]
    samples: Samples
    outputs: list[Array]
    max_drop: float


def _publish(path: Path, content: bytes, is_exact: bool, reference: _Reference) -> Comparison:
    """Write a file that gets its name if it is still the same model."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
        try:
            outputs = run_file(temporary, reference.input_names, reference.samples)
            return check(
                path.name,
                is_exact,
                outputs,
                reference.outputs,
                reference.samples,
                reference.max_drop,
            )
        except EdgegolfError:
            path.unlink(missing_ok=True)
            raise


def _is_image_classifier(
    source: Dataset | Path, options: ExportOptions, model: keras.Model
) -> TypeGuard[Dataset]:
    """Whether the int8 files can be made better than the converters make them."""
    return not isinstance(source, Path) and options.batch == 1 and len(model.inputs) == 1


def _candidates(
    model: keras.Model, dataset: Dataset, float32_file: Path, int8_file: Path
) -> tuple[Candidate, ...]:
    make = onnx_candidates if int8_file.suffix == ".onnx" else tflite_candidates
    train, validation = dataset.split("train"), dataset.split("validation")
    return make(model, train, validation, float32_file, int8_file)


def _remove_others(destination: Path, way: Way, names: Collection[str]) -> None:
    """Remove variants that an earlier export kept and this one does not."""
    if way.dtype != "int8":
        return
    for path in destination.glob(f"int8-*.{way.file_format}"):
        if path.name not in names:
            path.unlink()


def _check_options(options: ExportOptions) -> None:
    for values, known, what in (
        (options.formats, FORMATS, "format"),
        (options.dtypes, DTYPES, "dtype"),
    ):
        for value in values:
            if value not in known:
                raise EdgegolfError(f"there is no {what} {value!r}", hint=f"use {', '.join(known)}")
    if options.batch is not None and options.batch < 1:
        raise EdgegolfError(f"a batch of {options.batch} is not possible")
    if not 0 <= options.max_drop <= 1:
        raise EdgegolfError(f"a maximum drop of {options.max_drop} is not a fraction from 0 to 1")
