"""The files that a network may be deployed as, made in every way that may be best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgegolf.backends import onnx, tflite
from edgegolf.export.measuring import Compute, Draft
from edgegolf.ir.graph import Graph
from edgegolf.ir.interpreter import run
from edgegolf.ir.ops import Conv2D, FullyConnected
from edgegolf.ir.tensor import Array, QuantParams
from edgegolf.passes.bias_sharing import share_biases
from edgegolf.passes.broadcasting import broadcast_copies
from edgegolf.passes.dead_pixels import eliminate_dead_pixels
from edgegolf.passes.fusion import fuse_activations
from edgegolf.passes.kernel_products import multiply_kernels
from edgegolf.passes.mirror_pairs import fold_mirror_pairs
from edgegolf.passes.normalization import fold_normalizations
from edgegolf.passes.pixel_packing import pack_pixels
from edgegolf.passes.rerolling import reroll, unroll
from edgegolf.quantize.calibration import Scheme, alternatives, calibrate, ranges, weight_scales
from edgegolf.quantize.clipping import histograms
from edgegolf.quantize.equalization import equalize, importances
from edgegolf.quantize.finetuning import finetune, tune_biases
from edgegolf.quantize.quantization import Quantization, quantized, with_int8_weights
from edgegolf.quantize.scale_search import best_common_scale, best_scales, search_scales

Pixels: TypeAlias = NDArray[np.uint8]
#: What a file of some bytes gives for images, float32 [n, classes].
Judge: TypeAlias = Callable[[bytes, Pixels], Array]

FINETUNING_STEPS = 800
BIAS_STEPS = 200  # which are few and soon right
CALIBRATION_IMAGES = 500
SEARCH_IMAGES = 1000
# The share of training images that get another class, where tuning is worth its time: below there
# is nothing to recover, above it is too late.
CHANGES_WORTH_TUNING = (0.002, 0.1)

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
    """What scales are chosen on, and rounded weights adapted to.

    Attributes:
        images: uint8 training images.
        judge: Runs a file.
        steps: Batches of fine-tuning for graphs with shared layers, and at most as many for the
            biases of others; 0 for none.
        seed: For the choice of images.
    """

    images: Pixels
    judge: Judge
    steps: int = FINETUNING_STEPS
    seed: int = 0

    def some(self, count: int) -> Pixels:
        """Images spread over all."""
        chosen = np.linspace(0, len(self.images) - 1, min(count, len(self.images)))
        return self.images[chosen.astype(np.int64)]

    @property
    def calibration(self) -> Array:
        """Pixels, float32."""
        return pixels(self.some(CALIBRATION_IMAGES))


def tflite_drafts(graph: Graph, tuning: Tuning) -> list[Draft]:
    """All `.tflite` files that may be best for something.

    Args:
        graph: An image classifier in float32, as it was read.
        tuning: How to adapt it.
    """
    rolled = reroll(graph)
    if rolled is not graph:
        return list(_with_sharing(graph, rolled, tuning))
    return [
        draft
        for name, each in equivalents(graph).items()
        for draft in _without_sharing(name, each, tuning)
    ]


def onnx_drafts(graph: Graph, tuning: Tuning) -> list[Draft]:
    """All `.onnx` files that may be best for something; what ONNX cannot express is left out."""
    drafts = []
    for name, each in equivalents(graph).items():
        for scheme, make in _ONNX.items():
            if each.weights and not onnx.unsupported(each):
                variant = make(each, tuning)
                if variant is not None and not onnx.unsupported(variant):
                    compute: Compute = "int8" if variant.inputs[0].is_quantized else "int8-weights"
                    drafts.append(Draft(f"{name}{scheme}", compute, onnx.write(variant)))
    return drafts


def simplified(graph: Graph) -> Graph:
    """A graph as a front end reads it, without what no file needs."""
    return broadcast_copies(fold_normalizations(graph))


def equivalents(graph: Graph) -> dict[str, Graph]:
    """The graphs that compute the same and may be best, by what to put before a draft's name."""
    folded = fold_mirror_pairs(graph)
    return {"": graph} | ({} if folded is graph else {"mirror pairs, ": folded})


