"""C in the making: constants and functions, each once, and what they need of the prelude."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from edgegolf.ir.tensor import Array

#: C's names of the types that constants have, and the macros that read them from flash.
TYPES = {
    "int8": ("int8_t", "I8"), "uint8": ("uint8_t", "U8"), "int16": ("int16_t", "I16"),
    "int32": ("int32_t", "I32"), "weight": ("weight", "I8"),
}  # fmt: skip

PRELUDE = """\
#if defined(__GNUC__) && !defined(__AVR__)
#define ALIGNED __attribute__((aligned(4)))
#else
#define ALIGNED
#endif
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define FLASH PROGMEM
#define I8(p) ((int8_t)pgm_read_byte(p))
#define U8(p) pgm_read_byte(p)
#define I16(p) ((int16_t)pgm_read_word(p))
#define I32(p) ((int32_t)pgm_read_dword(p))
#define COPY_FLASH memcpy_P
#else
#define FLASH
#define I8(p) (*(p))
#define U8(p) (*(p))
#define I16(p) (*(p))
#define I32(p) (*(p))
#define COPY_FLASH memcpy
#endif
#if defined(__GNUC__)
#define INLINE inline __attribute__((always_inline))
#else
#define INLINE inline
#endif
#if defined(__GNUC__) && !defined(__AVR__)
#define UNROLL _Pragma("GCC unroll 4")
#else
#define UNROLL
#endif
#if defined(__AVR__)
#define APART __attribute__((noinline)) /* inlined, each function's arrays would have a place */
#else
#define APART
#endif
#if defined(__AVR__) || defined(__ARM_ARCH_6M__)
#define NARROW 1 /* no product of 64 bits */
#define HELPER __attribute__((noinline))
#define CALLED HELPER
#else
#define NARROW VECTORS
#define HELPER INLINE
#define CALLED inline
#endif
"""

# Sixteen weights, of four sums for each of four numbers, lie as a core reads them best.
WEIGHTS = """\
#if defined(__ARM_ARCH_6M__)
typedef uint8_t lifted;
#define LIFT 128
typedef uint8_t weight; /* loads of signed bytes take an instruction more */
#define W(w) (w) + 128
#define CENTRE(x, n) (128 * total(x, n))
#else
typedef int8_t lifted;
#define LIFT 0
typedef int8_t weight;
#define W(w) w
#define CENTRE(x, n) 0
#endif
#if defined(__ARM_FEATURE_DSP)
#define QUAD(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \\
  a, b, i, j, e, f, m, n, c, d, k, l, g, h, o, p
#else
#define QUAD(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \\
  W(a), W(b), W(c), W(d), W(e), W(f), W(g), W(h), \\
  W(i), W(j), W(k), W(l), W(m), W(n), W(o), W(p)
#endif
"""

_DOT4 = """\
#if defined(__ARM_ARCH_6M__)
static HELPER int32_t total(const int8_t *x, unsigned n) {
  int32_t a = 0;
  while (n--) a += x[n];
  return a;
}
#define TERM(k, j0, j1, j2, j3) \\
  "ldrb r0, [r1, #" #k "]\\n sxtb r0, r0\\n" \\
  "ldrb r3, [r2, #" #j0 "]\\n muls r3, r0, r3\\n adds r4, r4, r3\\n" \\
  "ldrb r3, [r2, #" #j1 "]\\n muls r3, r0, r3\\n adds r5, r5, r3\\n" \\
  "ldrb r3, [r2, #" #j2 "]\\n muls r3, r0, r3\\n adds r6, r6, r3\\n" \\
  "ldrb r3, [r2, #" #j3 "]\\n muls r3, r0, r3\\n adds r7, r7, r3\\n"
