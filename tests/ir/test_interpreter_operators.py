"""Each operator against LiteRT's reference kernels: 20 files of 32 images, 640 inputs and more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from one_operator import (
    Tensor,
    assert_equal,
    check_operator,
    constant,
    images_for,
    one_operator,
)

from edgegolf.formats.tflite.flatbuffer import table
from edgegolf.formats.tflite.schema import number

pytest.importorskip("ai_edge_litert")

checked = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
KINDS = st.sampled_from(["INT8", "INT8", "INT8", "UINT8", "FLOAT32"])
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 6)
# Powers of two, too: they make ties, where the ways of rounding differ.
SCALES = st.one_of(
    st.floats(2**-8, 2**-2, width=32), st.integers(-8, -2).map(lambda exponent: 2.0**exponent)
)
ZERO_POINTS = st.integers(-128, 127)
ACTIVATIONS = st.sampled_from(
    [number("ActivationFunctionType", name) for name in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")]
)


@st.composite
def quantized(draw, kind, shape):
    """An input or output of a type, with random quantization if it is an integer."""
    if kind == "FLOAT32":
        return Tensor(shape, kind)
    return Tensor(shape, kind, (draw(SCALES),), (draw(zero_points(kind)),))


def zero_points(kind):
    return st.integers(0, 255) if kind == "UINT8" else ZERO_POINTS


@st.composite
def weights(draw, kind, shape, axis, zero_point=False):
    generator = np.random.default_rng(draw(SEEDS))
    if kind == "FLOAT32":
        return constant(generator.normal(size=shape).astype(np.float32))
    if kind == "UINT8":
        data = generator.integers(0, 256, shape).astype(np.uint8)
        return constant(data, scale=(draw(SCALES) / 16,), zero_point=(draw(st.integers(0, 255)),))
    data = generator.integers(-127, 128, shape).astype(np.int8)
    if shape[axis] > 1 and draw(st.booleans()):
        scales = tuple(draw(SCALES) / 16 for _ in range(shape[axis]))
        return constant(data, scale=scales, zero_point=(0,) * len(scales), axis=axis)
    offset = draw(ZERO_POINTS) if zero_point else 0
    return constant(data, scale=(draw(SCALES) / 16,), zero_point=(offset,))


@st.composite
def biases(draw, kind, units, images, filters):
    """Biases at the scale that runtimes insist on: the input's times the weights'."""
    generator = np.random.default_rng(draw(SEEDS))
    if kind == "FLOAT32":
        return constant(generator.normal(size=units).astype(np.float32))
    data = generator.integers(-3000, 3000, units).astype(np.int32)
    scale = tuple(images.scale[0] * factor for factor in filters.scale)
    return constant(data, scale=scale, zero_point=(0,) * len(scale))


def output_length(length, size, stride, dilation, same):
    extent = (size - 1) * dilation + 1
    return -(-length // stride) if same else (length - extent) // stride + 1


@st.composite
def windows(draw, dilates):
    """An image's and a window's sizes, steps, padding and the output's sizes."""
    image = draw(st.tuples(SIZES, SIZES))
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if dilates else (1, 1)
    same = draw(st.booleans())
    output = tuple(
        output_length(*numbers, same) for numbers in zip(image, size, stride, dilation, strict=True)
    )
    assume(min(output) > 0)
    return image, size, stride, dilation, same, output


def convolution_options(stride, dilation, same, activation, name="Conv2DOptions", **others):
    return table(
        name,
        padding=number("Padding", "SAME" if same else "VALID"),
        stride_h=stride[0],
        stride_w=stride[1],
        dilation_h_factor=dilation[0],
        dilation_w_factor=dilation[1],
        fused_activation_function=activation,
        **others,
    )


@checked
@given(st.data())
def test_conv_2d(tmp_path, data):
    kind = data.draw(KINDS)
    image, size, stride, dilation, same, output = data.draw(windows(dilates=True))
    groups = data.draw(st.sampled_from([1, 1, 2]) if kind != "UINT8" else st.just(1))
    depth, units = data.draw(st.integers(1, 4)), groups * data.draw(st.integers(1, 3))
    filters = data.draw(weights(kind, (units, *size, depth), 0))
    images = data.draw(quantized(kind, (1, *image, groups * depth)))
    inputs = [images, filters, data.draw(biases(kind, units, images, filters))]
    options = convolution_options(stride, dilation, same, data.draw(ACTIVATIONS))
    results = [data.draw(quantized(kind, (1, *output, units)))]
    check_operator(tmp_path, "CONV_2D", inputs, results, options, data.draw(SEEDS))


