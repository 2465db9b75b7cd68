"""The record of a footprint, `edgegolf.footprint/1`: what sharing weights costs and saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgegolf.bench.system import System

# Names of costs. Bytes, unless the name says otherwise. The first six need no runtime.
FILE = "file"
COMPRESSED = "file, compressed"
UPDATE = "weights update"
COMPRESSED_UPDATE = "weights update, compressed"
ACTIVATIONS = "activations"
MACS = "MACs, number"
LOADED_HEAP = "heap after load"
RESTING_HEAP = "heap at rest"
RESTING_RESIDENT = "RSS at rest"
PEAK_RESIDENT = "RSS at peak"
LATENCY = "latency, µs"
C_FLASH = "flash as C"  # on a Cortex-M0+: code and constants
C_RAM = "RAM as C"  # there: arena and stack
C_COUNT = "as C, instructions"  # of an inference there, as small code
LUTS = "circuit, LUTs"  # for an iCE40 UP5K, four multiply-accumulates at a time
BLOCK_RAMS = "circuit, block RAMs"  # there
CYCLES = "circuit, cycles"  # of an image


@dataclass(frozen=True)
class Cost:
    """One thing that a file costs."""

    name: str  # what it is, with its unit where that is not bytes
    value: float  # how much
    runtime: str = ""  # the program that it was measured in; empty for what the file alone tells


@dataclass(frozen=True)
class Variant:
    """One file of a net."""

    file: str  # its name
    # `stock`: the format's own converter; `golfed`: that file rewritten without loss; `edgegolf`:
    # made by edgegolf's export.
    way: str
    costs: tuple[Cost, ...]  # what it costs; a cost that could not be found out is absent

    def cost(self, name: str, runtime: str | None = None) -> float | None:
        """The value of a cost; of several runtimes the first, unless one is named."""
        return next(
            (
                cost.value
                for cost in self.costs
                if cost.name == name and runtime in (None, cost.runtime)
            ),
            None,
        )


@dataclass(frozen=True)
class NetFootprint:
    """One net and what its files cost."""

    net: str  # the zoo's name of it
    # `shared`, `unshared`, or `plain`: a net of about the same accuracy without any repeated layer.
    role: str
    iterations: int | None  # how often its block is applied; None for a plain net
    parameters: int  # weights and biases, shared ones counted once
    # Whether its weights are trained ones; else they are random, which changes the compressed sizes
    # only.
    trained: bool
    accuracy: float | None  # of the trained net on the test images; None where it is not trained
    variants: tuple[Variant, ...]  # its files

    def variant(self, file: str, way: str) -> Variant | None:
        """A file by its name and how it was made."""
        return next((v for v in self.variants if (v.file, v.way) == (file, way)), None)


@dataclass(frozen=True)
class Holding:
    """How a runtime holds the weights of a block that is applied again and again.

    Measured on nets so wide that their weights outweigh everything else: the heap that one more
    application takes, divided by the bytes of the weights that it applies. Near 0: no memory
    for them. Near 1: a copy for every application.
    """

    runtime: str  # the program, and what was switched off in it
    file: str  # the file's name
    shared: bool  # whether all applications use the same weights
    copies: float  # the quotient


@dataclass(frozen=True)
class Footprint:
    """What a net with shared weights costs, beside nets without."""

    SCHEMA: ClassVar[str] = "edgegolf.footprint/1"

    net: str  # the net with shared weights
    dataset: str  # the data set that it was trained on
    system: System  # the machine
    comparison: tuple[NetFootprint, ...]  # the net, its unshared twin, and a plain net
    # The net and its twin with random weights, for each number of iterations.
    growth: tuple[NetFootprint, ...]
    holdings: tuple[Holding, ...]  # how the runtimes hold the weights
    notes: tuple[str, ...] = ()  # what to keep in mind when reading the figures
