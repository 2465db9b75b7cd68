#ifndef DIGITS_H
#define DIGITS_H

#include <stdint.h>

#define DIGITS_INPUT_SIZE 784
#define DIGITS_INPUT_SCALE 0.00392156886f
#define DIGITS_INPUT_ZERO_POINT -128
#define DIGITS_OUTPUT_SIZE 10
#define DIGITS_OUTPUT_SCALE 0.00390625f
#define DIGITS_OUTPUT_ZERO_POINT -128
#define DIGITS_ARENA_BYTES 1420

#ifdef __cplusplus
extern "C" {
#endif

/* Where the input goes, [1, 28, 28, 1]; a run overwrites it. */
int8_t *digits_input(void);
/* Compute the output, [1, 10]. */
const int8_t *digits_run(void);
/* The same without the softmax at the end. */
const int8_t *digits_logits(void);
/* Compute which output is the largest. */
int digits_argmax(void);

#ifdef __cplusplus
}
#endif

#endif
