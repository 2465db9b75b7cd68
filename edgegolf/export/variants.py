"""The files that a network may be deployed as, made in every way that may be best."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar, cast

import numpy as np

from edgegolf.backends import onnx, tflite
from edgegolf.errors import EdgegolfError
from edgegolf.export.measuring import Compute, Draft
from edgegolf.export.samples import Samples
from edgegolf.ir.graph import Graph
from edgegolf.ir.interpreter import run
from edgegolf.ir.ops import Conv2D, FullyConnected, Softmax
from edgegolf.ir.tensor import Array, QuantParams
from edgegolf.passes.bias_sharing import share_biases
from edgegolf.passes.broadcasting import broadcast_copies
from edgegolf.passes.dead_pixels import eliminate_dead_pixels
from edgegolf.passes.fusion import fuse_activations
from edgegolf.passes.kernel_products import multiply_kernels
from edgegolf.passes.mirror_pairs import fold_mirror_pairs
from edgegolf.passes.mosaics import pool_copies_once
from edgegolf.passes.normalization import fold_normalizations
from edgegolf.passes.pixel_packing import pack_pixels
from edgegolf.passes.rerolling import reroll, unroll
from edgegolf.quantize.calibration import Scheme, alternatives, calibrate, ranges, weight_scales
from edgegolf.quantize.clipping import histograms
from edgegolf.quantize.equalization import equalize, importances
from edgegolf.quantize.finetuning import finetune, is_trainable, tune_biases
from edgegolf.quantize.quantization import Quantization, quantized, with_decoded_weights
from edgegolf.quantize.scale_search import best_common_scale, best_scales, search_scales
from edgegolf.sqnr import sqnr

#: What a file of some bytes gives for samples, float32 [n, …] for each output.
Judge: TypeAlias = Callable[[bytes, Samples], list[Array]]
_MakeGraph: TypeAlias = "Callable[[Graph, Tuning], Graph | None]"
T = TypeVar("T")

FINETUNING_STEPS = 800
SEEDS = (0, 1, 2)
BIAS_STEPS = 200  # which are few and soon right
SEARCH_SAMPLES = 1000
# The share of training samples that get another class, where tuning is worth its time: below there
# is nothing to recover, above it is too late.
CHANGES_WORTH_TUNING = (0.002, 0.1)
NOISE_WORTH_TUNING = (10.0, 40.0)  # the same for outputs that are no classes, dB

# With one scale for all values, those before softmax should not be larger than the others.
TEMPERATURES = (1.0, 2.0, 3.0)

PIXELS_IN_ONE = (4, 2)  # what to try, the fastest first

# Without VNNI, x86 CPUs add two products of uint8 and int8 in 16 bits, which saturates where both
# have 8 bits: the file would have another accuracy on another CPU.
_SEVEN_BITS = 127 / 63

OWN_SCALES = Scheme("requantize", "own", "channel")
FEWER_SCALES = Scheme("requantize", "own", "tensor")
SCALES_BY_LAYER = Scheme("leaky", "shared", "channel")
ONE_SCALE = Scheme("leaky", "one", "one")
IN_UINT8 = Scheme("requantize", "shared", "tensor")
IN_UINT8_BY_CHANNEL = Scheme("requantize", "shared", "channel")


@dataclass(frozen=True)
class Tuning:
    """What scales are chosen on, and rounded weights adapted to."""

    samples: Samples  # training samples, in the graph's layout
    calibration: Samples  # of these, what ranges are taken from
    judge: Judge  # runs a file
    # Batches of fine-tuning for graphs with shared layers, and at most as many for the biases of
    # others; 0 for none.
    steps: int = FINETUNING_STEPS
    # For the choice of samples; cheap trainings take place with each of them, and the best counts.
    seeds: Sequence[int] = SEEDS
    quick: bool = False  # the first scales are taken, and the plainest schemes only
    powers_of_two: bool = False  # whether scales are
    # What was worked out `once`.
    known: dict[tuple[object, Graph], object] = field(default_factory=dict, repr=False)

    def scales(self, quantization: Quantization) -> Quantization:
        """Scales as they are asked for."""
        return quantization.in_powers_of_two() if self.powers_of_two else quantization

    def once(self, function: Callable[[Graph, Sequence[Array]], T], graph: Graph) -> T:
        """What a function makes of a graph and the inputs that calibrate, which takes its time."""
        key = function, graph
        if key not in self.known:
            self.known[key] = function(graph, self.calibration.inputs)
        return cast(T, self.known[key])


def tflite_drafts(graph: Graph, tuning: Tuning) -> list[Draft]:
    """All `.tflite` files that may be best for something.

    Args:
        graph: In float32, as it was read and simplified.
        tuning: How to adapt it.

    Raises:
        EdgegolfError: TFLite has no operator for something in the graph.
    """
    if reasons := tflite.unsupported(graph):
        raise EdgegolfError(f"the compiler writes no {', '.join(reasons)} to TFLite files")
    rolled = reroll(graph)
    if rolled is not graph:
        return _all_of(
            _unrolled(graph, tuning), _loops(rolled, tuning), _weight_only_loops(rolled, tuning)
        )
    return _all_of(
        *(_without_sharing(name, each, tuning) for name, each in equivalents(graph).items())
    )


def onnx_drafts(graph: Graph, tuning: Tuning) -> list[Draft]:
    """All `.onnx` files that may be best for something; what ONNX cannot express is left out.

    Raises:
        EdgegolfError: ONNX has no operator for something in the graph.
    """
    if reasons := onnx.unsupported(graph):
        raise EdgegolfError(f"the compiler writes no such ONNX file: {reasons[0]}")
    shared = reroll(graph) is not graph
    made = (
        _onnx_draft(f"{name}{scheme}", make, each, tuning, shared)
        for name, each in equivalents(graph).items()
        for scheme, make in (_QUICK_ONNX if tuning.quick else _ONNX).items()
        if each.weights
    )
    return _all_of(*made)


def _onnx_draft(
    name: str, make: _MakeGraph, graph: Graph, tuning: Tuning, shared: bool
) -> Iterator[Draft]:
    variant = make(graph, tuning)
    if variant is not None and not onnx.unsupported(variant):
        compute: Compute = "int8" if onnx.computes_in_integers(variant) else "int8-weights"
        if compute == "int8-weights":
            variant = pool_copies_once(variant)
        yield Draft(name, compute, onnx.write(variant), shared)


def _all_of(*makers: Iterator[Draft]) -> list[Draft]:
    """The drafts that can be made: a file format has not every operator in every number format."""
    made: list[Draft] = []
    for maker in makers:
        with suppress(EdgegolfError):
            for draft in maker:
                made.append(draft)
    return made


def simplified(graph: Graph) -> Graph:
    """A graph as a front end reads it, without what no file needs."""
    return broadcast_copies(fold_normalizations(graph))


def equivalents(graph: Graph) -> dict[str, Graph]:
    """The graphs that compute the same and may be best, by what to put before a draft's name."""
    folded = fold_mirror_pairs(graph)
    return {"": graph} | ({} if folded is graph else {"mirror pairs, ": folded})


