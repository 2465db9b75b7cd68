"""C on emulated microcontrollers: whether it is right there, what it takes, how long it computes.

QEMU counts instructions of Cortex-M and RISC-V cores, simavr the cycles of an AVR.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from edgegolf.backends import c
from edgegolf.emulation.emulator import plugin
from edgegolf.errors import EdgegolfError
from edgegolf.export.c_files import random_inputs, read_model
from edgegolf.progress import track

_MAIN = Path(__file__).with_name("core_main.c")
_SMALL = ("-std=gnu99", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")
_TIMEOUT_S = 600


def _picolibc(flash: str, ram: str, size: str) -> tuple[str, ...]:
    """Options that link with a start-up that ends the emulator with the program's status."""
    places = {"flash": flash, "flash_size": "4M", "ram": ram, "ram_size": size}
    options = (f"-Wl,--defsym=__{name}={value}" for name, value in places.items())
    return ("--specs=picolibc.specs", "--oslib=semihost", "--crt0=semihost", *options)


@dataclass(frozen=True)
class Core:
    """A processor that is emulated."""

    name: str  # of it
    compiler: tuple[str, ...]  # with the options that choose it
    emulator: tuple[str, ...]  # with those that choose a machine; the program's path follows
    unit: str = "instructions"  # what is counted
    # The compiler's option for speed. At -O2 it makes shifts and sums of the multiplications of a
    # Cortex-M0, which take longer.
    fast: str = "-O2"
    target: c.Target = "portable"  # for what C is written


_QEMU = ("-nographic", "-monitor", "none", "-serial", "null",
         "-semihosting-config", "enable=on,target=native", "-kernel")  # fmt: skip

CORES = {
    core.name: core
    for core in (
        Core("atmega328p", ("avr-gcc", "-mmcu=atmega328p", "-mcall-prologues"),
             ("simavr", "-m", "atmega328p", "-f", "16000000"), "cycles"),
        Core("cortex-m0", ("arm-none-eabi-gcc", "-mthumb", "-mcpu=cortex-m0",
                           *_picolibc("0", "0x20000000", "16K")),
             ("qemu-system-arm", "-M", "microbit", *_QEMU), fast="-Os"),
        Core("cortex-m4", ("arm-none-eabi-gcc", "-mthumb", "-mcpu=cortex-m4",
                           *_picolibc("0", "0x20000000", "1M")),
             ("qemu-system-arm", "-M", "mps2-an386", *_QEMU)),
        Core("rv32imac", ("riscv64-unknown-elf-gcc", "-march=rv32imac", "-mabi=ilp32",
                          *_picolibc("0x80000000", "0x80400000", "4M")),
             ("qemu-system-riscv32", "-M", "virt", "-bios", "none", *_QEMU)),
    )
}  # fmt: skip

#: Those of Raspberry Pis 4 and 5, for which C has vectors, and the softmax is counted.
PIS = {
    name: Core(name, ("aarch64-linux-gnu-gcc", "-static", f"-mcpu={name}", "-DCALL=_run"),
               ("qemu-aarch64", "-cpu", name), fast="-O3", target="aarch64")
    for name in ("cortex-a72", "cortex-a76")
}  # fmt: skip

#: What has all compilers and emulators on Debian.
PACKAGES = (
    "gcc-avr avr-libc simavr gcc-arm-none-eabi picolibc-arm-none-eabi qemu-system-arm "
    "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc "
    "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
)


@dataclass(frozen=True)
class Run:
    """A net on a core."""

    flash_bytes: int  # program and constants, less an empty program's; without the softmax
    ram_bytes: int  # static, less an empty program's
    count: int  # of `Core.unit`, of one inference up to the logits


@dataclass(frozen=True)
class CoreCount:
    """What a model file as C takes on an emulated microcontroller."""

    SCHEMA: ClassVar[str] = "edgegolf.core/1"

    file: str  # the path as it was given
    core: str  # the name of a `Core`
    optimize: str  # what the C was made for, `size` or `speed`
    unit: str  # what is counted, `instructions` or `cycles`
    count: int | None = None  # of one inference up to the logits; None if it failed
    flash_bytes: int | None = None  # program and constants, less an empty program's
    arena_bytes: int | None = None  # of the static array
    scratch_bytes: int | None = None  # of the arrays on the stack
    error: str | None = None  # why there is no figure; None if there is


def count_on_core(paths: Iterable[Path], name: str) -> tuple[CoreCount, ...]:
    """Count for each file, once made small and once made fast.

    Args:
        paths: `.tflite` and `.onnx` files in 8-bit integers.
        name: One of `CORES`.

    Raises:
        EdgegolfError: A compiler or emulator is not installed. A file of which there is no C, or
            whose C is wrong there, is a result with an error.
    """
    core = CORES[name]
    _check(core)
    ways: tuple[c.Optimize, ...] = ("size", "speed")
    cases = [(path, optimize) for path in paths for optimize in ways]
    return tuple(_counted(core, *case) for case in track(cases, "emulating", len(cases)))


