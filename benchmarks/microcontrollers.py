"""What nets as C take on emulated microcontrollers: benchmarks/microcontrollers.json, docs/c.md.

    python benchmarks/microcontrollers.py

Needs the compilers and emulators that `make test-mcu` installs.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from edgegolf.backends import c
from edgegolf.emulation.microcontrollers import CORES, run_on_core
from edgegolf.export.c_files import random_inputs
from edgegolf.files import write_atomically
from edgegolf.frontends.tflite import read_graph

ROOT = Path(__file__).parent.parent
COUNTS, PAGE = ROOT / "benchmarks" / "microcontrollers.json", ROOT / "docs" / "c.md"
BIG = ("cortex-m0", "cortex-m4", "rv32imac")
NETS = {
    "pooled_linear/int8": tuple(CORES),
    "linear/int8": tuple(CORES),
    "pooled_mlp-64/int8": tuple(CORES),
    "double_cnn-2/int8-smallest": tuple(CORES),
    "tight_resnet/int8": BIG,
}


def main() -> None:
    """Measure all nets, and write both files."""
    found = {name: measured(name, cores) for name, cores in NETS.items()}
    write_atomically(COUNTS, json.dumps(found, indent=2) + "\n")
    text = re.sub(
        r"(?<=<!-- cores -->\n).*?(?=<!-- end -->)", table(found), PAGE.read_text(), flags=re.S
    )
    write_atomically(PAGE, text)


def measured(name: str, cores: tuple[str, ...]) -> dict[str, object]:
    """One net on some cores."""
    graph = read_graph(ROOT / "models" / "mnist" / f"{name}.tflite")
    files = c.write(graph, "net", random_inputs(graph.inputs[0], 2))
    runs = {core: run_on_core(CORES[core], files) for core in cores}
    return {
        "arena": files.arena_bytes,
        "cores": {core: {"flash": r.flash_bytes, "count": r.count} for core, r in runs.items()},
    }


def table(found: dict[str, dict[str, object]]) -> str:
    """The figures in Markdown."""
    lines = ["| net | arena | core | flash | one image |", "| --- | ---: | --- | ---: | ---: |"]
    for name, net in found.items():
        assert isinstance(net["cores"], dict)
        for core, run in net["cores"].items():
            lines.append(
                f"| `{name}` | {net['arena']:,} B | {core} | {run['flash']:,} B | "
                f"{run['count']:,} {CORES[core].unit} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
