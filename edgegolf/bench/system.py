"""The machine that a figure was taken on."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import edgegolf
from edgegolf.bench.board import (
    board_model,
    governor,
    read_text,
    temperature,
    throttled_bits,
    throttling,
)
from edgegolf.surroundings import available_cores, current_commit, output_of, package_versions

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
    """A machine and its software."""

    cpu: str  # the processor's model, or the board's where the kernel does not tell
    architecture: str  # such as `x86_64` or `aarch64`
    vector_features: tuple[str, ...]  # the processor's vector instructions
    physical_cores: int | None  # none if unknown
    logical_cores: int  # those that this process may use
    governor: str | None  # how the kernel sets the clock; None if unreadable
    frequency_mhz: float | None  # the clock of the first core at the time; None if unreadable
    memory_bytes: int  # main memory
    gpus: tuple[str, ...]  # models of NVIDIA GPUs
    os: str  # name and version
    python: str  # version
    packages: dict[str, str]  # versions of the installed runtimes and numpy
    edgegolf: str  # version
    commit: str | None  # the commit of edgegolf, if it runs from a git checkout
    date: str  # time of the measurement, ISO 8601, UTC
    board: str | None = None  # A single-board computer's model
    # Of its processor, in degrees Celsius, before the measurement.
    temperature_before_c: float | None = None
    temperature_after_c: float | None = None  # the same after it
    # The Raspberry Pi firmware's flags, see `edgegolf.bench.board`, before.
    throttled_bits: int | None = None
    throttling: tuple[str, ...] = ()  # what slowed a Raspberry Pi down during the measurement


def describe_system() -> System:
    """This machine, now."""
    import psutil

    cpuinfo = read_text("/proc/cpuinfo") or ""
    return System(
        cpu=_cpu_model(cpuinfo),
        architecture=platform.machine(),
        vector_features=_vector_features(cpuinfo),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=available_cores(),
        governor=governor(),
        frequency_mhz=_frequency(),
        memory_bytes=psutil.virtual_memory().total,
        gpus=_gpus(),
        os=platform.platform(),
        python=platform.python_version(),
        packages=package_versions(_PACKAGES),
        edgegolf=edgegolf.__version__,
        commit=current_commit(),
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
        return output_of("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    return platform.processor() or platform.machine()


def _vector_features(cpuinfo: str) -> tuple[str, ...]:
    # x86 calls the line flags, ARM Features
    words = (_cpuinfo_field(cpuinfo, "flags") or _cpuinfo_field(cpuinfo, "Features")).split()
    if sys.platform == "darwin":
        words = (output_of("sysctl", "-n", "machdep.cpu.features") or "neon").lower().split()
    return tuple(word for word in words if word in VECTOR_FEATURES)


def _cpuinfo_field(cpuinfo: str, field: str) -> str:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _frequency() -> float | None:
    import psutil

    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return None
    return frequency.current if frequency else None


def _gpus() -> tuple[str, ...]:
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    models = (_cpuinfo_field(read_text(str(path)) or "", "Model") for path in found)
    return tuple(filter(None, models))
