"""Projects around the C of a net that compile as they are: an image comes in, a class goes out."""

from __future__ import annotations

from typing import Literal

from edgegolf.backends.c.layer import ctype
from edgegolf.backends.c.writer import CFiles
from edgegolf.ir import Tensor

Project = Literal["arduino", "platformio", "pico", "zephyr"]

_DRAWING_H = """\
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
"""

_DRAWING_C = """\
#include "drawing.h"

#include <string.h>

#include "@.h"

enum { ROWS = @ROWS, COLUMNS = @SIZE / ROWS, BLACK = @LOW, WHITE = @HIGH };

void read_image(int (*next)(void)) {
  @TYPE *pixels = @_input();
  int c = next();
  while (c == '\\n' || c == '\\r') c = next();
  if (c == '!') {
    for (int i = 0; i < @SIZE; i++) pixels[i] = (@TYPE)(next() + BLACK);
    return;
  }
  memset(pixels, BLACK, @SIZE);
  for (int row = 0; row < ROWS; row++) {
    int column = 0;
    for (; c != '\\n'; c = next()) {
      if (c == '\\r' || column == COLUMNS) continue;
      pixels[row * COLUMNS + column++] = c == ' ' || c == '.' ? BLACK : WHITE;
    }
    if (column == 0) return;
    if (row + 1 < ROWS) c = next();
  }
}
"""

_SKETCH = """\
#include <Arduino.h>

#include "drawing.h"
#include "@.h"

static int next_byte(void) {
  while (!Serial.available()) {}
  return Serial.read();
}

void setup() {
  Serial.begin(115200);
  Serial.println(F("Draw @ROWS lines, blanks and dots are black; an empty line ends them."));
}

void loop() {
  read_image(next_byte);
  Serial.println(@_argmax());
}
"""

_PLATFORMIO = """\
[env:uno]
platform = atmelavr
board = uno
framework = arduino
monitor_speed = 115200
"""

_PICO = """\
#include <stdio.h>

#include "drawing.h"
#include "@.h"
#include "pico/stdlib.h"

int main(void) {
  stdio_init_all();
  for (;;) {
    read_image(getchar);
    printf("%d\\n", @_argmax());
  }
}
"""

_PICO_CMAKE = """\
cmake_minimum_required(VERSION 3.13)
include($ENV{PICO_SDK_PATH}/external/pico_sdk_import.cmake)
project(@ C CXX ASM)
pico_sdk_init()
add_executable(@ main.c drawing.c @.c)
target_link_libraries(@ pico_stdlib)
pico_enable_stdio_usb(@ 1)
pico_add_extra_outputs(@)
"""

_ZEPHYR = """\
#include <zephyr/console/console.h>
#include <zephyr/sys/printk.h>

#include "drawing.h"
#include "@.h"

int main(void) {
  console_init();
  for (;;) {
    read_image(console_getchar);
    printk("%d\\n", @_argmax());
  }
}
"""

_ZEPHYR_CMAKE = """\
cmake_minimum_required(VERSION 3.20)
find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})
project(@ LANGUAGES C)
target_sources(app PRIVATE src/main.c src/drawing.c src/@.c)
"""

_README = """\
# @

@HOW

Then, on the serial line, send @ROWS lines of @COLUMNS characters (blanks and dots are black,
others white; an empty line ends the image early), or `!` and @SIZE_NUMBER bytes, 0 for black. The
answer is the number of the class. Wait for it before you send the next image.

`edgegolf c --project @PROJECT` wrote this.
"""

#: Of each kind: its files besides the common ones, where those go, and how it is built.
_KINDS: dict[Project, tuple[dict[str, str], str, str]] = {
    "arduino": (
        {"@FOLDER.ino": _SKETCH}, "",
        "Open `@FOLDER.ino` in the Arduino IDE, choose your board and its port, and upload; the "
        "serial\nmonitor must be set to 115200 baud and to end lines with a newline.",
    ),
    "platformio": (
        {"platformio.ini": _PLATFORMIO, "src/main.cpp": _SKETCH}, "src/",
        "`pio run --target upload`, then `pio device monitor`.",
    ),
    "pico": (
        {"CMakeLists.txt": _PICO_CMAKE, "main.c": _PICO}, "",
        "With `PICO_SDK_PATH` set: `cmake -B build && cmake --build build`. Copy `build/@.uf2` to "
        "the Pico\nwhile its button is pressed.",
    ),
    "zephyr": (
        {"CMakeLists.txt": _ZEPHYR_CMAKE, "src/main.c": _ZEPHYR,
         "prj.conf": "CONFIG_CONSOLE_SUBSYS=y\nCONFIG_CONSOLE_GETCHAR=y\n"}, "src/",
        "In a Zephyr workspace: `west build -b BOARD`, then `west flash`.",
    ),
}  # fmt: skip


def project(kind: Project, folder: str, files: CFiles, given: Tensor) -> dict[str, str]:
    """The text of each file by its path in the project.

    Args:
        kind: What it is for.
        folder: Its name.
        files: The C of the net.
        given: The net's input: `[1, rows, columns, channels]`, or others, whose numbers are a row.
    """
    rows = given.shape[1] if len(given.shape) == 4 else 1
    low, high = given.limits
    values = {
        "@ROWS": rows, "@COLUMNS": given.elements // rows, "@SIZE_NUMBER": given.elements,
        "@SIZE": f"{files.name.upper()}_INPUT_SIZE", "@LOW": low, "@HIGH": high,
        "@TYPE": ctype(given), "@FOLDER": folder, "@PROJECT": kind,
    }  # fmt: skip
    own, place, how = _KINDS[kind]
    common = {"drawing.c": _DRAWING_C, "drawing.h": _DRAWING_H, f"{files.name}.c": files.source,
              f"{files.name}.h": files.header}  # fmt: skip
    texts = {**own, "README.md": _README.replace("@HOW", how)}

    def filled(text: str) -> str:
        for key, value in values.items():
            text = text.replace(key, str(value))
        return text.replace("@", files.name)

    return {
        **{filled(path): filled(text) for path, text in texts.items()},
        **{place + path: filled(text) for path, text in common.items()},
    }
