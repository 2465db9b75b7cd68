"""A model into the files that devices run, each verified before it gets its name."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import numpy as np

from edgegolf.backends import onnx, tflite
from edgegolf.cards import exports_in
from edgegolf.data import Dataset
from edgegolf.errors import EdgegolfError
from edgegolf.export.choosing import Goal, LargerThanFloatError, best_files, price_of_sharing
from edgegolf.export.low_bits import LOW_BITS, low_bit_drafts, low_bit_tflite
from edgegolf.export.measuring import (
    STOCK,
    Candidate,
    Compute,
    Draft,
    Task,
    measure,
    outputs_of,
    rounds_folder,
)
from edgegolf.export.model_source import LIMIT, Apart, Compiled, Source
from edgegolf.export.onnx_export import with_stored_weights
from edgegolf.export.portable import golfed_drafts
from edgegolf.export.samples import ExportData, read_data
from edgegolf.export.sources import with_shapes
from edgegolf.export.variants import (
    FINETUNING_STEPS,
    SEEDS,
    Tuning,
    onnx_drafts,
    simplified,
    tflite_drafts,
)
from edgegolf.export.verify import Comparison, check, find_input
from edgegolf.export.warnings import (
    cut_off_warning,
    noise_warnings,
    reference_warnings,
    sample_warnings,
)
from edgegolf.files import check_writable, write_atomically
from edgegolf.golf.golf import golf_file
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx
from edgegolf.golf.tflite_golf import golf_tflite
from edgegolf.ir import ops
from edgegolf.passes.rerolling import unroll
from edgegolf.quantize.quantization import (
    has_decoded_weights,
    with_float16_weights,
    with_real_weights,
)
from edgegolf.runtimes import open_session

if TYPE_CHECKING:
    from edgegolf.ir import Graph
    from edgegolf.ir.tensor import Array


@dataclass(frozen=True)
class Way:
    """One way to export: "tflite" or "onnx", and the number format."""

    file_format: str
    dtype: str


FORMATS = ("tflite", "onnx")
DYNAMIC = "dynamic"  # weights in int8, as the stock converter makes it
DTYPES = ("float32", "int8", "float16", DYNAMIC, *LOW_BITS)
WAYS = {
    f"{dtype}.{name}": Way(name, dtype)
    for name in FORMATS
    for dtype in DTYPES
    if (name == "tflite" or dtype != DYNAMIC) and (name == "onnx" or dtype not in ("int2", "mixed"))
}


_COMPUTES: dict[str, Compute] = {
    "float32": "float32", "float16": "float16", DYNAMIC: "int8-weights",
}  # fmt: skip


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and how."""

    formats: tuple[str, ...] = FORMATS  # of `FORMATS`
    dtypes: tuple[str, ...] = ("float32", "int8")  # of `DTYPES`
    calibration_images: int = 500  # how many training samples the int8 scales are chosen on
    max_drop: float = 0.005  # the accuracy that a file may lose, a fraction
    batch: int | None = 1  # samples in one inference; None leaves it open
    # What the int8 files are chosen for: `size`, `latency` or `balanced`. None keeps the best for
    # each.
    goal: Goal | None = None
    # ONNX files that other readers than onnxruntime read: without functions, and with the
    # standard's operators only.
    portable: bool = False
    quick: bool = False  # no search and no fine-tuning
    # Or `power-of-two`, for which a circuit needs no multiplier: of int8.tflite only.
    scales: Literal["any", "power-of-two"] = "any"
    # Of inputs that the model leaves open, without the batch, by name; "" for the only one.
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    labels: Path | None = None  # rows `file,label` in CSV, where samples are a folder of images

    def special(self, dtype: str) -> dict[str, float | str | bool]:
        """What is not as usual in the making of a file of a dtype, as records tell it."""
        usual = ExportOptions()
        apart = {"formats", "dtypes", "labels"}
        if dtype in ("float32", "float16", DYNAMIC):
            apart |= {"calibration_images", "goal", "portable", "quick", "scales"}
        return {
            name: "open" if value is None else str(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name not in apart and value != getattr(usual, name)
        }


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written and verified."""

    SCHEMA: ClassVar[str] = "edgegolf.exported_file/2"

    name: str  # its name in the destination folder
    format: str  # "tflite" or "onnx"
    dtype: str  # of `DTYPES`
    bytes: int  # its size
    # Measured from the file in its runtime, a fraction; None where the outputs are no scores of
    # classes. Where labels are not known: how often it gives the same class as the model.
    validation_accuracy: float | None
    model_accuracy: float | None  # of the model on the same samples
    max_difference: float  # the largest difference of any output from the model's
    sqnr: float  # of its worst output, dB
    seconds: float  # what converting and verifying took


@dataclass(frozen=True)
class Exported:
    """What came of an export."""

    files: tuple[ExportedFile, ...] = ()  # that were made and verified
    # Why others were not, by the name that they would have had.
    failures: Mapping[str, EdgegolfError] = field(default_factory=dict)
    # What the user should know: what data was taken how, and what is odd about it.
    notes: tuple[str, ...] = ()


#: Files that are still the same model, by name.
Verified: TypeAlias = dict[str, tuple[bytes, Comparison]]
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
    source: Dataset | Path | str,
    options: ExportOptions | None = None,
    skip: Collection[str] = (),
    show: ShowCandidates = lambda file_format, candidates: None,
    prefix: str = "",
    own: Collection[str] = (),
    note: Callable[[str], None] = lambda step: None,
    done: Callable[[Sequence[ExportedFile]], None] = lambda files: None,
    steps: int = FINETUNING_STEPS,
    seeds: Sequence[int] = SEEDS,
    limit: float = LIMIT,
) -> Exported:
    """Export a model in every way that the options name.

    Each file is verified on the validation samples before it gets its name in the destination. By
    then, or when one is refused, older files of the way are removed: they would pass for this
    model's, or for this export's. A way that fails does not keep the others from being gone.

    Args:
        model_path: A `.keras`, `.h5`, `.onnx` or `.tflite` file, or a SavedModel's folder.
        destination: The folder to write to.
        source: The data set that the model was trained on, or what else `read_data` takes.
        options: What to export, and how.
        skip: Ways whose files are up to date.
        show: Shows the candidates of a format, where there are several.
        prefix: What the files' names begin with.
        own: Names of older files of the very same model, which a refused export leaves alone.
        note: Called with each step, a few words.
        done: Called with the files of each way, when they have their names.
        steps: Batches of fine-tuning; 0 for none.
        seeds: What its batches are drawn from.
        limit: As `Apart` takes.

    Raises:
        EdgegolfError: The model or the samples cannot be used, the folder cannot be written, or no
            file could be made.
        UnfinishedError: The model does not answer.
    """
    options = options or ExportOptions()
    ways = {name: way for name, way in ways_of(options).items() if name not in skip}
    if not ways:
        return Exported()
    if destination.is_dir():
        check_writable(destination / f"{prefix}{next(iter(ways))}")

    def remove_older(way_names: Collection[str], spared: Collection[str] = ()) -> None:
        for path in exports_in(destination, prefix):
            name = path.name.removeprefix(prefix)
            if name not in spared and any(is_made_by(name, way) for way in way_names):
                path.unlink()

    files: list[ExportedFile] = []
    failures: dict[str, EdgegolfError] = {}
    with Apart(model_path, limit) as model:
        try:
            note("loading the model")
            making = _Making(model, source, options, steps, seeds, note)
        except EdgegolfError:
            remove_older(ways, own)
            raise
        if making.described.is_quantized and "int8" in options.dtypes:
            gone = [name for name, way in ways.items() if way.dtype.startswith("float")]
            if gone:
                making.notes.append(f"no {', '.join(gone)}: the model is quantized already")
            ways = {name: way for name, way in ways.items() if name not in gone}
        for way_name, way in ways.items():
            note(way_name)
            started = time.perf_counter()
            try:
                made, missing = making.files(way_name, way, show)
            except LargerThanFloatError as error:
                making.notes.append(f"{way_name} is not written: {error.message}")
                remove_older([way_name])
                continue
            except EdgegolfError as error:
                failures[way_name] = error
                remove_older([way_name], () if files else own)
                continue
            if missing is not None:
                failures[way_name] = missing
            spent = (time.perf_counter() - started) / len(made)
            if not files:  # a folder holds one export, whenever this is killed
                remove_older(ways)
            for name, (content, _) in made.items():
                write_atomically(destination / f"{prefix}{name}", content)
            facts = [
                ExportedFile(
                    name=prefix + name,
                    format=way.file_format,
                    dtype=way.dtype,
                    bytes=len(content),
                    validation_accuracy=found.accuracy,
                    model_accuracy=found.reference_accuracy,
                    max_difference=found.max_difference,
                    sqnr=found.sqnr,
                    seconds=spent,
                )
                for name, (content, found) in made.items()
            ]
            done(facts)
            files += facts
    if failures and not files and not skip:
        raise next(iter(failures.values()))
    return Exported(tuple(files), failures, tuple(making.notes))


def in_file(compiled: Compiled, suffix: str) -> Compiled:
    """The model in the layout of compiled files of a format."""
    if suffix != ".onnx":
        return compiled
    return compiled.laid_out(*onnx.layouts(compiled.graph))


class _Making:
    """The making of all files of one model."""

    def __init__(
        self,
        model: Source,
        source: Dataset | Path | str,
        options: ExportOptions,
        steps: int,
        seeds: Sequence[int],
        note: Callable[[str], None],
    ) -> None:
        self.model, self.options, self.note = model, options, note
        self.steps, self.seeds = steps, seeds
        described = model.describe()
        inputs = with_shapes(described.inputs, dict(options.input_shapes))
        self.described = replace(described, inputs=inputs)
        self.data: ExportData = read_data(
            source, self.described.inputs, options.calibration_images, options.labels
        )
        self.notes = list(self.data.notes)
        self.of_training = isinstance(source, Dataset)
        for sentence in sample_warnings(self.described.inputs, self.data.validation):
            self._tell(sentence)
        self.shapes = tuple(
            (options.batch, *array.shape[1:]) for array in self.data.validation.inputs
        )
        note("running the model")
        self.expected: tuple[Array, ...] = tuple(model.predict(self.data.validation))
        for sentence in reference_warnings(self.data.validation, self.expected):
            self._tell(sentence)
        self.floats: dict[str, tuple[Draft, Comparison | EdgegolfError]] = {}
        self.reasons: dict[str, EdgegolfError] = {}  # why a stock converter has no int8 file
        self._missing = ""  # what the compiler lacks

    def files(
        self, way_name: str, way: Way, show: ShowCandidates
    ) -> tuple[Verified, EdgegolfError | None]:
        """The files of a way by their names, and why its main one is not among them.

        Raises:
            EdgegolfError: There is none that is still the same model.
        """
        if way.dtype == "int8":
            return self._int8(f".{way.file_format}", show)
        if way.dtype in LOW_BITS:
            return {way_name: self._low_bits(way_name, LOW_BITS[way.dtype])}, None
        if self.described.is_quantized:
            raise EdgegolfError("the model is quantized already", hint="--dtype int8")
        draft, found = self._float(way_name)
        if isinstance(found, EdgegolfError):
            raise found
        return {way_name: (draft.data, found)}, None

    def _float(self, way_name: str) -> tuple[Draft, Comparison | EdgegolfError]:
        """The file with float results that is the model: the stock converter's, golfed, or our own.

        Where neither is, the first with the reason.

        Raises:
            EdgegolfError: There is none.
        """
        if way_name not in self.floats:
            dtype = _COMPUTES[way_name.partition(".")[0]]
            first: tuple[Draft, EdgegolfError] | None = None
            reason: EdgegolfError | None = None
            for make in (self._stock_float, self._own_float):
                draft = None
                try:
                    draft = make(way_name, dtype)
                    if draft is not None:
                        self.floats[way_name] = draft, self._verified(way_name, draft)
                        break
                except EdgegolfError as error:
                    reason = reason or error
                    if draft is not None:
                        first = first or (draft, error)
            else:
                if first is None:
                    raise reason or EdgegolfError(
                        f"{self._missing or 'there is no converter'}: no {way_name}"
                    )
                self.floats[way_name] = first
        return self.floats[way_name]

    def _stock_float(self, way_name: str, dtype: Compute) -> Draft | None:
        stock = self._stock(way_name)
        if stock is None:
            return None
        return Draft("stock", dtype, self._golfed(stock, Path(way_name).suffix), compiled=False)

    def _own_float(self, way_name: str, dtype: Compute) -> Draft | None:
        if self._graph is None or self.options.batch != 1 or dtype == "int8-weights":
            return None
        return Draft(dtype, dtype, _written(self._graph, Path(way_name).suffix, dtype))

    def _int8(self, suffix: str, show: ShowCandidates) -> tuple[Verified, EdgegolfError | None]:
        drafts, largest = self._drafts(suffix)
        self.note(f"measuring {len(drafts)} candidates")
        task = replace(self._judged, compiled=self.in_file(suffix))
        candidates = measure(drafts, suffix, task, self.options.quick)
        show(suffix[1:], candidates)
        doubts = [each.doubt for each in candidates]
        for sentence in noise_warnings(suffix[1:], doubts, rounds_folder()):
            self._tell(sentence)
        refused: dict[str, EdgegolfError] = {}
        while True:
            left = [each for each in candidates[1:] if each.name + each.compute not in refused]
            try:
                best = best_files(
                    [candidates[0], *left],
                    suffix,
                    self.options.goal,
                    largest,
                    len(self._judged.samples),
                )
            except EdgegolfError as error:
                raise next(iter(refused.values()), self.reasons.get(suffix, error)) from None
            verified: Verified = {}
            for name, each in best.items():
                self.note(f"verifying {name}")
                try:
                    verified[name] = each.data, self._verified(name, each)
                except EdgegolfError as error:
                    refused[each.name + each.compute] = error
                    break
            else:
                if price := price_of_sharing(best, suffix):
                    self._tell(price)
                missing = next(iter(refused.values()), self.reasons.get(suffix))
                return verified, None if f"int8{suffix}" in verified else missing

    def _drafts(self, suffix: str) -> tuple[list[Draft], int | None]:
        """All that may become int8 files, after the float file; and how large that is."""
        exact = None if self.described.is_quantized else self._float(f"float32{suffix}")[0]
        drafts = [] if exact is None else [exact]
        any_scales = self.options.scales == "any"
        names = {STOCK: f"int8{suffix}"} if any_scales else {}
        if suffix == ".tflite" and any_scales and not self.options.quick:
            names["stock, dynamic range, golfed"] = "dynamic.tflite"
        for name, converted in names.items():
            self.note(f"converting: {converted}")
            try:
                if (stock := self._stock(converted)) is not None:
                    compute: Compute = "int8-weights" if converted.startswith("dynamic") else "int8"
                    drafts.append(Draft(name, compute, self._golfed(stock, suffix), compiled=False))
            except EdgegolfError as error:
                self.reasons.setdefault(suffix, error)
        if self.options.batch == 1 and (graph := self._graph) is not None:
            self.note(f"quantizing for {suffix[1:]}")
            try:
                drafts += self._variants(graph, suffix)
            except Exception as error:  # a fault of the compiler's costs its own files only
                found = (
                    error
                    if isinstance(error, EdgegolfError)
                    else EdgegolfError(
                        f"the compiler failed, {error!r}", hint="report it as a bug, with the model"
                    )
                )
                self._tell(f"int8{suffix}: {found.message}")
                self.reasons.setdefault(suffix, found)
        elif self._missing:
            self._tell(f"{self._missing}: the int8 files are the stock converter's, golfed")
        if exact is not None and exact.name == "stock" and self._has_own_operators(suffix):
            decoded = self._golfed(with_stored_weights(exact.data), suffix)
            name = "stock, weight-only"
            drafts.append(Draft(name, "int8-weights", decoded, compiled=False))
        if len(drafts) < (1 if self.described.is_quantized else 2):
            raise self.reasons.get(suffix) or EdgegolfError(
                f"{self._missing or 'there is nothing to choose from'}: no int8{suffix}"
            )
        if exact is None or suffix == ".tflite":
            return drafts, None  # a device may ask for int8, however small the file in float is
        return drafts, len(exact.data)

    def _has_own_operators(self, suffix: str) -> bool:
        """Whether stock ONNX files have operators that the graph lacks, or has as loops only."""
        recurs = self._graph is not None and any(
            isinstance(node.op, ops.Loop | ops.While) for node in self._graph.nodes
        )
        return suffix == ".onnx" and (self._graph is None or recurs)

    def _low_bits(self, way_name: str, bits: tuple[int, ...]) -> tuple[bytes, Comparison]:
        """The smallest file that is still the model, of those that few bits can give."""
        if (graph := self._graph) is None:
            raise EdgegolfError(f"{self._missing}: no {way_name}", hint="--dtype int8")
        if self.options.batch != 1:
            raise EdgegolfError(f"{way_name} takes one sample at a time", hint="--batch 1")
        suffix = Path(way_name).suffix
        golf = golf_onnx if suffix == ".onnx" else golf_tflite
        tuning, packed = self._tuning(graph, suffix), not self.options.portable
        drafts = (
            low_bit_drafts(graph, tuning, bits, packed)
            if suffix == ".onnx"
            else [low_bit_tflite(graph, tuning, fast=self.options.goal == "latency")]
        )
        best: tuple[bytes, Comparison] | None = None
        refused: EdgegolfError | None = None
        for draft in drafts:
            self.note(f"verifying {way_name}: {draft.name}")
            golfed = replace(draft, data=golf(draft.data, Keep()).data)
            try:
                checked, is_good = (golfed.data, self._verified(way_name, golfed)), True
                best = min(best or checked, checked, key=lambda file: len(file[0]))
            except EdgegolfError as error:
                refused, is_good = refused or error, False
            # The next ones are larger and better, or where bits are mixed smaller and worse.
            if is_good != (len(bits) > 1):
                break
        if best is None:
            assert refused is not None
            raise refused
        return best

    def _tuning(self, graph: Graph, suffix: str) -> Tuning:
        given = self._compiled.given if self._compiled else (lambda samples: samples)
        return Tuning(
            given(self.data.training),
            given(self.data.calibration),
            partial(outputs_of, suffix=suffix, laid_out=in_file(Compiled.as_it_is(graph), suffix)),
            steps=0 if self.options.quick else self.steps,
            seeds=self.seeds,
            quick=self.options.quick,
            powers_of_two=self.options.scales != "any",
        )

    def _variants(self, graph: Graph, suffix: str) -> list[Draft]:
        if self.described.is_quantized:
            if suffix == ".tflite":
                data = golf_tflite(tflite.write(graph), Keep()).data
            else:
                straight = onnx.write(unroll(graph).graph)
                data = golf_onnx(straight, Keep(portable=self.options.portable)).data
            return [Draft("as it is quantized", "int8", data)]
        tuning = self._tuning(graph, suffix)
        if suffix == ".tflite":
            return [
                replace(draft, data=golf_tflite(draft.data, Keep()).data)
                for draft in tflite_drafts(graph, tuning)
                if draft.compute == "int8" or not tuning.powers_of_two
            ]
        return golfed_drafts(onnx_drafts(graph, tuning), self.options.portable)

    @cached_property
    def _compiled(self) -> Compiled | None:
        try:
            shapes = tuple((1, *shape[1:]) for shape in self.shapes)
            found = self.model.compile(shapes)
            graph = found.graph
            if not self.described.is_quantized and has_decoded_weights(graph):
                # Passes find loops, and choose scales, themselves.
                graph = unroll(with_real_weights(graph)).graph
        except EdgegolfError as error:
            self._missing = error.message
            return None
        return replace(found, graph=simplified(graph))

    def in_file(self, suffix: str) -> Compiled | None:
        return None if self._compiled is None else in_file(self._compiled, suffix)

    @property
    def _graph(self) -> Graph | None:
        return None if self._compiled is None else self._compiled.graph

    @cached_property
    def _judged(self) -> Task:
        """What candidates are told apart by.

        Of several seeds the one that is best on the validation images was kept, so that any change
        of the net looks bad on these; as many training images take half of this prejudice out.
        """
        samples, expected = self.data.validation, self.expected
        if self.of_training:
            seen = self.data.training.take(len(samples))
            answers = self.model.predict(seen)
            samples = samples + seen
            expected = tuple(np.concatenate(pair) for pair in zip(expected, answers, strict=True))
        return Task(self.described.files, samples, expected)

    def _stock(self, name: str) -> bytes | None:
        return self.model.convert(name, self.shapes, self.data.calibration)

    def _golfed(self, data: bytes, suffix: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path, golfed = Path(folder) / f"stock{suffix}", Path(folder) / f"golfed{suffix}"
            path.write_bytes(data)
            try:
                golf_file(path, golfed, portable=self.options.portable)
            except EdgegolfError:  # it holds what golf does not touch
                return data
            return golfed.read_bytes()

    def _verified(self, name: str, file: Draft | Candidate) -> Comparison:
        """Whether what is to be written is still the same model, run from a temporary file."""
        compiled = self.in_file(Path(name).suffix)
        task = Task(self.described.files, self.data.validation, self.expected, compiled)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(file.data)
            outputs = task.run(path, file.compiled)
            self._check_inputs(name, path, task.names_in(file.compiled))
        is_exact = file.compute == "float32"
        found = check(name, is_exact, outputs, self.expected, task.samples, self.options.max_drop)
        for sentence in found.doubts:
            self._tell(f"{name}: {sentence}")
        return found

    def _check_inputs(self, name: str, path: Path, names: Sequence[str] | None) -> None:
        """Tell which inputs of a file cannot hold what the model is fed with."""
        with open_session(path) as session:
            infos = session.inputs
        for index, info in enumerate(infos):
            position = index if names is None else find_input(info.name, names)
            values = self.data.validation.inputs[position]
            if info.scale and (
                sentence := cut_off_warning(
                    self.described.inputs[position].name,
                    values,
                    info.scale[0],
                    info.zero_point[0],
                    info.dtype,
                )
            ):
                self._tell(f"{name}: {sentence}")

    def _tell(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def _written(graph: Graph, suffix: str, dtype: Compute) -> bytes:
    """The compiler's file in float."""
    if dtype == "float32":
        return onnx.write(graph) if suffix == ".onnx" else tflite.write(graph)
    if suffix == ".tflite":
        return golf_tflite(tflite.write(with_float16_weights(graph)), Keep()).data
    from onnx import load_from_string

    from edgegolf.export.onnx_export import in_float16

    return in_float16(load_from_string(onnx.write(graph)))


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
