"""An image of a seven, as it is drawn with characters on a serial line."""

from __future__ import annotations

import numpy as np

SIDE = 28
SEVEN = "\n".join([
    *["." * SIDE] * 5,
    *["......." + "#" * 13 + "........"] * 2,
    *["." * (18 - row // 2) + "###" for row in range(15)],
]) + "\n\n"  # fmt: skip


def as_input(drawing: str) -> np.ndarray:
    """What a net with int8 inputs gets of it, `[1, 28, 28, 1]`."""
    pixels = np.full((1, SIDE, SIDE, 1), -128, np.int8)
    for row, line in enumerate(drawing.splitlines()[:SIDE]):
        for column, character in enumerate(line[:SIDE]):
            pixels[0, row, column, 0] = -128 if character in " ." else 127
    return pixels
