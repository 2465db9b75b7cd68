"""What one model file costs."""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgegolf.anatomy.onnx import dissect_onnx
from edgegolf.anatomy.parts import BIASES, WEIGHTS
from edgegolf.anatomy.tflite import dissect_tflite
from edgegolf.backends import verilog
from edgegolf.backends.c import write
from edgegolf.backends.c.compiling import DEVICES, footprint
from edgegolf.bench.bench import TIMEOUT
from edgegolf.bench.inputs import example_inputs, run_closed
from edgegolf.bench.inspect_file import inspect_file
from edgegolf.bench.memory import ProcessMemory, measure_memory
from edgegolf.circuit.flow import count_cells
from edgegolf.circuit.project import write_project
from edgegolf.emulation.cores import CORES, run_on_core
from edgegolf.errors import EdgegolfError
from edgegolf.export.c_files import random_inputs
from edgegolf.export.c_library import has_c
from edgegolf.files import read_bounded
from edgegolf.footprint.heap import heap_bytes
from edgegolf.footprint.result import (
    ACTIVATIONS,
    BLOCK_RAMS,
    C_COUNT,
    C_FLASH,
    C_RAM,
    COMPRESSED,
    COMPRESSED_UPDATE,
    CYCLES,
    FILE,
    LOADED_HEAP,
    LUTS,
    MACS,
    PEAK_RESIDENT,
    RESTING_HEAP,
    RESTING_RESIDENT,
    UPDATE,
    Cost,
)
from edgegolf.formats.model_format import model_format
from edgegolf.frontends.tflite import read_graph
from edgegolf.runtimes import TensorInfo, open_session
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.registry import find_runtime


@dataclass(frozen=True)
class Heap:
    """What a model takes of the heap in a process of its own."""

    loaded_bytes: int  # what loading added
    resting_bytes: int  # the same after the first inference, when the model waits for the next


def file_costs(path: Path) -> Iterator[Cost]:
    """What a file costs wherever it runs. Raises EdgegolfError if it is damaged."""
    facts = inspect_file(path)
    weights = weight_data(path)
    yield Cost(FILE, facts.size_bytes)
    yield Cost(COMPRESSED, facts.compressed_bytes)
    yield Cost(UPDATE, len(weights))
    yield Cost(COMPRESSED_UPDATE, min(len(zlib.compress(weights, 9)), len(weights)))
    if facts.graph.activation_peak_bytes is not None:
        yield Cost(ACTIVATIONS, facts.graph.activation_peak_bytes)
    if facts.graph.macs is not None:
        yield Cost(MACS, facts.graph.macs)


def c_costs(path: Path) -> Iterator[Cost]:
    """What a file takes as C on a Cortex-M0+; nothing where it has none, or no compiler is here.

    Instructions are counted where what emulates it is here, of what a micro:bit holds.
    """
    device = DEVICES["rp2040"]
    if shutil.which(device.compiler[0]) is None or not has_c(path):
        return
    graph, core = read_graph(path), CORES["cortex-m0"]
    taken = footprint(write(graph, "net"), device.compiler)
    yield Cost(C_FLASH, taken.flash_bytes)
    yield Cost(C_RAM, taken.ram_bytes)
    tested = write(graph, "net", random_inputs(graph.inputs[0], 2))
    with suppress(EdgegolfError):  # something is not installed, or it does not fit
        yield Cost(C_COUNT, run_on_core(core, tested).count)


def circuit_costs(path: Path) -> Iterator[Cost]:
    """What a file takes as a circuit; nothing where it has none.

    Raises:
        EdgegolfError: yosys is missing or fails.
    """
    if path.suffix != ".tflite" or verilog.unsupported(graph := read_graph(path)):
        return
    with tempfile.TemporaryDirectory() as folder:
        project = write_project(graph, path.name, Path(folder), 4)
        cells = count_cells(project, "up5k")
    yield Cost(LUTS, cells.luts)
    yield Cost(BLOCK_RAMS, cells.block_rams)
    yield Cost(CYCLES, project.machine.cycles)


def heap_costs(path: Path, runtime: str) -> Iterator[Cost]:
    """Heap that a file takes in a runtime; nothing where that cannot be counted.

    Raises:
        EdgegolfError: It does not run.
    """
    heap: Heap | None = run_in_child(measure_heap, path, runtime, timeout=TIMEOUT)
    if heap is not None:
        yield Cost(LOADED_HEAP, heap.loaded_bytes, runtime)
        yield Cost(RESTING_HEAP, heap.resting_bytes, runtime)


def resident_costs(path: Path, runtime: str) -> Iterator[Cost]:
    """Resident memory that a file adds to its runtime. Raises EdgegolfError if it does not run."""
    memory: ProcessMemory = run_in_child(measure_memory, path, runtime, "cpu", 1, timeout=TIMEOUT)
    at_rest = memory.load_rss_bytes + memory.first_inference_rss_bytes
    yield Cost(RESTING_RESIDENT, at_rest, runtime)
    yield Cost(
        PEAK_RESIDENT, max(memory.peak_rss_bytes - memory.runtime_rss_bytes, at_rest), runtime
    )


def weight_data(path: Path) -> bytes:
    """The distinct weights and biases of a file: what an update of a device has to carry."""
    dissect = dissect_tflite if model_format(path) == "tflite" else dissect_onnx
    contents = dissect(read_bounded(path), str(path)).contents
    return b"".join(dict.fromkeys(c.data for c in contents if c.role in (WEIGHTS, BIASES)))


def measure_heap(path: Path, runtime: str) -> Heap | None:
    """Load and run a model in this process, which should be a fresh one.

    Raises:
        EdgegolfError: It does not run.
    """
    find_runtime(runtime).check()  # imports it, so that the model's memory is counted alone
    before = heap_bytes()
    session = open_session(path, runtime)
    loaded = heap_bytes()

    def first_inference(infos: tuple[TensorInfo, ...]) -> tuple[int | None, int | None]:
        inputs = example_inputs(infos)
        made = heap_bytes()
        session.run(inputs)
        return made, heap_bytes()

    _, (made, after) = run_closed(session, first_inference)
    if before is None or loaded is None or made is None or after is None:
        return None
    return Heap(loaded - before, loaded - before + after - made)
