"""The runtimes' own ways of timing a model, each to be called in a fresh process."""

from __future__ import annotations

import io
import statistics
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

from edgegolf.runtimes.chatter import without_chatter

WARM_UP_RUNS = 200


def litert_benchmark(path: Path, runs: int) -> float:
    """Median microseconds that `litert-benchmark` of the ai-edge-litert wheel finds."""
    from ai_edge_litert.tools import benchmark_litert_model as tool

    tool.round = lambda value, digits: value  # it rounds to 10 µs, as long as a small net takes
    sys.argv = [
        "litert-benchmark",
        f"--model={path}",
        f"--num_runs={runs}",
        f"--warmup_runs={WARM_UP_RUNS}",
        "--num_threads=1",
    ]
    with without_chatter(), redirect_stdout(io.StringIO()):
        results = tool.run_benchmark(tool.parse_args())
    return float(results["latency"]["median_ms"]) * 1000


def onnxruntime_loop(path: Path, runs: int) -> float:
    """Median microseconds of a plain loop around onnxruntime; it has no tool in its wheel."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for argument in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in argument.shape]
        kind = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}
        binding.bind_cpu_input(argument.name, np.random.rand(*shape).astype(kind[argument.type]))
    for output in session.get_outputs():
        binding.bind_output(output.name)
    times = []
    for _ in range(WARM_UP_RUNS + runs):
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UP_RUNS:]) * 1e6
