"""The C of a net compiles without a warning and gives every bit of what the interpreter gives."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ir_nets import Builder, pixels, uneven_net
from random_graphs import float_graphs

from edgegolf.backends import c
from edgegolf.backends.c.compiling import STRICT, differing, find_compiler, footprint, this_machine
from edgegolf.backends.c.requant import Staircase, Stored, staircase
from edgegolf.export.c_files import random_inputs
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph, Node, Op, QuantParams, Tensor, ops
from edgegolf.ir.fixed_point import Requant, Rounding
from edgegolf.ir.interpreter import run
from edgegolf.passes.fusion import fuse_activations
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.quantization import Quantization, quantized
from edgegolf.runtimes import open_session

MODELS = Path(__file__).parents[2] / "models"
NETS = ("double_cnn-2/int8-smallest", "pooled_mlp-64/int8", "random_cnn/int8", "tight_resnet/int8")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def assert_equal(graph: Graph, options: tuple[str, ...] = ("-O0",), count: int = 20) -> c.CFiles:
    files, *others = (c.write(graph, "net", optimize=each) for each in ("size", "speed", "ram"))
    for each in {each.source: each for each in (files, *others)}.values():
        assert differing(graph, each, random_inputs(graph.inputs[0], count), options) == 0
    vectors = c.write(graph, "net", target="x86")
    for more in ((), ("-march=native",)):  # without and, if there are some, with vectors
        assert differing(graph, vectors, random_inputs(graph.inputs[0], count), options + more) == 0
    return files


@needs_compiler
@pytest.mark.parametrize("net", NETS)
def test_a_net_is_the_reference_kernels_bit_by_bit(net: str) -> None:
    path = MODELS / "mnist" / f"{net}.tflite"
    graph = read_graph(path)
    images = random_inputs(graph.inputs[0], 50)
    for optimize in ("size", "speed"):
        assert differing(graph, c.write(graph, "net", optimize=optimize), images) == 0
    with open_session(path, "litert-reference") as session:
        found = [session.run([image[None]])[0] for image in images]
    np.testing.assert_array_equal(np.concatenate(found), run(graph, [images])[0])


@needs_compiler
@pytest.mark.skipif(this_machine() != "x86", reason="not an x86")
@pytest.mark.parametrize("options", [("-mavx2", "-mavxvnni"), ("-mavx512vnni", "-mavx512vl")])
def test_dot_products_of_newer_processors_compile(tmp_path: Path, options: list[str]) -> None:
    files = c.write(
        read_graph(MODELS / "mnist" / "tight_resnet" / "int8.tflite"), "net", target="x86"
    )
    (tmp_path / "net.h").write_text(files.header)
    (tmp_path / "net.c").write_text(files.source)
    command = ["gcc", *STRICT, "-O1", *options, "-S", "-o", "-", "net.c"]
    made = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "vpdpwssd" in made.stdout


CROSS = shutil.which("aarch64-linux-gnu-gcc") and shutil.which("qemu-aarch64")


@pytest.mark.long
@pytest.mark.skipif(not CROSS, reason="gcc-aarch64-linux-gnu or qemu-user is not installed")
@pytest.mark.parametrize("cpu", ["cortex-a72", "cortex-a76"])
@pytest.mark.parametrize("net", ["tight_resnet/int8", "golf_375/int8"])
def test_vectors_of_arm_compute_the_same(tmp_path: Path, net: str, cpu: str) -> None:
    graph = read_graph(MODELS / "mnist" / f"{net}.tflite")
    golden = random_inputs(graph.inputs[0], 10)
    files = c.write(graph, "net", golden, target="aarch64")
    (tmp_path / "net.h").write_text(files.header)
    main = '#include "net.c"\nint main(void) { return net_selftest(); }\n'
    (tmp_path / "net.c").write_text(files.source)
    (tmp_path / "main.c").write_text(main)
    command = ["aarch64-linux-gnu-gcc", "-static", *STRICT, "-O2", f"-mcpu={cpu}"]
    subprocess.run([*command, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run(["qemu-aarch64", "-cpu", cpu, str(tmp_path / "main")], check=True)


def test_a_loop_is_a_loop_whose_state_overlaps_what_becomes_of_it() -> None:
    files = c.write(read_graph(MODELS / "mnist" / "tight_resnet" / "int8.tflite"), "net")
    assert files.source.count("i1 < 8; i1++") == 1
    assert files.arena_bytes == 12 * 12 * 20 + 13 * 20
    assert files.source.count("static const int8_t w") == 4


def test_what_is_optimized_is_better() -> None:
    graph = read_graph(MODELS / "mnist" / "tight_resnet" / "int8.tflite")
    size, speed, ram = (c.write(graph, "net", optimize=each) for each in ("size", "speed", "ram"))
    assert size.constant_bytes == speed.constant_bytes
    assert speed.arena_bytes < size.arena_bytes == 12 * 12 * 20 + 13 * 20
    assert ram.arena_bytes == size.arena_bytes
    assert ram.scratch_bytes <= size.scratch_bytes < speed.scratch_bytes


@pytest.mark.long
@needs_compiler
def test_nothing_is_read_or_written_outside_its_place() -> None:
    path = MODELS / "mnist" / "tight_resnet" / "int8.tflite"
    assert_equal(read_graph(path), SANITIZED, 3)


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("scales", ["tensor", "channel"])
def test_rows_that_are_copied_once(scales: str) -> None:
    net = uneven_net()
    found = calibrate(net, ranges(net, [pixels(net, 20)]), Scheme("leaky", "own", scales))
    assert_equal(quantized(net, Quantization(found.activations, found.weights)), SANITIZED)


@needs_compiler
@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.generate],  # to shrink an example takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(
    float_graphs(),
    st.builds(
        Scheme,
        st.sampled_from(["leaky", "requantize"]),
        st.sampled_from(["own", "shared", "one"]),
        st.sampled_from(["channel", "tensor"]),
    ),
)
def test_random_graphs(graph: Graph, scheme: Scheme) -> None:
    fused = fuse_activations(graph)
    found = calibrate(fused, ranges(fused, [pixels(graph, 20)]), scheme)
    assert_equal(quantized(fused, Quantization(found.activations, found.weights)))


# -------------------------------------------------------------------------- operators, one by one


def tensor(
    *shape: int,
    scale: float = 0.1,
    zero_point: int = 3,
    dtype: str = "int8",
    seed: int | None = None,
) -> Tensor:
    """A quantized tensor, a random constant if there is a seed."""
    quant = QuantParams((scale,), (zero_point,))
    data = None
    if seed is not None:
        limits = np.iinfo(dtype)
        generator = np.random.default_rng(seed)
        data = generator.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    return Tensor(shape, dtype, quant, data)


def single(op: Op, *inputs: Tensor | None, output: Tensor) -> Graph:
    given = next(t for t in inputs if t is not None and t.data is None)
    return Graph((given,), (output,), (Node(op, inputs, (output,)),))


def bias(count: int) -> Tensor:
    data = np.random.default_rng(count).integers(-999, 999, count).astype(np.int32)
    return Tensor((count,), "int32", QuantParams((1.0,)), data)


X = tensor(1, 5, 6, 4)
U = tensor(1, 5, 6, 4, dtype="uint8", zero_point=120)
SAME = ((1, 1), (1, 1))
OPERATORS: dict[str, Graph] = {
    "grouped": single(ops.Conv2D(padding=SAME), X, tensor(6, 3, 3, 2, zero_point=0, seed=1),
                      bias(6), output=tensor(1, 5, 6, 6, scale=9.0)),
    "dilated": single(ops.Conv2D(dilation=(2, 2)), X, tensor(3, 2, 3, 4, zero_point=0, seed=1),
                      None, output=tensor(1, 3, 2, 3, scale=9.0)),
    "uint8 conv": single(ops.Conv2D(padding=SAME), U,
                         tensor(3, 3, 3, 4, zero_point=99, dtype="uint8", seed=1), bias(3),
                         output=tensor(1, 5, 6, 3, scale=9.0, dtype="uint8")),
    "multiplier": single(ops.DepthwiseConv2D((2, 2), SAME, activation=ops.ReLU(0.0, 6.0)), X,
                         tensor(1, 3, 3, 8, zero_point=0, seed=2), bias(8),
                         output=tensor(1, 3, 3, 8, scale=3.0)),
    "rows": single(ops.FullyConnected(keep_dims=True), X, tensor(7, 4, zero_point=5, seed=3),
                   output=tensor(1, 5, 6, 7, scale=2.0)),
    "nothing to tell": single(ops.FullyConnected(), X, tensor(7, 4, scale=1e-6, seed=3),
                              output=tensor(30, 7, scale=9.0)),
    "large factor": single(ops.FullyConnected(), X, tensor(7, 4, scale=2.0, zero_point=0, seed=3),
                           output=tensor(30, 7, scale=0.01)),
    "ties": single(ops.FullyConnected(), X, tensor(7, 4, scale=0.5, zero_point=0, seed=3),
                   output=tensor(30, 7, scale=0.1)),
    "padded average": single(ops.AveragePool2D((2, 2), SAME, (3, 3)), X,
                             output=tensor(1, 3, 3, 4)),
    "padded maximum": single(ops.MaxPool2D((2, 2), SAME, (3, 3)), U,
                             output=tensor(1, 3, 3, 4, dtype="uint8")),
    "average": single(ops.AveragePool2D((1, 1), size=(2, 3), activation=ops.ReLU()), X,
                      output=tensor(1, 4, 4, 4)),
    "mean": single(ops.Mean((1, 2)), X, output=tensor(1, 4, scale=0.03, zero_point=-7)),
    "mean of channels": single(ops.Mean((3,), keep_dims=True), X, output=tensor(1, 5, 6, 1)),
    "mul": single(ops.Mul(), X, tensor(4, seed=1), output=tensor(1, 5, 6, 4, scale=1.3)),
    "square": single(ops.Mul(), X, X, output=tensor(1, 5, 6, 4, scale=1.3)),
    "scaled": single(ops.Mul(), X, tensor(1, seed=1), output=tensor(1, 5, 6, 4, scale=1.3)),
    "add": single(ops.Add(ops.ReLU()), X, tensor(4, scale=0.77, seed=1),
                  output=tensor(1, 5, 6, 4, scale=0.5)),
    "sub": single(ops.Sub(), tensor(1, 5, 6, 4, scale=0.77, seed=1), X,
                  output=tensor(1, 5, 6, 4, scale=0.5)),
    "maximum": single(ops.Maximum(), X, tensor(1, 5, 6, 4, seed=1), output=tensor(1, 5, 6, 4)),
    "minimum": single(ops.Minimum(), X, tensor(1, 5, 6, 4, seed=1), output=tensor(1, 5, 6, 4)),
    "leaky": single(ops.LeakyReLU(0.3), X, output=tensor(1, 5, 6, 4, scale=0.07)),
    "tanh": single(ops.Tanh(), X, output=tensor(1, 5, 6, 4, scale=1 / 128, zero_point=0)),
    "logistic": single(ops.Logistic(), U, output=tensor(1, 5, 6, 4, scale=1 / 256, zero_point=0,
                                                        dtype="uint8")),
    "hard swish": single(ops.HardSwish(), X, output=tensor(1, 5, 6, 4, scale=0.2)),
    "quantize": single(ops.Quantize(), X, output=tensor(1, 5, 6, 4, scale=0.2, dtype="uint8")),
    "transpose": single(ops.Transpose((0, 3, 1, 2)), X, output=tensor(1, 4, 5, 6)),
    "pad": single(ops.Pad(((0, 0), (1, 2), (0, 1), (0, 0))), X, output=tensor(1, 8, 7, 4)),
    "backwards": single(ops.Slice((0, 4, 0, 1), (1, -2, 1, 1), (1, 3, 6, 2)), X,
                        output=tensor(1, 3, 6, 2)),
    "stack": single(ops.Stack(2), X, X, output=tensor(1, 5, 2, 6, 4)),
    "concatenate": single(ops.Concatenate(2), X, X, output=tensor(1, 5, 12, 4)),
    "softmax": single(ops.Softmax(), X, output=tensor(1, 5, 6, 4, scale=1 / 256, zero_point=-128)),
    "uint8 softmax": single(ops.Softmax(0.5), U, output=tensor(1, 5, 6, 4, scale=1 / 256,
                                                               zero_point=0, dtype="uint8")),
}  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator(name: str) -> None:
    assert_equal(OPERATORS[name])


@needs_compiler
def test_uint8_branches_and_a_chain() -> None:
    """What is between the nodes of a chain is one pixel; the other branch is whole."""
    hidden, mapped = tensor(1, 5, 6, 4, scale=4.0), tensor(1, 5, 6, 4, scale=4.0, zero_point=-128)
    summed, end = tensor(1, 5, 6, 4, scale=5.0), tensor(1, 5, 6, 2, scale=60.0)
    weights = tensor(4, 3, 3, 4, zero_point=0, seed=1)
    nodes = (
        Node(ops.Conv2D(padding=SAME), (X, weights), (hidden,)),
        Node(ops.Quantize(), (hidden,), (mapped,)),
        Node(ops.Add(), (mapped, X), (summed,)),
        Node(ops.Conv2D(), (summed, tensor(2, 1, 1, 4, zero_point=0, seed=2)), (end,)),
    )
    files = assert_equal(Graph((X,), (end,), nodes), SANITIZED)
    assert len(re.findall(r"^static (?:APART )?void ", files.source, re.M)) == 1


def test_what_c_cannot_do_is_named() -> None:
    text = Tensor((1, 2), "float32")
    unknown = single(ops.Unsupported("FFT"), X, output=tensor(1, 5, 6, 4))
    endless = single(ops.While(unknown, unknown), X, output=tensor(1, 5, 6, 4))
    assert c.unsupported(single(ops.ReLU(), text, output=Tensor((1, 2)))) == (
        "a tensor of float32",
    )
    assert c.unsupported(unknown) == ("the operator FFT",)
    assert c.unsupported(endless) == ("a WHILE whose number of turns is not known",)
    assert c.unsupported(single(ops.Mul(), X, tensor(6, 1, seed=1), output=tensor(1, 5, 6, 4)))
    assert not c.unsupported(OPERATORS["mul"])
    size = c.writer.MAXIMUM_BYTES
    many = Tensor((1, size + 1), "int8", X.quant, np.zeros((1, size + 1), np.int8))
    large = single(ops.Add(), tensor(1, 1), many, output=tensor(1, size + 1))
    assert c.unsupported(large) == ("8,388,609 bytes of weights, more than 8,388,608",)


@needs_compiler
def test_a_float_input_and_output_are_left_out() -> None:
    real = Tensor((1, 5, 6, 4))
    inside = OPERATORS["tanh"]
    result = Tensor((1, 5, 6, 4))
    nodes = (Node(ops.Quantize(), (real,), (X,)), *inside.nodes,
             Node(ops.Dequantize(), inside.outputs, (result,)))  # fmt: skip
    assert_equal(c.in_integers(Graph((real,), (result,), nodes)))


@needs_compiler
@pytest.mark.parametrize("classes", [3, 4])
def test_the_sums_of_a_dense_layer_whose_result_is_real(classes: int) -> None:
    """That is what onnxruntime's quantizer leaves; a softmax after it changes no order."""
    data, weights = tensor(1, 30), tensor(classes, 30, scale=0.02, zero_point=0, seed=1)
    quant = QuantParams((float(data.scale) * float(weights.scale),), (0,))
    constants = weights, replace(bias(classes), quant=quant)
    decoded = [Tensor(t.shape) for t in (data, *constants)]
    real, result = Tensor((1, classes)), Tensor((1, classes))
    nodes = (
        *(Node(ops.Dequantize(), (t,), (d,))
          for t, d in zip((data, *constants), decoded, strict=True)),
        Node(ops.FullyConnected(), tuple(decoded), (real,)),
        Node(ops.Softmax(), (real,), (result,)),
    )  # fmt: skip
    graph = Graph((data,), (result,), nodes)
    sums = c.in_integers(graph)
    inputs = random_inputs(data, 20)
    found = run(sums, [inputs])[0]
    assert (found.dtype, [type(node.op) for node in sums.nodes]) == (np.int32, [ops.FullyConnected])
    whole = Graph((data,), (real,), nodes[:-1])
    np.testing.assert_allclose(
        found * quant.scale[0], run(whole, [inputs])[0], rtol=1e-4, atol=1e-4
    )
    assert_equal(sums, SANITIZED)


