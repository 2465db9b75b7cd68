"""The device: what it is, and whether models can run there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from edgegolf.bench.board import throttling
from edgegolf.deploy.connection import Connection
from edgegolf.errors import EdgegolfError, printable_values
from edgegolf.records import from_dict
from edgegolf.runtimes.registry import RUNTIMES

# Of its userland, and the size of a pointer there.
ARCHITECTURES = {"aarch64": 64, "x86_64": 64, "armv7l": 32}
LAST_PYTHON_OF_TFLITE_RUNTIME = (3, 11)


@dataclass(frozen=True)
class Device:
    """A machine as its probe found it; every text comes from there."""

    SCHEMA: ClassVar[str] = "edgegolf.device/1"
    # Such as `Raspberry Pi 4 Model B Rev 1.4`; None where the kernel does not tell.
    board: str | None
    os: str  # name and version
    kernel: str  # name and version
    machine: str  # as `uname -m` prints it; a 64-bit kernel may have a 32-bit userland
    bits: int  # of its Python
    python: str  # version
    implementation: str  # of Python
    libc: str  # name and version, as in `glibc-2.36`
    memory_bytes: int  # main memory
    free_bytes: int  # on the disk of the root
    root: str  # the folder where everything is put
    throttled: int | None  # the firmware's flags; None on other machines than a Raspberry Pi
    temperature_c: float | None  # of the processor, in degrees Celsius
    governor: str | None  # how the kernel sets the clock
    frequency_mhz: float | None  # the clock of the first core

    @property
    def architecture(self) -> str:
        """Of the userland: what its packages must be made for."""
        arm = self.machine == "aarch64" or self.machine.startswith("armv")
        if arm and self.bits == 32:
            return "armv6l" if self.machine.startswith("armv6") else "armv7l"
        return self.machine

    @property
    def python_version(self) -> tuple[int, int]:
        """Major and minor."""
        major, minor, *_ = (int(part) for part in self.python.split(".")[:2])
        return major, minor

    @property
    def glibc(self) -> tuple[int, int]:
        """Major and minor version of the C library."""
        major, minor = (int(part) for part in self.libc.removeprefix("glibc-").split(".")[:2])
        return major, minor


def probe(connection: Connection) -> Device:
    """Look at a device, in one round trip.

    Raises:
        EdgegolfError: It cannot be asked, or what it answers is no such record.
    """
    answer = printable_values(connection.ask("probe"))
    device = from_dict(answer, Device, f"what {connection.host} says of itself")
    try:
        _ = Version(device.python), device.python_version, device.glibc
    except ValueError:
        raise EdgegolfError(
            f"{connection.host} has Python {device.python} with the C library {device.libc}",
            hint="a device needs Linux with glibc, as every Raspberry Pi OS has",
        ) from None
    return device


def check(device: Device, host: str, requires_python: str, suffixes: set[str]) -> None:
    """Look whether models with these suffixes can run on a device.

    Raises:
        EdgegolfError: Its architecture, its Python or its userland does not allow it.
    """
    if device.implementation != "CPython" or not SpecifierSet(requires_python).contains(
        device.python, prereleases=True
    ):
        raise EdgegolfError(
            f"{host} has {device.implementation} {device.python}, edgegolf needs Python "
            f"{requires_python}",
            hint="Raspberry Pi OS has it from bookworm (2023) on; --python names another one",
        )
    if ARCHITECTURES.get(device.architecture) != device.bits:
        raise EdgegolfError(
            f"{host} is a {device.architecture} system with {device.bits} bits; there are "
            f"runtimes for {', '.join(ARCHITECTURES)}",
            hint="a Raspberry Pi 3 or newer runs the 64-bit Raspberry Pi OS",
        )
    if device.bits == 32:
        _check_32_bits(device, host, suffixes)


def _check_32_bits(device: Device, host: str, suffixes: set[str]) -> None:
    kernel = " under a 64-bit kernel" if device.machine == "aarch64" else ""
    hint = "install the 64-bit Raspberry Pi OS, which has every runtime"
    if device.python_version > LAST_PYTHON_OF_TFLITE_RUNTIME:
        raise EdgegolfError(
            f"{host} has a 32-bit userland{kernel} with Python {device.python}, for which there "
            "is no runtime",
            hint=hint,
        )
    if ".onnx" in suffixes:
        raise EdgegolfError(
            f"{host} has a 32-bit userland{kernel}, which runs .tflite files only", hint=hint
        )


def runtimes_of(device: Device) -> tuple[str, ...]:
    """The names of the runtimes that an environment has there."""
    if device.bits == 32:
        return ("tflite-runtime",)
    old_enough = device.python_version <= LAST_PYTHON_OF_TFLITE_RUNTIME
    has_both = old_enough and device.architecture != "x86_64"
    names = (name for name, runtime in RUNTIMES.items() if runtime.is_usual)
    return tuple(name for name in names if has_both or name != "tflite-runtime")


def warnings(device: Device) -> tuple[str, ...]:
    """What may disturb measurements there, one line each."""
    flags = throttling(device.throttled, device.throttled)
    return (f"the device is throttled: {', '.join(flags)}",) if flags else ()
