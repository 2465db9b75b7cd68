"""What others' tools make of the same nets on a Cortex-M4: benchmarks/peers.json, docs/c.md.

    python benchmarks/peers.py [ONNX2C]

TensorFlow Lite Micro is its package `tflite-micro`, whose arena is the host's, of 64-bit pointers;
ONNX2C is the program of that project, whose C is compiled for a core with a floating-point unit and
run in QEMU. What is not at hand keeps its last figures. Others published theirs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from microcontrollers import COUNTS, ROOT

from edgegolf.backends.c import CFiles
from edgegolf.cards import read_card
from edgegolf.data import load_dataset
from edgegolf.emulation.cores import CORES, run_on_core
from edgegolf.files import write_atomically
from edgegolf.report.table import Table
from edgegolf.runtimes import open_session

RECORD = Path(__file__).with_name("peers.json")
NETS = {"double_cnn-2": "int8-smallest", "tight_resnet": "int8", "pooled_mlp-64": "int8"}
CORE = "cortex-m4"
FLOATS = replace(
    CORES[CORE],
    compiler=(*CORES[CORE].compiler, "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
)
ARENA = """
import sys
from tflite_micro.python.tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=1 << 20).print_allocations()
"""
#: What others say of nets of their own, with where.
PUBLISHED = (
    ("BitNetMCU, 12k", "99.02%", "12.3 kB", "", "528 k cycles (M0)", "its README"),
    ("BitNetMCU, CNN", "98.92%", "3.2 kB of weights", "", "686 k cycles (M0)", "its README"),
    ("TinyMaix, `mnist_valid_q`", "", "2.4 kB and code", "1.4 kB", "", "its benchmark.md"),
    ("EON Compiler", "", "10–35 % less than TFLM", "25–65 % less", "", "its manual"),
    ("MicroFlow, no net for MNIST", "", "", "from 2 kB on", "", "arXiv 2409.19432"),
    ("LogNNet, on an Arduino Uno", "82%", "", "over 1 kB", "7 s", "arXiv 2105.02953"),
)


def main() -> None:
    """Measure what is at hand, and write the record."""
    found: dict[str, dict[str, dict[str, int]]] = json.loads(RECORD.read_text())
    for net, stem in NETS.items():
        folder = ROOT / "models" / "mnist" / net
        rows = found.setdefault(net, {})
        if (arena := arena_of(folder / f"{stem}.tflite")) is not None:
            rows["TFLM"] = {"ram": arena}
        if len(sys.argv) > 1:
            rows["onnx2c"] = compiled_floats(sys.argv[1], folder / "float32.onnx")
    write_atomically(RECORD, json.dumps(found, indent=2) + "\n")


def arena_of(path: Path) -> int | None:
    """The bytes that TensorFlow Lite Micro takes for a file; None without it."""
    done = subprocess.run(
        [sys.executable, "-c", ARENA, str(path)], capture_output=True, text=True, timeout=600
    )
    said = re.search(r"Arena allocation total (\d+)", done.stdout + done.stderr)
    return int(said[1]) if said else None


def compiled_floats(program: str, path: Path) -> dict[str, int]:
    """What the C of onnx2c takes; its two largest scores must be those of onnxruntime."""
    source = subprocess.run([program, str(path)], capture_output=True, text=True, check=True).stdout
    images = load_dataset("mnist").split("validation").images[:2]
    pixels = (images / np.float32(255)).astype(np.float32)
    with open_session(path) as session:
        answers = [int(session.run([each[None]])[0].argmax()) for each in pixels]
    numbers = ",".join(
        "{" + ",".join(f"{float(number):.9e}f" for number in each.ravel()) + "}" for each in pixels
    )
    glue = f"""
static const float images[2][784] = {{{numbers}}};
static int answer(const float *image) {{
  static float input[1][28][28][1], scores[1][10];
  memcpy(input, image, sizeof input);
  entry((void *)input, scores);
  int best = 0;
  for (int i = 1; i < 10; i++) if (scores[0][i] > scores[0][best]) best = i;
  return best;
}}
int net_argmax(void) {{
  static float image[784];
  return answer(image);
}}
int net_selftest(void) {{
  return answer(images[0]) != {answers[0]} || answer(images[1]) != {answers[1]};
}}
"""
    files = CFiles("net", source + glue, "int net_argmax(void);\n", 0, 0, 0, None)
    run = run_on_core(FLOATS, files, fast=True)
    return {"flash": run.flash_bytes, "ram": run.ram_bytes, "count": run.count}


def peers_markdown() -> str:
    """The record and what others published, as a table."""
    found: dict[str, dict[str, dict[str, int]]] = json.loads(RECORD.read_text())
    ours: dict[str, Any] = json.loads(COUNTS.read_text())
    rows: list[tuple[str, ...]] = []
    for net, stem in NETS.items():
        card = read_card(ROOT / "models" / "mnist" / net)
        assert card is not None
        files = card.files

        def accuracy(name: str, files: Any = files) -> str:
            return f"{files[name].test_accuracy:.2%}"

        for optimize, runs in ours[f"mnist/{net}/{stem}"].items():
            if core := runs["cores"].get(CORE):
                ram = runs["arena"] + runs["scratch"]
                rows.append(
                    (f"`{net}`, edgegolf c, {optimize}", accuracy(f"{stem}.tflite"),
                     f"{core['flash']:,} B", f"{ram:,} B", f"{core['count']:,}", "measured")
                )  # fmt: skip
        if peer := found[net].get("onnx2c"):
            rows.append(
                (f"`{net}`, onnx2c, floats", accuracy("float32.onnx"), f"{peer['flash']:,} B",
                 f"{peer['ram']:,} B", f"{peer['count']:,}", "measured, M4F")
            )  # fmt: skip
        if peer := found[net].get("TFLM"):
            rows.append(
                (f"`{net}`, TensorFlow Lite Micro", accuracy(f"{stem}.tflite"), "",
                 f"{peer['ram']:,} B", "", "measured, on x86-64")
            )  # fmt: skip
    header = ("net", "accuracy", "flash", "RAM", "instructions", "from")
    return Table(header, (*rows, *PUBLISHED)).markdown()


if __name__ == "__main__":
    main()
