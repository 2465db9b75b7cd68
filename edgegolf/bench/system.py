"""The machine that a figure was taken on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import edgegolf
from edgegolf.bench.board import board_model, governor, temperature, throttled_bits, throttling

# Those that inference kernels choose their code by.
VECTOR_FEATURES = frozenset({
    "sse4_1", "sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx_vnni_int8", "avx512f",
    "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8",
    "amx_bf16", "neon", "asimd", "asimdhp", "asimddp", "fphp", "i8mm", "bf16", "sve", "sve2",
    "sme", "vfpv4", "rvv",
})  # fmt: skip
_PACKAGES = ("ai-edge-litert", "tflite-runtime", "onnxruntime", "onnxruntime-gpu", "numpy")


@dataclass(frozen=True)
class System:
    """A machine and its software.

    Attributes:
        cpu: The processor's model, or the board's where the kernel does not tell.
        architecture: Such as `x86_64` or `aarch64`.
        vector_features: The processor's vector instructions.
        physical_cores: None if unknown.
        logical_cores: Those that this process may use.
        governor: How the kernel sets the clock; None if unreadable.
        frequency_mhz: The clock of the first core at the time; None if unreadable.
        memory_bytes: Main memory.
        gpus: Models of NVIDIA GPUs.
        os: Name and version.
        python: Version.
        packages: Versions of the installed runtimes and numpy.
        edgegolf: Version.
        commit: The commit of edgegolf, if it runs from a git checkout.
        date: Time of the measurement, ISO 8601, UTC.
        board: A single-board computer's model.
        temperature_before_c: Of its processor, in degrees Celsius, before the measurement.
        temperature_after_c: The same after it.
        throttled_bits: The Raspberry Pi firmware's flags, see `edgegolf.bench.board`, before.
        throttling: What slowed a Raspberry Pi down during the measurement.
    """

    cpu: str
    architecture: str
    vector_features: tuple[str, ...]
    physical_cores: int | None
    logical_cores: int
    governor: str | None
    frequency_mhz: float | None
    memory_bytes: int
    gpus: tuple[str, ...]
    os: str
    python: str
    packages: dict[str, str]
    edgegolf: str
    commit: str | None
    date: str
    board: str | None = None
    temperature_before_c: float | None = None
    temperature_after_c: float | None = None
    throttled_bits: int | None = None
    throttling: tuple[str, ...] = ()


def describe_system() -> System:
    """This machine, now."""
    import psutil

    cpuinfo = _read("/proc/cpuinfo") or ""
    return System(
        cpu=_cpu_model(cpuinfo),
        architecture=platform.machine(),
        vector_features=_vector_features(cpuinfo),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=_usable_cores(),
        governor=governor(),
        frequency_mhz=_frequency(),
        memory_bytes=psutil.virtual_memory().total,
        gpus=_gpus(),
        os=platform.platform(),
        python=platform.python_version(),
        packages=_package_versions(),
        edgegolf=edgegolf.__version__,
        commit=_commit(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        board=board_model(),
        temperature_before_c=temperature(),
        throttled_bits=throttled_bits(),
    )


def after_measurement(system: System) -> System:
    """The machine with what the measurement did to it."""
    return replace(
        system,
        temperature_after_c=temperature(),
        throttling=throttling(system.throttled_bits, throttled_bits()),
    )


def _cpu_model(cpuinfo: str) -> str:
    board = board_model()
    named = _cpuinfo_field(cpuinfo, "model name")
    if named or board:
        return ", ".join(filter(None, (board, named)))
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    return platform.processor() or platform.machine()


def _vector_features(cpuinfo: str) -> tuple[str, ...]:
    # x86 calls the line flags, ARM Features
    words = (_cpuinfo_field(cpuinfo, "flags") or _cpuinfo_field(cpuinfo, "Features")).split()
    if sys.platform == "darwin":
        words = (_output("sysctl", "-n", "machdep.cpu.features") or "neon").lower().split()
    return tuple(word for word in words if word in VECTOR_FEATURES)


def _cpuinfo_field(cpuinfo: str, field: str) -> str:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _frequency() -> float | None:
    import psutil

    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return None
    return frequency.current if frequency else None


def _gpus() -> tuple[str, ...]:
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    models = (_cpuinfo_field(_read(str(path)) or "", "Model") for path in found)
    return tuple(filter(None, models))


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _commit() -> str | None:
    source = Path(edgegolf.__file__)
    tracked = _output("git", "-C", str(source.parent), "ls-files", "--error-unmatch", source.name)
    if not tracked:  # installed somewhere inside another project's checkout
        return None
    return _output("git", "-C", str(source.parent), "rev-parse", "HEAD")


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return None
