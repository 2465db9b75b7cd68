"""Operators of other people's nets against LiteRT's kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from one_operator import Tensor, assert_equal, check_operator, constant, images_for, one_operator

from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import table
from edgegolf.formats.tflite.schema import number
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir.interpreter import run

pytest.importorskip("ai_edge_litert")

checked = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
KINDS = st.sampled_from(["INT8", "INT8", "FLOAT32"])
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 5)
SCALES = st.one_of(
    st.floats(2**-8, 2**-2, width=32), st.integers(-8, -2).map(lambda exponent: 2.0**exponent)
)
ZERO_POINTS = st.integers(-128, 127)
FIXED = {"LOG_SOFTMAX": (1 / 16, 127), "L2_NORMALIZATION": (1 / 128, 0)}


@st.composite
def tensors(draw, kind, shape, scale=SCALES, zero_point=ZERO_POINTS):
    if kind == "FLOAT32":
        return Tensor(shape, kind)
    return Tensor(shape, kind, (draw(scale),), (draw(zero_point),))


def like(tensor, shape):
    return Tensor(shape, tensor.type, tensor.scale, tensor.zero_point)


def integers(*numbers):
    return constant(np.array(numbers, np.int32))


@pytest.mark.parametrize("name", ["ABS", "EXP", "GELU", "LOG", "NEG", "RSQRT", "SQRT"])
@checked
@given(st.data())
def test_functions_of_all_256_integers(tmp_path, name, data):
    kind = data.draw(KINDS)
    roots = name in ("RSQRT", "SQRT")  # kernels refuse negative numbers
    points = st.just(-128) if roots else ZERO_POINTS
    source = data.draw(tensors(kind, (1, 256), zero_point=points))
    result = data.draw(tensors(kind, (1, 256)))
    options = table("GeluOptions", approximate=True) if data.draw(st.booleans()) else None
    path = tmp_path / "one.tflite"
    path.write_bytes(one_operator(name, [source], [result], options if name == "GELU" else None))
    (images,) = images_for([source], 4, data.draw(SEEDS))
    if kind == "INT8":
        images[0] = np.arange(-128, 128)
    elif roots or name == "LOG":
        images = np.abs(images) + np.float32(0.1)
    assert_equal(path, [images])


@pytest.mark.parametrize("name", ["COS", "FLOOR", "SIN", "SQUARE"])
def test_functions_of_reals(tmp_path, name):
    tensor = Tensor((1, 64), "FLOAT32")
    check_operator(tmp_path, name, [tensor], [tensor])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CEIL", np.ceil),
        ("ELU", lambda x: np.where(x < 0, np.expm1(x), x)),
        ("ROUND", np.rint),
        ("SIGN", np.sign),
    ],
)
def test_functions_without_reference_kernels(tmp_path, name, expected):
    tensor = Tensor((1, 64), "FLOAT32")
    path = tmp_path / "one.tflite"
    path.write_bytes(one_operator(name, [tensor], [tensor]))
    (images,) = images_for([tensor], 4, 0)
    (found,) = run(read_graph(path), [images])
    np.testing.assert_allclose(found, expected(images), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["LOG_SOFTMAX", "L2_NORMALIZATION"])
@checked
@given(st.data())
def test_along_the_last_axis(tmp_path, name, data):
    kind, shape = data.draw(KINDS), (1, data.draw(SIZES), data.draw(st.integers(1, 12)))
    result = Tensor(shape, kind)
    if kind == "INT8":
        scale, zero_point = FIXED[name]
        result = Tensor(shape, kind, (scale,), (zero_point,))
    inputs = [data.draw(tensors(kind, shape))]
    check_operator(tmp_path, name, inputs, [result], None, data.draw(SEEDS))


@pytest.mark.parametrize(
    "name", ["LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL"]
)
@checked
@given(st.data())
def test_comparisons(tmp_path, name, data):
    kind, shape = data.draw(KINDS), (1, data.draw(SIZES), 3)
    inputs = [data.draw(tensors(kind, shape)), data.draw(tensors(kind, (1, 1, 3)))]
    check_operator(tmp_path, name, inputs, [Tensor(shape, "BOOL")], None, data.draw(SEEDS))


@checked
@given(st.data())
def test_squared_difference(tmp_path, data):
    kind, shape = data.draw(KINDS), (1, data.draw(SIZES), 3)
    inputs = [data.draw(tensors(kind, shape)), data.draw(tensors(kind, (1, 1, 3)))]
    results = [data.draw(tensors(kind, shape))]
    check_operator(tmp_path, "SQUARED_DIFFERENCE", inputs, results, None, data.draw(SEEDS))


@checked
@given(st.data())
def test_div(tmp_path, data):
    """By constants, and by results in whose computation no shift exceeds 31 bits."""
    kind, shape = data.draw(KINDS), (1, data.draw(SIZES), 3)
    random = np.random.default_rng(data.draw(SEEDS))
    first, result = data.draw(tensors(kind, shape)), data.draw(tensors(kind, shape))
    if kind == "FLOAT32":
        divisors = constant(random.normal(size=(1, 1, 3)).astype(np.float32))
    else:
        point = data.draw(st.integers(-100, 100))
        scale = first.scale[0] / result.scale[0] / 4
        numbers = (point + random.choice([-9, -3, -1, 1, 2, 5, 7], (1, 1, 3))).astype(np.int8)
        divisors = constant(numbers, scale=(scale,), zero_point=(point,))
    options = table("DivOptions")
    check_operator(tmp_path, "DIV", [first, divisors], [result], options, data.draw(SEEDS))


@checked
@given(st.data())
def test_prelu(tmp_path, data):
    kind, shape = data.draw(KINDS), (1, data.draw(SIZES), data.draw(SIZES), 3)
    random = np.random.default_rng(data.draw(SEEDS))
    slopes = constant(random.normal(size=(1, 1, 3)).astype(np.float32))
    if kind == "INT8":
        numbers = random.integers(-128, 128, (1, 1, 3)).astype(np.int8)
        slopes = constant(numbers, scale=(0.01,), zero_point=(data.draw(ZERO_POINTS),))
    inputs, results = [data.draw(tensors(kind, shape)), slopes], [data.draw(tensors(kind, shape))]
    check_operator(tmp_path, "PRELU", inputs, results, None, data.draw(SEEDS))


@pytest.mark.parametrize("name", ["REDUCE_MAX", "REDUCE_MIN", "SUM"])
@checked
@given(st.data())
def test_reductions(tmp_path, name, data):
    # The reference kernel of SUM takes int8 for uint8.
    kind = data.draw(st.sampled_from(["UINT8", "FLOAT32"]) if name == "SUM" else KINDS)
    shape = (1, data.draw(SIZES), data.draw(SIZES), 3)
    axes = data.draw(st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=3))
    keep, gone = data.draw(st.booleans()), {axis % 4 for axis in axes}
    output = tuple(
        1 if axis in gone else size for axis, size in enumerate(shape) if keep or axis not in gone
    )
    source = data.draw(tensors(kind, shape, zero_point=st.integers(0, 127)))
    result = like(source, output)
    if name == "SUM":
        result = data.draw(tensors(kind, output, zero_point=st.integers(0, 255)))
    options = table("ReducerOptions", keep_dims=keep)
    check_operator(tmp_path, name, [source, integers(*axes)], [result], options, data.draw(SEEDS))


@checked
@given(st.data())
def test_batch_matmul(tmp_path, data):
    kind = data.draw(KINDS)
    rows, depth, columns = data.draw(SIZES), data.draw(SIZES), data.draw(SIZES)
    turns = data.draw(st.tuples(st.booleans(), st.booleans()))
    first = (1, 2, depth, rows) if turns[0] else (1, 2, rows, depth)
    second = (columns, depth) if turns[1] else (depth, columns)
    second = (1, data.draw(st.sampled_from([1, 2])), *second)
    inputs = [data.draw(tensors(kind, first)), data.draw(tensors(kind, second))]
    results = [data.draw(tensors(kind, (1, 2, rows, columns)))]
    options = table("BatchMatMulOptions", adj_x=turns[0], adj_y=turns[1])
    check_operator(tmp_path, "BATCH_MATMUL", inputs, results, options, data.draw(SEEDS))


@checked
@given(st.data())
def test_transpose_conv(tmp_path, data):
    kind, same = data.draw(KINDS), data.draw(st.booleans())
    image, size = data.draw(st.tuples(SIZES, SIZES)), data.draw(st.tuples(SIZES, SIZES))
    strides = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    depth, units = data.draw(SIZES), data.draw(SIZES)
    random = np.random.default_rng(data.draw(SEEDS))
    result = tuple(
        n * stride if same else (n - 1) * stride + window
        for n, stride, window in zip(image, strides, size, strict=True)
    )
    source = data.draw(tensors(kind, (1, *image, depth)))
    shape = (units, *size, depth)
    filters = constant(random.normal(size=shape).astype(np.float32))
    bias = constant(random.normal(size=units).astype(np.float32))
    if kind == "INT8":
        scales = tuple(data.draw(SCALES) / 16 for _ in range(units))
        numbers = random.integers(-127, 128, shape).astype(np.int8)
        filters = constant(numbers, scale=scales, zero_point=(0,) * units)
        sums = tuple(source.scale[0] * scale for scale in scales)
        numbers = random.integers(-3000, 3000, units).astype(np.int32)
        bias = constant(numbers, scale=sums, zero_point=(0,) * units)
    inputs = [integers(1, *result, units), filters, source, bias]
    results = [data.draw(tensors(kind, (1, *result, units)))]
    options = table(
        "TransposeConvOptions",
        padding=number("Padding", "SAME" if same else "VALID"),
        stride_h=strides[0],
        stride_w=strides[1],
    )
    check_operator(tmp_path, "TRANSPOSE_CONV", inputs, results, options, data.draw(SEEDS))


@pytest.mark.parametrize("name", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
@checked
@given(st.data())
def test_resizing(tmp_path, name, data):
    tensor = data.draw(tensors(data.draw(KINDS), (1, data.draw(SIZES), data.draw(SIZES), 2)))
    size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    where = data.draw(st.sampled_from([{}, {"align_corners": True}, {"half_pixel_centers": True}]))
    kind = "ResizeBilinear" if name == "RESIZE_BILINEAR" else "ResizeNearestNeighbor"
    options = table(f"{kind}Options", **where)
    inputs = [tensor, integers(*size)]
    result = like(tensor, (1, *size, 2))
    check_operator(tmp_path, name, inputs, [result], options, data.draw(SEEDS))


@checked
@given(st.data())
def test_parts(tmp_path, data):
    """UNPACK, SPLIT and SPLIT_V."""
    tensor = data.draw(tensors(data.draw(KINDS), (1, data.draw(SIZES), 6, 2)))
    seed, rows = data.draw(SEEDS), tensor.shape[1]
    parts = [like(tensor, (1, rows, 2, 2))] * 3
    options = table("SplitOptions", num_splits=3)
    check_operator(tmp_path, "SPLIT", [integers(2), tensor], parts, options, seed)
    parts = [like(tensor, (1, rows, size, 2)) for size in (1, 5)]
    options = table("SplitVOptions", num_splits=2)
    inputs = [tensor, integers(1, 5), integers(-2)]
    check_operator(tmp_path, "SPLIT_V", inputs, parts, options, seed)
    parts = [like(tensor, (1, rows, 2))] * 6
    options = table("UnpackOptions", num=6, axis=2)
    check_operator(tmp_path, "UNPACK", [tensor], parts, options, seed)
    options = table("PackOptions", values_count=2, axis=-1)
    result = like(tensor, (1, rows, 6, 2, 2))
    check_operator(tmp_path, "PACK", [tensor, tensor], [result], options, seed)


@checked
@given(st.data())
def test_gather(tmp_path, data):
    tensor = data.draw(tensors(data.draw(KINDS), (1, 4, data.draw(SIZES))))
    places = integers(3, 0, 0)
    result = like(tensor, (1, 3, tensor.shape[2]))
    options = table("GatherOptions", axis=1)
    check_operator(tmp_path, "GATHER", [tensor, places], [result], options, data.draw(SEEDS))


@pytest.mark.parametrize("batch", [0, 1])
def test_gather_at_places_that_differ_by_image(tmp_path, batch):
    path = tmp_path / "one.tflite"
    data, places = Tensor((1, 5, 2), "FLOAT32"), Tensor((1, 3), "INT32")
    result = Tensor((1, 3, 2) if batch else (1, 1, 3, 2), "FLOAT32")
    options = table("GatherOptions", axis=1, batch_dims=batch)
    path.write_bytes(one_operator("GATHER", [data, places], [result], options))
    random = np.random.default_rng(0)
    reals = random.normal(size=(6, 5, 2)).astype(np.float32)
    assert_equal(path, [reals, random.integers(0, 5, (6, 3)).astype(np.int32)])
    with pytest.raises(EdgegolfError, match="other elements"):
        run(read_graph(path), [reals[:1], np.array([[0, 1, -1]], np.int32)])


@pytest.mark.parametrize("name", ["SELECT", "SELECT_V2"])
def test_select(tmp_path, name):
    kept = constant(np.array([[[True], [False], [True]]]))
    tensor = Tensor((1, 3, 2), "FLOAT32")
    if name == "SELECT":
        kept = constant(np.array([[[True, False], [False, False], [True, True]]]))
    check_operator(tmp_path, name, [kept, tensor, tensor], [tensor])


@checked
@given(st.data())
def test_blocks(tmp_path, data):
    """Between space and depth, and space and batch."""
    kind, seed = data.draw(KINDS), data.draw(SEEDS)
    rows, columns, block = data.draw(SIZES), data.draw(SIZES), data.draw(st.integers(1, 3))
    small = data.draw(tensors(kind, (1, rows, columns, 2 * block**2)))
    large = like(small, (1, rows * block, columns * block, 2))
    options = table("SpaceToDepthOptions", block_size=block)
    check_operator(tmp_path, "SPACE_TO_DEPTH", [large], [small], options, seed)
    if kind == "FLOAT32":  # with integers not in the reference kernels
        options = table("DepthToSpaceOptions", block_size=block)
        check_operator(tmp_path, "DEPTH_TO_SPACE", [small], [large], options, seed)
    margin = data.draw(st.integers(0, 2))
    image = like(small, (1, 6 + rows - margin, 6, 2))
    assume((6 + rows) % block == 0 and 6 % block == 0)
    many = like(small, (block**2, (6 + rows) // block, 6 // block, 2))
    margins = constant(np.array([[margin, 0], [0, 0]], np.int32))
    inputs = [image, integers(block, block), margins]
    check_operator(tmp_path, "SPACE_TO_BATCH_ND", inputs, [many], None, seed)


def test_batch_to_space_undoes_space_to_batch(tmp_path):
    path = tmp_path / "one.tflite"
    many, image = Tensor((6, 2, 3, 2), "FLOAT32"), Tensor((1, 3, 9, 2), "FLOAT32")
    crops = constant(np.array([[1, 0], [0, 0]], np.int32))
    path.write_bytes(one_operator("BATCH_TO_SPACE_ND", [many, integers(2, 3), crops], [image]))
    numbers = np.arange(6 * 2 * 3 * 2).astype(np.float32).reshape(many.shape)
    (found,) = run(read_graph(path), [numbers])
    expected = numbers.reshape(2, 3, 2, 3, 2).transpose(2, 0, 3, 1, 4).reshape(1, 4, 9, 2)[:, 1:]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", [0, 1])
@checked
@given(st.data())
def test_mirror_pad(tmp_path, mode, data):
    tensor = data.draw(tensors(data.draw(KINDS), (1, data.draw(st.integers(2, 5)), 3)))
    before, after = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))
    margins = constant(np.array([[0, 0], [before, after], [2, 1]], np.int32))
    result = like(tensor, (1, tensor.shape[1] + before + after, 6))
    options = table("MirrorPadOptions", mode=mode)
    check_operator(tmp_path, "MIRROR_PAD", [tensor, margins], [result], options, data.draw(SEEDS))


@pytest.mark.parametrize("name", ["TILE", "REVERSE_V2", "BROADCAST_TO", "CUMSUM", "POW", "ARG_MAX"])
def test_reals_moved_and_summed(tmp_path, name):
    tensor = Tensor((1, 3, 4), "FLOAT32")
    others = {
        "TILE": ([integers(1, 2, 3)], Tensor((1, 6, 12), "FLOAT32"), None),
        "REVERSE_V2": ([integers(-1)], tensor, None),
        "BROADCAST_TO": ([integers(2, 3, 4)], Tensor((2, 3, 4), "FLOAT32"), None),
        "CUMSUM": ([integers(1)], tensor, table("CumsumOptions", exclusive=True, reverse=True)),
        "POW": ([constant(np.float32([[[2.0]]]))], tensor, None),
        "ARG_MAX": ([integers(2)], Tensor((1, 3), "INT64"), table("ArgMaxOptions", output_type=4)),
    }
    inputs, result, options = others[name]
    if name == "BROADCAST_TO":
        path = tmp_path / "one.tflite"
        path.write_bytes(one_operator(name, [tensor, *inputs], [result], options))
        (images,) = images_for([tensor], 1, 0)
        np.testing.assert_array_equal(run(read_graph(path), [images])[0], [images[0]] * 2)
        return
    check_operator(tmp_path, name, [tensor, *inputs], [result], options)
