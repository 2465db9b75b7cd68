"""Whether a runtime holds the weights of a repeated block once, or once for each application."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegolf.bench.bench import TIMEOUT
from edgegolf.errors import require
from edgegolf.export.model import import_keras_on_tensorflow
from edgegolf.export.samples import Samples
from edgegolf.footprint.heap import heap_bytes
from edgegolf.footprint.measure import weight_data
from edgegolf.footprint.nets import with_random_weights
from edgegolf.footprint.result import Holding
from edgegolf.footprint.variants import LOOP, MadeFile, sharing_tflite_files, stock_files
from edgegolf.progress import track
from edgegolf.runtimes import RUNTIMES, installed_runtimes, open_session
from edgegolf.runtimes.chatter import without_chatter
from edgegolf.runtimes.child import run_in_child

if TYPE_CHECKING:
    import keras

WIDTH = 512  # channels: the weights of a block outweigh what runtimes keep for its operators
SIDE = 4  # pixels: the activations stay small
FEW, MANY = 2, 4  # applications of the block
CALIBRATION_SAMPLES = 4

Run = Callable[[], Any]


def measure_holdings(folder: Path, width: int = WIDTH) -> tuple[Holding, ...]:
    """Measure every installed runtime, also with a part of it switched off.

    Args:
        folder: For the models.
        width: Channels.

    Returns:
        Nothing where the heap cannot be counted.

    Raises:
        EdgegolfError: A model cannot be made.
    """
    if heap_bytes() is None:
        return ()
    counts = [(shared, count) for shared in (True, False) for count in (FEW, MANY)]
    files = {
        (shared, count, made.path.name): made.path
        for shared, count in track(counts, "making wide nets")
        for made in _make(shared, count, width, folder / f"{shared}-{count}")
    }
    cases = [
        (name, runtime, shared)
        for shared, count, name in files
        if count == MANY
        for runtime, (package, _) in SETTINGS.items()
        if package in installed_runtimes(Path(name))
    ]

    def hold(case: tuple[str, str, bool]) -> Holding:
        name, runtime, shared = case
        few, many = (
            run_in_child(measure_resting_heap, files[shared, count, name], runtime, timeout=TIMEOUT)
            for count in (FEW, MANY)
        )
        stock = name.replace(LOOP, "int8.tflite")  # the unshared twin has no loop
        least, most = (len(weight_data(files[False, count, stock])) for count in (FEW, MANY))
        return Holding(runtime, name, shared, (many - few) / (most - least))

    # Side by side, because the heap does not depend on what else runs.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(track(pool.map(hold, cases), "how weights are held", len(cases)))


def build_wide(shared: bool, applications: int, width: int) -> keras.Model:
    """The block of TightResNet on a small image of many channels, again and again."""
    layers = import_keras_on_tensorflow().layers
    blocks = [
        layers.SeparableConv2D(width, 3, padding="same")
        for _ in range(1 if shared else applications)
    ]
    hidden = image = layers.Input((SIDE, SIDE, width))
    for index in range(applications):
        residual = blocks[index % len(blocks)](layers.ReLU()(hidden))
        hidden = layers.Add()([hidden, residual])
    return with_random_weights(import_keras_on_tensorflow().Model(image, hidden))


def measure_resting_heap(path: Path, runtime: str) -> int:
    """Heap that a model takes once it has run, in this process, which should be a fresh one.

    Args:
        path: The file.
        runtime: A name in `SETTINGS`.

    Raises:
        EdgegolfError: It does not run.
    """
    package, load = SETTINGS[runtime]
    RUNTIMES[package].check()
    before = heap_bytes()
    with without_chatter():
        run = load(path)
        run()
    after = heap_bytes()
    assert before is not None
    assert after is not None
    return after - before


def _make(shared: bool, applications: int, width: int, folder: Path) -> tuple[MadeFile, ...]:
    """The stock files, and the one with a loop where there is one."""
    model = build_wide(shared, applications, width)
    shape = (CALIBRATION_SAMPLES, *model.inputs[0].shape[1:])
    samples = Samples((np.random.default_rng(0).random(shape, np.float32),))
    ours = sharing_tflite_files(model, samples, folder)
    return (
        *stock_files(model, samples, folder),
        *(made for made in ours if made.path.name == LOOP),
    )


def _load(runtime: str, path: Path) -> Run:
    session = open_session(path, runtime)
    session.set_inputs([np.zeros(info.example_shape, info.dtype) for info in session.inputs])
    return session.invoke


def _load_without_delegate(path: Path) -> Run:
    module = require("ai_edge_litert.interpreter", extra="train")
    resolver = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = module.Interpreter(
        model_path=str(path), num_threads=1, experimental_op_resolver_type=resolver
    )
    interpreter.allocate_tensors()
    return interpreter.invoke


def _load_onnx(path: Path, prepacking: bool) -> Run:
    module = require("onnxruntime", extra="train")
    options = module.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it reserves ahead in powers of two, which hides sizes
    options.add_session_config_entry("session.disable_prepacking", str(int(not prepacking)))
    session = module.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    (info,) = session.get_inputs()
    inputs = {info.name: np.zeros(info.shape, np.float32)}
    return lambda: session.run(None, inputs)


#: Runtimes, as they are or with something switched off: the name in the registry, and what loads a
#: file and returns what runs it once.
SETTINGS: dict[str, tuple[str, Callable[[Path], Run]]] = {
    "litert": ("litert", partial(_load, "litert")),
    "litert without XNNPACK": ("litert", _load_without_delegate),
    "tflite-runtime": ("tflite-runtime", partial(_load, "tflite-runtime")),
    "onnxruntime": ("onnxruntime", partial(_load_onnx, prepacking=True)),
    "onnxruntime without prepacking": ("onnxruntime", partial(_load_onnx, prepacking=False)),
}
