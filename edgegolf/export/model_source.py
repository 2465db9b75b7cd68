"""What a model that is to be exported tells: its inputs, its outputs, its graph, stock files.

A source lives in a process of its own (`edgegolf.runtimes.worker`), because the frameworks and
converters behind it crash now and then, and take seconds to load.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.child import BYTES_PER_SECOND, UnfinishedError
from edgegolf.runtimes.worker import Worker

if TYPE_CHECKING:
    from edgegolf.export.samples import ModelInput, Samples
    from edgegolf.ir import Graph
    from edgegolf.ir.tensor import Array, Shape


Axes: TypeAlias = "tuple[int, ...] | None"

# Strangers' files hold loops without end. Loading a model, reading its graph, and one sample, may
# take so many seconds of processor time each, and more for large files.
LIMIT = 120.0
TIMES_THE_FIRST = 10  # so many times as long as the first sample any other may take
CONVERTING = 10  # so much longer converters, which run samples slowly, may take than the model


@dataclass(frozen=True)
class Described:
    """What is known of a model before it has seen any sample."""

    inputs: tuple[ModelInput, ...]  # what it takes
    files: tuple[str, ...]  # what the files that converters make call these inputs
    is_quantized: bool = False  # whether it computes in integers already


@dataclass(frozen=True)
class Compiled:
    """A model as a graph."""

    graph: Graph  # with a batch of 1
    # Of each input, the model's axes in the graph's order, None if it is the same: (0, 2, 3, 1) for
    # images with their channels first.
    inputs: tuple[Axes, ...]
    outputs: tuple[Axes, ...]  # the same of each output

    @classmethod
    def as_it_is(cls, graph: Graph) -> Compiled:
        """A graph whose axes are the model's."""
        return cls(graph, (None,) * len(graph.inputs), (None,) * len(graph.outputs))

    @property
    def reversed(self) -> Compiled:
        """From the graph's layout to the model's."""
        return replace(self, inputs=_inverted(self.inputs), outputs=_inverted(self.outputs))

    def laid_out(self, inputs: Sequence[Axes], outputs: Sequence[Axes]) -> Compiled:
        """With the axes of a file: of its inputs and outputs the graph's axes in their order."""
        return replace(
            self,
            inputs=tuple(map(_after, self.inputs, inputs)),
            outputs=tuple(map(_after, self.outputs, outputs)),
        )

    def given(self, samples: Samples) -> Samples:
        """Samples of the model as the graph takes them."""
        arrays = zip(samples.inputs, self.inputs, strict=True)
        inputs = (array if axes is None else array.transpose(axes) for array, axes in arrays)
        return replace(samples, inputs=tuple(map(np.ascontiguousarray, inputs)))

    def answers(self, found: Sequence[Array]) -> list[Array]:
        """The graph's outputs as the model gives them."""
        pairs = zip(found, self.outputs, strict=True)
        return [a if axes is None else a.transpose(np.argsort(axes)) for a, axes in pairs]


def _inverted(orders: Sequence[Axes]) -> tuple[Axes, ...]:
    return tuple(axes and tuple(map(int, np.argsort(axes))) for axes in orders)


def _after(first: Axes, second: Axes) -> Axes:
    """Both orders of axes, one after the other."""
    if first is None or second is None:
        return first or second
    return tuple(first[axis] for axis in second)


class Source(ABC):
    """A model file, with whatever reads and converts it."""

    @abstractmethod
    def describe(self) -> Described:
        """What the model takes."""

    @abstractmethod
    def predict(self, samples: Samples) -> list[Array]:
        """The model's outputs, [n, …] each: float32, or integers that stand for nothing else."""

    @abstractmethod
    def compile(self, shapes: tuple[Shape, ...]) -> Compiled:
        """The model as a graph.

        Args:
            shapes: Of its inputs, each with a batch of 1.

        Raises:
            EdgegolfError: The graph has no op for something in the model.
        """

    @abstractmethod
    def convert(
        self, name: str, shapes: tuple[tuple[int | None, ...], ...], calibration: Samples
    ) -> bytes | None:
        """What the stock converter makes.

        Args:
            name: `float32.tflite` and so on.
            shapes: Of the inputs, each with its batch, None for an open one.
            calibration: What scales are chosen on.

        Returns:
            The file; None where there is no stock converter from this kind of model.

        Raises:
            EdgegolfError: The converter cannot.
        """


