"""Memory of a process that runs a model."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from pathlib import Path

from edgegolf.bench.inputs import example_inputs, run_closed
from edgegolf.runtimes import TensorInfo, open_session
from edgegolf.runtimes.registry import find_runtime


@dataclass(frozen=True)
class ProcessMemory:
    """Resident sets in bytes; fields as in `edgegolf.bench.result.Memory`."""

    python_rss_bytes: int
    runtime_rss_bytes: int
    load_rss_bytes: int
    first_inference_rss_bytes: int
    peak_rss_bytes: int


def measure_memory(path: Path, runtime: str, provider: str, threads: int) -> ProcessMemory:
    """Run a model once in this process, which should be a fresh one, and watch its memory.

    Raises:
        EdgegolfError: The model cannot be run.
    """
    python = resident_bytes()
    find_runtime(runtime).check()
    imported = resident_bytes()
    session = open_session(path, runtime, provider, threads)
    loaded = resident_bytes()

    def first_inference(infos: tuple[TensorInfo, ...]) -> int:
        inputs = example_inputs(infos)
        before = resident_bytes()
        session.run(inputs)
        return resident_bytes() - before

    _, first = run_closed(session, first_inference)
    return ProcessMemory(
        python_rss_bytes=python,
        runtime_rss_bytes=imported - python,
        load_rss_bytes=loaded - imported,
        first_inference_rss_bytes=first,
        peak_rss_bytes=peak_resident_bytes() - python,
    )


def resident_bytes() -> int:
    """The resident set of this process.

    Linux counts lazily in `/proc/self/statm`; `smaps_rollup` walks the pages and is exact.
    """
    gc.collect()
    rolled_up = Path("/proc/self/smaps_rollup")
    if rolled_up.exists():
        return _kibibytes(rolled_up, "Rss:")
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_resident_bytes() -> int:
    """The largest resident set of this process so far.

    Linux: not `getrusage`, whose maximum includes the parent process before `exec`.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return max(_kibibytes(status, "VmHWM:"), resident_bytes())
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def _kibibytes(path: Path, field: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0
