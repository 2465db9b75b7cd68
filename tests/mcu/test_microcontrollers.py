"""The C of nets is right on emulated microcontrollers, and takes no more than committed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgegolf.backends import c
from edgegolf.emulation.microcontrollers import CORES, missing, run_on_core
from edgegolf.export.c_files import random_inputs
from edgegolf.frontends.tflite import read_graph

ROOT = Path(__file__).parents[2]
COUNTS = json.loads((ROOT / "benchmarks" / "microcontrollers.json").read_text())
TOLERANCE = 1.02


@pytest.mark.mcu
@pytest.mark.parametrize("name", COUNTS)
def test_a_net_takes_no_more_than_committed(name: str) -> None:
    graph = read_graph(ROOT / "models" / "mnist" / f"{name}.tflite")
    files = c.write(graph, "net", random_inputs(graph.inputs[0], 2))
    assert files.arena_bytes <= COUNTS[name]["arena"]
    for core, expected in COUNTS[name]["cores"].items():
        if missing(CORES[core]):
            pytest.skip(f"{missing(CORES[core])} is not installed")
        found = run_on_core(CORES[core], files)
        assert found.flash_bytes <= expected["flash"] * TOLERANCE
        assert found.count <= expected["count"] * TOLERANCE
