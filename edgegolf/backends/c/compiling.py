"""Compiles what `write` gives: to compare it with the interpreter, and to know what it takes."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgegolf.backends.c.writer import CFiles, Target
from edgegolf.errors import EdgegolfError
from edgegolf.ir import Graph
from edgegolf.ir.interpreter import run
from edgegolf.ir.tensor import Array

#: What the source compiles with, and without a warning.
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")

_TIMEOUT_S = 600

# A function without macros: its name, and its body on the same or on more lines.
_FUNCTION = re.compile(
    r"^(?![#\s}])[^;{}]*?\b(\w+)\([^(){};]*\)\s*\{(?: ([^\n]*)\}$|\n(.*?)^\})", re.M | re.S
)

# Answers every input on standard input with the output; what lies in the arena else is rubbish.
_MAIN = """\
#include <stdio.h>
#include "{name}.c"
int main(void) {{
  int rubbish = 0;
  while (memset(arena, rubbish, sizeof arena),
         fread({name}_input(), 1, {upper}_INPUT_SIZE, stdin) == {upper}_INPUT_SIZE) {{
    rubbish = (rubbish + 85) & 255;
    const void *y = {name}_run();
    if (fwrite(y, {size}, {upper}_OUTPUT_SIZE, stdout) != {upper}_OUTPUT_SIZE) return 1;
  }}
  return 0;
}}
"""


@dataclass(frozen=True)
class Device:
    """A chip, or one of a family."""

    name: str  # of it
    flash_bytes: int  # for program and constants
    ram_bytes: int  # static and stack
    compiler: tuple[str, ...]  # with the options that choose it
    package: str  # the Debian packages that have the compiler


def _arm(name: str, flash: int, ram: int, cpu: str) -> Device:
    command = ("arm-none-eabi-gcc", "-mthumb", f"-mcpu={cpu}")
    package = "gcc-arm-none-eabi libnewlib-arm-none-eabi"
    return Device(name, flash * 1024, ram * 1024, command, package)


def _avr(name: str, flash: int, ram: int) -> Device:
    return Device(name, flash, ram, ("avr-gcc", f"-mmcu={name}"), "gcc-avr avr-libc")


#: Devices by name. Arduino Uno and Nano have an ATmega328P, the Mega an ATmega2560.
DEVICES = {
    device.name: device
    for device in (
        _avr("atmega328p", 32 * 1024 - 512, 2048),  # less the boot loader
        _avr("atmega1284p", 128 * 1024, 16 * 1024),
        _avr("atmega2560", 256 * 1024 - 8192, 8192),
        _arm("rp2040", 2048, 264, "cortex-m0plus"),
        _arm("microbit", 256, 16, "cortex-m0"),
        _arm("stm32f103c8", 64, 20, "cortex-m3"),
        _arm("nrf52840", 1024, 256, "cortex-m4"),
        _arm("rp2350", 4096, 520, "cortex-m33"),
    )
}


@dataclass(frozen=True)
class Footprint:
    """What the compiled files take."""

    compiler: str | None  # which compiler, with which options; None if there is none here
    code_bytes: int | None  # machine code; None without a compiler
    constant_bytes: int  # weights, biases, factors and tables
    arena_bytes: int  # static RAM
    # Of the deepest call, as the compiler tells it: without what it does not count, such as return
    # addresses of AVRs, and library functions; None without one.
    stack_bytes: int | None

    @property
    def flash_bytes(self) -> int:
        """Code and constants."""
        return (self.code_bytes or 0) + self.constant_bytes

    @property
    def ram_bytes(self) -> int:
        """Arena and stack."""
        return self.arena_bytes + (self.stack_bytes or 0)


def find_compiler(device: Device | None) -> tuple[str, ...] | None:
    """The command that compiles for a device or, for None, for this machine, if there is one.

    Raises:
        EdgegolfError: That of a device is not installed.
    """
    if device is None:
        here = (name for name in ("gcc", "cc", "clang") if shutil.which(name))
        return next(((name,) for name in here), None)
    if shutil.which(device.compiler[0]) is None:
        raise EdgegolfError(
            f"{device.compiler[0]} is not installed, which compiles for {device.name}",
            hint=f"apt install {device.package}",
        )
    return device.compiler


def this_machine() -> Target:
    """The target that this machine is."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return "x86"
    return "aarch64" if machine in ("aarch64", "arm64") else "portable"


