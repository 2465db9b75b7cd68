"""What a window sees at each pixel: where it lies in memory, or a copy with what pads it."""

from __future__ import annotations

from dataclasses import dataclass

from edgegolf.backends.c.layer import Layer, Map, ctype, plus
from edgegolf.ir import Tensor
from edgegolf.ir.ops import NO_PADDING, Padding, Pair
from edgegolf.ir.tensor import Shape


@dataclass(frozen=True)
class Geometry:
    """How a window moves over an image."""

    image: Shape  # [height, width, channels]
    size: Pair  # of the window
    outputs: Pair  # how many positions it has
    strides: Pair = (1, 1)  # from one to the next
    padding: Padding = NO_PADDING  # around the image
    dilation: Pair = (1, 1)  # steps inside the window

    @property
    def elements(self) -> int:
        """That a window sees."""
        return self.size[0] * self.size[1] * self.image[2]

    @property
    def columns(self) -> int:
        """That all windows of a row see, padding included."""
        return (self.outputs[1] - 1) * self.strides[1] + self.size[1]

    def lag(self, channels: int, copies: bool, in_rows: bool = False) -> int:
        """How many bytes below the image the result may begin so that nothing unread is lost.

        Args:
            channels: Of the result.
            copies: Whether all that a pixel needs is read before its result is written.
            in_rows: Whether all that a row needs is.
        """
        if in_rows:
            height, width, depth = self.image
            ends = ((v + 1) * self.outputs[1] * channels for v in range(self.outputs[0]))
            read = (
                max(v * self.strides[0] - self.padding[0][0] + self.size[0], 0)
                for v in range(self.outputs[0])
            )
            return max(
                (end - rows * width * depth
                 for end, rows in zip(ends, read, strict=True) if rows < height),
                default=-(2**30),
            )  # fmt: skip
        first = []
        for row in range(self.outputs[0]):
            for column in range(self.outputs[1]):
                top = max(row * self.strides[0] - self.padding[0][0], 0)
                left = max(column * self.strides[1] - self.padding[1][0], 0)
                first.append((top * self.image[1] + left) * self.image[2])
        worst, unread = -(2**60), 2**60
        for pixel in range(len(first) - 1, -1, -1):
            if not copies:
                unread = min(unread, first[pixel])
            worst = max(worst, (pixel + 1) * channels - unread)
            unread = min(unread, first[pixel])
        return worst


@dataclass(frozen=True)
class Seen:
    """What lies under a window."""

    pointer: str  # C that points to its first element
    dtype: str  # of the elements
    limits: tuple[int, int]  # the smallest and the largest one
    size: Pair  # of the window
    channels: int  # at each of its places
    row: int  # elements from one row to the next
    is_copy: bool = False  # whether it is one, so that the original may be overwritten
    is_turned: bool = False  # whether it lies column by column
    is_cells: bool = False  # whether as `vectors.cells`
    # Elements from one pixel to the next where no loop over them was begun, else 0.
    step: int = 0

    @property
    def column(self) -> int:
        """Elements from one column to the next."""
        return self.channels

    @property
    def is_whole(self) -> bool:
        """Whether all lies in one piece."""
        return self.size[0] == 1 or self.row == self.size[1] * self.channels

    def runs(self, length: int | None = None) -> tuple[int, int, int]:
        """Pieces, the elements of each, and those from one to the next.

        Args:
            length: Of the channels at each place that count; all if None.
        """
        if length is not None:
            return self.size[0] * self.size[1], length, self.channels
        if self.is_whole:
            return 1, self.size[0] * self.size[1] * self.channels, 0
        return self.size[0], self.size[1] * self.channels, self.row


