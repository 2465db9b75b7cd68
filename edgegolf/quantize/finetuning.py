"""Trains a network a little further with its values rounded as they will be in the file.

The rounded network learns the output of the exact one, so that no labels are needed (Hinton,
Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531). Rounding is passed through in the backward
pass, and what is clipped moves the scales (Jacob et al. 2018, https://arxiv.org/abs/1712.05877).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegolf.ir import ops
from edgegolf.ir.graph import Graph, Node, replace_constants
from edgegolf.ir.tensor import Array, Tensor
from edgegolf.progress import track
from edgegolf.quantize.quantization import Quantization, weight_limits, weight_reals
from edgegolf.quiet import import_tensorflow

TfTensor = Any
Rounding = Callable[[Tensor, TfTensor], TfTensor]
Weights = Callable[[Tensor], TfTensor]

TRAINABLE = (
    ops.Add, ops.AveragePool2D, ops.Concatenate, ops.Conv2D, ops.DepthwiseConv2D,
    ops.FullyConnected, ops.LeakyReLU, ops.Loop, ops.MaxPool2D, ops.Pad, ops.ReLU, ops.Reshape,
    ops.Slice, ops.Softmax, ops.Sub,
)  # fmt: skip
BATCH_SIZE = 64
LEARNING_RATE = 5e-4  # of Adam, falling to 0 along half a cosine


def is_trainable(graph: Graph) -> bool:
    """Whether every operator of a graph has a gradient here."""
    return all(isinstance(node.op, TRAINABLE) for node in graph.walk())


def finetune(
    graph: Graph,
    quantization: Quantization,
    inputs: Sequence[Array],
    *,
    round_activations: bool,
    steps: int,
    seed: int,
    learning_rate: float = LEARNING_RATE,
    keep_scales: bool = False,
) -> tuple[Graph, Quantization]:
    """Adapt weights and scales to each other.

    Args:
        graph: In float32, its activations fused.
        quantization: Its scales so far. Tensors and weights of equal scales keep equal scales.
        inputs: For each input training samples, float32 [n, …].
        round_activations: As in int8 arithmetic; else only weights are rounded.
        steps: How many batches to train on.
        seed: What batches are drawn from.
        learning_rate: The first.
        keep_scales: Adapt weights only.

    Returns:
        The graph with other weights, and other scales for it.
    """
    tf = import_tensorflow()
    variables = {w: tf.Variable(w.values, name="weight") for w in graph.weights}
    ends = {*graph.inputs, *graph.outputs}
    # Tensors that have the scale of pixels or of probabilities keep it, as those do.
    fixed = {params for t, params in quantization.activations.items() if t in ends}
    trained_params = {*quantization.activations.values()} - fixed
    params = {p: tf.Variable(np.log(p.scale), dtype=tf.float32) for p in trained_params}
    scales = {
        p.scale: tf.Variable(np.log(p.scale), dtype=tf.float32)
        for p in quantization.weights.values()
    }

    def round_tensor(tensor: Tensor, x: TfTensor) -> TfTensor:
        if not round_activations or tensor in ends or tensor in rounded_before:
            return x
        found = quantization.activations[tensor]
        scale = tf.exp(params[found][0]) if found in params else tf.constant(found.scale[0])
        lowest, highest = -128 - found.zero_point[0], 127 - found.zero_point[0]
        return tf.quantization.fake_quant_with_min_max_vars(x, scale * lowest, scale * highest)

    def rounded_weight(weight: Tensor) -> TfTensor:
        if weight not in quantization.weights:
            return variables[weight]
        found = quantization.weights[weight]
        scale = tf.exp(scales[found.scale])
        # Channels last, or all elements as one channel.
        order = [axis for axis in range(len(weight.shape)) if axis != found.axis] + [found.axis]
        moved = tf.transpose(variables[weight], order)
        units = tf.reshape(moved, [-1, scale.shape[0]]) / scale
        inside = tf.clip_by_value(units, *weight_limits(quantization.bits.get(weight, 8)))
        rounded = scale * (inside + tf.stop_gradient(tf.round(inside) - inside))
        back = [order.index(axis) for axis in range(len(order))]
        return tf.transpose(tf.reshape(rounded, moved.shape), back)

    rounded_before = _already_rounded(graph, quantization) if round_activations else set()
    student = partial(_results, tf, graph, rounded_weight, round_tensor)
    trained = [*variables.values()]
    if not keep_scales:
        trained += [*scales.values(), *(params.values() if round_activations else ())]
    _distil(graph, student, trained, inputs, steps, seed, learning_rate)
    tuned = {w: Tensor.constant(variable.numpy(), w.name) for w, variable in variables.items()}
    changed = {p: replace(p, scale=_exp(variable)) for p, variable in params.items()}
    activations = {t: changed.get(p, p) for t, p in quantization.activations.items()}
    weights = {
        tuned[w]: replace(p, scale=_exp(scales[p.scale])) for w, p in quantization.weights.items()
    }
    bits = {tuned[w]: bits for w, bits in quantization.bits.items()}
    return replace_constants(graph, tuned), Quantization(activations, weights, bits)


def tune_biases(
    graph: Graph,
    quantization: Quantization,
    inputs: Sequence[Array],
    *,
    steps: int,
    seed: int,
) -> Graph:
    """Adapt biases to weights that are rounded, which move the means of what layers compute.

    A correction of each layer's mean (Nagel et al. 2019, https://arxiv.org/abs/1906.04721) that is
    learnt for all layers at once. Weights and their scales stay as they are.

    Args:
        graph: In float32.
        quantization: With the scales of its weights.
        inputs: For each input training samples, float32 [n, …].
        steps: How many batches to train on.
        seed: What batches are drawn from.

    Returns:
        The graph with other biases.
    """
    tf = import_tensorflow()
    rounded = {
        weight: weight_reals(weight, p, quantization.bits.get(weight, 8))
        for weight, p in quantization.weights.items()
    }
    biases = {w: tf.Variable(w.values, name="bias") for w in graph.weights if w not in rounded}

    def rounded_weight(weight: Tensor) -> TfTensor:
        return rounded[weight] if weight in rounded else biases[weight]

    student = partial(_results, tf, graph, rounded_weight, _as_it_is)
    _distil(graph, student, [*biases.values()], inputs, steps, seed)
    tuned = {
        bias: Tensor.constant(variable.numpy(), bias.name) for bias, variable in biases.items()
    }
    return replace_constants(graph, tuned)


def _distil(
    graph: Graph,
    student: Callable[[tuple[TfTensor, ...]], tuple[TfTensor, ...]],
    trained: list[Any],
    inputs: Sequence[Array],
    steps: int,
    seed: int,
    learning_rate: float = LEARNING_RATE,
) -> None:
    """Train variables until a student says of samples what the graph says.

    Probabilities are learnt by cross entropy, other outputs by their error in their own variance.
    """
    tf = import_tensorflow()
    teacher = partial(_results, tf, graph, _values_of, _as_it_is)
    optimizer = _Adam(tf, trained, steps, learning_rate)
    last = {node.output for node in graph.nodes if isinstance(node.op, ops.Softmax)}

    def loss(tensor: Tensor, right: TfTensor, found: TfTensor) -> TfTensor:
        if tensor in last:
            target = tf.nn.softmax(right)
            return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, found))
        variance = tf.math.reduce_variance(right) + np.finfo(np.float32).tiny
        return tf.reduce_mean(tf.square(found - right)) / variance

    @tf.function  # type: ignore[untyped-decorator]
    def step(batch: tuple[TfTensor, ...]) -> None:
        right = teacher(batch)
        with tf.GradientTape() as tape:
            found = student(batch)
            total = tf.add_n(list(map(loss, graph.outputs, right, found)))
        optimizer.apply(tape.gradient(total, trained))

    order = _batches(len(inputs[0]), steps, seed)
    for chosen in track(order, "fine-tuning the rounded network", total=steps):
        step(tuple(tf.constant(array[chosen]) for array in inputs))


def _values_of(weight: Tensor) -> Array:
    return weight.values


def _as_it_is(tensor: Tensor, x: TfTensor) -> TfTensor:
    return x


def _already_rounded(graph: Graph, quantization: Quantization) -> set[Tensor]:
    """Tensors that only choose between those that they are computed from, at the same scale."""
    choosing = (ops.MaxPool2D, ops.Slice, ops.Pad, ops.Reshape, ops.Concatenate, ops.ReLU)
    params = quantization.activations
    return {
        node.output
        for node in graph.walk()
        if isinstance(node.op, choosing)
        and all(params[tensor] == params[node.output] for tensor in node.computed)
    }


class _Adam:
    """Adam (Kingma and Ba 2015) with a cosine schedule."""

    def __init__(self, tf: Any, variables: list[Any], steps: int, rate: float) -> None:
        self.tf, self.variables, self.steps, self.rate = tf, variables, steps, rate
        self.count = tf.Variable(0.0)
        self.means = [tf.Variable(tf.zeros_like(v)) for v in variables]
        self.squares = [tf.Variable(tf.zeros_like(v)) for v in variables]

    def apply(self, gradients: list[Any]) -> None:
        tf = self.tf
        rate = self.rate * 0.5 * (1 + tf.cos(np.pi * self.count / self.steps))
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


def _results(
    tf: Any, graph: Graph, weight: Weights, rounding: Rounding, inputs: tuple[TfTensor, ...]
) -> tuple[TfTensor, ...]:
    """The graph's outputs, each before its softmax if it ends with one."""
    found = {t: rounding(t, x) for t, x in zip(graph.inputs, inputs, strict=True)}
    for node in graph.nodes:
        arguments = tuple(found[tensor] for tensor in node.computed)
        op = node.op
        if isinstance(op, ops.Loop):
            for _ in range(op.iterations):
                arguments = _results(tf, op.body, weight, rounding, arguments)
            found.update(zip(node.outputs, arguments, strict=True))
        elif isinstance(op, ops.Softmax) and node.output in graph.outputs:
            found[node.output] = op.beta * arguments[0]
        else:
            found[node.output] = rounding(node.output, _compute(tf, node, weight, arguments))
    return tuple(found[tensor] for tensor in graph.outputs)


