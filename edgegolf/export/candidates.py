"""The files that a network can be deployed as, made in every way that may be best."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.data import Split
from edgegolf.export.measuring import Candidate, Draft, Goal, choose, measure, probabilities_of
from edgegolf.export.variants import (
    FINETUNING_STEPS,
    Tuning,
    onnx_drafts,
    simplified,
    tflite_drafts,
)
from edgegolf.frontends.keras import UnsupportedLayerError, read_model
from edgegolf.golf.golf import golf_file
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx
from edgegolf.golf.tflite_golf import golf_tflite

if TYPE_CHECKING:
    import keras

    from edgegolf.ir import Graph

RUNTIMES = {".tflite": "litert", ".onnx": "onnxruntime"}  # whose latency counts

NOTICEABLY_FASTER = 0.95  # of the balanced file's latency
NOTICEABLY_SMALLER = 0.99  # of its bytes
# Of accuracy, against the stock float32 file: as many more errors, but within these bounds.
MORE_ERRORS = 1 / 15
DROPS = (0.002, 0.005)


def tflite_candidates(
    model: keras.Model,
    train: Split,
    validation: Split,
    float32_file: Path,
    int8_file: Path,
    steps: int = FINETUNING_STEPS,
    seed: int = 0,
) -> tuple[Candidate, ...]:
    """Make and measure all candidates for a `.tflite` file of a model.

    Weights that serve several layers are stored once. A model with a layer that is not supported
    has one candidate besides the stock float32 file: the stock int8 file, rewritten losslessly.

    Args:
        model: An image classifier.
        train: What scales are chosen on, and rounded weights adapted to.
        validation: What accuracy is measured on, with as many training images.
        float32_file: The model as TensorFlow's converter writes it; the first candidate.
        int8_file: The same for int8.
        steps: Batches of fine-tuning for networks with shared layers; 0 for none.
        seed: For the choice of images.

    Raises:
        EdgegolfError: A file cannot be read or run.
    """
    drafts = _stock(float32_file, int8_file)
    graph = _graph_of(model)
    if graph is not None:
        for draft in tflite_drafts(graph, _tuning(train, ".tflite", steps, seed)):
            drafts.append(replace(draft, data=golf_tflite(draft.data, Keep()).data))
    return measure(drafts, ".tflite", _judges(train, validation))


def onnx_candidates(
    model: keras.Model,
    train: Split,
    validation: Split,
    float32_file: Path,
    int8_file: Path,
    portable: bool = False,
) -> tuple[Candidate, ...]:
    """The same for a `.onnx` file; weights and biases are one tensor, repeated blocks functions.

    Args:
        model: An image classifier.
        train: What scales are chosen on.
        validation: What accuracy is measured on, with as many training images.
        float32_file: The model as tf2onnx writes it; the first candidate.
        int8_file: The model as onnxruntime's quantizer writes it.
        portable: Only files that other readers than onnxruntime read: no functions, and no
            operators but the standard's.

    Raises:
        EdgegolfError: A file cannot be read or run.
    """
    drafts = _stock(float32_file, int8_file, portable)
    graph = _graph_of(model)
    if graph is not None:
        for draft in onnx_drafts(graph, _tuning(train, ".onnx")):
            if draft.compute == "int8-weights" or not portable:
                data = golf_onnx(draft.data, Keep(portable=portable)).data
                drafts.append(replace(draft, data=data))
    return measure(drafts, ".onnx", _judges(train, validation))


def _graph_of(model: keras.Model) -> Graph | None:
    """The model with one input and one output as a graph, None if that has no op for a layer."""
    try:
        graph = simplified(read_model(model))
    except UnsupportedLayerError:
        return None
    return graph if len(graph.inputs) == len(graph.outputs) == 1 else None


def _tuning(train: Split, suffix: str, steps: int = FINETUNING_STEPS, seed: int = 0) -> Tuning:
    return Tuning(train.images, partial(probabilities_of, suffix=suffix), steps, seed)


def _judges(train: Split, validation: Split) -> Split:
    """Images to tell candidates apart by.

    Of several seeds the one that is best on the validation images was kept, so that any change of
    the net looks bad on these; as many training images take half of this prejudice out.
    """
    seen = _some(train, len(validation.labels))
    return Split(
        np.concatenate([validation.images, seen.images]),
        np.concatenate([validation.labels, seen.labels]),
    )


def best_files(
    candidates: Sequence[Candidate], suffix: str, goal: Goal | None
) -> dict[str, Candidate]:
    """The candidates worth keeping, by the name of their file.

    Args:
        candidates: Of one format; the first is the stock float32 file.
        suffix: `.tflite` or `.onnx`.
        goal: What `int8.tflite` (or `int8.onnx`) is chosen for. None: it is the balanced one, and
            the smallest and the fastest are kept beside it where these are others.
    """
    runtime = RUNTIMES[suffix]
    accuracy = candidates[0].accuracy
    least = accuracy - float(np.clip(MORE_ERRORS * (1 - accuracy), *DROPS))
    # onnxruntime computes fastest in float32, LiteRT in int8: see docs/sharing.md.
    wanted = ("int8", "int8-weights") if suffix == ".onnx" else ("int8",)
    fitting = [candidate for candidate in candidates if candidate.compute in wanted]
    if goal is not None:
        return {f"int8{suffix}": choose(fitting, goal, runtime, least)}
    goals: dict[str, Goal] = {
        "int8": "balanced",
        "int8-smallest": "size",
        "int8-fastest": "latency",
    }
    kept: dict[str, Candidate] = {}
    for stem, each in goals.items():
        candidate = choose(fitting, each, runtime, least)
        if not kept or _is_worth_a_file(candidate, kept[f"int8{suffix}"], each, runtime):
            kept[f"{stem}{suffix}"] = candidate
    weights = [candidate for candidate in candidates if candidate.compute == "int8-weights"]
    if suffix == ".tflite" and weights:
        kept["int8-weights.tflite"] = choose(weights, "size", runtime, least)
    return kept


def _is_worth_a_file(candidate: Candidate, balanced: Candidate, goal: Goal, runtime: str) -> bool:
    """Whether it beats the balanced file by more than a trifle."""
    if goal == "size":
        return candidate.size_bytes < NOTICEABLY_SMALLER * balanced.size_bytes
    return candidate.latency_ratio[runtime] < NOTICEABLY_FASTER * balanced.latency_ratio[runtime]


# ---------------------------------------------------------------------------------------- making


def _stock(float32_file: Path, int8_file: Path, portable: bool = False) -> list[Draft]:
    return [
        Draft("stock", "float32", float32_file.read_bytes()),
        Draft("stock, golfed", "int8", _golfed(int8_file, portable)),
    ]


def _golfed(path: Path, portable: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        golfed = Path(folder) / path.name
        golf_file(path, golfed, portable=portable)
        return golfed.read_bytes() if golfed.exists() else path.read_bytes()


def _some(split: Split, count: int) -> Split:
    """Images spread over the split."""
    chosen = np.linspace(0, len(split.images) - 1, min(count, len(split.images))).astype(np.int64)
    return Split(split.images[chosen], split.labels[chosen])
