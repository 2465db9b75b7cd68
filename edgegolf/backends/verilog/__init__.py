"""Writes a quantized `Graph` as a circuit in Verilog, with what is needed to simulate it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgegolf.backends.verilog.machine import Machine, assemble
from edgegolf.backends.verilog.plan import logits_of, plan, unsupported
from edgegolf.backends.verilog.testbench import testbench, vectors
from edgegolf.backends.verilog.text import verilog
from edgegolf.ir import Graph
from edgegolf.ir.interpreter import run
from edgegolf.ir.tensor import Array

__all__ = ["Machine", "logits", "machine", "testbench", "unsupported", "vectors", "write"]


def machine(graph: Graph, lanes: int = 4, sprams: bool = False) -> Machine:
    """The numbers of the circuit that computes what a graph does.

    Args:
        graph: With tensors in int8, for one image.
        lanes: Multiply-accumulates in a cycle.
        sprams: Whether images lie in the SPRAMs of a UP5K, not in block RAM.

    Raises:
        EdgegolfError: The circuit lacks an operator, or is too large.
    """
    return assemble(plan(graph), lanes, sprams)


def write(machine: Machine, title: str, weights: str = "rom") -> dict[str, str]:
    """The Verilog file, and what its memories hold at first, as texts by name.

    Args:
        machine: From `machine`.
        title: Says in the file what it is.
        weights: "rom", or "logic" for constants instead of a memory.
    """
    words = [[int(n) for n in reversed(word)] for word in machine.weights]
    files = {
        "circuit.v": verilog(machine, title, weights),
        "weights.hex": _lines("".join(f"{n & 255:02x}" for n in word) for word in words),
        "parameters.hex": _lines(_packed(machine)),
    }
    if machine.tables:
        numbers = np.concatenate([np.array(table) for table in machine.tables])
        files["tables.hex"] = _lines(f"{n & 255:02x}" for n in numbers.tolist())
    return files


def _packed(machine: Machine) -> list[str]:
    """The parameters of each channel in one word, the first one in the highest bits."""
    width = sum(column.bits for column in machine.parameters.values())
    words = []
    for row in zip(*(column.entries for column in machine.parameters.values()), strict=True):
        word = 0
        for column, entry in zip(machine.parameters.values(), row, strict=True):
            word = word << column.bits | (entry & ((1 << column.bits) - 1))
        words.append(f"{word:0{-(-width // 4)}x}")
    return words


def _lines(words: Iterable[str]) -> str:
    return "".join(f"{word}\n" for word in words)


def logits(graph: Graph, images: Array) -> Array:
    """What the circuit is to give, by the interpreter.

    Args:
        graph: With tensors in int8.
        images: int8 `[n, …]`.

    Returns:
        int8 `[n, classes]`.
    """
    tensor = logits_of(graph)
    nodes = graph.nodes if tensor in graph.outputs else graph.nodes[:-1]
    return run(Graph(graph.inputs, (tensor,), nodes), [images])[0].reshape(len(images), -1)
