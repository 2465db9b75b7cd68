"""Sends pictures of digits to the board and prints what it answers.

    python send.py /dev/ttyACM0 ../../docs/seven.png

Needs edgegolf, which finds the digit in a picture as `edgegolf classify` does.
"""

from __future__ import annotations

import os
import select
import sys
import termios
from pathlib import Path

from edgegolf.demo.preparing import prepare
from edgegolf.images import read_image

SECONDS = 2.0  # an image takes .07 on the line, and the net far less


def main() -> None:
    """Send each picture, and print the answer."""
    if len(sys.argv) < 3:
        sys.exit((__doc__ or "").strip())
    port, *pictures = sys.argv[1:]
    line = open_line(port)
    for picture in pictures:
        pixels = prepare(read_image(Path(picture).read_bytes(), picture), (28, 28, 1))
        # Its int8 input is the pixel less 128: scale 1/255, zero point -128.
        os.write(line, (pixels ^ 0x80).tobytes())
        print(f"{picture}: {answer(line)}")


def open_line(port: str) -> int:
    """A serial line of 115,200 baud, 8 data bits and 1 stop bit, that changes no byte."""
    line = os.open(port, os.O_RDWR | os.O_NOCTTY)
    baud = termios.B115200
    settings = termios.tcgetattr(line)
    settings[:6] = [0, 0, termios.CS8 | termios.CREAD | termios.CLOCAL, 0, baud, baud]
    termios.tcsetattr(line, termios.TCSANOW, settings)
    termios.tcflush(line, termios.TCIOFLUSH)
    return line


def answer(line: int) -> str:
    """The line of text that the board sends."""
    told = b""
    while not told.endswith(b"\n"):
        if not select.select([line], [], [], SECONDS)[0]:
            sys.exit("The board does not answer: is this its port, and is it programmed?")
        told += os.read(line, 1)
    return told.decode("ascii", "replace").strip()


if __name__ == "__main__":
    main()
