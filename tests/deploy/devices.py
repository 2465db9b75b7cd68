"""Devices for tests."""

from __future__ import annotations

from dataclasses import replace

from edgegolf.deploy.device import Device

RASPBERRY_PI = Device(
    board="Raspberry Pi 4 Model B Rev 1.4",
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="Linux 6.6.51+rpt-rpi-v8",
    machine="aarch64",
    bits=64,
    python="3.11.2",
    implementation="CPython",
    libc="glibc-2.36",
    memory_bytes=4_000_000_000,
    free_bytes=20_000_000_000,
    root="/home/pi/.local/share/edgegolf",
    throttled=0,
    temperature_c=48.3,
    governor="ondemand",
    frequency_mhz=1800.0,
)


def device(**changes: object) -> Device:
    return replace(RASPBERRY_PI, **changes)  # type: ignore[arg-type]
