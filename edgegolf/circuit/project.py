"""The folder of a circuit: sources, golden vectors, and a Makefile that needs no edgegolf."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np

from edgegolf.backends import verilog
from edgegolf.bench.accuracy import dataset_of
from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.files import write_atomically
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph
from edgegolf.ir.tensor import Array
from edgegolf.runtimes.classify import quantize
from edgegolf.runtimes.session import TensorInfo

GOLDEN = 4  # images in vectors.bin
LANES = 32  # at most


@dataclass(frozen=True)
class Device:
    """A chip, and how the open tools are told of it.

    Attributes:
        synthesis: The command of yosys.
        placing: The command of nextpnr.
    """

    synthesis: str
    placing: str


DEVICES = {
    "up5k": Device("synth_ice40 -device u -dsp", "nextpnr-ice40 --up5k --package sg48"),
    "hx8k": Device("synth_ice40 -device hx", "nextpnr-ice40 --hx8k --package ct256"),
    "ecp5-25k": Device("synth_ecp5", "nextpnr-ecp5 --25k --package CABGA381"),
    "ecp5-85k": Device("synth_ecp5", "nextpnr-ecp5 --85k --package CABGA381"),
}


@dataclass(frozen=True)
class Project:
    """A circuit and what it was made from.

    Attributes:
        folder: Where its files are.
        graph: What it computes.
        machine: Its numbers.
        images: Where the images of its vectors are from.
    """

    folder: Path
    graph: Graph
    machine: verilog.Machine
    images: str


def write_project(path: Path, folder: Path, lanes: int) -> Project:
    """Write a circuit for a `.tflite` file. Files that are the same already are left alone.

    Args:
        path: An int8 file.
        folder: Where to.
        lanes: Multiply-accumulates in a cycle.

    Raises:
        EdgegolfError: The file cannot be read, or the circuit lacks something.
    """
    try:
        graph = read_graph(path)
        machine = verilog.machine(graph, lanes)
    except EdgegolfError as error:
        prefix = "" if error.message.startswith(str(path)) else f"{path}: "
        raise EdgegolfError(prefix + error.message, error.hint) from None
    project = Project(folder, graph, machine, dataset_of(path) or "")
    files: dict[str, str | bytes] = {**verilog.write(machine, f"The circuit of {path}")}
    files["testbench.v"] = verilog.testbench(machine)
    files["vectors.bin"] = vectors(project, GOLDEN)
    files["Makefile"] = makefile()
    files["circuit.pcf"] = "set_frequency clk 12\n"
    files["circuit.lpf"] = 'FREQUENCY PORT "clk" 50 MHZ;\n'
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        file = folder / name
        if not file.is_file() or file.read_bytes() != data:
            write_atomically(file, data)
    return project


def vectors(project: Project, count: int) -> bytes:
    """Images of the data set that the net was trained on, else random ones, and their logits."""
    (tensor,) = project.graph.inputs
    shape = tensor.shape[1:]
    if project.images:
        images = load_dataset(project.images).split("test").images[:count]
        scale = tensor.quant.scale if tensor.quant else ()
        info = TensorInfo("", tensor.shape, "int8", scale, (tensor.zero_point,))
        numbers = quantize(images.reshape(-1, *shape), info)
    else:
        numbers = np.random.default_rng(0).integers(-128, 128, (count, *shape)).astype(np.int8)
    if len(numbers) < count:
        raise EdgegolfError(f"{project.images} has {len(numbers):,} test images, not {count:,}")
    logits: Array = verilog.logits(project.graph, numbers)
    return verilog.vectors(numbers, logits)


def makefile() -> str:
    """The open flow: simulation, synthesis, place and route, bitstreams."""
    settings = "".join(
        f"SYNTH_{name} = {device.synthesis}\nPLACE_{name} = {device.placing}\n"
        for name, device in DEVICES.items()
    )
    return _MAKEFILE.safe_substitute(settings=settings, devices=", ".join(DEVICES))


_MAKEFILE = Template("""\
# The open flow. DEVICE is one of $devices.
#   make simulate             compare IMAGES of VECTORS with the interpreter's logits, in iverilog
#   make simulate-fast        the same in verilator
#   make simulate-netlist     the same with what yosys made of it for the DEVICE
#   make report-DEVICE-1.json place and route with seed 1
#   make DEVICE.bin           bitstream of an iCE40
DEVICE = up5k
IMAGES = 4
VECTORS = vectors.bin
YOSYS = yosys
$settings
SOURCES = circuit.v $(wildcard *.hex)
VERILATE = verilator --binary --timing -O3 -Wno-fatal -Wno-lint -Wno-style --top-module testbench \\
  -CFLAGS -O1

.DELETE_ON_ERROR:
.PHONY: simulate simulate-fast simulate-netlist

simulate: iverilog.out
	./iverilog.out +images=$(IMAGES) +vectors=$(VECTORS)

iverilog.out: $(SOURCES) testbench.v
	iverilog -g2005 -o $@ circuit.v testbench.v

simulate-fast: verilated/fast
	verilated/fast +images=$(IMAGES) +vectors=$(VECTORS)

verilated/fast: $(SOURCES) testbench.v
	$(VERILATE) --Mdir verilated -o fast circuit.v testbench.v

simulate-netlist: verilated-$(DEVICE)/netlist
	verilated-$(DEVICE)/netlist +images=$(IMAGES) +vectors=$(VECTORS)

# The cells of the device are unfolded into what they compute, which simulates much faster.
CELLS = $(if $(filter ecp5%,$(DEVICE)),+/ecp5/cells_sim.v,-D ICE40_U -D NO_ICE40_DEFAULT_ASSIGNMENTS +/ice40/cells_sim.v)
verilated-$(DEVICE)/netlist: netlist-$(DEVICE).json testbench.v
	$(YOSYS) -q -p "read_json $<; read_verilog $(CELLS); hierarchy -top circuit; proc; flatten; \\
	  opt -full; clean; write_verilog -noattr flat-$(DEVICE).v"
	$(VERILATE) --Mdir verilated-$(DEVICE) -o netlist flat-$(DEVICE).v testbench.v

netlist-%.json: $(SOURCES)
	$(YOSYS) -q -p "read_verilog circuit.v; $(SYNTH_$*) -top circuit -json $@.part; \\
	  tee -o cells-$*.json stat -json" >yosys-$*.log
	mv $@.part $@

report-$(DEVICE)-%.json: netlist-$(DEVICE).json
	$(PLACE_$(DEVICE)) --json $< --seed $* --timing-allow-fail --report $@ --quiet --log nextpnr-$(DEVICE)-$*.log \\
	  $(if $(filter ecp5%,$(DEVICE)),--lpf circuit.lpf --lpf-allow-unconstrained --textcfg $(DEVICE)-$*.config,--pcf circuit.pcf --pcf-allow-unconstrained --asc $(DEVICE)-$*.asc)

%.bin: report-%-1.json
	icepack $*-1.asc $@
""")
