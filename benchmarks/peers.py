"""What others' tools make of the same nets on a Cortex-M4: benchmarks/peers.json, docs/c.md.

    python benchmarks/peers.py [--onnx2c PROGRAM] [--emlearn] [--tflm FOLDER]

PROGRAM is the one of onnx2c, whose C computes in floats. So does that of emlearn (a package on
PyPI), for dense layers only: the maxima over 2 × 2 pixels before them are ours. FOLDER holds clones
of tflite-micro, CMSIS-NN, gemmlowp, ruy and, of the version that tflite-micro names, flatbuffers:
TensorFlow Lite Micro with CMSIS-NN's kernels, of which only what a net needs is linked. All are
compiled with -O2 for a core with a floating-point unit, have to give the right answers, and run in
QEMU. What is not at hand keeps its last figures. Others published theirs.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from microcontrollers import COUNTS, ROOT

from edgegolf.backends.c import CFiles
from edgegolf.cards import read_card
from edgegolf.data import load_dataset
from edgegolf.emulation.cores import CORES, Core, run_on_core
from edgegolf.files import write_atomically
from edgegolf.formats.tflite.model import operator_names, read_tflite
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir.ops import FullyConnected
from edgegolf.report.table import Table
from edgegolf.runtimes import open_session
from edgegolf.surroundings import available_cores

RECORD = Path(__file__).with_name("peers.json")
NETS = {"double_cnn-2": "int8-smallest", "tight_resnet": "int8", "pooled_mlp-64": "int8"}
DENSE = "pooled_mlp-64"  # whose layers emlearn has
CORE = "cortex-m4"
FLOATS = replace(
    CORES[CORE],
    compiler=(*CORES[CORE].compiler, "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
)
#: What of TensorFlow Lite Micro is compiled, of its folder `tensorflow`.
SOURCES = (
    "lite/micro/*.cc", "lite/micro/arena_allocator/*.cc", "lite/micro/memory_planner/*.cc",
    "lite/micro/tflite_bridge/*.cc", "lite/core/api/*.cc", "lite/core/c/*.cc",
    "lite/kernels/*.cc", "lite/kernels/internal/*.cc", "lite/kernels/internal/reference/*.cc",
    "compiler/mlir/lite/core/api/*.cc", "compiler/mlir/lite/schema/*.cc",
    *(f"lite/micro/kernels/{name}.cc" for name in (
        "*_common", "kernel_util", "while", "reshape", "slice", "pad", "concatenation",
        "comparisons", "quantize", "leaky_relu", "strided_slice", "activations", "cmsis_nn/conv",
        "cmsis_nn/depthwise_conv", "cmsis_nn/fully_connected", "cmsis_nn/pooling", "cmsis_nn/add",
        "cmsis_nn/softmax",
    )),
)  # fmt: skip
INCLUDES = ("tflite-micro", "flatbuffers/include", "gemmlowp", "ruy", "CMSIS-NN",
            "CMSIS-NN/Include")  # fmt: skip
OPTIONS = ("-O2", "-ffunction-sections", "-fdata-sections", "-w", "-DTF_LITE_STATIC_MEMORY",
           "-DTF_LITE_STRIP_ERROR_STRINGS", "-DNDEBUG", "-DCMSIS_NN")  # fmt: skip
CXX_OPTIONS = ("-std=c++17", "-fno-rtti", "-fno-exceptions", "-fno-threadsafe-statics")
#: By the operators of our nets.
RESOLVED = {
    "CONV_2D": "Conv2D", "MAX_POOL_2D": "MaxPool2D", "AVERAGE_POOL_2D": "AveragePool2D",
    "FULLY_CONNECTED": "FullyConnected", "RESHAPE": "Reshape", "SOFTMAX": "Softmax", "ADD": "Add",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D", "WHILE": "While", "LESS": "Less", "PAD": "Pad",
    "SLICE": "Slice", "CONCATENATION": "Concatenation", "RELU": "Relu", "QUANTIZE": "Quantize",
    "STRIDED_SLICE": "StridedSlice", "LEAKY_RELU": "LeakyRelu", "MUL": "Mul", "MEAN": "Mean",
}  # fmt: skip
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx2c")
    parser.add_argument("--emlearn", action="store_true")
    parser.add_argument("--tflm", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[str, dict[str, int]]] = json.loads(RECORD.read_text())
    for net, stem in NETS.items():
        folder = ROOT / "models" / "mnist" / net
        rows = found.setdefault(net, {})
        if options.onnx2c:
            rows["onnx2c"] = compiled_floats(options.onnx2c, folder / "float32.onnx")
        if options.emlearn and net == DENSE:
            rows["emlearn"] = dense_floats(folder)
        if options.tflm:
            rows["TFLM"] = interpreted(options.tflm, folder / f"{stem}.tflite")
    write_atomically(RECORD, json.dumps(found, indent=2) + "\n")


def interpreted(folder: Path, path: Path) -> dict[str, int]:
    """What TensorFlow Lite Micro takes; its outputs must be those of LiteRT's reference kernels."""
    images = load_dataset("mnist").split("validation").images[:2]
    inputs = (images.astype(np.int16) - 128).astype(np.int8)
    with open_session(path, "litert-reference") as session:
        outputs = [session.run([each[None]])[0].ravel() for each in inputs]
    names = sorted(set(operator_names(read_tflite(path).root)))
    library, build = micro_library(folder), folder / "build"
    linked = ("-Wl,--whole-archive", str(library), str(build / "net.cc.o"),
              "-Wl,--no-whole-archive", "-lstdc++", "-lm")  # fmt: skip
    core = replace(FLOATS, compiler=(*FLOATS.compiler, *linked))

    def used(arena: int) -> int:
        """Bytes that are used of so many; -1 if they do not suffice."""
        source = micro_source(path.read_bytes(), arena, names, inputs, outputs)
        (build / "net.cc").write_text(source)
        compiled(folder, build / "net.cc")
        program = build / "used"
        subprocess.run([*core.compiler, str(build / "used.c"), "-o", str(program)], check=True)
        done = subprocess.run(
            [*core.emulator, str(program)], capture_output=True, text=True, check=True
        )
        return int(done.stdout + done.stderr)

    arena = used(1 << 17)
    while used(arena) < 0:  # it may need more while it begins
        arena += 64
    declared = "int net_argmax(void);\n"
    files = CFiles("net", "int net_is_elsewhere;\n", declared, 0, 0, 0, None)
    run = run_on_core(core, files, fast=True)
    return {"flash": run.flash_bytes, "ram": run.ram_bytes, "count": run.count}


