#include "digits.h"
#include <string.h>

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
#define NARROW 0
#define HELPER INLINE
#define CALLED inline
#endif

static const int16_t b0[2] FLASH ALIGNED = {
-15306,19480,};
static const int8_t w1[18] FLASH ALIGNED = {
31,71,61,-23,5,10,-76,-102,-127,-9,-25,-1,49,39,40,6,42,11,};
static const int32_t b2[2] FLASH ALIGNED = {
-36006,3230,};
static const int8_t w3[36] FLASH ALIGNED = {
-12,-34,0,-41,-127,78,-52,-63,-9,-13,-60,57,-9,-24,-39,-1,-11,32,-87,78,-38,0,1,-77,-55,31,-22,
22,68,-48,-18,-14,-16,59,45,77,};
static const int16_t b4[4] FLASH ALIGNED = {
3710,2813,7958,-11299,};
static const int8_t w5[72] FLASH ALIGNED = {
64,108,-13,9,-127,-9,97,-1,-60,30,-14,-50,12,0,6,-12,-7,-4,-28,11,-47,80,63,76,-30,18,-34,74,-14,
13,-26,-33,8,-27,-29,-53,-32,-30,-34,13,-42,-23,-10,-35,27,-15,-21,72,37,1,75,-11,13,65,5,-89,36,
-24,66,40,-11,-70,21,-8,14,20,-81,0,-81,46,-42,71,};
static const int32_t b6[4] FLASH ALIGNED = {
-16474,-20180,-37144,-14386,};
static const int8_t w7[144] FLASH ALIGNED = {
-18,32,-38,-14,-31,-11,-51,11,2,19,-20,31,-17,-4,39,20,-56,-22,-21,28,-68,-37,-44,-13,55,17,26,8,
12,-14,28,14,-18,-21,23,13,-3,21,-1,4,1,-6,14,20,13,31,-52,0,9,9,-41,22,28,14,-45,-8,6,-9,-34,
-32,-29,4,19,-6,-33,1,19,4,-61,-39,9,-14,26,22,-3,-59,-44,24,-3,-17,-7,-94,35,3,26,22,2,-45,-38,
-18,-25,-2,34,-127,-1,9,29,-12,5,-18,-24,-20,4,-4,16,-33,25,10,-9,-1,2,36,-26,-20,-33,-32,-23,
-24,-12,-70,21,22,34,32,13,19,-6,31,-29,-33,-15,-65,-13,11,-2,-9,6,30,28,45,4,31,5,-58,};
static const int32_t b8[10] FLASH ALIGNED = {
-68958,-26373,-22335,-23109,-83024,-3542,-80715,-32720,-55243,-41381,};
static const int8_t w9[640] FLASH ALIGNED = {
-9,-60,20,-22,-28,-12,-18,-25,4,8,-26,7,-5,-64,-33,26,-96,-51,1,-18,-16,-17,4,-21,40,16,20,15,11,
-44,36,-11,-103,-58,18,10,19,-5,0,-2,74,-17,21,-10,9,-7,5,-72,-59,-29,17,28,63,-17,11,25,-15,36,
-1,19,-119,69,-35,-54,38,-61,1,38,-23,-6,37,-3,-12,-18,47,-23,-5,-21,41,-20,8,-40,11,-52,-25,-46,
1,-69,86,-56,11,-63,14,-2,42,-29,10,-15,24,-35,22,-46,14,-66,-21,-14,4,-24,-40,-9,47,-2,-9,1,0,
-23,35,-13,18,-50,49,29,26,6,20,19,-23,50,31,34,-18,-43,27,25,-15,-18,28,-6,-16,-4,5,-83,22,12,
27,27,-12,-28,12,4,2,-8,21,-2,34,-2,-7,-24,32,-28,-37,9,19,-23,-9,-7,-16,-10,-29,6,-1,-6,-40,23,
-13,4,-79,-6,6,21,-46,22,5,5,-17,23,-48,15,32,18,-70,51,15,40,-74,-21,21,13,-77,-20,4,-7,-29,-8,
-20,-32,-10,5,24,6,-31,-53,-2,6,-18,-24,-26,-13,-31,2,-6,3,-5,13,48,5,-8,-15,28,34,-11,-4,3,13,
-44,19,33,-36,-13,14,83,2,-20,11,16,16,-26,5,5,-7,10,-1,15,-18,25,-6,-4,-97,44,26,-22,-89,70,26,
-51,-78,59,-2,-21,-18,43,-31,-29,-26,10,13,4,-11,1,22,-7,-63,19,4,-47,-5,22,-11,-39,44,-9,27,-36,
0,-8,32,-45,-16,-4,11,-81,3,-27,11,-55,21,-21,-3,-47,-12,-5,-30,-44,-30,-6,-45,11,-4,-5,19,-30,
-67,10,7,-15,-7,16,9,-4,20,-24,-2,6,62,-46,-31,11,-17,-1,4,-13,-14,-14,-15,3,-6,-48,-3,40,56,-70,
19,47,12,-15,1,15,13,9,-3,31,-6,-4,10,65,-33,11,-5,66,11,-50,3,20,8,-30,15,23,-12,10,-14,9,-39,
11,-23,-85,-69,29,-47,-53,-18,65,-32,-23,5,49,-64,71,59,22,-23,-126,-59,15,5,-20,-28,15,-1,-4,28,
-31,4,33,-11,-52,20,-127,-93,19,19,-38,-11,6,-2,-6,-22,-11,24,39,-24,-1,10,-35,-33,-6,17,2,5,-51,
21,-13,22,-42,31,-14,27,-15,5,35,44,-17,51,33,33,-50,18,19,-22,-55,4,-2,-40,-38,5,19,11,13,-25,
19,25,34,-56,2,-6,25,0,-37,-9,21,-12,-14,26,-48,-40,-6,7,30,-16,-35,1,33,-2,-45,17,-16,12,10,15,
4,-103,-48,-32,16,-69,-4,-29,46,-54,18,21,17,-14,-13,-20,4,12,-24,-4,-21,26,-27,12,-31,15,-15,7,
-17,12,11,-30,5,44,-20,-34,5,40,-50,-7,9,35,-54,6,-23,-5,-20,-38,17,8,-56,-31,-15,20,-68,-9,-28,
2,7,8,-23,24,-12,-38,22,32,-34,-12,-21,19,-24,-20,-11,9,19,-46,15,7,-64,-15,8,-3,-38,0,-18,12,-4,
-10,-57,6,3,4,-22,25,-37,6,16,32,-24,-10,-2,36,-34,-11,9,16,7,-7,9,-27,4,17,7,41,22,13,0,12,-26,
-37,-17,-28,-11,-6,-3,-36,36,18,5,-7,0,7,8,-14,-11,-22,19,-35,-56,-42,23,-11,};
static const int32_t power10[113] FLASH ALIGNED = {
2147483647,1764276043,1449449851,1190802830,978310025,803735672,660313007,542483476,445680033,
366150641,300812951,247134383,203034498,166804013,137038650,112584820,92494624,75989425,62429492,
51289274,42136955,34617828,28440451,23365394,19195960,15770537,12956364,10644366,8744931,7184444,
5902416,4849159,3983851,3272954,2688911,2209088,1814888,1491030,1224963,1006375,826792,679256,
558046,458466,376655,309443,254224,208859,171589,140970,115815,95148,78169,64220,52761,43346,
35611,29256,24036,19747,16223,13328,10950,8996,7391,6072,4988,4098,3367,2766,2272,1867,1534,1260,
1035,851,699,574,472,387,318,262,215,177,145,119,98,81,66,54,45,37,30,25,20,17,14,11,9,8,6,5,4,3,
3,2,2,2,1,1,1,1,1,};
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
static inline int32_t byte(int32_t a) {
#if defined(__ARM_FEATURE_SAT)
  __asm__("ssat %0, #8, %1" : "=r"(a) : "r"(a));
  return a;
#else
  return (int8_t)a == a ? a : (a >> 31) ^ 127;
#endif
}
static inline int32_t clamp(int32_t a, int32_t low, int32_t high) {
  return a < low ? low : a > high ? high : a;
}
#if defined(__AVR__)
/* (a * m + b) / 2^32, where the compiler would multiply and shift for some 350 cycles. */
static uint8_t __attribute__((noinline)) scaled(uint16_t a, uint32_t m, uint32_t b) {
  uint8_t y = 0, zero = 0;
  __asm__(
      "mul %A[a], %A[m]\n add %A[b], r0\n adc %B[b], r1\n"
      "adc %C[b], %[o]\n adc %D[b], %[o]\n adc %[y], %[o]\n"
      "mul %A[a], %B[m]\n add %B[b], r0\n adc %C[b], r1\n adc %D[b], %[o]\n adc %[y], %[o]\n"
      "mul %A[a], %C[m]\n add %C[b], r0\n adc %D[b], r1\n adc %[y], %[o]\n"
      "mul %A[a], %D[m]\n add %D[b], r0\n adc %[y], r1\n"
      "mul %B[a], %A[m]\n add %B[b], r0\n adc %C[b], r1\n adc %D[b], %[o]\n adc %[y], %[o]\n"
      "mul %B[a], %B[m]\n add %C[b], r0\n adc %D[b], r1\n adc %[y], %[o]\n"
      "mul %B[a], %C[m]\n add %D[b], r0\n adc %[y], r1\n"
      "mul %B[a], %D[m]\n add %[y], r0\n clr r1"
      : [y] "+&r"(y), [b] "+&r"(b)
      : [a] "r"(a), [m] "r"(m), [o] "r"(zero)
      : "r0");
  return y;
}
#endif
#if defined(__AVR__)
/* 16 cycles a product, where the compiler takes 67: two at a time, the second one first if odd. */
static int32_t __attribute__((noinline)) dots(
    const int8_t *x, const int8_t *w, unsigned n, unsigned skip, uint8_t rows) {
  int32_t a = 0;
  int8_t u, v;
  unsigned m;
#define TERM \
  "ld %[u], %a[x]+\n lpm %[v], %a[w]+\n muls %[u], %[v]\n" \
  "clr %[u]\n sbrc r1, 7\n com %[u]\n" \
  "add %A[a], r0\n adc %B[a], r1\n adc %C[a], %[u]\n adc %D[a], %[u]\n"
  __asm__ volatile(
      "0: movw %[m], %[n]\n lsr %B[m]\n ror %A[m]\n brcc 1f\n adiw %[m], 1\n rjmp 2f\n"
      "1: " TERM "2: " TERM "sbiw %[m], 1\n brne 1b\n"
      "add %A[x], %A[s]\n adc %B[x], %B[s]\n dec %[r]\n brne 0b\n clr r1"
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
/* The upper half of twice a product, ties upwards. */
static inline int32_t multiply(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}
/* Divided by 2 to the power of n, ties away from 0. */
static inline int32_t shifted(int32_t a, int n) {
  const int32_t mask = (int32_t)(((uint32_t)1 << (n > 0 ? n : 0)) - 1);
  return n > 0 ? (a >> n) + ((a & mask) > (mask >> 1) + (a < 0)) : a;
}
static void conv2d0(const int8_t *x0, int8_t *y, const int16_t *c0, const int8_t *c1) {
  unsigned n = 0;
  for (int v = 0; v < 26; v++) {
    for (int u = 0; u < 26; u++) {
      const int8_t *p = x0 + v * 28 + u * 1;
      for (unsigned o = 0; o < 2; o++) {
        int32_t a = dots(p, c1 + o * 9, 3, 25, 3) + I16(c0 + o);
#if defined(__AVR__)
        a -= -96;
        a = a < 0 ? 0 : a > 48816 ? 48816 : a;
        a = scaled((uint16_t)a, 22523328u, 1726464u) - 128;
#elif NARROW
        a = (a * 21 + ((a * 7863 + 11776) >> 14) - 522225) >> 12;
        a = byte(a);
#else
        a = (int32_t)(((int64_t)a * 351927 + (int64_t)-8556122624LL) >> 26);
        a = byte(a);
#endif
        (y + n * 2)[o] = (int8_t)a;
      }
      n++;
    }
  }
}
static void conv2d1(const int8_t *x0, int8_t *y, const int32_t *c0, const int8_t *c1) {
  unsigned n = 0;
  for (int v = 0; v < 24; v++) {
    for (int u = 0; u < 24; u++) {
      const int8_t *p = x0 + v * 52 + u * 2;
      for (unsigned o = 0; o < 2; o++) {
        int32_t a = dots(p, c1 + o * 18, 6, 46, 3) + I32(c0 + o);
#if defined(__AVR__)
        a -= -93;
        a = a < 0 ? 0 : a > 47380 ? 47380 : a;
        a = scaled((uint16_t)a, 23205664u, 6265184u) - 128;
#elif NARROW
        a = (a * 44 + ((a * 4281 + 4096) >> 14) - 1044448) >> 13;
        a = byte(a);
#else
        a = (int32_t)(((int64_t)a * 725177 + (int64_t)-17112231936LL) >> 27);
        a = byte(a);
#endif
        (y + n * 2)[o] = (int8_t)a;
      }
      n++;
    }
  }
}
static void maxpool2d2(const int8_t *x0, int8_t *y) {
  unsigned n = 0;
  for (int v = 0; v < 12; v++) {
    for (int u = 0; u < 12; u++) {
      const int8_t *p = x0 + v * 96 + u * 4;
      for (unsigned o = 0; o < 2; o++) {
        const int8_t *q = p + o;
        int32_t a = -128;
        for (unsigned i = 0; i < 2; i++, q += 44) {
          for (unsigned j = 0; j < 2; j++, q += 2) {
            if (*q > a) a = *q;
          }
        }
        (y + n * 2)[o] = (int8_t)a;
      }
      n++;
    }
  }
}
static void conv2d3(const int8_t *x0, int8_t *y, const int16_t *c0, const int8_t *c1) {
  unsigned n = 0;
  for (int v = 0; v < 10; v++) {
    for (int u = 0; u < 10; u++) {
      const int8_t *p = x0 + v * 24 + u * 2;
      for (unsigned o = 0; o < 4; o++) {
        int32_t a = dots(p, c1 + o * 18, 6, 18, 3) + I16(c0 + o);
#if defined(__AVR__)
        a -= -104;
        a = a < 0 ? 0 : a > 53018 ? 53018 : a;
        a = scaled((uint16_t)a, 20737952u, 7513856u) - 128;
#elif NARROW
        a = (a * 39 + ((a * 9085) >> 14) - 1044448) >> 13;
        a = byte(a);
#else
        a = (int32_t)(((int64_t)a * 648061 + (int64_t)-17112236032LL) >> 27);
        a = byte(a);
#endif
        (y + n * 4)[o] = (int8_t)a;
      }
      n++;
    }
  }
}
static void conv2d4(const int8_t *x0, int8_t *y, const int32_t *c0, const int8_t *c1) {
  unsigned n = 0;
  for (int v = 0; v < 8; v++) {
    for (int u = 0; u < 8; u++) {
      const int8_t *p = x0 + v * 40 + u * 4;
      for (unsigned o = 0; o < 4; o++) {
        int32_t a = dots(p, c1 + o * 36, 12, 28, 3) + I32(c0 + o);
#if defined(__AVR__)
        a -= -47;
        a = a < 0 ? 0 : a > 23736 ? 23736 : a;
        a = scaled((uint16_t)a, 46321088u, 4274624u) - 128;
#elif NARROW
        a = (a * 88 + ((a * 2871 + 5120) >> 13) - 1044416) >> 13;
        a = byte(a);
#else
        a = (int32_t)(((int64_t)a * 723767 + (int64_t)-8555850752LL) >> 26);
        a = byte(a);
#endif
        (y + n * 4)[o] = (int8_t)a;
      }
      n++;
    }
  }
}
static void maxpool2d5(const int8_t *x0, int8_t *y) {
  unsigned n = 0;
  for (int v = 0; v < 4; v++) {
    for (int u = 0; u < 4; u++) {
      const int8_t *p = x0 + v * 64 + u * 8;
      for (unsigned o = 0; o < 4; o++) {
        const int8_t *q = p + o;
        int32_t a = -128;
        for (unsigned i = 0; i < 2; i++, q += 24) {
          for (unsigned j = 0; j < 2; j++, q += 4) {
            if (*q > a) a = *q;
          }
        }
        (y + n * 4)[o] = (int8_t)a;
      }
      n++;
    }
  }
}
static void fullyconnected6(const int8_t *x0, int8_t *y, const int32_t *c0, const int8_t *c1) {
  for (unsigned o = 0; o < 10; o++) {
    int32_t a = dot(x0, c1 + o * 64, 64) + I32(c0 + o);
#if NARROW
    a = (a * 319 + ((a * 3317) >> 12) + 4259840) >> 17;
    a = byte(a);
#else
    a = (int32_t)(((int64_t)a * 1309941 + (int64_t)17448304640LL) >> 29);
    a = byte(a);
#endif
    y[o] = (int8_t)a;
  }
}
static void softmax7(const int8_t *x0, int8_t *y, const int32_t *c0) {
  for (unsigned r = 0; r < 1; r++) {
    int32_t most = -128, sum = 0;
    for (unsigned o = 0; o < 10; o++) if (x0[o] > most) most = x0[o];
    for (unsigned o = 0; o < 10; o++) {
      const int32_t d = most - x0[o];
      if (d < 113) sum += shifted(I32(c0 + d), 12);
    }
    int n = 0;
    while (((uint32_t)sum << n & 0x80000000u) == 0) n++;
    const int32_t half = (int32_t)((uint32_t)sum << n >> 1);
    int32_t z = 1515870810 + multiply(half, -1010580540);
    for (int i = 0; i < 3; i++) z += multiply(z, ((int32_t)1 << 29) - multiply(half, z)) * 4;
    z = z >= (int32_t)1 << 30 ? INT32_MAX : z * 2;
    for (unsigned o = 0; o < 10; o++) {
      const int32_t d = most - x0[o];
      y[o] = (int8_t)(d < 113 ? clamp(shifted(multiply(z, I32(c0 + d)), 35 - n) - 128, -128, 127) : -128);
    }
    x0 += 10;
    y += 10;
  }
}

static int8_t arena[1420] ALIGNED;

int8_t *digits_input(void) { return arena + 636; }

const int8_t *digits_logits(void) {
  conv2d0(arena + 636, arena + 8, b0, w1);
  conv2d1(arena + 8, arena + 4, b2, w3);
  maxpool2d2(arena + 4, arena);
  conv2d3(arena, arena + 288, b4, w5);
  conv2d4(arena + 288, arena + 16, b6, w7);
  maxpool2d5(arena + 16, arena + 12);
  fullyconnected6(arena + 12, arena, b8, w9);
  return arena;
}

const int8_t *digits_run(void) {
  digits_logits();
  softmax7(arena, arena, power10);
  return arena;
}

int digits_argmax(void) {
  const int8_t *y = digits_logits();
  int best = 0;
  for (int o = 1; o < 10; o++) if (y[o] > y[best]) best = o;
  return best;
}
