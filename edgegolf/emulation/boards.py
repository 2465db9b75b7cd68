"""The boards that are emulated, and the files by which their kernels describe them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cache:
    """A cache of one core, or of all if it is shared."""

    level: int
    kind: str
    kibibytes: int
    shared: bool


@dataclass(frozen=True)
class Board:
    """A Raspberry Pi."""

    name: str  # as in a file name
    model: str  # as in `/proc/device-tree/model`
    revision: str  # as in `/proc/cpuinfo`
    architecture: str  # as `uname -m` prints it
    cpu: str  # the core, as QEMU names it
    features: str  # the core's, as in `/proc/cpuinfo`
    part: tuple[str, str, int]  # variant, part and revision of the core as in `/proc/cpuinfo`
    clock_khz: tuple[int, int]  # slowest and fastest
    caches: tuple[Cache, ...]  # of each core

    @property
    def family(self) -> str:
        """Such as `Raspberry Pi 4`."""
        return self.model.partition(" Model ")[0]


# As a Raspberry Pi OS of 2024 prints them.
RASPBERRY_PI_2 = Board(
    name="raspberry-pi-2",
    model="Raspberry Pi 2 Model B Rev 1.1",
    revision="a01041",
    architecture="armv7l",
    cpu="cortex-a7",
    features="half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm",
    part=("0x0", "0xc07", 5),
    clock_khz=(600_000, 900_000),
    caches=(
        Cache(1, "Data", 32, shared=False),
        Cache(1, "Instruction", 32, shared=False),
        Cache(2, "Unified", 512, shared=True),
    ),
)
RASPBERRY_PI_4 = Board(
    name="raspberry-pi-4",
    model="Raspberry Pi 4 Model B Rev 1.4",
    revision="c03114",
    architecture="aarch64",
    cpu="cortex-a72",
    features="fp asimd evtstrm crc32 cpuid",
    part=("0x0", "0xd08", 3),
    clock_khz=(600_000, 1_800_000),
    caches=(
        Cache(1, "Data", 32, shared=False),
        Cache(1, "Instruction", 48, shared=False),
        Cache(2, "Unified", 1024, shared=True),
    ),
)
RASPBERRY_PI_5 = Board(
    name="raspberry-pi-5",
    model="Raspberry Pi 5 Model B Rev 1.0",
    revision="c04170",
    architecture="aarch64",
    cpu="cortex-a76",
    features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
    "dcpop asimddp",
    part=("0x4", "0xd0b", 1),
    clock_khz=(1_500_000, 2_400_000),
    caches=(
        Cache(1, "Data", 64, shared=False),
        Cache(1, "Instruction", 64, shared=False),
        Cache(2, "Unified", 512, shared=False),
        Cache(3, "Unified", 2048, shared=True),
    ),
)
BOARDS = (RASPBERRY_PI_4, RASPBERRY_PI_5, RASPBERRY_PI_2)

_WITH_DOT_PRODUCT = re.compile(r"Raspberry Pi (5|Compute Module 5)")  # also the 500

CORES = 4
_SYSTEM = "sys/devices/system/cpu"


def most_similar(model: str | None, architecture: str) -> Board | None:
    """The emulated board whose instructions a real one has; None where none is like it.

    Args:
        model: The real one's, as its kernel says it.
        architecture: Of its userland.
    """
    if architecture != "aarch64" or not (model or "").startswith("Raspberry Pi"):
        return None
    return RASPBERRY_PI_5 if _WITH_DOT_PRODUCT.match(model or "") else RASPBERRY_PI_4


def hardware_files(board: Board) -> dict[str, str]:
    """What the kernel of a board says about it in `/proc` and `/sys`, by path below the root.

    The runtimes choose their code by these files, and crash where they contradict the processor.
    """
    files = {
        "proc/cpuinfo": _cpuinfo(board),
        "proc/device-tree/model": f"{board.model}\0",
        f"{_SYSTEM}/kernel_max": f"{CORES - 1}\n",
    }
    for name in ("possible", "present", "online"):
        files[f"{_SYSTEM}/{name}"] = f"0-{CORES - 1}\n"
    for core in range(CORES):
        for path, text in _core_files(board, core).items():
            files[f"{_SYSTEM}/cpu{core}/{path}"] = f"{text}\n"
    return files


def _cpuinfo(board: Board) -> str:
    variant, part, revision = board.part
    core = {
        "BogoMIPS": "108.00",
        "Features": board.features,
        "CPU implementer": "0x41",  # ARM Limited
        "CPU architecture": "7" if board.architecture == "armv7l" else "8",
        "CPU variant": variant,
        "CPU part": part,
        "CPU revision": str(revision),
    }
    cores = [{"processor": str(number), **core} for number in range(CORES)]
    blocks = [*cores, {"Revision": board.revision, "Model": board.model}]
    return "\n".join(
        "".join(f"{name}\t: {value}\n" for name, value in block.items()) for block in blocks
    )


def _core_files(board: Board, core: int) -> dict[str, str]:
    everybody, itself = f"0-{CORES - 1}", str(core)
    slowest, fastest = board.clock_khz
    files = {
        "topology/physical_package_id": "0",
        "topology/cluster_id": "0",
        "topology/core_id": itself,
        "topology/core_siblings": f"{(1 << CORES) - 1:x}",
        "topology/core_siblings_list": everybody,
        "topology/package_cpus_list": everybody,
        "topology/cluster_cpus_list": everybody,
        "topology/thread_siblings_list": itself,
        "topology/core_cpus_list": itself,
        "cpufreq/cpuinfo_min_freq": str(slowest),
        "cpufreq/cpuinfo_max_freq": str(fastest),
    }
    for number, cache in enumerate(board.caches):
        files |= {
            f"cache/index{number}/level": str(cache.level),
            f"cache/index{number}/type": cache.kind,
            f"cache/index{number}/size": f"{cache.kibibytes}K",
            f"cache/index{number}/shared_cpu_list": everybody if cache.shared else itself,
        }
    return files
