#include <zephyr/console/console.h>
#include <zephyr/sys/printk.h>

#include "drawing.h"
#include "digits.h"

int main(void) {
  console_init();
  for (;;) {
    read_image(console_getchar);
    printk("%d\n", digits_argmax());
  }
}
