"""Trains a network a little further with its values rounded as they will be in the file.

The rounded network learns the output of the exact one, so that no labels are needed (Hinton,
Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531). Rounding is passed through in the backward
pass, and what is clipped moves the scales (Jacob et al. 2018, https://arxiv.org/abs/1712.05877).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegolf.export.sharing.network import (
    Add,
    AveragePooling,
    Concatenate,
    Convolution,
    Crop,
    Dense,
    DepthwiseConvolution,
    Loop,
    MaxPooling,
    Network,
    Operation,
    Pad,
    Padding,
    Rectifier,
    Reshape,
    Softmax,
    Subtract,
    Value,
    Weight,
    fused_rectifiers,
    replace_operations,
)
from edgegolf.export.sharing.quantization import Grid, Quantization, dequantized_weight
from edgegolf.progress import track
from edgegolf.quiet import import_tensorflow

Tensor = Any
Rounding = Callable[[Value, Tensor], Tensor]

BATCH_SIZE = 64
LEARNING_RATE = 5e-4  # of Adam, falling to 0 along half a cosine


def finetune(
    network: Network,
    quantization: Quantization,
    images: NDArray[np.uint8],
    *,
    round_activations: bool,
    steps: int,
    seed: int,
) -> tuple[Network, Quantization]:
    """Adapt weights and scales to each other.

    Args:
        network: What will be written.
        quantization: Its grids so far. Values and weights of equal scales keep equal scales.
        images: uint8 training images.
        round_activations: As in int8 arithmetic; else only weights are rounded.
        steps: How many batches to train on.
        seed: What batches are drawn from.

    Returns:
        The network with other weights, and other scales for it.
    """
    tf = import_tensorflow()
    variables = {w: tf.Variable(w.values, name="weight") for w in network.weights}
    ends = {network.inputs[0], network.outputs[0]}
    # Values that have the grid of pixels or of probabilities keep it, as those do.
    fixed_grids = {g for v, g in quantization.activations.items() if v in ends}
    trained_grids = {*quantization.activations.values()} - fixed_grids
    grids = {g: tf.Variable(np.log(g.scales), dtype=tf.float32) for g in trained_grids}
    scales = {s: tf.Variable(np.log(s), dtype=tf.float32) for s in quantization.weights.values()}

    def round_value(value: Value, x: Tensor) -> Tensor:
        if not round_activations or value in ends or value in on_grid:
            return x
        grid = quantization.activations[value]
        scale = tf.exp(grids[grid][0]) if grid in grids else tf.constant(grid.scale)
        lowest, highest = -128 - grid.zero_point, 127 - grid.zero_point
        return tf.quantization.fake_quant_with_min_max_vars(x, scale * lowest, scale * highest)

    def rounded_weight(weight: Weight) -> Tensor:
        if weight not in quantization.weights:
            return variables[weight]
        scale = tf.exp(scales[quantization.weights[weight]])
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            tf.reshape(variables[weight], [-1, scale.shape[0]]),
            -127 * scale,
            127 * scale,
            narrow_range=True,
        )
        return tf.reshape(rounded, weight.values.shape)

    on_grid = _already_rounded(network, quantization) if round_activations else set()
    student = partial(_logits, tf, network, rounded_weight, round_value)
    trained = [
        *variables.values(),
        *scales.values(),
        *(grids.values() if round_activations else ()),
    ]
    _distil(network, student, trained, images, steps, seed)
    tuned = {w: Weight(w.name, variable.numpy()) for w, variable in variables.items()}
    changed = {g: Grid(_exp(v), g.zero_point, g.axis) for g, v in grids.items()}
    activations = {v: changed.get(g, g) for v, g in quantization.activations.items()}
    weights = {tuned[w]: _exp(scales[s]) for w, s in quantization.weights.items()}
    return _with_weights(network, tuned), Quantization(activations, weights)


def tune_biases(
    network: Network,
    quantization: Quantization,
    images: NDArray[np.uint8],
    *,
    steps: int,
    seed: int,
) -> Network:
    """Adapt biases to weights that are rounded, which move the means of what layers compute.

    A correction of each layer's mean (Nagel et al. 2019, https://arxiv.org/abs/1906.04721) that is
    learnt for all layers at once. Weights and their scales stay as they are.

    Args:
        network: What will be written.
        quantization: With the scales of its weights.
        images: uint8 training images.
        steps: How many batches to train on.
        seed: What batches are drawn from.

    Returns:
        The network with other biases.
    """
    tf = import_tensorflow()
    rounded = {weight: dequantized_weight(weight, quantization) for weight in quantization.weights}
    biases = {w: tf.Variable(w.values, name="bias") for w in network.weights if w not in rounded}

    def rounded_weight(weight: Weight) -> Tensor:
        return rounded[weight] if weight in rounded else biases[weight]

    student = partial(_logits, tf, network, rounded_weight, _as_it_is)
    _distil(network, student, [*biases.values()], images, steps, seed)
    tuned = {bias: Weight(bias.name, variable.numpy()) for bias, variable in biases.items()}
    return _with_weights(network, {weight: weight for weight in rounded} | tuned)


def _distil(
    network: Network,
    student: Callable[[Tensor], Tensor],
    trained: list[Any],
    images: NDArray[np.uint8],
    steps: int,
    seed: int,
) -> None:
    """Train variables until a student says of images what the network says."""
    tf = import_tensorflow()
    teacher = partial(_logits, tf, network, _values_of, _as_it_is)
    optimizer = _Adam(tf, trained, steps)

    @tf.function  # type: ignore[untyped-decorator]
    def step(batch: Tensor) -> None:
        x = tf.cast(batch, tf.float32) / 255
        target = tf.nn.softmax(teacher(x))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, student(x)))
        optimizer.apply(tape.gradient(loss, trained))

    order = _batches(len(images), steps, seed)
    for chosen in track(order, "fine-tuning the rounded network", total=steps):
        step(tf.constant(images[chosen]))


def _values_of(weight: Weight) -> Tensor:
    return weight.values


def _as_it_is(value: Value, x: Tensor) -> Tensor:
    return x


def _already_rounded(network: Network, quantization: Quantization) -> set[Value]:
    """Values that only choose between those that they are computed from, on the same grid."""
    choosing = (MaxPooling, Crop, Pad, Reshape, Concatenate)
    grids = quantization.activations
    graphs = (network, *(loop.body for loop in network.loops))
    fused = {node for graph in graphs for node in fused_rectifiers(graph).values()}
    return {
        node.output
        for node in network.walk()
        if isinstance(node.operation, choosing)
        or (node.operation == Rectifier(0.0) and node not in fused)
        if all(grids[value] == grids[node.output] for value in node.inputs)
    }


class _Adam:
    """Adam (Kingma and Ba 2015) with a cosine schedule."""

    def __init__(self, tf: Any, variables: list[Any], steps: int) -> None:
        self.tf, self.variables, self.steps = tf, variables, steps
        self.count = tf.Variable(0.0)
        self.means = [tf.Variable(tf.zeros_like(v)) for v in variables]
        self.squares = [tf.Variable(tf.zeros_like(v)) for v in variables]

    def apply(self, gradients: list[Any]) -> None:
        tf = self.tf
        rate = LEARNING_RATE * 0.5 * (1 + tf.cos(np.pi * self.count / self.steps))
        self.count.assign_add(1)
        rate *= tf.sqrt(1 - 0.999**self.count) / (1 - 0.9**self.count)
        for variable, mean, square, gradient in zip(
            self.variables, self.means, self.squares, gradients, strict=True
        ):
            if gradient is None:
                continue
            mean.assign(0.9 * mean + 0.1 * gradient)
            square.assign(0.999 * square + 0.001 * gradient**2)
            variable.assign_sub(rate * mean / (tf.sqrt(square) + 1e-7))


def _batches(images: int, steps: int, seed: int) -> Iterable[NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        yield generator.integers(images, size=BATCH_SIZE)


def _exp(variable: Any) -> tuple[float, ...]:
    return tuple(map(float, np.exp(variable.numpy(), dtype=np.float32)))


def _with_weights(network: Network, tuned: dict[Weight, Weight]) -> Network:
    changed: dict[Operation, Operation] = {}
    for node in network.walk():
        operation = node.operation
        if operation.weights:
            arguments = (getattr(operation, field.name) for field in fields(operation))
            changed[operation] = type(operation)(
                *(tuned[a] if isinstance(a, Weight) else a for a in arguments)
            )
    return replace_operations(network, changed)


def _logits(
    tf: Any, network: Network, weight: Callable[[Weight], Tensor], rounding: Rounding, x: Tensor
) -> Tensor:
    """The network's output before a last softmax."""
    (output,) = _run(tf, network, weight, rounding, (x,))
    return output


