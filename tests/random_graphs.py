"""Small random graphs in float32, drawn by Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from ir_nets import Builder, apply_block, residual_block

from edgegolf.ir import Graph, Tensor, ops
from edgegolf.passes.rerolling import reroll

STEPS = (
    "conv", "depthwise", "residual", "add", "sub", "relu", "relu6", "leaky", "max", "average",
    "pad", "crop", "concatenate",
)  # fmt: skip


@st.composite
def float_graphs(
    draw: Any, steps: tuple[str, ...] = STEPS, most: int = 4, classify: bool | None = None
) -> Graph:
    """An image through some layers, as a rule to a dense layer and a softmax.

    Blocks with the same weights are loops in some graphs, and unrolled in others.
    """
    size, channels = (draw(st.integers(5, 9)), draw(st.integers(5, 9))), draw(st.integers(1, 3))
    build = Builder(*size, channels, seed=draw(st.integers(0, 999)))
    hidden = build.source
    for _ in range(draw(st.integers(1, most))):
        hidden = _step(draw, build, hidden, draw(st.sampled_from(steps)))
    ends = draw(st.booleans()) if classify is None else classify
    if ends:
        graph = build.classify(hidden)
    else:
        matrix = build.weight(4, hidden.elements, size=0.2)
        graph = build.graph(build.dense(build.flatten(hidden), matrix, build.weight(4)))
    return reroll(graph) if draw(st.booleans()) else graph


def _step(draw: Any, build: Builder, hidden: Tensor, kind: str) -> Tensor:
    number = lambda low, high: draw(st.integers(low, high))  # noqa: E731
    _, height, width, channels = hidden.shape
    is_large = min(height, width) > 3
    window = (number(1, 3), number(1, 3)) if is_large else (1, 1)
    strides = (number(1, 2), number(1, 2))
    padding = ops.NO_PADDING
    if draw(st.booleans()):
        padding = ops.same_padding((height, width), window, strides)
    match kind:
        case "conv":
            outputs = number(1, 4)
            bias = build.weight(outputs) if draw(st.booleans()) else None
            filters = build.weight(outputs, *window, channels)
            return build.convolve(hidden, filters, bias, strides, padding)
        case "depthwise":
            outputs = channels * number(1, 2)
            bias = build.weight(outputs) if draw(st.booleans()) else None
            filters = build.weight(1, *window, outputs)
            if strides[0] != strides[1]:  # depthwise kernels have one stride
                strides, padding = (1, 1), ops.NO_PADDING
            return build.depthwise(hidden, filters, bias, strides, padding)
        case "residual":
            block = residual_block(build, channels)
            for _ in range(number(1, 3)):
                hidden = apply_block(build, block, hidden)
            return hidden
        case "add" | "sub":
            other = build.convolve(hidden, build.weight(channels, 1, 1, channels))
            op = ops.Add() if kind == "add" else ops.Sub()
            return build.apply(op, *draw(st.permutations([hidden, other])))
        case "relu" | "relu6":
            high = 6.0 if kind == "relu6" else float("inf")
            return build.apply(ops.ReLU(0.0, high), hidden)
        case "leaky":
            return build.apply(ops.LeakyReLU(0.25), hidden)
        case "max" | "average":
            pool = ops.MaxPool2D if kind == "max" else ops.AveragePool2D
            if kind == "max" and draw(st.booleans()):
                padding = ((number(0, window[0] - 1), 0), (0, number(0, window[1] - 1)))
            return build.pool(pool, hidden, window, strides, padding)
        case "pad":
            margins = ((0, 0), (number(0, 1), 1), (0, number(0, 2)), (0, 0))
            return build.apply(ops.Pad(margins), hidden)
        case "crop" if is_large:
            return build.crop(hidden, ((number(0, 1), 1), (0, number(0, 1))))
        case "concatenate":
            axis = number(1, 3)
            return build.apply(ops.Concatenate(axis), hidden, hidden)
    return hidden
