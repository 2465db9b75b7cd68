"""The article's question: what does sharing weights save, and what does it not?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.bench.system import describe_system
from edgegolf.errors import EdgegolfError
from edgegolf.export.samples import Samples, read_data
from edgegolf.footprint.heap import heap_bytes
from edgegolf.footprint.holding import measure_holdings
from edgegolf.footprint.measure import file_costs, resident_costs, running_costs
from edgegolf.footprint.nets import Net, accuracy_of, compared_nets, find_family, random_net
from edgegolf.footprint.result import Cost, Footprint, NetFootprint, Variant
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
SECONDS = 0.3  # of timed inferences for each file and runtime
REFERENCE = "litert-reference"  # computes the same everywhere, but nobody deploys it


def footprint(
    net: str, dataset: Dataset, iterations: Sequence[int] = ITERATIONS, seconds: float = SECONDS
) -> Footprint:
    """Measure a net with shared weights, its unshared twin and a plain net of equal accuracy.

    What is trained and exported is read from `models/`; the stock files are made anew. Nets that
    are not trained get random weights, and so do all nets with other iterations.

    Args:
        net: A net of the zoo that applies one block again and again.
        dataset: The data set that it was trained on.
        iterations: How often to apply the block, to see how the costs grow.
        seconds: How long to time each file in each runtime.

    Raises:
        EdgegolfError: There is no such net, or the iterations make no sense.
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
        calibration = read_data(dataset, compared[0].model, CALIBRATION_IMAGES).calibration
        comparison = tuple(
            _compare(
                each,
                calibration,
                exported_files(model_folder(dataset.name, each.name)),
                root / f"compared-{number}",
                seconds,
            )
            for number, each in enumerate(track(compared, "comparing nets"))
        )
        growth = tuple(
            _grow(each, calibration, root / f"grown-{number}", seconds)
            for number, each in enumerate(track(growing, "growing nets"))
        )
        holdings = measure_holdings(root / "wide")
    return Footprint(
        net=net,
        dataset=dataset.name,
        system=system,
        comparison=comparison,
        growth=growth,
        holdings=holdings,
        notes=tuple(_notes(compared)),
    )


def _compare(
    net: Net, calibration: Samples, exported: Iterable[Path], folder: Path, seconds: float
) -> NetFootprint:
    """Everything about one net: all its files, in all runtimes."""
    stock = stock_files(net.model, calibration, folder)
    golfed = golfed_files(stock, folder)
    ours = committed_files(exported, (*stock, *golfed), folder) or sharing_files(
        net.model, calibration, folder
    )
    run = [_variant(file, _everywhere(file, seconds)) for file in (*stock, *ours)]
    return _record(net, [*run, *(_variant(file, ()) for file in golfed)])


def _grow(net: Net, calibration: Samples, folder: Path, seconds: float) -> NetFootprint:
    """What changes with the number of iterations, in the preferred runtimes."""
    stock = stock_files(net.model, calibration, folder)
    golfed = golfed_files(stock, folder)
    ours = sharing_files(net.model, calibration, folder)
    run = [
        _variant(file, running_costs(file.path, preferred_runtime(file.path), seconds))
        for file in (*stock, *ours)
    ]
    return _record(net, [*run, *(_variant(file, ()) for file in golfed)])


def _everywhere(file: MadeFile, seconds: float) -> Iterator[Cost]:
    for runtime in installed_runtimes(file.path):
        if runtime != REFERENCE:
            yield from running_costs(file.path, runtime, seconds)
            yield from resident_costs(file.path, runtime)


def _variant(file: MadeFile, running: Iterable[Cost]) -> Variant:
    return Variant(file.path.name, file.way, (*file_costs(file.path), *running))


def _record(net: Net, variants: Iterable[Variant]) -> NetFootprint:
    return NetFootprint(
        net=net.name,
        role=net.role,
        iterations=net.iterations,
        parameters=net.model.count_params(),
        trained=net.is_trained,
        accuracy=None if net.card is None else accuracy_of(net.card),
        variants=tuple(variants),
    )


def _notes(nets: Iterable[Net]) -> Iterator[str]:
    for net in nets:
        if not net.is_trained:
            yield f"no trained {net.name} is here; its figures are those of random weights"
    roles = {net.role for net in nets}
    if "plain" not in roles:
        yield "no other trained net to compare with"
    if heap_bytes() is None:
        yield "the heap was not counted: that takes Linux with glibc 2.33 or later"
