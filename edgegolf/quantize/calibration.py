"""Chooses the scales of a graph from what its tensors are on typical inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgegolf.ir import ops
from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.interpreter import run
from edgegolf.ir.lowering import FIXED
from edgegolf.ir.ops import LeakyReLU, Loop, ReLU
from edgegolf.ir.tensor import Array, QuantParams, Tensor
from edgegolf.quantize.clipping import METHODS, Histogram, Range
from edgegolf.quantize.quantization import (
    Quantization,
    activations_of,
    channel_axis,
    channel_scales,
    is_layer,
)

# Pixels and probabilities have known ranges.
PIXELS: Range = (0.0, 1.0)
PROBABILITIES: Range = (0.0, 255 / 256)

WORTH_CLIPPING = 0.95  # of the range

_KEEPING_THE_SCALE = (
    ops.AveragePool2D, ops.BatchToSpace, ops.BroadcastTo, ops.Concatenate, ops.DepthToSpace,
    ops.Gather, ops.MaxPool2D, ops.Maximum, ops.Minimum, ops.Pad, ops.ReduceMax, ops.ReduceMin,
    ops.Reshape, ops.ResizeBilinear, ops.ResizeNearest, ops.Reverse, ops.Select, ops.Slice,
    ops.SpaceToBatch, ops.SpaceToDepth, ops.Split, ops.Stack, ops.Tile, ops.Transpose, ops.Unstack,
)  # fmt: skip


@dataclass(frozen=True)
class Scheme:
    """How many scales a file spends."""

    # `leaky`: a ReLU that is not fused keeps its input's scale and has zero point 0. `requantize`:
    # it has its own scale.
    relu: Literal["leaky", "requantize"]
    # `own`: each tensor has its scale, unless an operator asks for equal ones. `shared`: the
    # tensors that one layer is applied to have one, so that its bias is one. `one`: all tensors
    # have one scale and zero point 0, except pixels and probabilities.
    activations: Literal["own", "shared", "one"]
    # Scales of weights: for each `channel`, for each `tensor`, or `one` for all.
    weights: Literal["channel", "tensor", "one"]


def ranges(graph: Graph, inputs: Sequence[Array]) -> dict[Tensor, Range]:
    """The smallest and largest element of every real tensor, over images and iterations.

    Infinite ones do not count. What kernels fix has the range that they fix, and an input of
    fractions, at least one of them over a half, is taken for pixels.

    Args:
        graph: In float32, its activations fused.
        inputs: An array [n, …] for each input.
    """
    found: dict[Tensor, Range] = {}

    def observe(tensor: Tensor, array: Array) -> None:
        if tensor.dtype == "float32":
            low, high = found.get(tensor, (0.0, 0.0))  # a scale has to have a zero
            finite = np.where(np.isfinite(array), array, 0)
            found[tensor] = (
                min(low, float(finite.min(initial=0))),
                max(high, float(finite.max(initial=0))),
            )

    run(graph, inputs, observe)
    for tensor in graph.outputs:
        if tensor.data is not None:
            observe(tensor, tensor.data)
    for tensor in graph.inputs:
        if tensor in found and found[tensor][0] == 0 and 0.5 < found[tensor][1] <= 1:
            found[tensor] = PIXELS
    for node in graph.walk():
        for tensor in activations_of(node):
            if tensor.data is not None:
                observe(tensor, tensor.data)
        if type(node.op) in FIXED:
            params = FIXED[type(node.op)]
            low, high = ((n - params.zero_point[0]) * params.scale[0] for n in (-128, 127))
            found[node.output] = low, high
    return found


def calibrate(graph: Graph, found: Mapping[Tensor, Range], scheme: Scheme) -> Quantization:
    """Scales that just hold the ranges."""
    activations: dict[Tensor, QuantParams] = {}
    for group in _groups(graph, scheme):
        activations.update(dict.fromkeys(group, _params(graph, group, found, scheme)))
    return Quantization(activations, weight_scales(graph, scheme))


def alternatives(
    graph: Graph, found: Mapping[Tensor, Histogram], scheme: Scheme
) -> list[list[dict[Tensor, QuantParams]]]:
    """Other scales that may be better, which clip: for each group of tensors that have one scale.

    Before these, all of them at a time by each method. Groups that lose most by not clipping come
    first; those that lose little are left out.
    """
    fixed = _fixed(graph)
    options = []
    for group in _groups(graph, scheme):
        if not group & fixed and group <= found.keys():
            whole, *clipped = (
                _params(graph, group, {t: method(found[t]) for t in group}, scheme)
                for method in METHODS.values()
            )
            # Not by the last, entropy: it clips most of what has one value above all others, such
            # as a background, which a measurement then mostly refuses.
            share = min(params.scale[0] for params in clipped[:-1]) / whole.scale[0]
            if share < WORTH_CLIPPING:
                options.append((share, [dict.fromkeys(group, p) for p in (whole, *clipped)]))
    groups = [choices for _, choices in sorted(options, key=lambda option: option[0])]
    together = [
        {tensor: params for choice in choices for tensor, params in choice.items()}
        for choices in zip(*groups, strict=True)
    ]
    return [together, *groups] if groups else []


def _params(
    graph: Graph, group: set[Tensor], found: Mapping[Tensor, Range], scheme: Scheme
) -> QuantParams:
    """What just holds the ranges of tensors that have one scale."""
    low = min(found[tensor][0] for tensor in group)
    high = max(found[tensor][1] for tensor in group)
    one = scheme.activations == "one"
    if one and (low, high) == PIXELS and group & {*graph.inputs}:
        low, high = PROBABILITIES  # a scale less; white becomes 255/256
    is_fixed = bool(group & _fixed(graph))
    is_symmetric = (one or (scheme.relu == "leaky" and low < 0)) and not is_fixed
    return symmetric(low, high) if is_symmetric else asymmetric(low, high)


def weight_scales(graph: Graph, scheme: Scheme) -> dict[Tensor, QuantParams]:
    """Scales that just hold the filters and matrices."""
    filters = filters_of(graph)
    largest = {weight: float(np.abs(weight.values).max()) or 1.0 for weight in filters}
    if scheme.weights == "one":
        return dict.fromkeys(filters, QuantParams((max(largest.values(), default=1.0) / 127,)))
    if scheme.weights == "tensor":
        return {weight: QuantParams((value / 127,)) for weight, value in largest.items()}
    return {weight: _per_channel(weight, node) for weight, node in filters.items()}


def filters_of(graph: Graph) -> dict[Tensor, Node]:
    """The weights of each layer but its bias, with a node that applies it."""
    return {node.filter: node for node in graph.walk() if is_layer(node)}


def symmetric(low: float, high: float) -> QuantParams:
    """With zero point 0."""
    return QuantParams((float(np.float32((max(-low, high) or 1.0) / 127)),))


def asymmetric(low: float, high: float) -> QuantParams:
    """With the zero point that uses all 256 integers."""
    scale = np.float32(((high - low) or 1.0) / 255)
    return QuantParams((float(scale),), (int(np.clip(np.rint(-128 - low / scale), -128, 127)),))


def _per_channel(weight: Tensor, node: Node) -> QuantParams:
    axis = channel_axis(node.op)
    scales = tuple(map(float, channel_scales(weight.values, axis)))
    return QuantParams(scales, (0,) * len(scales), axis)


def _fixed(graph: Graph) -> set[Tensor]:
    """The tensors whose quantization is not ours to choose."""
    known = {node.output for node in graph.walk() if type(node.op) in FIXED}
    return known | {tensor for tensor in graph.inputs if tensor.dtype == "float32"}


def _groups(graph: Graph, scheme: Scheme) -> list[set[Tensor]]:
    """The tensors that must have one scale."""
    group_of: dict[Tensor, set[Tensor]] = {}

    def unite(tensors: Iterable[Tensor]) -> None:
        together: set[Tensor] = set()
        for tensor in tensors:
            together |= group_of.get(tensor, {tensor})
        for tensor in together:
            group_of[tensor] = together

    sources: dict[object, list[Tensor]] = {}
    for node in graph.walk():
        op = node.op
        tensors = activations_of(node)
        for tensor in tensors:
            unite([tensor])
        if isinstance(op, Loop):
            for state in zip(
                node.inputs, node.outputs, op.body.inputs, op.body.outputs, strict=True
            ):
                unite(t for t in state if t is not None and t.dtype == "float32")
        elif isinstance(op, (*_KEEPING_THE_SCALE, LeakyReLU)) or (
            isinstance(op, ReLU) and scheme.relu == "leaky"
        ):
            unite(tensors)
        if is_layer(node):
            sources.setdefault(node.layer, []).append(node.source)
    for tensor in (*graph.inputs, *graph.outputs):  # which may be of no node
        if tensor.dtype == "float32":
            unite([tensor])
    if scheme.activations == "shared":
        for inputs in sources.values():
            unite(inputs)
    if scheme.activations == "one":
        fixed = _fixed(graph)
        unite(tensor for tensor, group in list(group_of.items()) if not group & fixed)
    return list({id(group): group for group in group_of.values()}.values())