@needs_compiler
def test_two_nets_in_one_program_of_cpp(tmp_path: Path) -> None:
    """Each tests itself; neither knows the other."""
    for index, name in enumerate(("average", "softmax")):
        graph = OPERATORS[name]
        files = c.write(graph, f"{index}-net", random_inputs(graph.inputs[0], 2))
        assert files.name == f"net_{index}_net"
        (tmp_path / f"{files.name}.c").write_text(files.source)
        (tmp_path / f"{files.name}.h").write_text(files.header)
    (tmp_path / "main.cpp").write_text(
        '#include "net_0_net.h"\n#include "net_1_net.h"\n'
        "int main() { return net_0_net_selftest() + net_1_net_selftest()"
        " + (net_0_net_input() == nullptr) + (NET_1_NET_OUTPUT_SIZE != 120); }\n"
    )
    strict = [option for option in STRICT if not option.startswith("-std")]
    sources = ["main.cpp", "net_0_net.c", "net_1_net.c"]
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    subprocess.run(["g++", "-x", "c++", *strict, *sources, "-o", "both"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "both"]).returncode == 0


# -------------------------------------------------------------------------------------- arithmetic


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1e-4, 3.0), st.integers(-128, 127), st.sampled_from(list(Rounding)),
    st.integers(-3000, 0), st.integers(1, 3000),
)  # fmt: skip
def test_a_staircase_is_the_requantization_for_every_sum(
    factor: float, zero_point: int, rounding: Rounding, least: int, most: int
) -> None:
    requant = Requant.of(factor, rounding)

    def function(sums: Any) -> Any:
        return np.clip(requant(sums) + zero_point, -128, 127)

    found = staircase([Stored(function, (least, most), factor)], (-128, 127))
    sums = np.arange(least, most + 1)
    if found is not None:
        np.testing.assert_array_equal(found(sums), function(sums))


