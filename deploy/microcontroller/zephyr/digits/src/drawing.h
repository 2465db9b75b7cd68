#ifndef DRAWING_H
#define DRAWING_H

#ifdef __cplusplus
extern "C" {
#endif

/* Fill the input of the net with what comes byte by byte: lines of characters, of which blanks and
   dots are black and others white, up to an empty line or the last row; or "!" and then a byte for
   each number, 0 for the smallest. */
void read_image(int (*next)(void));

#ifdef __cplusplus
}
#endif

#endif