# ---------------------------------------------------------------------------------------- TFLite


def int8_graph(graph: Graph, quantization: Quantization) -> Graph:
    """The quantized graph without dead pixels.

    Args:
        graph: In float32, its activations fused.
        quantization: Of all of its tensors.
    """
    return eliminate_dead_pixels(quantized(graph, quantization)).graph


def write_int8(graph: Graph, quantization: Quantization) -> bytes:
    """Int8 weights, activations, input and output; int32 biases."""
    return tflite.write(int8_graph(graph, quantization))


def write_int8_weights(graph: Graph, quantization: Quantization) -> bytes:
    """Int8 weights that are decoded at load, float32 arithmetic, input and output."""
    return tflite.write(with_decoded_weights(eliminate_dead_pixels(graph).graph, quantization))


def _without_sharing(prefix: str, graph: Graph, tuning: Tuning) -> Iterator[Draft]:
    """ReLUs that XNNPACK has, and as many scales as help."""
    # Multiples of one weight are the same integers only where each channel has its scale.
    multiples = any(weight.base is not None for weight in graph.weights)
    fused = fuse_activations(graph)
    schemes = ((OWN_SCALES, "scale per channel"), (FEWER_SCALES, "scale per tensor"))
    for scheme, name in schemes[:1] if tuning.quick else schemes:
        each = _with_tuned_biases(fused, tuning) if scheme == OWN_SCALES else fused
        yield from _int8_drafts(f"{prefix}{name}", *_searched(each, tuning, scheme))
        if scheme == OWN_SCALES or not multiples:
            data = write_int8_weights(each, Quantization({}, weight_scales(each, scheme)))
            yield Draft(f"{prefix}{name}", "int8-weights", data)


def _with_tuned_biases(graph: Graph, tuning: Tuning) -> Graph:
    """Adapted to weights with a scale per channel, if their rounding changes what it says."""
    scales = Quantization({}, weight_scales(graph, OWN_SCALES))
    steps = min(tuning.steps, BIAS_STEPS)
    if not _is_worth_tuning(graph, write_int8_weights(graph, scales), tuning):
        return graph
    return tune_biases(graph, scales, tuning.samples.inputs, steps=steps, seed=tuning.seeds[0])


