"""Layers with weights on processors with vectors: x86-64 with AVX2, AArch64 with NEON.

Everywhere four outputs meet four numbers at once, sixteen weights that lie output after output. In
a convolution the numbers are the same for all outputs; in a depthwise one they are *cells*, a
column of its channel each. What a processor does with them is six lines of `VECTORS`; without
vectors it is plain C.
"""

from __future__ import annotations

import numpy as np

from edgegolf.backends.c.elementwise import linear
from edgegolf.backends.c.layer import Finish, Layer, Map, ctype, plus, stored
from edgegolf.backends.c.requant import rounded
from edgegolf.backends.c.source import Source
from edgegolf.backends.c.windows import Geometry, Row, Seen
from edgegolf.ir import Node, Tensor
from edgegolf.ir.fixed_point import Rounding
from edgegolf.ir.lowering import lower
from edgegolf.ir.ops import Add, Sub
from edgegolf.ir.tensor import Array

#: Rows that a cell has.
CELL = 4

#: Quads of a pixel, and of several, whose sums are in registers together.
MOST_QUADS, MOST_SUMS = 6, 10
#: Vectors of weights that stay in registers for a row.
MOST_HELD = 15
#: Steps that are written one after the other, not as a loop.
MOST_STEPS = 16
#: Results that are made together.
BYTES = 16

_COMMON = """\
/* `quad` is sums of four outputs; START what it begins with; `sixteen` are numbers, of which all
   outputs see a LANE of four, CELLS four for each output; WEIGHTS sixteen; `total` stores sums.
   add2 to add4, and step2 to step4, add products for which sums of 16 bits suffice. */
#define QUAD(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \\
  a, e, i, m, b, f, j, n, c, g, k, o, d, h, l, p
static inline int32_t word(const void *x) {
  int32_t a;
  memcpy(&a, x, 4);
  return a;
}
#if defined(__GNUC__) && defined(__aarch64__)
#define HIDE(p) __asm__("" : "+r"(p)) /* no address of its own, nothing kept */
#define PAUSE __asm__ volatile("") /* loads from beyond would take registers */
#else
#define HIDE(p)
#define PAUSE
#endif
"""

_PLAIN = """\
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
#define WEIGHTS CELLS
static inline numbers LANE(const int8_t *x, int n) {
  numbers r;
  for (int i = 0; i < 16; i++) r.of[i] = x[4 * n + i % 4];
  return r;
}
static inline quad add(quad a, numbers x, numbers w) {
  for (int i = 0; i < 16; i++) a.of[i / 4] += x.of[i] * w.of[i];
  return a;
}
static inline void total(int32_t *sums, quad a) { memcpy(sums, &a, 16); }
#endif
#if !defined(SIXTEEN)
typedef const int8_t *sixteen;
#define SIXTEEN
#endif
#if !defined(add2)
#define add2(a, x, w, y, v) add(add(a, x, w), y, v)
#define add3(a, x, w, y, v, z, t) add(add2(a, x, w, y, v), z, t)
#define add4(a, x, w, y, v, z, t, q, s) add(add3(a, x, w, y, v, z, t), q, s)
#endif
#if !defined(step)
#define step(a, y, n, w) add(a, LANE(y, n), w)
#define step2(a, y, n, w, z, m, v) add2(a, LANE(y, n), w, LANE(z, m), v)
#define step3(a, y, n, w, z, m, v, x, k, u) \\
  add3(a, LANE(y, n), w, LANE(z, m), v, LANE(x, k), u)
#define step4(a, y, n, w, z, m, v, x, k, u, q, j, t) \\
  add4(a, LANE(y, n), w, LANE(z, m), v, LANE(x, k), u, LANE(q, j), t)
#else
#define step2(a, y, n, w, z, m, v) step(step(a, y, n, w), z, m, v)
#define step3(a, y, n, w, z, m, v, x, k, u) step(step2(a, y, n, w, z, m, v), x, k, u)
#define step4(a, y, n, w, z, m, v, x, k, u, q, j, t) \\
  step(step3(a, y, n, w, z, m, v, x, k, u), q, j, t)
#endif
"""

