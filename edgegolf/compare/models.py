"""Any model file as something that is run on real numbers, and as a graph where one can be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgegolf.bench.inspect_file import inspect_file
from edgegolf.errors import EdgegolfError
from edgegolf.export.samples import Samples
from edgegolf.export.verify import as_stored
from edgegolf.formats.model_format import model_format
from edgegolf.ir.graph import Graph
from edgegolf.runtimes import Array, TensorInfo, open_session
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.classify import dequantize

BATCH_WHERE_OPEN = 32
TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True)
class Model:
    """A file, and what it says without being run.

    Attributes:
        path: Where it is.
        size_bytes: Of the file.
        parameters: Weights and biases, None if unknown; so are the next.
        macs: Multiply-accumulates of one run.
        activation_peak_bytes: Largest total size of the tensors alive at one time.
        inputs: In real numbers; images have their channels last.
        ranges: For each input the real numbers that it can hold, None where it is not quantized.
        graph: What it computes; None if that cannot be told.
        why_no_graph: Why it cannot; empty if it can.
    """

    path: Path
    size_bytes: int
    parameters: int | None
    macs: int | None
    activation_peak_bytes: int | None
    inputs: tuple[TensorInfo, ...]
    ranges: tuple[tuple[float, float] | None, ...]
    graph: Graph | None
    why_no_graph: str

    def outputs(self, arrays: Sequence[Array]) -> list[Array]:
        """What its runtime gives for samples, float32 [n, …] each.

        Raises:
            EdgegolfError: The runtime is missing, refuses the file, or crashes.
        """
        if self.path.suffix == ".keras":
            return _run_keras(self.path, arrays)
        return run_in_child(_run_file, self.path, list(arrays), timeout=TIMEOUT_SECONDS)


def open_model(path: Path) -> Model:
    """Read a `.tflite`, `.onnx` or `.keras` file.

    Raises:
        EdgegolfError: It is none, cannot be read, or the runtime for it is missing.
    """
    if path.suffix == ".keras":
        return _open_keras(path)
    kind = model_format(path)
    facts = inspect_file(path)
    infos = run_in_child(_input_infos, path, timeout=TIMEOUT_SECONDS)
    graph, why = None, ""
    try:
        graph = _read_graph(path, kind)
    except EdgegolfError as error:
        why = error.message
    return Model(
        path,
        facts.size_bytes,
        facts.graph.parameters,
        facts.graph.macs,
        facts.graph.activation_peak_bytes,
        tuple(map(_in_reals, infos)),
        tuple(map(_range, infos)),
        graph,
        why,
    )


def _read_graph(path: Path, kind: str) -> Graph:
    if kind != "tflite":
        raise EdgegolfError(f"layers of {path.suffix} files are not read")
    from edgegolf.frontends.tflite import read_graph

    return read_graph(path)


def _open_keras(path: Path) -> Model:
    from edgegolf.export.model import load_model
    from edgegolf.frontends.keras import read_model

    model: Any = load_model(path)
    graph, why = None, ""
    try:
        graph = read_model(model)
    except EdgegolfError as error:
        why = error.message
    infos = tuple(TensorInfo(t.name, tuple(t.shape), t.dtype) for t in model.inputs)
    return Model(
        path,
        path.stat().st_size,
        model.count_params(),
        graph.macs if graph else None,
        graph.peak_bytes if graph else None,
        infos,
        (None,) * len(infos),
        graph,
        why,
    )


def _run_keras(path: Path, arrays: Sequence[Array]) -> list[Array]:
    from edgegolf.export.keras_source import predict
    from edgegolf.export.model import load_model

    return predict(load_model(path), Samples(tuple(arrays)))


# ------------------------------------------------------------------------- in a child process


def _input_infos(path: Path) -> tuple[TensorInfo, ...]:
    with open_session(path) as session:
        return session.inputs


def _run_file(path: Path, arrays: Sequence[Array]) -> list[Array]:
    count = len(arrays[0])
    with open_session(path) as session:
        sizes = [info.shape[0] if info.shape else None for info in session.inputs]
        batch = next((size for size in sizes if size), BATCH_WHERE_OPEN)
        parts = []
        for start in range(0, count, batch):
            chosen = np.minimum(np.arange(start, start + batch), count - 1)
            inputs = [
                as_stored(laid_out(values[chosen], info.example_shape), info)
                for values, info in zip(arrays, session.inputs, strict=True)
            ]
            parts.append(session.run(inputs))
        infos = session.outputs
    joined = (np.concatenate(list(each)) for each in zip(*parts, strict=True))
    return [dequantize(a, info)[:count] for a, info in zip(joined, infos, strict=True)]


# ------------------------------------------------------------------------------ their inputs


def laid_out(values: Array, shape: Sequence[int]) -> Array:
    """Images with their channels first, where a file takes them so."""
    expected, found = tuple(shape[1:]), values.shape[1:]
    if len(found) == 3 and expected != found and expected == (found[2], *found[:2]):
        return values.transpose(0, 3, 1, 2)
    return values


def input_order(first: Model, second: Model) -> list[int]:
    """For each input of the second model, which one of the first it is: by name, else in order.

    Raises:
        EdgegolfError: Their numbers or shapes differ.
    """
    names, others = ([_bare(i.name) for i in model.inputs] for model in (first, second))
    if len(names) != len(others):
        raise EdgegolfError(
            f"{first.path} takes {len(names)} inputs, {second.path} takes {len(others)}"
        )
    if not names:
        raise EdgegolfError(f"{first.path} takes no inputs: there is nothing to run it on")
    by_name = len({*names}) == len(names) and sorted(names) == sorted(others)
    order = [names.index(name) for name in others] if by_name else list(range(len(names)))
    for position, index in enumerate(order):
        one, other = first.inputs[index], second.inputs[position]
        if one.example_shape[1:] != other.example_shape[1:]:
            raise EdgegolfError(
                f"{first.path} takes {one}, {second.path} takes {other}",
                hint="compare two files of the same network",
            )
    return order


def _bare(name: str) -> str:
    return re.sub(r"\W", "_", name.removeprefix("serving_default_").removesuffix(":0"))


def _in_reals(info: TensorInfo) -> TensorInfo:
    """An input as whoever fills it with real numbers sees it, channels last."""
    shape = info.shape
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        shape = (shape[0], shape[2], shape[3], shape[1])
    dtype = "float32" if info.scale else info.dtype
    return replace(info, shape=shape, dtype=dtype, scale=(), zero_point=())


def _range(info: TensorInfo) -> tuple[float, float] | None:
    if not info.scale:
        return None
    limits = np.iinfo(info.dtype)
    scale, zero = info.scale[0], info.zero_point[0]
    return (int(limits.min) - zero) * scale, (int(limits.max) - zero) * scale
