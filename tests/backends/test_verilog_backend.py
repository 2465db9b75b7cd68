"""Circuits, simulated, give every logit of the interpreter."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_graphs import STEPS, float_graphs
from test_random_graphs import SCHEMES, in_integers, integers

from edgegolf.backends import verilog
from edgegolf.errors import EdgegolfError
from edgegolf.ir import Graph
from edgegolf.quantize.calibration import Scheme

ONE_SCALE = Scheme("leaky", "one", "one")
simulated = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="iverilog is missing: apt-get install iverilog"
)


def simulate(graph: Graph, lanes: int, spoil: str = "") -> str:
    """What the testbench says of a few images; `spoil` makes a memory image wrong."""
    images = integers(graph, 3)
    machine = verilog.machine(graph, lanes)
    files = verilog.write(machine, "a test")
    if spoil:
        first, *rest = files[spoil].splitlines()
        files[spoil] = "\n".join([f"{int(first, 16) ^ 1:x}", *rest])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (*files.items(), ("testbench.v", verilog.testbench(machine))):
            (folder / file).write_text(text)
        logits = verilog.logits(graph, images)
        (folder / "vectors.bin").write_bytes(verilog.vectors(images, logits))
        command = ["iverilog", "-g2005", "-Wall", "-Wno-timescale", "-o", "sim"]
        built = subprocess.run(
            [*command, "circuit.v", "testbench.v"], cwd=folder, capture_output=True, text=True
        )
        assert (built.returncode, built.stderr) == (0, "")
        told = subprocess.run(["./sim", "+images=3"], cwd=folder, capture_output=True, text=True)
    if told.stdout.startswith("PASSED"):
        assert abs(int(told.stdout.split()[3]) - machine.cycles) < 40
    return told.stdout


@simulated
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    float_graphs(tuple(s for s in STEPS if s != "average"), classify=True), SCHEMES,
    st.sampled_from([1, 2, 3, 4, 8]),
)  # fmt: skip
def test_circuit_gives_the_logits_of_the_interpreter(
    graph: Graph, scheme: Scheme, lanes: int
) -> None:
    whole = in_integers(graph, scheme)
    try:
        verilog.machine(whole, lanes)
    except EdgegolfError:
        assume(False)
    assert simulate(whole, lanes).startswith("PASSED")
