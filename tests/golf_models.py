"""Small models made from scratch, so that these tests need no converter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgegolf.formats.onnx.model import read_onnx
from edgegolf.formats.onnx.protobuf import Message, message, write_protobuf
from edgegolf.formats.tflite.flatbuffer import Table, table, write_flatbuffer
from edgegolf.formats.tflite.schema import number

FLOAT32, INT32, INT8 = 0, 2, 9
SIZE, CHANNELS = 6, 4
# Of int8 kernels, as the converter writes them.
_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "RELU": 2,
    "ADD": 2,
    "MUL": 2,
    "AVERAGE_POOL_2D": 2,
    "SOFTMAX": 2,
}
OPERATORS = ("conv", "depthwise", "relu", "add", "mul", "pool", "softmax")


def quantization(scales: Sequence[float], axis: int = 0, **fields: Any) -> Table:
    """Symmetric quantization parameters with the given scales."""
    return table(
        "QuantizationParameters",
        scale=[float(np.float32(scale)) for scale in scales],
        zero_point=[0] * len(scales),
        quantized_dimension=axis,
        **fields,
    )


class TfliteBuilder:
    """Collects tensors and operators of one graph, wastefully as converters do."""

    def __init__(self) -> None:
        self.tensors: list[Table] = []
        self.operators: list[Table] = []
        self.codes: list[str] = []
        self.buffers: list[Table] = [table("Buffer")]

    def tensor(
        self,
        shape: Sequence[int],
        kind: int = FLOAT32,
        data: np.ndarray | None = None,
        parameters: Table | None = None,
        **fields: Any,
    ) -> int:
        self.buffers.append(table("Buffer", data=data.tobytes() if data is not None else None))
        self.tensors.append(
            table(
                "Tensor",
                shape=shape,
                type=kind,
                buffer=len(self.buffers) - 1,
                name=f"a/long/name/of/tensor_{len(self.tensors)}",
                quantization=parameters or table("QuantizationParameters"),
                shape_signature=shape,
                has_rank=True,
                **fields,
            )
        )
        return len(self.tensors) - 1

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Table | None = None,
        **fields: Any,
    ) -> int:
        if name not in self.codes:
            self.codes.append(name)
        self.operators.append(
            table(
                "Operator",
                opcode_index=self.codes.index(name),
                inputs=inputs,
                outputs=outputs,
                builtin_options=options,
                mutating_variable_inputs=[],
                **fields,
            )
        )
        return outputs[0] if outputs else -1

    def subgraph(self, inputs: Sequence[int], outputs: Sequence[int], **fields: Any) -> Table:
        return table(
            "SubGraph",
            tensors=self.tensors,
            inputs=inputs,
            outputs=outputs,
            operators=self.operators,
            name="main",
            **fields,
        )

    def model(self, subgraphs: Sequence[Table], **fields: Any) -> Table:
        codes = []
        for name in self.codes:
            if name.startswith("CUSTOM:"):
                codes.append(
                    table(
                        "OperatorCode",
                        deprecated_builtin_code=number("BuiltinOperator", "CUSTOM"),
                        builtin_code=number("BuiltinOperator", "CUSTOM"),
                        custom_code=name.removeprefix("CUSTOM:"),
                    )
                )
                continue
            builtin = number("BuiltinOperator", name)
            codes.append(
                table(
                    "OperatorCode",
                    deprecated_builtin_code=min(builtin, 127),
                    builtin_code=builtin,
                    version=_VERSIONS.get(name, 1),
                )
            )
        metadata_buffer = len(self.buffers)
        return table(
            "Model",
            version=3,
            operator_codes=codes,
            subgraphs=subgraphs,
            description="made for a test",
            buffers=[*self.buffers, table("Buffer", data=b"1.14.0" + bytes(10))],
            metadata=[table("Metadata", name="min_runtime_version", buffer=metadata_buffer)],
            **fields,
        )


def naive(root: Table) -> bytes:
    """Written as stock converters do: nothing shared, defaults spelled out, wide alignment."""
    return write_flatbuffer(root, share=False, keep_defaults=True, byte_alignment=16)


def chain(names: Sequence[str], seed: int = 0, int8: bool = False, shared: bool = True) -> bytes:
    """A ``.tflite`` file that applies some of `OPERATORS` in turn, reusing the same weights."""
    generator = np.random.default_rng(seed)
    builder = TfliteBuilder()
    shape = (1, SIZE, SIZE, CHANNELS)
    kind = INT8 if int8 else FLOAT32
    scale = quantization([0.05], min=[-6.4], max=[6.35]) if int8 else None

    def activation() -> int:
        return builder.tensor(shape, kind, None, scale)

    def weights(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
        if not int8:
            values = generator.normal(0, 0.3, shape).astype(np.float32)
            biases = np.zeros(CHANNELS, np.float32)
            return builder.tensor(shape, kind, values), builder.tensor((4,), kind, biases)
        scales = generator.uniform(0.002, 0.01, CHANNELS).astype(np.float32)
        integers = generator.integers(-127, 128, shape).astype(np.int8)
        bias_scales = quantization([0.05 * float(value) for value in scales])
        bias = generator.integers(-99, 99, CHANNELS).astype(np.int32) * (seed % 2)
        return (
            builder.tensor(shape, kind, integers, quantization(scales, axis)),
            builder.tensor((4,), INT32, bias, bias_scales),
        )

    known: dict[str, tuple[int, int]] = {}
    first = current = activation()
    for name in names:
        if name in ("conv", "depthwise") and not (shared and name in known):
            dimensions = (4, 3, 3, 4) if name == "conv" else (1, 3, 3, 4)
            known[name] = weights(dimensions, 0 if name == "conv" else 3)
        out = activation()
        if name == "conv":
            options = table(
                "Conv2DOptions",
                padding=0,
                stride_w=1,
                stride_h=1,
                dilation_w_factor=1,
                dilation_h_factor=1,
            )
            builder.operator("CONV_2D", [current, *known[name]], [out], options)
        elif name == "depthwise":
            options = table(
                "DepthwiseConv2DOptions",
                padding=0,
                stride_w=1,
                stride_h=1,
                depth_multiplier=1,
                dilation_w_factor=1,
                dilation_h_factor=1,
            )
            builder.operator("DEPTHWISE_CONV_2D", [current, *known[name]], [out], options)
        elif name == "relu":
            builder.operator("RELU", [current], [out])
        elif name == "add":
            options = table("AddOptions", fused_activation_function=0, pot_scale_int16=True)
            builder.operator("ADD", [first, current], [out], options)
        elif name == "mul":
            options = table("MulOptions", fused_activation_function=1)
            builder.operator("MUL", [current, current], [out], options)
        elif name == "softmax":
            if int8:
                parameters = table("QuantizationParameters", scale=[1 / 256], zero_point=[-128])
                out = builder.tensor(shape, kind, None, parameters)
            builder.operator("SOFTMAX", [current], [out], table("SoftmaxOptions", beta=1.0))
            if int8:
                scaled = activation()
                out = builder.operator("QUANTIZE", [out], [scaled], table("QuantizeOptions"))
        else:
            options = table(
                "Pool2DOptions", stride_w=1, stride_h=1, filter_width=2, filter_height=2
            )
            builder.operator("AVERAGE_POOL_2D", [current], [out], options)
        current = out
    signature = table(
        "SignatureDef",
        signature_key="serving_default",
        inputs=[table("TensorMap", name="image", tensor_index=first)],
        outputs=[table("TensorMap", name="scores", tensor_index=current)],
    )
    graph = builder.subgraph([first], [current])
    return naive(builder.model([graph], signature_defs=[signature]))


def loop(trips: int = 5, step: int = 1, doubling: bool = False) -> bytes:
    """A ``.tflite`` file that runs a convolution ``trips`` times in a ``WHILE``."""
    first, last = (1, 2**trips) if doubling else (0, trips * step)
    weights = np.random.default_rng(1).normal(0, 0.2, (4, 3, 3, 4)).astype(np.float32)
    shape = (1, SIZE, SIZE, CHANNELS)
    main = TfliteBuilder()
    main.codes = ["WHILE", "LESS", "ADD", "CONV_2D"]
    image = main.tensor(shape)
    start = main.tensor((), INT32, np.array(first, np.int32))
    count, result = main.tensor((), INT32), main.tensor(shape)
    options = table("WhileOptions", cond_subgraph_index=1, body_subgraph_index=2)
    main.operator("WHILE", [start, image], [count, result], options)
    condition = TfliteBuilder()
    condition.buffers, condition.codes = main.buffers, main.codes
    counter, _ = condition.tensor((), INT32), condition.tensor(shape)
    limit = condition.tensor((), INT32, np.array(last, np.int32))
    less = condition.tensor((), number("TensorType", "BOOL"))
    condition.operator("LESS", [counter, limit], [less], table("LessOptions"))
    body = TfliteBuilder()
    body.buffers, body.codes = main.buffers, main.codes
    counter, image_in = body.tensor((), INT32), body.tensor(shape)
    increment = body.tensor((), INT32, np.array(step, np.int32))
    counted, image_out = body.tensor((), INT32), body.tensor(shape)
    kernel = body.tensor((4, 3, 3, 4), FLOAT32, weights)
    bias = body.tensor((4,), FLOAT32, np.ones(4, np.float32))
    summands = [counter, counter if doubling else increment]
    body.operator("ADD", summands, [counted], table("AddOptions"))
    options = table("Conv2DOptions", stride_w=1, stride_h=1)
    body.operator("CONV_2D", [image_in, kernel, bias], [image_out], options)
    graphs = [
        main.subgraph([image], [result]),
        condition.subgraph([counter, 1], [less]),
        body.subgraph([counter, image_in], [counted, image_out]),
    ]
    return naive(main.model(graphs))


# ------------------------------------------------------------------------------------------ ONNX


def initializer(name: str, values: np.ndarray) -> Message:
    kinds = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}
    return message(
        "TensorProto",
        name=name,
        dims=values.shape,
        data_type=kinds[str(values.dtype)],
        raw_data=values.tobytes(),
    )


def value_info(name: str, shape: Sequence[int], kind: int = 1) -> Message:
    dims = [message("Dimension", dim_value=size) for size in shape]
    tensor = message("TensorType", elem_type=kind, shape=message("TensorShapeProto", dim=dims))
    return message("ValueInfoProto", name=name, type=message("TypeProto", tensor_type=tensor))


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Message:
    found = []
    for name, value in attributes.items():
        if isinstance(value, Message):
            field, kind = ("g", 5) if value.kind == "GraphProto" else ("t", 4)
        elif isinstance(value, bytes):
            field, kind = "s", 3
        elif isinstance(value, (list, tuple)):
            field, kind = "ints", 7
        else:
            field, kind = ("i", 2) if isinstance(value, int) else ("f", 1)
        found.append(message("AttributeProto", name=name, type=kind, **{field: value}))
    return message(
        "NodeProto",
        op_type=op,
        name=f"node/{op}/{outputs[0]}",
        input=inputs,
        output=outputs,
        attribute=found,
        doc_string="says nothing",
    )


def onnx_model(
    nodes: Sequence[Message],
    initializers: Sequence[Message],
    inputs: Sequence[Message],
    outputs: Sequence[Message],
    **fields: Any,
) -> bytes:
    graph = message(
        "GraphProto",
        name="graph of a test",
        node=nodes,
        initializer=initializers,
        input=inputs,
        output=outputs,
        value_info=[
            value_info(name, (1, 4, 6, 6))
            for item in nodes
            for name in item.output
            if name != outputs[0].name and item.op_type not in ("Constant", "Loop")
        ],
    )
    operators = [
        message("OperatorSetIdProto", domain=domain, version=version)
        for domain, version in (("", 17), ("ai.onnx.ml", 2))
    ]
    model = message(
        "ModelProto",
        ir_version=8,
        producer_name="a test",
        producer_version="1.2.3",
        opset_import=operators,
        graph=graph,
        **fields,
    )
    return write_protobuf(model)


def onnx_chain(names: Sequence[str], seed: int = 0, shared: bool = True) -> bytes:
    """An ``.onnx`` file that applies some of `OPERATORS` in turn."""
    generator = np.random.default_rng(seed)
    nodes: list[Message] = []
    initializers: list[Message] = []
    known: dict[str, list[str]] = {}
    current = "a/long/name/of/the/input"
    for position, name in enumerate(names):
        out = f"a/long/name/of/value_{position}"
        if name in ("conv", "depthwise"):
            groups = 1 if name == "conv" else 4
            if not (shared and name in known):
                known[name] = [f"weights_{position}", f"bias_{position}"]
                shape = (4, 4 // groups, 3, 3)
                weights = generator.normal(0, 0.3, shape).astype(np.float32)
                initializers.append(initializer(known[name][0], weights))
                initializers.append(initializer(known[name][1], np.zeros(4, np.float32)))
            nodes.append(
                node(
                    "Conv",
                    [current, *known[name]],
                    [out],
                    pads=[1] * 4,
                    strides=[1, 1],
                    dilations=[1, 1],
                    group=groups,
                    kernel_shape=[3, 3],
                )
            )
        elif name == "relu":
            nodes.append(node("Relu", [current], [out]))
        elif name == "add":
            nodes.append(node("Add", [current, "a/long/name/of/the/input"], [out]))
        elif name == "mul":
            constant = f"constant_{position}"
            tensor = initializer("", np.full(1, 0.5, np.float32))
            nodes.append(node("Constant", [], [constant], value=tensor))
            nodes.append(node("Mul", [current, constant], [out]))
        elif name == "softmax":
            nodes.append(node("Softmax", [current], [out], axis=1))
        else:
            nodes.append(
                node(
                    "AveragePool",
                    [current],
                    [out],
                    kernel_shape=[3, 3],
                    pads=[1] * 4,
                    strides=[1, 1],
                )
            )
        current = out
    nodes.append(node("Identity", [current], ["scores"]))
    shape = (1, 4, 6, 6)
    return onnx_model(
        nodes,
        initializers,
        [value_info("a/long/name/of/the/input", shape)],
        [value_info("scores", shape)],
    )


def is_portable(path: Path) -> bool:
    """Whether an `.onnx` file has no functions, and no operators but the standard's."""
    root = read_onnx(path).root
    return not root.functions and all(node.domain in ("", "ai.onnx") for node in root.graph.node)
