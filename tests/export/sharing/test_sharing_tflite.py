from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sharing_nets import (
    difference_network,
    images,
    mirror_pairs_network,
    plain_network,
    shared_network,
    three_loops,
)

from edgegolf.export.sharing.biases import share_biases
from edgegolf.export.sharing.blocks import roll, unroll
from edgegolf.export.sharing.calibration import Style, calibrate, ranges
from edgegolf.export.sharing.evaluate import evaluate
from edgegolf.export.sharing.mirror_pairs import fold_mirror_pairs
from edgegolf.export.sharing.network import Network
from edgegolf.export.sharing.quantization import Quantization, quantized_weight
from edgegolf.export.sharing.scale_search import search_scales
from edgegolf.export.sharing.tflite import write_int8, write_int8_weights
from edgegolf.export.sharing.widening import widen
from edgegolf.golf.tflite_model import parse_tflite
from edgegolf.runtimes import installed_runtimes, open_session
from edgegolf.runtimes.classify import scores

RUNTIMES = installed_runtimes(Path("any.tflite"))
NETWORKS = {
    "shared": shared_network,
    "three loops": three_loops,
    "plain": plain_network,
    "difference": difference_network,
    "mirror pairs": lambda: fold_mirror_pairs(mirror_pairs_network()),
}

ONE_SCALE = Style("leaky", "one", "one")
SHARED = Style("leaky", "shared", "channel")
OWN = Style("requantize", "own", "channel")


def calibrated(network: Network, style: Style) -> Quantization:
    return calibrate(network, ranges(network, images(network) / np.float32(255)), style)


def run(data: bytes, network: Network, folder: Path, runtime: str | None = None) -> np.ndarray:
    path = folder / "network.tflite"
    path.write_bytes(data)
    with open_session(path, runtime) as session:
        assert session.inputs[0].shape == (1, *network.inputs[0].shape)
        return scores(session, images(network))


def exact(network: Network) -> np.ndarray:
    return evaluate(network, images(network) / np.float32(255))


def agreement(found: np.ndarray, expected: np.ndarray) -> float:
    return float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("rolled", [True, False])
def test_float_arithmetic_gives_the_result_of_the_rounded_weights(
    make, runtime, rolled, tmp_path
) -> None:
    network = make()
    network = roll(network) if rolled else network
    data = write_int8_weights(network, calibrated(network, Style("leaky", "own", "channel")))
    found = run(data, network, tmp_path, runtime)
    assert np.abs(found - exact(network)).max() < 0.1
    assert agreement(found, exact(network)) > 0.95


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("style", [SHARED, OWN], ids=["leaky", "requantize"])
def test_int8_arithmetic_gives_nearly_the_same_classes(make, runtime, style, tmp_path) -> None:
    network = roll(make())
    data = write_int8(network, calibrated(network, style))
    assert agreement(run(data, network, tmp_path, runtime), exact(network)) > 0.9


@pytest.mark.parametrize("make", [shared_network, three_loops], ids=["shared", "three loops"])
@pytest.mark.parametrize("style", [ONE_SCALE, SHARED, OWN], ids=["one", "shared", "own"])
@pytest.mark.parametrize("factor", [None, 2])
def test_the_loop_and_the_unrolled_network_give_equal_bits(make, style, factor, tmp_path) -> None:
    network = share_biases(roll(make()))
    quantization = calibrated(network, style)
    straight = unroll(network, factor)
    copied = quantization.with_copies(straight.origins)
    for runtime in RUNTIMES:
        np.testing.assert_array_equal(
            run(write_int8(straight.network, copied), network, tmp_path, runtime),
            run(write_int8(network, quantization), network, tmp_path, runtime),
        )


@pytest.mark.parametrize("make", [shared_network, plain_network], ids=["shared", "plain"])
@pytest.mark.parametrize("style", [ONE_SCALE, OWN], ids=["one", "own"])
@pytest.mark.parametrize("factor", [2, 4])
def test_wide_pixels_give_equal_bits(make, style, factor, tmp_path) -> None:
    network = roll(make())
    quantization = calibrated(network, style)
    wide = widen(network, quantization, factor)
    if wide is None:
        assert (make, factor) == (plain_network, 4)  # 18 columns are not 4 · n
        return
    np.testing.assert_array_equal(
        run(write_int8(*wide), network, tmp_path, "litert-reference"),
        run(write_int8(network, quantization), network, tmp_path, "litert-reference"),
    )


def test_a_network_without_such_a_first_layer_is_not_widened() -> None:
    network = three_loops()
    (first, *_) = network.nodes
    pooled = Network(first.outputs, network.outputs, network.nodes[1:])
    assert widen(pooled, Quantization({}, {}), 2) is None


@pytest.mark.parametrize("make", [shared_network, three_loops], ids=["shared", "three loops"])
@pytest.mark.parametrize("write", [write_int8, write_int8_weights])
def test_every_weight_and_bias_exists_once(make, write) -> None:
    network = share_biases(roll(make()))
    quantization = calibrated(network, ONE_SCALE)
    model = parse_tflite(write(network, quantization))
    counters_and_crops = (4, 16)  # bytes
    buffers = [bytes(buffer.data) for buffer in model.root.buffers if buffer.data]
    buffers = [buffer for buffer in buffers if len(buffer) not in counters_and_crops]
    assert len(buffers) == len(set(buffers)) <= len(network.weights)
    for weight in quantization.weights:
        integers = sorted(quantized_weight(weight, quantization).ravel().tolist())
        stored = [sorted(np.frombuffer(buffer, np.int8).tolist()) for buffer in buffers]
        assert stored.count(integers) == 1


def test_the_loop_makes_the_file_smaller() -> None:
    network = share_biases(roll(shared_network(iterations=8)))
    quantization = calibrated(network, ONE_SCALE)
    straight = unroll(network)
    unrolled = write_int8(straight.network, quantization.with_copies(straight.origins))
    assert len(write_int8(network, quantization)) < len(unrolled) - 500


def test_the_file_grows_with_depth_neither_rolled_nor_in_its_weights() -> None:
    sizes = []
    for iterations in (4, 8, 16):
        network = share_biases(roll(shared_network(iterations)))
        sizes.append(len(write_int8(network, calibrated(network, ONE_SCALE))))
    assert max(sizes) - min(sizes) <= 32  # alignment, and scales that happen to be equal


@pytest.mark.parametrize("iterations", [30, 31])
def test_long_loops_count_right(iterations, tmp_path) -> None:
    network = roll(shared_network(iterations))
    quantization = calibrated(network, ONE_SCALE)
    straight = unroll(network)
    copied = quantization.with_copies(straight.origins)
    for runtime in RUNTIMES:
        np.testing.assert_array_equal(
            run(write_int8(network, quantization), network, tmp_path, runtime),
            run(write_int8(straight.network, copied), network, tmp_path, runtime),
        )


def test_the_search_finds_scales_at_least_as_good_as_the_first(tmp_path) -> None:
    network = roll(shared_network())

    def calibrate_network(tempered: Network) -> Quantization:
        return calibrated(tempered, ONE_SCALE)

    found, quantization = search_scales(
        network, images(network), calibrate_network, write_int8, temperatures=(1.0, 2.0)
    )
    np.testing.assert_allclose(exact(found), exact(network), atol=1e-5)

    def distance(data: bytes) -> float:
        probabilities = run(data, network, tmp_path) + 1 / 512
        return float(-(exact(network) * np.log(probabilities)).sum(axis=1).mean())

    first = write_int8(network, calibrated(network, ONE_SCALE))
    assert distance(write_int8(found, quantization)) <= distance(first)
