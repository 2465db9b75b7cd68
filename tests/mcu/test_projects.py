"""The committed projects compile; an Arduino Uno tells a seven that is drawn on its serial line.

PlatformIO has the Arduino sketch. Zephyr is not at hand, so that its `main.c` is not compiled; nor
is the Pico SDK, whose part in `main.c` is to begin standard input and output.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from drawings import SEVEN

from edgegolf.emulation.cores import CORES

DEPLOY = Path(__file__).parents[2] / "deploy" / "microcontroller"
CORE = Path("/usr/share/arduino/hardware/arduino/avr")
# As the Arduino IDE calls the compiler.
ARDUINO = ("avr-gcc", "-mmcu=atmega328p", "-DF_CPU=16000000L", "-DARDUINO=10819", "-std=gnu++11",
           "-DDECIMAL_DIG=9", "-Os",
           "-w",
           "-flto", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")  # fmt: skip
FLASH, RAM = 32_256, 2_048


def called(*command: str | Path, sent: str = "") -> str:
    return subprocess.run(
        command, input=sent, stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.mcu
def test_the_sketch_works_on_an_arduino_uno(tmp_path: Path) -> None:
    simulator = Path("/usr/include/simavr/sim_avr.h")
    if not (CORE.exists() and shutil.which("avr-gcc") and simulator.exists()):
        pytest.skip("arduino-core-avr, gcc-avr or libsimavr-dev is not installed")
    sketch = built_sketch(DEPLOY / "arduino" / "digits", tmp_path)
    sizes = called("avr-size", sketch).splitlines()[1].split()
    text, data, bss = map(int, sizes[:3])
    assert text + data <= FLASH
    host = tmp_path / "uno"
    called("gcc", "-O2", Path(__file__).with_name("uno.c"), "-o", host, "-lsimavr", "-lelf")
    greeting, answer, counts = called(host, sketch, "2", sent=SEVEN).splitlines()[-3:]
    assert greeting.startswith("Draw 28 lines")
    assert answer == "7"
    _, stack = map(int, counts.split())
    assert data + bss + stack <= RAM


def built_sketch(folder: Path, place: Path) -> Path:
    core, variant = CORE / "cores" / "arduino", CORE / "variants" / "standard"
    sources: Sequence[Path] = [
        path for kind in ("c", "cpp", "S") for path in core.glob(f"*.{kind}")
    ]
    program = place / "sketch.elf"
    called(*ARDUINO, f"-I{core}", f"-I{variant}", *sources, *folder.glob("*.c"),
           "-x", "c++", *folder.glob("*.ino"), "-o", program)  # fmt: skip
    return program


@pytest.mark.mcu
def test_platformio_has_the_same_sketch() -> None:
    (sketch,) = (DEPLOY / "arduino" / "digits").glob("*.ino")
    assert (DEPLOY / "platformio" / "digits" / "src" / "main.cpp").read_text() == sketch.read_text()


@pytest.mark.mcu
def test_the_program_of_a_pico_compiles_for_its_kind_of_core(tmp_path: Path) -> None:
    core = CORES["cortex-m0"]
    if shutil.which(core.compiler[0]) is None:
        pytest.skip(f"{core.compiler[0]} is not installed")
    (tmp_path / "pico").mkdir()
    (tmp_path / "pico" / "stdlib.h").write_text("#define stdio_init_all()\n")
    sources = (DEPLOY / "pico" / "digits").glob("*.c")
    called(*core.compiler, "-Os", "-Wall", "-Werror", f"-I{tmp_path}", *sources,
           "-o", tmp_path / "digits.elf")  # fmt: skip