@checked
@given(st.data())
def test_depthwise_conv_2d(tmp_path, data):
    kind = data.draw(KINDS)
    image, size, stride, dilation, same, output = data.draw(windows(dilates=True))
    depth, multiplier = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
    units = depth * multiplier
    filters = data.draw(weights(kind, (1, *size, units), 3))
    images = data.draw(quantized(kind, (1, *image, depth)))
    inputs = [images, filters, data.draw(biases(kind, units, images, filters))]
    activation = data.draw(ACTIVATIONS)
    options = convolution_options(
        stride, dilation, same, activation, "DepthwiseConv2DOptions", depth_multiplier=multiplier
    )
    results = [data.draw(quantized(kind, (1, *output, units)))]
    check_operator(tmp_path, "DEPTHWISE_CONV_2D", inputs, results, options, data.draw(SEEDS))


@checked
@given(st.data())
def test_fully_connected(tmp_path, data):
    kind, keep = data.draw(KINDS), data.draw(st.booleans())
    rows, depth, units = data.draw(SIZES), data.draw(SIZES), data.draw(SIZES)
    matrix = data.draw(weights(kind, (units, depth), 0, zero_point=True))
    vectors = data.draw(quantized(kind, (1, rows, depth)))
    inputs = [vectors, matrix]
    if data.draw(st.booleans()):
        inputs.append(data.draw(biases(kind, units, vectors, matrix)))
    shape = (1, rows, units) if keep else (rows, units)
    options = table(
        "FullyConnectedOptions",
        keep_num_dims=keep,
        fused_activation_function=data.draw(ACTIVATIONS),
    )
    results = [data.draw(quantized(kind, shape))]
    check_operator(tmp_path, "FULLY_CONNECTED", inputs, results, options, data.draw(SEEDS))


@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL"])
@checked
@given(st.data())
def test_arithmetic(tmp_path, name, data):
    kind = data.draw(KINDS)
    shape = (1, data.draw(SIZES), data.draw(SIZES))
    other = data.draw(st.sampled_from([shape, (1, shape[1], 1), (1, 1, 1)]))
    inputs = [data.draw(quantized(kind, shape)), data.draw(quantized(kind, other))]
    options = table(f"{name.capitalize()}Options", fused_activation_function=data.draw(ACTIVATIONS))
    results = [data.draw(quantized(kind, shape))]
    check_operator(tmp_path, name, inputs, results, options, data.draw(SEEDS))


@pytest.mark.parametrize("name", ["ADD", "MUL"])
@checked
@given(st.data())
def test_arithmetic_with_constant_of_lower_rank(tmp_path, name, data):
    kind = data.draw(KINDS)
    shape = (1, data.draw(SIZES), data.draw(st.integers(2, 6)))
    generator = np.random.default_rng(data.draw(SEEDS))
    if kind != "FLOAT32":
        limits = np.iinfo(kind.lower())
        numbers = generator.integers(limits.min, limits.max + 1, shape[-1]).astype(kind.lower())
        offset = data.draw(zero_points(kind))
        other = constant(numbers, scale=(data.draw(SCALES),), zero_point=(offset,))
    else:
        other = constant(generator.normal(size=shape[-1]).astype(np.float32))
    inputs = [data.draw(quantized(kind, shape)), other]
    results = [data.draw(quantized(kind, shape))]
    options = table(f"{name.capitalize()}Options")
    check_operator(tmp_path, name, inputs, results, options, data.draw(SEEDS))


@pytest.mark.parametrize("name", ["RELU", "RELU6", "LEAKY_RELU"])
@checked
@given(st.data())
def test_activations(tmp_path, name, data):
    kind, shape = data.draw(KINDS), (1, data.draw(SIZES), 4)
    slopes = st.one_of(st.sampled_from([1 / 256, 0.0, -0.5]), st.floats(-2, 2, width=32))
    alpha = data.draw(slopes)
    options = table("LeakyReluOptions", alpha=alpha) if name == "LEAKY_RELU" else None
    inputs, results = [data.draw(quantized(kind, shape))], [data.draw(quantized(kind, shape))]
    check_operator(tmp_path, name, inputs, results, options, data.draw(SEEDS))


@pytest.mark.parametrize("name", ["LOGISTIC", "TANH", "HARD_SWISH"])
@checked
@given(st.data())
def test_tables(tmp_path, name, data):
    """All 256 inputs of an integer type."""
    kind = data.draw(KINDS)
    shape = (1, 256)
    source = data.draw(quantized(kind, shape))
    result = data.draw(quantized(kind, shape))
    if kind != "FLOAT32":
        if name == "LOGISTIC":  # the one quantization that its kernel takes
            result = Tensor(shape, kind, (1 / 256,), (-128 if kind == "INT8" else 0,))
        if name == "TANH":
            result = Tensor(shape, kind, (1 / 128,), (0 if kind == "INT8" else 128,))
        if name == "HARD_SWISH":  # no finer than an input's 128th part
            assume(result.scale[0] > source.scale[0] / 128)
    options = table("HardSwishOptions") if name == "HARD_SWISH" else None
    path = tmp_path / "one.tflite"
    path.write_bytes(one_operator(name, [source], [result], options))
    images = images_for([source], 4, data.draw(SEEDS))
    if kind != "FLOAT32":
        limits = np.iinfo(kind.lower())
        images[0][0] = np.arange(limits.min, limits.max + 1)
    assert_equal(path, images)


