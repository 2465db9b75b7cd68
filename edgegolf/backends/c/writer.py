"""`.c` and `.h` files without dependencies, heap or recursion, from a quantized `Graph`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edgegolf.backends.c.layer import SLACK, NotInCError, ctype
from edgegolf.backends.c.memory import Plan, plan
from edgegolf.backends.c.source import PRELUDE, TYPES, Source, chosen, declaration
from edgegolf.backends.c.steps import Repeat, Step, Steps
from edgegolf.backends.c.vectors import VECTORS
from edgegolf.ir import Graph, Node, QuantParams, Tensor
from edgegolf.ir.interpreter import run
from edgegolf.ir.ops import Dequantize, FullyConnected, Quantize, Softmax
from edgegolf.ir.tensor import Array

MAXIMUM_BYTES = 1 << 23  # of weights: what they take as text and to compile is a hundredfold
_KEYWORDS = {"main", "int", "float", "double", "char", "if", "for", "while", "do", "new", "class"}


Optimize = Literal["size", "speed", "ram"]
Target = Literal["portable", "avr", "cortex-m", "riscv", "aarch64", "x86"]
#: Those with vectors.
HOSTS = ("aarch64", "x86")


@dataclass(frozen=True)
class CFiles:
    """What `write` gives."""

    name: str  # what all names in the files begin with
    source: str  # the `.c` file
    header: str  # the `.h` file
    constant_bytes: int  # weights, biases, factors and tables
    arena_bytes: int  # the static array in which all tensors lie
    scratch_bytes: int  # the arrays on the stack of the function that has most of them
    macs: int | None  # multiply-accumulates of one run


def unsupported(graph: Graph) -> tuple[str, ...]:
    """Why there is no C for a graph, empty if there is."""
    try:
        write(graph, "net")
    except NotInCError as error:
        return (error.message,)
    return ()


def write(
    graph: Graph, name: str, golden: Array | None = None, optimize: Optimize = "size",
    target: Target = "portable",
) -> CFiles:  # fmt: skip
    """C that computes, bit by bit, what the interpreter does.

    Args:
        graph: Quantized to 8 bits, with one input and one output.
        name: Of the net; names in C begin with it.
        golden: Inputs for a self-test, `[n, …]`, none if None.
        optimize: What to make small; speed needs copies of rows, and may yet need less memory.
            For `ram` the least is taken of what is fast, what is so without those, and what is
            small.
        target: What it shall run on; it compiles for all, and differs where there are vectors.

    Raises:
        NotInCError: There is no C for an operator or type.
    """
    if target in HOSTS:
        ways = [Steps(Source(layout=VECTORS[target]), fast=True, vectors=target)]
    else:
        ways = {
            "size": [Steps()],
            "speed": [Steps(fast=True)],
            "ram": [Steps(fast=True), Steps(fast=True, strips=False), Steps()],
        }[optimize]
    written = [_written(graph, name, golden, steps) for steps in ways]
    return min(written, key=lambda files: files.arena_bytes + files.scratch_bytes)


def _written(graph: Graph, name: str, golden: Array | None, steps: Steps) -> CFiles:
    graph = in_integers(graph)
    for tensor in (*graph.inputs, *graph.outputs):
        ctype(tensor)
    constants = {t for node in graph.walk() for t in node.inputs if t and t.data is not None}
    if (size := sum(tensor.size_bytes for tensor in constants)) > MAXIMUM_BYTES:
        raise NotInCError(f"{size:,} bytes of weights, more than {MAXIMUM_BYTES:,}")
    prefix = identifier(name)
    calls = steps.of(graph)
    places = plan(graph, steps, calls)
    if steps.vectors:
        places = replace(places, size=places.size + SLACK)
    writer = _Writer(prefix, graph, steps, places)
    functions = writer.functions(calls)
    if golden is not None:
        functions += writer.selftest(golden)
    head = f'#include "{prefix}.h"\n#include <string.h>\n\n'
    made = chosen(f"{PRELUDE}\n{steps.source.text()}", bool(steps.vectors))
    text = f"{head}{made}\n{functions}"
    header = writer.header(golden is not None)
    size = writer.places.size
    source = steps.source
    return CFiles(prefix, text, header, source.flash, size, source.scratch, graph.macs)


def identifier(name: str) -> str:
    """A name in C that is like another."""
    found = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "net"
    return f"net_{found}" if found[0].isdigit() or found in _KEYWORDS else found


def in_integers(graph: Graph) -> Graph:
    """The graph without the conversion of a float input, and what is of floats at its end.

    That may be a softmax, and a dense layer of integers whose sums are then the output.

    Raises:
        NotInCError: It has not one input and one computed output.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise NotInCError(f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs")
    (given,), (result,), nodes = graph.inputs, graph.outputs, list(graph.nodes)
    if result.data is not None or given is result:
        raise NotInCError("an output that is not computed")
    readers = graph.readers[given]
    if given.dtype == "float32" and [type(node.op) for node in readers] == [Quantize]:
        given = readers[0].output
    while (node := graph.producers.get(result)) is not None:
        if isinstance(node.op, FullyConnected) and result.dtype == "float32":
            sums = _sums(graph, node)
            if sums is not None:
                nodes.append(sums)
                result = sums.output
            break
        is_real = "float32" in (node.source.dtype, result.dtype)
        if not isinstance(node.op, Dequantize | Softmax | Quantize) or not is_real:
            break
        result = node.source
    needed, kept = {result}, []
    for node in reversed(nodes):
        if needed.intersection(node.outputs) and given not in node.outputs:
            needed.update(node.computed)
            kept.append(node)
    return Graph((given,), (result,), tuple(reversed(kept)))


def _sums(graph: Graph, node: Node) -> Node | None:
    """A dense layer of decoded integers as one of the integers, which keeps its sums."""
    decoded = [None if t is None else graph.producers.get(t) for t in node.inputs]
    if not all(each is not None and isinstance(each.op, Dequantize) for each in decoded):
        return None
    inputs = tuple(each.source for each in decoded if each is not None)
    if any(each.quant is None or each.quant.is_per_channel for each in inputs):
        return None
    scale = float(inputs[0].scale) * float(inputs[1].scale)
    if inputs[2:] and not math.isclose(float(inputs[2].scale), scale, rel_tol=1e-6):
        return None
    output = Tensor(node.output.shape, "int32", QuantParams((scale,), (0,)))
    return Node(node.op, inputs, (output,))


@dataclass(frozen=True)
class _Writer:
    """Writes what is between the functions of layers and whoever calls the net."""

    prefix: str
    graph: Graph
    steps: Steps
    places: Plan

    def at(self, tensor: Tensor) -> str:
        """C that points to a tensor."""
        offset = self.places.offsets[self.steps.place(tensor)]
        place = f"arena + {offset}" if offset else "arena"
        return place if tensor.dtype == "int8" else f"({ctype(tensor)} *)({place})"

    def body(self, calls: Sequence[Step | Repeat], depth: int = 1) -> str:
        """C that makes calls."""
        text, indent = "", "  " * depth
        for each in calls:
            if isinstance(each, Repeat):
                inside = self.body(each.body, depth + 1)
                index = f"i{depth}"
                text += f"{indent}for (int {index} = 0; {index} < {each.times}; {index}++) {{\n"
                text += f"{inside}{indent}}}\n"
            elif each.function:
                given = [*map(self.at, each.inputs), self.at(each.output), *each.constants]
                text += f"{indent}{each.function}({', '.join(given)});\n"
            elif self.at(each.output) != self.at(each.inputs[0]):
                size = each.output.size_bytes
                places = f"{self.at(each.output)}, {self.at(each.inputs[0])}"
                text += f"{indent}memmove({places}, {size});\n"
        return text

    def functions(self, calls: Sequence[Step | Repeat]) -> str:
        """The arena and the functions that the header declares."""
        (given,), (result,) = self.graph.inputs, self.graph.outputs
        name, size = self.prefix, self.places.size
        text = f"static int8_t arena[{size}] ALIGNED;\n\n"
        text += f"{ctype(given)} *{name}_input(void) {{ return {self.at(given)}; }}\n"
        first, logits = f"{name}_run", self.logits
        if logits is not None:
            first = f"{name}_logits"
            text += f"\nconst {ctype(logits)} *{first}(void) {{\n{self.body(calls[:-1])}"
            text += f"  return {self.at(logits)};\n}}\n"
            calls = calls[-1:]
        text += f"\nconst {ctype(result)} *{name}_run(void) {{\n"
        text += "" if logits is None else f"  {first}();\n"
        text += f"{self.body(calls)}  return {self.at(result)};\n}}\n"
        shown = result if logits is None else logits
        text += (
            f"\nint {name}_argmax(void) {{\n  const {ctype(shown)} *y = {first}();\n"
            f"  int best = 0;\n  for (int o = 1; o < {shown.elements}; o++) "
            "if (y[o] > y[best]) best = o;\n  return best;\n}\n"
        )
        return text

    @property
    def logits(self) -> Tensor | None:
        """What a softmax at the end reads, None if there is no such."""
        last = self.graph.nodes[-1]
        is_last = isinstance(last.op, Softmax) and last.output is self.graph.outputs[0]
        return last.source if is_last else None

    def selftest(self, golden: Array) -> str:
        """Inputs with the results that the interpreter gives for them."""
        results = run(self.graph, [golden])[0]
        (given,), (result,) = self.graph.inputs, self.graph.outputs
        text = declaration("golden_inputs", golden) + declaration("golden_outputs", results)
        read = f"{TYPES[result.dtype][1]}(golden_outputs + (k * {result.elements} + o))"
        return text + (
            f"\nint {self.prefix}_selftest(void) {{\n"
            f"  for (int k = 0; k < {golden.size // given.elements}; k++) {{\n"
            f"    COPY_FLASH({self.prefix}_input(), golden_inputs + k * {given.elements}, "
            f"{given.elements});\n"
            f"    const {ctype(result)} *y = {self.prefix}_run();\n"
            f"    for (int o = 0; o < {result.elements}; o++) if (y[o] != {read}) return k + 1;\n"
            "  }\n  return 0;\n}\n"
        )

    def header(self, has_selftest: bool) -> str:
        """The `.h` file."""
        (given,), (result,) = self.graph.inputs, self.graph.outputs
        name, upper = self.prefix, self.prefix.upper()
        numbers: list[tuple[str, object]] = []
        for what, tensor in (("INPUT", given), ("OUTPUT", result)):
            numbers.append((f"{what}_SIZE", tensor.elements))
            if tensor.quant is not None:
                numbers.append((f"{what}_SCALE", f"{float(tensor.scale):.9g}f"))
                numbers.append((f"{what}_ZERO_POINT", tensor.zero_point))
        numbers.append(("ARENA_BYTES", self.places.size))
        declared = [
            f"/* Where the input goes, {list(given.shape)}; a run overwrites it. */",
            f"{ctype(given)} *{name}_input(void);",
            f"/* Compute the output, {list(result.shape)}. */",
            f"const {ctype(result)} *{name}_run(void);",
        ]
        if self.logits is not None:
            declared += [
                "/* The same without the softmax at the end. */",
                f"const {ctype(self.logits)} *{name}_logits(void);",
            ]
        declared += [
            "/* Compute which output is the largest. */", f"int {name}_argmax(void);",
        ]  # fmt: skip
        if has_selftest:
            declared += [
                "/* 0 if all is computed right here; a run overwrites the input. */",
                f"int {name}_selftest(void);",
            ]
        guard = f"{upper}_H"
        lines = [
            f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", "",
            *(f"#define {upper}_{key} {value}" for key, value in numbers), "",
            "#ifdef __cplusplus", 'extern "C" {', "#endif", "", *declared, "",
            "#ifdef __cplusplus", "}", "#endif", "", "#endif",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"