def pixels(images: Pixels) -> Array:
    """The real numbers 0…1 that a network takes."""
    return images / np.float32(255)


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
    return tflite.write(with_int8_weights(eliminate_dead_pixels(graph).graph, quantization))


def _without_sharing(prefix: str, graph: Graph, tuning: Tuning) -> Iterator[Draft]:
    """ReLUs that XNNPACK has, and as many scales as help."""
    # Multiples of one weight are the same integers only where each channel has its scale.
    multiples = any(weight.base is not None for weight in graph.weights)
    fused = fuse_activations(graph)
    for scheme, name in ((OWN_SCALES, "scale per channel"), (FEWER_SCALES, "scale per tensor")):
        each = _with_tuned_biases(fused, tuning) if scheme == OWN_SCALES else fused
        yield from _int8_drafts(f"{prefix}{name}", *_searched(each, tuning, scheme))
        if scheme == OWN_SCALES or not multiples:
            data = write_int8_weights(each, Quantization({}, weight_scales(each, scheme)))
            yield Draft(f"{prefix}{name}", "int8-weights", data)


def _with_tuned_biases(graph: Graph, tuning: Tuning) -> Graph:
    """Adapted to weights with a scale per channel, if their rounding changes what it says."""
    scales = Quantization({}, weight_scales(graph, OWN_SCALES))
    steps = min(tuning.steps, BIAS_STEPS)
    if not steps or not _is_worth_tuning(graph, write_int8_weights(graph, scales), tuning):
        return graph
    return tune_biases(graph, scales, tuning.images, steps=steps, seed=tuning.seed)


def _with_sharing(graph: Graph, rolled: Graph, tuning: Tuning) -> Iterator[Draft]:
    """Loops with one scale are smallest, unrolled networks with many scales fast and exact."""
    found = _searched(fuse_activations(graph), tuning, SCALES_BY_LAYER)
    yield from _int8_drafts("unrolled, scale per channel", *found)
    equalized = equalize(rolled, tuning.calibration)

    small, scales = _searched(fuse_activations(equalized), tuning, ONE_SCALE, TEMPERATURES)
    small, scales = _tuned(small, scales, tuning, write_int8(small, scales), activations=True)
    yield Draft("loop, one scale", "int8", write_int8(small, scales))
    straight = unroll(small)
    copied = scales.with_copies(straight.origins)
    yield from _int8_drafts("unrolled, one scale", straight.graph, copied)

    small = fuse_activations(share_biases(equalized))
    scales = Quantization({}, weight_scales(small, ONE_SCALE))
    data = write_int8_weights(small, scales)
    small, scales = _tuned(small, scales, tuning, data, activations=False)
    yield Draft("loop, one scale", "int8-weights", write_int8_weights(small, scales))
    unrolled = write_int8_weights(unroll(small).graph, scales)
    yield Draft("unrolled, one scale", "int8-weights", unrolled)


def _int8_drafts(name: str, graph: Graph, quantization: Quantization) -> Iterator[Draft]:
    """The int8 file, and that with fewer but wider pixels where that is possible."""
    whole = quantized(graph, quantization)
    yield Draft(name, "int8", tflite.write(eliminate_dead_pixels(whole).graph))
    for factor in PIXELS_IN_ONE:
        packed = pack_pixels(whole, factor)
        if packed is not None:
            data = tflite.write(eliminate_dead_pixels(packed).graph)
            yield Draft(f"{name}, {factor} pixels in one", "int8", data)
            break


def _searched(
    graph: Graph, tuning: Tuning, scheme: Scheme, temperatures: tuple[float, ...] = (1.0,)
) -> tuple[Graph, Quantization]:
    found = tuning.calibration
    images = tuning.some(SEARCH_IMAGES)
    return search_scales(
        graph,
        run(graph, [pixels(images)]),
        lambda tempered: calibrate(tempered, ranges(tempered, found), scheme),
        lambda each, scales: [tuning.judge(write_int8(each, scales), images)],
        temperatures,
        lambda each: alternatives(each, histograms(each, [found]), scheme),
    )


