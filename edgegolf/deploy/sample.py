"""One inference on given inputs, here and on the device, and how far the outputs are apart."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgegolf.bench.inputs import example_inputs
from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import Array, open_session

# Of the span of the outputs. Kernels of different processors round differently, which in int8 is
# a step of 255 in each layer: with tflite-runtime's it adds up to 0.17 in TightResNet, on random
# inputs. A wrong answer is much farther off.
LARGEST_DIFFERENCE = 0.25


@dataclass(frozen=True)
class Sample:
    """An inference: the runtime it ran in, the inputs and the outputs."""

    runtime: str
    inputs: list[Array]
    outputs: list[Array]


def take_sample(path: Path, runtime: str | None, inputs: list[Array] | None) -> Sample:
    """Run a model once.

    Args:
        path: The model file.
        runtime: None is the preferred one that is installed.
        inputs: None makes some up, always the same.

    Raises:
        EdgegolfError: It does not run.
    """
    with open_session(path, runtime) as session:
        arrays = example_inputs(session.inputs) if inputs is None else inputs
        outputs = session.run(arrays)
        if any(output.dtype.kind not in "fiub" for output in outputs):
            raise EdgegolfError(f"{path} gives outputs that are no numbers")
        return Sample(session.runtime, arrays, outputs)


def difference(here: list[Array], there: list[bytes]) -> float:
    """The largest difference of two runs' outputs, as a fraction of their span here.

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
    span = float(np.ptp(ours)) or float(np.abs(ours).max()) or 1.0
    return float(np.abs(ours - theirs).max()) / span


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
