"""Any model file as something that is run on real numbers, and as a graph where one can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgegolf.bench.inspect_file import inspect_file
from edgegolf.errors import EdgegolfError
from edgegolf.export.model_source import Compiled
from edgegolf.export.samples import Samples
from edgegolf.export.sources import plain_name
from edgegolf.export.verify import output_positions, run_file
from edgegolf.files import read_bounded
from edgegolf.formats.model_format import model_format
from edgegolf.runtimes import Array, TensorInfo, open_session
from edgegolf.runtimes.child import patience
from edgegolf.runtimes.worker import run_in_fork

TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True)
class Model:
    """A file, and what it says without being run."""

    path: Path  # where it is
    size_bytes: int  # of the file
    parameters: int | None  # weights and biases, None if unknown; so are the next
    macs: int | None  # multiply-accumulates of one run
    activation_peak_bytes: int | None  # largest total size of the tensors alive at one time
    # In real numbers and in the graph's layout, where there is one: images have their channels
    # last.
    inputs: tuple[TensorInfo, ...]
    # For each input the real numbers that it can hold, None where it is not quantized.
    ranges: tuple[tuple[float, float] | None, ...]
    compiled: Compiled | None  # what it computes; None if that cannot be told
    why_no_graph: str  # why it cannot; empty if it can

    def outputs(self, arrays: Sequence[Array]) -> list[Array]:
        """What its runtime gives for samples, float32 [n, …] each, in the layout of `inputs`.

        Raises:
            EdgegolfError: The runtime is missing, refuses the file, or crashes.
        """
        samples = Samples(tuple(arrays))
        if self.path.suffix == ".keras":
            return _run_keras(self.path, samples)
        file = None if self.compiled is None else self.compiled.reversed
        given = samples if file is None else file.given(samples)
        one = given.take(1)  # of which a loop without end is known soon
        run_in_fork(run_file, self.path, None, one, busy=patience(self.path))
        found = run_in_fork(run_file, self.path, None, given, timeout=TIMEOUT_SECONDS)
        return found if file is None else file.answers(found)


def open_model(path: Path) -> Model:
    """Read a `.tflite`, `.onnx` or `.keras` file.

    Raises:
        EdgegolfError: It is none, cannot be read, or the runtime for it is missing.
    """
    if path.suffix == ".keras":
        return _open_keras(path)
    kind = model_format(path)
    facts = inspect_file(path)
    infos, outputs = run_in_fork(_infos, path, timeout=TIMEOUT_SECONDS)
    compiled, why = None, ""
    try:
        compiled = _compiled(path, kind, outputs)
    except EdgegolfError as error:
        why = error.message
    return Model(
        path,
        facts.size_bytes,
        facts.graph.parameters,
        facts.graph.macs,
        facts.graph.activation_peak_bytes,
        _in_reals(infos, compiled),
        tuple(map(_range, infos)),
        compiled,
        why,
    )


def _compiled(path: Path, kind: str, outputs: Sequence[TensorInfo]) -> Compiled:
    if kind == "onnx":
        from edgegolf.frontends.onnx import read_graph as read_onnx

        read = read_onnx(read_bounded(path), str(path), folder=path.parent)
        return Compiled(read.graph, read.inputs, read.outputs)
    from edgegolf.frontends.tflite import read_graph

    graph = read_graph(path)
    ordered = tuple(graph.outputs[index] for index in output_positions(outputs))
    return Compiled.as_it_is(replace(graph, outputs=ordered))


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
        None if graph is None else Compiled.as_it_is(graph),
        why,
    )


def _run_keras(path: Path, samples: Samples) -> list[Array]:
    from edgegolf.export.keras_source import flat, predict
    from edgegolf.export.model import load_model

    return predict(flat(load_model(path)), samples)


def _infos(path: Path) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """The inputs and outputs of a file, in a child process."""
    with open_session(path) as session:
        return session.inputs, session.outputs


# ------------------------------------------------------------------------------ their inputs


def input_order(first: Model, second: Model) -> list[int]:
    """For each input of the second model, which one of the first it is: by name, else in order.

    Raises:
        EdgegolfError: Their numbers or shapes differ.
    """
    names, others = ([plain_name(i.name) for i in model.inputs] for model in (first, second))
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


def _in_reals(infos: Sequence[TensorInfo], compiled: Compiled | None) -> tuple[TensorInfo, ...]:
    """Inputs as whoever fills them with real numbers sees them, in the graph's layout.

    Without a graph, what has its channels first is told by their number.
    """
    found = []
    for index, info in enumerate(infos):
        shape = info.shape
        if compiled is not None:
            shape = tuple(shape[axis] for axis in compiled.inputs[index] or range(len(shape)))
        elif len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
            shape = (shape[0], shape[2], shape[3], shape[1])
        dtype = "float32" if info.scale else info.dtype
        found.append(replace(info, shape=shape, dtype=dtype, scale=(), zero_point=()))
    return tuple(found)


def _range(info: TensorInfo) -> tuple[float, float] | None:
    if not info.scale:
        return None
    limits = np.iinfo(info.dtype)
    scale, zero = info.scale[0], info.zero_point[0]
    return (int(limits.min) - zero) * scale, (int(limits.max) - zero) * scale