def _run(
    tf: Any,
    network: Network,
    weight: Callable[[Weight], Tensor],
    rounding: Rounding,
    inputs: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    found = dict(zip(network.inputs, inputs, strict=True))
    fused = fused_rectifiers(network)
    for node in network.nodes:
        arguments = tuple(found[value] for value in node.inputs)
        operation = node.operation
        if isinstance(operation, Loop):
            for _ in range(operation.iterations):
                arguments = _run(tf, operation.body, weight, rounding, arguments)
            found.update(zip(node.outputs, arguments, strict=True))
        elif isinstance(operation, Softmax) and node.outputs == network.outputs:
            found[node.output] = operation.beta * arguments[0]
        else:
            result = _compute(tf, operation, weight, arguments)
            found[node.output] = result if node in fused else rounding(node.output, result)
    return tuple(found[value] for value in network.outputs)


def _compute(
    tf: Any, operation: Operation, weight: Callable[[Weight], Tensor], inputs: tuple[Tensor, ...]
) -> Tensor:
    x = inputs[0]
    match operation:
        case Convolution(kernel, bias, strides, padding, dilation):
            result = tf.nn.conv2d(
                _padded(tf, x, padding), weight(kernel), strides, "VALID", dilations=dilation
            )
            return result if bias is None else result + weight(bias)
        case DepthwiseConvolution(kernel, bias, strides, padding, dilation):
            result = tf.nn.depthwise_conv2d(
                _padded(tf, x, padding), weight(kernel), (1, *strides, 1), "VALID", None, dilation
            )
            return result if bias is None else result + weight(bias)
        case Dense(matrix, bias):
            result = tf.linalg.matmul(x, weight(matrix))
            return result if bias is None else result + weight(bias)
        case Rectifier(slope):
            return tf.maximum(x, slope * x)
        case Softmax(beta):
            return tf.nn.softmax(beta * x)
        case Add():
            return x + inputs[1]
        case Subtract():
            return x - inputs[1]
        case MaxPooling(window, strides, padding):
            padded = _padded(tf, x, padding, x.dtype.min)
            return tf.nn.max_pool2d(padded, window, strides, "VALID")
        case AveragePooling(window, strides, padding):
            sums = tf.nn.avg_pool2d(_padded(tf, x, padding), window, strides, "VALID")
            ones = _padded(tf, tf.ones_like(x[:1, :, :, :1]), padding)
            return sums / tf.nn.avg_pool2d(ones, window, strides, "VALID")
        case Crop(((top, bottom), (left, right))):
            return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]
        case Pad(margins):
            return _padded(tf, x, margins)
        case Reshape(shape):
            return tf.reshape(x, [-1, *shape])
        case Concatenate(axis):
            return tf.concat(inputs, axis + 1)
    raise TypeError(f"no rule for {type(operation).__name__}")


def _padded(tf: Any, x: Tensor, padding: Padding, value: float = 0.0) -> Tensor:
    return tf.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)
