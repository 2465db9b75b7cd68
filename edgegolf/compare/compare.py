"""`edgegolf compare`: why one model is worse than another one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgegolf.compare.layers import LayerError, Layers, compare_layers, decibels
from edgegolf.compare.models import Model, input_order, open_model
from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.export.samples import ModelInput, Samples, read_data
from edgegolf.export.verify import classes_of, labelled_output
from edgegolf.runtimes import Array
from edgegolf.sqnr import sqnr

RANDOM_SAMPLES = 64
MOST_ELEMENTS = 2**28  # of random inputs
USELESS = 3.0  # dB: as much noise as signal
MOST = 0.5  # of the noise


@dataclass(frozen=True)
class ComparedFile:
    """One of two models; what is None is unknown."""

    file: str  # its path
    bytes: int  # its size
    parameters: int | None  # weights and biases
    macs: int | None  # multiply-accumulates of one inference
    activation_peak_bytes: int | None  # largest total size of the tensors alive at one time
    accuracy: float | None  # on labelled samples, a fraction


@dataclass(frozen=True)
class Comparison:
    """Two models side by side."""

    SCHEMA: ClassVar[str] = "edgegolf.compare/1"

    first: ComparedFile  # what is right
    second: ComparedFile  # what is judged
    data: str  # what they were run on, in words
    samples: int  # how many
    # Of each output the signal-to-quantization-noise ratio, dB; None if exact.
    outputs: tuple[float | None, ...]
    # Share of the samples that get the same class; None if there are no classes.
    agreement: float | None
    layers: tuple[LayerError, ...]  # errors by layer, in execution order
    layer_samples: int  # how many samples these are from
    unmatched: int  # layers with weights of the first model that have no counterpart
    why_no_layers: str  # why there are none; empty if there are
    finding: str  # what it comes to, one sentence


def compare(first: Path, second: Path, data: str | None = None) -> Comparison:
    """Compare two model files.

    Args:
        first: What is right: `.tflite`, `.onnx` or `.keras`.
        second: What is judged, of any of these formats.
        data: An `.npz` file or the name of a data set, whose validation images are used; None for
            random inputs.

    Raises:
        EdgegolfError: A file cannot be read or run, or the two take or give different shapes.
    """
    one, other = open_model(first), open_model(second)
    order = input_order(one, other)
    samples, told = _samples(one, other, order, data)
    inputs, others = list(samples.inputs), [samples.inputs[index] for index in order]
    right, found = (
        one.outputs(inputs),
        _like(one, other, one.outputs(inputs), other.outputs(others)),
    )
    ratios = tuple(decibels(sqnr(a, b)) for a, b in zip(right, found, strict=True))
    layers, why = _layers(one, other, inputs, others)
    is_classes = right[0].ndim == 2 and right[0].shape[1] > 1
    return Comparison(
        _described(one, right, samples),
        _described(other, found, samples),
        told,
        len(samples),
        ratios,
        float(np.mean(right[0].argmax(1) == found[0].argmax(1))) if is_classes else None,
        layers.errors,
        layers.samples,
        layers.unmatched,
        why,
        finding(*short_names(first, second), ratios, layers.errors),
    )


def short_names(first: Path, second: Path) -> tuple[str, str]:
    """What to call two files: by their names, or with their folders where these are equal."""
    if first.name != second.name:
        return first.name, second.name
    return "/".join(first.parts[-2:]), "/".join(second.parts[-2:])


def finding(
    first: str, second: str, ratios: Sequence[float | None], errors: Sequence[LayerError]
) -> str:
    """Why the second model is worse, one sentence.

    Args:
        first: What the first one is called.
        second: What the second one is called.
        ratios: Of the outputs, dB.
        errors: Of the layers.
    """
    worst = min((ratio for ratio in ratios if ratio is not None), default=None)
    if worst is None:
        return f"{second} gives the same as {first}, but for the order of additions."
    kept = f"{second} keeps {worst:.1f} dB of {first}'s output"
    if worst < USELESS:
        kept = f"{second} computes something else than {first} ({worst:.1f} dB)"
    ranked = sorted(errors, key=lambda error: -error.share)
    if not ranked or not ranked[0].share:
        return f"{kept}."
    top = ranked[0]
    own = "" if top.own is None else f", whose own error leaves {top.own:.1f} dB of its result"
    if top.share >= MOST:
        return f"{kept}: most of the error arises in {top.name} ({top.share:.0%}){own}."
    few = ", ".join(f"{error.name} ({error.share:.0%})" for error in ranked[:3] if error.share)
    return f"{kept}: the error arises in many layers, most in {few}."


def _samples(
    first: Model, second: Model, order: Sequence[int], data: str | None
) -> tuple[Samples, str]:
    """What to run both on, and what that is in words."""
    if data is None:
        ranges = [
            first.ranges[index] or second.ranges[position]
            for position, index in sorted(enumerate(order), key=lambda pair: pair[1])
        ]
        generator = np.random.default_rng(0)
        inputs = [
            _random(info.example_shape[1:], info.dtype, limits, generator)
            for info, limits in zip(first.inputs, ranges, strict=True)
        ]
        return Samples(
            tuple(inputs)
        ), f"{RANDOM_SAMPLES} random inputs; with --data, typical ones tell more"
    inputs_of_first = [ModelInput(info.name, info.shape, info.dtype) for info in first.inputs]
    if Path(data).suffix or Path(data).is_dir():
        samples = read_data(data, inputs_of_first, 1).validation
        return samples, f"{len(samples):,} samples of {data}"
    samples = read_data(load_dataset(data), inputs_of_first, 1).validation
    return samples, f"the {len(samples):,} validation images of {data}"


def _random(
    shape: Sequence[int],
    dtype: str,
    limits: tuple[float, float] | None,
    generator: np.random.Generator,
) -> Array:
    if RANDOM_SAMPLES * np.prod(shape, dtype=float) > MOST_ELEMENTS:
        raise EdgegolfError(f"an input of shape {list(shape)} is too large for random numbers")
    if re.fullmatch(r"bool|u?int(8|16|32|64)", dtype):
        return np.zeros((RANDOM_SAMPLES, *shape), dtype)  # an index is valid then
    if not dtype.startswith("float"):
        raise EdgegolfError(f"an input of {dtype} takes no random numbers")
    low, high = limits or (0.0, 1.0)
    return generator.uniform(low, high, (RANDOM_SAMPLES, *shape)).astype(np.float32)


def _like(
    first: Model, second: Model, right: Sequence[Array], found: Sequence[Array]
) -> list[Array]:
    """The second model's outputs in the shapes of the first one's."""
    if len(right) != len(found):
        raise EdgegolfError(
            f"{first.path} gives {len(right)} outputs, {second.path} gives {len(found)}"
        )
    if not right:
        raise EdgegolfError(f"{first.path} gives no outputs: there is nothing to compare")
    arranged = []
    for number, (a, b) in enumerate(zip(right, found, strict=True)):
        if a.ndim == b.ndim == 4 and a.shape != b.shape:
            orders = ((0, 3, 1, 2), (0, 2, 3, 1))
            b = next((b.transpose(o) for o in orders if b.transpose(o).shape == a.shape), b)
        if a.size != b.size:
            raise EdgegolfError(
                f"output {number} of {first.path} has the shape {list(a.shape[1:])}, of "
                f"{second.path} {list(b.shape[1:])}",
                hint="compare two files of the same network",
            )
        arranged.append(b.reshape(a.shape))
    return arranged


def _layers(
    first: Model, second: Model, inputs: Sequence[Array], others: Sequence[Array]
) -> tuple[Layers, str]:
    """Errors by layer, or why there are none."""
    nothing = Layers((), 0, 0)
    for model in (first, second):
        if model.compiled is None:
            return nothing, model.why_no_graph
    assert first.compiled is not None
    assert second.compiled is not None
    try:
        return compare_layers(first.compiled.graph, second.compiled.graph, inputs, others), ""
    except EdgegolfError as error:
        return nothing, error.message


def _described(model: Model, outputs: Sequence[Array], samples: Samples) -> ComparedFile:
    accuracy = None
    labels = samples.labels
    if labels is not None and labelled_output(outputs[:1], labels) is not None:
        accuracy = float(np.mean(classes_of(outputs[0], outputs[0]) == labels))
    return ComparedFile(
        str(model.path),
        model.size_bytes,
        model.parameters,
        model.macs,
        model.activation_peak_bytes,
        accuracy,
    )