/* Add the products of n numbers with four weights each. The compiler finds too few registers. */
static void __attribute__((naked, noinline)) dot4(
    int32_t *a, const int8_t *x, const weight *w, unsigned n) {
  (void)a, (void)x, (void)w, (void)n;
  __asm__(".syntax unified\\n"
          "push {r0, r4, r5, r6, r7, lr}\\n ldmia r0!, {r4, r5, r6, r7}\\n"
          "adds r3, r1, r3\\n mov lr, r3\\n subs r3, #3\\n mov ip, r3\\n b 2f\\n"
          "1: " TERM(0, 0, 1, 2, 3) TERM(1, 4, 5, 6, 7) TERM(2, 8, 9, 10, 11)
          TERM(3, 12, 13, 14, 15) "adds r1, #4\\n adds r2, #16\\n"
          "2: cmp r1, ip\\n blo 1b\\n b 4f\\n"
          "3: " TERM(0, 0, 1, 2, 3) "adds r1, #1\\n adds r2, #4\\n"
          "4: cmp r1, lr\\n blo 3b\\n"
          "pop {r0}\\n stmia r0!, {r4, r5, r6, r7}\\n pop {r4, r5, r6, r7, pc}");
}
#else
static HELPER void dot4(int32_t *a, const int8_t *x, const weight *w, unsigned n) {
  int32_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
#if defined(__ARM_FEATURE_DSP)
/* Two products of two numbers with a weight each of two sums. */
#define TERM(u, a, b) \\
  "ldr %[v], [%[w]], #4\\n sxtb16 %[t], %[v]\\n sxtb16 %[v], %[v], ror #8\\n" \\
  "smlad %[" #a "], %[" #u "], %[t], %[" #a "]\\n smlad %[" #b "], %[" #u "], %[v], %[" #b "]\\n"
  int32_t u, o, v, t;
  unsigned m = n / 4;
  n %= 4;
  if (m)
    __asm__("1: ldr %[u], [%[x]], #4\\n sxtb16 %[o], %[u], ror #8\\n sxtb16 %[u], %[u]\\n"
            TERM(u, a0, a1) TERM(o, a0, a1) TERM(u, a2, a3) TERM(o, a2, a3)
            "subs %[m], #1\\n bne 1b"
            : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [x] "+r"(x),
              [w] "+r"(w), [m] "+r"(m), [u] "=&r"(u), [o] "=&r"(o), [v] "=&r"(v), [t] "=&r"(t)
            : : "cc", "memory");
#else
#define TERM(k) \\
  u = x[k], a0 += u * I8(w + 4 * k), a1 += u * I8(w + 4 * k + 1), \\
  a2 += u * I8(w + 4 * k + 2), a3 += u * I8(w + 4 * k + 3)
  int32_t u;
  for (; n > 3; n -= 4, x += 4, w += 16) TERM(0), TERM(1), TERM(2), TERM(3);
#endif
  for (; n; n--, x++, w += 4) {
    a0 += *x * I8(w);
    a1 += *x * I8(w + 1);
    a2 += *x * I8(w + 2);
    a3 += *x * I8(w + 3);
  }
  a[0] = a0, a[1] = a1, a[2] = a2, a[3] = a3;
}
#endif
"""

#: Functions that others call, by their names.
HELPERS = {
    "dsp": """\
#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>
static inline uint32_t word(const void *p) {
  uint32_t u;
  memcpy(&u, p, 4);
  return u;
}
/* The first and the third byte of a word, and the second and the fourth. */
#define PAIR(a, b) (((a) & 65535) | (int32_t)((uint32_t)(b) << 16))
static inline int16x2_t even(uint32_t u) { return __sxtb16((int8x4_t)u); }
static inline int16x2_t odd(uint32_t u) {
  int16x2_t r;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(r) : "r"(u));
  return r;
}
#endif
""",
    "byte": """\
