"""The `.tflite` files that a network may be deployed as, before they are measured."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgegolf.data import Split
from edgegolf.export.sharing.biases import share_biases
from edgegolf.export.sharing.blocks import roll, unroll
from edgegolf.export.sharing.calibration import Style, calibrate, ranges, weight_scales
from edgegolf.export.sharing.equalization import equalize
from edgegolf.export.sharing.evaluate import evaluate
from edgegolf.export.sharing.finetuning import finetune, tune_biases
from edgegolf.export.sharing.measuring import Draft
from edgegolf.export.sharing.mirror_pairs import fold_mirror_pairs
from edgegolf.export.sharing.network import Network
from edgegolf.export.sharing.quantization import Quantization
from edgegolf.export.sharing.scale_search import Write, probabilities_of, search_scales
from edgegolf.export.sharing.tflite import write_int8, write_int8_weights
from edgegolf.export.sharing.widening import widen

FINETUNING_STEPS = 800
BIAS_STEPS = 200  # which are few and soon right
CALIBRATION_IMAGES = 500
SEARCH_IMAGES = 1000
# The share of training images that get another class, where tuning is worth its time: below there
# is nothing to recover, above it is too late.
CHANGES_WORTH_TUNING = (0.002, 0.1)

# With one scale for all values, those before softmax should not be larger than the others.
TEMPERATURES = (1.0, 2.0, 3.0)

PIXELS_IN_ONE = (4, 2)  # what to try, the fastest first

OWN_SCALES = Style("requantize", "own", "channel")
FEWER_SCALES = Style("requantize", "own", "tensor")
SCALES_BY_LAYER = Style("leaky", "shared", "channel")
ONE_SCALE = Style("leaky", "one", "one")


def tflite_drafts(network: Network, train: Split, steps: int, seed: int) -> list[Draft]:
    """All files that may be best for something.

    Args:
        network: An image classifier as it was read.
        train: What scales are chosen on, and rounded weights adapted to.
        steps: Batches of fine-tuning for networks with shared layers, and at most as many for the
            biases of others; 0 for none.
        seed: For the choice of images.
    """
    rolled = roll(network)
    if rolled is network:
        return [
            draft
            for name, each in equivalents(network).items()
            for draft in _without_sharing(name, each, train, steps, seed)
        ]
    return _with_sharing(network, rolled, train, steps, seed)


def equivalents(network: Network) -> dict[str, Network]:
    """The networks that compute the same and may be best, by what to put before a draft's name."""
    folded = fold_mirror_pairs(network)
    return {"": network} | ({} if folded is network else {"mirror pairs, ": folded})


def _without_sharing(
    prefix: str, network: Network, train: Split, steps: int, seed: int
) -> list[Draft]:
    """ReLUs that XNNPACK has, and as many scales as help."""
    drafts = []
    # Multiples of one weight are the same integers only where each channel has its scale.
    multiples = any(weight.base is not None for weight in network.weights)
    for style, name in ((OWN_SCALES, "scale per channel"), (FEWER_SCALES, "scale per tensor")):
        each = network
        if style == OWN_SCALES:
            each = _with_tuned_biases(network, train.images, min(steps, BIAS_STEPS), seed)
        found = _searched(each, train, style, write_int8)
        drafts += _fast_drafts(f"{prefix}{name}", *found)
        if style == OWN_SCALES or not multiples:
            data = write_int8_weights(each, Quantization({}, weight_scales(each, style)))
            drafts.append(Draft(f"{prefix}{name}", "int8-weights", data))
    return drafts


def _with_tuned_biases(
    network: Network, images: NDArray[np.uint8], steps: int, seed: int
) -> Network:
    """Adapted to weights with a scale per channel, if their rounding changes what it says."""
    scales = Quantization({}, weight_scales(network, OWN_SCALES))
    if not steps or not _is_worth_tuning(network, scales, images, write_int8_weights):
        return network
    return tune_biases(network, scales, images, steps=steps, seed=seed)


def _with_sharing(
    network: Network, rolled: Network, train: Split, steps: int, seed: int
) -> list[Draft]:
    """Loops with one scale are smallest, unrolled networks with many scales fast and exact."""
    drafts = _fast_drafts(
        "unrolled, scale per channel", *_searched(network, train, SCALES_BY_LAYER, write_int8)
    )
    equalized = equalize(rolled, pixels(_some(train.images, CALIBRATION_IMAGES)))

    found = _searched(equalized, train, ONE_SCALE, write_int8, TEMPERATURES)
    small, quantization = _tuned(*found, train.images, "int8", write_int8, steps, seed)
    drafts.append(Draft("loop, one scale", "int8", write_int8(small, quantization)))
    straight = unroll(small)
    copied = quantization.with_copies(straight.origins)
    drafts += _fast_drafts("unrolled, one scale", straight.network, copied)

    shared = share_biases(equalized)
    scales = Quantization({}, weight_scales(shared, ONE_SCALE))
    small, scales = _tuned(
        shared, scales, train.images, "int8-weights", write_int8_weights, steps, seed
    )
    drafts.append(Draft("loop, one scale", "int8-weights", write_int8_weights(small, scales)))
    unrolled = write_int8_weights(unroll(small).network, scales)
    drafts.append(Draft("unrolled, one scale", "int8-weights", unrolled))
    return drafts


def _fast_drafts(name: str, network: Network, quantization: Quantization) -> list[Draft]:
    """The int8 file, and that with fewer but wider pixels where that is possible."""
    drafts = [Draft(name, "int8", write_int8(network, quantization))]
    for factor in PIXELS_IN_ONE:
        wide = widen(network, quantization, factor)
        if wide is not None:
            drafts.append(Draft(f"{name}, {factor} pixels in one", "int8", write_int8(*wide)))
            break
    return drafts


def _searched(
    network: Network,
    train: Split,
    style: Style,
    write: Write,
    temperatures: tuple[float, ...] = (1.0,),
) -> tuple[Network, Quantization]:
    found = _some(train.images, CALIBRATION_IMAGES)

    def calibrated(tempered: Network) -> Quantization:
        return calibrate(tempered, ranges(tempered, pixels(found)), style)

    images = _some(train.images, SEARCH_IMAGES)
    return search_scales(network, images, calibrated, write, temperatures)


def _tuned(
    network: Network,
    quantization: Quantization,
    images: NDArray[np.uint8],
    compute: Literal["int8", "int8-weights"],
    write: Write,
    steps: int,
    seed: int,
) -> tuple[Network, Quantization]:
    """Fine-tuned, if rounding changes what the network says of training images a little."""
    if not steps or not _is_worth_tuning(network, quantization, images, write):
        return network, quantization
    return finetune(
        network,
        quantization,
        images,
        round_activations=compute == "int8",
        steps=steps,
        seed=seed,
    )


def _is_worth_tuning(
    network: Network, quantization: Quantization, images: NDArray[np.uint8], write: Write
) -> bool:
    """Whether the file gives another class to some images, and not to too many."""
    sample = _some(images, 2 * SEARCH_IMAGES)
    classes = evaluate(network, pixels(sample)).argmax(axis=1)
    found = probabilities_of(write(network, quantization), sample).argmax(axis=1)
    least, most = CHANGES_WORTH_TUNING
    return bool(least < np.mean(found != classes) <= most)


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The real numbers 0…1 that a network takes."""
    return images / np.float32(255)


def _some(images: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Images spread over the split."""
    return images[np.linspace(0, len(images) - 1, min(count, len(images))).astype(np.int64)]