def _compute(tf: Any, node: Node, weight: Weights, inputs: tuple[TfTensor, ...]) -> TfTensor:
    x, op = inputs[0], node.op
    bias = 0.0 if node.bias is None else weight(node.bias)
    match op:
        case ops.Conv2D(strides, padding, dilation):
            kernel = tf.transpose(weight(node.filter), [1, 2, 3, 0])
            padded = _padded(tf, x, padding)
            result = tf.nn.conv2d(padded, kernel, strides, "VALID", dilations=dilation) + bias
        case ops.DepthwiseConv2D(strides, padding, dilation):
            _, height, width, _ = node.filter.shape
            kernel = tf.reshape(weight(node.filter), [height, width, x.shape[3], -1])
            steps = (1, *strides, 1)
            padded = _padded(tf, x, padding)
            result = tf.nn.depthwise_conv2d(padded, kernel, steps, "VALID", None, dilation) + bias
        case ops.FullyConnected(keep_dims):
            if not keep_dims:
                x = tf.reshape(x, [-1, node.filter.shape[1]])
            result = tf.linalg.matmul(x, weight(node.filter), transpose_b=True) + bias
        case ops.ReLU(low, high):
            result = tf.clip_by_value(x, low, high) if high < np.inf else tf.maximum(x, low)
        case ops.LeakyReLU(slope):
            result = tf.where(x > 0, x, slope * x)
        case ops.Softmax(beta):
            result = tf.nn.softmax(beta * x)
        case ops.Add():
            result = x + inputs[1]
        case ops.Sub():
            result = x - inputs[1]
        case ops.MaxPool2D(strides, padding, size):
            padded = _padded(tf, x, padding, x.dtype.min)
            result = tf.nn.max_pool2d(padded, size, strides, "VALID")
        case ops.AveragePool2D(strides, padding, size):
            sums = tf.nn.avg_pool2d(_padded(tf, x, padding), size, strides, "VALID")
            ones = _padded(tf, tf.ones_like(x[:1, :, :, :1]), padding)
            result = sums / tf.nn.avg_pool2d(ones, size, strides, "VALID")
        case ops.Slice(starts, _, sizes):
            result = tf.slice(x, starts, [-1, *sizes[1:]])
        case ops.Pad(margins):
            result = tf.pad(x, margins)
        case ops.Reshape():
            result = tf.reshape(x, [-1, *node.output.shape[1:]])
        case ops.Concatenate(axis):
            result = tf.concat(inputs, axis)
        case _:
            raise TypeError(f"{type(op).__name__} is not trainable")
    activation = getattr(op, "activation", None)
    if activation is None:
        return result
    return tf.minimum(tf.maximum(result, activation.low), activation.high)


def _padded(tf: Any, x: TfTensor, padding: ops.Padding, value: float = 0.0) -> TfTensor:
    return tf.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)
