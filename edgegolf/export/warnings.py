"""What is dead on arrival: samples, labels or a model that make every figure after them useless.

Errors where nothing can be judged, else sentences for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export.samples import ModelInput, Samples
from edgegolf.export.verify import classes_of, is_distribution, is_whole, labelled_output
from edgegolf.ir.tensor import Array

LEAST_SAMPLES = 10  # fewer tell nothing of chance
# A model is no better than chance if it is right as often as its classes in another order would
# be (Cohen, A coefficient of agreement for nominal scales, 1960), and so many standard errors.
STANDARD_ERRORS = 2.0
CUT_OFF = 0.01  # of an input's numbers; calibration leaves out the rarest thousandths on purpose
NOISY = 0.03  # standard error of latency ratios from which on the best may be another


def noise_warnings(file_format: str, doubts: Sequence[float], kept_in: Path) -> tuple[str, ...]:
    """That latencies of candidates against each other are not to be trusted, if so.

    Args:
        file_format: Whose files.
        doubts: The standard error of each candidate's ratio, a fraction.
        kept_in: The folder of what was measured, which the next export takes again.
    """
    if max(doubts) <= NOISY:
        return ()
    return (
        f"the machine is noisy: latencies of {file_format} files against each other may be off by "
        f"{max(doubts):.0%}, so that another one may be best when it is quiet; remove {kept_in} "
        "then to measure anew",
    )


def sample_warnings(inputs: Sequence[ModelInput], samples: Samples) -> tuple[str, ...]:
    """What is wrong with samples, before anything ran.

    Args:
        inputs: What the model takes.
        samples: In the types of the inputs.
    """
    found = []
    for wanted, values in zip(inputs, samples.inputs, strict=True):
        if values.min() == values.max():
            found.append(f"all numbers of input {wanted.name!r} are {values.min()}")
        elif len(samples) > 1 and (values == values[:1]).all():
            found.append(f"all samples of input {wanted.name!r} are the same")
        elif wanted.scales_itself and values.min() >= 0 and values.max() <= 1:
            found.append(
                f"input {wanted.name!r} has numbers of 0…1, but the model scales pixels of 0…255 "
                "itself: give it those"
            )
    return tuple(found)


def reference_warnings(samples: Samples, outputs: Sequence[Array]) -> tuple[str, ...]:
    """What is wrong with what the model makes of samples.

    Args:
        samples: With labels, if they are known.
        outputs: The model's own, float [samples, …].

    Raises:
        EdgegolfError: Its outputs are not finite, or no output has the labels as classes.
    """
    for index, output in enumerate(outputs):
        if not np.isfinite(output).all():
            at = int(np.argwhere(~np.isfinite(output))[0, 0])
            raise EdgegolfError(
                f"the model itself gives NaN or infinite numbers in output {index}, first for "
                f"sample {at}",
                hint="look at its weights, and whether the samples are scaled as in training",
            )
    judged = labelled_output(outputs, samples.labels)
    if samples.labels is not None and judged is None:
        raise _wrong_labels(samples.labels, outputs)
    found = []
    for index, output in enumerate(outputs):
        if index != judged and (is_whole(output) or not is_distribution(output)):
            if len(output) > 1 and (output == output[:1]).all():
                found.append(f"output {index} of the model is the same for all samples")
            continue
        chosen = classes_of(output, output)
        if len(chosen) >= LEAST_SAMPLES and (chosen == chosen[0]).all():
            labels = samples.labels
            if index != judged or labels is None or len(np.unique(labels)) > 1:
                found.append(
                    f"the model gives class {chosen[0]} for all samples: are they scaled as in "
                    "training?"
                )
        elif index == judged and samples.labels is not None:
            found += _chance(chosen, samples.labels)
    return tuple(found)


def cut_off_warning(
    name: str, values: Array, scale: float, zero_point: int, dtype: str
) -> str | None:
    """What is wrong with a quantized input: its integers cannot hold what it is fed with.

    Args:
        name: What the input is called.
        values: Real numbers, as validation has them.
        scale: Of the file's input.
        zero_point: The same.
        dtype: An integer type.
    """
    limits = np.iinfo(np.dtype(dtype))
    numbers = values / np.float32(scale) + zero_point
    share = float(np.mean((numbers < limits.min - 0.5) | (numbers > limits.max + 0.5)))
    if share <= CUT_OFF:
        return None
    low, high = ((limit - zero_point) * scale for limit in (limits.min, limits.max))
    return (
        f"input {name!r} holds {low:.3g} to {high:.3g}, which cuts off {share:.0%} of the "
        "samples' numbers: calibrate on samples that are scaled like these"
    )


def unnamed_dataset(name: str) -> str:
    """That a data set was taken which nobody named for the model."""
    return (
        f"nobody said what this model was trained on: {name} was taken, and every accuracy is for "
        "it; give --dataset, or --calibration-data"
    )


def _wrong_labels(labels: Array, outputs: Sequence[Array]) -> EdgegolfError:
    classes = [output.shape[-1] for output in outputs if output.ndim == 2]
    low, high = int(labels.min()), int(labels.max())
    what = f"labels are {low} to {high}, no output has so many classes"
    if classes:
        most = max(2, max(classes))
        what = f"labels are {low} to {high}, the model's {most} classes are 0 to {most - 1}"
        if low == 1 and high == most:
            return EdgegolfError(what, hint="count labels from 0: subtract 1 from each")
    return EdgegolfError(what, hint="leave them out, or give those that the model was trained on")


def _chance(chosen: Array, labels: Array) -> list[str]:
    """What to say of classes that are right as often as unrelated ones."""
    if len(labels) < LEAST_SAMPLES or len(np.unique(labels)) < 2:
        return []
    shares = [[np.mean(each == one) for one in np.unique(labels)] for each in (chosen, labels)]
    chance = float(np.dot(*shares))
    right = float(np.mean(chosen == labels))
    if right > chance + STANDARD_ERRORS * (chance * (1 - chance) / len(labels)) ** 0.5:
        return []
    return [
        f"the model itself is right for {right:.1%} of the samples, and chance for {chance:.1%}: "
        "are they scaled as in training, and are the classes in the same order?"
    ]