def test_per_tensor_scales_have_a_staircase_without_wide_products() -> None:
    requant = Requant.of(0.00217)
    stored = Stored(lambda a: np.clip(requant(a) - 5, -128, 127), (-200_000, 200_000), 0.00217)
    found = staircase([stored], (-128, 127))
    assert isinstance(found, Staircase)
    assert found.multiplier[0] < 2**24


def test_a_builder_graph_is_not_in_integers() -> None:
    build = Builder(4, 4, 1)
    assert c.unsupported(build.graph(build.relu(build.source)))


@needs_compiler
def test_the_stack_is_that_of_the_deepest_call() -> None:
    source = """
#define TWICE(x) (2 * deep(x))
__attribute__((noinline)) static int wide(int x) { volatile char a[3000]; a[x] = 1; return a[0]; }
__attribute__((noinline)) static int deep(int x) {
  volatile char a[2000];
  a[x] = 1;
  return a[1] + wide(x);
}
__attribute__((noinline)) static int other(int x) { volatile char a[4000]; a[x] = 1; return a[0]; }
int net_run(int x);
int net_run(int x) {
  return TWICE(x) + other(x);
}
"""
    files = c.CFiles("net", source, "", 0, 0, 0, None)
    stack = footprint(files, find_compiler(None)).stack_bytes
    assert stack is not None
    assert 4700 < stack < 5500  # x86-64 gives 128 bytes below the stack to what calls nothing
