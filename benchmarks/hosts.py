"""C on this machine beside the fastest runtime: benchmarks/hosts.json, docs/c.md.

    python benchmarks/hosts.py

All files of a net take turns in one process and on one thread, in each runtime that is installed,
so that what else the machine does meets all alike; the fastest of each counts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgegolf.bench.inputs import example_inputs
from edgegolf.bench.latency import run_for, time_calls
from edgegolf.bench.system import describe_system
from edgegolf.cards import read_card
from edgegolf.errors import EdgegolfError
from edgegolf.files import write_atomically
from edgegolf.progress import track
from edgegolf.report.table import Table
from edgegolf.runtimes import open_session

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).with_name("hosts.json")
RUNTIMES = {".tflite": ("litert", "tflite-runtime", "c"), ".onnx": ("onnxruntime",)}
MOST_PARAMETERS = 10_000
ROUNDS, SECONDS = 7, 0.06  # turns, and how long each file has in one


def main() -> None:
    """Measure all small nets, and write the record."""
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
