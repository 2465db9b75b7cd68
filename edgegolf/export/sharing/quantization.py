"""Which integers stand for which real numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegolf.export.sharing.network import Node, Value, Weight


@dataclass(frozen=True)
class Grid:
    """real = scale · (integer − zero point).

    Attributes:
        scales: One for the tensor, or one for each channel.
        zero_point: The integer that stands for 0.
        axis: Of the channels, where there are several scales.
    """

    scales: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0

    @property
    def scale(self) -> float:
        """The only scale."""
        (scale,) = self.scales
        return scale


@dataclass(frozen=True)
class Quantization:
    """The grids of a network's tensors.

    Attributes:
        activations: The grid of each value.
        weights: The scales of filters and matrices: one, or one for each output channel. Their
            integers are −127…127.
    """

    activations: Mapping[Value, Grid]
    weights: Mapping[Weight, tuple[float, ...]]

    def with_copies(
        self,
        values: Mapping[Value, Value],
        weights: Mapping[Weight, tuple[float, ...]] = MappingProxyType({}),
    ) -> Quantization:
        """With the same grids for copies of values, given as `{copy: original}`, and more scales.

        Originals that have no grid, because a ReLU is fused to what computes them, are left out.
        """
        copied = {c: self.activations[v] for c, v in values.items() if v in self.activations}
        return Quantization({**self.activations, **copied}, {**self.weights, **weights})


def weight_scales_of(weight: Weight, quantization: Quantization) -> NDArray[np.float32]:
    """One scale, or one for each output channel."""
    return np.array(quantization.weights[weight], np.float32)


def quantized_weight(weight: Weight, quantization: Quantization) -> NDArray[np.int8]:
    """The integers of a weight, in its shape."""
    scales = weight_scales_of(weight, quantization)
    # Output channels are last in Keras's layouts of all filters.
    reals = weight.values.reshape(-1, len(scales)) if len(scales) > 1 else weight.values
    if weight.base is not None and np.allclose(scales, channel_scales(reals), rtol=1e-5, atol=0):
        # The integers of the base: computed from the multiple, rounding may turn a tie.
        reals = weight.base.values.reshape(-1, len(scales))
        scales = channel_scales(reals)
    integers = np.clip(np.rint(reals / scales), -127, 127).astype(np.int8)
    return integers.reshape(weight.values.shape)


def channel_scales(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scales that just hold the output channels, which are along the last axis."""
    largest = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
    return np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(127)


def dequantized_weight(weight: Weight, quantization: Quantization) -> NDArray[np.float32]:
    """The real numbers that a quantized weight stands for, in its shape."""
    scales = weight_scales_of(weight, quantization)
    integers = quantized_weight(weight, quantization).astype(np.float32)
    reals = integers.reshape(-1, len(scales)) * scales
    return reals.reshape(weight.values.shape)


def quantized_bias(node: Node, quantization: Quantization) -> NDArray[np.int32]:
    """The integers of a layer's bias, zeros where it has none.

    Their scale is that of the layer's input times that of its weight.
    """
    operation: Any = node.operation
    scales = bias_scales(node, quantization)
    if operation.bias is None:
        return np.zeros(node.output.shape[-1], "<i4")
    return np.rint(operation.bias.values / np.array(scales, np.float32)).astype("<i4")


def bias_scales(node: Node, quantization: Quantization) -> tuple[float, ...]:
    """The scale of a layer's bias, or one for each output channel."""
    weight_scales = weight_scales_of(node.operation.weights[0], quantization)
    scales = np.float32(quantization.activations[node.inputs[0]].scale) * weight_scales
    return tuple(map(float, scales))
