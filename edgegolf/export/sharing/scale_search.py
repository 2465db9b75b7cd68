"""Finds how far values are best clipped."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegolf.export.sharing.evaluate import evaluate
from edgegolf.export.sharing.network import (
    Dense,
    Network,
    Node,
    Operation,
    Softmax,
    Weight,
    readers,
    replace_operations,
)
from edgegolf.export.sharing.quantization import Grid, Quantization
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import scores

CLIPPINGS = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4)  # of the largest value
SMALLEST_PROBABILITY = 1 / 512  # what int8 rounds to 0

Calibrate = Callable[[Network], Quantization]
Write = Callable[[Network, Quantization], bytes]


def search_scales(
    network: Network,
    images: NDArray[np.uint8],
    calibrate: Calibrate,
    write: Write,
    temperatures: tuple[float, ...] = (1.0,),
    suffix: str = ".tflite",
) -> tuple[Network, Quantization]:
    """Scale all grids but those of pixels and probabilities by the factor that is best.

    Few values come near the extremes, so that it pays to clip these and to round all others less.
    The best file is the one that gives the probabilities nearest to the exact ones, by cross
    entropy.

    Args:
        network: A classifier that ends with softmax; others come back with their first grids.
        images: uint8 training images.
        calibrate: Gives grids that hold all values.
        write: Makes the file.
        temperatures: What to try dividing the values before softmax by, because where all values
            have one scale these should not be much larger than others.
        suffix: The file's.

    Returns:
        The network that computes the same, and its grids.
    """
    if not isinstance(network.nodes[-1].operation, Softmax):
        return network, calibrate(network)
    exact = evaluate(network, images / np.float32(255))

    def loss(choice: tuple[Network, Quantization]) -> float:
        found = probabilities_of(write(*choice), images, suffix)
        return float(-(exact * np.log(found + SMALLEST_PROBABILITY)).sum(axis=1).mean())

    def choices() -> Iterator[tuple[Network, Quantization]]:
        for temperature in temperatures:
            tempered = _tempered(network, temperature)
            quantization = calibrate(tempered)
            for clipping in CLIPPINGS:
                yield tempered, _scaled(tempered, quantization, clipping)

    return min(choices(), key=loss)


def _tempered(network: Network, temperature: float) -> Network:
    """The last dense layer divided by a temperature, and softmax multiplying by it."""
    *_, before, last = network.nodes
    dense = before.operation
    if temperature == 1.0 or not isinstance(dense, Dense):
        return network
    applications = [node.operation for node in network.walk()].count(dense)
    if applications > 1 or len(readers(network)[before.output]) > 1:
        return network

    def divided(weight: Weight) -> Weight:
        return Weight(weight.name, weight.values / np.float32(temperature))

    cooled: Operation = Dense(divided(dense.matrix), dense.bias and divided(dense.bias))
    softmax = Node(Softmax(temperature), last.inputs, last.outputs)
    nodes = (*network.nodes[:-1], softmax)
    return replace_operations(Network(network.inputs, network.outputs, nodes), {dense: cooled})


def _scaled(network: Network, quantization: Quantization, factor: float) -> Quantization:
    fixed = {quantization.activations[value] for value in (*network.inputs, *network.outputs)}
    activations = {
        value: grid if grid in fixed else Grid((grid.scale * factor,), grid.zero_point)
        for value, grid in quantization.activations.items()
    }
    return replace(quantization, activations=activations)


def probabilities_of(
    data: bytes, images: NDArray[np.uint8], suffix: str = ".tflite"
) -> NDArray[np.float32]:
    """What a file gives for images, float32 [n, classes]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"choice{suffix}"
        path.write_bytes(data)
        with open_session(path) as session:
            return scores(session, images)
