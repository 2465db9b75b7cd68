"""What nets as C take on emulated microcontrollers: benchmarks/microcontrollers.json, docs/c.md.

    python benchmarks/microcontrollers.py [NET...]

Without names all are measured. Needs the compilers and emulators that `make test-mcu` installs.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgegolf.backends import c
from edgegolf.backends.c.compiling import footprint
from edgegolf.emulation.cores import CORES, run_on_core
from edgegolf.export.c_files import random_inputs
from edgegolf.files import write_atomically
from edgegolf.frontends.tflite import read_graph

ROOT = Path(__file__).parent.parent
COUNTS, PAGE = ROOT / "benchmarks" / "microcontrollers.json", ROOT / "docs" / "c.md"
ARM_RISCV = ("cortex-m0", "cortex-m4", "rv32imac")
#: What is measured, in models here or in $EDGEGOLF_DATA.
NETS: dict[str, dict[c.Optimize, tuple[str, ...]]] = {
    "mnist/pooled_linear/int8": {"size": tuple(CORES)},
    "mnist/linear/int8": {"size": tuple(CORES)},
    "mnist/pooled_mlp-64/int8": {"size": tuple(CORES), "speed": ARM_RISCV},
    "mnist/double_cnn-2/int8-smallest": {"size": tuple(CORES), "speed": ARM_RISCV},
    "mnist/uno_resnet/int8-smallest": {"size": tuple(CORES)},
    "mnist/tight_resnet/int8": {"size": ARM_RISCV, "speed": ARM_RISCV},
    "mlperf_tiny_kws_int8": dict.fromkeys(("size", "speed", "ram"), ("cortex-m4",)),
    "mlperf_tiny_resnet8_int8": dict.fromkeys(("size", "speed", "ram"), ("cortex-m4",)),
}


def main() -> None:
    """Measure nets, and write both files."""
    found = json.loads(COUNTS.read_text())
    for name in sys.argv[1:] or NETS:
        runs = NETS[name].items()
        found[name] = {optimize: measured(name, optimize, cores) for optimize, cores in runs}
    found = {name: found[name] for name in NETS}
    write_atomically(COUNTS, json.dumps(found, indent=2) + "\n")
    text = re.sub(
        r"(?<=<!-- cores -->\n).*?(?=<!-- end -->)", table(found), PAGE.read_text(), flags=re.S
    )
    write_atomically(PAGE, text)


def path_of(name: str) -> Path | None:
    """Where a net lies, None if it is not at hand."""
    folders = ROOT, Path(os.environ.get("EDGEGOLF_DATA", "."))
    return next((p for f in folders if (p := f / "models" / f"{name}.tflite").exists()), None)


def measured(name: str, optimize: c.Optimize, cores: Iterable[str]) -> dict[str, Any]:
    """One net on some cores."""
    path = path_of(name)
    assert path is not None, f"{name}.tflite is not at hand"
    graph = read_graph(path)
    files = c.write(graph, "net", random_inputs(graph.inputs[0], 2), optimize)
    runs = {core: run_on_core(CORES[core], files, optimize == "speed") for core in cores}
    stacks = {core: footprint(files, CORES[core].compiler).stack_bytes for core in cores}
    return {
        "arena": files.arena_bytes,
        "scratch": files.scratch_bytes,
        "cores": {
            core: {"flash": run.flash_bytes, "count": run.count, "stack": stacks[core]}
            for core, run in runs.items()
        },
    }


def table(found: dict[str, dict[c.Optimize, dict[str, Any]]]) -> str:
    """The figures in Markdown."""
    lines = [
        "| net | for | arena + arrays on the stack | core | flash | one inference |",
        "| --- | --- | ---: | --- | ---: | ---: |",
    ]
    for name, runs in found.items():
        for optimize, net in runs.items():
            for core, run in net["cores"].items():
                lines.append(
                    f"| `{name}` | {optimize} | {net['arena']:,} + {net['scratch']:,} B | {core} | "
                    f"{run['flash']:,} B | {run['count']:,} {CORES[core].unit} |"
                )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
