"""How large the circuits of the nets are, and how they grow with depth, shared and not.

    python benchmarks/circuits.py --work circuits   # hours; what is there is not made again

Needs yosys, nextpnr-ice40, nextpnr-ecp5 and verilator. TightResNet and its unshared twin are
quantized in the same way, with one scale for all activations and one for all weights. Those of 8
iterations are the trained ones; the others have random weights. Results go into docs/circuit.json
as they are found; `make docs` makes the tables of docs/circuit.md from it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgegolf.bench.accuracy import measure_accuracy
from edgegolf.circuit.circuit import make_circuit
from edgegolf.circuit.flow import Cells, Circuit, Fit, count_cells, place, simulate_netlist
from edgegolf.circuit.project import write_project
from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.files import write_atomically
from edgegolf.footprint.nets import compared_nets, random_net
from edgegolf.frontends.keras import read_model
from edgegolf.frontends.tflite import read_graph
from edgegolf.progress import track
from edgegolf.quantize.calibration import calibrate, ranges
from edgegolf.quantize.quantization import quantized
from edgegolf.records import from_json, to_json
from edgegolf.report.file_tables import clock, per_second
from edgegolf.report.page_charts import ROLES, Chart
from edgegolf.report.page_plot import Line, Point, beside, plot
from edgegolf.report.pictures import draw
from edgegolf.report.table import Table, known

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "docs" / "circuit.json"
NET, ITERATIONS, LANES, GROWS_ON = "tight_resnet", (8, 1, 32, 2, 16, 4), 4, "up5k"
SEEDS = 3
POWERS = ", powers of two"  # nets of which `edgegolf export --scales power-of-two` makes the file
Row = tuple[str, int, str, int, tuple[str, ...]]
ICE40, ECP5 = ("up5k", "hx8k"), ("ecp5-25k",)
#: Nets, multiply-accumulates in a cycle, where the weights are, test images of which every logit is
#: compared, and devices.
CIRCUITS: tuple[Row, ...] = (
    ("tight_resnet", 4, "rom", 10_000, ICE40),
    ("tight_resnet", 10, "logic", 1_000, ("hx8k",)),
    ("tight_resnet", 20, "rom", 1_000, ECP5),
    ("tight_resnet", 20, "logic", 1_000, ECP5),
    ("double_cnn-2", 1, "rom", 1_000, ICE40),
    ("double_cnn-2" + POWERS, 1, "rom", 1_000, ICE40),
    ("tight_resnet" + POWERS, 4, "rom", 1_000, ICE40),
    ("uno_resnet", 1, "rom", 1_000, ICE40),
    ("golf_375", 1, "rom", 1_000, ("up5k",)),
    ("golf_535", 1, "rom", 1_000, ("up5k",)),
    ("cnn-2", 1, "rom", 1_000, ICE40),
    ("pooled_linear", 1, "rom", 1_000, ICE40),
    ("double_cnn-2", 2, "logic", 1_000, ("hx8k",)),
)
#: Netlists that are simulated, as iverilog would not end: rows of CIRCUITS, devices, images.
NETLISTS = ((0, "up5k", 3), (0, "hx8k", 3), (1, "hx8k", 3))
BARS = (0.97, 0.98)
#: What others published of MNIST, second-hand but for BTHOWeN: name, accuracy, cells, and what they
#: are. LUT6 have six inputs.
PUBLISHED = (
    ("DWN", "97.1 %", "692 LUT6", "thermometer encoder not counted"),
    ("DWN", "97.8 %", "3,464 LUT6", "with its encoder"),
    ("DWN", "98.3 %", "4,082 LUT6", "thermometer encoder not counted"),
    ("TreeLUT", "97 %", "4,478 LUT6", "its input is not told of"),
    ("PolyLUT-Add", "96 %", "14,810 LUT6", "its input is not told of"),
    ("LILogicNet", "98.5 %", "8,000 gates", "gates, not LUTs; its input is not told of"),
    ("BTHOWeN-Large", "95.2 %", "151,704 LUT6", "with its input of 64 bits a cycle"),
    ("hls4ml, ternary", "95 %", "260,092 LUT6", "its input is not told of"),
    (
        "FINN, SFC-max",
        "96 %",
        "91,131 LUT6",
        "and 5 block RAMs; its input is not told of",
    ),
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
    accuracies: dict[str, float] = field(default_factory=dict)  # of their models, by path
    # Images of which the synthesized netlist gave every logit, by model, weights and device.
    netlists: dict[str, int] = field(default_factory=dict)
    grown: tuple[Grown, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the circuits")
    parser.add_argument("--rows", type=int, nargs="*", help="of CIRCUITS, and nothing else")
    parser.add_argument("--grow", type=int, nargs="*", help="iterations, and nothing else")
    parser.add_argument("--weights", nargs="*", default=("rom", "logic"), help="of those that grow")
    parser.add_argument("--netlists", action="store_true", help="and nothing else")
    arguments = parser.parse_args()
    work, is_all = arguments.work.absolute(), len(sys.argv) == 3
    if is_all or arguments.rows is not None:
        place_nets(work, [CIRCUITS[n] for n in arguments.rows or range(len(CIRCUITS))])
    if is_all or arguments.grow is not None:
        grow(work, arguments.grow or ITERATIONS, arguments.weights)
    if is_all or arguments.netlists:
        simulate_netlists(work)


def read() -> Circuits:
    """The record, empty at first."""
    if not RECORD.exists():
        return Circuits()
    return from_json(RECORD.read_bytes(), Circuits, str(RECORD))


def grow(work: Path, iterations: Sequence[int], ways: Sequence[str]) -> None:
    from edgegolf.export.model import for_inference
    from edgegolf.export.variants import ONE_SCALE, simplified
    from edgegolf.passes.fusion import fuse_activations
    from edgegolf.passes.rerolling import reroll

    dataset = load_dataset("mnist")
    images = dataset.split("train").images[:200] / np.float32(255)
    trained = {net.role: net for net in compared_nets(NET, dataset)}
    written = []
    for count in iterations:
        for shared, role in ((True, "shared"), (False, "unshared")):
            net = trained[role]
            if net.iterations != count:
                net = random_net(NET, shared, count, dataset)
            fused = fuse_activations(reroll(simplified(read_model(for_inference(net.model, 1)))))
            graph = quantized(fused, calibrate(fused, ranges(fused, [images]), ONE_SCALE))
            title = f"{NET}, {role}, {count} iterations"
            for weights in ways:
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
    keep_record(replace(record, grown=ordered))


def place_nets(work: Path, rows: Sequence[Row]) -> None:
    for row in track(rows, "placing"):
        name, lanes, weights, images, devices = row
        path = model_of(name, work)
        folder = work / f"{path.parent.name}-{lanes}-{weights}"
        try:
            found = make_circuit(path, folder, lanes, images, devices, SEEDS, weights, "mnist")
        except EdgegolfError as error:
            print(f"{name}: {error.message}")
            continue
        model = str(path.relative_to(work) if name.endswith(POWERS) else path)
        accuracy = measure_accuracy(path, "litert-reference", "cpu", 1, "mnist")
        record = read()
        known = {(c.model, c.weights, -c.lanes): c for c in record.circuits}
        known[model, found.weights, -lanes] = replace(found, model=model, folder="")
        keep_record(replace(
            record, circuits=tuple(known[each] for each in sorted(known, reverse=True)),
            accuracies=record.accuracies | {model: accuracy},
        ))  # fmt: skip


def model_of(name: str, work: Path) -> Path:
    """The file of a net; with scales that are powers of two it is made first."""
    if not name.endswith(POWERS):
        return Path("models", "mnist", name, "int8.tflite")
    net = name.removesuffix(POWERS)
    path = work / f"{net}-powers" / "int8.tflite"
    if not path.exists():
        source = f"models/mnist/{net}/model.keras"
        options = ("--dataset", "mnist", "--scales", "power-of-two", "--optimize", "size")
        command = (sys.executable, "-m", "edgegolf", "export", source, *options)
        subprocess.run([*command, "--out", path.parent], check=True)
    return path


def simulate_netlists(work: Path) -> None:
    for row, device, images in track(NETLISTS, "simulating netlists"):
        name, lanes, weights, *_ = CIRCUITS[row]
        path = model_of(name, work)
        graph, folder = read_graph(path), work / f"{path.parent.name}-{lanes}-{weights}"
        project = write_project(graph, f"The circuit of {path}", folder, lanes, "mnist", weights)
        simulate_netlist(project, device, images, "verilator")
        record = read()
        key = f"{path}, {weights}, {device}"
        keep_record(replace(record, netlists=record.netlists | {key: images}))


def keep_record(record: Circuits) -> None:
    write_atomically(RECORD, to_json(record))


def sections(record: Circuits) -> dict[str, str]:
    """The tables of the page."""
    return {
        "circuit-placed": placed_table(record).markdown(),
        "circuit-smallest": smallest_table(record).markdown(),
        "circuit-powers": powers_table(record).markdown(),
        "circuit-growth": growth_table(record).markdown(),
        "circuit-answer": f"**{answer(record)}**\n",
    }


def net_of(circuit: Circuit) -> str:
    return Path(circuit.model).parent.name.replace("-powers", POWERS)


def placed(record: Circuits) -> list[tuple[Circuit, Fit]]:
    """Nets on devices, best known first."""
    ordered = sorted(record.circuits, key=lambda c: -record.accuracies.get(c.model, 0))
    return [(circuit, fit) for circuit in ordered for fit in circuit.fits]


def placed_table(record: Circuits) -> Table:
    rows = (
        (net_of(c), c.weights, str(c.lanes), fit.cells.device, f"{fit.used:,}",
         f"{fit.cells.luts:,}", f"{fit.cells.flip_flops:,}", str(fit.cells.block_rams),
         str(fit.cells.sprams), str(fit.cells.multipliers), f"{c.cycles:,}", clock(fit),
         f"{per_second(c, fit):,.0f}", f"{c.simulated:,}",
         known(record.netlists.get(f"{c.model}, {c.weights}, {fit.cells.device}")))
        for c, fit in placed(record)
    )  # fmt: skip
    header = ("net", "weights", "P", "device", "cells", "LUT", "FF", "BRAM", "SPRAM", "DSP",
              "cycles", "MHz", "images/s", "compared", "netlist")  # fmt: skip
    return Table(header, tuple(rows), labels=4)


def smallest_table(record: Circuits) -> Table:
    """The fewest cells for an accuracy, and what others published."""
    rows = []
    for bar in BARS:
        for device in ICE40:
            good = [
                (fit.used, net_of(c), c, fit)
                for c, fit in placed(record)
                if fit.cells.device == device and record.accuracies.get(c.model, 0) >= bar
            ]
            if good:
                used, name, circuit, fit = min(good, key=lambda each: each[0])
                told = f"all; {fit.cells.block_rams} block RAMs of 4 kbit"
                if multipliers := fit.cells.multipliers:
                    told += f", {multipliers} DSP{'s' * (multipliers > 1)}"
                rows.append((f"{name}, {device}", f"{100 * record.accuracies[circuit.model]:.1f} %",
                             f"{used:,} LUT4", f"{told}; {circuit.cycles:,} cycles"))  # fmt: skip
    return Table(
        ("circuit", "MNIST", "cells", "what is counted"),
        (*dict.fromkeys(rows), *PUBLISHED),
        labels=4,
    )


def powers_table(record: Circuits) -> Table:
    """Nets with scales that are powers of two beside the usual ones."""
    pairs = {(net_of(c), c.weights, c.lanes, fit.cells.device): (c, fit)
             for c, fit in placed(record)}  # fmt: skip
    rows = []
    for (name, weights, lanes, device), powers in pairs.items():
        usual = pairs.get((name.removesuffix(POWERS), weights, lanes, device))
        if name.endswith(POWERS) and usual:
            for scales, (circuit, fit) in (("any", usual), ("powers of two", powers)):
                cells = fit.cells
                rows.append((
                    name.removesuffix(POWERS), scales, f"{record.accuracies[circuit.model]:.2%}",
                    weights, str(lanes), device, f"{fit.used:,}", f"{cells.luts:,}",
                    str(cells.block_rams), str(cells.multipliers), clock(fit),
                ))  # fmt: skip
    header = ("net", "scales", "accuracy", "weights", "P", "device", "cells", "LUT", "BRAM", "DSP",
              "MHz")  # fmt: skip
    return Table(header, tuple(rows), labels=2)


def growth_table(record: Circuits) -> Table:
    rows = (
        (str(each.iterations), each.role, each.weights, f"{each.cycles:,}",
         f"{each.weight_bytes:,}", *(
             (f"{each.cells.luts:,}", f"{each.cells.flip_flops:,}", str(each.cells.block_rams),
              str(each.cells.multipliers)) if each.cells else ("–",) * 4),
         f"{max(each.megahertz):.1f}" if each.megahertz else "–")
        for each in record.grown
    )  # fmt: skip
    header = ("iterations", "block", "weights", "cycles", "weight B", "LUT", "FF", "BRAM", "DSP",
              "MHz")  # fmt: skip
    return Table(header, tuple(rows), labels=3)


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
