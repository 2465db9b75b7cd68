"""C on this machine and on Raspberry Pis beside the fastest runtime: docs/c.md.

    python benchmarks/hosts.py [--pis]

Here (benchmarks/hosts.json) all files of a net take turns in one process and on one thread, in each
runtime that is installed, so that what else the machine does meets all alike; the fastest of each
counts. With --pis the instructions of C on emulated cores are counted (benchmarks/pis.json, which
`make test-mcu` compares with); those of the runtimes are in benchmarks/arm_instructions.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgegolf.backends import c
from edgegolf.bench.inputs import example_inputs
from edgegolf.bench.latency import run_for, time_calls
from edgegolf.bench.system import describe_system
from edgegolf.cards import read_card
from edgegolf.emulation.cores import PIS, run_on_core
from edgegolf.emulation.instructions import read_instructions
from edgegolf.errors import EdgegolfError
from edgegolf.export.c_files import random_inputs
from edgegolf.files import write_atomically
from edgegolf.frontends.tflite import read_graph
from edgegolf.progress import track
from edgegolf.report.table import Table
from edgegolf.runtimes import open_session

ROOT = Path(__file__).parent.parent
RECORD, PI_RECORD = (Path(__file__).with_name(f"{name}.json") for name in ("hosts", "pis"))
INSTRUCTIONS = Path(__file__).with_name("arm_instructions.json")
RUNTIMES = {".tflite": ("litert", "tflite-runtime", "c"), ".onnx": ("onnxruntime",)}
MOST_PARAMETERS = 10_000
ROUNDS, SECONDS = 7, 0.06  # turns, and how long each file has in one


def main() -> None:
    """Measure all small nets, or count all, and write the record."""
    if sys.argv[1:] == ["--pis"]:
        folders = [f for f in sorted((ROOT / "models/mnist").iterdir()) if read_card(f)]
        counts: dict[str, Any] = {}
        for folder in track(folders, "counting", len(folders)):
            counts[folder.name] = counted(folder)
            write_atomically(PI_RECORD, json.dumps(counts, indent=1) + "\n")
        print(pis_markdown())
        return
    cards = {f: c for f in sorted((ROOT / "models/mnist").iterdir()) if (c := read_card(f))}
    small = [folder for folder, card in cards.items() if card.parameters < MOST_PARAMETERS]
    nets = {folder.name: fastest(folder) for folder in track(small, "timing", len(small))}
    found = {"system": describe_system().cpu, "nets": nets}
    write_atomically(RECORD, json.dumps(found, indent=1) + "\n")
    print(hosts_markdown())


def fastest(folder: Path) -> dict[str, Any]:
    """Microseconds of one inference in C and in the best runtime, and of which files."""
    sessions, random = {}, np.random.default_rng(0)
    for path in sorted(folder.glob("*.*")):
        for runtime in RUNTIMES.get(path.suffix, ()):
            try:
                session = open_session(path, runtime)
            except EdgegolfError:  # C is of integers only; a runtime may lack an operator
                continue
            session.set_inputs(example_inputs(session.inputs))
            run_for(session.invoke, SECONDS)
            sessions[runtime, path.name] = session
    names = list(sessions)
    times: dict[tuple[str, str], list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for index in random.permutation(len(names)):
            name = names[index]
            times[name].append(float(np.median(time_calls(sessions[name].invoke, SECONDS))))
    found = {}
    for key, is_c in (("c", True), ("runtime", False)):
        least = {name: min(each) / 1000 for name, each in times.items() if (name[0] == "c") == is_c}
        best = min(least, key=lambda name: least[name])
        found[key] = {"us": round(least[best], 2), "file": best[1], "by": best[0]}
    return found


def counted(folder: Path) -> dict[str, dict[str, Any]]:
    """Instructions of one inference in C, and of the file that takes fewest, by core."""
    files = [p for p in sorted(folder.glob("int8*.tflite")) if not c.unsupported(read_graph(p))]
    found = {}
    for core in PIS:
        counts = {path.name: count(path, core) for path in files}
        best = min(counts, key=lambda name: counts[name])
        found[core] = {"instructions": counts[best], "file": best}
    return found


def count(path: Path, core: str) -> int:
    """Instructions of one inference in C; its outputs are right there."""
    graph = read_graph(path)
    golden = random_inputs(graph.inputs[0], 2)
    return run_on_core(PIS[core], c.write(graph, "net", golden, "speed", "aarch64"), True).count


def pi_shares() -> dict[str, dict[str, tuple[int, str, int, str]]]:
    """By net and core: C's instructions and file, those of the best runtime, and which it is."""
    runtimes = [each for each in read_instructions(INSTRUCTIONS) if each.instructions]
    found: dict[str, dict[str, tuple[int, str, int, str]]] = {}
    for net, cores in json.loads(PI_RECORD.read_text()).items():
        for core, mine in cores.items():
            best = min(
                (each.instructions or 0, f"{each.runtime}, {Path(each.file).name}")
                for each in runtimes
                if each.cpu == core and Path(each.file).parent.name == net
            )
            found.setdefault(net, {})[core] = (mine["instructions"], mine["file"], *best)
    return found


def pis_markdown() -> str:
    """Those as a table."""
    rows = [
        (f"`{net}`", core, f"{mine:,}", f"{best:,}", name, f"{mine / best:.2f}")
        for net, cores in pi_shares().items()
        for core, (mine, _, best, name) in cores.items()
    ]
    header = ("net", "core", "C", "best runtime", "which", "C / it")
    return Table(header, tuple(rows)).markdown()


def hosts_markdown() -> str:
    """The record as a table."""
    found: dict[str, Any] = json.loads(RECORD.read_text())
    rows = [
        (f"`{net}`", f"{c['us']:.1f} µs", c["file"], f"{best['us']:.1f} µs",
         f"{best['by']}, {best['file']}", f"{c['us'] / best['us']:.2f}")
        for net, each in found["nets"].items()
        for c, best in [(each["c"], each["runtime"])]
    ]  # fmt: skip
    header = ("net", "C", "of", "best runtime", "which", "C / it")
    return f"On {found['system']}:\n\n{Table(header, tuple(rows)).markdown()}"


if __name__ == "__main__":
    main()
