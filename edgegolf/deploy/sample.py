"""A few inferences, the same here and on the device, and how far the outputs are apart."""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgegolf.bench.inputs import run_closed, smooth_inputs
from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import Array, Session, TensorInfo, open_session

SAMPLES = 8
MAXIMUM_ELEMENTS = 1 << 21  # of the inputs and outputs of all inferences
# Of how much the outputs vary from input to input, both as root mean squares. Fast int8 kernels of
# different processors and runtimes round differently, which adds up over the layers. The tests
# hold all committed files against it: in tests/deploy/test_comparison.py each net's against those
# of all others, in tests/arm/test_results.py each file's on ARM against that here.
LARGEST_DIFFERENCE = 0.6
_LEAST_STEPS = 2.0  # that integer outputs are taken to vary
_LEAST_SHARE = 1e-5  # of the largest output, that real outputs are taken to vary


@dataclass(frozen=True)
class Sample:
    """Several inferences: the runtime they ran in, and the inputs and outputs of all.

    The first axis of each array counts the inferences.
    """

    runtime: str
    inputs: list[Array]
    outputs: list[Array]


def take_sample(path: Path, runtime: str | None, inputs: list[Array] | None) -> Sample:
    """Run a model several times.

    Args:
        path: The model file.
        runtime: None is the preferred one that is installed.
        inputs: None makes some up, always the same.

    Raises:
        EdgegolfError: It does not run.
    """
    with open_session(path, runtime) as session:
        if inputs:
            arrays, outputs = inputs, _run(session, inputs)
        else:
            _, (arrays, outputs) = run_closed(session, partial(_run_made_up, session))
        if any(output.dtype.kind not in "fiub" for output in outputs):
            raise EdgegolfError(f"{path} gives outputs that are no numbers")
        return Sample(session.runtime, arrays, outputs)


def _run(session: Session, inputs: list[Array]) -> list[Array]:
    return _stacked(session.run(list(each)) for each in zip(*inputs, strict=True))


def _run_made_up(
    session: Session, infos: tuple[TensorInfo, ...]
) -> tuple[list[Array], list[Array]]:
    """Inputs and outputs of several inferences, fewer where they are large."""
    elements = sum(math.prod(info.example_shape) for info in (*infos, *session.outputs))
    count = max(2, min(SAMPLES, MAXIMUM_ELEMENTS // max(elements, 1)))
    inputs = _stacked(smooth_inputs(infos, seed) for seed in range(count))
    return inputs, _run(session, inputs)


def _stacked(runs: Iterable[list[Array]]) -> list[Array]:
    return [np.stack(arrays) for arrays in zip(*runs, strict=True)]


def difference(here: list[Array], there: list[bytes]) -> float:
    """How far two runs' outputs are apart, as a fraction of how much they vary with the input here.

    Args:
        here: The outputs of this machine.
        there: The bytes of the other's.

    Raises:
        EdgegolfError: The other gave something else than such outputs.
    """
    if [array.nbytes for array in here] != [len(data) for data in there]:
        raise EdgegolfError("the outputs there have other sizes than here")
    return max(
        (
            _relative_difference(array, np.frombuffer(data, array.dtype).reshape(array.shape))
            for array, data in zip(here, there, strict=True)
        ),
        default=0.0,
    )


def _relative_difference(here: Array, there: Array) -> float:
    if here.tobytes() == there.tobytes():
        return 0.0
    if here.dtype.kind == "f" and not np.isfinite(there).all():
        return float("inf")
    ours, theirs = here.astype(np.float64), there.astype(np.float64)
    least = _LEAST_SHARE * np.abs(ours).max() if here.dtype.kind == "f" else _LEAST_STEPS
    variation = max(_root_mean_square(ours - ours.mean(axis=0)), least)
    return _root_mean_square(ours - theirs) / variation if variation else float("inf")


def _root_mean_square(numbers: Array) -> float:
    return float(np.sqrt(np.square(numbers).mean()))


def encode(arrays: list[Array]) -> list[dict[str, object]]:
    """Arrays as JSON values."""
    return [
        {"dtype": array.dtype.name, "shape": array.shape, "data": _text(array)} for array in arrays
    ]


def _text(array: Array) -> str:
    return base64.b64encode(array.tobytes()).decode()


def main() -> None:
    """On the device: the file's name there, the runtime and the inputs come as JSON."""
    request = json.load(sys.stdin)
    inputs = [
        np.frombuffer(base64.b64decode(item["data"]), item["dtype"]).reshape(item["shape"])
        for item in request["inputs"]
    ]
    try:
        sample = take_sample(Path(request["file"]), request["runtime"], inputs)
    except EdgegolfError as error:
        json.dump({"error": error.message, "hint": error.hint}, sys.stdout)
        return
    json.dump({"runtime": sample.runtime, "outputs": list(map(_text, sample.outputs))}, sys.stdout)


if __name__ == "__main__":
    main()
