#include <Arduino.h>

#include "drawing.h"
#include "digits.h"

static int next_byte(void) {
  while (!Serial.available()) {}
  return Serial.read();
}

void setup() {
  Serial.begin(115200);
  Serial.println(F("Draw 28 lines, blanks and dots are black; an empty line ends them."));
}

void loop() {
  read_image(next_byte);
  Serial.println(digits_argmax());
}
