from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sharing_nets import (
    difference_network,
    images,
    mirror_pairs_loop,
    plain_network,
    shared_network,
    three_loops,
)

pytest.importorskip("tensorflow")

from edgegolf.export.sharing.blocks import roll
from edgegolf.export.sharing.calibration import Style, calibrate, filters_of, ranges
from edgegolf.export.sharing.evaluate import evaluate
from edgegolf.export.sharing.finetuning import finetune, tune_biases
from edgegolf.export.sharing.network import Network
from edgegolf.export.sharing.quantization import Quantization
from edgegolf.export.sharing.tflite import write_int8, write_int8_weights
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import scores

ONE_SCALE = Style("leaky", "one", "one")


def first_quantization(network: Network) -> Quantization:
    return calibrate(network, ranges(network, images(network) / np.float32(255)), ONE_SCALE)


def run(data: bytes, network: Network, folder: Path) -> np.ndarray:
    path = folder / "network.tflite"
    path.write_bytes(data)
    with open_session(path) as session:
        return scores(session, images(network))


def cross_entropy(found: np.ndarray, network: Network) -> float:
    exact = evaluate(network, images(network) / np.float32(255))
    return float(-(exact * np.log(found + 1 / 512)).sum(axis=1).mean())


@pytest.mark.parametrize("make", [shared_network, three_loops])
def test_the_rounded_network_comes_closer_to_the_exact_one(make, tmp_path) -> None:
    network = roll(make())
    before = first_quantization(network)
    tuned, after = finetune(
        network, before, images(network), round_activations=True, steps=60, seed=0
    )
    assert cross_entropy(run(write_int8(tuned, after), network, tmp_path), network) < (
        cross_entropy(run(write_int8(network, before), network, tmp_path), network)
    )


@pytest.mark.parametrize("make", [plain_network, mirror_pairs_loop])
def test_biases_make_up_for_rounded_weights(make, tmp_path) -> None:
    network = make()
    coarse = {w: (float(np.abs(w.values).max()) / 9,) for w in filters_of(network)}
    rounded = Quantization({}, coarse)
    tuned = tune_biases(network, rounded, images(network), steps=100, seed=0)
    assert filters_of(tuned).keys() == coarse.keys()  # weights are what they were
    assert len(tuned.weights) == len(network.weights) > len(coarse)
    assert cross_entropy(run(write_int8_weights(tuned, rounded), network, tmp_path), network) < (
        cross_entropy(run(write_int8_weights(network, rounded), network, tmp_path), network)
    )


def test_equal_grids_stay_equal_and_those_of_the_input_stay() -> None:
    network = difference_network()  # its first values are pixels, cropped
    before = first_quantization(network)
    tuned, after = finetune(
        network, before, images(network), round_activations=True, steps=60, seed=0
    )
    pixels = before.activations[network.inputs[0]]
    groups = {}
    for value, grid in before.activations.items():
        groups.setdefault(grid, set()).add(after.activations[value])
    assert all(len(grids) == 1 for grids in groups.values())
    assert groups[pixels] == {pixels}
    assert any(grids != {grid} for grid, grids in groups.items())
    assert tuned.weights != network.weights


def test_weights_alone_can_be_rounded(tmp_path) -> None:
    network = roll(shared_network())
    before = Quantization({}, first_quantization(network).weights)
    tuned, after = finetune(
        network, before, images(network), round_activations=False, steps=60, seed=0
    )
    assert after.activations == {}
    found = run(write_int8_weights(tuned, after), network, tmp_path)
    assert cross_entropy(found, network) <= 1.01 * cross_entropy(
        run(write_int8_weights(network, before), network, tmp_path), network
    )
