"""An ONNX file that is to be exported: PyTorch's, or any other framework's."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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

_REAL = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}


class OnnxSource(Source):
    """An `.onnx` file, in float32 or quantized.

    Of layers that round what they take anew for each sample ("dynamic quantization"), the model is
    what their weights stand for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_session(path) as session:
            self.inputs = session.inputs
        model = self._model()
        if with_real_layers(model):
            self.folder = tempfile.TemporaryDirectory()
            self.path = Path(self.folder.name) / "decoded.onnx"
            self.path.write_bytes(model.SerializeToString())

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


def with_real_layers(model: onnx.ModelProto) -> bool:
    """Let dynamically quantized layers compute with real numbers; whether there are any.

    What is rounded is the number itself, with a scale of 1 and a zero point of 0; weights and rows
    that are looked up are the real numbers that their integers stand for.

    Args:
        model: It is changed.

    Raises:
        EdgegolfError: A layer subtracts a zero point that is computed otherwise.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    rounded = [node for node in graph.node if node.op_type == "DynamicQuantizeLinear"]
    recurrent = [node for node in graph.node if node.op_type == "DynamicQuantizeLSTM"]
    if not rounded and not recurrent:
        return False
    scales, zeros = ({node.output[place] for node in rounded} for place in (1, 2))
    stored = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    factors = {  # by which layers' results are multiplied: that of the weights
        node.output[0]: name
        for node in graph.node
        for name in node.input
        if node.op_type == "Mul" and scales & {*node.input} and name in stored
    }
    real: dict[str, Array] = {}

    def decoded(name: str, zero: str, scale: str, axis: int) -> str:
        """The name of the real numbers, or integers less their zero point, of a constant."""
        numbers = numpy_helper.to_array(stored[name]).astype(np.float32)
        shape = [1] * numbers.ndim
        shape[axis] = -1
        for each, apply in ((zero, np.subtract), (scale, np.multiply)):
            if each in stored:
                other = numpy_helper.to_array(stored[each]).astype(np.float32)
                numbers = apply(numbers, other if other.ndim == 2 else other.reshape(shape))
        found = "/".join((name, zero, scale))
        real[found] = numbers
        return found

    for node in rounded:
        real |= {node.output[1]: np.float32(1), node.output[2]: np.float32(0)}
        node.CopyFrom(helper.make_node("Identity", node.input, node.output[:1]))
    for node in (each for each in graph.node if each.op_type in _REAL):
        operands = [*node.input, "", ""]
        node.op_type = _REAL[node.op_type]
        for index, (name, zero) in enumerate(zip(operands[:2], operands[2:], strict=False)):
            if zero and zero not in zeros and {name, zero} - {*stored}:
                raise EdgegolfError(
                    f"the layer {node.name!r} subtracts a zero point that is computed",
                    hint="export the float model that this one was made from",
                )
            if name not in stored:
                continue
            product, behind = _factor_behind(node, readers, factors)
            if behind is not None:
                rest = [each for each in behind.input if each != product]
                behind.CopyFrom(helper.make_node("Identity", rest, behind.output))
            axis = 0 if node.op_type == "Conv" else -1
            node.input[index] = decoded(name, zero, factors.get(product, ""), axis)
        del node.input[2:]
    for node in (each for each in graph.node if each.op_type == "DequantizeLinear"):
        gather = producers.get(node.input[0])
        if gather is not None and gather.op_type == "Gather" and {
            gather.input[0], *node.input[1:]
        } <= {*stored}:  # fmt: skip
            gather.input[0] = decoded(gather.input[0], (*node.input, "")[2], node.input[1], -1)
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output))
    for node in recurrent:
        given = [*node.input]
        for index, scale in ((1, 8), (2, 10)):
            name = decoded(given[index], given[scale + 1], given[scale], 0)
            node.input[index] = f"{name}/turned"
            real[node.input[index]] = real.pop(name).transpose(0, 2, 1)
        del node.input[8:]
        node.op_type, node.domain = "LSTM", ""
    del graph.value_info[:]
    graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in real.items())
    return True


def _factor_behind(
    layer: onnx.NodeProto,
    readers: Mapping[str, Sequence[onnx.NodeProto]],
    factors: Mapping[str, str],
) -> tuple[str, onnx.NodeProto | None]:
    """The scale of its result and the node that multiplies by it, where nothing else reads it."""
    node = layer
    for kind in ("Cast", "Mul"):
        behind = readers.get(node.output[0], ())
        if len(behind) != 1 or behind[0].op_type != kind:
            return "", None
        node = behind[0]
    return next(((name, node) for name in node.input if name in factors), ("", None))