def slide(
    layer: Layer, tensor: Tensor, geometry: Geometry, before: Map | None, fill: int,
    limits: tuple[int, int], copies: bool = False,
) -> Seen:  # fmt: skip
    """Begin the loop over the pixels of a result; returns what the window sees there.

    Args:
        layer: Where to.
        tensor: What the window slides over, [height, width, channels].
        geometry: How.
        before: What becomes of each element first.
        fill: What pads, after that.
        limits: Of the elements, after that.
        copies: Whether a copy is needed in any case.
    """
    x = layer.read(tensor)
    rows, columns = geometry.outputs
    if rows > 1:
        layer.add(f"for (int v = 0; v < {rows}; v++) {{")
    if columns > 1:
        layer.add(f"for (int u = 0; u < {columns}; u++) {{")
    _, width, channels = geometry.image
    output = tensor if before is None else before.output
    pads = any(map(any, geometry.padding))
    if not (pads or copies or before is not None or geometry.dilation != (1, 1)):
        steps = [
            f"{name} * {stride}"
            for name, count, stride in (
                ("v", rows, geometry.strides[0] * width * channels),
                ("u", columns, geometry.strides[1] * channels),
            )
            if count > 1
        ]
        pointer = " + ".join([x, *steps])
        if steps:
            layer.add(f"const {ctype(tensor)} *p = {pointer};")
            pointer = "p"
        return Seen(pointer, tensor.dtype, limits, geometry.size, channels, width * channels)
    _copy(layer, x, geometry, before, fill, pads, ctype(output))
    row = geometry.size[1] * channels
    return Seen("p", output.dtype, limits, geometry.size, channels, row, True)


def strip(
    layer: Layer, tensor: Tensor, geometry: Geometry, before: Map | None, fill: int,
    limits: tuple[int, int], is_planar: bool = False,
) -> Seen:  # fmt: skip
    """The same with a copy of the rows that a window sees, for which each is read but once.

    Column after column lies in it, of each all rows, so that a window is in one piece. The next
    row lies after the last one, where a row of the next column was that is not needed any more. If
    it is planar, channel after channel lies in it instead, and no loop over columns is begun.
    """
    x = layer.read(tensor)
    height, width, channels = geometry.image
    size, strides, columns = geometry.size, geometry.strides, geometry.columns
    output = tensor if before is None else before.output
    kind, lift = ctype(output), ""
    if is_planar and kind == "int8_t":
        kind, lift = "lifted", " + LIFT"
    row, column = (columns, 1) if is_planar else (channels, size[0] * channels)
    channel = size[0] * columns if is_planar else 1
    length = size[0] * columns * channels + (geometry.outputs[0] - 1) * strides[0] * row
    (above, _), (left, _) = geometry.padding
    inside = min(width, columns - left)
    layer.array(kind, "strip", length + 3 * is_planar)  # words are read from the last plane
    layer.add(
        f"for (int v = 0; v < {geometry.outputs[0]}; v++) {{",
        f"for (int i = v ? {max(size[0] - strides[0], 0)} : 0; i < {size[0]}; i++) {{",
        f"const int r = v * {strides[0]} + i{plus(-above)};",
        f"{kind} *e = strip + (r{plus(above)}) * {row};",
    )
    right = columns - left - inside
    begin = f"{x} + r * {width * channels}"

    def cleared(first: int, count: int) -> str:
        """C that pads some columns."""
        if is_planar:
            return f"memset(f{plus(first)}, {fill}{lift}, {count});"
        return (f"for (int s = {first}; s < {first + count}; s++) "
                f"memset(e + s * {column}, {fill}, {channels});")  # fmt: skip

    if any(geometry.padding[0]):
        layer.add(f"if (r < 0 || r >= {height}) {{")
        if is_planar:
            layer.add(f"{kind} *f = e;",
                      f"for (int k = 0; k < {channels}; k++, f += {channel}) {cleared(0, columns)}",
                      "continue;", "}")  # fmt: skip
        else:
            layer.add(cleared(0, columns), "continue;", "}")
    if not is_planar:
        layer.add(*[cleared(*each) for each in ((0, left), (left + inside, right)) if each[1]])
    if before is None and not is_planar:
        layer.add(f"for (int s = 0; s < {inside}; s++) memcpy(e + (s{plus(left)}) * {column}, "
                  f"{begin} + s * {channels}, {channels});", "}")  # fmt: skip
    else:
        value = "a" if before is None else before.expression(layer, "a")
        layer.add(f"for (int k = 0; k < {channels}; k++) {{",
                  f"const {ctype(tensor)} *q = {begin} + k;",
                  f"{kind} *f = e + {left * column} + k * {channel};")  # fmt: skip
        if is_planar:
            layer.add(*[cleared(*each) for each in ((-left, left), (inside, right)) if each[1]])
        layer.add(f"for (int s = 0; s < {inside}; s++, q += {channels}, f += {column}) {{",
                  "const int a = *q;", f"*f = ({kind})({value}{lift});", "}", "}", "}")  # fmt: skip
    layer.add(f"const {kind} *p = strip + v * {strides[0] * row};")
    step = strides[1] * column if layer.vectors else 0
    if not is_planar and not step:
        layer.add(f"for (int u = 0; u < {geometry.outputs[1]}; u++, p += {strides[1] * column}) {{")
    row = size[1] * channels
    return Seen("p", output.dtype, limits, size, channels, row, True, True, step=step)