def _unrolled(graph: Graph, tuning: Tuning) -> Iterator[Draft]:
    """Fast and exact: shared weights with many scales, and each step by itself."""
    fused = fuse_activations(graph)
    found = _searched(fused, tuning, SCALES_BY_LAYER)
    yield from _int8_drafts("unrolled, scale per channel", *found, shared=True)
    # Steps whose values grow need scales of their own, at the price of a bias for each.
    found = _searched(fused, tuning, OWN_SCALES)
    yield from _int8_drafts("unrolled, own scales", *found, shared=True)


def _loops(rolled: Graph, tuning: Tuning) -> Iterator[Draft]:
    """Smallest: loops, whose steps have one scale."""
    equalized = tuning.once(equalize, rolled)
    small, scales = _searched(fuse_activations(equalized), tuning, ONE_SCALE, TEMPERATURES)
    small, scales = _tuned(small, scales, tuning, write_int8(small, scales), activations=True)
    yield Draft("loop, one scale", "int8", write_int8(small, scales), shared=True)
    straight = unroll(small)
    copied = scales.with_copies(straight.origins)
    yield from _int8_drafts("unrolled, one scale", straight.graph, copied, shared=True)


def _weight_only_loops(rolled: Graph, tuning: Tuning) -> Iterator[Draft]:
    small = fuse_activations(share_biases(tuning.once(equalize, rolled)))
    scales = Quantization({}, weight_scales(small, ONE_SCALE))
    data = write_int8_weights(small, scales)
    small, scales = _tuned(small, scales, tuning, data, activations=False)
    data = write_int8_weights(small, scales)
    yield Draft("loop, one scale", "int8-weights", data, shared=True)
    unrolled = write_int8_weights(unroll(small).graph, scales)
    yield Draft("unrolled, one scale", "int8-weights", unrolled, shared=True)


def _int8_drafts(
    name: str, graph: Graph, quantization: Quantization, shared: bool = False
) -> Iterator[Draft]:
    """The int8 file, and that with fewer but wider pixels where that is possible."""
    whole = quantized(graph, quantization)
    yield Draft(name, "int8", tflite.write(eliminate_dead_pixels(whole).graph), shared)
    for factor in PIXELS_IN_ONE:
        packed = pack_pixels(whole, factor)
        if packed is not None:
            data = tflite.write(eliminate_dead_pixels(packed).graph)
            yield Draft(f"{name}, {factor} pixels in one", "int8", data, shared)
            break


def _searched(
    graph: Graph, tuning: Tuning, scheme: Scheme, temperatures: tuple[float, ...] = (1.0,)
) -> tuple[Graph, Quantization]:
    found = tuning.calibration.inputs
    if tuning.quick:
        return graph, tuning.scales(calibrate(graph, ranges(graph, found), scheme))
    samples = tuning.samples.take(SEARCH_SAMPLES)
    searched, scales = search_scales(
        graph,
        run(graph, samples.inputs),
        lambda tempered: calibrate(tempered, ranges(tempered, found), scheme),
        lambda each, scales: tuning.judge(write_int8(each, tuning.scales(scales)), samples),
        temperatures,
        lambda each: alternatives(each, histograms(each, found), scheme),
    )
    return searched, tuning.scales(scales)


def _tuned(
    graph: Graph, quantization: Quantization, tuning: Tuning, data: bytes, *, activations: bool
) -> tuple[Graph, Quantization]:
    """Fine-tuned, if rounding changes what the network says of training images a little."""
    if not _is_worth_tuning(graph, data, tuning):
        return graph, quantization
    tuned, scales = finetune(
        graph,
        quantization,
        tuning.samples.inputs,
        round_activations=activations,
        steps=tuning.steps,
        seed=tuning.seeds[0],
        keep_scales=tuning.powers_of_two,
    )
    return tuned, tuning.scales(scales)


def _is_worth_tuning(graph: Graph, data: bytes, tuning: Tuning) -> bool:
    """Whether a file computes something a little different, and not too different."""
    if not tuning.steps or not is_trainable(graph):
        return False
    sample = tuning.samples.take(2 * SEARCH_SAMPLES)
    exact, found = run(graph, sample.inputs), tuning.judge(data, sample)
    if isinstance(graph.nodes[-1].op, Softmax):
        least, most = CHANGES_WORTH_TUNING
        changed = exact[0].argmax(axis=-1) != found[0].argmax(axis=-1)
        return bool(least < np.mean(changed) <= most)
    least, most = NOISE_WORTH_TUNING
    return least < min(map(sqnr, exact, found)) <= most


# ------------------------------------------------------------------------------------------ ONNX


def one_weight_scale(graph: Graph, calibration: Sequence[Array]) -> Graph:
    """In float32, with every weight and bias int8 of one scale."""
    return with_decoded_weights(*_equalized_for_one_scale(graph, calibration))