class Apart(Source, AbstractContextManager["Apart"]):
    """The source for a file or folder in a process of its own, ended where it never answers.

    Args:
        path: As `open_source` takes.
        limit: Instead of `LIMIT`.

    Raises:
        EdgegolfError: From each method: as the source's own, or the process crashed.
        UnfinishedError: The same: it took longer than it may, now or before.
    """

    def __init__(self, path: Path, limit: float = LIMIT) -> None:
        self._path, self._worker = path, Worker(open_source, path, load=load_packages)
        self._limit = limit + path.stat().st_size / BYTES_PER_SECOND if path.exists() else limit
        if path.is_dir():
            self._limit *= CONVERTING  # a SavedModel is converted when it is read
        self._first: float | None = None  # seconds that the first sample took
        self._unfinished: dict[str, UnfinishedError] = {}

    def describe(self) -> Described:
        """What the model takes."""
        found: Described = self._ask("describe", what="reading the model", busy=self._limit)
        return found

    def predict(self, samples: Samples) -> list[Array]:
        """The model's outputs; of one sample first, which tells what the others may take."""
        what = "running the model"
        if self._first is None:
            started = time.perf_counter()
            self._ask("predict", samples.take(1), what=what, busy=self._limit)
            self._first = time.perf_counter() - started
        found: list[Array] = self._ask("predict", samples, what=what, timeout=self._time(samples))
        return found

    def compile(self, shapes: tuple[Shape, ...]) -> Compiled:
        """The model as a graph."""
        found: Compiled = self._ask(
            "compile", shapes, what="reading the model's graph", busy=self._limit
        )
        return found

    def convert(
        self, name: str, shapes: tuple[tuple[int | None, ...], ...], calibration: Samples
    ) -> bytes | None:
        """What the stock converter makes."""
        found: bytes | None = self._ask(
            *("convert", name, shapes, calibration),
            what=f"converting to {name}",
            timeout=CONVERTING * self._time(calibration),
        )
        return found

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._worker.close()

    def _time(self, samples: Samples) -> float:
        return self._limit + TIMES_THE_FIRST * len(samples) * (self._first or 0)

    def _ask(self, method: str, *args: Any, **how: Any) -> Any:
        if method in self._unfinished:
            raise self._unfinished[method]
        try:
            return self._worker.call(method, *args, **how)
        except UnfinishedError as error:
            self._unfinished[method] = found = UnfinishedError(
                f"{self._path}: {error.message}",
                hint="it holds a loop without end, or needs far more time than exports wait for",
            )
            raise found from None


def open_source(path: Path) -> Source:
    """The source for a file or folder, by its suffix.

    Raises:
        EdgegolfError: It is of no known kind, or damaged.
    """
    kind = kind_of(path)
    if kind == "keras":
        from edgegolf.export.keras_source import KerasSource

        return KerasSource(path)
    if kind == "onnx":
        from edgegolf.export.onnx_source import OnnxSource

        return OnnxSource(path)
    from edgegolf.export.tflite_source import TfliteSource

    return TfliteSource(path)


def load_packages(path: Path) -> None:
    """Import what `open_source` needs for a file or folder that it may take.

    Raises:
        EdgegolfError: As `open_source`, for what is seen before anything is loaded.
    """
    if kind_of(path) == "keras":
        from edgegolf.export.model import check_file, import_keras_on_tensorflow

        check_file(path)
        import_keras_on_tensorflow()


KINDS = {
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".onnx": "onnx",
    ".tflite": "tflite",
}


def is_model(name: str) -> bool:
    """Whether a command-line argument names a model's file or folder, and no net of the zoo."""
    path = Path(name)
    return path.suffix in KINDS or (path / "saved_model.pb").is_file()


def kind_of(path: Path) -> str:
    """`keras`, `onnx` or `tflite`. Raises EdgegolfError for any other file."""
    if (path / "saved_model.pb").is_file():
        return "tflite"  # through TensorFlow's converter
    if path.suffix not in KINDS:
        raise EdgegolfError(
            f"{path} is no model that can be exported",
            hint="give a .keras, .h5, .onnx or .tflite file, or the folder of a SavedModel; a "
            "PyTorch model is saved with torch.onnx.export(model, example, 'model.onnx')",
        )
    return KINDS[path.suffix]


def parse_shapes(texts: Sequence[str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Input shapes as they are typed, `28,28,1` or `name:28,28,1`. Raises EdgegolfError."""
    found = []
    for text in texts:
        name, _, numbers = text.rpartition(":")
        try:
            shape = tuple(int(number) for number in numbers.split(","))
        except ValueError:
            shape = ()
        if not shape or min(shape) < 1:
            raise EdgegolfError(f"{text!r} is no shape", hint="write 28,28,1 or NAME:28,28,1")
        found.append((name, shape))
    return tuple(found)