@dataclass(frozen=True)
class Row:
    """Pixels side by side, of which all sums are computed before anything becomes of them."""

    columns: int  # how many
    first: str  # C for the number of the first one
    is_loop: bool  # whether there is a loop over columns, `u`
    final: str = ""  # C that points to where results go in the end, if they go elsewhere first

    def open(self, layer: Layer) -> None:
        """Begin the loop."""
        if self.is_loop:
            layer.add(f"for (int u = 0; u < {self.columns}; u++) {{")
        self.enter(layer)

    def enter(self, layer: Layer) -> None:
        """Know which pixel it is in the loop."""
        layer.pixel = f"(unsigned)({self.first}{' + u' * self.is_loop})"

    def begin(self, layer: Layer, channels: int, each: bool) -> None:
        """Begin loops over all results: each pixel's channels `o`, or those of all pixels."""
        layer.pixel = f"(unsigned)({self.first})"
        if each:
            self.open(layer)
        count = -(-channels // 4) * 4 if each else self.columns * channels
        layer.add(f"for (unsigned o = 0; o < {count}; o++) {{")


def close(layer: Layer, geometry: Geometry) -> None:
    """End the loop over pixels."""
    layer.add(*["}" for count in geometry.outputs if count > 1])


def _copy(
    layer: Layer, x: str, geometry: Geometry, before: Map | None, fill: int, pads: bool, kind: str
) -> None:
    """Copy what the window sees to an array `p`."""
    height, width, channels = geometry.image

    def place(name: str, other: str, axis: int) -> str:
        count, stride, pad, step = (
            geometry.outputs[axis], geometry.strides[axis], geometry.padding[axis][0],
            geometry.dilation[axis],
        )  # fmt: skip
        first = f"{name} * {stride} - {pad}" if count > 1 else f"{-pad}"
        return f"{first} + {other} * {step}"

    layer.array(kind, "p", geometry.elements)
    layer.add(
        f"{kind} *e = p;",
        f"for (int i = 0; i < {geometry.size[0]}; i++) {{",
        f"const int r = {place('v', 'i', 0)};",
        f"for (int j = 0; j < {geometry.size[1]}; j++, e += {channels}) {{",
        f"const int s = {place('u', 'j', 1)};",
    )
    source = f"{x} + (r * {width} + s) * {channels}"
    if pads:
        layer.add(f"if (r < 0 || r >= {height} || s < 0 || s >= {width}) {{",
                  f"memset(e, {fill}, {channels});", "continue;", "}")  # fmt: skip
    if before is None:
        layer.add(f"memcpy(e, {source}, {channels});")
    else:
        value = before.expression(layer, "q[k]")
        layer.add(f"const {layer_type(layer, x)} *q = {source};",
                  f"for (int k = 0; k < {channels}; k++) e[k] = ({kind}){value};")  # fmt: skip
    layer.add("}", "}")


def layer_type(layer: Layer, x: str) -> str:
    """C's type of what a parameter points to."""
    return ctype(layer.inputs[int(x[1:])])