#: C that a processor's vectors need. `bytes` are sixteen results; `results` makes them of sums.
VECTORS = {
    "x86": f"""\
{_COMMON}#if defined(__AVX2__)
#include <immintrin.h>
#define SIMD 1
typedef int16_t weight;
typedef __m256i quad, numbers;
#define START(a, b, c, d) a, 0, b, 0, c, 0, d, 0
#define STARTS 8
#define LOAD(x) _mm256_loadu_si256((const __m256i *)(const void *)(x))
#define WEIGHTS LOAD
#define LANE(x, n) _mm256_cvtepi8_epi16(_mm_set1_epi32(word(x + 4 * n)))
#define CELLS(x) _mm256_cvtepi8_epi16(READ(x))
static inline quad add(quad a, numbers x, numbers w) {{
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
  return _mm256_dpwssd_epi32(a, x, w);
#elif defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(a, x, w);
#else
  return _mm256_add_epi32(a, _mm256_madd_epi16(x, w));
#endif
}}
static inline void total(int32_t *sums, quad a) {{
  _mm_storeu_si128((__m128i *)(void *)sums,
                   _mm_hadd_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)));
}}
typedef __m128i bytes;
#define READ(x) _mm_loadu_si128((const __m128i *)(const void *)(x))
#define WRITE(y, a) _mm_storeu_si128((__m128i *)(void *)(y), a)
static inline bytes narrow(__m256i a) {{
  return _mm_packs_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}}
/* (a + sign(a) * k) * m as floats, rounded, which was proved to be the same. */
static inline __m256i scale(const int32_t *a, __m256i m, __m256i k) {{
  const __m256i x = LOAD(a);
  const __m256 y = _mm256_cvtepi32_ps(_mm256_add_epi32(x, _mm256_sign_epi32(k, x)));
  return _mm256_cvtps_epi32(_mm256_mul_ps(y, _mm256_castsi256_ps(m)));
}}
static inline bytes shown(__m256i a, __m256i b, int16_t zero) {{
  a = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
  return narrow(_mm256_adds_epi16(a, _mm256_set1_epi16(zero)));
}}
static inline bytes results(const int32_t *a, int32_t m, int32_t k, int16_t zero) {{
  const __m256i n = _mm256_set1_epi32(m), l = _mm256_set1_epi32(k);
  return shown(scale(a, n, l), scale(a + 8, n, l), zero);
}}
#define RESULTS(r, a, m, n, zero) bytes r = results(a, m, n, zero)
static inline bytes results_each(
    const int32_t *a, const int32_t *m, const int32_t *k, int16_t zero) {{
  return shown(scale(a, LOAD(m), LOAD(k)), scale(a + 8, LOAD(m + 8), LOAD(k + 8)), zero);
}}
#define LARGER _mm_max_epi8
#define SAME(a, b) _mm_cmpeq_epi8(a, _mm_set1_epi8(b))
#define LEAST(a, low) _mm_max_epi8(a, _mm_set1_epi8(low))
#define MOST(a, high) _mm_min_epi8(a, _mm_set1_epi8(high))
static inline bytes choose(bytes a, int8_t from, int8_t to, bytes others) {{
  return _mm_blendv_epi8(others, _mm_set1_epi8(to), SAME(a, from));
}}
#define plus _mm_adds_epi8
/* (a * f + b * g + offset) >> n */
static inline bytes blend(bytes a, bytes b, int16_t f, int16_t g, int32_t offset, int n) {{
  const __m256i x = _mm256_cvtepi8_epi16(a), y = _mm256_cvtepi8_epi16(b);
  const __m256i w = _mm256_set1_epi32((int32_t)((uint32_t)(uint16_t)f | (uint32_t)g << 16));
  const __m256i z = _mm256_set1_epi32(offset);
  const __m128i shift = _mm_cvtsi32_si128(n);
  const __m256i c = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi16(x, y), w), z);
  const __m256i d = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpackhi_epi16(x, y), w), z);
  return narrow(_mm256_packs_epi32(_mm256_sra_epi32(c, shift), _mm256_sra_epi32(d, shift)));
}}
static inline void push(uint32_t *e, bytes a) {{
  for (int i = 0; i < 2; i++, e += 8, a = _mm_srli_si128(a, 8)) {{
    const __m256i x = _mm256_slli_epi32(_mm256_cvtepi8_epi32(a), 24);
    _mm256_storeu_si256((__m256i *)(void *)e, _mm256_or_si256(_mm256_srli_epi32(LOAD(e), 8), x));
  }}
}}
{_PLAIN}""",
    "aarch64": f"""\
{_COMMON}#if defined(__aarch64__)
#include <arm_neon.h>
#define SIMD 1
typedef int8_t weight;
typedef int8x16_t numbers;
typedef int8x16_t sixteen;
#define SIXTEEN vld1q_s8
#define LANE(y, n) vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(y), n))
#define CELLS vld1q_s8
#define WEIGHTS vld1q_s8
#if defined(__ARM_FEATURE_DOTPROD)
typedef int32x4_t quad;
#define START(a, b, c, d) a, b, c, d
#define STARTS 4
#define LOAD vld1q_s32
#define add vdotq_s32
#define step(a, y, n, w) vdotq_laneq_s32(a, w, y, n)
#define total vst1q_s32
#else
typedef int32x4x2_t quad;
typedef int16x8x2_t part;
#define START(a, b, c, d) a, 0, b, 0, c, 0, d, 0
#define STARTS 8
#define LOAD vld1q_s32_x2
static inline part product(numbers x, numbers w) {{
  return (part){{{{vmull_s8(vget_low_s8(x), vget_low_s8(w)), vmull_high_s8(x, w)}}}};
}}
static inline part more(part a, numbers x, numbers w) {{
  a.val[0] = vmlal_s8(a.val[0], vget_low_s8(x), vget_low_s8(w));
  a.val[1] = vmlal_high_s8(a.val[1], x, w);
  return a;
}}
static inline quad gather(quad a, part p) {{
  a.val[0] = vpadalq_s16(a.val[0], p.val[0]);
  a.val[1] = vpadalq_s16(a.val[1], p.val[1]);
  return a;
}}
#define add(a, x, w) gather(a, product(x, w))
#define add2(a, x, w, y, v) gather(a, more(product(x, w), y, v))
#define add3(a, x, w, y, v, z, t) gather(a, more(more(product(x, w), y, v), z, t))
#define add4(a, x, w, y, v, z, t, q, s) \\
  gather(a, more(more(more(product(x, w), y, v), z, t), q, s))
static inline void total(int32_t *sums, quad a) {{
  vst1q_s32(sums, vpaddq_s32(a.val[0], a.val[1]));
}}
#endif
typedef int8x16_t bytes;
#define READ vld1q_s8
#define WRITE vst1q_s8
static inline int16x8_t halves(int32x4_t a, int32x4_t b) {{
  return vqmovn_high_s32(vqmovn_s32(a), b);
}}
/* TensorFlow Lite's own way: a * m / 2^31, then 2^n in another rounding, ties away from 0. */
static inline int32x4_t scale(const int32_t *sums, int32x4_t m, int32x4_t n) {{
  const int32x4_t a = vqrdmulhq_s32(vld1q_s32(sums), m);
  return vrshlq_s32(vsraq_n_s32(a, a, 31), n);
}}
static inline bytes shown(int16x8_t a, int16x8_t b, int16_t zero) {{
  const int16x8_t z = vdupq_n_s16(zero);
  return vqmovn_high_s16(vqmovn_s16(vqaddq_s16(a, z)), vqaddq_s16(b, z));
}}
static inline int32x4x4_t scaled4(const int32_t *sums, int32_t m) {{
  int32x4x4_t a = vld1q_s32_x4(sums);
  for (int i = 0; i < 4; i++) {{
    a.val[i] = vqrdmulhq_s32(a.val[i], vdupq_n_s32(m));
    a.val[i] = vsraq_n_s32(a.val[i], a.val[i], 31);
  }}
  return a;
}}
#define HALF(a, i, n) vqrshrn_high_n_s32(vqrshrn_n_s32(a.val[i], n), a.val[i + 1], n)
#define RESULTS(r, a, m, n, zero) \\
  const int32x4x4_t s = scaled4(a, m); \\
  bytes r = shown(HALF(s, 0, n), HALF(s, 2, n), zero)
#define EACH(k) scale(a + k, vld1q_s32(m + k), vld1q_s32(n + k))
static inline bytes results_each(
    const int32_t *a, const int32_t *m, const int32_t *n, int16_t zero) {{
  return shown(halves(EACH(0), EACH(4)), halves(EACH(8), EACH(12)), zero);
}}
#define LARGER vmaxq_s8
#define SAME(a, b) vreinterpretq_s8_u8(vceqq_s8(a, vdupq_n_s8(b)))
#define LEAST(a, low) vmaxq_s8(a, vdupq_n_s8(low))
#define MOST(a, high) vminq_s8(a, vdupq_n_s8(high))
static inline bytes choose(bytes a, int8_t from, int8_t to, bytes others) {{
  return vbslq_s8(vreinterpretq_u8_s8(SAME(a, from)), vdupq_n_s8(to), others);
}}
#define plus vqaddq_s8
#define BLEND(half, x, y) \\
  vshlq_s32(vmlal_n_s16(vmlal_n_s16(z, vget_##half##_s16(x), f), vget_##half##_s16(y), g), shift)
/* (a * f + b * g + offset) >> n */
static inline bytes blend(bytes a, bytes b, int16_t f, int16_t g, int32_t offset, int n) {{
  const int32x4_t z = vdupq_n_s32(offset), shift = vdupq_n_s32(-n);
  const int16x8_t c = vmovl_s8(vget_low_s8(a)), d = vmovl_high_s8(a);
  const int16x8_t x = vmovl_s8(vget_low_s8(b)), y = vmovl_high_s8(b);
  return shown(halves(BLEND(low, c, x), BLEND(high, c, x)),
               halves(BLEND(low, d, y), BLEND(high, d, y)), 0);
}}
/* Each as the number of an entry in a table of 256. */
static inline bytes look(bytes a, const int8_t *table) {{
  uint8x16_t i = veorq_u8(vreinterpretq_u8_s8(a), vdupq_n_u8(128));
  bytes r = vqtbl4q_s8(vld1q_s8_x4(table), i);
  for (int k = 64; k < 256; k += 64) {{
    i = vsubq_u8(i, vdupq_n_u8(64));
    r = vqtbx4q_s8(r, vld1q_s8_x4(table + k), i);
  }}
  return r;
}}
static inline void push(uint32_t *e, bytes a) {{
  const uint8x16_t x = vreinterpretq_u8_s8(a), z = vdupq_n_u8(0);
  const uint16x8_t b = vreinterpretq_u16_u8(vzip1q_u8(z, x));
  const uint16x8_t c = vreinterpretq_u16_u8(vzip2q_u8(z, x)), o = vreinterpretq_u16_u8(z);
  const uint16x8_t d[4] = {{vzip1q_u16(o, b), vzip2q_u16(o, b),
                           vzip1q_u16(o, c), vzip2q_u16(o, c)}};
  const uint32x4x4_t r = vld1q_u32_x4(e);
  for (int i = 0; i < 4; i++)
    vst1q_u32(e + 4 * i, vsriq_n_u32(vreinterpretq_u32_u16(d[i]), r.val[i], 8));
}}
{_PLAIN}""",
}