def micro_library(folder: Path) -> Path:
    """TensorFlow Lite Micro and CMSIS-NN, compiled where that was not done before."""
    build = folder / "build"
    build.mkdir(exist_ok=True)
    (build / "used.c").write_text(
        "#include <stdio.h>\nint net_used(void);\n"
        'int main(void) { printf("%d\\n", net_used()); return 0; }\n'
    )
    names = [path for each in SOURCES for path in (folder / "tflite-micro/tensorflow").glob(each)]
    names += (folder / "CMSIS-NN" / "Source").rglob("*.c")
    left_out = re.compile(r"_test|test_|mock|fake|recording|_f16|_f32")
    kept = [path for path in names if not left_out.search(path.name)]
    with ThreadPoolExecutor(available_cores()) as pool:
        objects = list(pool.map(lambda path: compiled(folder, path), kept))
    library = build / "libmicro.a"
    library.unlink(missing_ok=True)
    subprocess.run(["arm-none-eabi-ar", "rc", str(library), *map(str, objects)], check=True)
    return library


def compiled(folder: Path, source: Path) -> Path:
    """The object of a source, which is not compiled again unless it is ours."""
    made = folder / "build" / f"{'_'.join(source.relative_to(folder).parts)}.o"
    if source.parent.name == "build":
        made = source.with_name(source.name + ".o")
    elif made.exists():
        return made
    compiler = FLOATS.compiler
    if source.suffix == ".cc":
        compiler = (compiler[0].replace("gcc", "g++"), *compiler[1:], *CXX_OPTIONS)
    places = (f"-I{folder / each}" for each in INCLUDES)
    subprocess.run([*compiler, *OPTIONS, *places, "-c", str(source), "-o", str(made)], check=True)
    return made


