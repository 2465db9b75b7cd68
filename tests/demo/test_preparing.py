"""Pictures of every kind become what the net was trained on."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_models import TIGHT_RESNET
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from strokes import Stroke, strokes

from edgegolf.data import Split, load_dataset
from edgegolf.demo.decoding import Decoder
from edgegolf.demo.guessing import (
    OpenModel,
    guess_file,
    guess_pixels,
    open_model,
    probabilities,
)
from edgegolf.demo.preparing import prepare
from edgegolf.errors import EdgegolfError
from edgegolf.images import ImageError, ImageTooLargeError, read_image

SHAPE = (28, 28, 1)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def drawing(lines: list[Stroke], side: int, pen: float, ink: int = 0, paper: int = 255) -> Any:
    """Strokes in pixels of 28 x 28, drawn with a round pen."""
    image = Image.new("L", (side, side), paper)
    canvas = ImageDraw.Draw(image)
    for line in lines:
        points = [(x * side / 28, y * side / 28) for x, y in line]
        canvas.line(points, fill=ink, width=round(pen))
        for x, y in points:
            canvas.ellipse([x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2], fill=ink)
    return image


SEVEN: list[Stroke] = [[(8, 8), (20, 8), (12, 22)]]


def photo(lines: list[Stroke], seed: int) -> Image.Image:
    """Grey ink of a thin pen on paper in uneven light, blurred, noisy, as a camera's JPEG."""
    random = np.random.default_rng(seed)
    width, height = 640, 480
    scene = Image.new("L", (width, height), 255)
    side = int(random.integers(200, 400))
    scene.paste(
        drawing(lines, side, pen=random.uniform(4, 9), ink=60),
        (int(random.integers(20, width - side)), int(random.integers(20, height - side))),
    )
    blurred = scene.filter(ImageFilter.GaussianBlur(1.2)).rotate(
        random.uniform(-8, 8), fillcolor=255
    )
    along = np.linspace(0, 1, width)[None] * random.uniform(-0.5, 0.5)
    down = np.linspace(0, 1, height)[:, None] * random.uniform(-0.3, 0.3)
    light = 0.55 + (along + down) / 2
    pixels = np.asarray(blurred) * light + random.normal(0, 6, (height, width))
    tinted = np.clip(pixels[..., None] * (1, 0.95, 0.85), 0, 255).astype(np.uint8)
    return Image.open(io.BytesIO(encoded(Image.fromarray(tinted), "JPEG", quality=80)))


@pytest.fixture(scope="module")
def model() -> OpenModel:
    return open_model(TIGHT_RESNET)


@pytest.fixture(scope="module")
def digits() -> Split:
    try:
        return load_dataset("mnist").split("test")
    except EdgegolfError as error:
        pytest.skip(error.message)


def test_an_image_of_the_nets_size_is_taken_as_it_is(digits: Split) -> None:
    for pixels in digits.images[:50]:
        image = Image.fromarray(pixels[..., 0])
        for given_image in (image, ImageOps.invert(image), image.convert("RGB")):
            read = read_image(encoded(given_image))
            np.testing.assert_array_equal(prepare(read, SHAPE), pixels)


def test_photos_of_ink_on_paper_are_recognised(model: OpenModel, digits: Split) -> None:
    found = [
        guess_pixels(model, prepare(photo(strokes(image[..., 0]), seed), SHAPE)).label
        for seed, image in enumerate(digits.images[:100])
    ]
    right = np.array(found) == digits.labels[:100].astype(str)
    assert right.mean() >= 0.95, np.flatnonzero(~right)


def test_place_size_pen_and_ink_of_a_drawing_do_not_matter() -> None:
    expected = prepare(drawing(SEVEN, 280, pen=20), SHAPE).astype(int)
    moved = Image.new("L", (900, 500), 255)
    moved.paste(drawing(SEVEN, 280, pen=20), (30, 200))
    others = [
        moved,
        drawing(SEVEN, 700, pen=50),
        drawing(SEVEN, 280, pen=8),
        drawing(SEVEN, 280, pen=40),
        drawing(SEVEN, 280, pen=20, ink=255, paper=0),
        drawing(SEVEN, 280, pen=20, ink=120, paper=200),
        drawing(SEVEN, 280, pen=20).convert("1"),
    ]
    for other in others:
        found = prepare(other, SHAPE).astype(int)
        overlap = np.minimum(found, expected).sum() / np.maximum(found, expected).sum()
        assert overlap > 0.65  # strokes may be thinner or thicker