static inline int32_t byte(int32_t a) {
#if defined(__ARM_FEATURE_SAT)
  __asm__("ssat %0, #8, %1" : "=r"(a) : "r"(a));
  return a;
#elif VECTORS
  return a < -128 ? -128 : a > 127 ? 127 : a;
#else
  return (int8_t)a == a ? a : (a >> 31) ^ 127;
#endif
}
""",
    "clamp": """\
static inline int32_t clamp(int32_t a, int32_t low, int32_t high) {
  return a < low ? low : a > high ? high : a;
}
""",
    "scaled": """\
#if defined(__AVR__)
/* (a * m + b) / 2^32, where the compiler would multiply and shift for some 350 cycles. */
static uint8_t __attribute__((noinline)) scaled(uint16_t a, uint32_t m, uint32_t b) {
  uint8_t y = 0, zero = 0;
  __asm__(
      "mul %A[a], %A[m]\\n add %A[b], r0\\n adc %B[b], r1\\n"
      "adc %C[b], %[o]\\n adc %D[b], %[o]\\n adc %[y], %[o]\\n"
      "mul %A[a], %B[m]\\n add %B[b], r0\\n adc %C[b], r1\\n adc %D[b], %[o]\\n adc %[y], %[o]\\n"
      "mul %A[a], %C[m]\\n add %C[b], r0\\n adc %D[b], r1\\n adc %[y], %[o]\\n"
      "mul %A[a], %D[m]\\n add %D[b], r0\\n adc %[y], r1\\n"
      "mul %B[a], %A[m]\\n add %B[b], r0\\n adc %C[b], r1\\n adc %D[b], %[o]\\n adc %[y], %[o]\\n"
      "mul %B[a], %B[m]\\n add %C[b], r0\\n adc %D[b], r1\\n adc %[y], %[o]\\n"
      "mul %B[a], %C[m]\\n add %D[b], r0\\n adc %[y], r1\\n"
      "mul %B[a], %D[m]\\n add %[y], r0\\n clr r1"
      : [y] "+&r"(y), [b] "+&r"(b)
      : [a] "r"(a), [m] "r"(m), [o] "r"(zero)
      : "r0");
  return y;
}
#endif
""",
    "dot": """\
#if defined(__AVR__)
/* 16 cycles a product, where the compiler takes 67: two at a time, the second one first if odd. */
static int32_t __attribute__((noinline)) dots(
    const int8_t *x, const int8_t *w, unsigned n, unsigned skip, uint8_t rows) {
  int32_t a = 0;
  int8_t u, v;
  unsigned m;
#define TERM \\
  "ld %[u], %a[x]+\\n lpm %[v], %a[w]+\\n muls %[u], %[v]\\n" \\
  "clr %[u]\\n sbrc r1, 7\\n com %[u]\\n" \\
  "add %A[a], r0\\n adc %B[a], r1\\n adc %C[a], %[u]\\n adc %D[a], %[u]\\n"
  __asm__ volatile(
      "0: movw %[m], %[n]\\n lsr %B[m]\\n ror %A[m]\\n brcc 1f\\n adiw %[m], 1\\n rjmp 2f\\n"
      "1: " TERM "2: " TERM "sbiw %[m], 1\\n brne 1b\\n"
      "add %A[x], %A[s]\\n adc %B[x], %B[s]\\n dec %[r]\\n brne 0b\\n clr r1"
      : [a] "+r"(a), [x] "+x"(x), [w] "+z"(w), [m] "=&w"(m), [r] "+r"(rows), [u] "=&d"(u),
        [v] "=&d"(v)
      : [n] "r"(n), [s] "r"(skip)
      : "r0", "memory");
#undef TERM
  return a;
}
static inline int32_t dot(const int8_t *x, const int8_t *w, unsigned n) {
  return dots(x, w, n, 0, 1);
}
#elif defined(__ARM_FEATURE_DSP)
/* Two products an instruction. */
static inline int32_t dot(const int8_t *x, const int8_t *w, unsigned n) {
  int32_t a = 0;
  for (; n > 3; n -= 4, x += 4, w += 4) {
    a = __smlad(even(word(x)), even(word(w)), a);
    a = __smlad(odd(word(x)), odd(word(w)), a);
  }
  while (n--) a += *x++ * *w++;
  return a;
}
#else
static CALLED int32_t dot(const int8_t *x, const int8_t *w, unsigned n) {
  int32_t a = 0;
  do a += *x++ * *w++; while (--n);
  return a;
}
#endif
#if !defined(__AVR__)
static INLINE int32_t dots(
    const int8_t *x, const int8_t *w, unsigned n, unsigned skip, uint8_t rows) {
  int32_t a = 0;
  for (; rows; rows--, x += n + skip, w += n) a += dot(x, w, n);
  return a;
}
#endif
""",
    "dot4": _DOT4,
    "taps_b": """\
