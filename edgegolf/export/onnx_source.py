"""An ONNX file that is to be exported: PyTorch's, or any other framework's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.errors import EdgegolfError
from edgegolf.export.model_source import Compiled, Described, Source
from edgegolf.export.onnx_export import in_float16, quantize
from edgegolf.export.samples import ModelInput, Samples
from edgegolf.export.verify import run_file
from edgegolf.files import read_bounded
from edgegolf.frontends.onnx import read_graph
from edgegolf.ir.tensor import Array, Shape
from edgegolf.runtimes import open_session

if TYPE_CHECKING:
    import onnx


class OnnxSource(Source):
    """An `.onnx` file, in float32 or quantized."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_session(path) as session:
            self.inputs = session.inputs

    def describe(self) -> Described:
        """What the model takes."""
        inputs = tuple(ModelInput(info.name, info.shape, info.dtype) for info in self.inputs)
        return Described(inputs, tuple(info.name for info in self.inputs), self._is_quantized())

    def predict(self, samples: Samples) -> list[Array]:
        """The model's outputs, [n, …] each: float32, or integers that stand for nothing else."""
        return run_file(self.path, [info.name for info in self.inputs], samples)

    def compile(self, shapes: tuple[Shape, ...]) -> Compiled:
        """The model as a graph, images with their channels last."""
        names = [info.name for info in self.inputs]
        known = dict(zip(names, shapes, strict=True))
        found = read_graph(read_bounded(self.path), "the graph", known, self.path.parent)
        return Compiled(found.graph, found.inputs, found.outputs)

    def convert(
        self, name: str, shapes: tuple[tuple[int | None, ...], ...], calibration: Samples
    ) -> bytes | None:
        """The file itself, or what onnxruntime's quantizer makes of it."""
        if not name.endswith(".onnx"):
            return None
        if self._is_quantized():
            return self._fixed(shapes).SerializeToString() if name == "int8.onnx" else None
        model = self._fixed(shapes)
        if name == "int8.onnx":
            return quantize(model, calibration.batches(shapes[0][0] or 1))
        return in_float16(model) if name == "float16.onnx" else model.SerializeToString()

    def _is_quantized(self) -> bool:
        types = {node.op_type for node in self._model().graph.node}
        return any("QuantizeLinear" in each or each.startswith("QLinear") for each in types)

    def _model(self) -> onnx.ModelProto:
        import onnx

        try:
            return onnx.load(self.path)
        except Exception:  # of any type
            raise EdgegolfError(f"{self.path} is not an ONNX file, or damaged") from None

    def _fixed(self, shapes: tuple[tuple[int | None, ...], ...]) -> onnx.ModelProto:
        """The model with these shapes of its inputs, where it leaves them open."""
        import onnx

        model = self._model()
        by_name = dict(zip([info.name for info in self.inputs], shapes, strict=True))
        for value in model.graph.input:
            if value.name not in by_name:
                continue
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, by_name[value.name], strict=True):
                if size is not None and not dim.dim_value:
                    dim.dim_value = size
        del model.graph.value_info[:]
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        return onnx.shape_inference.infer_shapes(model)