def _tuned(
    graph: Graph, quantization: Quantization, tuning: Tuning, data: bytes, *, activations: bool
) -> tuple[Graph, Quantization]:
    """Fine-tuned, if rounding changes what the network says of training images a little."""
    if not tuning.steps or not _is_worth_tuning(graph, data, tuning):
        return graph, quantization
    return finetune(
        graph,
        quantization,
        tuning.images,
        round_activations=activations,
        steps=tuning.steps,
        seed=tuning.seed,
    )


def _is_worth_tuning(graph: Graph, data: bytes, tuning: Tuning) -> bool:
    """Whether a file gives another class to some images, and not to too many."""
    sample = tuning.some(2 * SEARCH_IMAGES)
    classes = run(graph, [pixels(sample)])[0].argmax(axis=1)
    found = tuning.judge(data, sample).argmax(axis=1)
    least, most = CHANGES_WORTH_TUNING
    return bool(least < np.mean(found != classes) <= most)


# ------------------------------------------------------------------------------------------ ONNX


def one_weight_scale(graph: Graph, calibration: Array) -> Graph:
    """In float32, with every weight and bias stored as int8 with one scale."""
    equalized = equalize(graph, calibration)
    noises = importances(equalized, calibration)
    scale = best_common_scale({weight: noises[weight] for weight in equalized.weights})
    return with_int8_weights(equalized, Quantization({}, dict.fromkeys(equalized.weights, scale)))


def _one_weight_scale_and_products(graph: Graph, tuning: Tuning) -> Graph | None:
    """The same with one convolution for both parts of separable ones, whose filters are shared.

    Only there a filter that is multiplied at load serves several convolutions.
    """
    if reroll(graph) is graph:
        return None
    return multiply_kernels(one_weight_scale(graph, tuning.calibration))


def _own_weight_scales(graph: Graph, tuning: Tuning) -> Graph:
    """In float32, with every weight and bias stored as int8 with a scale of its own."""
    return with_int8_weights(graph, Quantization({}, best_scales(graph.weights)))


def _in_uint8(graph: Graph, tuning: Tuning) -> Graph:
    """In uint8 with int8 weights, which have one scale each and use 7 bits, and int32 biases."""
    equalized = fuse_activations(equalize(graph, tuning.calibration))
    found = calibrate(equalized, ranges(equalized, tuning.calibration), IN_UINT8)
    coarser = {weight: _coarser(params) for weight, params in found.weights.items()}
    return quantized(equalized, Quantization(found.activations, coarser))


def _in_uint8_by_channel(graph: Graph, tuning: Tuning) -> Graph:
    """In uint8 with int8 weights, which have a scale per channel, and int32 biases."""
    fused = fuse_activations(graph)
    found, images = tuning.calibration, tuning.some(CALIBRATION_IMAGES)

    def calibrated(graph: Graph) -> Quantization:
        return _unsaturated(graph, calibrate(graph, ranges(graph, found), IN_UINT8_BY_CHANNEL))

    first = quantized(fused, calibrated(fused))
    if onnx.unsupported(first):
        return first
    exact = run(fused, [pixels(images)])
    return quantized(
        *search_scales(
            fused,
            exact,
            calibrated,
            lambda graph, scales: [tuning.judge(onnx.write(quantized(graph, scales)), images)],
        )
    )


_ONNX: dict[str, Callable[[Graph, Tuning], Graph | None]] = {
    "weight-only, one scale": lambda graph, tuning: one_weight_scale(graph, tuning.calibration),
    "weight-only, one scale, filters multiplied": _one_weight_scale_and_products,
    "weight-only, scale per tensor": _own_weight_scales,
    "int8 per-tensor": _in_uint8,
    "int8 per-channel": _in_uint8_by_channel,
}


def _coarser(params: QuantParams) -> QuantParams:
    scales = tuple(scale * _SEVEN_BITS for scale in params.scale)
    return QuantParams(scales, params.zero_point, params.axis)


def _unsaturated(graph: Graph, quantization: Quantization) -> Quantization:
    """What is multiplied in pairs in 7 bits: activations, or the weights of pixels.

    Activations lose less by it than weights do, and where their ranges are clipped, what is above
    them has the eighth bit. Depthwise convolutions do not add in pairs.
    """
    activations, weights = quantization.activations, dict(quantization.weights)
    fixed = {activations[tensor] for tensor in (*graph.inputs, *graph.outputs)}
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
