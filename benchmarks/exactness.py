"""How many outputs of nets as C were compared, bit by bit: benchmarks/exactness.json, docs/c.md.

    python benchmarks/exactness.py [NET...]

1,000 validation images of nets here, 200 random inputs of MLPerf Tiny's, each made small and made
fast: the interpreter with LiteRT's reference kernels, C on this machine and on emulated cores with
the interpreter. Takes about ten minutes; needs what `make test-mcu` installs.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from microcontrollers import NETS, path_of

from edgegolf.backends import c
from edgegolf.backends.c.compiling import differing
from edgegolf.emulation.cores import CORES, Core, prove_on_core
from edgegolf.export.c_files import images_of, random_inputs
from edgegolf.files import write_atomically
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph
from edgegolf.ir.interpreter import run
from edgegolf.progress import track
from edgegolf.report.table import Table
from edgegolf.runtimes import open_session

RECORD = Path(__file__).with_name("exactness.json")
NATIVE = "this machine"
IMAGES, RANDOM = 1_000, 200
#: Bytes of inputs in one program for an AVR, of whose flash 64 KiB are read by short pointers.
CHUNK = 32_000
#: Cores with more memory.
LARGE = {
    "atmega328p": replace(
        CORES["atmega328p"],
        compiler=("avr-gcc", "-mmcu=atmega1284p"),
        emulator=("simavr", "-m", "atmega1284p", "-f", "16000000"),
    ),
    "cortex-m0": replace(
        CORES["cortex-m0"],
        compiler=tuple(
            each.replace("ram_size=16K", "ram_size=1M") for each in CORES["cortex-m0"].compiler
        ),
        emulator=CORES["cortex-m4"].emulator,
    ),
}


def main() -> None:
    """Compare all, and write the record; what differs is an error."""
    found = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    names = sys.argv[1:] or list(NETS)
    for name in track(names, "comparing", len(names)):
        path, runs = path_of(name), NETS[name]
        graph = read_graph(path)
        inputs = images_of(path, graph.inputs[0])[:IMAGES]
        if not len(inputs):
            inputs = random_inputs(graph.inputs[0], RANDOM)
        with open_session(path, "litert-reference") as session:
            expected = np.concatenate([session.run([each[None]])[0] for each in inputs])
        assert (run(graph, [inputs])[0] == expected).all(), name
        found[name] = {NATIVE: len(inputs)}
        for optimize in runs:
            assert differing(graph, c.write(graph, "net", None, optimize), inputs) == 0, name
        for core in CORES.values():
            if any(core.name in cores for cores in runs.values()):
                for optimize in runs:
                    prove(core, graph, inputs, optimize)
                found[name][core.name] = len(inputs)
        found = {each: found[each] for each in NETS if each in found}
        write_atomically(RECORD, json.dumps(found, indent=2) + "\n")


def prove(core: Core, graph: Graph, inputs: np.ndarray, optimize: c.Optimize) -> None:
    """Run the self-test with all inputs, in as many programs as it takes."""
    count = CHUNK // inputs[0].nbytes if core.unit == "cycles" else len(inputs)
    for start in range(0, len(inputs), count):
        files = c.write(graph, "net", inputs[start : start + count], optimize)
        prove_on_core(LARGE.get(core.name, core), files, optimize == "speed")


def exactness_markdown() -> str:
    """The record as a table."""
    found: dict[str, dict[str, int]] = json.loads(RECORD.read_text())
    rows = (
        (f"`{name}`", f"{min(counts.values()):,}", ", ".join(counts))
        for name, counts in found.items()
    )
    return Table(("net", "inputs", "on"), tuple(rows)).markdown()


if __name__ == "__main__":
    main()
