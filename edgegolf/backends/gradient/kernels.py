"""The loops of the operators and of their gradients, in C, with every size a constant.

A number of the net is a vector `V`: the same number of several images. So no loop has a remainder
of lanes, every weight is a scalar that is broadcast, and what makes it fast is only how many sums
are kept in registers at a time: a tile of `J` channels × `P` pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from edgegolf.ir import ops

REGISTERS = 16  # of AVX2
SUMS = 12  # vectors that are summed up in registers at a time, beside the factors

Box = tuple[int, int, int, int]  # rows from, to; columns from, to


@dataclass(frozen=True)
class Image:
    """How a tensor lies in memory: [rows][columns][channels] vectors, with a margin."""

    height: int
    width: int
    channels: int
    box: Box  # rows and columns that something depends on; no others are computed
    margin: ops.Padding = ops.NO_PADDING  # rows and columns around it, which are zero
    is_dirty: bool = False  # whether the margin is written to, so that it is not zero

    @property
    def column(self) -> int:
        """Vectors from one column to the next."""
        return self.channels

    @property
    def row(self) -> int:
        """Vectors from one row to the next."""
        return (self.width + sum(self.margin[1])) * self.channels

    @property
    def size(self) -> int:
        """Vectors in all."""
        return (self.height + sum(self.margin[0])) * self.row

    @property
    def box_size(self) -> tuple[int, int]:
        """Rows and columns of the box."""
        top, bottom, left, right = self.box
        return bottom - top, right - left

    def at(self, row: int, column: int, channel: int = 0) -> int:
        """The place of an element."""
        (top, _), (left, _) = self.margin
        return (row + top) * self.row + (column + left) * self.column + channel

    @property
    def start(self) -> int:
        """The place of the box's first element."""
        return self.at(self.box[0], self.box[2])


@dataclass(frozen=True)
class Window:
    """How an operator's window slides, and from which element of its input the box begins."""

    size: ops.Pair
    strides: ops.Pair
    dilation: ops.Pair
    padding: ops.Padding

    def first(self, source: Image, result: Image) -> int:
        """The place in the source of the first element of the first window of the result's box."""
        row = result.box[0] * self.strides[0] - self.padding[0][0]
        column = result.box[2] * self.strides[1] - self.padding[1][0]
        return source.at(row, column)

    def offset(self, source: Image, row: int, column: int) -> int:
        """From the first element of a window to another one."""
        return row * self.dilation[0] * source.row + column * self.dilation[1] * source.column