def _equalized_for_one_scale(
    graph: Graph, calibration: Sequence[Array]
) -> tuple[Graph, Quantization]:
    equalized = equalize(graph, calibration)
    noises = importances(equalized, calibration)
    scale = best_common_scale({weight: noises[weight] for weight in equalized.weights})
    return equalized, Quantization({}, dict.fromkeys(equalized.weights, scale))


def _one_weight_scale(graph: Graph, tuning: Tuning) -> Graph:
    return with_decoded_weights(*tuning.once(_equalized_for_one_scale, graph))


def _one_weight_scale_and_products(graph: Graph, tuning: Tuning) -> Graph | None:
    """The same with one convolution for both parts of separable ones, whose filters are shared.

    Only there a filter that is multiplied at load serves several convolutions.
    """
    return None if reroll(graph) is graph else multiply_kernels(_one_weight_scale(graph, tuning))


def _one_weight_scale_and_loops(graph: Graph, tuning: Tuning) -> Graph | None:
    """The same with repeated blocks as loops, which take the fewest bytes but more time."""
    if reroll(graph) is graph:
        return None
    equalized, scales = tuning.once(_equalized_for_one_scale, graph)
    return with_decoded_weights(reroll(equalized), scales)


def _own_weight_scales(graph: Graph, tuning: Tuning) -> Graph:
    """In float32, with every weight and bias stored as int8 with a scale of its own."""
    return with_decoded_weights(graph, Quantization({}, best_scales(graph.weights)))


def _in_uint8(graph: Graph, tuning: Tuning) -> Graph:
    """In uint8 with int8 weights, which have one scale each and use 7 bits, and int32 biases."""
    equalized = fuse_activations(tuning.once(_equalized_for_one_scale, graph)[0])
    found = calibrate(equalized, ranges(equalized, tuning.calibration.inputs), IN_UINT8)
    coarser = {weight: _coarser(params) for weight, params in found.weights.items()}
    return quantized(equalized, Quantization(found.activations, coarser))


def _in_uint8_by_channel(graph: Graph, tuning: Tuning) -> Graph:
    """In uint8 with int8 weights, which have a scale per channel, and int32 biases."""
    fused = fuse_activations(graph)
    found = tuning.calibration.inputs

    def calibrated(graph: Graph) -> Quantization:
        return _unsaturated(graph, calibrate(graph, ranges(graph, found), IN_UINT8_BY_CHANNEL))

    first = quantized(fused, calibrated(fused))
    if onnx.unsupported(first):
        return first
    if tuning.quick:
        return first
    exact = run(fused, found)
    return quantized(
        *search_scales(
            fused,
            exact,
            calibrated,
            lambda graph, scales: tuning.judge(
                onnx.write(quantized(graph, scales)), tuning.calibration
            ),
        )
    )


_ONNX: dict[str, _MakeGraph] = {
    "weight-only, one scale": _one_weight_scale,
    "weight-only, one scale, loop": _one_weight_scale_and_loops,
    "weight-only, one scale, filters multiplied": _one_weight_scale_and_products,
    "weight-only, scale per tensor": _own_weight_scales,
    "int8 per-tensor": _in_uint8,
    "int8 per-channel": _in_uint8_by_channel,
}
# Per tensor, a file is not often as good as the stock converter's, which is per channel.
_QUICK_ONNX = {name: make for name, make in _ONNX.items() if name != "int8 per-tensor"}


def _coarser(params: QuantParams) -> QuantParams:
    scales = tuple(scale * _SEVEN_BITS for scale in params.scale)
    return QuantParams(scales, params.zero_point, params.axis)


def _unsaturated(graph: Graph, quantization: Quantization) -> Quantization:
    """What is multiplied in pairs in 7 bits: activations, or the weights of pixels.

    Activations lose less by it than weights do, and where their ranges are clipped, what is above
    them has the eighth bit. Depthwise convolutions do not add in pairs.
    """
    activations, weights = quantization.activations, dict(quantization.weights)
    ends = (*graph.inputs, *graph.outputs)
    fixed = {activations[tensor] for tensor in ends if tensor in activations}
    halved: set[QuantParams] = set()
    for node in graph.walk():
        if isinstance(node.op, Conv2D | FullyConnected):
            params = activations[node.source]
            if params in fixed:
                weights[node.filter] = _coarser(weights[node.filter])
            else:
                halved.add(params)

    def in_lower_half(params: QuantParams) -> QuantParams:  # of uint8, which begin at int8's -128
        return QuantParams((2 * params.scale[0],), ((params.zero_point[0] - 128) // 2,))

    return Quantization(
        {t: in_lower_half(p) if p in halved else p for t, p in activations.items()}, weights
    )
