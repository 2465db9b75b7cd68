"""How fast a net trains in bfloat16, beside float32, on all cores.

python benchmarks/precision_speed.py [NET] [--rounds 3]

The two take turns in processes of their own, a few steps each after others to warm up. Prints the
seconds per step and their ratio. Whether a processor has instructions for bfloat16 does not tell
which is faster: `edgegolf/training/precision.py` says what was measured where.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np

from edgegolf.data import Dataset
from edgegolf.data.dataset import Split
from edgegolf.training.trainer import Position, Trainer
from edgegolf.zoo import find_recipe
from edgegolf.zoo.recipe import FLOAT32, MIXED_BFLOAT16

STEPS = 20
IMAGE_SHAPE, CLASSES = (32, 32, 3), 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", nargs="?", default="tencnn")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    seconds = compare(arguments.net, arguments.rounds)
    for precision, taken in seconds.items():
        print(f"{precision:16}{taken:8.3f} s per step of {arguments.net}")
    print(f"{'ratio':16}{seconds[MIXED_BFLOAT16] / seconds[FLOAT32]:8.2f}")


def compare(net: str, rounds: int) -> dict[str, float]:
    """Median seconds of a step in each arithmetic."""
    context = multiprocessing.get_context("spawn")
    workers = {}
    for precision in (FLOAT32, MIXED_BFLOAT16):
        here, there = context.Pipe()
        context.Process(target=train, args=(net, precision, there), daemon=True).start()
        workers[precision] = here
    for connection in workers.values():
        connection.recv()
    found: dict[str, list[float]] = {precision: [] for precision in workers}
    for _ in range(rounds):
        for precision, connection in workers.items():
            connection.send(None)
            found[precision].append(connection.recv() / STEPS)
    return {precision: statistics.median(taken) for precision, taken in found.items()}


def train(net: str, precision: str, connection: Connection) -> None:
    """An epoch of noise whenever asked for, and how many seconds it took."""
    recipe = find_recipe(net)
    recipe = replace(recipe, training=replace(recipe.training, precision=precision))
    trainer = Trainer(recipe, noise(recipe.training.batch_size), 0, len(os.sched_getaffinity(0)))

    def epoch() -> float:
        began = time.perf_counter()
        trainer.train_epoch(Position(0), lambda _: None)
        return time.perf_counter() - began

    connection.send(epoch())
    while True:
        connection.recv()
        connection.send(epoch())


def noise(batch_size: int) -> Dataset:
    """Images as large as CIFAR-10's, of which nothing can be learnt."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (STEPS * batch_size, *IMAGE_SHAPE), np.uint8)
    split = Split(images, generator.integers(0, CLASSES, len(images)))
    return Dataset("noise", IMAGE_SHAPE, CLASSES, "", "memory", "none", lambda _: split)


if __name__ == "__main__":
    main()
