"""Evaluates a `.tflite` file with NumPy, many images at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.golf.flatbuffer import Table
from edgegolf.golf.reference.call import MAXIMUM_ELEMENTS, Array, Call, Operand, TensorType
from edgegolf.golf.reference.kernels import KERNELS
from edgegolf.golf.tflite_model import TfliteModel, read_tflite, type_name

_DTYPES = {
    "FLOAT32": "float32",
    "FLOAT16": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}

#: Operators executed for one run, beyond which a loop is taken for endless.
MAXIMUM_STEPS = 10_000

# Elements of the largest activation that are held for all images of a run together.
_CHUNK_ELEMENTS = 2**18


def evaluate(path: Path, images: Sequence[Array]) -> list[Array]:
    """What a TFLite file computes, bit-identical to LiteRT's reference kernels for int8.

    Written after the definitions of the operators, with no code of any runtime, so that an
    agreement with one says something. float32 results agree up to the order of additions.

    Args:
        path: A `.tflite` file.
        images: For each input of the file an array of its type, `[n, …]`: the file's batch, as
            a rule 1, may be there any number of times.

    Returns:
        For each output an array `[n, …]`.

    Raises:
        EdgegolfError: The file cannot be read, uses an operator or type that is not covered, or
            cannot take such images.
    """
    model = read_tflite(path)
    try:
        subgraphs = tuple(_prepare(model, subgraph) for subgraph in model.root.subgraphs)
        if not subgraphs:
            raise EdgegolfError("it has no graph")
        prepared = _per_run(subgraphs[0], images)
        runs = len(prepared[0]) if prepared else 1
        largest = max((prod(t.shape) for g in subgraphs for t in g.types), default=1)
        chunk = max(1, _CHUNK_ELEMENTS // max(1, largest))
        parts = [
            _Evaluation(subgraphs, min(chunk, runs - start)).outputs(
                [array[start : start + chunk] for array in prepared]
            )
            for start in range(0, runs, chunk)
        ]
    except EdgegolfError as error:
        raise EdgegolfError(f"{path}: {error.message}", error.hint) from None
    joined = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return [a.reshape(-1, *a.shape[2:]) if a.ndim > 1 else a for a in joined]


@dataclass(frozen=True)
class _Operator:
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table


@dataclass(frozen=True)
class _Subgraph:
    types: tuple[TensorType, ...]
    constants: dict[int, Array]
    operators: tuple[_Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Evaluation:
    """One run over some images."""

    def __init__(self, subgraphs: tuple[_Subgraph, ...], images: int) -> None:
        self.subgraphs = subgraphs
        self.images = images
        self.steps = 0

    def outputs(self, arrays: list[Array]) -> list[Array]:
        """The results of the main graph, one for each image even where they are constant."""
        results = self.run(0, arrays)
        return [np.broadcast_to(array, (self.images, *array.shape[1:])) for array in results]

    def run(self, index: int, arrays: Sequence[Array]) -> list[Array]:
        """The results of a subgraph."""
        subgraph = self.subgraphs[index]
        if len(arrays) != len(subgraph.inputs):
            raise EdgegolfError(f"subgraph {index} takes {len(subgraph.inputs)} inputs")
        values = {**subgraph.constants, **dict(zip(subgraph.inputs, arrays, strict=True))}
        for operator in subgraph.operators:
            self.steps += 1
            if self.steps > MAXIMUM_STEPS:
                raise EdgegolfError(f"it has not ended after {MAXIMUM_STEPS:,} operators")
            results = self.execute(subgraph, operator, values)
            if len(results) != len(operator.outputs):
                raise EdgegolfError(
                    f"{operator.name} does not have {len(operator.outputs)} outputs"
                )
            values.update(zip(operator.outputs, results, strict=True))
        return [_value(values, tensor) for tensor in subgraph.outputs]

    def execute(
        self, subgraph: _Subgraph, operator: _Operator, values: dict[int, Array]
    ) -> list[Array]:
        """The results of one operator."""
        if operator.name == "WHILE":
            return self.loop(operator, [_value(values, tensor) for tensor in operator.inputs])
        kernel, _ = KERNELS[operator.name]
        call = Call(
            operator.name,
            tuple(
                None if tensor < 0 else Operand(_value(values, tensor), subgraph.types[tensor])
                for tensor in operator.inputs
            ),
            tuple(subgraph.types[tensor] for tensor in operator.outputs),
            operator.options,
        )
        try:
            with np.errstate(all="ignore"):
                results = kernel(call)
            if any(len(result) not in (1, self.images) for result in results):
                raise EdgegolfError(f"{operator.name} mixes images")
            return results
        except EdgegolfError:
            raise
        except Exception as error:  # shapes and numbers that contradict each other
            raise EdgegolfError(f"{operator.name} cannot be evaluated: {error}") from None

    def loop(self, operator: _Operator, state: list[Array]) -> list[Array]:
        """WHILE: all images take the same number of turns."""
        options = operator.options
        try:
            while True:
                (condition,) = self.run(options.cond_subgraph_index, state)
                if (condition != condition.flat[0]).any():
                    raise EdgegolfError("the NumPy evaluation has no WHILE that differs by image")
                if not condition.flat[0]:
                    return state
                state = self.run(options.body_subgraph_index, state)
        except (RecursionError, ValueError, IndexError):
            raise EdgegolfError("it calls itself, or a WHILE has no single condition") from None


def _value(values: dict[int, Array], tensor: int) -> Array:
    if tensor not in values:
        raise EdgegolfError(f"tensor {tensor} is read before it is written")
    return values[tensor]


def _per_run(main: _Subgraph, images: Sequence[Array]) -> list[Array]:
    """The images, `[runs, *shape in the file]`."""
    if len(images) != len(main.inputs):
        raise EdgegolfError(f"it takes {len(main.inputs)} inputs, not {len(images)}")
    prepared = []
    for tensor, array in zip(main.inputs, images, strict=True):
        kind = main.types[tensor]
        if array.dtype.name != kind.dtype:
            raise EdgegolfError(f"it takes {kind.dtype}, not {array.dtype.name}")
        per_run, whole = prod(kind.shape), array.size
        if array.shape[1:] != kind.shape[1:] or not whole or whole % per_run:
            raise EdgegolfError(f"it takes {list(kind.shape)}, which {array.shape} does not give")
        prepared.append(array.reshape(-1, *kind.shape))
    if len(set(map(len, prepared))) > 1:
        raise EdgegolfError("its inputs have different numbers of images")
    return prepared


def _prepare(model: TfliteModel, subgraph: Table) -> _Subgraph:
    types = tuple(map(_tensor_type, subgraph.tensors))
    constants = {
        index: _constant(model, tensor, kind)
        for index, (tensor, kind) in enumerate(zip(subgraph.tensors, types, strict=True))
        if model.buffer_data(tensor.buffer) or 0 in kind.shape
    }
    operators = tuple(_operator(model, operator) for operator in subgraph.operators)
    return _Subgraph(types, constants, operators, subgraph.inputs, subgraph.outputs)


def _tensor_type(tensor: Table) -> TensorType:
    name = type_name(tensor)
    if name not in _DTYPES or tensor.sparsity or tensor.is_variable:
        what = "sparse" if tensor.sparsity else "variable" if tensor.is_variable else name
        raise EdgegolfError(f"the NumPy evaluation has no {what} tensors")
    if any(size < 0 for size in tensor.shape) or prod(tensor.shape) > MAXIMUM_ELEMENTS:
        raise EdgegolfError(f"a tensor has the impossible shape {list(tensor.shape)}")
    quantization = tensor.quantization
    if quantization is None:
        return TensorType(_DTYPES[name], tensor.shape, np.zeros(0, np.float32), np.zeros(0), 0)
    if quantization.details is not None:
        raise EdgegolfError("the NumPy evaluation has no custom or blockwise quantization")
    scale = np.array(quantization.scale, np.float32)
    zero_point = np.array(quantization.zero_point, np.int64)
    return TensorType(
        _DTYPES[name], tensor.shape, scale, zero_point, quantization.quantized_dimension
    )


def _constant(model: TfliteModel, tensor: Table, kind: TensorType) -> Array:
    data = model.buffer_data(tensor.buffer)
    dtype = np.dtype(kind.dtype).newbyteorder("<")
    if len(data) != dtype.itemsize * prod(kind.shape):
        raise EdgegolfError(f"a constant of shape {list(kind.shape)} has {len(data)} bytes")
    return np.frombuffer(data, dtype).astype(kind.dtype).reshape(1, *kind.shape)


def _operator(model: TfliteModel, operator: Table) -> _Operator:
    name = model.operator_name(operator)
    if name != "WHILE" and name not in KERNELS:
        raise EdgegolfError(f"the NumPy evaluation does not have the operator {name}")
    expected = "WhileOptions" if name == "WHILE" else KERNELS[name][1]
    options = operator.builtin_options or Table(expected, {})
    if expected and options.table_name != expected:
        raise EdgegolfError(f"{name} has options of another operator, {options.table_name}")
    return _Operator(name, operator.inputs, operator.outputs, options)
