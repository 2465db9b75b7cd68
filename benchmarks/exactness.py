"""How many outputs of nets as C were compared, bit by bit: benchmarks/exactness.json, docs/c.md.

    python benchmarks/exactness.py [NET...]

1,000 validation images of every net here, 200 random inputs where those are not at hand, and of
MLPerf Tiny's four (those that are in $EDGEGOLF_DATA), made small and made fast: the interpreter
with LiteRT's reference kernels, C on this machine (also with its vectors) and on emulated cores
with the interpreter. Takes about an hour on an idle machine; what was compared is written at once.
Needs what `make test-mcu` installs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from microcontrollers import NETS, ROOT, path_of

from edgegolf.backends import c
from edgegolf.backends.c.compiling import differing, this_machine
from edgegolf.cards import read_card
from edgegolf.emulation.cores import CORES, PIS, Core, prove_on_core
from edgegolf.export.c_files import images_of, random_inputs
from edgegolf.files import write_atomically
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph
from edgegolf.ir.interpreter import run
from edgegolf.progress import track
from edgegolf.report.table import Table
from edgegolf.runtimes import open_session
from edgegolf.surroundings import available_cores

RECORD = Path(__file__).with_name("exactness.json")
NATIVE = "this machine"
IMAGES, RANDOM = 1_000, 200
STRANGERS = tuple(f"mlperf_tiny_{name}_int8" for name in ("kws", "resnet8", "vww", "ad"))
#: Nets of more are compared on this machine alone.
MOST_PARAMETERS = 100_000
#: Bytes of inputs in one program; of an AVR's flash 64 KiB are read by short pointers.
CHUNK, AVR_CHUNK = 2_000_000, 32_000
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


def nets() -> dict[str, tuple[Core, ...]]:
    """All int8 files, and where they are compared besides on this machine."""
    found = {}
    for path in sorted((ROOT / "models").glob("*/*/int8*.tflite")):
        card = read_card(path.parent)
        if c.unsupported(read_graph(path)) or card is None:  # of floats, or too large to be here
            continue
        name = str(path.with_suffix("").relative_to(ROOT / "models"))
        small = card.dataset == "mnist" and card.parameters < MOST_PARAMETERS
        cores = {*sum(NETS.get(name, {}).values(), ()), *(set(CORES) - {"atmega328p"})}
        found[name] = tuple(core for core in CORES.values() if small and core.name in cores)
        found[name] += tuple(PIS.values()) * small
    on_stranger = (CORES["cortex-m4"], *PIS.values())
    return found | dict.fromkeys(STRANGERS, on_stranger)


def main() -> None:
    """Compare all, and write the record; what differs is an error."""
    every = nets()
    names = [name for name in sys.argv[1:] or every if path_of(name)]
    for name in track(names, "comparing here", len(names)):
        graph, inputs = given(name)
        path = path_of(name)
        assert path is not None
        with open_session(path, "litert-reference") as session:
            expected = np.concatenate([session.run([each[None]])[0] for each in inputs])
        assert (run(graph, [inputs])[0] == expected).all(), name
        ways: tuple[c.Optimize, ...] = ("size", "speed", "ram")
        sources = {
            files.source: files for way in ways if (files := c.write(graph, "net", None, way))
        }
        for files in sources.values():
            assert differing(graph, files, inputs, (), expected) == 0, name
        vectors = c.write(graph, "net", target=this_machine())
        assert differing(graph, vectors, inputs, ("-march=native",), expected) == 0, name
        note(name, NATIVE, len(inputs), list(every))
    pairs = [(name, core) for name in names for core in every[name]]
    for name, core in track(pairs, "comparing on cores", len(pairs)):
        graph, inputs = given(name)
        with ThreadPoolExecutor(available_cores()) as pool:
            made = programs(core, graph, inputs)
            list(pool.map(lambda program: prove_on_core(*program), made))
        note(name, core.name, len(inputs), list(every))


def given(name: str) -> tuple[Graph, np.ndarray]:
    """A net, and what it is to compute."""
    path = path_of(name)
    assert path is not None
    graph = read_graph(path)
    inputs = images_of(path, graph.inputs[0])[:IMAGES]
    return graph, inputs if len(inputs) else random_inputs(graph.inputs[0], RANDOM)


def note(name: str, where: str, count: int, order: list[str]) -> None:
    """Write a result into the record."""
    found = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    found.setdefault(name, {})[where] = count
    found = {each: found[each] for each in order if each in found}
    write_atomically(RECORD, json.dumps(found, indent=2) + "\n")


def programs(core: Core, graph: Graph, inputs: np.ndarray) -> Iterator[tuple[Core, c.CFiles, bool]]:
    """What to run to compare all inputs on a core: as many as its memory asks for."""
    ways: tuple[c.Optimize, ...] = ("size", "speed") if core.name in CORES else ("speed",)
    count = max((AVR_CHUNK if core.unit == "cycles" else CHUNK) // inputs[0].nbytes, 1)
    for optimize in ways[: 1 if core.unit == "cycles" else None]:
        for start in range(0, len(inputs), count):
            golden = inputs[start : start + count]
            files = c.write(graph, "net", golden, optimize, core.target)
            yield LARGE.get(core.name, core), files, optimize == "speed"


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
