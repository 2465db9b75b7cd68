"""The article's question: what does sharing weights save, and what does it not?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.backends.c.compiling import find_compiler
from edgegolf.bench.quick import latencies_in_turns
from edgegolf.bench.system import describe_system
from edgegolf.errors import EdgegolfError
from edgegolf.export.c_library import has_c
from edgegolf.export.samples import Samples, inputs_of, read_data
from edgegolf.footprint.heap import heap_bytes
from edgegolf.footprint.holding import measure_holdings
from edgegolf.footprint.measure import (
    c_costs,
    circuit_costs,
    file_costs,
    heap_costs,
    resident_costs,
)
from edgegolf.footprint.nets import Net, accuracy_of, compared_nets, find_family, random_net
from edgegolf.footprint.result import LATENCY, Cost, Footprint, NetFootprint, Variant
from edgegolf.footprint.variants import (
    MadeFile,
    committed_files,
    golfed_files,
    sharing_files,
    stock_files,
)
from edgegolf.progress import track
from edgegolf.runtimes import installed_runtimes
from edgegolf.runtimes.registry import preferred_runtime
from edgegolf.workspace import exported_files, model_folder

if TYPE_CHECKING:
    from edgegolf.data import Dataset

ITERATIONS = (1, 2, 4, 8, 16, 32)
MAXIMUM_ITERATIONS = 256
CALIBRATION_IMAGES = 100
REFERENCE = "litert-reference"  # computes the same everywhere, but nobody deploys it


@dataclass(frozen=True)
class _Measured:
    """A file with its costs but for the latency, and the runtimes in which it is to be timed."""

    file: MadeFile
    costs: tuple[Cost, ...]
    runtimes: tuple[str, ...] = ()


def footprint(
    net: str,
    dataset: Dataset,
    iterations: Sequence[int] = ITERATIONS,
    circuit: bool = False,
) -> Footprint:
    """Measure a net with shared weights, its unshared twin and a plain net of equal accuracy.

    What is trained and exported is read from `models/`; the stock files are made anew. Nets that
    are not trained get random weights, and so do all nets with other iterations.

    Args:
        net: A net of the zoo that applies one block again and again.
        dataset: The data set that it was trained on.
        iterations: How often to apply the block, to see how the costs grow.
        circuit: Synthesize the smallest file of each net that grows.

    Raises:
        EdgegolfError: There is no such net, a tool is missing, or the iterations make no sense.
    """
    find_family(net)
    if not iterations or not all(1 <= count <= MAXIMUM_ITERATIONS for count in iterations):
        raise EdgegolfError(f"iterations must be from 1 to {MAXIMUM_ITERATIONS}, not {iterations}")
    system = describe_system()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        compared = compared_nets(net, dataset)
        growing = [
            random_net(net, shared, count, dataset)
            for count in sorted(set(iterations))
            for shared in (True, False)
        ]
        calibration = read_data(
            dataset, inputs_of(compared[0].model.inputs), CALIBRATION_IMAGES
        ).calibration
        comparison = [
            _compare(
                each,
                calibration,
                exported_files(model_folder(dataset.name, each.name)),
                root / f"compared-{number}",
            )
            for number, each in enumerate(track(compared, "comparing nets"))
        ]
        growth = [
            _grow(each, calibration, root / f"grown-{number}", circuit)
            for number, each in enumerate(track(growing, "growing nets"))
        ]
        to_time = [
            (measured.file.path, runtime)
            for measured in chain.from_iterable([*comparison, *growth])
            for runtime in measured.runtimes
        ]
        latencies = latencies_in_turns(to_time, dataset.split("validation").images[:1])
        holdings = measure_holdings(root / "wide")
    return Footprint(
        net=net,
        dataset=dataset.name,
        system=system,
        comparison=_records(compared, comparison, latencies),
        growth=_records(growing, growth, latencies),
        holdings=holdings,
        notes=tuple(_notes(compared)),
    )


def _compare(
    net: Net, calibration: Samples, exported: Iterable[Path], folder: Path
) -> list[_Measured]:
    """Everything about one net: all its files, in all runtimes."""
    stock = stock_files(net.model, calibration, folder)
    golfed = golfed_files(stock, folder)
    ours = committed_files(exported, (*stock, *golfed), folder) or sharing_files(
        net.model, calibration, folder
    )
    run = []
    for file in (*stock, *ours):
        runtimes = _deployed(file.path)
        memory = [
            cost
            for runtime in runtimes
            for cost in (*heap_costs(file.path, runtime), *resident_costs(file.path, runtime))
        ]
        run.append(
            _Measured(file, (*file_costs(file.path), *c_costs(file.path), *memory), runtimes)
        )
    return [*run, *(_Measured(file, tuple(file_costs(file.path))) for file in golfed)]


def _grow(net: Net, calibration: Samples, folder: Path, circuit: bool) -> list[_Measured]:
    """What changes with the number of iterations, in the preferred runtimes."""
    stock = stock_files(net.model, calibration, folder)
    golfed = golfed_files(stock, folder)
    ours = sharing_files(net.model, calibration, folder)
    smallest = min(
        (file for file in ours if file.path.suffix == ".tflite"),
        key=lambda file: file.path.stat().st_size,
    )
    run = []
    for file in (*stock, *ours):
        runtime = preferred_runtime(file.path)
        costs = (*file_costs(file.path), *c_costs(file.path), *heap_costs(file.path, runtime))
        if circuit and file is smallest:
            costs = (*costs, *circuit_costs(file.path))
        run.append(_Measured(file, costs, (runtime,)))
    return [*run, *(_Measured(file, tuple(file_costs(file.path))) for file in golfed)]


def _deployed(path: Path) -> tuple[str, ...]:
    """The runtimes here that a file is deployed with, C among them where it can be had."""
    usual = tuple(name for name in installed_runtimes(path) if name != REFERENCE)
    return (*usual, "c") if find_compiler(None) and has_c(path) else usual


def _records(
    nets: Sequence[Net],
    files: Sequence[Sequence[_Measured]],
    latencies: Mapping[tuple[Path, str], float],
) -> tuple[NetFootprint, ...]:
    return tuple(
        NetFootprint(
            net=net.name,
            role=net.role,
            iterations=net.iterations,
            parameters=net.model.count_params(),
            trained=net.is_trained,
            accuracy=None if net.card is None else accuracy_of(net.card),
            variants=tuple(_variant(measured, latencies) for measured in own),
        )
        for net, own in zip(nets, files, strict=True)
    )


def _variant(measured: _Measured, latencies: Mapping[tuple[Path, str], float]) -> Variant:
    file = measured.file
    timed = [
        Cost(LATENCY, latencies[file.path, runtime], runtime)
        for runtime in measured.runtimes
        if (file.path, runtime) in latencies
    ]
    return Variant(file.path.name, file.way, (*measured.costs, *timed))


def _notes(nets: Iterable[Net]) -> Iterator[str]:
    for net in nets:
        if not net.is_trained:
            yield f"no trained {net.name} is here; its figures are those of random weights"
    roles = {net.role for net in nets}
    if "plain" not in roles:
        yield "no other trained net to compare with"
    if heap_bytes() is None:
        yield "the heap was not counted: that takes Linux with glibc 2.33 or later"
