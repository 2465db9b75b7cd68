"""Circuits, simulated, give every logit of the interpreter."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ir_nets import Builder, pixels, plain_net, shared_net
from random_graphs import float_graphs
from test_random_graphs import SCHEMES, in_integers, integers

from edgegolf.backends import verilog
from edgegolf.backends.verilog.rounding import addition, requantization, scaling
from edgegolf.errors import EdgegolfError
from edgegolf.ir import Graph, Node, QuantParams, Tensor, ops
from edgegolf.ir.fixed_point import Requant, Rounding
from edgegolf.ir.interpreter import run
from edgegolf.passes.fusion import fuse_activations
from edgegolf.passes.rerolling import reroll
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.quantization import quantized

ONE_SCALE = Scheme("leaky", "one", "one")
simulated = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="iverilog is missing: apt-get install iverilog"
)


def simulate(
    graph: Graph, lanes: int, spoil: str = "", weights: str = "rom", sprams: bool = False
) -> str:
    """What the testbench says of a few images; `spoil` makes a memory image wrong."""
    images = integers(graph, 3)
    machine = verilog.machine(graph, lanes, sprams)
    files = verilog.write(machine, "a test", weights)
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
        # How many writes a walk waits for that would wait anyhow is not known.
        most = 40 + machine.cycles // 12 * sprams
        assert abs(int(told.stdout.split()[3]) - machine.cycles) < most
    return told.stdout


@simulated
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    float_graphs(most=3), SCHEMES, st.sampled_from([1, 2, 3, 4, 8]),
    st.sampled_from(["rom", "logic"]),
)  # fmt: skip
def test_circuit_gives_the_logits_of_the_interpreter(
    graph: Graph, scheme: Scheme, lanes: int, weights: str
) -> None:
    whole = in_integers(graph, scheme)
    try:
        verilog.machine(whole, lanes)
    except EdgegolfError:
        assume(False)
    assert simulate(whole, lanes, weights=weights).startswith("PASSED")


def net_of(kind: str) -> Graph:
    """One operator between a convolution and a dense layer, or a whole net."""
    if kind == "loop":
        return reroll(shared_net(iterations=3, channels=5))
    if kind == "plain":
        return plain_net()
    build = Builder(7, 6, 2)
    hidden = build.convolve(build.source, build.weight(5, 3, 2, 2), build.weight(5))
    _, height, width, channels = hidden.shape
    if kind == "groups":
        hidden = build.convolve(build.reshape(hidden, 5, 1, 25), build.weight(10, 2, 1, 5))
    elif kind == "multiplier":
        hidden = build.depthwise(hidden, build.weight(1, 2, 2, 2 * channels), strides=(2, 2))
    elif kind == "dilation":
        hidden = build.convolve(hidden, build.weight(3, 2, 2, channels), dilation=(2, 3))
    elif kind == "average":
        padding = ops.same_padding((height, width), (3, 2), (2, 1))
        hidden = build.pool(ops.AveragePool2D, hidden, (3, 2), (2, 1), padding)
    elif kind == "pads":
        hidden = build.apply(ops.Pad(((0, 0), (2, 0), (0, 1), (0, 0))), hidden)
        hidden = build.crop(build.relu(hidden), ((1, 1), (0, 0)))
        hidden = build.depthwise(hidden, build.weight(1, 3, 3, channels), padding=((1, 1), (1, 1)))
    elif kind == "reshape":
        hidden = build.relu(build.reshape(hidden, height, 1, width * channels))
    elif kind == "concatenate":
        other = build.pool(ops.MaxPool2D, hidden, (3, 3), padding=((1, 1), (1, 1)))
        hidden = build.apply(ops.Concatenate(3), hidden, other, hidden)
    elif kind == "subtract":
        upper, lower = build.crop(hidden, ((0, 1), (0, 0))), build.crop(hidden, ((1, 0), (0, 0)))
        hidden = build.apply(ops.Sub(), build.apply(ops.LeakyReLU(0.3), upper), lower)
    elif kind == "mean":
        hidden = build.apply(ops.Mean((1, 2)), hidden, shape=(channels,))
    matrix = build.weight(4, hidden.elements, size=0.2)
    return build.graph(build.dense(build.flatten(hidden), matrix, build.weight(4)))


@simulated
@pytest.mark.parametrize(
    ("kind", "lanes"),
    [("loop", 4), ("loop", 5), ("plain", 1), ("groups", 4), ("multiplier", 3), ("dilation", 2),
     ("average", 4), ("pads", 4), ("reshape", 2), ("concatenate", 3), ("subtract", 2),
     ("mean", 8)],
)  # fmt: skip
def test_every_operator(kind: str, lanes: int) -> None:
    for scheme, weights in ((ONE_SCALE, "rom"), (Scheme("requantize", "own", "channel"), "logic")):
        told = simulate(in_integers(net_of(kind), scheme), lanes, weights=weights)
        assert told.startswith("PASSED")


@simulated
def test_scales_that_are_powers_of_two_need_no_multiplier() -> None:
    graph = fuse_activations(net_of("subtract"))
    usual = calibrate(graph, ranges(graph, [pixels(graph, 20)]), ONE_SCALE)
    powers = usual.in_powers_of_two()
    pairs = [(getattr(usual, n)[t], getattr(powers, n)[t])
             for n in ("activations", "weights") for t in getattr(usual, n)]  # fmt: skip
    assert all(0.95 < p.scale[0] / u.scale[0] < 2 for u, p in pairs)
    assert all(np.log2(p.scale[0]).is_integer() for _, p in pairs)
    longest = [verilog.machine(quantized(graph, each)).columns["multiplier"].bits
               for each in (usual, powers)]  # fmt: skip
    assert longest[0] > 8
    assert longest[1] == 1
    assert simulate(quantized(graph, powers), 2).startswith("PASSED")


@simulated
@pytest.mark.parametrize(
    ("kind", "lanes"),
    [("loop", 1), ("loop", 2), ("loop", 3), ("loop", 4), ("plain", 4), ("concatenate", 3),
     ("concatenate", 4), ("subtract", 4), ("average", 2)],
)  # fmt: skip
def test_memories_that_read_or_write_in_a_cycle(kind: str, lanes: int) -> None:
    whole = in_integers(net_of(kind), ONE_SCALE)
    told = simulate(whole, lanes, sprams=True)
    assert told.startswith("PASSED")


@simulated
def test_a_loop_is_a_loop_in_the_controller() -> None:
    whole = in_integers(net_of("loop"), ONE_SCALE)
    machine = verilog.machine(whole)
    assert machine.loops[0][2] == 3
    assert len(machine.names) == len(
        verilog.machine(in_integers(shared_net(1, 5), ONE_SCALE)).names
    )


@simulated
@pytest.mark.parametrize("file", ["weights.hex", "parameters.hex"])
def test_a_wrong_constant_is_found(file: str) -> None:
    whole = in_integers(net_of("reshape"), Scheme("leaky", "own", "tensor"))
    assert simulate(whole, 1, spoil=file).startswith("FAILED")


def test_requantizations_are_exact_at_every_accumulator() -> None:
    random = np.random.default_rng(0)
    for factor in 10 ** random.uniform(-3.5, -0.3, 12):
        for rounding in Rounding:
            requant, zero = Requant.of(factor, rounding), int(random.integers(-128, 128))
            found = requantization(requant, zero, -128, 127, 300_000)
            numbers = np.arange(-300_000, 300_001)
            expected = np.clip(requant(numbers) + zero, -128, 127)
            np.testing.assert_array_equal(np.clip(found(numbers), -128, 127), expected)
            assert found.multiplier < 2**25


def test_what_has_no_short_form_is_refused() -> None:
    with pytest.raises(EdgegolfError, match="no exact short form"):
        scaling(lambda numbers: np.where(numbers > 0, 100, numbers // 7), 0, -128, 127, 1000)


@given(
    st.lists(st.floats(0.002, 0.2), min_size=3, max_size=3),
    st.lists(st.integers(-128, 127), min_size=3, max_size=3), st.booleans(),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_additions_are_exact_for_all_pairs(
    scales: list[float], zeros: list[int], subtracts: bool
) -> None:
    quants = [
        QuantParams((float(np.float32(s)),), (z,)) for s, z in zip(scales, zeros, strict=True)
    ]
    shapes = (256, 1), (1, 256), (256, 256)
    first, second, output = (Tensor(s, "int8", q) for s, q in zip(shapes, quants, strict=True))
    node = Node(ops.Sub() if subtracts else ops.Add(), (first, second), (output,))
    try:
        found = addition(node)
    except EdgegolfError:
        assume(False)
    numbers = np.arange(-128, 128)
    images = [numbers.astype(np.int8).reshape(tensor.shape) for tensor in (first, second)]
    (expected,) = run(Graph((first, second), (output,), (node,)), images)
    sums = found.first * numbers[:, None] + found.second * numbers + found.constant
    rounded = (sums + np.where(sums < 0, found.negative, found.positive)) >> found.shift
    np.testing.assert_array_equal(np.clip(rounded, -128, 127), expected)


def test_what_is_missing_is_refused_by_name() -> None:
    build = Builder(6, 6, 2)
    hidden = build.apply(ops.Transpose((0, 2, 1, 3)), build.source)
    graph = build.graph(build.apply(ops.Maximum(), hidden, build.source))
    assert set(verilog.unsupported(graph)) >= {"Transpose"}
    with pytest.raises(EdgegolfError, match="Transpose"):
        verilog.machine(graph)
