"""A session as an image classifier, whatever number format and layout its file asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.session import Array, Session, TensorInfo

if TYPE_CHECKING:
    from edgegolf.data import Split


def scores(session: Session, images: Array) -> Array:
    """What the model gives for each class.

    The images are fed with the batch size of the file, an open one counting as 1, so that
    accuracy is measured on the same model as latency.

    Args:
        session: A model with one input and one output.
        images: uint8, NHWC.

    Returns:
        float32 `[images, classes]`, dequantized.

    Raises:
        EdgegolfError: The model is no classifier of such images.
    """
    info, output_info = _only_input_and_output(session)
    batch = info.example_shape[0]
    numbers = _to_numbers(session, info, images)
    results = []
    for start in range(0, len(numbers), batch):
        part = numbers[start : start + batch]
        (output,) = session.run([_filled(part, batch)])
        results.append(output.reshape(batch, -1)[: len(part)])
    return dequantize(np.concatenate(results), output_info)


def to_input(session: Session, images: Array) -> Array:
    """Images as the numbers that a session takes, the first repeated to fill its batch.

    Args:
        session: A model with one input and one output.
        images: uint8, NHWC, not more than the file's batch.

    Raises:
        EdgegolfError: The model is no classifier of such images.
    """
    info, _ = _only_input_and_output(session)
    return _filled(_to_numbers(session, info, images), info.example_shape[0])


def image_shape(session: Session) -> tuple[int, int, int]:
    """Height, width and channels of the images that a model takes; a flat one's are square.

    Raises:
        EdgegolfError: The model is no classifier of grey or RGB images.
    """
    info, _ = _only_input_and_output(session)
    match info.example_shape[1:]:
        case (height, width, (1 | 3) as channels) | ((1 | 3) as channels, height, width):
            return height, width, channels
        case (height, width):
            return height, width, 1
        case (size,) if math.isqrt(size) ** 2 == size:
            return math.isqrt(size), math.isqrt(size), 1
    raise EdgegolfError(f"{session.file} takes {info}, which is no grey or RGB image")


def accuracy(session: Session, split: Split) -> float:
    """The fraction of images whose highest score is their label's. Raises as `scores` does."""
    found = scores(session, split.images)
    highest_label = int(split.labels.max())
    if highest_label >= found.shape[1]:
        raise EdgegolfError(
            f"{session.file} tells {found.shape[1]} classes apart; the data set has at least "
            f"{highest_label + 1}"
        )
    right = (found.argmax(axis=1) == split.labels) & np.isfinite(found).all(axis=1)
    return float(right.mean())


def quantize(images: Array, info: TensorInfo) -> Array:
    """uint8 pixels in the numbers that an input takes: 0…1 if real, else as it is quantized.

    An integer input without a scale takes the pixels themselves, less 128 if signed. A
    scale that spans more than 0…1 by far says that the net was trained on 0…255.
    """
    dtype = np.dtype(info.dtype)
    if dtype.kind == "f":
        return (images / np.float32(255)).astype(dtype)
    limits = np.iinfo(dtype)
    if info.scale:
        scale, zero_point = info.scale[0], info.zero_point[0]
        spans_pixels = scale * (int(limits.max) - zero_point) > 128
        reals = images if spans_pixels else images / np.float32(255)
        numbers = np.round(reals / np.float32(scale)) + zero_point
    else:
        numbers = images + (np.float32(-128) if dtype.name == "int8" else np.float32(0))
    return np.clip(numbers, limits.min, limits.max).astype(dtype)


def dequantize(numbers: Array, info: TensorInfo) -> Array:
    """The real numbers that a quantized output stands for, as float32."""
    reals = numbers.astype(np.float32)
    if info.scale:
        reals = (reals - np.float32(info.zero_point[0])) * np.float32(info.scale[0])
    return reals


def _only_input_and_output(session: Session) -> tuple[TensorInfo, TensorInfo]:
    if len(session.inputs) != 1 or len(session.outputs) != 1:
        raise EdgegolfError(
            f"{session.file} has {len(session.inputs)} inputs and {len(session.outputs)} outputs; "
            "accuracy needs a classifier with one of each"
        )
    info = session.inputs[0]
    if info.dtype not in ("float16", "float32", "float64", "int8", "uint8", "int16", "int32"):
        raise EdgegolfError(f"{session.file} takes {info}, which is no image")
    return info, session.outputs[0]


def _to_numbers(session: Session, info: TensorInfo, images: Array) -> Array:
    return quantize(_arrange(session, images, info.example_shape[1:]), info)


def _filled(numbers: Array, batch: int) -> Array:
    return np.concatenate([numbers, np.repeat(numbers[:1], batch - len(numbers), axis=0)])


def _arrange(session: Session, images: Array, wanted: tuple[int, ...]) -> Array:
    count, height, width, channels = images.shape
    if wanted == (height, width, channels):
        return images
    if wanted == (channels, height, width):
        return images.transpose(0, 3, 1, 2)
    if wanted in ((height, width), (height * width * channels,)):
        return images.reshape(count, *wanted)
    raise EdgegolfError(
        f"{session.file} takes {session.inputs[0]}; the data set has images of "
        f"{height} x {width} x {channels}",
        hint="name the data set that the net was made for",
    )
