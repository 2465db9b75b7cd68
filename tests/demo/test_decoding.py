"""Decoding in children: the same pixels, in bounded time and memory, whatever others send."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import psutil
import pytest
from demo_models import ROOT
from hostile import many_scans
from PIL import Image
from test_preparing import SEVEN, SHAPE, drawing, encoded, photo

from edgegolf.demo.decoding import AT_ONCE, MAXIMUM_MEMORY, BusyError, Decoder
from edgegolf.demo.preparing import prepare
from edgegolf.images import ImageError, ImageTooLargeError, read_image

SHAPES = (SHAPE, (8, 8, 1), (32, 32, 3))
LONG = 15.0  # seconds that are not over before what is tested


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as made:
        yield made


def children(decoder: Decoder) -> list[psutil.Process]:
    return psutil.Process(decoder._template.pid).children()


def limits(decoder: Decoder) -> list[tuple[int, int]]:
    """Of the data of each child."""
    with suppress(psutil.NoSuchProcess):
        return [child.rlimit(psutil.RLIMIT_DATA) for child in children(decoder)]
    return []


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


class Hostile:
    """So many images that take long, decoded in the background until they are refused."""

    def __init__(self, decoder: Decoder, count: int, seconds: float) -> None:
        self.errors: list[type] = []
        self._decoder, self._seconds = decoder, seconds
        self.threads = [threading.Thread(target=self._send) for _ in range(count)]
        for thread in self.threads:
            thread.start()
        eventually(lambda: len(limits(decoder)) >= min(count, AT_ONCE))

    def _send(self) -> None:
        try:
            self._decoder.prepare(many_scans(), [SHAPE], seconds=self._seconds)
        except ImageError as error:
            self.errors.append(type(error))
        except BusyError as error:
            self.errors.append(type(error))

    def end(self) -> None:
        """Kill their children, which is an error of their own."""
        while any(thread.is_alive() for thread in self.threads):
            for child in children(self._decoder):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            time.sleep(0.01)


@pytest.mark.parametrize(
    "data",
    [
        encoded(drawing(SEVEN, 280, pen=20)),
        encoded(photo(SEVEN, 1), "JPEG"),
        encoded(Image.effect_noise((300, 200), 90), "BMP"),
        encoded(drawing(SEVEN, 28, pen=2)),
    ],
)
def test_pixels_are_those_of_this_process(decoder: Decoder, data: bytes) -> None:
    found = decoder.prepare(data, SHAPES)
    assert list(found) == list(SHAPES)
    for shape, pixels in found.items():
        np.testing.assert_array_equal(pixels, prepare(read_image(data), shape))
        assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"no image", ImageError),
        (b"", ImageError),
        (b"GIF89a" + bytes(99), ImageError),
        (encoded(Image.new("L", (1, 65_535))), ImageError),  # shows nothing
        (encoded(Image.new("L", (65_535, 1)), "BMP"), ImageError),
        (encoded(Image.new("L", (99, 99)), "TIFF"), ImageError),
        (encoded(Image.new("L", (4097, 4097))), ImageTooLargeError),
    ],
)
def test_errors_are_those_of_this_process(decoder: Decoder, data: bytes, kind: type) -> None:
    with pytest.raises(ImageError) as here:
        prepare(read_image(data, "x.png"), SHAPE)
    with pytest.raises(ImageError) as there:
        decoder.prepare(data, [SHAPE], "x.png")
    assert type(there.value) is type(here.value) is kind
    assert (there.value.message, there.value.hint) == (here.value.message, here.value.hint)


@pytest.mark.parametrize("form", [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_files_of_many_frames_are_refused(decoder: Decoder, form: tuple[str, Any]) -> None:
    frames = [Image.effect_noise((99, 99), 90) for _ in range(20)]
    data = encoded(frames[0], form[0], save_all=True, append_images=frames[1:], **form[1])
    with pytest.raises(ImageError, match="is no image that can be read"):
        decoder.prepare(data, [SHAPE])


def test_what_takes_too_long_is_killed_at_its_deadline(decoder: Decoder) -> None:
    with pytest.raises(ImageTooLargeError, match=r"takes more than 0\.5 seconds"):
        decoder.prepare(many_scans(), [SHAPE], seconds=0.5)
    eventually(lambda: not children(decoder))
    assert decoder.prepare(encoded(drawing(SEVEN, 99, pen=9)), [SHAPE])


@pytest.mark.parametrize("count", [1, 5])
def test_others_are_answered_while_images_take_long(decoder: Decoder, count: int) -> None:
    hostile = Hostile(decoder, count, seconds=LONG)
    try:
        for _ in range(3):
            assert decoder.prepare(encoded(drawing(SEVEN, 99, pen=9)), [SHAPE])
        assert all(thread.is_alive() for thread in hostile.threads)
        assert hostile.errors == []
    finally:
        hostile.end()


def test_no_more_are_decoded_at_once_and_the_rest_is_refused(decoder: Decoder) -> None:
    hostile = Hostile(decoder, AT_ONCE + 2, seconds=1.5)
    most = 0
    while any(thread.is_alive() for thread in hostile.threads):
        most = max(most, len(children(decoder)))
        time.sleep(0.01)
    assert most <= AT_ONCE + 2  # with those that are being killed
    assert len(hostile.errors) == AT_ONCE + 2
    assert set(hostile.errors) <= {ImageTooLargeError, BusyError}
    assert ImageTooLargeError in hostile.errors


def test_a_childs_memory_is_limited(decoder: Decoder) -> None:
    hostile = Hostile(decoder, 1, seconds=LONG)
    try:
        eventually(lambda: limits(decoder) == [(MAXIMUM_MEMORY, MAXIMUM_MEMORY)])
    finally:
        hostile.end()
    assert hostile.errors == [ImageTooLargeError]


@pytest.mark.parametrize("mode", ["RGBA", "CMYK"])
def test_the_largest_images_fit_into_it(decoder: Decoder, mode: str) -> None:
    side = 4096
    image = Image.new(mode, (side, side), (255,) * 4 if mode == "RGBA" else (0,) * 4)
    image.paste((0, 0, 0, 255), (1000, 500, 1300, 3500))
    options = {"progressive": True, "subsampling": 0} if mode == "CMYK" else {}
    data = encoded(image, "JPEG" if options else "PNG", **options)
    (pixels,) = decoder.prepare(data, [SHAPE], seconds=60).values()
    assert pixels.max() == 255


def test_it_goes_on_without_its_template() -> None:
    with Decoder() as decoder:
        data = encoded(drawing(SEVEN, 99, pen=9))
        assert decoder.prepare(data, [SHAPE])
        os.kill(decoder._template.pid, signal.SIGKILL)
        decoder._template.wait()
        assert decoder.prepare(data, [SHAPE])


def test_closing_ends_every_process() -> None:
    decoder = Decoder()
    hostile = Hostile(decoder, 2, seconds=LONG)
    processes = [psutil.Process(decoder._template.pid), *children(decoder)]
    decoder.close()
    eventually(lambda: not any(process.is_running() for process in processes))
    for thread in hostile.threads:
        thread.join(timeout=60)


def test_processes_end_with_their_owner() -> None:
    """Also where it had no time to close."""
    script = (
        "import time; from edgegolf.demo.decoding import Decoder\n"
        "print(Decoder()._template.pid, flush=True); time.sleep(99)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    template = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.wait()
    owner.stdout.close()
    eventually(lambda: not template.is_running() or template.status() == "zombie")
