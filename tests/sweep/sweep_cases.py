"""Runs and results to fill a store with."""

from __future__ import annotations

from edgegolf.sweep.costs import FileCosts
from edgegolf.sweep.runs import RunSpec, SweepRun
from edgegolf.zoo import Training


def some_runs(count: int, net: str = "linear") -> tuple[RunSpec, ...]:
    training = Training(epochs=1, learning_rate=0.004)
    return tuple(RunSpec(net, training, "digits", "checksum", seed) for seed in range(count))


def some_result(run: RunSpec, accuracy: float = 0.5) -> SweepRun:
    return SweepRun(
        net=run.net,
        dataset=run.dataset,
        seed=run.seed,
        epochs=run.training.epochs,
        parameters=7_850,
        trained_parameters=7_850,
        macs=7_840,
        losses=(2.0, 1.0),
        validation_accuracy=accuracy,
        test_accuracy=accuracy,
        seconds=1.5,
        host="here",
    )


def some_costs(net: str, size: int) -> tuple[FileCosts, ...]:
    return tuple(
        FileCosts(net, "digits", file, bytes_, 1.5, "litert", "here")
        for file, bytes_ in (("float32.tflite", 4 * size), ("int8.tflite", size))
    )
