"""C on emulated microcontrollers: whether it is right there, what it takes, how long it computes.

QEMU counts instructions of Cortex-M and RISC-V cores, simavr the cycles of an AVR.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgegolf.backends.c import CFiles
from edgegolf.emulation.emulator import plugin
from edgegolf.errors import EdgegolfError

_MAIN = Path(__file__).with_name("core_main.c")
_SMALL = ("-std=gnu99", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")
_TIMEOUT_S = 60


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


_QEMU = ("-nographic", "-monitor", "none", "-serial", "null",
         "-semihosting-config", "enable=on,target=native")  # fmt: skip

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

#: What has all compilers and emulators on Debian.
PACKAGES = (
    "gcc-avr avr-libc simavr gcc-arm-none-eabi picolibc-arm-none-eabi qemu-system-arm "
    "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc"
)


@dataclass(frozen=True)
class Run:
    """A net on a core."""

    flash_bytes: int  # program and constants, less an empty program's; without the softmax
    ram_bytes: int  # static, less an empty program's
    count: int  # of `Core.unit`, of one inference up to the logits


def missing(core: Core) -> str | None:
    """A program that is not installed, None if all are."""
    names = (core.compiler[0], core.emulator[0])
    return next((name for name in names if shutil.which(name) is None), None)


def run_on_core(core: Core, files: CFiles, fast: bool = False) -> Run:
    """What a net with a self-test takes there, compiled to be small or to be fast.

    Raises:
        EdgegolfError: A program is missing or fails, or the net's outputs are wrong there.
    """
    lacks = missing(core)
    if lacks is not None:
        raise EdgegolfError(f"{lacks} is not installed", hint=f"apt-get install {PACKAGES}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / f"{files.name}.h").write_text(files.header)
        (folder / f"{files.name}.c").write_text(files.source)
        (folder / "empty.c").write_text("int main(void) { return 0; }\n")
        (folder / "use.c").write_text(
            f'#include "{files.name}.h"\nint main(void) {{ return {files.name}_argmax(); }}\n'
        )

        def build(program: str, *sources: str, repeats: int = 0) -> Path:
            option = core.fast if fast else "-Os"
            command = [*core.compiler, *_SMALL, option, f"-DNET={files.name}",
                       f"-DREPEATS={repeats}", *sources, "-o", program]  # fmt: skip
            _called(command, folder)
            return folder / program

        size = core.compiler[0].removesuffix("gcc") + "size"
        net = f"{files.name}.c"
        used, empty = (
            [int(n) for n in _called([size, str(path)], folder).splitlines()[1].split()[:3]]
            for path in (build("use", "use.c", net), build("empty", "empty.c"))
        )
        counts = []
        for repeats in (0, 1, 2):
            path = build(f"run{repeats}", str(_MAIN), net, repeats=repeats)
            counts.append(_count(core, path, folder))
        text, data, bss = (a - b for a, b in zip(used, empty, strict=True))
        return Run(text + data, data + bss, counts[2] - counts[1])


def _count(core: Core, program: Path, folder: Path) -> int:
    """What a program takes to run. Raises EdgegolfError unless it says 0."""
    if core.unit == "cycles":
        said = re.findall(r"(\d+)\.", _called([*core.emulator, str(program)], folder))
        if len(said) != 2 or said[1] != "0":
            raise EdgegolfError(f"the net is wrong on an emulated {core.name}")
        return int(said[0])
    counts = folder / "counts"
    version = _called([core.emulator[0], "--version"], folder).split("version ")[1]
    counter = f"{plugin(version)},mark=-1,out={counts}"
    options = ("-plugin", counter, "-kernel", str(program))
    _called([*core.emulator, *options], folder)
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
