"""Layers with weights on processors with vectors: x86-64 with AVX2, AArch64 with NEON.

Everywhere four outputs meet four numbers at once, sixteen weights that lie output after output. In
a convolution the numbers are the same for all outputs; in a depthwise one they are *cells*, a
column of its channel each. What a processor does with them is six lines of `VECTORS`; without
vectors it is plain C.
"""

from __future__ import annotations

import numpy as np

from edgegolf.backends.c.layer import Layer, Map, ctype, plus
from edgegolf.backends.c.source import Source
from edgegolf.backends.c.windows import Geometry, Seen
from edgegolf.ir import Node, Tensor
from edgegolf.ir.tensor import Array

#: Rows that a cell has.
CELL = 4

#: Quads whose sums are in registers together.
MOST_QUADS = 6

VECTORS = """\
/* `quad` is sums of four outputs; START what it begins with; SPREAD four numbers for each output,
   CELLS four for each; `total` stores it. */
#define QUAD(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \\
  a, e, i, m, b, f, j, n, c, g, k, o, d, h, l, p
#define LIFT 0
typedef int8_t lifted;
static inline int32_t word(const void *x) {
  int32_t a;
  memcpy(&a, x, 4);
  return a;
}
#if defined(__AVX2__)
#include <immintrin.h>
typedef int16_t weight;
typedef __m256i quad, numbers;
#define START(a, b, c, d) a, 0, b, 0, c, 0, d, 0
#define STARTS 8
#define LOAD(x) _mm256_loadu_si256((const __m256i *)(const void *)(x))
#define SPREAD(x) _mm256_cvtepi8_epi16(_mm_set1_epi32(word(x)))
#define CELLS(x) _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(x)))
static inline quad add(quad a, numbers x, const weight *w) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
  return _mm256_dpwssd_epi32(a, x, LOAD(w));
#elif defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(a, x, LOAD(w));
#else
  return _mm256_add_epi32(a, _mm256_madd_epi16(x, LOAD(w)));
#endif
}
static inline void total(int32_t *sums, quad a) {
  _mm_storeu_si128((__m128i *)(void *)sums,
                   _mm_hadd_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)));
}
#elif defined(__aarch64__)
#include <arm_neon.h>
typedef int8_t weight;
typedef int8x16_t numbers;
#define SPREAD(x) vreinterpretq_s8_s32(vdupq_n_s32(word(x)))
#define CELLS(x) vld1q_s8(x)
#if defined(__ARM_FEATURE_DOTPROD)
typedef int32x4_t quad;
#define START(a, b, c, d) a, b, c, d
#define STARTS 4
#define LOAD(x) vld1q_s32(x)
static inline quad add(quad a, numbers x, const weight *w) { return vdotq_s32(a, x, vld1q_s8(w)); }
static inline void total(int32_t *sums, quad a) { vst1q_s32(sums, a); }
#else
typedef int32x4x2_t quad;
#define START(a, b, c, d) a, 0, b, 0, c, 0, d, 0
#define STARTS 8
#define LOAD(x) vld1q_s32_x2(x)
static inline quad add(quad a, numbers x, const weight *w) {
  const int8x16_t v = vld1q_s8(w);
  a.val[0] = vpadalq_s16(a.val[0], vmull_s8(vget_low_s8(x), vget_low_s8(v)));
  a.val[1] = vpadalq_s16(a.val[1], vmull_high_s8(x, v));
  return a;
}
#define add2(a, x, w, y, v) add_twice(a, x, vld1q_s8(w), y, vld1q_s8(v))
static inline quad add_twice(quad a, numbers x, numbers w, numbers y, numbers v) {
  const int16x8_t e = vmull_s8(vget_low_s8(x), vget_low_s8(w)), o = vmull_high_s8(x, w);
  a.val[0] = vpadalq_s16(a.val[0], vmlal_s8(e, vget_low_s8(y), vget_low_s8(v)));
  a.val[1] = vpadalq_s16(a.val[1], vmlal_high_s8(o, y, v));
  return a;
}
static inline void total(int32_t *sums, quad a) {
  vst1q_s32(sums, vpaddq_s32(a.val[0], a.val[1]));
}
#endif
#else
typedef int8_t weight;
typedef struct { int32_t of[4]; } quad;
typedef struct { int8_t of[16]; } numbers;
#define START(a, b, c, d) a, b, c, d
#define STARTS 4
static inline quad LOAD(const int32_t *x) {
  quad a;
  memcpy(&a, x, 16);
  return a;
}
static inline numbers CELLS(const int8_t *x) {
  numbers r;
  memcpy(&r, x, 16);
  return r;
}
static inline numbers SPREAD(const int8_t *x) {
  numbers r;
  for (int i = 0; i < 16; i++) r.of[i] = x[i % 4];
  return r;
}
static inline quad add(quad a, numbers x, const weight *w) {
  for (int i = 0; i < 16; i++) a.of[i / 4] += x.of[i] * w[i];
  return a;
}
static inline void total(int32_t *sums, quad a) { memcpy(sums, &a, 16); }
#endif
#if !defined(add2)
#define add2(a, x, w, y, v) add(add(a, x, w), y, v)
#endif
"""