#if defined(__ARM_FEATURE_DSP)
/* Add the products of three numbers and of those one further with three weights, of which the
   one in the middle is the lower or the upper half of a word. */
#define TAPS(name, half) \\
  static inline void name(int32_t *a, const int8_t *x, int32_t outer, int32_t middle) { \\
    const int16x2_t e = even(word(x)), d = odd(word(x)); \\
    a[0] = __smlab##half(d, middle, __smlad(e, outer, a[0])); \\
    a[1] = __smlat##half(e, middle, __smlad(d, outer, a[1])); \\
  }
TAPS(taps_b, b)
TAPS(taps_t, t)
#endif
""",
    "rescaled": """\
#if defined(__ARM_FEATURE_DSP)
/* a * m / 2^31, rounded, less 1 if negative: to be shifted with ties away from 0. */
static inline int32_t rescaled(int32_t a, int32_t m) {
  __asm__("smmulr %0, %1, %2" : "=r"(a) : "r"(a * 2), "r"(m));
  return a + (a >> 31);
}
#endif
""",
    "multiply": """\
/* The upper half of twice a product, ties upwards. */
static inline int32_t multiply(int32_t a, int32_t b) {
#if VECTORS /* which shift no signs of 64 bits */
  return (int32_t)(uint32_t)((uint64_t)((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
#else
  return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
#endif
}
""",
    "shifted": """\
/* Divided by 2 to the power of n, ties away from 0. */
static inline int32_t shifted(int32_t a, int n) {
#if VECTORS /* which have no branches */
  n = n > 0 ? n : 0;
  const int32_t mask = (int32_t)(((uint32_t)1 << n) - 1);
  return (a >> n) + ((a & mask) > (mask >> 1) + (a < 0));
#else
  const int32_t mask = (int32_t)(((uint32_t)1 << (n > 0 ? n : 0)) - 1);
  return n > 0 ? (a >> n) + ((a & mask) > (mask >> 1) + (a < 0)) : a;
#endif
}
""",
    "rescale": """\
/* TensorFlow Lite's own way: m / 2^31 in one rounding, 2^s in another. */
static inline int32_t rescale(int32_t a, int32_t m, int s) {
#if VECTORS
  a = (int32_t)((uint32_t)a << (s > 0 ? s : 0));
#else
  if (s > 0) a = (int32_t)((uint32_t)a << s);
#endif
  return shifted(multiply(a, m), -s);
}
""",
}
_NEEDS = {"rescale": ("multiply", "shifted"), "dot": ("dsp",), "dot4": ("dsp",), "taps_b": ("dsp",)}


@dataclass
class Source:
    """Collects what a `.c` file consists of."""

    layout: str = WEIGHTS  # C of how weights lie that are written as `QUAD`
    # The declaration of each constant by what it holds.
    constants: dict[tuple[str, bytes], tuple[str, str]] = field(default_factory=dict)
    # The name of each function by its text with the name left open.
    functions: dict[str, str] = field(default_factory=dict)
    flash: int = 0  # bytes of the constants
    scratch: int = 0  # bytes of the arrays in the function that has most of them

    def constant(self, array: Array, hint: str, kind: str | None = None) -> tuple[str, str]:
        """The names of a constant array and of its type in `TYPES`, the smallest if not given."""
        dtype = kind or smallest(array)
        data = np.ascontiguousarray(array.astype(dtype))
        key = (dtype, data.tobytes())
        if key not in self.constants:
            name = f"{hint}{len(self.constants)}"
            self.constants[key] = (name, declaration(name, data))
            self.flash += data.nbytes
        return self.constants[key][0], dtype

    def quads(self, rows: Array, hint: str) -> tuple[str, str]:
        """The same for weights `[outputs, numbers]` that four sums read together."""
        blocks = rows.reshape(len(rows) // 4, 4, -1).swapaxes(1, 2)
        lines = []
        for block in blocks.tolist():
            whole = len(block) // 4 * 4
            for k in range(0, whole, 4):
                lines.append(
                    f"QUAD({', '.join(str(w) for four in block[k : k + 4] for w in four)}),"
                )
            lines += [", ".join(f"W({w})" for w in four) + "," for four in block[whole:]]
        return self.written(lines, hint, "weight", rows.size)

    def written(self, lines: list[str], hint: str, kind: str, size: int) -> tuple[str, str]:
        """The same for one of a type in `TYPES` that is written already, of so many bytes."""
        text = "\n".join(lines)
        key = (kind, text.encode())
        if key not in self.constants:
            name = f"{hint}{len(self.constants)}"
            head = f"static const {TYPES[kind][0]} {name}[] FLASH ALIGNED"
            self.constants[key] = (name, f"{head} = {{\n{text}\n}};\n")
            self.flash += size
        return self.constants[key][0], kind

    def function(self, text: str, hint: str) -> str:
        """The name of a function; equal ones are one. `{name}` in the text stands for it."""
        if text not in self.functions:
            self.functions[text] = f"{hint}{len(self.functions)}"
        return self.functions[text]

    def text(self) -> str:
        """Constants, helpers that are called, and functions."""
        constants = "".join(text for _, text in self.constants.values())
        functions = "".join(t.replace("{name}", name) for t, name in self.functions.items())
        weights = self.layout if "QUAD(" in constants or "lifted " in functions else ""
        return weights + constants + helpers(functions) + functions


def declaration(name: str, array: Array) -> str:
    """C that defines a constant array of one of `TYPES`."""
    kind = TYPES[array.dtype.name][0]
    rows = _wrapped([str(n) for n in array.ravel().tolist()])
    return f"static const {kind} {name}[{array.size}] FLASH ALIGNED = {{\n{rows}}};\n"


def helpers(text: str) -> str:
    """The helpers that a text calls, and those that they call."""
    called = {name for name in HELPERS if re.search(rf"\b{name}s?\(", text)}
    called |= {need for name in called for need in _NEEDS.get(name, ())}
    return "".join(body for name, body in HELPERS.items() if name in called)


def chosen(text: str, vectors: bool) -> str:
    """A text with what is for a target with vectors, or what is for one without."""
    keep = r"\1" if vectors else r"\2"
    text = re.sub(r"#if VECTORS.*?\n(.*?)#else\n(.*?)#endif\n", keep, text, flags=re.S)
    branch = r"#elif VECTORS\n(.*?)#else\n(.*?)#endif\n"
    text = re.sub(branch, rf"#else\n{keep}#endif\n", text, flags=re.S)
    return re.sub(r"\bVECTORS\b", str(int(vectors)), text)


def smallest(array: Array) -> str:
    """The smallest of `TYPES` that holds all numbers."""
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    return next(name for name in TYPES if np.iinfo(name).min <= low and high <= np.iinfo(name).max)


def _wrapped(words: list[str]) -> str:
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 96:
            lines.append(line)
            line = ""
        line += f"{word},"
    return "\n".join([*lines, line])
