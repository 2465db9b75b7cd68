"""From a picture of any kind to what a net takes: the one way for files, drawings and photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgegolf.images import ImageError, on_white

if TYPE_CHECKING:
    from PIL.Image import Image

    from edgegolf.runtimes.session import Array

WORKING_SIZE = 256  # longest side on which ink is looked for

# MNIST's own preparation (LeCun et al., 1998): the digit fits a box of 20 x 20 pixels, and its
# centre of mass is the centre of the 28 x 28 pixels.
BOX = 20 / 28
FINENESS = 8  # the ink is black or white on a grid this much finer than the net's pixels
# Strokes of pens on paper, or of a drawing's size, are brought to between these widths, in
# pixels of a box of 20. Chosen on drawings of MNIST's training images.
THINNEST = 2.6
THICKEST = 3.4
LEAST_CONTRAST = 24  # of 255, between ink and paper


def prepare(image: Image, shape: tuple[int, int, int]) -> Array:
    """The pixels that a net takes for a picture of something.

    An image that has the net's size is taken as it is. Else, for a net that takes colours: the
    largest centred part of its proportions, scaled. For a net that takes grey: the ink, made like
    a digit of MNIST: bright on black, in MNIST's box, centred by mass, thin strokes thickened.
    Grey images whose border is bright are dark on bright, and inverted, in any case.

    Args:
        image: A drawing or a photo.
        shape: Height, width and channels of the net's input; 1 channel is grey, 3 are RGB.

    Returns:
        uint8 `[height, width, channels]`.
    """
    from PIL import Image, ImageOps

    height, width, channels = shape
    opaque = on_white(image)
    if channels == 3:
        if image.size != (width, height):
            opaque = ImageOps.fit(opaque, (width, height), Image.Resampling.BOX)
        return np.asarray(opaque)
    grey = opaque.convert("L")
    if image.size == (width, height):
        pixels = np.asarray(grey)
        return (255 - pixels if _border(pixels) > 127 else pixels)[..., None]
    return _like_mnist(grey, height, width)[..., None]


def _border(pixels: Array) -> float:
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    return float(np.median(np.concatenate(edges)))


def _like_mnist(grey: Image, height: int, width: int) -> Array:
    ink = _ink(grey)
    threshold = _otsu(ink)
    rows, columns = np.nonzero(ink > threshold)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    box = round(min(height, width) * BOX) * FINENESS
    mask = _with_stroke(ink[top:bottom, left:right], threshold, box)
    field = _place(mask, height * FINENESS, width * FINENESS)
    fine = field.reshape(height, FINENESS, width, FINENESS)
    return np.round(fine.mean(axis=(1, 3)) * 255).astype(np.uint8)


def _ink(grey: Image) -> Array:
    """Bright ink on black, uint8: the paper's own shades are taken away."""
    from PIL import Image, ImageFilter

    grey.thumbnail((WORKING_SIZE, WORKING_SIZE), Image.Resampling.BOX)
    pixels = np.asarray(grey)
    if _border(pixels) > (int(pixels.min()) + int(pixels.max())) / 2:
        pixels = 255 - pixels
    # The paper is what is left where everything narrower than a quarter of the picture is gone.
    coarse = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX)
    paper = coarse.filter(ImageFilter.MinFilter(9)).filter(ImageFilter.MaxFilter(9))
    smooth = paper.resize(grey.size, Image.Resampling.BILINEAR)
    ink = pixels - np.minimum(pixels, np.asarray(smooth))
    if ink.max() < LEAST_CONTRAST:
        raise ImageError("the image shows nothing: it has one even shade")
    return ink


def _otsu(pixels: Array) -> int:
    """The threshold that separates two classes of pixels best (Otsu, 1979)."""
    counts = np.bincount(pixels.ravel(), minlength=256).astype(float)
    below = counts.cumsum()[:-1]
    above = pixels.size - below
    sums = (counts * np.arange(256)).cumsum()
    means_apart = sums[:-1] * above - (sums[-1] - sums[:-1]) * below
    variance = means_apart**2 / np.maximum(below * above, 1)
    return int(variance.argmax())


def _with_stroke(ink: Array, threshold: int, box: int) -> Array:
    """Black or white, its longer side `box`, its strokes neither too thin nor too thick."""
    width = _stroke_width(_enlarge(ink, box) > threshold)
    thinnest, thickest = (limit / 20 * box for limit in (THINNEST, THICKEST))
    growth = round((min(max(width, thinnest), thickest) - width) / 2)
    mask = np.pad(_enlarge(ink, box - 2 * growth) > threshold, max(growth, 0) + 1)
    for step in range(growth):
        mask = _grow(mask, corners=step % 2 == 0)
    for step in range(-growth):
        mask = ~_grow(~mask, corners=step % 2 == 0)
    return mask


def _enlarge(ink: Array, longest: int) -> Array:
    from PIL import Image

    scale = longest / max(ink.shape)
    size = tuple(max(1, round(side * scale)) for side in reversed(ink.shape))
    return np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC))


def _stroke_width(mask: Array) -> float:
    """Of a line, the area is width x length, the rim 2 x length."""
    rim = mask & _grow(np.pad(~mask, 1, constant_values=True), corners=False)[1:-1, 1:-1]
    return 2 * mask.sum() / max(rim.sum(), 1)


def _grow(mask: Array, corners: bool) -> Array:
    """One pixel more on each side; corners every other time make an octagon of a dot."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    across = grown.copy() if corners else mask
    grown[:, 1:] |= across[:, :-1]
    grown[:, :-1] |= across[:, 1:]
    return grown


def _place(mask: Array, height: int, width: int) -> Array:
    """The mask on black, its centre of mass in the centre as far as it fits."""
    inked = np.argwhere(mask)
    mask = mask[tuple(map(slice, inked.min(axis=0), inked.max(axis=0) + 1))][:height, :width]
    centre = np.argwhere(mask).mean(axis=0)
    top, left = (
        min(max(round(size / 2 - middle), 0), size - extent)
        for size, middle, extent in zip((height, width), centre, mask.shape, strict=True)
    )
    field = np.zeros((height, width), bool)
    field[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return field