def sums(
    layer: Layer, target: str, rows: Array, pointer: str, start: Array, cells: int = 0
) -> None:
    """Add the sums of all outputs of a pixel.

    Args:
        layer: Where to.
        target: C that points to where they go, and what may be overwritten up to a multiple of
            four.
        rows: Weights, `[outputs, numbers]`.
        pointer: C that points to the first number.
        start: What is added to each sum.
        cells: Of how many channels they are, if there is a cell for each output; else 0.
    """
    quads = -(-len(rows) // 4)
    block = min(range(min(quads, MOST_QUADS), 0, -1), key=lambda n: (-(-quads // n) * (n + 2), -n))
    blocks = -(-quads // block)
    outputs, size = 4 * block * blocks, -(-rows.shape[1] // 4)
    padded = np.zeros((outputs, 4 * size), np.int64)
    padded[: len(rows), : rows.shape[1]] = rows
    starts = np.zeros(outputs, np.int64)
    starts[: len(rows)] = start
    # [block, four numbers, quad, number, output]
    lying = padded.reshape(blocks, block, 4, size, 4).transpose(0, 3, 1, 4, 2)
    weights, _ = layer.parameter(_quads(layer.source, lying))
    begin, _ = layer.parameter(_starts(layer.source, starts))
    at = ""
    if blocks > 1:
        at = f" + g * {block}"
        layer.add(f"for (unsigned g = 0; g < {blocks}; g++) {{")
        weights = f"{weights} + g * {16 * block * size}"
    cell = f" + g * {16 * block}" if blocks > 1 and cells else ""
    layer.add(
        f"const int8_t *q = (const int8_t *){pointer}{cell};",
        f"const weight *w = {weights};",
        *[f"quad a{i} = LOAD({begin} + (unsigned)STARTS * ({i}u{at}));" for i in range(block)],
    )
    step = 4 * cells or 4
    at_once = rows.min() > -128  # then two products are of 16 bits

    def adds(count: int) -> list[str]:
        lines = []
        if not cells:
            names = [f"{n} = SPREAD(q + {4 * i})" for i, n in enumerate("xz"[:count])]
            lines.append(f"const numbers {', '.join(names)};")
        for i in range(block):
            given = [f"{f'CELLS(q + {n * step + 16 * i})' if cells else 'xz'[n]}, "
                     f"w + {16 * (i + n * block)}" for n in range(count)]  # fmt: skip
            if at_once and count > 1:
                lines.append(f"a{i} = add2(a{i}, {', '.join(given)});")
            else:
                lines += [f"a{i} = add(a{i}, {each});" for each in given]
        return lines

    if size > 1:
        turn = f"k++, q += {2 * step}, w += {32 * block}"
        layer.add(f"for (unsigned k = 0; k < {size // 2}; {turn}) {{", *adds(2), "}")
    if size % 2:
        layer.add("{", *adds(1), "}")
    layer.add(*[f"total({target} + 4 * ({i}u{at}), a{i});" for i in range(block)])
    if blocks > 1:
        layer.add("}")


def _quads(source: Source, lying: Array) -> tuple[str, str]:
    lines = [f"QUAD({', '.join(map(str, four))}),"
             for four in lying.reshape(-1, 16).tolist()]  # fmt: skip
    return source.written(lines, "w", "weight", lying.size)


def _starts(source: Source, starts: Array) -> tuple[str, str]:
    lines = [f"START({', '.join(map(str, four))})," for four in starts.reshape(-1, 4).tolist()]
    return source.written(lines, "b", "int32", 4 * starts.size)


def fits_cells(node: Node) -> bool:
    """Whether what a depthwise convolution sees can be cells."""
    weights = node.filter
    return (
        weights.shape[1] <= CELL and weights.shape[3] == node.source.shape[3]
        and weights.dtype == node.source.dtype == "int8"
    )  # fmt: skip


def cells(
    layer: Layer, tensor: Tensor, geometry: Geometry, before: Map | None, fill: int,
    limits: tuple[int, int],
) -> Seen:  # fmt: skip
    """Begin the loops over rows and columns with cells of the rows that a window sees.

    Args as in `windows.strip`. A new row moves the older ones of each cell a byte down.
    """
    x = layer.read(tensor)
    height, width, channels = geometry.image
    output = tensor if before is None else before.output
    (above, _), (left, _) = geometry.padding
    length = min(width, geometry.columns - left) * channels
    size, stride = geometry.size[0], geometry.strides[0]
    count = geometry.columns * channels
    layer.array("uint32_t", "strip", count + 4 * MOST_QUADS)
    pushed = "e[k] = e[k] >> 8 | (uint32_t)(uint8_t){} << 24;"
    value = "a" if before is None else before.expression(layer, "a")
    layer.add(
        f"for (int k = 0; k < {count}; k++) strip[k] = 0x{(fill & 255) * 0x1010101:x};",
        f"for (int v = 0; v < {geometry.outputs[0]}; v++) {{",
        f"uint32_t *e = strip + {left * channels};",
        f"for (int i = v ? {max(size - stride, 0)} : {above}; i < {size}; i++) {{",
        f"const int r = v * {stride} + i{plus(-above)};",
    )
    if geometry.padding[0][1]:
        layer.add(f"if (r >= {height}) {{", f"for (int k = 0; k < {length}; k++) "
                  + pushed.format(f"({fill})"), "continue;", "}")  # fmt: skip
    layer.add(f"const {ctype(tensor)} *q = {x} + r * {width * channels};",
              f"for (int k = 0; k < {length}; k++) {{", "const int a = q[k];",
              pushed.format(f"({value})"), "}", "}")  # fmt: skip
    turn = f"u++, p += {geometry.strides[1] * channels}"
    layer.add("const uint32_t *p = strip;",
              f"for (int u = 0; u < {geometry.outputs[1]}; {turn}) {{")  # fmt: skip
    return Seen("p", output.dtype, limits, geometry.size, channels, 0, True, True, True)
