"""The C of nets is right on emulated microcontrollers, and takes no more than committed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ir_nets import pixels, uneven_net

from edgegolf.backends import c
from edgegolf.emulation.cores import CORES, PIS, Core, missing, run_on_core
from edgegolf.export.c_files import random_inputs
from edgegolf.frontends.tflite import read_graph
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.quantization import Quantization, quantized

ROOT = Path(__file__).parents[2]
COUNTS = json.loads((ROOT / "benchmarks" / "microcontrollers.json").read_text())
TOLERANCE = 1.02


FOLDERS = (ROOT, Path(os.environ.get("EDGEGOLF_DATA", ".")))


@pytest.mark.mcu
@pytest.mark.parametrize(
    ("name", "optimize"), [(name, optimize) for name, runs in COUNTS.items() for optimize in runs]
)
def test_a_net_takes_no_more_than_committed(name: str, optimize: c.Optimize) -> None:
    paths = [folder / "models" / f"{name}.tflite" for folder in FOLDERS]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        pytest.skip(f"{name}.tflite is not at hand")
    graph, committed = read_graph(path), COUNTS[name][optimize]
    files = c.write(graph, "net", random_inputs(graph.inputs[0], 2), optimize)
    assert files.arena_bytes <= committed["arena"]
    assert files.scratch_bytes <= committed["scratch"]
    for core, expected in committed["cores"].items():
        skip_without(CORES[core])
        found = run_on_core(CORES[core], files, optimize == "speed")
        assert found.flash_bytes <= expected["flash"] * TOLERANCE
        assert found.count <= expected["count"] * TOLERANCE


@pytest.mark.mcu
@pytest.mark.parametrize("net", ["pooled_linear", "cnn-2", "tight_resnet"])
@pytest.mark.parametrize("core", PIS)
def test_vectors_take_no_more_than_committed(net: str, core: str) -> None:
    skip_without(PIS[core])
    committed = json.loads((ROOT / "benchmarks" / "pis.json").read_text())[net][core]
    graph = read_graph(ROOT / "models" / "mnist" / net / committed["file"])
    files = c.write(graph, "net", random_inputs(graph.inputs[0], 2), "speed", "aarch64")
    assert run_on_core(PIS[core], files, True).count <= committed["instructions"] * TOLERANCE


@pytest.mark.mcu
@pytest.mark.parametrize("core", CORES)
def test_what_is_fast_is_right(core: str) -> None:
    skip_without(CORES[core])
    net = uneven_net()
    for scales in ("tensor", "channel"):
        found = calibrate(net, ranges(net, [pixels(net, 20)]), Scheme("leaky", "own", scales))
        graph = quantized(net, Quantization(found.activations, found.weights))
        files = c.write(graph, "net", random_inputs(graph.inputs[0], 4), "speed")
        run_on_core(CORES[core], files, scales == "channel")


def skip_without(core: Core) -> None:
    if missing(core):
        pytest.skip(f"{missing(core)} is not installed")
