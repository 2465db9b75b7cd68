"""Image files, which may be hostile, as pixels: decoded in bounded memory."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.errors import EdgegolfError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP")  # decoded in bounded memory
MAXIMUM_PIXELS = 1 << 24  # a camera's 16 megapixels: up to 64 MiB in memory
ENOUGH = 1024  # longer sides are cut to between this and twice as much when an image is read


class ImageError(EdgegolfError):
    """The image cannot be used."""


class ImageTooLargeError(ImageError):
    """The image has more pixels than are decoded."""


def check_pillow() -> None:
    """Look whether images can be read here.

    Raises:
        EdgegolfError: Pillow is not installed; 32-bit ARM has no wheel of it on the general index.
    """
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError:
        raise EdgegolfError(
            f"images are read by Pillow, which is not installed for {sys.executable}",
            hint=f"{sys.executable} -m pip install pillow",
        ) from None


def read_image(data: bytes, name: str = "the image") -> Image:
    """Decode an image file that may be hostile.

    It is refused by the size in its header, before a pixel is decoded.

    Args:
        data: The content of a file in one of `FORMATS`.
        name: What to call it in errors.

    Raises:
        ImageTooLargeError: It has more than `MAXIMUM_PIXELS`.
        ImageError: It is damaged, or in another format.
        EdgegolfError: Pillow is not installed.
    """
    check_pillow()
    from PIL import Image, ImageOps

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height <= MAXIMUM_PIXELS:
            image.draft("RGB", (ENOUGH, ENOUGH))  # a JPEG is decoded smaller
            step = max(1, max(image.size) // ENOUGH)
            small = tuple(max(1, side // step) for side in image.size)
            return ImageOps.exif_transpose(image.resize(small, Image.Resampling.NEAREST))
    except Image.DecompressionBombError:
        raise ImageTooLargeError(f"{name} has far too many pixels") from None
    except MemoryError:
        raise ImageTooLargeError(f"{name} takes more memory to decode than there is") from None
    except Exception:  # hostile files make decoders raise anything
        raise ImageError(
            f"{name} is no image that can be read", hint=f"it can be {', '.join(FORMATS)}"
        ) from None
    raise ImageTooLargeError(
        f"{name} has {width} x {height} pixels; up to {MAXIMUM_PIXELS:,} are read"
    )


def on_white(image: Image) -> Image:
    """In RGB, without transparency, of 8 bits."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits: convert() would clip them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def as_pixels(image: Image, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """An image stretched to a size, as Keras's and PyTorch's loaders do without further options.

    Args:
        image: As `read_image` gives it; what is transparent is white.
        height: Rows of the result.
        width: Columns of it.
        channels: 1 is grey, 3 are RGB.

    Returns:
        uint8 [height, width, channels].
    """
    from PIL import Image

    opaque = on_white(image).convert("L" if channels == 1 else "RGB")
    if opaque.size != (width, height):
        opaque = opaque.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(opaque).reshape(height, width, channels)
