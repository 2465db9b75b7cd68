"""Operators of ONNX that make images larger: transposed convolutions and interpolation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import floor

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.frontends.onnx.operators import Call, NotCoveredError, Results, sides
from edgegolf.ir import ops
from edgegolf.ir.tensor import Array

_LARGEST_FILTER = 2**22  # elements of a filter that is written with its zeros


def _transposed_convolution(call: Call) -> Results:
    """Dilated filters and groups are written as filters with zeros."""
    value, filters = call.value(), call.constant(1)
    if filters.ndim == 3:
        filters = filters[:, :, None]
    image = call.build.image(value)
    groups = call.get("group", 1)
    if filters.ndim != 4 or len(filters) != image.shape[3] or len(filters) % groups:
        raise EdgegolfError(f"it has filters of shape {list(filters.shape)} in {groups} groups")
    down, right = sides(call.integers("dilations"), 1)
    filters = _spread(filters, groups, (down, right))
    rows, columns = sides(call.integers("strides"), 1)
    padding = _cut_off(call, image.shape[1:3], filters.shape[2:], (rows, columns))
    weight = call.build.constant(filters.transpose(1, 2, 3, 0))
    op = ops.TransposeConv2D((rows, columns), padding)
    return call.build.from_image(call.build.add(op, image, weight, *call.bias(2)), value)


def _spread(filters: Array, groups: int, dilation: ops.Pair) -> Array:
    """[inputs, outputs, height, width] of one group, and without steps between its elements."""
    inputs, outputs, height, width = filters.shape
    down, right = dilation
    shape = (inputs, outputs * groups, down * (height - 1) + 1, right * (width - 1) + 1)
    if np.prod(shape, dtype=float) > _LARGEST_FILTER:
        raise NotCoveredError(f"{groups} groups and a dilation of {list(dilation)}")
    found = np.zeros(shape, np.float32)
    count = inputs // groups
    for group in range(groups):
        part = filters[group * count : (group + 1) * count]
        columns = slice(group * outputs, (group + 1) * outputs)
        found[group * count : (group + 1) * count, columns, ::down, ::right] = part
    return found


def _cut_off(
    call: Call, size: tuple[int, ...], window: tuple[int, ...], strides: ops.Pair
) -> ops.Padding:
    """What is cut off the result; negative where zeros are added."""
    extra = sides(call.integers("output_padding"), 0)
    pads = sides(call.integers("pads"), 0, 4)
    automatic = call.get("auto_pad", "NOTSET")
    wanted = call.integers("output_shape")
    if wanted is None and automatic in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(n * stride for n, stride in zip(size, strides, strict=True))
    if wanted is None:
        found = [(pads[axis], pads[axis + 2] - extra[axis]) for axis in range(2)]
        return found[0], found[1]
    totals = [
        stride * (n - 1) + more + length - target
        for stride, n, more, length, target in zip(
            strides, size, extra, window, sides(wanted[-2:], 1), strict=True
        )
    ]
    found = []
    for total, more in zip(totals, extra, strict=True):
        before = total // 2 if automatic == "SAME_UPPER" else total - total // 2
        found.append((before, total - before - more))
    return found[0], found[1]


def _resize(call: Call) -> Results:
    value = call.value()
    image = call.build.image(value)
    chosen = call.integers("axes") or tuple(range(value.rank))
    scale_at, size_at = (1, 2) if call.opset < 11 else (2, 3)
    scales, sizes = call.optional(scale_at), call.optional(size_at)
    if scales is None and "scales" in call.attributes:
        scales = np.asarray(call.attributes["scales"])
    shape, factors = list(value.shape), [1.0] * value.rank
    if sizes is not None and sizes.size:
        if call.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise NotCoveredError("an aspect ratio that is kept")
        for axis, size in zip(chosen, sizes.tolist(), strict=True):
            factors[axis], shape[axis] = size / shape[axis], int(size)
    elif scales is not None and scales.size:
        for axis, scale in zip(chosen, scales.tolist(), strict=True):
            factors[axis], shape[axis] = scale, floor(np.float32(shape[axis]) * np.float32(scale))
    else:
        raise EdgegolfError("it has neither sizes nor scales")
    if shape[:2] != list(value.shape[:2]):
        raise NotCoveredError("channels of another number")
    rows, columns = (1, *shape[2:])[-2:]
    down, right = (1.0, *factors[2:])[-2:]
    if value.rank == 3 and call.get("mode", "nearest") != "nearest" and call.opset < 11:
        raise NotCoveredError("rows of pixels")
    return call.build.from_image(
        call.build.add(
            _op(call, image.shape[1:3], (rows, columns), (down, right)),
            image,
            shape=(image.shape[0], rows, columns, image.shape[3]),
        ),
        value,
    )


def _op(
    call: Call, size: tuple[int, ...], wanted: ops.Pair, factors: tuple[float, float]
) -> ops.Op:
    """Of those that the graph has, the one that takes the same pixels."""
    mode = call.get("mode", "nearest")
    place = "asymmetric" if call.opset < 11 else "half_pixel"
    place = call.get("coordinate_transformation_mode", place)
    if call.get("antialias", 0) or mode not in ("nearest", "linear"):
        raise NotCoveredError("antialiasing" if call.get("antialias", 0) else f"the mode {mode}")
    exact = all(
        abs(n * factor - result) < 1e-3 * factor
        for n, factor, result in zip(size, factors, wanted, strict=True)
    )
    centres = place == "half_pixel" or (place == "pytorch_half_pixel" and min(wanted) > 1)
    corners = place == "align_corners" and min(wanted) > 1
    if not (exact or corners) or not (centres or corners or place == "asymmetric"):
        raise NotCoveredError(f"{place} and a size of {list(wanted)} of {list(size)}")
    if mode == "linear":
        return ops.ResizeBilinear(corners, centres)
    rounding = "floor" if call.opset < 11 else call.get("nearest_mode", "round_prefer_floor")
    pairs = list(zip(size, wanted, strict=True))
    found = [_nearest(*pair, place, rounding) for pair in pairs]
    for op in (ops.ResizeNearest(), ops.ResizeNearest(False, True), ops.ResizeNearest(True, False)):
        if found == [_taken(op, *pair) for pair in pairs]:
            return op
    raise NotCoveredError(f"{place} and {rounding}")


def _nearest(size: int, wanted: int, place: str, rounding: str) -> list[int]:
    """Which pixel each of the results is."""
    index = np.arange(wanted)
    if place == "align_corners":
        at = index * (size - 1) / max(1, wanted - 1)
    elif place == "asymmetric":
        at = index * size / wanted
    else:
        at = (index + 0.5) * size / wanted - 0.5
    rounded = {
        "floor": np.floor(at),
        "ceil": np.ceil(at),
        "round_prefer_floor": np.ceil(at - 0.5),
        "round_prefer_ceil": np.floor(at + 0.5),
    }[rounding]
    return [int(each) for each in rounded.clip(0, size - 1)]


def _taken(op: ops.ResizeNearest, size: int, wanted: int) -> list[int]:
    """The same of an operator of the graph, as TFLite's kernel finds them."""
    index = np.arange(wanted)
    if op.align_corners:
        at = np.floor(index * (size - 1) / max(1, wanted - 1) + 0.5)
    else:
        at = np.floor((index + 0.5 * op.half_pixel_centers) * size / wanted)
    return [int(each) for each in at.clip(0, size - 1)]


def _upsample(call: Call) -> Results:
    """As Resize was first."""
    return _resize(replace(call, opset=10))


#: How each operator is read.
RESIZING: dict[str, Callable[[Call], Results]] = {
    "ConvTranspose": _transposed_convolution,
    "Resize": _resize,
    "Upsample": _upsample,
}
