"""TFLite files of one operator, and their results in LiteRT's reference kernels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgegolf.formats.tflite.flatbuffer import Table, table
from edgegolf.formats.tflite.model import write_tflite
from edgegolf.formats.tflite.schema import number
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir.interpreter import run
from edgegolf.runtimes import open_session


@dataclass(frozen=True)
class Tensor:
    """A tensor of a test's file; with data it is a constant."""

    shape: tuple[int, ...]
    type: str
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis: int = 0
    data: np.ndarray | None = None


def constant(data: np.ndarray, **quantization) -> Tensor:
    return Tensor(data.shape, data.dtype.name.upper(), data=data, **quantization)


def operator(code: int, inputs: list[int], outputs: list[int], options: Table | None) -> Table:
    return table(
        "Operator", opcode_index=code, inputs=inputs, outputs=outputs, builtin_options=options
    )


def subgraph(
    tensors: list[Tensor],
    inputs: list[int],
    outputs: list[int],
    operators: list[Table],
    buffers: list[Table],
) -> Table:
    """A subgraph whose constants are appended to the buffers."""
    tables = []
    for index, tensor in enumerate(tensors):
        if tensor.data is not None:
            buffers.append(table("Buffer", data=tensor.data.tobytes()))
        quantization = table(
            "QuantizationParameters",
            scale=tensor.scale,
            zero_point=tensor.zero_point,
            quantized_dimension=tensor.axis,
        )
        tables.append(
            table(
                "Tensor",
                shape=tensor.shape,
                type=number("TensorType", tensor.type),
                buffer=0 if tensor.data is None else len(buffers) - 1,
                name=f"tensor{index}",
                quantization=quantization if tensor.scale else None,
            )
        )
    return table("SubGraph", tensors=tables, inputs=inputs, outputs=outputs, operators=operators)


def model(names: list[str], subgraphs: list[Table], buffers: list[Table]) -> bytes:
    codes = [number("BuiltinOperator", name) for name in names]
    return write_tflite(
        table(
            "Model",
            version=3,
            operator_codes=[
                table("OperatorCode", deprecated_builtin_code=min(code, 127), builtin_code=code)
                for code in codes
            ],
            subgraphs=subgraphs,
            buffers=buffers,
        )
    )


def one_operator(
    name: str, inputs: list[Tensor], outputs: list[Tensor], options: Table | None = None
) -> bytes:
    tensors = [*inputs, *outputs]
    count = len(inputs)
    buffers = [table("Buffer")]
    graph = subgraph(
        tensors,
        [index for index, tensor in enumerate(inputs) if tensor.data is None],
        list(range(count, len(tensors))),
        [operator(0, list(range(count)), list(range(count, len(tensors))), options)],
        buffers,
    )
    return model([name], [graph], buffers)


def images_for(inputs: list[Tensor], count: int, seed: int) -> list[np.ndarray]:
    """Random inputs, with the extreme ones among them."""
    generator = np.random.default_rng(seed)
    arrays = []
    for tensor in inputs:
        if tensor.data is not None:
            continue
        shape = (count, *tensor.shape[1:])
        if tensor.type == "FLOAT32":
            arrays.append(generator.normal(0, 3, shape).astype(np.float32))
            continue
        limits = np.iinfo(tensor.type.lower())
        array = generator.integers(limits.min, limits.max + 1, shape).astype(tensor.type.lower())
        array[0], array[-1] = limits.min, limits.max
        arrays.append(array)
    return arrays


def litert(path: Path, images: list[np.ndarray]) -> list[np.ndarray]:
    """Results of LiteRT's reference kernels, one image after another."""
    with open_session(path, "litert-reference") as session:
        runs = [
            session.run([array[index : index + 1] for array in images])
            for index in range(len(images[0]))
        ]
    return [np.concatenate(outputs) for outputs in zip(*runs, strict=True)]


def assert_equal(path: Path, images: list[np.ndarray]) -> None:
    """Bit-equality for integers, 1e-5 for reals."""
    expected, found = litert(path, images), run(read_graph(path), images)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        if ours.dtype.kind == "f":
            scale = max(1.0, float(np.abs(theirs).max(initial=0)))
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * scale)
        else:
            np.testing.assert_array_equal(ours, theirs)


def check_operator(
    folder: Path,
    name: str,
    inputs: list[Tensor],
    outputs: list[Tensor],
    options: Table | None = None,
    seed: int = 0,
    count: int = 32,
) -> None:
    path = folder / "one.tflite"
    path.write_bytes(one_operator(name, inputs, outputs, options))
    assert_equal(path, images_for(inputs, count, seed))
