#include <stdio.h>

#include "drawing.h"
#include "digits.h"
#include "pico/stdlib.h"

int main(void) {
  stdio_init_all();
  for (;;) {
    read_image(getchar);
    printf("%d\n", digits_argmax());
  }
}