def test_the_digit_is_in_mnists_box_and_centred_by_mass() -> None:
    pixels = prepare(drawing(SEVEN, 280, pen=20), SHAPE)[..., 0].astype(float)
    rows, columns = np.nonzero(pixels > 127)
    assert np.ptp(rows) + 1 == pytest.approx(20, abs=1)
    assert (rows @ pixels[rows, columns]) / pixels[rows, columns].sum() + 0.5 == pytest.approx(
        14, abs=0.5
    )
    assert (columns @ pixels[rows, columns]) / pixels[rows, columns].sum() + 0.5 == pytest.approx(
        14, abs=0.5
    )


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
def test_formats(form: str) -> None:
    expected = prepare(drawing(SEVEN, 280, pen=20), SHAPE).astype(int)
    read = read_image(encoded(drawing(SEVEN, 280, pen=20), form))
    assert np.abs(prepare(read, SHAPE) - expected).mean() < 2


def test_transparent_palette_and_16_bit_images() -> None:
    grey = drawing(SEVEN, 280, pen=20)
    expected = prepare(grey, SHAPE)
    clear = Image.new("RGBA", grey.size, (0, 0, 0, 0))
    clear.putalpha(ImageOps.invert(grey))
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    for other in (clear, grey.convert("P"), deep, grey.convert("RGB").convert("P")):
        np.testing.assert_array_equal(prepare(read_image(encoded(other)), SHAPE), expected)


def test_a_photo_lying_on_its_side_is_turned_as_its_camera_says() -> None:
    upright = drawing(SEVEN, 280, pen=20)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held turned by 90 degrees
    lying = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    difference = prepare(read_image(lying), SHAPE).astype(int) - prepare(upright, SHAPE)
    assert np.abs(difference).mean() < 2


def test_colours_for_a_net_that_takes_them() -> None:
    pixels = np.arange(32 * 32 * 3, dtype=np.uint32).reshape(32, 32, 3).astype(np.uint8)
    same = prepare(read_image(encoded(Image.fromarray(pixels))), (32, 32, 3))
    np.testing.assert_array_equal(same, pixels)
    wide = Image.new("RGB", (640, 320), "red")
    wide.paste("blue", (160, 0, 480, 320))
    assert (prepare(wide, (32, 32, 3)) == (0, 0, 255)).all()


@pytest.mark.parametrize("shade", [0, 127, 255])
def test_an_empty_picture_is_said_to_be_empty(shade: int) -> None:
    with pytest.raises(ImageError, match="nothing"):
        prepare(Image.new("L", (280, 280), shade), SHAPE)


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([3, 4]))
    ),
    st.sampled_from([(28, 28, 1), (8, 8, 1), (32, 32, 3), (5, 9, 1)]),
)
def test_any_picture_gives_pixels_or_one_error(pixels: Any, shape: tuple[int, int, int]) -> None:
    try:
        found = prepare(Image.fromarray(pixels), shape)
    except ImageError:
        return
    assert found.shape == shape
    assert found.dtype == np.uint8


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG file of the chunks given, with a right header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = b"".join(chunk(part[:4], part[4:]) for part in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "size", [(4097, 4096), (100_000, 100_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1)]
)
def test_bombs_are_refused_by_their_size(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLargeError):
        read_image(png(*size, b"IDAT" + zlib.compress(bytes(1000))))


def test_bombs_in_text_and_profile() -> None:
    bomb = zlib.compress(bytes(1 << 27), 9)
    for part in (b"zTXtword\0\0" + bomb, b"iCCPname\0\0" + bomb, b"iTXtword\0\1\0\0\0" + bomb):
        data = png(28, 28, part, b"IDAT" + zlib.compress(bytes(29 * 28)))
        with suppress(ImageError):
            assert read_image(data).size == (28, 28)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_are_one_error(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["PNG", "JPEG", "BMP"]))
    content = bytearray(encoded(drawing(SEVEN, 64, pen=5), form))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    with suppress(ImageError):
        assert prepare(read_image(bytes(content[:cut])), SHAPE).shape == SHAPE


def test_logits_become_probabilities() -> None:
    logits = np.array([1000.0, 999.0, -5.0], np.float32)
    found = probabilities(logits)
    assert found.sum() == pytest.approx(1)
    assert found[0] / found[1] == pytest.approx(np.e, rel=1e-4)
    given_ones = np.array([0.99609375, 0, 0], np.float32)
    np.testing.assert_array_equal(probabilities(given_ones), given_ones)


def test_a_missing_image_is_one_error(model: OpenModel, tmp_path: Path) -> None:
    with Decoder() as decoder, pytest.raises(EdgegolfError, match="does not exist"):
        guess_file([model], decoder, tmp_path / "no.png")
