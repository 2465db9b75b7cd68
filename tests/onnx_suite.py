"""The models that the ``onnx`` package ships to test runtimes with, and what onnxruntime says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from edgegolf.frontends.onnx import Read
from edgegolf.ir.interpreter import run


class Case(NamedTuple):
    """A model with one set of inputs and the outputs that belong to it."""

    name: str
    model: onnx.ModelProto
    inputs: list[object]
    outputs: list[object]


def suite() -> Iterator[Case]:
    """About 2,000 models: one or more for each operator, and whole nets."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.random.seed(0)
        for case in collect_testcases(None):
            inputs, outputs = case.data_sets[0]
            yield Case(case.name, case.model, list(inputs), list(outputs))
    for path in sorted((Path(onnx.__file__).parent / "backend/test/data").glob("*/*/model.onnx")):
        model = onnx.load(path)
        folder = path.parent / "test_data_set_0"
        inputs = [_value(folder / f"input_{i}.pb", v) for i, v in enumerate(model.graph.input)]
        outputs = [_value(folder / f"output_{i}.pb", v) for i, v in enumerate(model.graph.output)]
        yield Case(path.parent.name, model, inputs, outputs)


def in_interpreter(found: Read, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """What the graph gives, in the layouts of the file."""
    given = [
        np.ascontiguousarray(array.transpose(order))
        for array, order in zip(arrays, found.inputs, strict=True)
    ]
    results = run(found.graph, given)
    return [
        result.transpose(np.argsort(order))
        for result, order in zip(results, found.outputs, strict=True)
    ]


def _value(path: Path, info: onnx.ValueInfoProto) -> object:
    if not path.exists() or not info.type.HasField("tensor_type"):
        return None
    return onnx.numpy_helper.to_array(onnx.load_tensor(path))


def measured_types(case: Case) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of all values of the main graph that a run has, by name.

    Of values that onnxruntime cannot compute, the shapes of the outputs in the suite.
    """
    import onnxruntime

    outputs = [info.name for info in case.model.graph.output]
    known = dict(zip(outputs, case.outputs, strict=False))
    names = list(dict.fromkeys(n for node in case.model.graph.node for n in node.output if n))
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in outputs
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        wanted = [info.name for info in session.get_inputs()]
        given = dict(zip((info.name for info in case.model.graph.input), case.inputs, strict=False))
        found = session.run(None, {name: given[name] for name in wanted if given[name] is not None})
        known |= dict(zip((info.name for info in session.get_outputs()), found, strict=True))
    except Exception:  # whatever onnxruntime says: it does not run this one
        pass
    return {
        name: (value.shape, str(value.dtype))
        for name, value in known.items()
        if isinstance(value, np.ndarray)
    }
