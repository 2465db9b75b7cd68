"""ONNX files whose weights have fewer than 8 bits, trained to be rounded."""

from __future__ import annotations

from collections.abc import Iterator

from edgegolf.backends import onnx
from edgegolf.errors import EdgegolfError
from edgegolf.export.measuring import Compute, Draft
from edgegolf.export.variants import Tuning
from edgegolf.ir.graph import Graph
from edgegolf.ir.tensor import QuantParams, Tensor
from edgegolf.passes.mosaics import pool_copies_once
from edgegolf.passes.rerolling import reroll
from edgegolf.quantize.equalization import equalize, importances
from edgegolf.quantize.finetuning import finetune, is_trainable
from edgegolf.quantize.quantization import Quantization, with_decoded_weights
from edgegolf.quantize.scale_search import best_common_scale

STEPS = 3000  # batches; rounding to few bits moves what a network computes far
LEARNING_RATE = 2e-3

#: What the ONNX files are called, and the bits of their weights.
LOW_BITS = {"int4": 4, "int2": 2}
_COMPUTE: dict[int, Compute] = {4: "int4-weights", 2: "int2-weights"}


def low_bit_drafts(graph: Graph, tuning: Tuning, bits: int, packed: bool) -> Iterator[Draft]:
    """Files that compute in float32 with weights of few bits, the one of fewest bytes first.

    The weights are decoded when a runtime loads the file. One scale serves them all, which costs
    least; or each has its own.

    Args:
        graph: In float32, as it was read and simplified.
        tuning: What to train on: its samples need no labels.
        bits: 4 or 2.
        packed: As ONNX's own integers of so few bits, which runtimes know since opset 21 (25 for
            2 bits); else two in one byte, which every runtime decodes.

    Raises:
        EdgegolfError: ONNX has no operator for something in the graph, or it cannot be trained.
    """
    if reasons := onnx.unsupported(graph):
        raise EdgegolfError(f"the compiler writes no such ONNX file: {reasons[0]}")
    if not is_trainable(graph):
        raise EdgegolfError(
            f"it has an operator that cannot be trained to {bits} bits", hint="--dtype int8"
        )
    shared = reroll(graph) is not graph
    equalized = equalize(graph, tuning.calibration.inputs)
    noises = importances(equalized, tuning.calibration.inputs)
    one = best_common_scale(noises, bits)
    schemes: dict[str, dict[Tensor, QuantParams]] = {
        "one scale": dict.fromkeys(equalized.weights, one),
        "scale per tensor": {w: best_common_scale({w: noises[w]}, bits) for w in equalized.weights},
    }
    for name, scales in schemes.items():
        rounded = Quantization({}, scales, dict.fromkeys(equalized.weights, bits))
        tuned = equalized, rounded
        if tuning.steps:
            tuned = finetune(
                *tuned,
                tuning.samples.inputs,
                round_activations=False,
                steps=STEPS,
                seed=tuning.seed,
                learning_rate=LEARNING_RATE,
            )
        decoded = pool_copies_once(with_decoded_weights(*tuned))
        yield Draft(name, _COMPUTE[bits], onnx.write(decoded, packed), shared)
