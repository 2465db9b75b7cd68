/* What an emulated microcontroller runs around a net. Its exit status, or what it prints on an AVR's
   serial line, is 0 if REPEATS is 0 and the self-test passes; else it classifies so often. */

#define JOIN(a, b) a##b
#define NAME(a, b) JOIN(a, b)
int NAME(NET, _selftest)(void);
#if !defined(CALL)
#define CALL _argmax
#endif

#if REPEATS
int NAME(NET, CALL)(void); /* whatever it returns */
#endif

static int work(void) {
#if REPEATS
  for (int i = 0; i < REPEATS; i++) NAME(NET, CALL)();
  return 0;
#else
  return NAME(NET, _selftest)();
#endif
}

#if defined(__AVR__)
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

static volatile uint32_t overflows; /* of a timer that counts cycles */

ISR(TIMER1_OVF_vect) { overflows++; }

static void say(uint32_t number) {
  char digits[11];
  int8_t count = 0;
  do digits[count++] = (char)('0' + number % 10);
  while (number /= 10);
  while (count) {
    while (!(UCSR0A & 1 << UDRE0)) {}
    UDR0 = (uint8_t)digits[--count];
  }
  while (!(UCSR0A & 1 << UDRE0)) {}
  UDR0 = '\n';
}

int main(void) {
  UCSR0B = 1 << TXEN0;
  TIMSK1 = 1 << TOIE1;
  TCCR1B = 1 << CS10;
  sei();
  const int result = work();
  const uint16_t cycles = TCNT1;
  say(overflows << 16 | cycles);
  say((uint32_t)result);
  cli();
  sleep_mode(); /* with interrupts off, the emulator ends */
  return 0;
}
#else
int main(void) { return work(); }
#endif
