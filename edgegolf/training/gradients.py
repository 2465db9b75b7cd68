"""The compiled gradients of a Keras net, called through ctypes."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgegolf.backends.c.compiling import find_compiler
from edgegolf.backends.gradient.source import NotCompiledError, Source, write
from edgegolf.frontends.keras import UnsupportedLayerError, read_model

if TYPE_CHECKING:
    import keras

Floats: TypeAlias = NDArray[np.float32]
Pixels: TypeAlias = NDArray[np.uint8]

OPTIONS = ("-O2", "-march=native", "-ffast-math", "-fPIC", "-w", "-c")
SECONDS = 300.0  # that a compiler has
MOST_PARAMETERS = 1 << 20  # each is a vector


class CompiledGraph:
    """A classifier whose gradients C computes; its parameters are one vector, float32 [n].

    Raises:
        NotCompiledError: It has too many parameters, or there is no C compiler here.
    """

    def __init__(self, source: Source) -> None:
        self._numbers, self.classes = source.numbers, source.classes
        self._size = sum(weight.elements for weight in source.weights)
        if self._size > MOST_PARAMETERS:
            raise NotCompiledError(f"the net has more than {MOST_PARAMETERS:,} parameters")
        self._library = _compiled(source.text)

    def gradients(
        self, parameters: Floats, images: Pixels, targets: Floats
    ) -> tuple[float, Floats]:
        """The mean cross-entropy of a batch, and its gradients, float32 [n].

        Args:
            parameters: float32 [n].
            images: uint8 [batch, height, width, channels], of which 255 is 1.
            targets: The share that each class has of an image, float32 [batch, classes].
        """
        count = len(images)
        if targets.shape != (count, self.classes):
            raise ValueError(f"targets of shape {targets.shape} for {count} images")
        found = np.empty(self._size, np.float32)
        arrays = self._checked(parameters, images), np.ascontiguousarray(targets, np.float32)
        total = self._library.gradients(
            *map(_pointer, (*arrays[0], arrays[1])), count, _pointer(found)
        )
        return total / count, found / count

    def predict(self, parameters: Floats, images: Pixels) -> Floats:
        """The probabilities of the classes, float32 [batch, classes]."""
        arrays = self._checked(parameters, images)
        scores = np.empty((len(images), self.classes), np.float32)
        self._library.predict(*map(_pointer, arrays), len(images), _pointer(scores))
        return scores

    def _checked(self, parameters: Floats, images: Pixels) -> tuple[Floats, Pixels]:
        """Both as C takes them; C trusts their sizes."""
        if parameters.shape != (self._size,) or images[:1].size not in (0, self._numbers):
            raise ValueError("parameters or images of another net")
        return np.ascontiguousarray(parameters, np.float32), np.ascontiguousarray(images, np.uint8)


class CompiledNet(CompiledGraph):
    """A net whose gradients C computes, from a Keras model whose weights it takes and gives back.

    Its parameters are those weights that the scores depend on.

    Raises:
        NotCompiledError: The net has something that no gradient is written for, or there is no
            C compiler here.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        source, self._index = _source(model)
        super().__init__(source)
        trained = {id(weight) for weight in model.trainable_weights}
        marks = [np.full(weight.shape, id(weight) in trained) for weight in model.weights]
        self.is_trained: NDArray[np.bool_] = self.arranged(marks)  # each parameter

    def arranged(self, values: Sequence[Any]) -> NDArray[Any]:
        """Values for each weight of the model in the order of the parameters."""
        return np.concatenate([np.ravel(value) for value in values])[self._index]

    def positions(self, places: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Places in all weights, one after the other, as those of parameters.

        Args:
            places: One for each weight of the model.
        """
        position = np.zeros(sum(each.size for each in places), np.int64)
        position[self._index] = np.arange(len(self._index))
        return position[self.arranged(places)]

    def read(self) -> Floats:
        """The parameters of the model."""
        return self.arranged(self._model.get_weights())

    def assign(self, parameters: Floats, model: keras.Model | None = None) -> None:
        """Give them to the model, or to another one of the same layers."""
        model = model or self._model
        values = model.get_weights()
        flat = np.concatenate([np.ravel(value) for value in values])
        flat[self._index] = parameters
        model.set_weights(_parts(flat, values))

    def gradients(
        self, parameters: Floats, images: Pixels, targets: Floats
    ) -> tuple[float, Floats]:
        """The same; of parameters that are not trained, 0."""
        loss, found = super().gradients(parameters, images, targets)
        return loss, np.where(self.is_trained, found, np.float32(0))


def _source(model: keras.Model) -> tuple[Source, NDArray[np.int64]]:
    """The C, and where each parameter lies in the weights of the model, one after the other."""
    if any(type(layer).__name__ == "BatchNormalization" for layer in model.layers):
        raise NotCompiledError("no gradient is written for BatchNormalization")
    if any(getattr(layer, "rate", 0) for layer in model.layers):
        raise NotCompiledError("no gradient is written for Dropout")
    values = model.get_weights()
    places = np.arange(sum(value.size for value in values), dtype=np.float32)
    try:
        # Each weight is its own place for a moment, so that the graph tells where it has it from.
        model.set_weights(_parts(places, values))
        graph = read_model(model)
    except UnsupportedLayerError as error:
        raise NotCompiledError(error.message) from None
    finally:
        model.set_weights(values)
    index = {tensor: tensor.values.ravel().astype(np.int64) for tensor in graph.weights}
    trained = np.concatenate(
        [np.full(weight.shape, weight.trainable).ravel() for weight in model.weights]
    )
    frozen = frozenset(tensor for tensor, where in index.items() if not trained[where].any())
    source = write(graph, frozen)
    return source, np.concatenate([index[tensor] for tensor in source.weights])


def _parts(flat: NDArray[Any], like: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """A vector as arrays of the shapes of others."""
    ends = np.cumsum([value.size for value in like])[:-1]
    return [p.reshape(v.shape) for p, v in zip(np.split(flat, ends), like, strict=True)]


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@cache
def _compiled(text: str) -> ctypes.CDLL:
    """The library of a text, which is not reentrant. Raises NotCompiledError if there is none."""
    compiler = find_compiler(None)
    if compiler is None:
        raise NotCompiledError("there is no C compiler here")
    with tempfile.TemporaryDirectory() as folder:
        source, compiled, result = (Path(folder) / f"gradients.{end}" for end in ("c", "o", "so"))
        source.write_text(text)
        # Linked with -ffast-math, a library rounds the process's smallest numbers to zero.
        _run([*compiler, *OPTIONS, str(source), "-o", str(compiled)])
        _run([*compiler, "-shared", str(compiled), "-lm", "-o", str(result)])
        library = ctypes.CDLL(str(result))
    library.gradients.restype = ctypes.c_double
    pointer = ctypes.c_void_p
    library.gradients.argtypes = [pointer, pointer, pointer, ctypes.c_long, pointer]
    library.predict.argtypes = [pointer, pointer, ctypes.c_long, pointer]
    library.predict.restype = None
    return library


def _run(command: Sequence[str]) -> None:
    """Raises NotCompiledError if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotCompiledError(f"the compiler fails: {error}") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()
        said = next((line for line in lines if "error" in line), "it says nothing")
        raise NotCompiledError(f"the compiler refuses the C: {said}")
