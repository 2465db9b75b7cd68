"""How large the circuits of the nets are, and how they grow with depth, shared and not.

    python benchmarks/circuits.py --work circuits   # hours; what is there is not made again

Needs yosys, nextpnr-ice40, nextpnr-ecp5 and verilator. TightResNet and its unshared twin are
quantized in the same way, with one scale for all activations and one for all weights. Those of 8
iterations are the trained ones; the others have random weights. Results go into docs/circuit.json
as they are found; `make docs` makes the tables of docs/circuit.md from it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgegolf.circuit.circuit import make_circuit
from edgegolf.circuit.flow import Cells, Circuit, count_cells, place
from edgegolf.circuit.project import write_project
from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.files import write_atomically
from edgegolf.footprint.nets import compared_nets, random_net
from edgegolf.frontends.keras import read_model
from edgegolf.progress import track
from edgegolf.quantize.calibration import calibrate, ranges
from edgegolf.quantize.quantization import quantized
from edgegolf.records import from_json, to_json
from edgegolf.report.file_tables import clock, per_second
from edgegolf.report.page_charts import ROLES, Chart
from edgegolf.report.page_plot import Line, Point, beside, plot
from edgegolf.report.pictures import draw
from edgegolf.report.table import Table

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "docs" / "circuit.json"
NET, ITERATIONS, LANES, GROWS_ON = "tight_resnet", (8, 1, 32, 2, 16, 4), 4, "up5k"
SEEDS = 3
Row = tuple[str, int, str, int, tuple[str, ...]]
#: Nets, multiply-accumulates in a cycle, where the weights are, test images of which every logit is
#: compared, and devices.
CIRCUITS: tuple[Row, ...] = (
    ("tight_resnet", 10, "logic", 1_000, ("hx8k",)),
    ("tight_resnet", 20, "logic", 1_000, ("ecp5-25k",)),
    ("tight_resnet", 20, "rom", 1_000, ("ecp5-25k",)),
    ("double_cnn-2", 2, "logic", 1_000, ("hx8k",)),
    ("golf_535", 4, "rom", 1_000, ("ecp5-25k",)),
    ("golf_375", 4, "rom", 1_000, ("ecp5-25k",)),
    ("double_cnn-2", 2, "rom", 1_000, ("up5k", "hx8k")),
    ("pooled_linear", 1, "rom", 1_000, ("up5k", "hx8k")),
    ("tight_resnet", 4, "rom", 10_000, ("up5k", "hx8k")),
)


@dataclass(frozen=True)
class Grown:
    """A circuit of a net with some iterations.

    Attributes:
        role: Shared or unshared.
        iterations: Of its block.
        is_trained: Whether its weights are.
        cycles: Of an image.
        steps: Rows of the table of steps.
        weight_bytes: In the memory of the weights.
        cells: What yosys made of it; None before.
        megahertz: By nextpnr; none where it does not fit.
        weights: Where they are: rom or logic.
    """

    role: str
    iterations: int
    is_trained: bool
    cycles: int
    steps: int
    weight_bytes: int
    cells: Cells | None
    megahertz: tuple[float, ...] = ()
    weights: str = "rom"


@dataclass(frozen=True)
class Circuits:
    """All that is known, as in docs/circuit.json."""

    SCHEMA: ClassVar[str] = "edgegolf.circuits/1"

    circuits: tuple[Circuit, ...] = ()
    grown: tuple[Grown, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the circuits")
    parser.add_argument("--rows", type=int, nargs="*", help="of CIRCUITS, and no growth")
    arguments = parser.parse_args()
    if arguments.rows is None:
        grow(arguments.work)
    place_nets(arguments.work, [CIRCUITS[n] for n in arguments.rows or range(len(CIRCUITS))])


def read() -> Circuits:
    """The record, empty at first."""
    if not RECORD.exists():
        return Circuits()
    return from_json(RECORD.read_bytes(), Circuits, str(RECORD))


def grow(work: Path) -> None:
    from edgegolf.export.model import for_inference
    from edgegolf.export.variants import ONE_SCALE, simplified
    from edgegolf.passes.fusion import fuse_activations
    from edgegolf.passes.rerolling import reroll

    dataset = load_dataset("mnist")
    images = dataset.split("train").images[:200] / np.float32(255)
    trained = {net.role: net for net in compared_nets(NET, dataset)}
    written = []
    for count in ITERATIONS:
        for shared, role in ((True, "shared"), (False, "unshared")):
            net = trained[role]
            if net.iterations != count:
                net = random_net(NET, shared, count, dataset)
            fused = fuse_activations(reroll(simplified(read_model(for_inference(net.model, 1)))))
            graph = quantized(fused, calibrate(fused, ranges(fused, [images]), ONE_SCALE))
            title = f"{NET}, {role}, {count} iterations"
            for weights in ("rom", "logic"):
                folder = work / f"{role}-{count}-{weights}"
                project = write_project(graph, title, folder, LANES, "mnist", weights)
                machine = project.machine
                found = Grown(role, count, net.is_trained, machine.cycles, len(machine.names),
                              machine.weights.size, None, weights=weights)  # fmt: skip
                keep(found)
                written.append((project, found))
    for project, found in track(written, "synthesizing"):
        cells = count_cells(project, GROWS_ON)
        keep(replace(found, cells=cells))
        with suppress(EdgegolfError):  # it does not fit
            keep(replace(found, cells=cells, megahertz=place(project, cells, 1).megahertz))


def keep(grown: Grown) -> None:
    """Put a result into the record; one without cells is no better than one that is there."""
    record, key = read(), (grown.weights, grown.iterations, grown.role)
    known = {(each.weights, each.iterations, each.role): each for each in record.grown}
    if grown.cells is not None or key not in known:
        known[key] = grown
    ordered = tuple(known[each] for each in sorted(known, key=lambda k: (k[0] != "rom", k)))
    write_atomically(RECORD, to_json(replace(record, grown=ordered)))


def place_nets(work: Path, rows: Sequence[Row]) -> None:
    for name, lanes, weights, images, devices in track(rows, "placing"):
        path = Path("models", "mnist", name, "int8.tflite")
        try:
            folder = work / f"{name}-{lanes}-{weights}"
            found = make_circuit(path, folder, lanes, images, devices, SEEDS, weights)
        except EdgegolfError as error:
            print(f"{name}: {error.message}")
            continue
        record = read()
        known = {(c.model, c.weights, -c.lanes): c for c in record.circuits}
        known[found.model, found.weights, -lanes] = replace(found, folder="")
        kept = tuple(known[each] for each in sorted(known, reverse=True))
        write_atomically(RECORD, to_json(replace(record, circuits=kept)))


def sections(record: Circuits) -> dict[str, str]:
    """The tables of the page."""
    placed = [
        (Path(c.model).parent.name, c.weights, str(c.lanes), fit.cells.device, f"{fit.used:,}",
         str(fit.cells.block_rams), str(fit.cells.multipliers), f"{c.cycles:,}", clock(fit),
         f"{per_second(c, fit):,.0f}", f"{c.simulated:,}")
        for c in record.circuits for fit in c.fits
    ]  # fmt: skip
    header = ("net", "weights", "P", "device", "cells", "BRAM", "DSP", "cycles", "MHz", "images/s",
              "compared")  # fmt: skip
    grown = [
        (str(each.iterations), each.role, each.weights, f"{each.cycles:,}",
         f"{each.weight_bytes:,}", *(
             (f"{each.cells.luts:,}", f"{each.cells.flip_flops:,}", str(each.cells.block_rams),
              str(each.cells.multipliers)) if each.cells else ("–",) * 4),
         f"{max(each.megahertz):.1f}" if each.megahertz else "–")
        for each in record.grown
    ]  # fmt: skip
    columns = (
        "iterations",
        "block",
        "weights",
        "cycles",
        "weight B",
        "LUT",
        "FF",
        "BRAM",
        "DSP",
        "MHz",
    )
    nothing = "Not measured yet.\n"
    return {
        "circuit-placed": Table(header, tuple(placed), labels=4).markdown() if placed else nothing,
        "circuit-growth": Table(columns, tuple(grown), labels=3).markdown(),
        "circuit-answer": f"**{found}**\n" if (found := answer(record)) else nothing,
    }


def answer(record: Circuits) -> str:
    """How large shared and unshared circuits are, in sentences; empty if that is not known."""
    lines = growth_lines(record)
    both = sorted(lines["shared"].keys() & lines["unshared"].keys())
    if not both:
        return ""

    def told(role: str, iterations: int) -> str:
        cells = lines[role][iterations]
        return f"{cells.luts:,} LUTs and {cells.block_rams} block RAMs"

    least, most = both[0], both[-1]
    before = f" ({told('unshared', least)} with {least})" if least < most else ""
    sentence = (
        f"With {most} iterations the shared circuit takes {told('shared', most)}, its unshared\n"
        f"twin, in the same cycles, {told('unshared', most)}{before}."
    )
    lines = growth_lines(record, "logic")
    both = sorted(lines["shared"].keys() & lines["unshared"].keys())
    if not both:
        return sentence
    wired = ", ".join(f"{lines[role][both[-1]].luts:,} LUTs {role}" for role in ROLES)
    return f"{sentence}\nWith weights as logic instead, {both[-1]} iterations take {wired}."


def growth_lines(record: Circuits, weights: str = "rom") -> dict[str, dict[int, Cells]]:
    """By role and iterations what was synthesized."""
    return {
        role: {each.iterations: each.cells for each in record.grown
               if each.role == role and each.weights == weights and each.cells is not None}
        for role in ROLES
    }  # fmt: skip


def draw_growth(record: Circuits, path: Path) -> None:
    """LUTs and block RAMs against iterations, once that is known."""
    finding = answer(record)
    if not finding:
        return
    lines, series = {}, {}
    for weights, shape in (("rom", "circle"), ("logic", "square")):
        for role, line in growth_lines(record, weights).items():
            if line:
                name = role if weights == "rom" else f"{role}, {weights}"
                lines[name], series[name] = line, (ROLES[role], shape)
    panels = []
    for title, count in (("LUTs", "luts"), ("block RAMs", "block_rams")):
        drawn = {name: tuple((n, getattr(cells, count)) for n, cells in line.items())
                 for name, line in lines.items()}  # fmt: skip
        points = [Point(n, value, name, f"{name}, {n} iterations: {value:,} {title}")
                  for name, line in drawn.items() for n, value in line]  # fmt: skip
        ends = [Line(line, series[name][0], f"{name.split(', ')[-1]}: {line[-1][1]:,}", width=2.5,
                     opacity=1) for name, line in drawn.items()]  # fmt: skip
        ticks = sorted({n for line in lines.values() for n in line})
        panels.append(plot(points, "iterations of the block", title, series, ends, x_ticks=ticks))
    draw(Chart("", finding.replace("\n", " "), "", beside(panels, {})), path)


if __name__ == "__main__":
    main()
