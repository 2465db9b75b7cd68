"""Joules of an inference, where the machine has a meter that may be read.

x86 processors count microjoules (RAPL), AMD's from Zen on under the same names:
https://docs.kernel.org/power/powercap/powercap.html. The power chip of a Raspberry Pi 5 tells the
volts and amperes of its rails: https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from edgegolf.bench.board import read_text
from edgegolf.bench.inputs import example_inputs, run_closed
from edgegolf.bench.latency import pin
from edgegolf.bench.result import Energy
from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import open_session
from edgegolf.surroundings import output_of

POWERCAP = Path("/sys/class/powercap")
TICK = 0.1  # seconds between two readings; a counter takes half a minute at least to wrap around
_RAIL = re.compile(r"(\w+)_([AV]) (?:current|volt)\(\d+\)=(\d+\.?\d*)[AV]")


class Meter(Protocol):
    """Adds up energy; read often enough."""

    name: str

    def joules(self) -> float:
        """Read the meter: joules since some moment."""


class Rapl:
    """Counters of microjoules, one for each processor package, that wrap around.

    Args:
        zones: Their folders.

    Raises:
        EdgegolfError: One may not be read.
    """

    def __init__(self, zones: Sequence[Path]) -> None:
        self.name = "RAPL " + ", ".join(read_text(str(zone / "name")) or "" for zone in zones)
        self._zones = zones
        self._ranges = [_number(zone / "max_energy_range_uj") for zone in zones]
        self._last = self._counters()
        self._total = 0  # microjoules

    def joules(self) -> float:
        """Joules since this was made."""
        now = self._counters()
        for before, after, size in zip(self._last, now, self._ranges, strict=True):
            self._total += after - before + (size if after < before else 0)
        self._last = now
        return self._total / 1e6

    def _counters(self) -> list[int]:
        return [_number(zone / "energy_uj") for zone in self._zones]


class Pmic:
    """The power chip of a Raspberry Pi 5: watts from time to time, taken to change evenly."""

    name = "PMIC, the rails that it measures"

    def __init__(self) -> None:
        self._watts, self._at = self._read()
        self._total = 0.0

    def joules(self) -> float:
        """Joules since this was made."""
        watts, at = self._read()
        self._total += (watts + self._watts) / 2 * (at - self._at)
        self._watts, self._at = watts, at
        return self._total

    @staticmethod
    def _read() -> tuple[float, float]:
        watts = pmic_watts(output_of("vcgencmd", "pmic_read_adc") or "")
        if watts is None:
            raise EdgegolfError("the energy meter does not answer any more")
        return watts, time.perf_counter()


def pmic_watts(told: str) -> float | None:
    """The power of all rails of which `vcgencmd pmic_read_adc` tells volts and amperes."""
    read = {(rail, unit): float(value) for rail, unit, value in _RAIL.findall(told)}
    rails = [(value, read.get((rail, "V"))) for (rail, unit), value in read.items() if unit == "A"]
    known = [amperes * volts for amperes, volts in rails if volts is not None]
    return sum(known) if known else None


def find_meter(powercap: Path = POWERCAP) -> Meter:
    """The energy meter of this machine.

    Args:
        powercap: Where the kernel has its counters.

    Raises:
        EdgegolfError: There is none, or it may not be read.
    """
    # Not `psys`, which is more than the processor; not parts of a package, which are in it; not
    # `intel-rapl-mmio`, which are the same counters again.
    zones = [
        zone
        for zone in sorted(powercap.glob("intel-rapl:*"))
        if zone.name.count(":") == 1 and (read_text(str(zone / "name")) or "").startswith("package")
    ]
    if zones:
        return Rapl(zones)
    if pmic_watts(output_of("vcgencmd", "pmic_read_adc") or "") is not None:
        return Pmic()
    raise EdgegolfError(
        "there is no energy meter here",
        hint="x86 processors have one, virtual machines do not; of Raspberry Pis, the 5",
    )


def measure_energy(
    path: Path,
    runtime: str,
    provider: str,
    threads: int,
    seconds: float,
    cpu: int | None,
    powercap: Path = POWERCAP,
) -> Energy:
    """Measure a model in this process, while nothing else runs on the machine.

    Args:
        path: The model file.
        runtime: The runtime's name.
        provider: What it runs on.
        threads: How many threads an operator may use.
        seconds: How long to wait, and how long to run inferences.
        cpu: The core to stay on; None lets the kernel choose.
        powercap: As `find_meter` takes it.

    Raises:
        EdgegolfError: There is no meter, the model cannot be run, or its energy is lost in what the
            machine takes anyway.
    """
    meter = find_meter(powercap)
    if cpu is not None:
        pin(cpu)
    session = open_session(path, runtime, provider, threads)
    run_closed(session, lambda infos: session.run(example_inputs(infos)))
    return energy_of(meter, lambda: time.sleep(TICK), session.invoke, seconds)


def energy_of(
    meter: Meter, rest: Callable[[], None], work: Callable[[], None], seconds: float
) -> Energy:
    """What a call of `work` takes more than resting as long, each done for some seconds."""
    idle, rested, _ = _spent(meter, rest, seconds)
    busy, worked, calls = _spent(meter, work, seconds)
    idle_watts, busy_watts = idle / rested, busy / worked
    if busy_watts <= idle_watts:
        raise EdgegolfError(
            f"by {meter.name}, inferences take {busy_watts:.3g} W and waiting {idle_watts:.3g} W",
            hint="run it on an idle machine, for longer (--min-time)",
        )
    joules = (busy - idle_watts * worked) / calls
    return Energy(meter.name, joules, idle_watts, busy_watts, calls)


def _spent(meter: Meter, work: Callable[[], None], seconds: float) -> tuple[float, float, int]:
    """Joules, seconds and number of calls."""
    done = Event()

    def read() -> None:
        with suppress(EdgegolfError):  # the last reading raises it again
            while not done.wait(TICK):
                meter.joules()

    reader = Thread(target=read, daemon=True)
    calls, before, start = 0, meter.joules(), time.perf_counter()
    reader.start()
    while time.perf_counter() - start < seconds:
        work()
        calls += 1
    done.set()
    reader.join()
    return meter.joules() - before, time.perf_counter() - start, calls


def _number(path: Path) -> int:
    told = read_text(str(path))
    if told is None or not told.isdigit():
        raise EdgegolfError(
            f"the energy meter may not be read: {path}",
            hint=f"run it as root, or: sudo chmod a+r {path.parent}/*_uj",
        )
    return int(told)
