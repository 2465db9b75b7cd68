"""Pen strokes of an image of a digit: its thinned lines, walked from end to end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Stroke = list[tuple[float, float]]
ENLARGEMENT = 4  # thinning whole pixels of 28 x 28 would give jagged lines
RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def strokes(image: NDArray[np.uint8]) -> list[Stroke]:
    """The strokes of a 28 x 28 image as points (x, y) in its pixels."""
    side = image.shape[0] * ENLARGEMENT
    large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    lines = walk(thin(large > 127))
    return [
        [((x + 0.5) / ENLARGEMENT, (y + 0.5) / ENLARGEMENT) for y, x in simplify(line)]
        for line in lines
    ]


def thin(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The skeleton, one pixel wide (Zhang and Suen, 1984)."""
    ink = np.pad(ink, 1)
    changed = True
    while changed:
        changed = False
        for first, second in (((0, 2, 4), (2, 4, 6)), ((0, 2, 6), (0, 4, 6))):
            ring = [np.roll(ink, (-dy, -dx), (0, 1)) for dy, dx in RING]
            neighbours = sum(each.astype(int) for each in ring)
            ups = sum((~a & b).astype(int) for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
            gone = ink & (neighbours >= 2) & (neighbours <= 6) & (ups == 1)
            gone &= ~np.logical_and.reduce([ring[i] for i in first])
            gone &= ~np.logical_and.reduce([ring[i] for i in second])
            ink = ink & ~gone
            changed = changed or bool(gone.any())
    return ink[1:-1, 1:-1]


def walk(skeleton: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Lines along the skeleton, straight on at crossings, until every pixel was visited."""
    left = {(int(y), int(x)) for y, x in np.argwhere(skeleton)}
    everything = set(left)

    def around(point: tuple[int, int], among: set[tuple[int, int]]) -> list[tuple[int, int]]:
        return [p for dy, dx in RING if (p := (point[0] + dy, point[1] + dx)) in among]

    lines = []
    while left:
        line = [min(left, key=lambda point: (len(around(point, left)), point))]
        left.discard(line[0])
        while onward := around(line[-1], left):
            before = line[-min(len(line), 6)]
            ahead = (2 * line[-1][0] - before[0], 2 * line[-1][1] - before[1])
            line.append(min(onward, key=lambda p: (p[0] - ahead[0]) ** 2 + (p[1] - ahead[1]) ** 2))
            # A step of a staircase is passed by with the line.
            left -= {line[-1], *(p for p in around(line[-1], left) if p in onward)}
        # Touch what was drawn before where the line begins and ends beside it.
        for end, index in ((line[0], 0), (line[-1], len(line))):
            beside = [p for p in around(end, everything) if p not in line]
            if beside:
                line.insert(index, beside[0])
        lines.append(line)
    return [line for line in lines if len(line) > 2] or lines


def simplify(line: list[tuple[int, int]], tolerance: float = 1.2) -> list[tuple[int, int]]:
    """Fewer points, none further than `tolerance` away (Ramer, Douglas and Peucker)."""
    points = np.array(line, float)
    if len(line) < 3:
        return line
    along = points[-1] - points[0]
    length = float(np.hypot(*along))
    offsets = points - points[0]
    if length:
        distances = np.abs(along[0] * offsets[:, 1] - along[1] * offsets[:, 0]) / length
    else:
        distances = np.hypot(*offsets.T)
    furthest = int(distances.argmax())
    if distances[furthest] <= tolerance:
        return [line[0], line[-1]]
    return simplify(line[: furthest + 1], tolerance)[:-1] + simplify(line[furthest:], tolerance)