def differing(
    graph: Graph, files: CFiles, images: Array, options: tuple[str, ...] = (),
    expected: Array | None = None,
) -> int:  # fmt: skip
    """For how many inputs the compiled files give another output than the interpreter.

    Args:
        graph: What the files are of.
        files: The files.
        images: Inputs, `[n, …]`.
        options: Of the compiler, beyond `STRICT` and `-O2`.
        expected: The interpreter's outputs, if they are known.

    Raises:
        EdgegolfError: There is no compiler, it refuses the files, or the program crashes.
    """
    here = find_compiler(None)
    if here is None:
        raise EdgegolfError("there is no C compiler here", hint="apt install gcc libc6-dev")
    if expected is None:
        (expected,) = run(graph, [images])
    count = len(images) // graph.inputs[0].shape[0] if graph.inputs[0].shape else 1
    with tempfile.TemporaryDirectory() as folder:
        _save(files, Path(folder))
        main = Path(folder) / "main.c"
        size = expected.dtype.itemsize
        main.write_text(_MAIN.format(name=files.name, upper=files.name.upper(), size=size))
        program = Path(folder) / "program"
        command = [*here, *STRICT, "-O2", *options, str(main), "-o", str(program)]
        _called(command, "the compiler refuses the C")
        said = _called([str(program)], "the compiled net fails", images.tobytes())
    found = np.frombuffer(said, expected.dtype)
    if found.size != expected.size:
        raise EdgegolfError(f"the compiled net gives {found.size} numbers, not {expected.size}")
    rows = found.reshape(count, -1) != expected.reshape(count, -1)
    return int(rows.any(axis=1).sum())


def footprint(files: CFiles, command: tuple[str, ...] | None) -> Footprint:
    """What the files take when a compiler, if there is one, makes them small.

    Raises:
        EdgegolfError: It refuses them.
    """
    if command is None:
        return Footprint(None, None, files.constant_bytes, files.arena_bytes, None)
    with tempfile.TemporaryDirectory() as folder:
        source = _save(files, Path(folder))
        result = source.with_suffix(".o")
        options = ("-std=c99", "-Os", "-fstack-usage", "-c", str(source), "-o", str(result))
        _called([*command, *options], f"{command[0]} refuses the C")
        size = command[0].removesuffix("gcc") + "size" if "-gcc" in command[0] else "size"
        text, data, *_ = _called([size, str(result)], f"{size} fails").splitlines()[1].split()
        usage = source.with_suffix(".su")
        stack = 0
        if usage.is_file():
            expand = [*command, "-std=c99", "-Os", "-E", "-P", str(source)]
            expanded = _called(expand, f"{command[0]} refuses the C")
            stack = _deepest(usage.read_text(), expanded.decode(), f"{files.name}_run")
    code = int(text) + int(data) - files.constant_bytes
    return Footprint(
        " ".join((*command, "-Os")), code, files.constant_bytes, files.arena_bytes, stack
    )


def _deepest(usage: str, source: str, outermost: str) -> int:
    """The stack of a function's deepest call: frames by the compiler, calls as in the source."""
    frames = {key: int(size) for key, size in re.findall(r":(\w+)[\w.]*\t(\d+)\t", usage)}
    bodies = {key: " ".join(body) for key, *body in _FUNCTION.findall(source)}

    def depth(key: str) -> int:
        called = bodies.keys() & re.findall(r"\w+(?=\()", bodies[key])
        return frames.get(key, 0) + max(map(depth, called), default=0)

    return depth(outermost)


def _save(files: CFiles, folder: Path) -> Path:
    (folder / f"{files.name}.h").write_text(files.header)
    source = folder / f"{files.name}.c"
    source.write_text(files.source)
    return source


def _called(command: list[str], failure: str, given: bytes = b"") -> bytes:
    """What a program writes. Raises EdgegolfError if it cannot be run or fails."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgegolfError(f"{failure}: {error}") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = next((line for line in lines if "error" in line), f"status {done.returncode}")
        raise EdgegolfError(f"{failure}: {said}")
    return done.stdout