@pytest.mark.parametrize("name", ["MAXIMUM", "MINIMUM"])
@checked
@given(st.data())
def test_choice_of_extremes(tmp_path, name, data):
    tensor = data.draw(quantized(data.draw(KINDS), (1, data.draw(SIZES), 3)))
    options = table("MaximumMinimumOptions")
    check_operator(tmp_path, name, [tensor, tensor], [tensor], options, data.draw(SEEDS))


@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@checked
@given(st.data())
def test_pooling(tmp_path, name, data):
    image, size, stride, _, same, output = data.draw(windows(dilates=False))
    depth = data.draw(st.integers(1, 3))
    tensor = data.draw(quantized(data.draw(KINDS), (1, *image, depth)))
    options = table(
        "Pool2DOptions",
        padding=number("Padding", "SAME" if same else "VALID"),
        stride_h=stride[0],
        stride_w=stride[1],
        filter_height=size[0],
        filter_width=size[1],
        fused_activation_function=data.draw(ACTIVATIONS),
    )
    result = Tensor((1, *output, depth), tensor.type, tensor.scale, tensor.zero_point)
    check_operator(tmp_path, name, [tensor], [result], options, data.draw(SEEDS))


@checked
@given(st.data())
def test_mean(tmp_path, data):
    kind = data.draw(KINDS)
    shape = (1, data.draw(SIZES), data.draw(SIZES), data.draw(SIZES))
    axes = data.draw(st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=3))
    keep = data.draw(st.booleans())
    gone = {axis % 4 for axis in axes}
    output = tuple(
        1 if axis in gone else size for axis, size in enumerate(shape) if keep or axis not in gone
    )
    inputs = [data.draw(quantized(kind, shape)), constant(np.array(axes, np.int32))]
    results = [data.draw(quantized(kind, output))]
    options = table("ReducerOptions", keep_dims=keep)
    check_operator(tmp_path, "MEAN", inputs, results, options, data.draw(SEEDS))


@checked
@given(st.data())
def test_softmax(tmp_path, data):
    kind, shape = data.draw(KINDS), (1, data.draw(SIZES), data.draw(st.integers(1, 12)))
    inputs = [data.draw(quantized(kind, shape))]
    result = Tensor(shape, kind)
    if kind != "FLOAT32":
        result = Tensor(shape, kind, (1 / 256,), (-128 if kind == "INT8" else 0,))
    options = table("SoftmaxOptions", beta=data.draw(st.sampled_from([1.0, 0.5, 3.0])))
    check_operator(tmp_path, "SOFTMAX", inputs, [result], options, data.draw(SEEDS))


@checked
@given(st.data())
def test_quantize(tmp_path, data):
    kind = data.draw(st.sampled_from(["FLOAT32", "INT8", "UINT8"]))
    source = Tensor((1, 8), kind)
    if kind != "FLOAT32":
        offset = data.draw(ZERO_POINTS) + (128 if kind == "UINT8" else 0)
        source = Tensor((1, 8), kind, (data.draw(SCALES),), (offset,))
    result = data.draw(quantized(data.draw(st.sampled_from(["INT8", "UINT8"])), (1, 8)))
    options = table("QuantizeOptions")
    check_operator(tmp_path, "QUANTIZE", [source], [result], options, data.draw(SEEDS))


@checked
@given(st.data())
def test_dequantize(tmp_path, data):
    source = data.draw(quantized(data.draw(st.sampled_from(["INT8", "UINT8"])), (1, 8)))
    options = table("DequantizeOptions")
    results = [Tensor((1, 8), "FLOAT32")]
    check_operator(tmp_path, "DEQUANTIZE", [source], results, options, data.draw(SEEDS))


@checked
@given(st.data())
def test_pad(tmp_path, data):
    tensor = data.draw(quantized(data.draw(KINDS), (1, data.draw(SIZES), data.draw(SIZES))))
    margins = data.draw(st.lists(st.integers(0, 3), min_size=4, max_size=4))
    pairs = np.array([0, 0, *margins], np.int32).reshape(3, 2)
    shape = tuple(int(size + sum(pair)) for size, pair in zip(tensor.shape, pairs, strict=True))
    result = Tensor(shape, tensor.type, tensor.scale, tensor.zero_point)
    inputs = [tensor, constant(pairs)]
    check_operator(tmp_path, "PAD", inputs, [result], table("PadOptions"), data.draw(SEEDS))