def pieces(count: int, largest: int) -> Iterator[tuple[int, int, int]]:
    """`count` in pieces of nearly equal size: where each run of equal pieces begins, ends; size."""
    if count < 1:
        return
    number = -(-count // largest)
    small, more = divmod(count, number)
    if more:
        yield 0, more * (small + 1), small + 1
    yield more * (small + 1), count, small


@cache
def tile(channels: int, pixels: int) -> tuple[int, int]:
    """The channels and pixels of the tile that takes the fewest cycles, as loads and sums count."""

    def cycles(shape: tuple[int, int]) -> float:
        parts = (((high - low) // size, size) for low, high, size in pieces(channels, shape[0]))
        total = 0.0
        for count, own in parts:
            for low, high, size in pieces(pixels, shape[1]):
                work = max(own * size, own + size, 8) / 2 + 1
                total += count * (high - low) // size * work
        return total

    sides = product(range(1, SUMS + 1), repeat=2)
    shapes = [(j, p) for j, p in sides if j * p <= SUMS and j * p + min(j, p) < REGISTERS]
    return min(shapes, key=cycles)


def products(j: int, p: int, one: str, two: str) -> str:
    """Add to a tile's sums the products of `j` numbers and `p` others, each loaded once.

    Args:
        j: How many.
        p: Likewise.
        one: A number of the first, which may name `{0}`.
        two: One of the others, likewise.
    """
    # The fewer stay in registers meanwhile.
    few, many, swaps = (one, two, False) if j <= p else (two, one, True)
    text = "".join(f"V f{a} = (V){{}} + {few.format(a)}; HOLD(f{a});" for a in range(min(j, p)))
    for b in range(max(j, p)):
        text += f"{{ V m = (V){{}} + {many.format(b)}; HOLD(m);"
        for a in range(min(j, p)):
            text += f"s{b}_{a} += f{a} * m;" if swaps else f"s{a}_{b} += f{a} * m;"
        text += "}"
    return text


def loops(name: str, count: int, largest: int) -> Iterator[tuple[str, int]]:
    """The heads of loops over pieces, with their size."""
    for low, high, size in pieces(count, largest):
        if high - low == size:
            yield f"for (int {name} = {low}, once_{name} = 1; once_{name}; once_{name} = 0)", size
        else:
            yield f"for (int {name} = {low}; {name} < {high}; {name} += {size})", size


def sums(j: int, p: int, start: str) -> str:
    """Declare a tile's sums; `start` may name `{j}` and `{p}`."""
    return "".join(
        f"V s{a}_{b} = {start.format(j=a, p=b)};" for a, b in product(range(j), range(p))
    )


def _rows(source: Image, result: Image, window: Window) -> tuple[int, int]:
    """Rows and columns of the result's box; all pixels are one row where they lie in one."""
    rows, columns = result.box_size
    plain = window.size == (1, 1) and window.strides == (1, 1)
    in_one = all(image.row == columns * image.channels for image in (source, result))
    return (1, rows * columns) if plain and in_one else (rows, columns)


def _runs(window: Window, channels: int) -> tuple[list[ops.Pair], int]:
    """The windows' elements as runs that lie side by side: where each begins, and its length."""
    height, width = window.size
    if window.dilation[1] == 1 or width == 1:
        return [(row, 0) for row in range(height)], width * channels
    return list(product(range(height), range(width))), channels


def _unrolled(length: int) -> str:
    """For a loop whose heads would take longer than its few rounds."""
    return f'_Pragma("GCC unroll {length}") ' if length <= 8 else ""


def convolve(source: Image, result: Image, window: Window, bias: bool, adds: Image | None) -> str:
    """`y = x * w + b (+ r)`: x, y, w [outputs][window][inputs], b, and an image r as large as y."""
    rows, columns = _rows(source, result, window)
    runs, length = _runs(window, source.channels)
    inner = window.size[0] * window.size[1] * source.channels
    j_most, p_most = tile(result.channels, columns)
    step, text = window.strides[1] * source.column, []
    for (head, p), (heads, j) in product(
        loops("c", columns, p_most), loops("o", result.channels, j_most)
    ):
        start = "b[o + {j}] + (V){{}}" if bias else "(V){{}}"
        if adds is not None:
            start += f" + r[at_r + {{p}} * {adds.column} + {{j}}]"
        body = "".join(
            f"{_unrolled(length)}for (int k = 0; k < {length}; k++) {{"
            f"const V *q = x + at + {window.offset(source, *run)} + k;"
            f"const float *u = w + o * {inner} + {number * length} + k;"
            f"{products(j, p, f'u[{{0}} * {inner}]', f'q[{{0}} * {step}]')}}}\n"
            for number, run in enumerate(runs)
        )
        text.append(
            f"{head} {{ const int at = i * {window.strides[0] * source.row} + c * {step};\n"
            f"{heads} {{ const int to = i * {result.row} + c * {result.column} + o;"
            + (f"const int at_r = i * {adds.row} + c * {adds.column} + o;" if adds else "")
            + sums(j, p, start)
            + "\n"
            + body
            + "".join(
                f"y[to + {b * result.column + a}] = s{a}_{b};"
                for a, b in product(range(j), range(p))
            )
            + "}}\n"
        )
    return f"for (int i = 0; i < {rows}; i++) {{\n{''.join(text)}}}\n"


def convolve_back(source: Image, result: Image, window: Window, adds: bool) -> str:
    """`x (+)= w * y`: the gradient x of an input from that of the result y."""
    rows, columns = _rows(source, result, window)
    runs, length = _runs(window, source.channels)
    inner = window.size[0] * window.size[1] * source.channels
    step, text = window.strides[1] * source.column, []
    # No two pixels of a tile may add to one element.
    j_most, p_most = tile(length, columns)
    if length > step:
        j_most = min(j_most, step)
    for number, run in enumerate(runs):
        for (head, p), (heads, j) in product(
            loops("c", columns, p_most), loops("k", length, j_most)
        ):
            place = f"x[at + {{p}} * {step} + {{j}}]"
            cells = list(product(range(j), range(p)))
            text.append(
                f"{head} {{ const int to = i * {result.row} + c * {result.column};\n{heads} {{"
                f"const int at = i * {window.strides[0] * source.row} + c * {step}"
                f" + {window.offset(source, *run)} + k;"
                + sums(j, p, place if adds else "(V){{}}")
                + f"\nfor (int o = 0; o < {result.channels}; o++) {{"
                f"const float *u = w + o * {inner} + {number * length} + k;"
                "const V *q = y + to + o;"
                + products(j, p, "u[{0}]", f"q[{{0}} * {result.column}]")
                + "}\n"
                + "".join(f"{place.format(j=a, p=b)} = s{a}_{b};" for a, b in cells)
                + "}}\n"
            )
    return f"for (int i = 0; i < {rows}; i++) {{\n{''.join(text)}}}\n"


def convolve_weights(source: Image, result: Image, window: Window, bias: bool) -> str:
    """`w += x * y`, `b += y`: the gradients of the weights, a vector each."""
    rows, columns = _rows(source, result, window)
    at_once = min(rows, max(1, 16 // columns))  # rows, which both stay in the nearest cache
    parts = list(pieces(columns, 16)) if rows == 1 else [(0, columns, columns)]
    runs, length = _runs(window, source.channels)
    inner = window.size[0] * window.size[1] * source.channels
    j_most, k_most = tile(result.channels, length)
    step, text = window.strides[1] * source.column, []
    for low, high, size in parts:
        text.append(f"for (int c0 = {low}; c0 < {high}; c0 += {size}) {{")
        pixels = (
            f"for (int i = i0; i < end; i++) for (int c = c0; c < c0 + {size}; c++) {{"
            f"const V *q = x + i * {window.strides[0] * source.row} + c * {step};"
            f"const V *d = y + i * {result.row} + c * {result.column};"
        )
        if bias:
            for heads, j in loops("o", result.channels, 8):
                text.append(
                    f"{heads} {{"
                    + sums(j, 1, "b[o + {j}]")
                    + pixels
                    + "(void)q;"
                    + "".join(f"s{a}_0 += d[o + {a}];" for a in range(j))
                    + "}"
                    + "".join(f"b[o + {a}] = s{a}_0;" for a in range(j))
                    + "}\n"
                )
        for number, run in enumerate(runs):
            for (head, j), (heads, p) in product(
                loops("o", result.channels, j_most), loops("k", length, k_most)
            ):
                place = f"w[(o + {{j}}) * {inner} + {number * length} + k + {{p}}]"
                text.append(
                    f"{head} {heads} {{"
                    + sums(j, p, place)
                    + "\n"
                    + pixels
                    + f"q += {window.offset(source, *run)} + k; d += o;"
                    + products(j, p, "d[{0}]", "q[{0}]")
                    + "}\n"
                    + "".join(
                        f"{place.format(j=a, p=b)} = s{a}_{b};"
                        for a, b in product(range(j), range(p))
                    )
                    + "}\n"
                )
        text.append("}\n")
    return (
        f"for (int i0 = 0; i0 < {rows}; i0 += {at_once}) {{"
        f"const int end = i0 + {at_once} < {rows} ? i0 + {at_once} : {rows};\n{''.join(text)}}}\n"
    )


# Of a depthwise convolution, a tile is some pixels of a row, of one channel.


def _taps(source: Image, window: Window, pixels: int, row: int) -> dict[int, list[tuple[int, int]]]:
    """For each element of a row of the source that a tile sees: which pixels see it through what.

    Offsets in vectors, with pairs of a pixel and a column of the window.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    for p, column in product(range(pixels), range(window.size[1])):
        offset = window.offset(source, row, column) + p * window.strides[1] * source.column
        found.setdefault(offset, []).append((p, column))
    return found


def depthwise(source: Image, result: Image, window: Window, bias: bool, flips: bool = False,
              stored: str = "d[D] = s") -> str:  # fmt: skip
    """`y = x * w + b`, w [window][channels].

    Args:
        source: The image x.
        result: The image y.
        window: How it slides.
        bias: Whether there is one.
        flips: Whether the window is turned, for the gradient of the input of another one.
        stored: What is done with each sum `s` for an element `d[D]` of the result.
    """
    multiplier = result.channels // source.channels
    height, width = window.size
    rows, columns = result.box_size
    text = []
    for head, pixels in loops("c", columns, SUMS if width <= 3 else SUMS // 2):
        body = sums(1, pixels, "b[o] + (V){{}}" if bias else "(V){{}}")
        for row in range(height):
            places = [row * width + column for column in range(width)]
            if flips:
                places = [height * width - 1 - place for place in places]
            body += "{" + "".join(
                f"V w{column} = w[{place * result.channels} + o] + (V){{}}; HOLD(w{column});"
                for column, place in enumerate(places)
            )
            for offset, uses in sorted(_taps(source, window, pixels, row).items()):
                body += (
                    f"{{ V v = q[{offset}]; HOLD(v);"
                    + "".join(f"s0_{p} += w{column} * v;" for p, column in uses)
                    + "}"
                )
            body += "}\n"
        text.append(
            f"{head} {{ const V *q = x + i * {window.strides[0] * source.row}"
            f" + c * {window.strides[1] * source.column} + o / {multiplier};"
            f"V *d = y + i * {result.row} + c * {result.column} + o;\n{body}"
            + "".join(
                f"{{ enum {{ D = {p * result.column} }}; const V s = s0_{p}; {stored}; }}"
                for p in range(pixels)
            )
            + "}\n"
        )
    return (
        f"for (int i = 0; i < {rows}; i++) for (int o = 0; o < {result.channels}; o++) {{\n"
        f"{''.join(text)}}}\n"
    )


def depthwise_back(source: Image, result: Image, window: Window) -> str:
    """`x += w * y`, for any strides."""
    multiplier = result.channels // source.channels
    rows, columns = result.box_size
    text = []
    for head, pixels in loops("c", columns, 4):
        body = "".join(f"V y{p} = d[{p * result.column}];" for p in range(pixels))
        for row in range(window.size[0]):
            for offset, uses in sorted(_taps(source, window, pixels, row).items()):
                total = " + ".join(
                    f"w[{(row * window.size[1] + column) * result.channels} + o] * y{p}"
                    for p, column in uses
                )
                body += f"q[{offset}] += {total};"
        text.append(
            f"{head} {{ V *q = x + i * {window.strides[0] * source.row}"
            f" + c * {window.strides[1] * source.column} + o / {multiplier};"
            f"const V *d = y + i * {result.row} + c * {result.column} + o;\n{body}}}\n"
        )
    return (
        f"for (int i = 0; i < {rows}; i++) for (int o = 0; o < {result.channels}; o++) {{\n"
        f"{''.join(text)}}}\n"
    )


def depthwise_weights(source: Image, result: Image, window: Window, bias: bool) -> str:
    """`w += x * y`, `b += y`: the gradients of the weights, a vector each."""
    multiplier = result.channels // source.channels
    height, width = window.size
    rows, columns = result.box_size
    text = ["{ V t = b[o];" if bias else "{"]
    at_once = max(1, SUMS // width)  # rows of the window
    for low in range(0, height, at_once):
        window_rows = range(low, min(height, low + at_once))
        places = list(product(window_rows, range(width)))
        text.append(
            "".join(
                f"V s{row}_{column} = w[{(row * width + column) * result.channels} + o];"
                for row, column in places
            )
        )
        text.append(f"for (int i = 0; i < {rows}; i++) {{\n")
        for head, pixels in loops("c", columns, 3):
            body = "".join(f"V y{p} = d[{p * result.column}]; HOLD(y{p});" for p in range(pixels))
            if bias and low == 0:
                body += "".join(f"t += y{p};" for p in range(pixels))
            for row in window_rows:
                for offset, uses in sorted(_taps(source, window, pixels, row).items()):
                    body += (
                        f"{{ V v = q[{offset}]; HOLD(v);"
                        + "".join(f"s{row}_{column} += y{p} * v;" for p, column in uses)
                        + "}"
                    )
            text.append(
                f"{head} {{ const V *q = x + i * {window.strides[0] * source.row}"
                f" + c * {window.strides[1] * source.column} + o / {multiplier};"
                f"const V *d = y + i * {result.row} + c * {result.column} + o;\n{body}}}\n"
            )
        text.append(
            "}"
            + "".join(
                f"w[{(row * width + column) * result.channels} + o] = s{row}_{column};"
                for row, column in places
            )
        )
    text.append("b[o] = t; }\n" if bias else "}\n")
    return f"for (int o = 0; o < {result.channels}; o++) {''.join(text)}"


def elementwise(box: Box, images: dict[str, Image], statement: str) -> str:
    """A statement for each element of a box, where those of `x` and `y` are `x[X]` and `y[Y]`."""
    rows, columns = box[1] - box[0], box[3] - box[2]
    (channels,) = {image.channels for image in images.values()}
    places = "".join(
        f"const int {name.upper()} = {image.at(box[0], box[2])} + i * {image.row} + k;"
        for name, image in images.items()
    )
    return (
        f"for (int i = 0; i < {rows}; i++) for (int k = 0; k < {columns * channels}; k++) {{"
        f"{places}{statement};}}\n"
    )


def copy(source: Image, result: Image, moved: tuple[int, int, int], back: str = "") -> str:
    """Copy the source into the result, or what the result's box holds of it.

    Args:
        source: The image x.
        result: The image y.
        moved: The row, column and channel of the result where the source's first element lies.
        back: `=` or `+=` to give the source's gradient what is the result's instead.
    """
    down, right, deeper = moved
    top, bottom = max(source.box[0], result.box[0] - down), min(source.box[1], result.box[1] - down)
    left, end = max(source.box[2], result.box[2] - right), min(source.box[3], result.box[3] - right)
    first, last = max(0, -deeper), min(source.channels, result.channels - deeper)
    x = f"x[{source.at(top, left)} + i * {source.row} + c * {source.column} + k]"
    y = (
        f"y[{result.at(top + down, left + right, deeper)} + i * {result.row}"
        f" + c * {result.column} + k]"
    )
    return (
        f"for (int i = 0; i < {bottom - top}; i++) for (int c = 0; c < {end - left}; c++)"
        f" for (int k = {first}; k < {last}; k++) {f'{x} {back} {y}' if back else f'{y} = {x}'};\n"
    )


def _places(names: str, images: dict[str, Image], row: str, column: str) -> str:
    """The places of an element in several images: `X` in `x`."""
    return "".join(
        f"const int {name.upper()} = {image.at(0, 0)} + {row} * {image.row}"
        f" + {column} * {image.column} + k;"
        for name, image in images.items()
        if name in names
    )


def pool(window: Window, images: dict[str, Image], before: str, each: str, after: str) -> str:
    """Statements for each window and channel, before and after one for each of its elements.

    Args:
        window: How it slides.
        images: Of the pointers x and g, which it slides over, and y and d, of the results.
        before: A statement in which the places are `Y` and `D`.
        each: One in which they are also `X` and `G`.
        after: One as `before`.
    """
    (top, _), (left, _) = window.padding
    source, result = images["x"], images["y"]
    outside = (
        f"if (row < 0 || row >= {source.height} || column < 0 || column >= {source.width})"
        " continue;"
        if any(map(sum, window.padding))
        else ""
    )
    elements = (
        f"for (int u = 0; u < {window.size[0]}; u++) for (int v = 0; v < {window.size[1]}; v++) {{"
        f"const int row = i * {window.strides[0]} + u - {top};"
        f"const int column = c * {window.strides[1]} + v - {left};"
        f"{outside}{_places('xg', images, 'row', 'column')}"
    )
    return (
        f"for (int i = {result.box[0]}; i < {result.box[1]}; i++)"
        f" for (int c = {result.box[2]}; c < {result.box[3]}; c++)"
        f" for (int k = 0; k < {result.channels}; k++) {{ {_places('yd', images, 'i', 'c')}\n"
        f"{before}{elements}{each}}}\n{after}}}\n"
    )


LARGEST = "V s = -3e38f + (V){};", "s = PICK(x[X] > s, x[X], s);", "y[Y] = s;"
MEAN = "V s = {}; float n = 0;", "s += x[X]; n += 1;", "y[Y] = s * (1 / n);"
# The gradient goes to the first of the largest elements.
LARGEST_BACK = (
    "M open = ~(M){};",
    "M hit = (x[X] == y[Y]) & open; open &= ~hit; g[G] += (V)((M)d[D] & hit);",
    "",
)


def mean_back(window: Window, images: dict[str, Image]) -> str:
    """`x += y / n` for the elements x of a window whose mean is y."""
    count = pool(window, images, "float n = 0;", "(void)X; n += 1;", "@")
    share = pool(window, images, "const V s = y[Y] * (1 / n);", "x[X] += s;", "")
    elements = share[share.index("const V s") :]
    return count.replace("@}\n", elements)


def clear_margin(image: Image) -> str:
    """Make what lies around an image y zero."""
    (top, _), (left, _) = image.margin
    return (
        f"for (int i = {-top}; i < {image.height + image.margin[0][1]}; i++)"
        f" for (int c = {-left}; c < {image.width + image.margin[1][1]}; c++)"
        f" if (i < 0 || i >= {image.height} || c < 0 || c >= {image.width})"
        f" for (int k = 0; k < {image.channels}; k++)"
        f" y[{image.at(0, 0)} + i * {image.row} + c * {image.column} + k] = (V){{}};\n"
    )
