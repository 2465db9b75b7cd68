"""`edgegolf circuit`: its folder, its simulation, its synthesis."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from ir_nets import Builder, pixels

from edgegolf.backends import tflite
from edgegolf.circuit.flow import count_cells, place, simulate_netlist
from edgegolf.circuit.project import write_project
from edgegolf.cli import cli
from edgegolf.errors import EdgegolfError
from edgegolf.export.variants import ONE_SCALE, simplified
from edgegolf.footprint.measure import circuit_costs
from edgegolf.footprint.result import BLOCK_RAMS, CYCLES, LUTS
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph, ops
from edgegolf.ir.interpreter import run as interpret
from edgegolf.passes.fusion import fuse_activations
from edgegolf.quantize.calibration import calibrate, ranges
from edgegolf.quantize.quantization import quantized

MODELS = Path(__file__).parent.parent.parent / "models" / "mnist"


def small_graph() -> Graph:
    """A convolution, a sum, and a dense layer."""
    build = Builder(6, 5, 1)
    hidden = build.relu(build.convolve(build.source, build.weight(3, 3, 3, 1), build.weight(3)))
    other = build.convolve(hidden, build.weight(3, 1, 1, 3))
    return in_integers(build.classify(build.apply(ops.Add(), hidden, other), 4))


def in_integers(graph: Graph) -> Graph:
    fused = fuse_activations(simplified(graph))
    return quantized(fused, calibrate(fused, ranges(fused, [pixels(graph, 20)]), ONE_SCALE))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.tflite"
    path.write_bytes(tflite.write(small_graph()))
    return path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli, ["circuit", *map(str, arguments)])
    if isinstance(result.exception, EdgegolfError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_it_writes_a_folder_that_needs_no_edgegolf(file: Path) -> None:
    told = run(file)
    folder = file.with_suffix(".circuit")
    assert "make -C" in told
    assert {"circuit.v", "weights.hex", "testbench.v", "vectors.bin", "Makefile"} <= {
        *os.listdir(folder)
    }
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    run(file, "-o", folder)
    assert times == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    run(file, "-o", folder, "--parallel", 2)
    assert times != {path: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is missing")
def test_simulation_compares_every_logit(file: Path) -> None:
    told = json.loads(run(file, "--simulate", 5, "--json"))
    assert (told["simulated"], told["simulator"]) == (5, "iverilog")
    subprocess.run(  # no keyword of SystemVerilog, which verilator reads, is a name
        ["iverilog", "-g2012", "-tnull", file.with_suffix(".circuit") / "circuit.v"], check=True
    )
    weights = file.with_suffix(".circuit") / "weights.hex"
    correct = weights.read_text()
    weights.write_text(correct[::-1].strip() + "\n")
    run(file, "--simulate", 5)  # what was spoiled is written anew
    assert weights.read_text() == correct


def test_a_missing_tool_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EdgegolfError) as raised:
        run(file, "--simulate", 1)
    assert "missing" in raised.value.message
    assert "apt-get install" in raised.value.hint
    with pytest.raises(EdgegolfError, match="yosys is missing"):
        run(file, "--synthesize")


@pytest.mark.parametrize("net", sorted(path.name for path in MODELS.iterdir()))
def test_nets_of_the_zoo_become_circuits(net: str, tmp_path: Path) -> None:
    told = json.loads(run(MODELS / net / "int8.tflite", "-o", tmp_path, "--json"))
    assert told["macs"] / told["lanes"] < told["cycles"]


def test_a_twin_is_told_beside_it(tmp_path: Path) -> None:
    shared, unshared = (MODELS / f"tight_resnet{n}" / "int8.tflite" for n in ("", "_unshared"))
    told = json.loads(run(shared, "--twin", unshared, "-o", tmp_path / "circuit", "--json"))
    assert told["twin"]["weight_bytes"] > told["weight_bytes"]
    assert (tmp_path / "circuit.twin" / "circuit.v").exists()


def test_float_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgegolfError, match=r"float32.tflite: .*int8"):
        run(MODELS / "tight_resnet" / "float32.tflite", "-o", tmp_path)


@pytest.mark.circuit
@pytest.mark.parametrize(
    ("device", "weights"), [("up5k", "rom"), ("hx8k", "rom"), ("up5k", "logic")]
)
def test_netlists_give_every_logit_and_are_placed(
    device: str, weights: str, tmp_path: Path
) -> None:
    for tool in ("yosys", "iverilog", "nextpnr-ice40"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing")
    project = write_project(small_graph(), "small", tmp_path, 2, weights=weights)
    cells = count_cells(project, device)
    assert (cells.multipliers > 0) == (device == "up5k")  # those that scale, for weights as logic
    netlist = tmp_path / f"netlist-{device}.json"
    made = netlist.stat().st_mtime_ns
    assert count_cells(project, device) == cells
    assert netlist.stat().st_mtime_ns == made
    fit = place(project, cells, 1)
    assert fit.used >= cells.luts
    simulate_netlist(project, device, 3)
    if weights == "logic":
        memories = write_project(small_graph(), "small", tmp_path / "rom", 2)
        assert count_cells(memories, device).block_rams > cells.block_rams
        return
    plant_wrong_weights(netlist.with_suffix(".v"))
    with pytest.raises(EdgegolfError, match="logits and labels of 1 images differ"):
        simulate_netlist(project, device, 1)


@pytest.mark.circuit
def test_images_lie_in_sprams_where_block_ram_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("yosys", "iverilog"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing")
    usual = write_project(small_graph(), "small", tmp_path / "usual", 2, for_up5k=True)
    assert "SB_SPRAM256KA" not in (tmp_path / "usual" / "circuit.v").read_text()
    monkeypatch.setattr("edgegolf.circuit.project.BLOCK_RAMS", usual.machine.block_rams - 1)
    project = write_project(small_graph(), "small", tmp_path, 2, for_up5k=True)
    assert count_cells(project, "up5k").sprams == 2
    simulate_netlist(project, "up5k", 2)


@pytest.mark.circuit
@pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys is missing")
def test_footprints_tell_cells_and_cycles() -> None:
    file = MODELS / "pooled_linear" / "int8.tflite"
    found = {cost.name: cost.value for cost in circuit_costs(file)}
    assert found.keys() == {LUTS, BLOCK_RAMS, CYCLES}
    assert min(found.values()) > 0
    assert not list(circuit_costs(file.with_name("float32.tflite")))


def plant_wrong_weights(netlist: Path) -> None:
    """Complement the second word of the weights: the first word is only used by other nets."""
    text = netlist.read_text()
    found = re.search("INIT_0[(]256'h[0-9a-fx]*([0-9a-f]{4})[0-9a-f]{4}[)]", text)
    assert found is not None
    word = f"{0xFFFF ^ int(found[1], 16):04x}"
    netlist.write_text(text[: found.start(1)] + word + text[found.end(1) :])


BOARD = Path(__file__).parent.parent.parent / "deploy" / "fpga"


def make_board(folder: Path, *arguments: str) -> str:
    """Run make in a copy of deploy/fpga, with the edgegolf of the tests."""
    shutil.copytree(BOARD, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("circuit"))
    edgegolf = f"EDGEGOLF={sys.executable} -m edgegolf"
    done = subprocess.run(
        ["make", edgegolf, *arguments], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(BOARD.parent.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.circuit
def test_the_board_answers_on_its_serial_line(tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is missing")
    settings = (f"MODEL={MODELS / 'pooled_linear' / 'int8.tflite'}", "PARALLEL=1", "DIVIDER=16")
    assert "PASSED: 3 images" in make_board(tmp_path, "simulate", "IMAGES=3", *settings)
    vectors = tmp_path / "circuit" / "vectors.bin"
    data = bytearray(vectors.read_bytes())
    data[794] ^= 1  # the label of the first image
    (tmp_path / "wrong.bin").write_bytes(data)
    told = subprocess.run(
        ["./digits.out", "+images=1", "+vectors=wrong.bin"],
        cwd=tmp_path, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "FAILED: 1 answers of 1 images are wrong" in told


def test_pictures_are_sent_as_the_net_takes_them(tmp_path: Path) -> None:
    """The interpreter sits at the other end of a line that is no chip's."""
    model = read_graph(MODELS / "pooled_linear" / "int8.tflite")
    ours, theirs = os.openpty()
    picture = BOARD.parent.parent / "docs" / "seven.png"
    sender = subprocess.Popen(
        [sys.executable, "send.py", os.ttyname(theirs), str(picture)],
        cwd=BOARD, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(BOARD.parent.parent)},
    )  # fmt: skip
    data = b""
    while len(data) < 784:
        assert select.select([ours], [], [], 60)[0], "nothing comes"
        data += os.read(ours, 784)
    image = np.frombuffer(data, np.int8).reshape(1, *model.inputs[0].shape[1:])
    (logits,) = interpret(model, [image])
    os.write(ours, f"{logits.argmax()}\n".encode())
    assert sender.communicate()[0] == f"{picture}: 7\n"


@pytest.mark.circuit
@pytest.mark.parametrize("board", ["icesugar", "icebreaker"])
def test_the_board_has_a_bitstream(board: str, tmp_path: Path) -> None:
    for tool in ("yosys", "nextpnr-ice40", "icepack"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing")
    model = MODELS / "pooled_linear" / "int8.tflite"
    told = make_board(tmp_path, "digits.bin", f"MODEL={model}", f"BOARD={board}", "PARALLEL=1")
    assert "PASS at 12.00 MHz" in told
    assert (tmp_path / "digits.bin").stat().st_size > 100_000