def micro_source(
    model: bytes, arena: int, names: Sequence[str], inputs: np.ndarray, outputs: Sequence[Any]
) -> str:
    """A program's part that interprets a model, and its self-test."""

    def listed(values: Any) -> str:
        return "{" + ",".join(map(str, values)) + "}"

    added = " ".join(f"resolver->Add{RESOLVED[name]}();" for name in names)
    return f"""
#include <cstring>
#include <new>
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"
alignas(16) static const unsigned char model[] = {listed(model)};
alignas(16) static uint8_t arena[{arena}];
static const int8_t images[2][784] = {listed(listed(each.ravel()) for each in inputs)};
static const int8_t answers[2][10] = {listed(map(listed, outputs))};
using Resolver = tflite::MicroMutableOpResolver<{len(names)}>;
alignas(Resolver) static uint8_t resolver_bytes[sizeof(Resolver)];
alignas(tflite::MicroInterpreter) static uint8_t bytes[sizeof(tflite::MicroInterpreter)];
static tflite::MicroInterpreter *net;
static bool is_ready() {{
  if (net) return true;
  Resolver *resolver = new (resolver_bytes) Resolver();
  {added}
  net = new (bytes)
      tflite::MicroInterpreter(tflite::GetModel(model), *resolver, arena, sizeof arena);
  return net->AllocateTensors() == kTfLiteOk;
}}
extern "C" int net_argmax(void) {{
  if (!is_ready() || net->Invoke() != kTfLiteOk) return -1;
  const int8_t *scores = net->output(0)->data.int8;
  int best = 0;
  for (int i = 1; i < 10; i++) if (scores[i] > scores[best]) best = i;
  return best;
}}
extern "C" int net_used(void) {{ return is_ready() ? int(net->arena_used_bytes()) : -1; }}
extern "C" int net_selftest(void) {{
  for (int k = 0; k < 2; k++) {{
    if (!is_ready()) return 1;
    memcpy(net->input(0)->data.int8, images[k], sizeof images[k]);
    net_argmax();
    if (memcmp(net->output(0)->data.int8, answers[k], sizeof answers[k])) return 1;
  }}
  return 0;
}}
"""


def compiled_floats(program: str, path: Path) -> dict[str, int]:
    """What the C of onnx2c takes."""
    source = subprocess.run([program, str(path)], capture_output=True, text=True, check=True).stdout
    glue = """
static int answer(const float *image) {
  static float input[1][28][28][1], scores[1][10];
  memcpy(input, image, sizeof input);
  entry((void *)input, scores);
  int best = 0;
  for (int i = 1; i < 10; i++) if (scores[0][i] > scores[0][best]) best = i;
  return best;
}
"""
    return answered(source + glue, path, FLOATS)


def dense_floats(folder: Path) -> dict[str, int]:
    """What the C of emlearn takes."""
    import emlearn
    from emlearn.net import c_generate_net_loadable

    nodes = [node for node in read_graph(folder / "float32.tflite").nodes
             if isinstance(node.op, FullyConnected)]  # fmt: skip
    assert len(nodes) == 3
    source: str = c_generate_net_loadable(
        ["relu", "relu", "softmax"],
        [node.filter.values.reshape(node.filter.shape[0], -1).T for node in nodes],
        [node.bias.values for node in nodes if node.bias],
        "dense",
    )
    glue = """
static int answer(const float *image) {
  static float pooled[196];
  for (int i = 0; i < 196; i++) {
    const float *x = image + i / 14 * 56 + i % 14 * 2;
    const float top = x[0] > x[1] ? x[0] : x[1], bottom = x[28] > x[29] ? x[28] : x[29];
    pooled[i] = top > bottom ? top : bottom;
  }
  return dense_predict(pooled, 196);
}
"""
    core = replace(FLOATS, compiler=(*FLOATS.compiler, f"-I{emlearn.includedir}", "-lm"))
    return answered(source + glue, folder / "float32.onnx", core)


def answered(source: str, path: Path, core: Core) -> dict[str, int]:
    """What C with an `answer` takes; its two answers must be those of onnxruntime."""
    images = load_dataset("mnist").split("validation").images[:2]
    pixels = (images / np.float32(255)).astype(np.float32)
    with open_session(path) as session:
        answers = [int(session.run([each[None]])[0].argmax()) for each in pixels]
    numbers = ",".join(
        "{" + ",".join(f"{float(number):.9e}f" for number in each.ravel()) + "}" for each in pixels
    )
    glue = f"""
static const float images[2][784] = {{{numbers}}};
int net_argmax(void) {{
  static float image[784];
  return answer(image);
}}
int net_selftest(void) {{
  return answer(images[0]) != {answers[0]} || answer(images[1]) != {answers[1]};
}}
"""
    files = CFiles("net", source + glue, "int net_argmax(void);\n", 0, 0, 0, None)
    run = run_on_core(core, files, fast=True)
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
        for peer, title, name in (
            ("TFLM", "TensorFlow Lite Micro", f"{stem}.tflite"),
            ("onnx2c", "onnx2c, floats", "float32.onnx"),
            ("emlearn", "emlearn, floats", "float32.onnx"),
        ):
            if peer not in found[net]:  # not of such layers
                continue
            run = found[net][peer]
            rows.append(
                (f"`{net}`, {title}", accuracy(name), f"{run['flash']:,} B", f"{run['ram']:,} B",
                 f"{run['count']:,}", "measured")
            )  # fmt: skip
    header = ("net", "accuracy", "flash", "RAM", "instructions", "from")
    return Table(header, (*rows, *PUBLISHED)).markdown()


if __name__ == "__main__":
    main()