def _counted(core: Core, path: Path, optimize: c.Optimize) -> CoreCount:
    failed = CoreCount(path.as_posix(), core.name, optimize, core.unit)
    try:
        graph = read_model(path)
        files = c.write(graph, "net", random_inputs(c.in_integers(graph).inputs[0], 2), optimize)
        found = run_on_core(core, files, optimize == "speed")
    except c.NotInCError as error:
        return replace(failed, error=f"{path}: C cannot have {error.message}")
    except EdgegolfError as error:
        return replace(failed, error=f"{path}: {error.message}")
    return replace(
        failed, count=found.count, flash_bytes=found.flash_bytes, arena_bytes=files.arena_bytes,
        scratch_bytes=files.scratch_bytes,
    )  # fmt: skip


def missing(core: Core) -> str | None:
    """A program that is not installed, None if all are."""
    names = (core.compiler[0], core.emulator[0])
    return next((name for name in names if shutil.which(name) is None), None)


def _check(core: Core) -> None:
    lacks = missing(core)
    if lacks is not None:
        raise EdgegolfError(f"{lacks} is not installed", hint=f"apt-get install {PACKAGES}")


def run_on_core(core: Core, files: c.CFiles, fast: bool = False) -> Run:
    """What a net with a self-test takes there, compiled to be small or to be fast.

    Raises:
        EdgegolfError: A program is missing or fails, or the net's outputs are wrong there.
    """
    _check(core)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _save(core, files, fast, folder)
        (folder / "empty.c").write_text("int main(void) { return 0; }\n")
        (folder / "use.c").write_text(
            f'#include "{files.name}.h"\nint main(void) {{ return {files.name}_argmax(); }}\n'
        )
        size = core.compiler[0].removesuffix("gcc") + "size"
        used, empty = (
            [int(n) for n in _called([size, str(program)], folder).splitlines()[1].split()[:3]]
            for program in (
                _built(core, files, fast, folder, "use.c", f"{files.name}.o"),
                _built(core, files, fast, folder, "empty.c"),
            )
        )
        _, once, twice = (
            _count(core, _built(core, files, fast, folder, str(_MAIN), f"{files.name}.o",
                                repeats=repeats), folder)
            for repeats in (0, 1, 2)
        )  # fmt: skip
        text, data, bss = (a - b for a, b in zip(used, empty, strict=True))
        return Run(text + data, data + bss, twice - once)


def prove_on_core(core: Core, files: c.CFiles, fast: bool = False) -> None:
    """Run a net's self-test there. Raises as `run_on_core` does."""
    _check(core)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _save(core, files, fast, folder)
        program = _built(core, files, fast, folder, str(_MAIN), f"{files.name}.o")
        if core.unit == "cycles":
            _count(core, program, folder)
        else:
            _called([*core.emulator, str(program)], folder)


def _save(core: Core, files: c.CFiles, fast: bool, folder: Path) -> None:
    """Write the files, and compile them."""
    (folder / f"{files.name}.h").write_text(files.header)
    source = folder / f"{files.name}.c"
    source.write_text(files.source)
    how = [*_SMALL, core.fast if fast else "-Os"]
    _called([*core.compiler, *how, "-c", str(source), "-o", f"{files.name}.o"], folder)


def _built(
    core: Core, files: c.CFiles, fast: bool, folder: Path, *sources: str, repeats: int = 0
) -> Path:
    """A program, made of sources in a folder."""
    program = folder / f"{Path(sources[0]).stem}{repeats}"
    command = [*core.compiler, *_SMALL, core.fast if fast else "-Os", f"-DNET={files.name}",
               f"-DREPEATS={repeats}", *sources, "-o", str(program)]  # fmt: skip
    _called(command, folder)
    return program


def _count(core: Core, program: Path, folder: Path) -> int:
    """What a program takes to run. Raises EdgegolfError unless it says 0."""
    if core.unit == "cycles":
        said = re.findall(r"(\d+)\.", _called([*core.emulator, str(program)], folder))
        if len(said) != 2 or said[1] != "0":
            raise EdgegolfError(f"the net is wrong on an emulated {core.name}")
        return int(said[0])
    counts = folder / "counts"
    version = _called([core.emulator[0], "--version"], folder).split("version ")[1].split()[0]
    counter = f"{plugin(version)},mark=-1,out={counts}"
    _called([core.emulator[0], "-plugin", counter, *core.emulator[1:], str(program)], folder)
    return int(counts.read_text())


def _called(command: list[str], folder: Path) -> str:
    """What a program writes. Raises EdgegolfError if it fails."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise EdgegolfError(f"{command[0]} fails: {said}")
    return done.stdout + done.stderr
