"""ONNX files whose weights have fewer than 8 bits, trained to be rounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from edgegolf.backends import onnx, tflite
from edgegolf.backends.gradient.source import NotCompiledError
from edgegolf.errors import EdgegolfError
from edgegolf.export.measuring import Draft
from edgegolf.export.variants import ONE_SCALE, OWN_SCALES, Tuning, write_int8_weights
from edgegolf.ir.graph import Graph
from edgegolf.ir.interpreter import run
from edgegolf.ir.tensor import Array, Tensor
from edgegolf.passes.bias_sharing import share_biases
from edgegolf.passes.fusion import fuse_activations
from edgegolf.passes.mosaics import pool_copies_once
from edgegolf.passes.rerolling import reroll, unroll
from edgegolf.quantize.calibration import weight_scales
from edgegolf.quantize.equalization import equalize, importances
from edgegolf.quantize.finetuning import finetune, is_trainable
from edgegolf.quantize.quantization import Quantization, is_layer, with_decoded_weights
from edgegolf.quantize.scale_search import best_common_scale, loss_of
from edgegolf.training.rounding import as_pixels, finetune_weights

# Batches; rounding to few bits moves what a network computes far. More of them where there are 2
# bits, or where fewer were not enough.
STEPS, MORE_STEPS = 3000, 12_000
LEARNING_RATE = 2e-3
JUDGED = 2000  # training samples that the best training is chosen on
LARGE = 5_000_000  # multiply-accumulates, from which on one training takes minutes

# Of all multiply-accumulates, what a layer in 4 bits may have in a TFLite file.
CHEAP, FREE = 0.1, 0.01

#: What the ONNX files are called, and the bits of their weights.
LOW_BITS = {"int4": (4,), "int2": (2,), "mixed": (4, 2)}
#: The oldest runtimes that have these integers.
NEEDS = {
    "int4.onnx": "onnxruntime 1.23.2", "int2.onnx": "onnxruntime 1.24.4",
    "mixed.onnx": "onnxruntime 1.24.4", "int4.tflite": "ai-edge-litert",
}  # fmt: skip


def low_bit_drafts(
    graph: Graph, tuning: Tuning, bits: tuple[int, ...], packed: bool
) -> Iterator[Draft]:
    """Files that compute in float32 with weights of few bits.

    The weights are decoded when a runtime loads the file. One scale serves them all, which costs
    least, or each has its own, or each of its channels: the smaller file comes first. Where bits
    are mixed, all of the same bits have one scale, and the larger file comes first: in each next
    one more tensor has the fewest bits, the one that loses the least by it in relation to its size.

    Args:
        graph: In float32, as it was read and simplified.
        tuning: What to train on: its samples need no labels.
        bits: One of `LOW_BITS`.
        packed: As ONNX's own integers of so few bits, which runtimes know since opset 21 (25 for
            2 bits); else several in one byte, which every runtime decodes.

    Raises:
        EdgegolfError: ONNX has no operator for something in the graph, or it cannot be trained.
    """
    if reasons := onnx.unsupported(graph):
        raise EdgegolfError(f"the compiler writes no such ONNX file: {reasons[0]}")
    _check_trainable(graph, bits[0])
    shared = reroll(graph) is not graph
    equalized = equalize(graph, tuning.calibration.inputs)
    noises = importances(equalized, tuning.calibration.inputs)

    def write(graph: Graph, rounding: Quantization) -> bytes:
        return onnx.write(pool_copies_once(with_decoded_weights(graph, rounding)), packed)

    for name, rounding in _roundings(equalized, noises, tuning, bits):
        data = _tuned_file(equalized, rounding, tuning, write)
        yield Draft(name, "int8-weights", data, shared)


def low_bit_tflite(graph: Graph, tuning: Tuning, fast: bool = False) -> Draft:
    """A `.tflite` file with 4 bits where that costs little time, and 8 bits elsewhere.

    LiteRT decodes 4 bits in every inference, and computes with what it decodes without XNNPACK.
    tflite-runtime refuses such a file.

    Args:
        graph: In float32, as it was read and simplified.
        tuning: What to train on: its samples need no labels.
        fast: With 4 bits only where that costs no time.

    Raises:
        EdgegolfError: TFLite has no operator for something in the graph, or it cannot be trained,
            or has no such weights.
    """
    if reasons := tflite.unsupported(graph):
        raise EdgegolfError(f"the compiler writes no {', '.join(reasons)} to TFLite files")
    _check_trainable(graph, 4)
    rolled = reroll(graph)
    small = share_biases(equalize(rolled, tuning.calibration.inputs))
    scales, work = weight_scales(small, ONE_SCALE), _work(small)
    noises = importances(small, tuning.calibration.inputs)
    most = (FREE if fast else CHEAP) * work.total()
    few = {w: noises[w] for w in scales if work[w] <= most}
    if not few:
        raise EdgegolfError("no layer of it would be fast in 4 bits", hint="--formats onnx")
    scales |= dict.fromkeys(few, best_common_scale(few, 4))

    def write(graph: Graph, rounding: Quantization) -> bytes:
        return write_int8_weights(fuse_activations(graph), rounding)

    rounding = Quantization({}, scales, dict.fromkeys(few, 4))
    data = _tuned_file(small, rounding, tuning, write)
    return Draft("4 bits where cheap", "int8-weights", data, rolled is not graph)


def _work(graph: Graph) -> Counter[Tensor]:
    """Multiply-accumulates of one inference, by the filter."""
    work: Counter[Tensor] = Counter()
    for node in unroll(graph).graph.nodes:
        if is_layer(node):
            work[node.filter] += node.op.macs(node.inputs, node.outputs) or 0
    return work


def _check_trainable(graph: Graph, bits: int) -> None:
    """Raises EdgegolfError unless a graph has weights that can be trained to so few bits."""
    if not graph.weights:
        raise EdgegolfError("no layer of it has weights", hint="--dtype float32")
    if not is_trainable(graph):
        raise EdgegolfError(
            f"it has an operator that cannot be trained to {bits} bits", hint="--dtype int8"
        )


def _tuned_file(
    graph: Graph,
    rounding: Quantization,
    tuning: Tuning,
    write: Callable[[Graph, Quantization], bytes],
) -> bytes:
    """Of the trained graph: of several by compiled gradients, where there are some, the best."""
    if not tuning.steps:
        return write(graph, rounding)
    params, is_large = rounding.weights.values(), _work(graph).total() > LARGE
    is_hard = 2 in rounding.bits.values() or any(each.is_per_channel for each in params)
    steps = MORE_STEPS if is_hard and not is_large else STEPS
    how: dict[str, Any] = {"steps": steps, "learning_rate": LEARNING_RATE}
    samples, *others = tuning.samples.inputs
    seeds = tuning.seeds[: 1 if is_large else None]
    if not others and (pixels := as_pixels(samples)) is not None:
        with suppress(NotCompiledError):
            made = [finetune_weights(graph, rounding, pixels, seed=seed, **how) for seed in seeds]
            judged, loss = tuning.samples.take(JUDGED), loss_of(graph)
            exact = run(graph, judged.inputs)
            files = [write(*each) for each in made]
            return min(files, key=lambda file: loss(exact, tuning.judge(file, judged)))
    how |= {"round_activations": False, "seed": tuning.seeds[0]}
    return write(*finetune(graph, rounding, tuning.samples.inputs, **how))


def _roundings(
    graph: Graph, noises: Mapping[Tensor, Array], tuning: Tuning, bits: tuple[int, ...]
) -> Iterator[tuple[str, Quantization]]:
    """What to try, by name."""
    most, fewest = bits[0], bits[-1]
    few = dict.fromkeys(noises, most)
    if most == fewest:
        one = best_common_scale(noises, most)
        yield "one scale", Quantization({}, dict.fromkeys(noises, one), few)
        own = {w: best_common_scale({w: noise}, most) for w, noise in noises.items()}
        yield "scale per tensor", Quantization({}, own, few)
        yield "scale per channel", _by_channel(graph, noises, most)
        return
    for weight in _least_sensitive(graph, noises, tuning, fewest):
        few[weight] = fewest
        groups = ({w: noises[w] for w in noises if few[w] == b} for b in bits)
        scales = {
            w: scale
            for group, b in zip(groups, bits, strict=True)
            if group
            for scale in [best_common_scale(group, b)]
            for w in group
        }
        yield f"{weight.name} in {fewest} bits", Quantization({}, scales, dict(few))


def _by_channel(graph: Graph, noises: Mapping[Tensor, Array], bits: int) -> Quantization:
    """A scale for each channel of each filter; all else, which is little, has 8 bits."""
    scales, few = {}, {}
    for weight, usual in weight_scales(graph, OWN_SCALES).items():
        pair = np.broadcast_arrays(weight.values, noises[weight])
        channels = zip(*(np.moveaxis(array, usual.axis, 0) for array in pair), strict=True)
        if usual.is_per_channel:
            found = [best_common_scale({Tensor.constant(v): n}, bits) for v, n in channels]
            scales[weight] = replace(usual, scale=tuple(each.scale[0] for each in found))
            few[weight] = bits
    rest = {w: best_common_scale({w: noise}) for w, noise in noises.items() if w not in scales}
    return Quantization({}, scales | rest, few)


def _least_sensitive(
    graph: Graph, noises: Mapping[Tensor, Array], tuning: Tuning, bits: int
) -> list[Tensor]:
    """All but vectors, by what outputs lose where each alone has so few bits, for its elements."""
    inputs, loss = tuning.calibration.inputs, loss_of(graph)
    exact = run(graph, inputs)

    def sensitivity(weight: Tensor) -> float:
        scale = best_common_scale({weight: noises[weight]}, bits)
        rounded = with_decoded_weights(graph, Quantization({}, {weight: scale}, {weight: bits}))
        return loss(exact, run(rounded, inputs)) / weight.elements

    return sorted((w for w in noises if len(w.shape) > 1), key=sensitivity)
