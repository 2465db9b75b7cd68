"""Models small enough to know what they compute, written without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

FLOAT32, INT8, UINT8 = 0, 9, 3  # TensorType in the TFLite schema
FULLY_CONNECTED, DEPTHWISE_CONV_2D, CUSTOM, ADD = 9, 4, 32, 0  # BuiltinOperator


class TfliteBuilder:
    """One graph of a `.tflite` file, put together tensor by tensor."""

    def __init__(self) -> None:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        self.flatbuffers, self.schema = flatbuffers, schema
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes, self.model.subgraphs = [], [self.graph]
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, name, shape, kind=FLOAT32, data=None, scale=None, zero_point=0, open=False):
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), kind
        if open:
            tensor.shapeSignature = [-1, *shape[1:]]
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        if scale is not None:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero_point]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, code, inputs, outputs, options_type=0, options=None, custom=None, version=1):
        operator_code = self.schema.OperatorCodeT()
        operator_code.builtinCode = operator_code.deprecatedBuiltinCode = code
        operator_code.customCode, operator_code.version = custom, version
        operator = self.schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(operator_code)
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        operator.builtinOptionsType, operator.builtinOptions = options_type, options
        self.graph.operators.append(operator)

    def write(self, path: Path, inputs, outputs) -> Path:
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = self.flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(builder.Output())
        return path


def tflite_dense(path: Path, weights, open: bool = False) -> Path:
    """y = W x, float32, x of shape [1, n]."""
    build = TfliteBuilder()
    outputs, inputs = weights.shape
    x = build.tensor("x", (1, inputs), open=open)
    w = build.tensor("w", weights.shape, data=weights.astype(np.float32))
    y = build.tensor("y", (1, outputs), open=open)
    dense(build, x, w, y)
    return build.write(path, [x], [y])


def tflite_int8_identity(path: Path, shape, kind=INT8, scale=1 / 255) -> Path:
    """Gives the pixels of an image [1, h, w, c] as scores; int8 or uint8 in, the same out."""
    build = TfliteBuilder()
    pixels = int(np.prod(shape))
    zero_point = -128 if kind == INT8 else 0
    x = build.tensor("x", (1, *shape), kind, scale=scale, zero_point=zero_point)
    if kind == INT8:
        identity = np.eye(pixels, dtype=np.int8) * 127
        w = build.tensor("w", (pixels, pixels), kind, identity, scale=1 / 127)
    else:
        identity = np.eye(pixels, dtype=np.uint8) * 255
        w = build.tensor("w", (pixels, pixels), kind, identity, scale=1 / 255)
    y = build.tensor("y", (1, pixels), kind, scale=scale, zero_point=zero_point)
    dense(build, x, w, y)
    return build.write(path, [x], [y])


def dense(build: TfliteBuilder, x: int, w: int, y: int) -> None:
    options = build.schema.FullyConnectedOptionsT()
    kind = build.schema.BuiltinOptions.FullyConnectedOptions
    build.operator(FULLY_CONNECTED, [x, w, -1], [y], kind, options)


def tflite_two_inputs(path: Path) -> Path:
    """z = x + y, beside a second graph that nothing calls."""
    build = TfliteBuilder()
    x, y, z = (build.tensor(name, (1, 3)) for name in "xyz")
    options = build.schema.AddOptionsT()
    build.operator(ADD, [x, y], [z], build.schema.BuiltinOptions.AddOptions, options)
    second = build.schema.SubGraphT()
    second.tensors, second.operators, second.inputs, second.outputs = [], [], [], []
    build.model.subgraphs.append(second)
    return build.write(path, [x, y], [z])


def tflite_custom_operator(path: Path) -> Path:
    build = TfliteBuilder()
    x, y = build.tensor("x", (1, 3)), build.tensor("y", (1, 3))
    build.operator(CUSTOM, [x], [y], custom="NobodyHasThis")
    return build.write(path, [x], [y])


def tflite_future_version(path: Path) -> Path:
    build = TfliteBuilder()
    x, y = build.tensor("x", (1, 3)), build.tensor("y", (1, 3))
    w = build.tensor("w", (3, 3), data=np.eye(3, dtype=np.float32))
    options = build.schema.FullyConnectedOptionsT()
    kind = build.schema.BuiltinOptions.FullyConnectedOptions
    build.operator(FULLY_CONNECTED, [x, w, -1], [y], kind, options, version=99)
    return build.write(path, [x], [y])


def tflite_crashing(path: Path) -> Path:
    """A depthwise convolution without bias, which ends the process of either TFLite runtime."""
    build = TfliteBuilder()
    x = build.tensor("x", (1, 8, 8, 4), INT8, scale=0.1)
    w = build.tensor("w", (1, 3, 3, 4), INT8, np.ones((1, 3, 3, 4), np.int8), scale=0.1)
    y = build.tensor("y", (1, 6, 6, 4), INT8, scale=0.1)
    options = build.schema.DepthwiseConv2DOptionsT()
    options.padding, options.strideW, options.strideH, options.depthMultiplier = 1, 1, 1, 1
    kind = build.schema.BuiltinOptions.DepthwiseConv2DOptions
    build.operator(DEPTHWISE_CONV_2D, [x, w], [y], kind, options)
    return build.write(path, [x], [y])


def onnx_model(path: Path, nodes, inputs, outputs, constants=(), **save_options) -> Path:
    """`inputs` and `outputs` map names to a type's name and a shape."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def infos(values):
        return [
            helper.make_tensor_value_info(name, getattr(TensorProto, kind), shape)
            for name, (kind, shape) in values.items()
        ]

    graph = helper.make_graph(
        [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
        "graph",
        infos(inputs),
        infos(outputs),
        [numpy_helper.from_array(array, name) for name, array in dict(constants).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, path, **save_options)
    return path


def onnx_dense(path: Path, weights, batch: int | str = 1, kind="FLOAT", **save_options) -> Path:
    """y = x W, x of shape [batch, n]."""
    inputs, outputs = weights.shape
    dtype = {"FLOAT": np.float32, "FLOAT16": np.float16}[kind]
    return onnx_model(
        path,
        [("MatMul", ["x", "w"], ["y"])],
        {"x": (kind, [batch, inputs])},
        {"y": (kind, [batch, outputs])},
        {"w": weights.astype(dtype)},
        **save_options,
    )


def onnx_pixels(path: Path, shape, kind="FLOAT", batch: int | str = 1) -> Path:
    """Gives an image's pixels in the file's order as scores."""
    pixels = int(np.prod(shape))
    nodes = [("Flatten", ["x"], ["flat"])]
    nodes += [("Cast", ["flat"], ["y"], {"to": 1})]
    return onnx_model(
        path, nodes, {"x": (kind, [batch, *shape])}, {"y": ("FLOAT", [batch, pixels])}
    )


def onnx_external(path: Path) -> Path:
    """Weights in `weights.bin` beside the model."""
    weights = np.ones((64, 64), np.float32)
    return onnx_dense(
        path, weights, save_as_external_data=True, location="weights.bin", size_threshold=0
    )


def real_models() -> list[Path]:
    """MLPerf Tiny's models, where `EDGEGOLF_DATA` has them."""
    return sorted(Path(os.environ.get("EDGEGOLF_DATA", "/nowhere"), "models").glob("*.tflite"))
