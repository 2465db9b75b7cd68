"""A Keras model that is to be exported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export import onnx_export, tflite
from edgegolf.export.bounds import largest_result
from edgegolf.export.model import for_inference, load_model, plain_names, rename
from edgegolf.export.model_source import Compiled, Described, Source
from edgegolf.export.samples import ModelInput, Samples
from edgegolf.export.verify import find_input, output_positions
from edgegolf.frontends.keras import UnsupportedLayerError, read_model
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph
from edgegolf.ir.ops import Unsupported
from edgegolf.ir.tensor import Array, Shape
from edgegolf.runtimes import open_session

if TYPE_CHECKING:
    import keras

BATCH_NUMBERS = 2**26  # in the largest result of a layer, for one batch

CONVERTERS: dict[str, Callable[[keras.Model, Samples, Path], None]] = {
    "float32.tflite": tflite.write_float32,
    "float16.tflite": tflite.write_float16,
    "dynamic.tflite": tflite.write_dynamic,
    "int8.tflite": tflite.write_int8,
    "float32.onnx": onnx_export.write_float32,
    "float16.onnx": onnx_export.write_float16,
    "int8.onnx": onnx_export.write_int8,
}


class KerasSource(Source):
    """A `.keras` or `.h5` file, loaded in Keras's safe mode."""

    def __init__(self, path: Path) -> None:
        self.model = load_model(path)
        rename(self.model)  # it does not even run with some names
        self.fixed: dict[object, keras.Model] = {}

    def describe(self) -> Described:
        """What the model takes."""
        tensors = self.model.inputs
        inputs = tuple(
            ModelInput(tensor.name, tuple(tensor.shape), tensor.dtype, scales_itself=scales)
            for tensor, scales in zip(tensors, map(self._scales_itself, tensors), strict=True)
        )
        return Described(inputs, tuple(plain_names([tensor.name for tensor in tensors])))

    def predict(self, samples: Samples) -> list[Array]:
        """The model's outputs, [n, …] each: float32, or integers that stand for nothing else."""
        return predict(self._flat, samples)

    def compile(self, shapes: tuple[Shape, ...]) -> Compiled:
        """The model as a graph, by its layers; else by the operators of its float TFLite file."""
        fixed = self._fixed(shapes)
        try:
            return Compiled.as_it_is(read_model(fixed))
        except UnsupportedLayerError as error:
            return Compiled.as_it_is(_by_operators(fixed, error))

    def convert(
        self, name: str, shapes: tuple[tuple[int | None, ...], ...], calibration: Samples
    ) -> bytes | None:
        """What TensorFlow's converter, or tf2onnx, makes."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            CONVERTERS[name](self._fixed(shapes), calibration, path)
            return path.read_bytes()

    @cached_property
    def _flat(self) -> keras.Model:
        return flat(self.model)  # traced once

    def _fixed(self, shapes: tuple[tuple[int | None, ...], ...]) -> keras.Model:
        if shapes not in self.fixed:
            self.fixed[shapes] = for_inference(self.model, shapes)
        return self.fixed[shapes]

    def _scales_itself(self, tensor: keras.KerasTensor) -> bool:
        """Whether all that reads an input are layers that scale it."""
        readers = [
            layer
            for layer in self.model.layers
            for node in layer._inbound_nodes
            if any(each is tensor for each in node.input_tensors)
        ]
        return bool(readers) and all(
            type(layer).__name__ in ("Rescaling", "Normalization") for layer in readers
        )


def flat(model: keras.Model) -> keras.Model:
    """A model with its inputs and outputs as lists."""
    import keras

    return keras.Model(list(model.inputs), keras.tree.flatten(model.outputs))


def predict(model: keras.Model, samples: Samples) -> list[Array]:
    """The outputs of a model that is `flat`: integers, or float32, [n, …] each."""
    batch = max(1, min(256, BATCH_NUMBERS // max(1, largest_result(model))))
    outputs = model.predict(list(samples.inputs), batch_size=batch, verbose=0)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [
        output if output.dtype.kind in "iub" else np.asarray(output, np.float32)
        for output in map(np.asarray, outputs)
    ]


def _by_operators(model: keras.Model, error: UnsupportedLayerError) -> Graph:
    """What the float TFLite file of a model computes, its inputs and outputs in the model's order.

    Raises:
        EdgegolfError: There is no such file, or it holds an operator that the compiler lacks.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float32.tflite"
        try:
            tflite.write_float32(model, Samples(()), path)
        except EdgegolfError:
            raise error from None
        graph = read_graph(path)
        with open_session(path) as session:
            inputs = [find_input(info.name, model_inputs(model)) for info in session.inputs]
            outputs = output_positions(session.outputs)
    if missing := sorted(
        {node.op.name for node in graph.walk() if isinstance(node.op, Unsupported)}
    ):
        raise EdgegolfError(f"the compiler has no {', '.join(missing)}")
    return Graph(
        tuple(graph.inputs[inputs.index(index)] for index in range(len(inputs))),
        tuple(graph.outputs[index] for index in outputs),
        graph.nodes,
    )


def model_inputs(model: keras.Model) -> list[str]:
    """The names of a model's inputs."""
    return [tensor.name for tensor in model.inputs]
