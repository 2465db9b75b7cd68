"""A TFLite file or a SavedModel that is to be exported."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.backends.onnx import computes_in_integers
from edgegolf.backends.tflite import write
from edgegolf.errors import EdgegolfError
from edgegolf.export.canonical import deterministic_tf2onnx
from edgegolf.export.model_source import Compiled, Described, Source
from edgegolf.export.onnx_export import OPSET, in_float16, quantize
from edgegolf.export.pixels import scales_its_input
from edgegolf.export.samples import ModelInput, Samples
from edgegolf.export.verify import run_file
from edgegolf.files import read_bounded
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph, Node, Tensor, ops
from edgegolf.ir.tensor import Array, Shape
from edgegolf.quantize.quantization import LAYERS
from edgegolf.quiet import silenced
from edgegolf.runtimes import open_session
from edgegolf.runtimes.session import one_line

if TYPE_CHECKING:
    import onnx


class TfliteSource(Source):
    """A `.tflite` file, in float32 or quantized; of a SavedModel, what TensorFlow makes of it.

    Of layers that take real numbers and multiply them in 8 bits ("dynamic range"), which rounds
    them anew for each sample, the model is what their weights stand for.
    """

    def __init__(self, path: Path) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = path
        if path.is_dir():
            from edgegolf.export.saved_model import convert

            self.path = Path(self.folder.name) / "model.tflite"
            self.path.write_bytes(convert(path))
        self.data = read_bounded(self.path)
        with open_session(self.path) as session:
            self.inputs = session.inputs
            self.is_quantized = any(info.scale for info in (*session.inputs, *session.outputs))
        self.graph = None
        with suppress(EdgegolfError):
            self.graph = read_graph(self.path)
            decoded = _with_real_layers(self.graph)
            if decoded is not None:
                self.path = Path(self.folder.name) / "decoded.tflite"
                self.data = write(decoded)
                self.path.write_bytes(self.data)
                self.graph = decoded
            self.is_quantized |= computes_in_integers(self.graph)

    def describe(self) -> Described:
        """What the model takes: real numbers, also where it computes in integers."""
        scales = [False] * len(self.inputs)
        if self.graph is not None:
            scales = [scales_its_input(self.graph, tensor) for tensor in self.graph.inputs]
        inputs = tuple(
            ModelInput(info.name, info.shape, "float32" if info.scale else info.dtype, own)
            for info, own in zip(self.inputs, scales, strict=True)
        )
        return Described(inputs, tuple(info.name for info in self.inputs), self.is_quantized)

    def predict(self, samples: Samples) -> list[Array]:
        """The model's outputs, [n, …] each: float32, or integers that stand for nothing else."""
        return run_file(self.path, [info.name for info in self.inputs], samples)

    def compile(self, shapes: tuple[Shape, ...]) -> Compiled:
        """The model as a graph."""
        return Compiled.as_it_is(read_graph(self.path))

    def convert(
        self, name: str, shapes: tuple[tuple[int | None, ...], ...], calibration: Samples
    ) -> bytes | None:
        """The file itself, or what tf2onnx and onnxruntime's quantizer make of it."""
        dtype, _, suffix = name.partition(".")
        if suffix == "tflite":
            return self.data if dtype == ("int8" if self.is_quantized else "float32") else None
        if self.is_quantized:
            return self._as_onnx().SerializeToString() if dtype == "int8" else None
        if dtype == "int8":
            return quantize(self._as_onnx(), calibration.batches(self.inputs[0].shape[0] or 1))
        if dtype == "float16":
            return in_float16(self._as_onnx())
        return self._as_onnx().SerializeToString()

    def _as_onnx(self) -> onnx.ModelProto:
        try:
            with silenced(), deterministic_tf2onnx() as tf2onnx:
                model, _ = tf2onnx.convert.from_tflite(str(self.path), opset=OPSET)
        except Exception as error:  # the converter raises errors of any type
            raise EdgegolfError(
                f"the model cannot be converted to ONNX: {one_line(error)[:300]}"
            ) from None
        return model


def _with_real_layers(graph: Graph) -> Graph | None:
    """The graph with weights that are decoded before layers on real numbers; None without such."""
    nodes: list[Node] = []
    for node in graph.nodes:
        weights = node.constant(1) if isinstance(node.op, LAYERS) else None
        if weights is not None and weights.is_quantized and node.source.dtype == "float32":
            real = Tensor(weights.shape)
            nodes.append(Node(ops.Dequantize(), (weights,), (real,)))
            node = Node(node.op, (node.source, real, *node.inputs[2:]), node.outputs)
        nodes.append(node)
    found = Graph(graph.inputs, graph.outputs, tuple(nodes))
    return found if len(nodes) > len(graph.nodes) else None
