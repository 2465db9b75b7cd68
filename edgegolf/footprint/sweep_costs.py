"""Bytes and latency of the nets of a sweep: once for each net, because no seed changes them."""

from __future__ import annotations

import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.bench.quick import latencies_in_turns
from edgegolf.export.model import import_keras_on_tensorflow
from edgegolf.export.samples import inputs_of, read_data
from edgegolf.footprint.footprint import CALIBRATION_IMAGES
from edgegolf.footprint.nets import with_random_weights
from edgegolf.footprint.variants import MadeFile, golfed_files, sharing_tflite_files, stock_files
from edgegolf.frontends.keras import UnsupportedLayerError
from edgegolf.progress import track
from edgegolf.runtimes.registry import preferred_runtime
from edgegolf.sweep.costs import FileCosts
from edgegolf.zoo import find_recipe

if TYPE_CHECKING:
    import keras

    from edgegolf.data import Dataset
    from edgegolf.export.samples import Samples
    from edgegolf.sweep import Store, Sweep

STOCK_NAMES = ("float32.tflite", "int8.tflite")


def measure_sweep(sweep: Sweep, dataset: Dataset, store: Store) -> None:
    """Make the files of every net that the store has none of, time them, and keep the figures.

    The machine should do nothing else meanwhile. Weights are random: only compression would tell.

    Args:
        sweep: Whose nets.
        dataset: What it is trained on.
        store: Where the figures go.

    Raises:
        EdgegolfError: A net cannot be exported, or a file does not run.
    """
    nets = tuple(dict.fromkeys(run.net for run in sweep.runs))
    known = {cost.net for cost in store.costs(nets, dataset.name)}
    for net in track([net for net in nets if net not in known], "measuring files"):
        store.add_costs(net_costs(net, dataset))


def net_costs(net: str, dataset: Dataset) -> tuple[FileCosts, ...]:
    """What the `.tflite` files of a net cost: the stock ones golfed, and those of edgegolf."""
    import_keras_on_tensorflow()
    model = with_random_weights(find_recipe(net).build(dataset.image_shape, dataset.classes))
    calibration = read_data(dataset, inputs_of(model.inputs), CALIBRATION_IMAGES).calibration
    with tempfile.TemporaryDirectory() as folder:
        files = _files(model, calibration, Path(folder))
        runs = [(file.path, preferred_runtime(file.path)) for file in files]
        latencies = latencies_in_turns(runs, dataset.split("validation").images[:1])
        return tuple(
            FileCosts(
                net=net,
                dataset=dataset.name,
                file=path.name,
                size_bytes=path.stat().st_size,
                latency_us=latency,
                runtime=runtime,
                host=socket.gethostname(),
            )
            for (path, runtime), latency in latencies.items()
        )


def _files(model: keras.Model, calibration: Samples, folder: Path) -> list[MadeFile]:
    files = [*golfed_files(stock_files(model, calibration, folder, STOCK_NAMES), folder)]
    with suppress(UnsupportedLayerError):  # then its own int8 files are none that we can write
        files += sharing_tflite_files(model, calibration, folder)
    return files