def sums(
    layer: Layer, target: str, rows: Array, seen: Seen, start: Array, columns: int, cells: int = 0
) -> None:  # fmt: skip
    """Add the sums of all outputs of a row of pixels, or of the one that `seen` is at.

    Args:
        layer: Where to.
        target: C that points to where they go, and what may be overwritten up to a multiple of
            four.
        rows: Weights, `[outputs, numbers]`.
        seen: The first number of the first pixel.
        start: What is added to each sum.
        columns: How many pixels, if `seen` tells how far apart they are.
        cells: Of how many channels they are, if there is a cell for each output; else 0.
    """
    outputs = len(rows)
    quads = -(-outputs // 4)
    single = bool(cells) or not seen.step

    def cost(block: int) -> float:
        """Instructions for four numbers, roughly: products, loads of weights, and of numbers."""
        return -(-quads // block) * (block * (3 + 1 / _together(block, columns, single)) + 1)

    block = min(range(min(quads, MOST_QUADS), 0, -1), key=lambda n: (cost(n), -n))
    blocks = -(-quads // block)
    size = -(-rows.shape[1] // 4)
    padded = np.zeros((4 * block * blocks, 4 * size), np.int64)
    padded[:outputs, : rows.shape[1]] = rows
    starts = np.zeros(len(padded), np.int64)
    starts[:outputs] = start
    # [block, four numbers, quad, number, output]
    lying = padded.reshape(blocks, block, 4, size, 4).transpose(0, 3, 1, 4, 2)
    weights, _ = layer.parameter(_quads(layer.source, lying))
    begin, _ = layer.parameter(_starts(layer.source, starts))
    in_turn = outputs % 4 and blocks > 1  # what one block spills, the next pixel must overwrite
    together = _together(block, columns, single or bool(in_turn))
    chain = _chain(padded.reshape(-1, size, 4), seen.limits)
    held = bool(cells) and size * block <= MOST_HELD and not in_turn
    at = f" + g * {block}" * (blocks > 1)
    pixels: list[str] = []
    if seen.step:
        pixels = [f"for (int u = 0; u < {columns}; u += {together}) {{"]
        last = columns - together
        pixels.append(f"const int t = {f'u < {last} ? u : {last}' if columns % together else 'u'};")
    over = [f"for (unsigned g = 0; g < {blocks}; g++) {{"] * (blocks > 1)
    pointed = f"const weight *w = {weights}{f' + g * {16 * block * size}' * (blocks > 1)};"
    place = f" + g * {16 * block}" * bool(blocks > 1 and cells)
    begin = f"const int32_t *b = {begin};"
    layer.add(*(pixels if in_turn else []), *over, pointed, begin, "HIDE(w);", "HIDE(b);")
    if held:
        layer.add(*[f"const numbers h{k} = WEIGHTS(w + {16 * k});" for k in range(size * block)])
    layer.add(*([] if in_turn else pixels))
    base = f"{seen.pointer} + t * {seen.step}" if seen.step else seen.pointer
    layer.add(f"const int8_t *q = (const int8_t *)({base}){place};")
    for p in range(together):
        layer.add(*[f"quad a{p}_{i} = LOAD(b + (unsigned)STARTS * ({i}u{at}));"
                    for i in range(block)])  # fmt: skip
    if cells:
        for first in range(0, size, chain):
            count = min(chain, size - first)
            for i in range(block):
                given = [f"CELLS(q + {4 * cells * k + 16 * i}), "
                         + (f"h{i + k * block}" if held else f"WEIGHTS(w + {16 * (i + k * block)})")
                         for k in range(first, first + count)]  # fmt: skip
                layer.add(f"a0_{i} = add{count if count > 1 else ''}"
                          f"(a0_{i}, {', '.join(given)});")  # fmt: skip
    else:
        _steps(layer, size, chain, block, together, seen.step)
    place = f" + t * {outputs}" * bool(seen.step)
    layer.add(*[f"total({target}{place} + {p * outputs} + 4 * ({i}u{at}), a{p}_{i});"
                for p in range(together) for i in range(block)])  # fmt: skip
    layer.add(*["}"] * (bool(seen.step) + (blocks > 1)))


def _together(block: int, columns: int, single: bool) -> int:
    """Pixels that are computed together."""
    return 1 if single else min(columns, max(1, MOST_SUMS // block), 4)


def _steps(layer: Layer, size: int, chain: int, block: int, together: int, apart: int) -> None:
    """Add the products of four numbers with all outputs of a block, `size` times."""
    turns, rest = (0, size) if size <= MOST_STEPS else divmod(size, 4)

    def steps(first: int, count: int, weights: str) -> list[str]:
        seen = range(first // 4, -(-(first + count) // 4))
        lines = [f"const sixteen y{p}_{k} = SIXTEEN(q + {p * apart + 16 * k});"
                 for p in range(together) for k in seen]  # fmt: skip
        for begin in range(first, first + count, chain):
            some = range(begin, min(begin + chain, first + count))
            name = f"step{len(some) if len(some) > 1 else ''}"
            for i in range(block):
                lines += [f"const numbers w{i}_{k} = WEIGHTS({weights} + {16 * (i + k * block)});"
                          for k in some]  # fmt: skip
                for p in range(together):
                    given = ", ".join(f"y{p}_{k // 4}, {k % 4}, w{i}_{k}" for k in some)
                    lines.append(f"a{p}_{i} = {name}(a{p}_{i}, {given});")
            lines.append("PAUSE;")
        return lines

    weights = "w"
    if turns:
        chain, weights = 2 if chain == 3 else chain, "m"
        layer.add("const weight *m = w;",
                  f"for (unsigned k = 0; k < {turns}; k++, q += 16, m += {64 * block}) {{",
            "HIDE(q);",
                  *steps(0, 4, weights), "}")  # fmt: skip
    if rest:
        layer.add("{", *steps(0, rest, weights), "}")


def _chain(rows: Array, limits: tuple[int, int]) -> int:
    """Of how many steps products fit together in 16 bits.

    Args:
        rows: Weights, `[outputs, steps, 4]`.
        limits: Between which numbers are.
    """
    least, most = (pick(*(rows * n for n in limits)) for pick in (np.minimum, np.maximum))
    for count in (4, 3, 2):
        starts = range(0, rows.shape[1], count)
        ends = ((least[:, k : k + count].sum(axis=1), most[:, k : k + count].sum(axis=1))
                for k in starts)  # fmt: skip
        if rows.shape[1] >= count and all(a.min() >= -(2**15) and b.max() < 2**15 for a, b in ends):
            return count
    return 1


def _quads(source: Source, lying: Array) -> tuple[str, str]:
    lines = [f"QUAD({', '.join(map(str, four))}),"
             for four in lying.reshape(-1, 16).tolist()]  # fmt: skip
    return source.written(lines, "w", "weight", lying.size)


def _starts(source: Source, starts: Array) -> tuple[str, str]:
    lines = [f"START({', '.join(map(str, four))})," for four in starts.reshape(-1, 4).tolist()]
    return source.written(lines, "b", "int32", 4 * starts.size)


def results(
    layer: Layer, rest: Finish, sums: str, row: Row, channels: int, target: str,
    fused: tuple[Node, Map | None, Tensor] | None,
) -> list[str]:  # fmt: skip
    """C that makes results of the sums of a row, sixteen at a time; empty if there is none.

    Args:
        layer: Where it is to be.
        rest: What becomes of sums.
        sums: C that points to them.
        row: The pixels.
        channels: Of each.
        target: C that points to where results go; fifteen more are written.
        fused: A node that sees the results, what becomes of its own, and what it calls them.
    """
    requant, zero_point, limits, reaches, after, _ = rest
    each = len(requant.multiplier) > 1
    if requant.rounding is not Rounding.TWICE:
        return []
    if layer.vectors == "aarch64":
        if max(requant.shift) >= 0 or min(requant.shift) < (-31 if each else -16):
            return []
        numbers = [np.array(requant.multiplier), np.array(requant.shift) * (1 if each else -1)]
    else:
        spans = reaches if each else [(min(a for a, _ in reaches), max(b for _, b in reaches))]
        scaled = [rounded(stored(requant, channel, zero_point, limits, reach, None), zero_point)
                  for channel, reach in enumerate(spans)]  # fmt: skip
        factors, extras = zip(*(s or (0.0, 0) for s in scaled), strict=True)
        if None in scaled:
            return []
        numbers = [np.array(factors, np.float32).view(np.int32), np.array(extras)]
    lines = _then(layer, limits, after)
    if lines is not None and fused is not None:
        joined = _joined(layer, *fused, channels, row.first)
        lines = None if joined is None else lines + joined
    if lines is None:
        return []
    count = row.columns * channels
    if each:
        length = -(-count // BYTES) * BYTES
        names = [layer.parameter(layer.source.constant(np.resize(n, length), "f", "int32"))[0]
                 for n in numbers]  # fmt: skip
        given = f"{sums} + o, {names[0]} + o, {names[1]} + o, {zero_point}"
        made = f"bytes a = results_each({given});"
    else:
        one = f"{int(numbers[0][0])}, {int(numbers[1][0])}, {zero_point}"
        made = f"RESULTS(a, {sums} + o, {one});"
    return [
        f"for (unsigned o = 0; o < {count}; o += {BYTES}) {{",
        made, *lines,
        f"WRITE({target} + o, a);", "}",
    ]  # fmt: skip


def _joined(
    layer: Layer, node: Node, then: Map | None, current: Tensor, channels: int, first: str
) -> list[str] | None:
    """C that adds results `a` to another tensor, or the other way round; None if there is none."""
    others = [t for t in node.inputs if t is not None and t is not current]
    if len(others) != 1 or others[0].data is not None or not isinstance(node.op, Add | Sub):
        return None
    if any(t.dtype != "int8" for t in (*node.computed, node.output)):
        return None
    arithmetic = lower(node)
    found = linear(node, (arithmetic.low, arithmetic.high), then)
    if found is None:
        return None
    (f, g, offset, shift), kept, after = found
    lines = _then(layer, kept, after)
    plain = (f, g, offset, shift) == (1, 1, 0, 0)
    if lines is None or not (plain or (max(abs(f), abs(g)) < 2**15 and 0 < shift < 32)):
        return None
    x = layer.read(others[0])
    a, b = ("a", "b") if node.inputs[0] is current else ("b", "a")
    call = "plus(a, b)" if plain else f"blend({a}, {b}, {f}, {g}, {offset}, {shift})"
    return [f"const bytes b = READ({x} + ({first}) * {channels} + o);", f"a = {call};", *lines]


def _then(layer: Layer, limits: tuple[int, int], after: Map | None) -> list[str] | None:
    """C that keeps sixteen results `a` between limits and then maps them; None if there is none."""
    clip = limits if after is None else after.clip(limits)
    if clip is not None:
        return _kept("a", clip)
    assert after is not None
    maps = _mapped(layer, after)
    return [*_kept("a", limits), *maps] if maps else None


def _kept(value: str, limits: tuple[int, int]) -> list[str]:
    """C that keeps sixteen numbers between limits."""
    if limits[0] > -128:
        value = f"LEAST({value}, {limits[0]})"
    if limits[1] < 127:
        value = f"MOST({value}, {limits[1]})"
    return [] if value == "a" else [f"a = {value};"]


def _mapped(layer: Layer, after: Map) -> list[str]:
    """C that maps sixteen numbers `a`; empty if that is not worth it."""
    clip = after.clip((after.low, after.low + 255))
    if after.low != -128 or after.output.dtype != "int8":
        return []
    if clip is not None:
        return _kept("a", clip)
    rest = after.table[1:]
    if after.table[0] == -1 and (np.maximum(np.arange(-127, 128), 0) == rest).all():
        return ["a = LARGER(a, SAME(a, -128));"]
    if (np.clip(np.arange(-127, 128), rest[0], rest[-1]) == rest).all():
        (kept,) = _kept("a", (int(rest[0]), int(rest[-1]))) or ["a = a;"]
        return [f"a = choose(a, -128, {after.table[0]}, {kept[4:-1]});"]
    if layer.vectors == "aarch64":
        name, _ = layer.parameter(layer.source.constant(after.table, "map", "int8"))
        return [f"a = look(a, {name});"]
    return []


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
    whole = length - length % BYTES
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
    layer.add(f"const {ctype(tensor)} *q = {x} + r * {width * channels};")
    maps = [] if before is None else _mapped(layer, before)
    begin = "int k = 0"
    if whole and (before is None or maps):
        layer.add("int k = 0;", "#if defined(SIMD)",
                  f"for (; k < {whole}; k += {BYTES}) {{", "bytes a = READ(q + k);", *maps,
                  "push(e + k, a);", "}", "#endif")  # fmt: skip
        begin = ""
    layer.add(f"for ({begin}; k < {length}; k++) {{", "const int a = q[k];",
              pushed.format(f"({value})"), "}", "}")  # fmt: skip
    step = 4 * geometry.strides[1] * channels
    pointer = "(const int8_t *)strip"
    return Seen(pointer, output.dtype, limits, geometry.size, channels, 0, True, True, True, step)
