"""The record of a footprint, `edgegolf.footprint/1`: what sharing weights costs and saves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgegolf.bench.system import System
from edgegolf.files import read_bounded
from edgegolf.records import from_json

MAXIMUM_FOOTPRINT_BYTES = 1 << 24

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


@dataclass(frozen=True)
class Cost:
    """One thing that a file costs.

    Costs of other kinds, such as a circuit's gates or a microcontroller's flash, are further
    names.

    Attributes:
        name: What it is, with its unit where that is not bytes.
        value: How much.
        runtime: The program that it was measured in; empty for what the file alone tells.
    """

    name: str
    value: float
    runtime: str = ""


@dataclass(frozen=True)
class Variant:
    """One file of a net.

    Attributes:
        file: Its name.
        way: `stock`: the format's own converter; `golfed`: that file rewritten without loss;
            `edgegolf`: made by edgegolf's export.
        costs: What it costs; a cost that could not be found out is absent.
    """

    file: str
    way: str
    costs: tuple[Cost, ...]

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
    """One net and what its files cost.

    Attributes:
        net: The zoo's name of it.
        role: `shared`, `unshared`, or `plain`: a net of about the same accuracy without any
            repeated layer.
        iterations: How often its block is applied; None for a plain net.
        parameters: Weights and biases, shared ones counted once.
        trained: Whether its weights are trained ones; else they are random, which changes the
            compressed sizes only.
        accuracy: Of the trained net on the test images; None where it is not trained.
        variants: Its files.
    """

    net: str
    role: str
    iterations: int | None
    parameters: int
    trained: bool
    accuracy: float | None
    variants: tuple[Variant, ...]

    def variant(self, file: str, way: str) -> Variant | None:
        """A file by its name and how it was made."""
        return next((v for v in self.variants if (v.file, v.way) == (file, way)), None)


@dataclass(frozen=True)
class Holding:
    """How a runtime holds the weights of a block that is applied again and again.

    Measured on nets so wide that their weights outweigh everything else: the heap that one more
    application takes, divided by the bytes of the weights that it applies. Near 0: no memory
    for them. Near 1: a copy for every application.

    Attributes:
        runtime: The program, and what was switched off in it.
        file: The file's name.
        shared: Whether all applications use the same weights.
        copies: The quotient.
    """

    runtime: str
    file: str
    shared: bool
    copies: float


@dataclass(frozen=True)
class Footprint:
    """What a net with shared weights costs, beside nets without.

    Attributes:
        net: The net with shared weights.
        dataset: The data set that it was trained on.
        system: The machine.
        comparison: The net, its unshared twin, and a plain net.
        growth: The net and its twin with random weights, for each number of iterations.
        holdings: How the runtimes hold the weights.
        notes: What to keep in mind when reading the figures.
    """

    SCHEMA: ClassVar[str] = "edgegolf.footprint/1"

    net: str
    dataset: str
    system: System
    comparison: tuple[NetFootprint, ...]
    growth: tuple[NetFootprint, ...]
    holdings: tuple[Holding, ...]
    notes: tuple[str, ...] = ()


def read_footprint(path: Path) -> Footprint:
    """A footprint from a file.

    Raises:
        EdgegolfError: The file cannot be read or is not a footprint.
    """
    return from_json(read_bounded(path, MAXIMUM_FOOTPRINT_BYTES), Footprint, str(path))
