"""The folder of a circuit: sources, golden vectors, and a Makefile that needs no edgegolf."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgegolf.backends import verilog
from edgegolf.data import DatasetUnavailableError, load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.files import write_atomically
from edgegolf.ir import Graph
from edgegolf.ir.tensor import Array
from edgegolf.runtimes.classify import quantize
from edgegolf.runtimes.session import TensorInfo

GOLDEN = 4  # images in vectors.bin
BLOCK_RAMS = 30  # of a UP5K


@dataclass(frozen=True)
class Project:
    """A circuit and what it was made from."""

    folder: Path  # where its files are
    graph: Graph  # what it computes
    machine: verilog.Machine  # its numbers
    images: str  # where the images of its vectors are from


def write_project(
    graph: Graph, title: str, folder: Path, lanes: int, images: str = "", weights: str = "rom",
    for_up5k: bool = False,
) -> Project:  # fmt: skip
    """Write the circuit of a graph. Files that are the same already are left alone.

    Args:
        graph: With tensors in int8.
        title: Says what it is.
        folder: Where to.
        lanes: Multiply-accumulates in a cycle.
        images: A data set for the vectors; random ones if empty.
        weights: "rom" for weights in memory, "logic" for constants.
        for_up5k: For that device only: images lie in its SPRAMs if its block RAMs are too few.

    Raises:
        EdgegolfError: The circuit lacks something.
    """
    machine = verilog.machine(graph, lanes)
    if for_up5k and machine.block_rams > BLOCK_RAMS:
        machine = verilog.machine(graph, lanes, sprams=True)
    project = Project(folder, graph, machine, images)
    files: dict[str, str | bytes] = {**verilog.write(project.machine, title, weights)}
    files["testbench.v"] = verilog.testbench(project.machine)
    files["vectors.bin"] = vectors(project, GOLDEN)
    files["Makefile"] = Path(__file__).with_name("Makefile").read_bytes()
    files["circuit.pcf"] = "set_frequency clk 12\n"
    files["circuit.lpf"] = 'FREQUENCY PORT "clk" 100 MHZ;\n'
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        file = folder / name
        if not file.is_file() or file.read_bytes() != data:
            write_atomically(file, data)
    return project


def vectors(project: Project, count: int) -> bytes:
    """Images of the data set that the net was trained on, else random ones, and their logits."""
    (tensor,) = project.graph.inputs
    shape, images = tensor.shape[1:], _images(project.images, count)
    if images is None:
        numbers = np.random.default_rng(0).integers(-128, 128, (count, *shape)).astype(np.int8)
    else:
        scale = tensor.quant.scale if tensor.quant else ()
        info = TensorInfo("", tensor.shape, "int8", scale, (tensor.zero_point,))
        numbers = quantize(images.reshape(-1, *shape), info)
    logits: Array = verilog.logits(project.graph, numbers)
    return verilog.vectors(numbers, logits)


def _images(dataset: str, count: int) -> Array | None:
    """The first test images of a data set; None without one."""
    if not dataset:
        return None
    try:
        found: Array = load_dataset(dataset).split("test").images
    except DatasetUnavailableError:
        return None
    if len(found) < count:
        raise EdgegolfError(f"{dataset} has {len(found):,} test images, not {count:,}")
    return found[:count]
