"""`edgegolf circuit`: a file as a circuit, simulated and synthesized as far as asked for."""

from __future__ import annotations

from pathlib import Path

from edgegolf.bench.accuracy import dataset_of
from edgegolf.circuit.flow import Circuit, count_cells, place, simulate
from edgegolf.circuit.project import write_project
from edgegolf.errors import EdgegolfError
from edgegolf.frontends.tflite import read_graph


def make_circuit(
    path: Path, folder: Path, lanes: int = 4, simulated: int = 0,
    devices: tuple[str, ...] = (), seeds: int = 5, weights: str = "rom",
    dataset: str | None = None,
) -> Circuit:  # fmt: skip
    """Write the circuit of a `.tflite` file, and find out what was asked for.

    Args:
        path: An int8 file.
        folder: Where its files go.
        lanes: Multiply-accumulates in a cycle.
        simulated: Test images whose logits are compared with the interpreter's.
        devices: What to synthesize it for. For an UP5K alone it may use that one's SPRAMs.
        seeds: Placements of each.
        weights: "rom" for weights in memory, "logic" for constants.
        dataset: Whose test images; that of the card beside the file by default.

    Raises:
        EdgegolfError: The circuit lacks an operator, a tool is missing, or a logit differs.
    """
    graph, images = read_graph(path), dataset or dataset_of(path) or ""
    try:
        project = write_project(
            graph, f"The circuit of {path}", folder, lanes, images, weights, devices == ("up5k",)
        )
    except EdgegolfError as error:
        raise EdgegolfError(f"{path}: {error.message}", error.hint) from None
    machine = project.machine
    simulator = simulate(project, simulated) if simulated else ""
    cells = [count_cells(project, device) for device in devices]
    fits = tuple(place(project, each, seeds) for each in cells)
    return Circuit(
        str(path), str(folder), lanes, machine.macs, machine.cycles, len(machine.names),
        machine.weights.size, sum(machine.depths) * lanes, simulated, simulator, fits, weights,
    )  # fmt: skip
