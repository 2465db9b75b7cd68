"""Compares the median latency of `edgegolf bench` with what the runtime's own tool finds.

    python benchmarks/fidelity.py models/mnist/tight_resnet/*.tflite

Both run in fresh processes in turn, several times; of each the round with the smallest median, the
least disturbed one, counts. What each takes for a model that does nothing, the cost of calling the
runtime, is printed first and subtracted: the tools call other interfaces than bench. Ends with exit
code 1 if the rest is more than 10 % apart for a file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onnx import TensorProto
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
)
from runtime_tools import litert_benchmark, onnxruntime_loop

from edgegolf.bench.latency import measure_latency
from edgegolf.formats.tflite.flatbuffer import table
from edgegolf.formats.tflite.model import write_tflite
from edgegolf.progress import track
from edgegolf.runtimes.child import run_in_child

SECONDS = 0.5
WARM_UP_SECONDS = 0.2
TOLERANCE = 0.10
MOST_RUNS = 20_000  # an empty model would run a million times
IR_VERSION, OPSET = 8, 13  # any that all runtimes know
TOOLS: dict[str, tuple[str, Callable[[Path, int], float]]] = {
    ".tflite": ("litert", litert_benchmark),
    ".onnx": ("onnxruntime", onnxruntime_loop),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=15, help="how often each side runs")
    arguments = parser.parse_args()
    print(f"{'bench, µs':>10} {'tool, µs':>10} {'ratio':>6}  file, tool")
    with tempfile.TemporaryDirectory() as folder:
        empty = {
            suffix: compare(write_empty(Path(folder) / f"empty{suffix}"), arguments.rounds)
            for suffix in sorted({path.suffix for path in arguments.files})
        }
    ratios = [compare(path, arguments.rounds, empty[path.suffix]) for path in arguments.files]
    sys.exit(any(abs(ratio.ratio - 1) > TOLERANCE for ratio in ratios))


@dataclass(frozen=True)
class Compared:
    """Microseconds of an inference that bench and the runtime's tool find."""

    bench: float
    tool: float

    @property
    def ratio(self) -> float:
        """Of bench's to the tool's."""
        return self.bench / self.tool


def write_empty(path: Path) -> Path:
    """Write a model whose output is its input, one float32."""
    if path.suffix == ".onnx":
        values = [make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
        graph = make_graph([make_node("Identity", ["x"], ["y"])], "empty", values[:1], values[1:])
        content = make_model(
            graph, ir_version=IR_VERSION, opset_imports=[make_opsetid("", OPSET)]
        ).SerializeToString()
    else:
        tensor = table("Tensor", shape=(1,), buffer=0, name="x")
        subgraph = table("SubGraph", tensors=(tensor,), inputs=(0,), outputs=(0,), operators=())
        content = write_tflite(
            table(
                "Model",
                version=3,
                operator_codes=(),
                subgraphs=(subgraph,),
                buffers=(table("Buffer"),),
            )
        )
    path.write_bytes(content)
    return path


def compare(path: Path, rounds: int, empty: Compared | None = None) -> Compared:
    """Print one line for a file: the smallest medians, and the ratio of what exceeds `empty`."""
    runtime, tool = TOOLS[path.suffix]
    ours, theirs = [], []
    for _ in track(range(rounds), str(path)):
        timed = run_in_child(
            measure_latency, path, runtime, "cpu", 1, SECONDS, WARM_UP_SECONDS, None
        )
        ours.append(timed.latency.p50)
        theirs.append(run_in_child(tool, path, min(timed.latency.samples, MOST_RUNS)))
    result = Compared(min(ours), min(theirs))
    if empty is not None:
        result = Compared(result.bench - empty.bench, result.tool - empty.tool)
    shown = f"{result.ratio:6.3f}" if empty is not None else " " * 6
    print(f"{min(ours):10.2f} {min(theirs):10.2f} {shown}  {path}, {tool.__name__}", flush=True)
    return result


if __name__ == "__main__":
    main()