@checked
@given(st.data())
def test_slices(tmp_path, data):
    tensor = data.draw(quantized(data.draw(KINDS), (1, data.draw(SIZES), data.draw(SIZES))))
    begins = [0, *(data.draw(st.integers(0, size - 1)) for size in tensor.shape[1:])]
    sizes = [
        data.draw(st.sampled_from([-1, *range(1, size - begin + 1)]))
        for begin, size in zip(begins, tensor.shape, strict=True)
    ]
    shape = tuple(
        length - begin if size == -1 else size
        for begin, size, length in zip(begins, sizes, tensor.shape, strict=True)
    )
    result = Tensor(shape, tensor.type, tensor.scale, tensor.zero_point)
    inputs = [tensor, constant(np.array(begins, np.int32)), constant(np.array(sizes, np.int32))]
    check_operator(tmp_path, "SLICE", inputs, [result], table("SliceOptions"), data.draw(SEEDS))


@checked
@given(st.data())
def test_strided_slice(tmp_path, data):
    tensor = data.draw(quantized(data.draw(KINDS), (1, data.draw(SIZES), data.draw(SIZES))))
    begins, ends, strides, masks = [0], [1], [1], [0, 0, 0]
    for axis, size in enumerate(tensor.shape[1:], 1):
        if data.draw(st.booleans()):  # one element, whose axis goes
            begin = data.draw(st.integers(-size, size - 1))
            begins, ends, strides = [*begins, begin], [*ends, begin + 1], [*strides, 1]
            masks[2] |= 1 << axis
            continue
        begins.append(data.draw(st.integers(-size - 2, size + 2)))
        ends.append(data.draw(st.integers(-size - 2, size + 2)))
        strides.append(data.draw(st.sampled_from([1, 2, -1, -2])))
        for mask in (0, 1):
            masks[mask] |= data.draw(st.integers(0, 1)) << axis
    chosen = []
    for axis, size in enumerate(tensor.shape):
        if masks[2] >> axis & 1:
            continue
        begin = None if masks[0] >> axis & 1 else begins[axis]
        end = None if masks[1] >> axis & 1 else ends[axis]
        chosen.append(len(range(size)[begin : end : strides[axis]]))
    assume(all(chosen))
    inputs = [
        tensor,
        *(constant(np.array(numbers, np.int32)) for numbers in (begins, ends, strides)),
    ]
    options = table(
        "StridedSliceOptions", begin_mask=masks[0], end_mask=masks[1], shrink_axis_mask=masks[2]
    )
    result = Tensor(tuple(chosen), tensor.type, tensor.scale, tensor.zero_point)
    check_operator(tmp_path, "STRIDED_SLICE", inputs, [result], options, data.draw(SEEDS))


@checked
@given(st.data())
def test_concatenation(tmp_path, data):
    first = data.draw(quantized(data.draw(KINDS), (1, data.draw(SIZES), 2)))
    length = data.draw(SIZES)
    second = Tensor((1, length, 2), first.type, first.scale, first.zero_point)
    result = Tensor((1, first.shape[1] + length, 2), first.type, first.scale, first.zero_point)
    options = table("ConcatenationOptions", axis=data.draw(st.sampled_from([1, -2])))
    check_operator(tmp_path, "CONCATENATION", [first, second], [result], options, data.draw(SEEDS))


@checked
@given(st.data())
def test_reshape(tmp_path, data):
    rows, columns = data.draw(SIZES), data.draw(SIZES)
    tensor = data.draw(quantized(data.draw(KINDS), (1, rows, columns)))
    shape = data.draw(st.sampled_from([[1, -1], [1, columns, rows], [1, rows * columns]]))
    given = tuple(rows * columns if size == -1 else size for size in shape)
    result = Tensor(given, tensor.type, tensor.scale, tensor.zero_point)
    inputs = [tensor, constant(np.array(shape, np.int32))]
    options = table("ReshapeOptions", new_shape=shape)
    check_operator(tmp_path, "RESHAPE", inputs, [result], options, data.draw(SEEDS))


@checked
@given(st.data())
def test_transpose(tmp_path, data):
    tensor = data.draw(quantized(data.draw(KINDS), (1, data.draw(SIZES), data.draw(SIZES), 3)))
    axes = [0, *data.draw(st.permutations([1, 2, 3]))]
    shape = tuple(tensor.shape[axis] for axis in axes)
    result = Tensor(shape, tensor.type, tensor.scale, tensor.zero_point)
    inputs = [tensor, constant(np.array(axes, np.int32))]
    check_operator(
        tmp_path, "TRANSPOSE", inputs, [result], table("TransposeOptions"), data.draw(SEEDS)
    )
