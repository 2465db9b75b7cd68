#include "drawing.h"

#include <string.h>

#include "digits.h"

enum { ROWS = 28, COLUMNS = DIGITS_INPUT_SIZE / ROWS, BLACK = -128, WHITE = 127 };

void read_image(int (*next)(void)) {
  int8_t *pixels = digits_input();
  int c = next();
  while (c == '\n' || c == '\r') c = next();
  if (c == '!') {
    for (int i = 0; i < DIGITS_INPUT_SIZE; i++) pixels[i] = (int8_t)(next() + BLACK);
    return;
  }
  memset(pixels, BLACK, DIGITS_INPUT_SIZE);
  for (int row = 0; row < ROWS; row++) {
    int column = 0;
    for (; c != '\n'; c = next()) {
      if (c == '\r' || column == COLUMNS) continue;
      pixels[row * COLUMNS + column++] = c == ' ' || c == '.' ? BLACK : WHITE;
    }
    if (column == 0) return;
    if (row + 1 < ROWS) c = next();
  }
}
