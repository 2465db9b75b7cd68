/* An emulated Arduino Uno: PROGRAM gets what standard input holds on its serial line, and ends after
   LINES lines of its own. Prints those, the cycles since the input, and the deepest stack. */

#include <stdio.h>
#include <stdlib.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

static int lines, open_line = 1;

static void said(struct avr_irq_t *irq, uint32_t value, void *nothing) {
  (void)irq, (void)nothing;
  putchar((int)value);
  lines += value == '\n';
}

static void flow(struct avr_irq_t *irq, uint32_t value, void *opens) {
  (void)irq, (void)value;
  open_line = opens != NULL;
}

int main(int count, char **arguments) {
  elf_firmware_t firmware = {0};
  if (count < 3 || elf_read_firmware(arguments[1], &firmware)) return 2;
  avr_t *avr = avr_make_mcu_by_name("atmega328p");
  avr_init(avr);
  avr->log = LOG_ERROR;
  firmware.frequency = 16000000;
  avr_load_firmware(avr, &firmware);
  uint32_t flags = 0;
  avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
  const uint32_t serial = AVR_IOCTL_UART_GETIRQ('0');
  avr_irq_register_notify(avr_io_getirq(avr, serial, UART_IRQ_OUTPUT), said, NULL);
  avr_irq_register_notify(avr_io_getirq(avr, serial, UART_IRQ_OUT_XON), flow, avr);
  avr_irq_register_notify(avr_io_getirq(avr, serial, UART_IRQ_OUT_XOFF), flow, NULL);
  unsigned lowest = avr->ramend;
  avr_cycle_count_t start = 0;
  int next = getchar();
  while (lines < atoi(arguments[2])) {
    const int state = avr_run(avr);
    if (state == cpu_Done || state == cpu_Crashed || avr->cycle > 2000000000) return 1;
    const unsigned stack = avr->data[R_SPL] | avr->data[R_SPH] << 8;
    if (lines && stack < lowest) lowest = stack;
    if (lines && next != EOF && open_line) {
      avr_raise_irq(avr_io_getirq(avr, serial, UART_IRQ_INPUT), (uint32_t)next);
      next = getchar();
      start = avr->cycle;
    }
  }
  printf("%llu %u\n", (unsigned long long)(avr->cycle - start), avr->ramend - lowest);
  return 0;
}
