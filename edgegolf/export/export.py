"""A `.keras` file into the files that devices run, each verified before it gets its name."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeGuard

from edgegolf.cards import exports_in
from edgegolf.errors import EdgegolfError
from edgegolf.export import onnx_export, tflite
from edgegolf.export.candidates import best_files, onnx_candidates, tflite_candidates
from edgegolf.export.measuring import Candidate, Goal
from edgegolf.export.model import for_inference, load_model
from edgegolf.export.samples import Samples, inputs_of, read_data
from edgegolf.export.verify import Comparison, check, predict, run_file
from edgegolf.files import write_atomically
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
        portable: ONNX files that other readers than onnxruntime read: without functions, and with
            the standard's operators only.
    """

    formats: tuple[str, ...] = FORMATS
    dtypes: tuple[str, ...] = DTYPES
    calibration_images: int = 500
    max_drop: float = 0.005
    batch: int | None = 1
    goal: Goal | None = None
    portable: bool = False

    def special(self, dtype: str) -> dict[str, float | str | bool]:
        """What is not as usual in the making of a file of a dtype, as records tell it."""
        usual = ExportOptions()
        apart = {"formats", "dtypes"}
        if dtype == "float32":
            apart |= {"calibration_images", "goal", "portable"}
        return {
            name: "open" if value is None else value
            for name, value in asdict(self).items()
            if name not in apart and value != getattr(usual, name)
        }


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


def ways_of(options: ExportOptions) -> dict[str, Way]:
    """The ways that the options name, by the name of their file.

    Raises:
        EdgegolfError: The options are not possible.
    """
    _check_options(options)
    return {
        name: way
        for name, way in WAYS.items()
        if way.file_format in options.formats and way.dtype in options.dtypes
    }


def is_made_by(name: str, way_name: str) -> bool:
    """Whether a file's name is one of those that a way gives: int8 has several."""
    stem, _, file_format = way_name.partition(".")
    return name == way_name or (stem == "int8" and fnmatch(name, f"int8-*.{file_format}"))


def export_model(
    model_path: Path,
    destination: Path,
    source: Dataset | Path,
    options: ExportOptions | None = None,
    skip: Collection[str] = (),
    show: ShowCandidates = lambda file_format, candidates: None,
    prefix: str = "",
    own: Collection[str] = (),
    note: Callable[[str], None] = lambda step: None,
    done: Callable[[Sequence[ExportedFile]], None] = lambda files: None,
) -> tuple[ExportedFile, ...]:
    """Export a model in every way that the options name.

    Each file is verified on the validation samples before it gets its name in the destination. By
    then, or when one is refused, older files of the ways to go are removed: they would pass for
    this model's, or for this export's.

    Args:
        model_path: Any `.keras` file.
        destination: The folder to write to.
        source: The data set that the model was trained on, or an `.npz` file of samples.
        options: What to export, and how.
        skip: Ways whose files are up to date.
        show: Shows the candidates of a format, where there are several.
        prefix: What the files' names begin with.
        own: Names of older files of the very same model, which a refused export leaves alone.
        note: Called with each step, a few words.
        done: Called with the files of each way, when they have their names.

    Raises:
        EdgegolfError: The model, a layer of it or the samples cannot be used, a file loses more
            accuracy than allowed, or the folder cannot be written.
    """
    options = options or ExportOptions()
    ways = {name: way for name, way in ways_of(options).items() if name not in skip}
    if not ways:
        return ()
    note("loading the model")
    model = load_model(model_path)
    data = read_data(source, inputs_of(model.inputs), options.calibration_images)
    reference = _Reference(
        [tensor.name for tensor in model.inputs],
        data.validation,
        predict(model, data.validation),
        options.max_drop,
    )
    fixed = for_inference(model, options.batch)
    exported: list[ExportedFile] = []

    def remove_older(spared: Collection[str] = ()) -> None:
        for path in exports_in(destination, prefix):
            name = path.name.removeprefix(prefix)
            if name not in spared and any(is_made_by(name, way) for way in ways):
                path.unlink()

    with tempfile.TemporaryDirectory() as stock:

        @functools.cache
        def converted(name: str) -> Path:
            """What the stock converter makes."""
            path = Path(stock) / name
            WAYS[name].write(fixed, data.calibration, path)
            return path

        try:
            for way_name, way in ways.items():
                note(way_name)
                started = time.perf_counter()
                made = converted(way_name)
                files = {way_name: made.read_bytes()}
                if way.dtype == "int8" and _is_image_classifier(source, options, fixed):
                    float32_file = converted(f"float32{made.suffix}")
                    candidates = _candidates(fixed, source, float32_file, made, options.portable)
                    show(way.file_format, candidates)
                    best = best_files(candidates, made.suffix, options.goal)
                    files = {name: candidate.data for name, candidate in best.items()}
                verified = []
                for name, content in files.items():
                    note(f"verifying {name}")
                    found = _verify(Path(stock) / name, content, way.dtype == "float32", reference)
                    verified.append(
                        ExportedFile(
                            name=prefix + name,
                            format=way.file_format,
                            dtype=way.dtype,
                            bytes=len(content),
                            validation_accuracy=found.accuracy,
                            keras_accuracy=found.reference_accuracy,
                            max_difference=found.max_difference,
                            seconds=time.perf_counter() - started,
                        )
                    )
                    started = time.perf_counter()
                if not exported:
                    remove_older()
                for name, content in files.items():
                    write_atomically(destination / f"{prefix}{name}", content)
                done(verified)
                exported += verified
        except EdgegolfError:
            if not exported:
                remove_older(own)
            raise
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


def _verify(path: Path, content: bytes, is_exact: bool, reference: _Reference) -> Comparison:
    """Whether what is to be written is still the same model, run from a temporary file."""
    path.write_bytes(content)
    outputs = run_file(path, reference.input_names, reference.samples)
    return check(
        path.name, is_exact, outputs, reference.outputs, reference.samples, reference.max_drop
    )


def _is_image_classifier(
    source: Dataset | Path, options: ExportOptions, model: keras.Model
) -> TypeGuard[Dataset]:
    """Whether the int8 files can be made better than the converters make them."""
    return not isinstance(source, Path) and options.batch == 1 and len(model.inputs) == 1


def _candidates(
    model: keras.Model, dataset: Dataset, float32_file: Path, int8_file: Path, portable: bool
) -> tuple[Candidate, ...]:
    train, validation = dataset.split("train"), dataset.split("validation")
    if int8_file.suffix == ".onnx":
        return onnx_candidates(model, train, validation, float32_file, int8_file, portable)
    return tflite_candidates(model, train, validation, float32_file, int8_file)


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
