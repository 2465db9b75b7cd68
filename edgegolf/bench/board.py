"""What a single-board computer says of itself: model, temperature, throttling, clock.

Only the standard library, and Python 3.7: `edgegolf.deploy` runs this on devices before anything
is installed there.
"""

from __future__ import annotations

import subprocess

MAXIMUM_TEXT = 1 << 20
PROCESSOR_ZONES = ("cpu-thermal", "soc-thermal")
# Bits of the firmware's answer that hold now; sixteen above are those since the start.
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
THROTTLING = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
SINCE_START = 16


def read_text(path: str) -> str | None:
    """What a small file of the system says; None if it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read(MAXIMUM_TEXT).strip().strip("\0")
    except OSError:
        return None


def board_model() -> str | None:
    """Such as `Raspberry Pi 4 Model B Rev 1.4`; None where the kernel knows no board."""
    for path in ("/proc/device-tree/model", "/sys/firmware/devicetree/base/model"):
        model = read_text(path)
        if model:
            return model
    return None


def throttled_bits() -> int | None:
    """The firmware's flags, as `vcgencmd get_throttled` prints them; None on other machines."""
    told = read_text("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if told is None:
        try:
            done = subprocess.run(
                ["vcgencmd", "get_throttled"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, timeout=10, check=False,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
        told = done.stdout.decode(errors="replace").strip().partition("=")[2]
    try:
        return int(told, 16)
    except ValueError:
        return None


def throttling(before: int | None, after: int | None) -> tuple[str, ...]:
    """What slowed the machine down between two readings of `throttled_bits`."""
    first, last = before or 0, after or 0
    bits = first | last | ((last & ~first) >> SINCE_START)
    return tuple(name for number, name in enumerate(THROTTLING) if bits >> number & 1)


def temperature() -> float | None:
    """Degrees Celsius of the processor; None where no thermal zone is called so."""
    for number in range(16):
        zone = f"/sys/class/thermal/thermal_zone{number}"
        kind = read_text(f"{zone}/type")
        if kind and kind.replace("_", "-") in PROCESSOR_ZONES:
            told = read_text(f"{zone}/temp") or ""
            return int(told) / 1000 if told.lstrip("-").isdigit() else None
    return None


def governor() -> str | None:
    """How the kernel sets the clock of the first core."""
    return read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def frequency_mhz() -> float | None:
    """The clock of the first core."""
    told = read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq") or ""
    return int(told) / 1000 if told.isdigit() else None
