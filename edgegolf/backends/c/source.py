"""C in the making: constants and functions, each once, and what they need of the prelude."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from edgegolf.ir.tensor import Array

#: C's names of the types that constants have, and the macros that read them from flash.
TYPES = {
    "int8": ("int8_t", "I8"), "uint8": ("uint8_t", "U8"), "int16": ("int16_t", "I16"),
    "int32": ("int32_t", "I32"),
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
#if defined(__AVR__) || defined(__ARM_ARCH_6M__)
#define NARROW 1 /* no product of 64 bits */
#else
#define NARROW 0
#endif
"""

#: Functions that others call, by their names.
HELPERS = {
    "clamp": """\
static inline int32_t clamp(int32_t a, int32_t low, int32_t high) {
  return a < low ? low : a > high ? high : a;
}
""",
    "dot": """\
#if defined(__AVR__)
/* 18 cycles a product, where the compiler takes 67. */
static int32_t __attribute__((noinline)) dot(const int8_t *x, const int8_t *w, unsigned n) {
  int32_t a = 0;
  int8_t u, v;
  __asm__ volatile(
      "1: ld %[u], %a[x]+\\n lpm %[v], %a[w]+\\n muls %[u], %[v]\\n"
      "clr %[u]\\n sbrc r1, 7\\n com %[u]\\n"
      "add %A[a], r0\\n adc %B[a], r1\\n adc %C[a], %[u]\\n adc %D[a], %[u]\\n"
      "sbiw %[n], 1\\n brne 1b\\n clr r1"
      : [a] "+r"(a), [x] "+x"(x), [w] "+z"(w), [n] "+w"(n), [u] "=&d"(u), [v] "=&d"(v)
      :
      : "r0", "memory");
  return a;
}
#elif defined(__ARM_FEATURE_DSP)
/* Two products an instruction. */
#include <arm_acle.h>
static inline int32_t dot(const int8_t *x, const int8_t *w, unsigned n) {
  int32_t a = 0;
  for (; n > 3; n -= 4, x += 4, w += 4) {
    uint32_t u, v;
    memcpy(&u, x, 4);
    memcpy(&v, w, 4);
    a = __smlad(__sxtb16(u), __sxtb16(v), a);
    a = __smlad(__sxtb16(u >> 8), __sxtb16(v >> 8), a);
  }
  while (n--) a += *x++ * *w++;
  return a;
}
#else
static inline int32_t dot(const int8_t *x, const int8_t *w, unsigned n) {
  int32_t a = 0;
  do a += *x++ * *w++; while (--n);
  return a;
}
#endif
""",
    "multiply": """\
/* The upper half of twice a product, ties upwards. */
static inline int32_t multiply(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}
""",
    "shifted": """\
/* Divided by 2 to the power of n, ties away from 0. */
static inline int32_t shifted(int32_t a, int n) {
  const int32_t mask = (int32_t)(((uint32_t)1 << (n > 0 ? n : 0)) - 1);
  return n > 0 ? (a >> n) + ((a & mask) > (mask >> 1) + (a < 0)) : a;
}
""",
    "rescale": """\
/* TensorFlow Lite's own way: m / 2^31 in one rounding, 2^s in another. */
static inline int32_t rescale(int32_t a, int32_t m, int s) {
  if (s > 0) a = (int32_t)((uint32_t)a << s);
  return shifted(multiply(a, m), -s);
}
""",
}
_NEEDS = {"rescale": ("multiply", "shifted")}


@dataclass
class Source:
    """Collects what a `.c` file consists of.

    Attributes:
        constants: The declaration of each constant by what it holds.
        functions: The name of each function by its text with the name left open.
        flash: Bytes of the constants.
    """

    constants: dict[tuple[str, bytes], tuple[str, str]] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    flash: int = 0

    def constant(self, array: Array, hint: str) -> tuple[str, str]:
        """The names of a constant array and of its type in `TYPES`, the smallest that holds it."""
        dtype = smallest(array)
        data = np.ascontiguousarray(array.astype(dtype))
        key = (dtype, data.tobytes())
        if key not in self.constants:
            name = f"{hint}{len(self.constants)}"
            self.constants[key] = (name, declaration(name, data))
            self.flash += data.nbytes
        return self.constants[key][0], dtype

    def function(self, text: str, hint: str) -> str:
        """The name of a function; equal ones are one. `{name}` in the text stands for it."""
        if text not in self.functions:
            self.functions[text] = f"{hint}{len(self.functions)}"
        return self.functions[text]

    def text(self) -> str:
        """Constants, helpers that are called, and functions."""
        constants = "".join(text for _, text in self.constants.values())
        functions = "".join(t.replace("{name}", name) for t, name in self.functions.items())
        return constants + helpers(functions) + functions


def declaration(name: str, array: Array) -> str:
    """C that defines a constant array of one of `TYPES`."""
    kind = TYPES[array.dtype.name][0]
    rows = _wrapped([str(n) for n in array.ravel().tolist()])
    return f"static const {kind} {name}[{array.size}] FLASH ALIGNED = {{\n{rows}}};\n"


def helpers(text: str) -> str:
    """The helpers that a text calls, and those that they call."""
    called = {name for name in HELPERS if re.search(rf"\b{name}\(", text)}
    called |= {need for name in called for need in _NEEDS.get(name, ())}
    return "".join(body for name, body in HELPERS.items() if name in called)


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
