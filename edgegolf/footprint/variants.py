"""The files that a net can be deployed as."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.backends import onnx
from edgegolf.export import onnx_export, tflite
from edgegolf.export.model import for_inference
from edgegolf.export.variants import ONE_SCALE, one_weight_scale, simplified, write_int8
from edgegolf.files import write_atomically
from edgegolf.frontends.keras import read_model
from edgegolf.golf.golf import golf_file
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx
from edgegolf.golf.tflite_golf import golf_tflite
from edgegolf.ir.tensor import Array
from edgegolf.passes.fusion import fuse_activations
from edgegolf.passes.rerolling import reroll, unroll
from edgegolf.quantize.calibration import calibrate, ranges

if TYPE_CHECKING:
    import keras

    from edgegolf.export.samples import Samples
    from edgegolf.ir import Graph
    from edgegolf.quantize.quantization import Quantization

STOCK, GOLFED, EDGEGOLF = "stock", "golfed", "edgegolf"

STOCK_CONVERTERS: dict[str, Callable[[keras.Model, Samples, Path], None]] = {
    "float32.tflite": tflite.write_float32,
    "int8.tflite": tflite.write_int8,
    "float32.onnx": onnx_export.write_float32,
    "int8.onnx": onnx_export.write_int8,
}

UNROLLED, LOOP = "int8-unrolled.tflite", "int8-loop.tflite"
LONGEST_LOOP = 30  # iterations that the exporter's loop can count


@dataclass(frozen=True)
class MadeFile:
    """A file and how it was made: of `STOCK`, `GOLFED`, `EDGEGOLF`."""

    path: Path
    way: str


def stock_files(
    model: keras.Model,
    calibration: Samples,
    folder: Path,
    names: Collection[str] = STOCK_CONVERTERS.keys(),
) -> tuple[MadeFile, ...]:
    """The files of the formats' own converters."""
    fixed = for_inference(model, 1)
    made = []
    for name in names:
        path = folder / STOCK / name
        STOCK_CONVERTERS[name](fixed, calibration, path)
        made.append(MadeFile(path, STOCK))
    return tuple(made)


def golfed_files(files: Iterable[MadeFile], folder: Path) -> tuple[MadeFile, ...]:
    """The same files rewritten without loss: they run alike, so that only their sizes differ."""
    made = []
    for file in files:
        path = folder / GOLFED / file.path.name
        golf_file(file.path, path)
        made.append(MadeFile(path, GOLFED))
    return tuple(made)


def sharing_files(model: keras.Model, calibration: Samples, folder: Path) -> tuple[MadeFile, ...]:
    """int8 files that keep shared weights single, as export makes them, but not fine-tuned.

    Fine-tuning changes the numbers in a file, not what it costs.
    """
    path = folder / EDGEGOLF / "int8.onnx"
    write_atomically(path, int8_onnx(model, calibration.inputs))
    return (*sharing_tflite_files(model, calibration, folder), MadeFile(path, EDGEGOLF))


def int8_onnx(model: keras.Model, calibration: Sequence[Array]) -> bytes:
    """The `int8.onnx` of `sharing_files`, calibrated on batches for each input, float32."""
    data = onnx.write(one_weight_scale(_graph_of(model), calibration))
    return golf_onnx(data, Keep()).data


def sharing_tflite_files(
    model: keras.Model, calibration: Samples, folder: Path
) -> tuple[MadeFile, ...]:
    """Those of `sharing_files` that are `.tflite`; with a loop only where a block repeats."""
    return _tflite_files(_graph_of(model), calibration, folder)


def _graph_of(model: keras.Model) -> Graph:
    return simplified(read_model(for_inference(model, 1)))


def _tflite_files(graph: Graph, calibration: Samples, folder: Path) -> tuple[MadeFile, ...]:
    rolled = reroll(graph)
    fused = fuse_activations(rolled)
    quantization = calibrate(fused, ranges(fused, calibration.inputs), ONE_SCALE)
    straight = unroll(fused)
    copied = quantization.with_copies(straight.origins)
    contents = {UNROLLED: write_int8(straight.graph, copied)}
    if rolled is not graph:
        contents[LOOP] = _write_loop(fused, quantization)
    for name, data in contents.items():
        write_atomically(folder / EDGEGOLF / name, golf_tflite(data, Keep()).data)
    return tuple(MadeFile(folder / EDGEGOLF / name, EDGEGOLF) for name in contents)


def _write_loop(rolled: Graph, quantization: Quantization) -> bytes:
    """As a loop, with as many blocks in its body as the loop's length asks for."""
    for blocks in count(1):
        unrolled = unroll(rolled, blocks)
        if all(loop.iterations <= LONGEST_LOOP for loop in unrolled.graph.loops):
            return write_int8(unrolled.graph, quantization.with_copies(unrolled.origins))
    raise AssertionError("unreachable: a body of all blocks runs once")


def committed_files(
    paths: Iterable[Path], known: Iterable[MadeFile], folder: Path
) -> tuple[MadeFile, ...]:
    """The files that export left beside a model, without those that equal known ones."""
    contents = {file.path.read_bytes() for file in known}
    made = []
    for source in paths:
        if source.read_bytes() in contents:
            continue
        path = folder / EDGEGOLF / source.name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        made.append(MadeFile(path, EDGEGOLF))
    return tuple(made)
